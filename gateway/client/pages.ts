/** Pages of one query, and the rows in them. */
import type { IntervalRow, ReadingRow } from './answers.ts'
import { isObject, jsonOf } from './ask.ts'
import { HubDistrusted } from './errors.ts'
import type { AnyQuery } from './query.ts'

/** The rows that a query gives: intervals where it has `every`, readings otherwise. */
export type RowOf<Query extends AnyQuery> = Query extends { readonly every: string }
  ? IntervalRow
  : ReadingRow

/** Formats that readings come in. */
export type Format = 'json' | 'csv' | 'ndjson' | 'geojson' | 'cbor' | 'parquet'

/** Rows as many as a hub gives at once: nearly every purchase is one page. */
export const pageRows = 10_000

export const mostPageBytes = 64 * 1024 * 1024

/** The rows in a body of format json. */
export const rowsIn = <Row>(body: Uint8Array): readonly Row[] => {
  const said = jsonOf(body)
  const rows = isObject(said) ? (said.buckets ?? said.readings) : undefined
  if (!Array.isArray(rows) || !rows.every(isObject))
    throw new HubDistrusted('this is no page of readings', { body })
  return rows as readonly Row[]
}
