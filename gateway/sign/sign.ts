/**
 * From readings to signed envelopes: collects what belongs together, seals it, and hands it to the outbox. What is not
 * sealed yet is in memory alone: a SIGKILL or a power cut loses up to `maxAgeMs` (5 s unless told) of readings, and what
 * is held while the disk is away. They have no sequence number yet, so no hole shows in the chain. What memory had no
 * room for is declared in the chain when the disk is back, ahead of what was held.
 */
import { envelopeBounds } from '../reading/cbor.ts'
import type { Signer } from '../reading/cose.ts'
import { droppedContentType, encodeDropped } from '../reading/dropped.ts'
import { type Clock, signEnvelope } from '../reading/envelope.ts'
import { encodeHeard, type Heard, heardContentType } from '../reading/heard.ts'
import { type Item, isHeard, type Lane, laneOf, lanes, openedFrame, readingsIn } from '../reading/lane.ts'
import { encodeReadings, readingsContentType } from '../reading/payload.ts'
import type { Reading } from '../reading/reading.ts'
import { createLost } from './lost.ts'

/** When an envelope is closed: whichever comes first. */
export type SealLimits = { readonly maxReadings: number; readonly maxAgeMs: number }

export const defaultLimits: SealLimits = { maxReadings: 50, maxAgeMs: 5_000 }

/**
 * What the sealer needs of the outbox: the end of the chain, and a place to put the next link durably. `withheld` of
 * the head is what its envelope declares: how many envelopes up to it hold private positions.
 */
export type Chain = {
  readonly head: { readonly seq: number; readonly hash: Uint8Array; readonly withheld: number }
  append(envelope: Uint8Array): void
  commit(): Promise<void>
  /** False while the disk takes nothing: readings are then held unsigned. Always true where it is left out. */
  readonly writable?: boolean
  /** Runs what is handed in each time the disk is back. */
  whenWritable?(run: () => void): void
  /** Hears how many readings are held in memory, and how many were lost since the start for want of room there. */
  holding?(held: number, lost: number): void
}

/** Readings held while the disk is away, at most: some 10 MB, and over five hours at one reading a second. */
const maxHeld = 20_000

export type Sealer = {
  /** Takes a reading; one that fills an envelope answers a promise, kept when the one before is on disk (back-pressure). */
  add(reading: Reading): Promise<void> | undefined
  /**
   * The same for a frame that a node signed itself and that has been verified. False for one that is not newer than its
   * node's last here, as when a second radio was slower to hand it on: no hub would take what it is in.
   */
  addHeard(frame: Heard): Promise<boolean>
  /** Signs a statement of the station's own and waits until it is on disk; false where the disk takes nothing now. */
  declare(contentType: string, payload: Uint8Array): Promise<boolean>
  /** Seals what is open and waits until it is on disk; false where the disk did not take all of it yet. */
  flush(): Promise<boolean>
}

const privateLanes: ReadonlySet<Lane> = new Set(['private', 'private-frames'])
const frameLanes: ReadonlySet<Lane> = new Set(['frames', 'private-frames'])

/** Payload and content type of items of one lane. */
const contentsOf = (
  items: readonly Item[],
): { readonly payload: Uint8Array; readonly contentType: string } => {
  const frames = items.filter(isHeard)
  return frames.length > 0
    ? { payload: encodeHeard(frames), contentType: heardContentType }
    : {
        payload: encodeReadings(items.filter((item): item is Reading => !isHeard(item))),
        contentType: readingsContentType,
      }
}

/**
 * A sealer for one station. `clock` answers what an envelope declares about the time of the readings and frames it is handed.
 * Timers are handed in by `after`, which returns how to cancel; `failed` hears of a commit that failed in a timer.
 */
export const createSealer = (deps: {
  readonly signer: Signer
  readonly network: string
  readonly chain: Chain
  readonly clock: (items: readonly Item[]) => Clock
  readonly limits?: SealLimits
  /** Readings held while the disk is away, at most; 20,000 unless told. */
  readonly maxHeld?: number
  /** UTC in ms, for the time of a declaration. */
  readonly utc?: () => number
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
  const open = new Map<Lane, { readings: Item[]; cancel: () => void }>()

  /** Signs readings into one envelope, or into more where one would grow beyond what a hub accepts. */
  const seal = (readings: readonly Item[], lane: Lane): void => {
    const envelope = sealOne(readings, lane)
    if (envelope !== undefined) {
      deps.chain.append(envelope)
      return
    }
    const half = readings.length >> 1
    if (half === 0) throw new Error('one reading does not fit an envelope')
    seal(readings.slice(0, half), lane)
    seal(readings.slice(half), lane)
  }

  const sealOne = (readings: readonly Item[], lane: Lane): Uint8Array | undefined => {
    let contents: ReturnType<typeof contentsOf>
    try {
      contents = contentsOf(readings)
    } catch (error) {
      if (error instanceof RangeError && readings.length > 1) return undefined // the clock jumped in between, or too many frames
      throw error
    }
    const { seq, hash, withheld } = deps.chain.head
    const head = {
      seq: seq + 1,
      prev: hash,
      clock: deps.clock(readings),
      withheld: withheld + (privateLanes.has(lane) ? 1 : 0),
      contentType: contents.contentType,
    }
    const envelope = signEnvelope(head, contents.payload, deps.network, deps.signer)
    return envelope.length <= envelopeBounds.maxBytes ? envelope : undefined
  }

  let lastCommit: Promise<void> = Promise.resolve()
  const mostHeld = deps.maxHeld ?? maxHeld
  let held: Item[] = []
  const lost = createLost()
  const utc = deps.utc ?? Date.now
  let resuming: Promise<void> | undefined

  /** Keeps readings unsigned. Where there is no room, every second of the older half goes: the past gets coarser. */
  const hold = (readings: readonly Item[]): void => {
    for (const reading of readings) held.push(reading)
    while (held.length > mostHeld) {
      const half = Math.ceil(held.length / 2)
      const goes = (at: number): boolean => at < half && at % 2 === 0
      for (const [at, item] of held.entries()) if (goes(at)) lost.add(readingsIn(item))
      held = held.filter((_, at) => !goes(at))
    }
    deps.chain.holding?.(held.length, lost.count)
  }

  const append = (contentType: string, payload: Uint8Array): void => {
    const { seq, hash, withheld } = deps.chain.head
    const head = { seq: seq + 1, prev: hash, clock: deps.clock([]), withheld, contentType }
    deps.chain.append(signEnvelope(head, payload, deps.network, deps.signer))
  }

  /** Says in the chain what memory had no room for. */
  const declareLost = (): void => {
    const dropped = lost.take(utc())
    if (dropped === undefined) return
    append(droppedContentType, encodeDropped(dropped))
  }

  const writable = (): boolean => deps.chain.writable ?? true

  /** Seals what was held, envelope by envelope, as long as the disk takes it. */
  const resume = async (): Promise<void> => {
    if (writable()) declareLost()
    while (held.length > 0 && writable()) {
      const taken = held.slice(0, limits.maxReadings)
      held = held.slice(taken.length)
      for (const lane of lanes) {
        const readings = taken.filter((reading) => laneOf(reading) === lane)
        if (readings.length > 0) seal(readings, lane)
      }
      deps.chain.holding?.(held.length, lost.count)
      await deps.chain.commit()
    }
  }
  const startResume = (): void => {
    resuming ??= resume()
      .catch(deps.failed)
      .finally(() => {
        resuming = undefined
      })
  }
  deps.chain.whenWritable?.(startResume)

  /** Seals a lane. Waits for the commit before its own: sensors may be one commit ahead of the disk, no more. */
  const close = async (lane: Lane): Promise<void> => {
    const batch = open.get(lane)
    if (batch === undefined) return
    open.delete(lane)
    batch.cancel()
    if (!writable()) return hold(batch.readings)
    // A node's frames stay in their order: behind those that wait, which may be while the disk is only just back.
    if (frameLanes.has(lane) && held.some(isHeard)) {
      hold(batch.readings)
      return startResume()
    }
    seal(batch.readings, lane)
    const before = lastCommit
    lastCommit = deps.chain.commit()
    lastCommit.catch(deps.failed)
    await before
  }

  const add = (item: Item): Promise<void> | undefined => {
    const lane = laneOf(item)
    let batch = open.get(lane)
    if (batch === undefined) {
      batch = { readings: [], cancel: after(limits.maxAgeMs, () => void close(lane).catch(deps.failed)) }
      open.set(lane, batch)
    }
    batch.readings.push(item)
    return batch.readings.length >= limits.maxReadings ? close(lane) : undefined
  }

  /** The newest number of each node in each lane; beyond a restart the station's counters know it. */
  const newest = new Map<string, number>()
  const addHeard = async (item: Heard): Promise<boolean> => {
    const { node, seq } = openedFrame(item)
    const name = `${laneOf(item)} ${node}`
    if (seq <= (newest.get(name) ?? 0)) return false
    newest.set(name, seq)
    await add(item)
    return true
  }

  return {
    add,
    addHeard,
    declare: async (contentType, payload) => {
      if (!writable()) return false
      append(contentType, payload)
      await deps.chain.commit()
      return true
    },
    flush: async () => {
      for (const lane of [...open.keys()]) await close(lane)
      await resuming
      await lastCommit
      return held.length === 0 && writable()
    },
  }
}
