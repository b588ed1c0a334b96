/** What the hub needs of a broker, embedded or not. */
import type { Arrival } from './ingest.ts'

/** Publishes for the hub; where nobody listens, or the broker is away, the message is gone. */
export type Broker = AsyncDisposable & {
  /** For people: what it is and where. */
  readonly kind: string
  readonly connected: boolean
  /** Whether anybody may hear decoded readings; where not, making them is saved. */
  readonly hasReaders: boolean
  publish(topic: string, payload: Uint8Array | string, options?: { readonly retain?: boolean }): void
  /** Logins that were bought; a broker that is not the hub's own has none. */
  readonly logins?: Logins
}

/** Clients that came with a login: each is connected once, and hears only what is handed to it. */
export type Logins = {
  /** Whether a login is connected and has subscribed to anything. */
  isListening(login: string): boolean
  /** Whether a login is connected and has subscribed to a topic. */
  hears(login: string, topic: string): boolean
  /** Gives a message to a login that hears it; resolves when its connection has taken it, or is gone. */
  hand(login: string, topic: string, payload: string): Promise<void>
  /** Ends its connection, if there is one, after what was handed to it. */
  dismiss(login: string): void
}

/** What a broker hands to the hub. */
export type BrokerEvents = {
  /** An envelope came; the broker acknowledges it when this resolves. */
  readonly envelope: (arrival: Arrival) => Promise<void>
  /** A station said who it is; `publicKey` has been matched with the id, not yet with the hub's policy. Rejects a stranger. */
  readonly hello: (station: string, publicKey: Uint8Array) => Promise<void>
  /** A station that is let in can hear receipts now. */
  readonly listening: (station: string) => void
  /** Whether a password is that of a login; without it there are none. */
  readonly login?: (login: string, password: string) => boolean
  /** A login has begun to listen, or does so no more. */
  readonly heeded?: (login: string) => void
}

/** Largest message taken from anybody: an envelope is at most 8 KiB, a status some more. */
export const maxPacketBytes = 64 * 1024
