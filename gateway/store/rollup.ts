/** How readings become buckets: exact integer sums first, one division last, the same in every store. */
import { fromScaled, quantityCoded } from '../reading/quantity.ts'
import { compareText } from './storable.ts'
import type { BucketPosition, RollupFunction } from './store.ts'

/** What a bucket has to know of its values, all in scaled integers. */
export type Tally = { count: number; sum: number; min: number; max: number }

export const emptyTally = (): Tally => ({ count: 0, sum: 0, min: Infinity, max: -Infinity })

export const addValue = (tally: Tally, scaled: number): void => {
  tally.count++
  tally.sum += scaled
  if (scaled < tally.min) tally.min = scaled
  if (scaled > tally.max) tally.max = scaled
}

export const addTally = (tally: Tally, other: Tally): void => {
  tally.count += other.count
  tally.sum += other.sum
  if (other.min < tally.min) tally.min = other.min
  if (other.max > tally.max) tally.max = other.max
}

const scaledResult = (fn: Exclude<RollupFunction, 'count'>, { count, sum, min, max }: Tally) => {
  if (fn === 'mean') return sum / count
  return fn === 'sum' ? sum : fn === 'min' ? min : max
}

/** The bucket's value in the quantity's own unit; for `count` the number of values. */
export const tallyValue = (fn: RollupFunction, code: number, tally: Tally): number =>
  fn === 'count' ? tally.count : fromScaled(quantityCoded(code)!, scaledResult(fn, tally))

/** Longest bucket, ms: some thirty years. */
export const everyMaxMs = 1e12

export const assertEvery = (everyMs: number): void => {
  if (!Number.isInteger(everyMs) || everyMs < 1 || everyMs > everyMaxMs)
    throw new RangeError(`everyMs is a whole number from 1 to ${everyMaxMs}, not ${everyMs}`)
}

/** The order of buckets: time, station, sensor, quantity. */
export const compareBucket = (a: BucketPosition, b: BucketPosition): number =>
  a.timeMs - b.timeMs ||
  compareText(a.station, b.station) ||
  compareText(a.sensor, b.sensor) ||
  a.quantity - b.quantity

/** First bucket time that can hold something after `after`, and whether a bucket comes after it. */
export const bucketsAfter = (after: number | BucketPosition | undefined, everyMs: number) => {
  if (after === undefined) return { fromMs: -Infinity, isAfter: () => true }
  if (typeof after === 'number')
    return {
      fromMs: (Math.floor(after / everyMs) + 1) * everyMs,
      isAfter: ({ timeMs }: BucketPosition) => timeMs > after,
    }
  return {
    fromMs: Math.floor(after.timeMs / everyMs) * everyMs,
    isAfter: (bucket: BucketPosition) => compareBucket(bucket, after) > 0,
  }
}
