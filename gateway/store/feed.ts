/** Feeds the store from the evidence: decoded, scored, written, and a note how far. Both can be dropped and made again. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Evidence, KeptEnvelope } from '../evidence/evidence.ts'
import type { Scorer } from '../quality/quality.ts'
import type { ScoreStates } from '../quality/states.ts'
import { readingsOf } from '../reading/contents.ts'
import { decodeEnvelope } from '../reading/envelope.ts'
import { type Store, type StoredReading, StoreUnavailable } from './store.ts'

export type FeedDeps = {
  readonly evidence: Pick<Evidence, 'committed' | 'grown' | 'read'>
  readonly store: Store
  readonly states: ScoreStates
  /** A scorer that goes on from the kept states. */
  readonly scorer: () => Scorer
  /** Version of the rules: with another one everything is scored again. */
  readonly rules: string
  /**
   * Hears of readings after they are stored, and how far the evidence is stored with them: an index. Before anything else
   * it hears where the feed goes on.
   */
  readonly stored?: (readings: readonly StoredReading[], reached: number) => void
  /** Hears of a store that is away, once per attempt. */
  readonly unavailable?: (error: StoreUnavailable) => void
}

// Large enough for one flush to serve many, small enough to be held in memory twice.
const envelopesPerWrite = 200
const retryMs = [500, 1_000, 2_000, 5_000, 10_000, 30_000] as const

const rowsOf = (kept: KeptEnvelope, scorer: Scorer): StoredReading[] => {
  const decoded = decodeEnvelope(kept.bytes)
  const contents = decoded.ok ? readingsOf(decoded.envelope) : decoded
  if (!contents.ok)
    throw new Error(`evidence ${kept.index} was accepted and can no longer be read: ${contents.detail}`)
  return contents.readings.map((reading, place) => ({
    ...reading,
    ...scorer.score(kept.station, reading),
    station: kept.station,
    seq: kept.seq,
    place,
  }))
}

/**
 * Where to go on: at the place the scorer's memory belongs to. Where memory and store do not fit each other (one was
 * deleted, or the rules changed), both start again, so that scores are always those of one pass over all evidence.
 */
const resume = async ({ store, states, rules }: FeedDeps): Promise<number> => {
  const stored = await store.cursor()
  const { place } = states
  const fits =
    place !== undefined && place.rules === rules && (stored === place.reached || stored === place.before)
  if (fits && (stored > 0 || place.reached === 0)) {
    // The rows were written before the memory was kept: only the note how far was lost.
    if (stored !== place.reached) await store.setCursor(place.reached)
    return place.reached
  }
  if (place !== undefined || stored > 0) {
    await store.clear()
    states.clear()
  }
  return 0
}

/** Runs until the signal aborts. A store that is away holds the feed, never the evidence. */
export const runFeed = async (deps: FeedDeps, signal: AbortSignal): Promise<void> => {
  const { evidence, store, states } = deps

  const patiently = async (work: () => Promise<void>): Promise<void> => {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await work()
        return
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error
        deps.unavailable?.(error)
        await sleep(retryMs[Math.min(attempt, retryMs.length - 1)], undefined, { signal }).catch(
          () => undefined,
        )
      }
    }
  }

  let reached = 0
  await patiently(async () => {
    reached = await resume(deps)
  })
  if (!signal.aborted) deps.stored?.([], reached)
  const scorer = deps.scorer()

  const write = async (rows: StoredReading[], to: number): Promise<void> => {
    await patiently(() => store.write(rows))
    if (signal.aborted) return
    states.save(scorer.changedStates(), deps.rules, to)
    await patiently(() => store.setCursor(to))
    reached = to
    deps.stored?.(rows, to)
  }

  while (!signal.aborted) {
    await evidence.grown(reached, signal)
    const end = evidence.committed
    let rows: StoredReading[] = []
    let envelopes = 0
    for await (const kept of evidence.read(reached, end)) {
      if (signal.aborted) return
      // Positions are scored by nobody and sold to nobody: they stay in the evidence.
      if (!kept.withheld) rows.push(...rowsOf(kept, scorer))
      if (++envelopes < envelopesPerWrite) continue
      await write(rows, kept.index + 1)
      rows = []
      envelopes = 0
    }
    if (!signal.aborted && end > reached) await write(rows, end)
  }
}
