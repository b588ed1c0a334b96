/** Rows as their price sees them. */
import type { PricedRow } from '../sales/price.ts'
import type { BucketRow, ReadingRow } from './row.ts'

/** A row's values that are not absent, its age at `nowMs` (UTC), and its score; an interval has none. */
export const pricedRow = (row: ReadingRow | BucketRow, nowMs: number): PricedRow => {
  const { station, time } = row
  const values = Object.values(row.values).filter((value) => value !== null).length
  const ageMs = nowMs - Date.parse(time)
  return 'quality' in row ? { station, values, ageMs, score: row.quality.score } : { station, values, ageMs }
}
