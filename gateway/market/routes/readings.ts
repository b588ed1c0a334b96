/** /v1/latest and /v1/readings: what sensors said. */
import { createRoute, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import {
  type Api,
  bodyOf,
  caching,
  entityTag,
  isNotModified,
  linkTo,
  type MarketDeps,
  okJson,
  orFail,
} from '../api.ts'
import { formats } from '../formats/all.ts'
import type { Format } from '../formats/format.ts'
import type { Gate } from '../gate.ts'
import { chooseFormat } from '../negotiate.ts'
import { maxRows, publicQuantities, queryOf } from '../parameters.ts'
import { orProblem } from '../problem.ts'
import { type Answer, columnsOf, latestQuery, planReadings, readingsQuery, run, runLatest } from '../query.ts'
import { latestSchema, quantitiesSchema, readingsSchema } from '../schemas.ts'

const offered = <T extends z.ZodType>(schema: T, description: string) =>
  ({
    description,
    headers: { Link: { description: 'rel="next" where there is more', schema: { type: 'string' } } },
    content: {
      'application/json': { schema },
      'text/csv': { schema: z.string() },
      'application/x-ndjson': { schema: z.string() },
    },
  }) as const

const latestRoute = createRoute({
  method: 'get',
  path: '/v1/latest',
  tags: ['Readings'],
  summary: 'The newest reading of each sensor',
  request: { query: latestQuery },
  responses: { 200: offered(latestSchema, 'Newest readings, by station and sensor'), ...orFail },
})

const readingsRoute = createRoute({
  method: 'get',
  path: '/v1/readings',
  tags: ['Readings'],
  summary: 'Readings of a span of time, or one value per interval',
  description:
    'In order of time. Every reading says how good it is and how far its proof has come; /v1/bundle gives the proof itself. Intervals start at multiples of their length, UTC; the first and the last hold only what is within the span.',
  request: { query: readingsQuery },
  responses: {
    200: offered(readingsSchema, 'A page of readings, or of intervals where "every" is given'),
    ...orFail,
  },
})

const quantitiesRoute = createRoute({
  method: 'get',
  path: '/v1/quantities',
  tags: ['Readings'],
  summary: 'What can be measured, in which unit',
  request: { query: queryOf({}) },
  responses: { 200: okJson(quantitiesSchema, 'Every quantity that can be asked for'), ...orFail },
})

/** All that can differ between two answers to one closed query: which rows, what is thought of them, their proof. */
function* tagParts(version: string, format: Format, answer: Answer, columns: readonly string[]) {
  yield `${version} ${format.name} ${columns.join()} ${answer.kind === 'latest' ? '' : answer.next}`
  for (const row of answer.rows)
    yield 'proof' in row
      ? `${row.station} ${row.sensor} ${row.proof.place} ${JSON.stringify([row.proof, row.quality])}`
      : JSON.stringify(row)
}

/** Adds the routes. */
export const addReadings = (app: Api, deps: MarketDeps, gate: Gate): void => {
  const { store, anchors, nowMs, version, publicUrl } = deps
  const sources = { store, anchors }

  const send = async (
    c: Context,
    format: Format,
    answer: Answer,
    selection: Parameters<typeof columnsOf>[0],
    closed: boolean,
  ): Promise<Response> => {
    const columns = format.needsColumns ? await columnsOf(selection, answer, store) : []
    c.header('vary', 'Accept', { append: true })
    c.header('cache-control', closed ? caching.closedSpan : caching.changing)
    if (answer.kind !== 'latest' && answer.next !== null)
      c.header('link', linkTo(c, publicUrl, 'cursor', answer.next))
    if (closed) {
      const tag = entityTag(tagParts(version, format, answer, columns))
      c.header('etag', tag)
      if (isNotModified(c, tag)) return c.body(null, 304)
    }
    c.header('content-type', format.contentType)
    return c.body(bodyOf(format.render(answer, { columns })))
  }

  app.openapi(latestRoute, async (c): Promise<Response> => {
    const query = c.req.valid('query')
    const { format } = orProblem(chooseFormat(formats, query.format, c.req.header('accept')))
    const { answer, selection } = orProblem(await gate(() => runLatest(query, sources, maxRows)))
    return send(c, format, answer, selection, false)
  })

  app.openapi(readingsRoute, async (c): Promise<Response> => {
    const query = c.req.valid('query')
    const { format } = orProblem(chooseFormat(formats, query.format, c.req.header('accept')))
    const { plan } = orProblem(planReadings(query, nowMs()))
    const answer = await gate(() => run(plan, sources))
    return send(c, format, answer, plan.selection, plan.closed)
  })

  app.openapi(quantitiesRoute, (c) => {
    c.header('cache-control', caching.page)
    const quantities = publicQuantities.map(({ name, title, unit, senml, decimals, min, max }) => ({
      name,
      title,
      unit,
      senml,
      decimals,
      min,
      max,
    }))
    return c.json({ quantities }, 200)
  })
}
