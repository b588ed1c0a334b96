/** What waits for the hub's receipt, by number, and which of it goes next: fresh ones first, the backlog after. */

/** Where an envelope is in the journal, and its hash. */
export type Place = { readonly index: number; readonly hash: Uint8Array }

export type Queue = {
  /** All without a receipt. */
  readonly size: number
  readonly inFlight: number
  /** The least index in the journal among all; undefined where none waits. */
  readonly oldestIndex: number | undefined
  get(seq: number): Place | undefined
  isFlying(seq: number): boolean
  /** Numbers ascend from call to call. It is not sent before it is offered, or requeued. */
  add(seq: number, place: Place): void
  /** It is on disk and may be sent: as fresh, ahead of the backlog, or late, as part of it. */
  offer(seq: number, late?: boolean): void
  drop(seq: number): void
  /** It stands somewhere else in the journal now. */
  move(seq: number, index: number): void
  /** The same for one that is known by where it stood. */
  moveFrom(from: number, to: number): void
  /** Ascending; what is dropped meanwhile is left out. */
  seqs(): Iterable<number>
  /** All, by their place in the journal, from its end to its beginning. */
  newestFirst(): number[]
  /** Takes the next to send, which is then in flight, or says how long to wait for one. */
  take(): { readonly seq: number; readonly late: boolean } | { readonly waitMs: number }
  /** It could not be read: it goes behind the backlog, and no other of the backlog goes for `ms`. */
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
  // In order of seq and journal index alike, because a Map keeps the order of insertion.
  const pending = new Map<number, { index: number; readonly hash: Uint8Array }>()
  const flying = new Map<number, { readonly sentMs: number }>()
  const fresh = new Set<number>()
  const backlog = new Set<number>()
  /** Whether `pending` is in order of journal index as well: not where one was written again. */
  let inIndexOrder = true
  let newestIndex = 0
  let nextBacklogMs = 0

  const requeueLate = (): void => {
    const late = now() - receiptTimeoutMs
    for (const [seq, { sentMs }] of flying) {
      if (sentMs > late) break
      flying.delete(seq)
      backlog.add(seq)
    }
  }

  /** The seq to send now, or how long to wait for one. */
  const candidate = (): { seq: number; late: boolean } | { waitMs: number } => {
    if (flying.size >= maxInFlight) return { waitMs: receiptTimeoutMs }
    const [newest] = fresh
    if (newest !== undefined) return { seq: newest, late: false }
    const [oldest] = backlog
    if (oldest === undefined) return { waitMs: receiptTimeoutMs }
    const waitMs = nextBacklogMs - now()
    return waitMs > 0 ? { waitMs } : { seq: oldest, late: true }
  }

  return {
    get size() {
      return pending.size
    },
    get inFlight() {
      return flying.size
    },
    get oldestIndex() {
      if (inIndexOrder) return pending.values().next().value?.index
      let least: number | undefined
      for (const { index } of pending.values()) if (least === undefined || index < least) least = index
      return least
    },
    get: (seq) => pending.get(seq),
    isFlying: (seq) => flying.has(seq),
    add: (seq, { index, hash }) => {
      if (index < newestIndex) inIndexOrder = false
      newestIndex = index
      pending.set(seq, { index, hash })
    },
    offer: (seq, late = false) => {
      if (!pending.has(seq)) return
      if (late) backlog.add(seq)
      else fresh.add(seq)
    },
    drop: (seq) => {
      pending.delete(seq)
      flying.delete(seq)
      fresh.delete(seq)
      backlog.delete(seq)
    },
    move: (seq, index) => {
      const place = pending.get(seq)
      if (place !== undefined) place.index = index
      inIndexOrder = false
    },
    moveFrom: (from, to) => {
      for (const place of pending.values()) if (place.index === from) place.index = to
      inIndexOrder = false
    },
    seqs: () => pending.keys(),
    newestFirst: () => [...pending].sort(([, a], [, b]) => b.index - a.index).map(([seq]) => seq),
    take: () => {
      requeueLate()
      const found = candidate()
      if ('waitMs' in found) return found
      const { seq, late } = found
      fresh.delete(seq)
      backlog.delete(seq)
      flying.set(seq, { sentMs: now() })
      if (late) nextBacklogMs = now() + backlogIntervalMs
      return found
    },
    putBack: (seq, ms) => {
      flying.delete(seq)
      backlog.add(seq)
      nextBacklogMs = now() + ms
    },
    requeue: () => {
      const again = [...flying.keys(), ...fresh, ...backlog].sort((a, b) => a - b)
      flying.clear()
      fresh.clear()
      backlog.clear()
      for (const seq of again) backlog.add(seq)
    },
    clear: () => {
      pending.clear()
      flying.clear()
      fresh.clear()
      backlog.clear()
      inIndexOrder = true
      newestIndex = 0
    },
  }
}
