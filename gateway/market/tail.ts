/** The evidence's tail as the market sees it: envelopes one after the other as they were kept, with their scored readings. */
import type { Evidence, KeptEnvelope } from '../evidence/evidence.ts'
import { readingsOf } from '../reading/contents.ts'
import { decodeEnvelope } from '../reading/envelope.ts'
import type { Position, Store, StoredReading } from '../store/store.ts'

/** A kept envelope; `rows` gives its readings as the store has them, in the order of their places. */
export type TailEnvelope = Omit<KeptEnvelope, 'bytes' | 'hash'> & {
  readonly rows: () => Promise<readonly StoredReading[]>
}

// The newest so many envelopes are at hand with their readings: whoever follows closely asks neither disk nor store.
const keptAtHand = 512

// An envelope has some fifty readings within seconds; a stranger's may have years between them.
const pageRows = 1000

/** Where the first envelope from an index on is; the envelopes ascend. */
const firstFrom = (envelopes: readonly TailEnvelope[], index: number): number => {
  let [low, high] = [0, envelopes.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (envelopes[middle]!.index < index) low = middle + 1
    else high = middle
  }
  return low
}

const nameOf = (station: string, seq: number): string => `${station}/${seq}`

export type Tail = ReturnType<typeof openTail>

/** Follows the evidence as far as it is in the store: `reached` is one past the newest such envelope. */
export const openTail = (
  { evidence, store }: { readonly evidence: Pick<Evidence, 'read'>; readonly store: Pick<Store, 'readings'> },
  from: number,
) => {
  const atHand = new Map<string, readonly StoredReading[]>()
  const waiting = new Set<() => void>()
  let reached = from
  // Envelopes that are at hand: all there are from one index to another.
  let recent: TailEnvelope[] = []
  let recentFrom = from
  let recentTo = from
  let catchingUp: Promise<void> | undefined

  /** Readings of one envelope in a span of time that holds all of `times`. */
  const lookUp = async (
    kept: Pick<KeptEnvelope, 'station' | 'seq'>,
    times: readonly number[],
    fromMs: number,
    toMs: number,
  ): Promise<StoredReading[]> => {
    const wanted = times.filter((timeMs) => timeMs >= fromMs && timeMs < toMs)
    if (wanted.length === 0) return []
    const found: StoredReading[] = []
    let after: Position | undefined
    for (;;) {
      const page = await store.readings({ stations: [kept.station], fromMs, toMs }, pageRows, after)
      found.push(...page.filter(({ seq }) => seq === kept.seq))
      if (page.length < pageRows) return found
      if (toMs - fromMs > 1) break
      after = page.at(-1)!
    }
    const middleMs = Math.floor((fromMs + toMs) / 2)
    return [
      ...(await lookUp(kept, wanted, fromMs, middleMs)),
      ...(await lookUp(kept, wanted, middleMs, toMs)),
    ]
  }

  const rowsOf = async (kept: KeptEnvelope): Promise<readonly StoredReading[]> => {
    const known = atHand.get(nameOf(kept.station, kept.seq))
    if (known !== undefined) return known
    const decoded = decodeEnvelope(kept.bytes)
    const contents = decoded.ok ? readingsOf(decoded.envelope) : decoded
    if (!contents.ok) throw new Error(`evidence ${kept.index} can no longer be read: ${contents.detail}`)
    const times = contents.readings.map(({ timeMs }) => timeMs)
    const rows = await lookUp(kept, times, kept.firstMs, kept.lastMs + 1)
    return rows.sort((a, b) => a.place - b.place)
  }

  const envelopeOf = (kept: KeptEnvelope): TailEnvelope => {
    const { bytes: _, hash: __, ...ref } = kept
    return { ...ref, rows: () => rowsOf(kept) }
  }

  /** Brings what is at hand up to where the store has come, once for all who ask meanwhile. */
  const catchUp = (): Promise<void> => {
    const read = async (): Promise<void> => {
      const [list, to] = [recent, reached]
      for await (const kept of evidence.read(recentTo, to)) {
        if (!kept.withheld) list.push(envelopeOf(kept))
        if (list.length > 2 * keptAtHand) list.splice(0, keptAtHand)
      }
      // Another store has begun from the start meanwhile.
      if (list !== recent) return
      if (list.length > keptAtHand) {
        list.splice(0, list.length - keptAtHand)
        recentFrom = list[0]!.index
      }
      recentTo = to
    }
    catchingUp ??= read().finally(() => {
      catchingUp = undefined
    })
    return catchingUp
  }

  return {
    get reached() {
      return reached
    },
    /** Hears of readings that were stored, and how far the evidence is in the store with them. */
    stored: (readings: readonly StoredReading[], to: number): void => {
      for (const rows of Map.groupBy(readings, ({ station, seq }) => nameOf(station, seq)).values()) {
        const [{ station, seq }] = rows as [StoredReading, ...StoredReading[]]
        atHand.set(nameOf(station, seq), rows)
        if (atHand.size > keptAtHand) atHand.delete(atHand.keys().next().value!)
      }
      if (to < reached || reached === 0) {
        recent = []
        recentFrom = to
        recentTo = to
      }
      reached = to
      for (const wake of [...waiting]) wake()
    },
    /** Resolves when the store has come further than an index, when so many ms have passed, or when the signal aborts. */
    grown: (after: number, ms: number, signal: AbortSignal): Promise<void> =>
      new Promise((resolve) => {
        if (reached > after || signal.aborted) return resolve()
        const end = (): void => {
          clearTimeout(timer)
          signal.removeEventListener('abort', end)
          waiting.delete(wake)
          resolve()
        }
        const wake = (): void => {
          if (reached > after) end()
        }
        const timer = setTimeout(end, ms)
        signal.addEventListener('abort', end)
        waiting.add(wake)
      }),
    /** Envelopes that may be handed out, from an index on, up to where the store has come when this is called. */
    read: async function* (from: number): AsyncGenerator<TailEnvelope> {
      const to = reached
      if (from >= to) return
      while (from >= recentFrom && recentTo < to) await catchUp()
      if (from >= recentFrom) {
        yield* recent.slice(firstFrom(recent, from))
        return
      }
      for await (const kept of evidence.read(from, to)) if (!kept.withheld) yield envelopeOf(kept)
    },
  }
}
