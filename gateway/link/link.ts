/** The port to a wire: something that can be opened, again and again, and then carries bytes both ways. */
import type { Duplex } from 'node:stream'

/**
 * One way to a device. `name` is what the owner configured (`/dev/ttyUSB0`, `tcp://10.0.0.5:3001`).
 * `open` resolves with an open stream of bytes or rejects with a `LinkError`; it is called again after every
 * loss. Destroying the stream closes the wire, and its `close` event means that it may be opened again.
 */
export type Opener = {
  readonly name: string
  /** What an owner should know who has opened this wire to more than this computer. */
  readonly caution?: string
  readonly open: (signal: AbortSignal) => Promise<Duplex>
}

export type LinkErrorCode =
  | 'bad-address'
  | 'missing'
  | 'permission'
  | 'busy'
  | 'refused'
  | 'timeout'
  | 'disconnected'
  | 'silent'
  | 'failed'

/** A wire that cannot be used: a stable `code`, what happened, and on a second line what to do next. */
export class LinkError extends Error {
  readonly code: LinkErrorCode
  constructor(code: LinkErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LinkError'
    this.code = code
  }
}
