/** The time-series store: a view of the evidence for queries, which can be deleted and rebuilt from it. */
import type { Reading } from '../reading/reading.ts'

/**
 * A verified reading as the store keeps it. `seq` and `place` (position in the envelope, from 0) name it within
 * its station for ever, so that writing it again changes nothing. `score` is 0..1, three decimals; `flags` are
 * reason codes as `<quantity>:<code>` or `<code>`; `rules` is the version of the rules that gave them.
 */
export type StoredReading = Reading & {
  readonly station: string
  readonly seq: number
  readonly place: number
  readonly score: number
  readonly flags: readonly string[]
  readonly rules: string
}

/** Where a page ended: answers are ordered by time, station, sensor, seq, place. */
export type Position = {
  readonly timeMs: number
  readonly station: string
  readonly sensor: string
  readonly seq: number
  readonly place: number
}

/** Ascending: oldest first. Descending is the same order backwards, ties included. */
export type Order = 'ascending' | 'descending'

/**
 * Times are UTC ms, `fromMs` inclusive, `toMs` exclusive. `stations` are at most `stationsMax`; an empty list matches
 * nothing, only a missing one every station. `quantities` are codes; a reading with none of them is left out, and of the
 * others only these values are given. An absent value, with its reason, counts as one of a reading's.
 */
export type Selection = {
  readonly stations?: readonly string[]
  readonly sensor?: string
  readonly quantities?: readonly number[]
  readonly fromMs: number
  readonly toMs: number
}

/** Readings scored below `minScore` (0..1) are left out. */
export type ScoredSelection = Selection & { readonly minScore?: number }

/** Most stations that one selection names: each is looked up by itself. */
export const stationsMax = 100

export const rollupFunctions = ['mean', 'min', 'max', 'sum', 'count'] as const
export type RollupFunction = (typeof rollupFunctions)[number]

/** One bucket of a rollup: `timeMs` is its start, a multiple of `everyMs`; `value` is in the quantity's own unit. */
export type Bucket = {
  readonly station: string
  readonly sensor: string
  readonly quantity: number
  readonly timeMs: number
  readonly value: number
  readonly count: number
}

/** Where a page of buckets ended: answers are ordered by time, station, sensor, quantity. */
export type BucketPosition = Pick<Bucket, 'timeMs' | 'station' | 'sensor' | 'quantity'>

/** What is known of one sensor: `model` as in its newest reading, every quantity it ever named in ascending order. */
export type SensorSummary = {
  readonly station: string
  readonly sensor: string
  readonly model: string
  readonly quantities: readonly number[]
  readonly firstMs: number
  readonly lastMs: number
  readonly readings: number
}

export type Store = AsyncDisposable & {
  /** Name and version of what keeps the data, for status pages. */
  readonly kind: string
  /**
   * Durable when it resolves. Idempotent by (station, seq, place): written again, a reading is kept once, with the newer
   * score, flags and rules. Throws StoreUnavailable when it should be tried again later, and RangeError, before anything
   * is written, for a reading that no store can hold.
   */
  write(readings: readonly StoredReading[]): Promise<void>
  /** At most `limit` readings in order, those after `after` where given: behind it in that order. */
  readings(selection: Selection, limit: number, after?: Position, order?: Order): Promise<StoredReading[]>
  /**
   * Buckets in order of time, station, sensor, quantity; absent values count in none; at most `limit`. `after` goes on
   * behind a page: behind its last bucket, or, where it is a number, behind all buckets of that time. With `minScore` each
   * reading of the span is looked at, where otherwise sums kept before may do.
   */
  rollup(
    selection: ScoredSelection,
    everyMs: number,
    fn: RollupFunction,
    limit: number,
    after?: number | BucketPosition,
  ): Promise<Bucket[]>
  /** The newest reading of each sensor that matches, in order of station and sensor. */
  latest(selection: Pick<Selection, 'stations' | 'sensor' | 'quantities'>): Promise<StoredReading[]>
  /** Every sensor, or those of one station, in order of station and sensor. */
  sensors(station?: string): Promise<SensorSummary[]>
  /** How far the evidence has been written: the evidence index to go on from; 0 when empty. */
  cursor(): Promise<number>
  setCursor(index: number): Promise<void>
  /** Deletes everything, the cursor too. */
  clear(): Promise<void>
}

/** The store cannot be reached or is overloaded; the same write may succeed later. */
export class StoreUnavailable extends Error {
  override name = 'StoreUnavailable'
}
