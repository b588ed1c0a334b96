/** Where a page of observations ended, as text in the link to the next one. */
import { z } from '@hono/zod-openapi'
import { idPattern } from '../../reading/reading.ts'
import { invalidOption } from './refusals.ts'

/** An observation of a reading by the reading's position and the code of its quantity. */
export type Mark = {
  readonly timeMs: number
  readonly station: string
  readonly sensor: string
  readonly seq: number
  readonly place: number
  readonly code: number
}

/**
 * `askedMs`: when the first page was asked for (UTC), which is now for all that follow, so that what comes in later does
 * not make them endless. Then the last observation, or, where the page ended at an edge of time, that edge (UTC ms); and
 * the sale that paid for all pages, where there was one.
 */
export type Token = { readonly askedMs: number; readonly sale?: string } & (
  | { readonly mark: Mark }
  | { readonly edgeMs: number }
)

const uint = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const id = z.string().regex(idPattern)
const sale = z.string().max(64)
const form = z.union([z.tuple([uint, sale, uint]), z.tuple([uint, sale, uint, id, id, uint, uint, uint])])

export const encodeToken = (token: Token): string => {
  const { askedMs, sale = '' } = token
  const place =
    'edgeMs' in token
      ? [token.edgeMs]
      : (['timeMs', 'station', 'sensor', 'seq', 'place', 'code'] as const).map((name) => token.mark[name])
  return Buffer.from(JSON.stringify([askedMs, sale, ...place])).toString('base64url')
}

/** Throws a Problem for text that no link had. */
export const decodeToken = (text: string): Token => {
  let json: unknown
  try {
    json = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
  } catch {
    json = undefined
  }
  const fields = form.safeParse(json)
  if (!fields.success) throw invalidOption('$skiptoken', 'is none that a page ended with; start without it')
  const [askedMs, paidBy, timeMs, station, sensor, seq, place, code] = fields.data
  const asked = { askedMs, ...(paidBy === '' ? {} : { sale: paidBy }) }
  return station === undefined
    ? { ...asked, edgeMs: timeMs }
    : { ...asked, mark: { timeMs, station, sensor: sensor!, seq: seq!, place: place!, code: code! } }
}
