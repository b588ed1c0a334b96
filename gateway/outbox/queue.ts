/** What waits for the hub's receipt, by number, and which of it goes next: fresh ones first, the backlog after. */
import { createPlaces, type Place, states } from './places.ts'

export type Queue = {
  /** All without a receipt. */
  readonly size: number
  readonly inFlight: number
  /** The least index in the journal among all; undefined where none waits. */
  readonly oldestIndex: number | undefined
  get(seq: number): Place | undefined
  isFlying(seq: number): boolean
  /** It is not sent before it is offered. One that is there stands somewhere else in the journal now. */
  add(seq: number, place: Place): void
  /** It is on disk and may be sent: as fresh, ahead of the backlog, or late, as part of it. */
  offer(seq: number, late?: boolean): void
  drop(seq: number): void
  /** It stands somewhere else in the journal now. */
  move(seq: number, index: number): void
  /** The same for one that is known by where it stood. */
  moveFrom(from: number, to: number): void
  /** Those above `above`, ascending; what is dropped meanwhile is left out. */
  seqs(above?: number): Iterable<number>
  /** The number that so many are below of. */
  ranked(rank: number): number | undefined
  /** All, by their place in the journal, from its end to its beginning. */
  newestFirst(): number[]
  /** Takes the next to send, which is then in flight, or says how long to wait for one. */
  take(): { readonly seq: number; readonly late: boolean } | { readonly waitMs: number }
  /** It could not be read: the others of the backlog go before it, and none of them for `ms`. */
  putBack(seq: number, ms: number): void
  /** All that was in flight or fresh becomes backlog. */
  requeue(): void
  clear(): void
}

/** An empty queue. */
export const createQueue = (options: {
  /** Envelopes sent and not yet receipted, at most. */
  readonly maxInFlight: number
  /** After this long without a receipt an envelope is sent again. */
  readonly receiptTimeoutMs: number
  readonly backlogIntervalMs: number
  readonly now: () => number
}): Queue => {
  const { maxInFlight, receiptTimeoutMs, backlogIntervalMs, now } = options
  const places = createPlaces()
  const flying = new Map<number, { readonly sentMs: number }>()
  let nextBacklogMs = 0
  /** All fresh ones are above. */
  let freshAbove = 0
  /** The backlog is gone through again and again from here, so that one that comes back waits for the others. */
  let lateAbove = 0

  const toBacklog = (seq: number): void => {
    flying.delete(seq)
    places.setState(seq, states.backlog)
  }

  const requeueLate = (): void => {
    const late = now() - receiptTimeoutMs
    for (const [seq, { sentMs }] of flying) {
      if (sentMs > late) break
      toBacklog(seq)
    }
  }

  /** The seq to send now, or how long to wait for one. */
  const candidate = (): { seq: number; late: boolean } | { waitMs: number } => {
    if (flying.size >= maxInFlight) return { waitMs: receiptTimeoutMs }
    const fresh = places.after(freshAbove, states.fresh)
    freshAbove = (fresh ?? Number.MAX_SAFE_INTEGER) - 1
    if (fresh !== undefined) return { seq: fresh, late: false }
    const late = places.after(lateAbove, states.backlog) ?? places.after(0, states.backlog)
    if (late === undefined) return { waitMs: receiptTimeoutMs }
    const waitMs = nextBacklogMs - now()
    return waitMs > 0 ? { waitMs } : { seq: late, late: true }
  }

  return {
    get size() {
      return places.size
    },
    get inFlight() {
      return flying.size
    },
    get oldestIndex() {
      return places.leastIndex
    },
    get: places.get,
    isFlying: (seq) => flying.has(seq),
    add: places.put,
    offer: (seq, late = false) => {
      places.setState(seq, late ? states.backlog : states.fresh)
      if (!late) freshAbove = Math.min(freshAbove, seq - 1)
    },
    drop: (seq) => {
      places.drop(seq)
      flying.delete(seq)
    },
    move: places.setIndex,
    moveFrom: (from, to) => {
      const seq = places.at(from)
      if (seq !== undefined) places.setIndex(seq, to)
    },
    *seqs(above = 0) {
      for (let seq = places.after(above); seq !== undefined; seq = places.after(seq)) yield seq
    },
    ranked: places.ranked,
    newestFirst: places.byIndex,
    take: () => {
      requeueLate()
      const found = candidate()
      if ('waitMs' in found) return found
      const { seq, late } = found
      places.setState(seq, states.flying)
      flying.set(seq, { sentMs: now() })
      if (late) {
        lateAbove = seq
        nextBacklogMs = now() + backlogIntervalMs
      }
      return found
    },
    putBack: (seq, ms) => {
      toBacklog(seq)
      nextBacklogMs = now() + ms
    },
    requeue: () => {
      for (const seq of [...flying.keys()]) toBacklog(seq)
      let fresh = places.after(0, states.fresh)
      for (; fresh !== undefined; fresh = places.after(fresh, states.fresh)) toBacklog(fresh)
      lateAbove = 0
    },
    clear: () => {
      places.clear()
      flying.clear()
      freshAbove = 0
      lateAbove = 0
    },
  }
}
