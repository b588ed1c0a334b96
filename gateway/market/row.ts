/** Rows of an answer: what a buyer sees of a reading or of an interval. Private quantities end here at the latest. */
import { fromScaled, quantityCoded, quantityNamed } from '../reading/quantity.ts'
import type { Absence } from '../reading/reading.ts'
import type { Bucket, RollupFunction, StoredReading } from '../store/store.ts'
import type { Proof } from './proof.ts'
import { timeText } from './time.ts'

/**
 * One reading. `time` is RFC 3339 with milliseconds, UTC; `values` are in their quantities' units, exact to the last
 * decimal, null where `absent` says why; `score` is 0..1; `place` is the reading's position in envelope `proof.seq`.
 */
export type ReadingRow = {
  readonly station: string
  readonly sensor: string
  readonly model: string
  readonly time: string
  readonly values: Readonly<Record<string, number | null>>
  readonly absent?: Readonly<Record<string, Absence>>
  readonly quality: { readonly score: number; readonly flags: readonly string[]; readonly rules: string }
  readonly proof: Proof & { readonly place: number }
}

/** One interval of one sensor; `time` is its start. `counts` say how many values each one stands for. */
export type BucketRow = {
  readonly station: string
  readonly sensor: string
  readonly time: string
  readonly values: Readonly<Record<string, number>>
  readonly counts: Readonly<Record<string, number>>
}

// A flag is `<quantity>:<code>` or `<code>`; one about a position would say where its station is not.
const isPublicFlag = (flag: string): boolean => quantityNamed(flag.split(':')[0]!)?.private !== true

/** The row of a stored reading with the wanted quantities (codes; undefined for all); undefined if none is left. */
export const readingRow = (
  reading: StoredReading,
  wanted: ReadonlySet<number> | undefined,
  proof: Proof,
): ReadingRow | undefined => {
  const values: Record<string, number | null> = {}
  const absent: Record<string, Absence> = {}
  let any = false
  let anyAbsent = false
  for (const value of reading.values) {
    const quantity = quantityCoded(value.quantity)
    if (quantity === undefined || quantity.private || wanted?.has(value.quantity) === false) continue
    any = true
    if (value.scaled === null) {
      values[quantity.name] = null
      absent[quantity.name] = value.absent
      anyAbsent = true
    } else values[quantity.name] = fromScaled(quantity, value.scaled)
  }
  if (!any) return undefined
  const { station, sensor, model, timeMs, score, flags, rules, place } = reading
  return {
    station,
    sensor,
    model,
    time: timeText(timeMs),
    values,
    ...(anyAbsent ? { absent } : {}),
    quality: { score, flags: flags.filter(isPublicFlag), rules },
    proof: { ...proof, place },
  }
}

// A mean says a little more than one value does; more digits than this would be noise.
const meanExtraDecimals = 2

/** The value of an interval as it is shown: to the last decimal of its quantity (a code), a mean to two more. */
export const bucketValue = (code: number, value: number, fn: RollupFunction): number => {
  if (fn === 'count') return value
  return Number(value.toFixed(quantityCoded(code)!.decimals + (fn === 'mean' ? meanExtraDecimals : 0)))
}

/** Buckets in the store's order as rows: neighbours of the same time, station and sensor become one. */
export const bucketRows = (buckets: readonly Bucket[], fn: RollupFunction): BucketRow[] => {
  type Open = { values: Record<string, number>; counts: Record<string, number> } & BucketRow
  const rows: Open[] = []
  let before: Bucket | undefined
  for (const bucket of buckets) {
    const { station, sensor, timeMs } = bucket
    const quantity = quantityCoded(bucket.quantity)
    if (quantity === undefined || quantity.private) continue
    if (before?.timeMs !== timeMs || before.station !== station || before.sensor !== sensor)
      rows.push({ station, sensor, time: timeText(timeMs), values: {}, counts: {} })
    before = bucket
    const row = rows.at(-1)!
    row.values[quantity.name] = bucketValue(bucket.quantity, bucket.value, fn)
    row.counts[quantity.name] = bucket.count
  }
  return rows
}
