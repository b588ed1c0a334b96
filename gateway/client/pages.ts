/** Pages of one query: the first is bought, the later ones come with it. */
import type { IntervalRow, ReadingRow } from './answers.ts'
import { type Answer, isObject, jsonOf } from './ask.ts'
import { HubDistrusted } from './errors.ts'
import type { AnyQuery } from './query.ts'

/** The rows that a query gives: intervals where it has `every`, readings otherwise. */
export type RowOf<Query extends AnyQuery> = Query extends { readonly every: string }
  ? IntervalRow
  : ReadingRow

export type Page<Row> = {
  readonly rows: readonly Row[]
  /** Goes on behind this page; null on the last one. */
  readonly next: string | null
  /** The body as it came, before any content coding: what its digest and the receipt are of. */
  readonly body: Uint8Array
}

/** Rows as many as a hub gives at once: nearly every purchase is one page. */
export const pageRows = 10_000

export const mostPageBytes = 64 * 1024 * 1024

/** The page in a body of format json. */
export const pageIn = <Row>({ body }: Pick<Answer, 'body'>): Page<Row> => {
  const said = jsonOf(body)
  const rows = isObject(said) ? (said.buckets ?? said.readings) : undefined
  const next = isObject(said) ? (said.next ?? null) : undefined
  if (!Array.isArray(rows) || !rows.every(isObject) || !(next === null || typeof next === 'string'))
    throw new HubDistrusted('this is no page of readings', { body })
  return { rows: rows as readonly Row[], next, body }
}
