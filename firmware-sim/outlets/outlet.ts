/** The port between a simulated device and whatever the gateway opens. */
import type { Opener } from '../../gateway/link/link.ts'

/**
 * A socket in the wall for one device. `link` is what the gateway's configuration says; an in-process outlet
 * has an `opener` to be handed over instead. It is plugged in when it is made.
 */
export type Outlet = {
  readonly link: string
  readonly opener?: Opener
  /** Bytes from the device; false where they are lost because nobody listens, or listens too slowly. */
  readonly write: (bytes: Uint8Array) => boolean
  /** The cable is pulled: an open link breaks, a new one cannot be opened. */
  readonly unplug: () => Promise<void>
  /** The cable is back, under the same name. */
  readonly plug: () => Promise<void>
}

/** Makes an outlet of that name; `hear` is called with what the gateway sends. */
export type OpenOutlet = (name: string, hear: (bytes: Uint8Array) => void) => Promise<Outlet>

/** As a UART drops what nobody takes, so does an outlet: this much may wait. */
export const maxWaitingBytes = 64 * 1024

/** Runs pieces of work one after the other, whoever asks: a cable is pulled and put back in order. */
export const inTurn = (): ((work: () => Promise<void>) => Promise<void>) => {
  let last: Promise<void> = Promise.resolve()
  return (work) => {
    last = last.then(work, work)
    return last
  }
}
