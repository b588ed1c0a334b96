/** Serial devices behind a network: ser2net, USR and Waveshare converters, simulated devices. */
import { createConnection } from 'node:net'
import { LinkError, type LinkErrorCode, type Opener } from './link.ts'

// A converter on the same network answers in milliseconds; one that boots needs a few seconds.
const connectDeadlineMs = 10_000
// A converter that lost power says nothing: probes find out long before TCP's own two hours.
const keepAliveMs = 15_000

const explanations: Record<string, readonly [LinkErrorCode, string]> = {
  ECONNREFUSED: ['refused', 'is not listening. Start the converter or ser2net, and check the port number.'],
  EHOSTUNREACH: ['refused', 'cannot be reached. Check that the converter has power and network.'],
  ENETUNREACH: ['refused', 'cannot be reached. Check this computer’s network.'],
  ENOTFOUND: ['missing', 'has a name that does not resolve. Check its spelling, or use an IP address.'],
  EAI_AGAIN: ['missing', 'has a name that cannot be resolved now. Check the network’s DNS.'],
  ETIMEDOUT: ['timeout', 'does not answer. Check its power, its address, and firewalls between.'],
  ECONNRESET: ['disconnected', 'closed the connection. Another program may be using the converter.'],
}

const explained = (name: string, error: Error & { code?: string }): LinkError => {
  const [code, text] = explanations[error.code ?? ''] ?? ['failed', `failed: ${error.message}`]
  return new LinkError(code, `link ${name} ${text.replace('. ', '.\n')}`, { cause: error })
}

/** Host and port of `tcp://host:port`; throws a `LinkError` naming what was expected. */
export const tcpAddress = (name: string): { readonly host: string; readonly port: number } => {
  const url = URL.canParse(name) ? new URL(name) : undefined
  const plain = url && url.pathname.length <= 1 && !url.search && !url.hash && !url.username
  const port = Number(url?.port)
  if (url?.protocol !== 'tcp:' || !plain || !url.hostname || !(port >= 1 && port <= 65_535))
    throw new LinkError(
      'bad-address',
      `link ${JSON.stringify(name.slice(0, 300))} is not an address.\n` +
        'Write tcp://host:port with a port from 1 to 65535, for example tcp://192.168.1.20:3001.',
    )
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port }
}

/** An opener for `tcp://host:port`: connects within ten seconds, probes the peer while nothing is said. */
export const tcpPort = (name: string): Opener => {
  const { host, port } = tcpAddress(name)
  return {
    name,
    open: (signal) =>
      new Promise((resolve, reject) => {
        signal.throwIfAborted()
        const socket = createConnection({ host, port, noDelay: true, keepAlive: true })
        socket.setKeepAlive(true, keepAliveMs)
        const giveUp = (error: Error): void => {
          socket.destroy()
          settle()
          reject(error)
        }
        const onError = (error: Error): void => giveUp(explained(name, error))
        const onAbort = (): void => giveUp(signal.reason)
        const timer = setTimeout(
          () => onError(Object.assign(new Error('no connection in time'), { code: 'ETIMEDOUT' })),
          connectDeadlineMs,
        )
        const settle = (): void => {
          clearTimeout(timer)
          signal.removeEventListener('abort', onAbort)
          socket.off('connect', onConnect)
          // A late error of an abandoned socket has nobody to tell; without a listener it would end the process.
          socket.off('error', onError).on('error', () => undefined)
        }
        const onConnect = (): void => {
          settle()
          resolve(socket)
        }
        signal.addEventListener('abort', onAbort, { once: true })
        socket.once('error', onError).once('connect', onConnect)
      }),
  }
}
