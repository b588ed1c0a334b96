/** From readings to signed envelopes: collects what belongs together, seals it, and hands it to the outbox. */
import { envelopeBounds } from '../reading/cbor.ts'
import type { Signer } from '../reading/cose.ts'
import { type Clock, signEnvelope } from '../reading/envelope.ts'
import { encodeReadings } from '../reading/payload.ts'
import { quantityCoded } from '../reading/quantity.ts'
import type { Reading } from '../reading/reading.ts'

/** When an envelope is closed: whichever comes first. */
export type SealLimits = { readonly maxReadings: number; readonly maxAgeMs: number }

export const defaultLimits: SealLimits = { maxReadings: 50, maxAgeMs: 5_000 }

/** What the sealer needs of the outbox: the end of the chain, and a place to put the next link durably. */
export type Chain = {
  readonly head: { readonly seq: number; readonly hash: Uint8Array }
  append(envelope: Uint8Array): void
  commit(): Promise<void>
}

export type Sealer = {
  /** Takes a reading; resolves at once, or after the commit that a full envelope caused (back-pressure). */
  add(reading: Reading): Promise<void>
  /** Seals what is open and waits until it is on disk. */
  flush(): Promise<void>
}

/** Positions are private and go into envelopes of their own, so that no envelope a buyer gets ever holds one. */
const laneOf = (reading: Reading): 'private' | 'open' =>
  reading.values.some((value) => quantityCoded(value.quantity)?.private) ? 'private' : 'open'

/**
 * A sealer for one station. `clock` answers what the envelope declares about the time of its readings.
 * Timers are handed in by `after`, which returns how to cancel; `failed` hears of a commit that failed in a timer.
 */
export const createSealer = (deps: {
  readonly signer: Signer
  readonly network: string
  readonly chain: Chain
  readonly clock: () => Clock
  readonly limits?: SealLimits
  readonly after?: (ms: number, run: () => void) => () => void
  readonly failed: (error: unknown) => void
}): Sealer => {
  const limits = deps.limits ?? defaultLimits
  const after =
    deps.after ??
    ((ms, run) => {
      const timer = setTimeout(run, ms)
      return () => clearTimeout(timer)
    })
  const open = new Map<string, { readings: Reading[]; cancel: () => void }>()

  /** Signs readings into one envelope, or into more where one would grow beyond what a hub accepts. */
  const seal = (readings: readonly Reading[]): void => {
    const envelope = sealOne(readings)
    if (envelope !== undefined) {
      deps.chain.append(envelope)
      return
    }
    const half = readings.length >> 1
    if (half === 0) throw new Error('one reading does not fit an envelope')
    seal(readings.slice(0, half))
    seal(readings.slice(half))
  }

  const sealOne = (readings: readonly Reading[]): Uint8Array | undefined => {
    let payload: Uint8Array
    try {
      payload = encodeReadings(readings)
    } catch (error) {
      if (error instanceof RangeError && readings.length > 1) return undefined // the clock jumped in between
      throw error
    }
    const { seq, hash } = deps.chain.head
    const head = { seq: seq + 1, prev: hash, clock: deps.clock() }
    const envelope = signEnvelope(head, payload, deps.network, deps.signer)
    return envelope.length <= envelopeBounds.maxBytes ? envelope : undefined
  }

  const close = async (lane: string): Promise<void> => {
    const batch = open.get(lane)
    if (batch === undefined) return
    open.delete(lane)
    batch.cancel()
    seal(batch.readings)
    await deps.chain.commit()
  }

  return {
    add: async (reading) => {
      const lane = laneOf(reading)
      let batch = open.get(lane)
      if (batch === undefined) {
        batch = { readings: [], cancel: after(limits.maxAgeMs, () => void close(lane).catch(deps.failed)) }
        open.set(lane, batch)
      }
      batch.readings.push(reading)
      if (batch.readings.length >= limits.maxReadings) await close(lane)
    },
    flush: async () => {
      for (const lane of [...open.keys()]) await close(lane)
    },
  }
}
