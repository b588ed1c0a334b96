/** Cursors: where a page ended, opaque to clients and bound to the query that it belongs to. */
import { createHash } from 'node:crypto'
import { z } from '@hono/zod-openapi'
import { idPattern } from '../reading/reading.ts'
import type { Position } from '../store/store.ts'

/**
 * The span of the first page (UTC ms), so that `-1h` stays the same hour on every page; the last row's position; and the
 * sale that paid for all pages, where there was one.
 */
export type Cursor = {
  readonly fromMs: number
  readonly toMs: number
  readonly after: Position
  readonly sale?: string
}

const uint = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const id = z.string().regex(idPattern)
const form = z.tuple([uint, uint, uint, id, id, uint, uint, z.string().max(64), z.string()])

// A slip of a client is what this detects, not an attack: a forged cursor reaches nothing a query would not.
const checkOf = (fields: readonly (number | string)[], query: string): string =>
  createHash('sha256')
    .update(JSON.stringify([query, ...fields]))
    .digest('base64url')
    .slice(0, 16)

const fieldsOf = ({ fromMs, toMs, after, sale = '' }: Cursor) =>
  [fromMs, toMs, after.timeMs, after.station, after.sensor, after.seq, after.place, sale] as const

/** base64url text. `query` says in one string what was asked, without limit and format. */
export const encodeCursor = (cursor: Cursor, query: string): string => {
  const fields = fieldsOf(cursor)
  return Buffer.from(JSON.stringify([...fields, checkOf(fields, query)])).toString('base64url')
}

const fieldsIn = (text: string): z.output<typeof form> | undefined => {
  try {
    return form.safeParse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))).data
  } catch {
    return undefined
  }
}

/** The sale that a cursor names; undefined where it names none, or the text is no cursor. */
export const saleInCursor = (text: string): string | undefined => fieldsIn(text)?.[7] || undefined

/** The cursor, or undefined for text that is none or belongs to another query. */
export const decodeCursor = (text: string, query: string): Cursor | undefined => {
  const fields = fieldsIn(text)
  if (fields === undefined) return undefined
  const [fromMs, toMs, timeMs, station, sensor, seq, place, sale, check] = fields
  const after = { timeMs, station, sensor, seq, place }
  const cursor = { fromMs, toMs, after, ...(sale === '' ? {} : { sale }) }
  return check === checkOf(fieldsOf(cursor), query) ? cursor : undefined
}
