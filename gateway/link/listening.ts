/** What links share that listen for gateways, instead of calling a device: their address, and their limits. */
import { portHolderOf } from './holder.ts'
import { LinkError, type LinkErrorCode } from './link.ts'

/** Where a link listens. `open` is true where others than this computer can reach it. */
export type ListeningAddress = { readonly host: string; readonly port: number; readonly open: boolean }

const loopback = /^(?:127(?:\.\d{1,3}){3}|::1|localhost)$/

/** Host and port of `scheme://host:port`; throws a `LinkError` naming what was expected. */
export const listeningAddress = (name: string, scheme: 'udp' | 'ws', usual: number): ListeningAddress => {
  const url = URL.canParse(name) ? new URL(name) : undefined
  const plain = url && url.pathname.length <= 1 && !url.search && !url.hash && !url.username && !url.password
  // URL leaves out a port that is the scheme's own.
  const port = Number(url?.port || (scheme === 'ws' ? 80 : 0))
  if (url?.protocol !== `${scheme}:` || !plain || !url.hostname || !(port >= 1 && port <= 65_535))
    throw new LinkError(
      'bad-address',
      `link ${JSON.stringify(name.slice(0, 300))} is not an address to listen on.\n` +
        `Write ${scheme}://host:port with a port from 1 to 65535, for example ${scheme}://127.0.0.1:${usual}.`,
    )
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return { host, port, open: !loopback.test(host) }
}

const explanations: Record<string, readonly [LinkErrorCode, string]> = {
  EADDRINUSE: ['busy', 'is in use. Stop the other program on this port, or choose another port.'],
  EACCES: ['permission', 'may not be used. Choose a port from 1024 on.'],
  EADDRNOTAVAIL: ['missing', 'is no address of this computer. Use 127.0.0.1, or an address that it has.'],
  ENOTFOUND: ['missing', 'has a name that does not resolve. Check its spelling, or use an IP address.'],
}

/** Why a link cannot listen, in words, and who listens there where that can be seen. */
export const cannotListen = async (
  name: string,
  { host, port }: Pick<ListeningAddress, 'host' | 'port'>,
  error: Error & { code?: string },
): Promise<LinkError> => {
  const [code, text] = explanations[error.code ?? ''] ?? ['failed', `failed: ${error.message}`]
  const kind = name.startsWith('udp:') ? 'udp' : 'tcp'
  const holder = code === 'busy' ? await portHolderOf({ kind, host, port }) : undefined
  const words = holder ? text.replace('in use', `in use by ${holder.name} (pid ${holder.pid})`) : text
  return new LinkError(code, `link ${name} ${words.replace('. ', '.\n')}`, { cause: error })
}

/** Lets so many things through each second, and a burst of them; `take` is false for what is too much. */
export const limit = (perS: number, burst: number, nowMs: () => number = () => performance.now()) => {
  let left = burst
  let atMs = nowMs()
  return {
    take: (): boolean => {
      const now = nowMs()
      left = Math.min(burst, left + ((now - atMs) / 1000) * perS)
      atMs = now
      if (left < 1) return false
      left -= 1
      return true
    },
  }
}
