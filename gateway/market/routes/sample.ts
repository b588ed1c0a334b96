/** /v1/sample: some real rows for nothing, to look at before buying. */
import { createRoute } from '@hono/zod-openapi'
import { type Api, caching, entityTag, isNotModified, type MarketDeps, orFail } from '../api.ts'
import { bodyOf } from '../body.ts'
import { formats } from '../formats/all.ts'
import { contextOf, contextText } from '../formats/context.ts'
import { offered } from '../formats/described.ts'
import type { Gate } from '../gate.ts'
import { notModified } from '../headers.ts'
import { chooseFormat } from '../negotiate.ts'
import { parameters, queryOf } from '../parameters.ts'
import { fault, orProblem, Problem } from '../problem.ts'
import { runSample, sampleRows, sampleSensors } from '../sample.ts'
import { latestSchema } from '../schemas.ts'

const sampleRoute = createRoute({
  method: 'get',
  path: '/v1/sample',
  tags: ['Readings'],
  summary: 'Some real readings, for nothing',
  description: `Up to ${sampleRows} readings of each of up to ${sampleSensors} sensors, in order of station and sensor: the first ones since Monday (UTC) that are a day old, or the oldest where there are none. They are the same for everybody, and change once a week.`,
  request: { query: queryOf({ station: parameters.station, format: parameters.format }) },
  responses: { 200: offered(latestSchema, 'Readings as /v1/readings gives them'), ...notModified, ...orFail },
})

/** Adds the route. */
export const addSample = (app: Api, { evidence, store, anchors, nowMs }: MarketDeps, gate: Gate): void => {
  app.openapi(sampleRoute, async (c): Promise<Response> => {
    const { station, format: name } = c.req.valid('query')
    const { format } = orProblem(chooseFormat(formats, name, c.req.header('accept')))
    if (station !== undefined && evidence.station(station) === undefined)
      throw new Problem(fault('not-found', `no station ${station} is registered here`))
    const answer = await gate(() => runSample(station, { store, anchors }, nowMs()))
    const selection = station === undefined ? {} : { stations: [station] }
    const context = await contextOf(format, answer, selection, { store, evidence })
    c.header('vary', 'Accept', { append: true })
    c.header('cache-control', caching.page)
    const etag = entityTag([
      format.name,
      contextText(answer, context),
      ...answer.rows.map((row) => JSON.stringify(row)),
    ])
    c.header('etag', etag)
    if (isNotModified(c, etag)) return c.body(null, 304)
    c.header('content-type', format.contentType)
    return c.body(await bodyOf(format.render([answer], context)))
  })
}
