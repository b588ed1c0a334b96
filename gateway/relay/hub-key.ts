/** Which hub's receipts count: the configured key, or the first one heard, kept from then on (trust on first use). */
import { fromHex, toHex } from '../reading/bytes.ts'
import { hubTopic } from '../reading/topics.ts'
import type { Session } from './relay.ts'

/** Where the key of the first hub is kept; `read` answers undefined while there is none. */
export type PinnedKey = { readonly read: () => string | undefined; readonly write: (hex: string) => void }

const keyFrom = (text: string): Uint8Array | undefined => {
  try {
    const { publicKey } = JSON.parse(text) as { publicKey?: unknown }
    const key = typeof publicKey === 'string' ? fromHex(publicKey) : undefined
    return key?.length === 32 ? key : undefined
  } catch {
    return undefined // not from a hub
  }
}

/** A key finder for the relay. Waits for the hub's retained announcement where nothing is configured or kept yet. */
export const hubKeyOf =
  (network: string, configured: string | undefined, pinned: PinnedKey) =>
  async (session: Session, signal: AbortSignal): Promise<Uint8Array> => {
    const known = fromHex(configured ?? pinned.read() ?? '')
    if (known?.length === 32) return known
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    const aborted = () => reject(new Error('no hub announced its key'))
    signal.addEventListener('abort', aborted, { once: true })
    await session.subscribe(hubTopic(network), (payload) => {
      const key = keyFrom(Buffer.from(payload).toString('utf8'))
      if (key) resolve(key)
    })
    const key = await promise.finally(() => signal.removeEventListener('abort', aborted))
    pinned.write(toHex(key))
    return key
  }
