/** /v1/refusals: what the hub did not take, and why, so that a station's owner can find out. */
import { createRoute } from '@hono/zod-openapi'
import type { Evidence, RefusedRecord } from '../../evidence/evidence.ts'
import { toHex } from '../../reading/bytes.ts'
import type { Refusal } from '../../reading/refusal.ts'
import { type Api, linkTo, type MarketDeps, okJson, orFail } from '../api.ts'
import { limitUpTo, parameters, queryOf } from '../parameters.ts'
import { refusalsSchema } from '../schemas.ts'
import { timeText } from '../time.ts'

const defaultRefusals = 100
const maxRefusals = 1000

// Records of other reasons that one request may skip before it hands back where to go on.
const maxScanned = 5000

const refusalsRoute = createRoute({
  method: 'get',
  path: '/v1/refusals',
  tags: ['Operation'],
  summary: 'Refused envelopes, newest first',
  description: 'With "reason", a page can be short and still have a next one.',
  request: {
    query: queryOf({
      limit: limitUpTo(maxRefusals, defaultRefusals),
      before: parameters.before,
      reason: parameters.reason,
      bytes: parameters.bytes,
    }),
  },
  responses: { 200: okJson(refusalsSchema, 'Refusals', 'Link'), ...orFail },
})

/** Newest refusals of a reason, and where to go on; bounded in what it reads. */
const find = async (
  evidence: Evidence,
  limit: number,
  before: number | undefined,
  reason: Refusal | undefined,
): Promise<{ found: RefusedRecord[]; next: number | null }> => {
  const found: RefusedRecord[] = []
  let next = before
  for (let scanned = 0; scanned < maxScanned; ) {
    const asked = Math.min(maxRefusals, reason === undefined ? limit - found.length : maxRefusals)
    const page = await evidence.refusals(asked, next)
    for (const record of page) {
      next = record.index
      if (reason !== undefined && record.reason !== reason) continue
      found.push(record)
      if (found.length === limit) return { found, next }
    }
    if (page.length < asked) return { found, next: null }
    scanned += page.length
  }
  return { found, next: next ?? null }
}

/** Adds the route. */
export const addRefusals = (app: Api, { evidence, publicUrl }: MarketDeps): void => {
  app.openapi(refusalsRoute, async (c) => {
    const { limit = defaultRefusals, before, reason, bytes } = c.req.valid('query')
    const { found, next } = await find(evidence, limit, before, reason)
    if (next !== null && next > 0) c.header('link', linkTo(c, publicUrl, 'before', `${next}`))
    const refusals = found.map((record) => ({
      index: record.index,
      received: timeText(record.receivedMs),
      station: record.station,
      seq: record.seq,
      reason: record.reason,
      detail: record.detail,
      hash: toHex(record.hash),
      ...(bytes === 'true' ? { bytes: Buffer.from(record.bytes).toString('base64') } : {}),
    }))
    return c.json({ refusals, next: next === 0 ? null : next }, 200)
  })
}
