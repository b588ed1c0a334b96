/** /influx: InfluxDB's HTTP API (1.x) as far as clients that read need it, such as Grafana. */
import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { type Api, baseOf, type MarketDeps, okJson, orFail } from '../api.ts'
import { maxStations } from '../area.ts'
import { setKey } from '../callers.ts'
import type { Gate } from '../gate.ts'
import { headers, soldHeaders } from '../headers.ts'
import { influxProblem } from '../influx/fault.ts'
import {
  answerInflux,
  type InfluxAnswer,
  readStatements,
  resolvedText,
  sharedText,
} from '../influx/influx.ts'
import { stationsOf } from '../influx/pages.ts'
import { type InfluxRequest, readRequest } from '../influx/request.ts'
import type { Box } from '../influx/rows.ts'
import { openSensors } from '../influx/sensors.ts'
import { InfluxRefusal } from '../influx/token.ts'
import { maxRows } from '../parameters.ts'
import { type Fault, fault, orProblem, Problem, problemSlugs } from '../problem.ts'
import { run, runLatest } from '../query.ts'
import { scopeText } from '../scope.ts'

/** Everything below this address is answered in InfluxDB's words. */
export const influxRoot = '/influx/'

const cell = z.union([z.string(), z.number(), z.boolean()]).nullable()

const series = z
  .strictObject({
    name: z.string().optional(),
    tags: z.record(z.string(), z.string()).optional(),
    columns: z.array(z.string()),
    values: z.array(z.array(cell)),
  })
  .openapi('InfluxSeries')

const answerSchema = z
  .strictObject({
    results: z.array(
      z.strictObject({
        statement_id: z.number().int(),
        series: z.array(series).optional(),
        error: z.string().optional(),
      }),
    ),
  })
  .openapi('InfluxAnswer')

const errorSchema = z
  .looseObject({
    error: z.string(),
    type: z.enum(problemSlugs.map((slug) => `/problems/${slug}`) as [string, ...string[]]),
    status: z.number().int(),
  })
  .openapi('InfluxError', { description: 'The text of a problem in "error", and its members (RFC 9457)' })

const text = (description: string) => z.string().optional().openapi({ description })

const parameters = z.strictObject({
  q: z.string().openapi({
    description: 'InfluxQL: SELECT over "readings", SHOW; several with ; between them',
    example:
      'SELECT mean("temperature") FROM "readings" WHERE time >= now() - 6h GROUP BY time(5m), "station" fill(null)',
  }),
  db: text('groundtruth'),
  rp: text('autogen, or nothing'),
  epoch: text('Unit of times: ns, u, ms, s, m or h; RFC 3339 without it'),
  pretty: text('true for lines and indents'),
  params: text('JSON object of values for $names in the query'),
  u: text('Any user name'),
  p: text(
    'The API key. It stands in the logs of every proxy on the way: send it as the password of Basic instead',
  ),
  chunked: text('Only false: answers come whole'),
})

const described = {
  tags: ['Influx'],
  summary: 'The same readings for clients of InfluxDB 1.x, such as Grafana',
  description:
    'Database groundtruth, measurement readings: a field for each quantity and score, tags station, sensor, model. ' +
    'SELECT of fields, *, or mean, sum, count, min, max, first, last of a field; WHERE time, tags (=, !=, =~, !~, AND, OR), score >=; ' +
    'GROUP BY time(length, offset), tags, *; fill(); ORDER BY time; LIMIT, OFFSET, SLIMIT, SOFFSET. SHOW DATABASES, RETENTION POLICIES, ' +
    'MEASUREMENTS, TAG KEYS, TAG VALUES, FIELD KEYS, SERIES. Anything else is refused. SHOW costs nothing; the values of a SELECT cost what ' +
    'they cost at /v1/readings; the same SELECT over intervals is given again for nothing until its newest interval is over. ' +
    'The API key is the password of Basic, with any user.',
  responses: {
    200: okJson(
      answerSchema,
      'Series by statement; "error" where one statement is not answered',
      ...soldHeaders,
      'Age',
      'X-Influxdb-Version',
    ),
    default: {
      description: 'An error as InfluxDB gives it',
      headers: { ...orFail.default.headers, ...headers('X-Influxdb-Version') },
      content: { 'application/json': { schema: errorSchema } },
    },
  },
}

const refusedIn = <T>(work: () => T): T => {
  try {
    return work()
  } catch (error) {
    if (error instanceof InfluxRefusal) throw new Problem(fault('query-not-answered', error.message))
    throw error
  }
}

/** What a bundle of a box asks for: nothing where there is none, or of more stations than one can have. */
const provable = (box: Box | undefined): Box | null =>
  box !== undefined && box.stations.length <= maxStations ? box : null

/** What InfluxDB's clients are told of the version: the language they may speak, and who answers. */
const versionText = (version: string): string => `1.8-groundtruth-${version}`

/** Answers what failed below `influxRoot`. */
export const influxFault = (c: Context, wrong: Fault, { version, publicUrl, till }: MarketDeps): Response => {
  const base = baseOf(c, publicUrl)
  const ways = [
    ...(till?.cards === undefined ? [] : [`POST ${base}/v1/checkout (card)`]),
    ...(till?.rail === undefined ? [] : [`POST ${base}/v1/topup (x402)`]),
    'the operator of this hub',
  ]
  return influxProblem(wrong, versionText(version), `Credit comes by ${ways.join(' or ')}; see ${base}/docs.`)
}

/** Notes the key of a request that has it in its address. */
export const noteInfluxKey = async (c: Context, next: () => Promise<void>): Promise<void> => {
  const key = c.req.query('p')
  if (key !== undefined && key !== '') setKey(c, key)
  await next()
}

/** Adds the routes. */
export const addInflux = (app: Api, deps: MarketDeps, gate: Gate): void => {
  const { store, evidence, anchors, nowMs, version, till } = deps
  const sources = { store, anchors }
  const sensors = openSensors(store, nowMs)

  for (const method of ['get', 'post'] as const)
    app.openAPIRegistry.registerPath({
      ...described,
      method,
      path: '/influx/query',
      request:
        method === 'get'
          ? { query: parameters }
          : { body: { content: { 'application/x-www-form-urlencoded': { schema: parameters } } } },
    })
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/influx/ping',
    tags: ['Influx'],
    summary: 'Whether this hub answers, and which version of InfluxDB it speaks like',
    responses: { 204: { description: 'It does', headers: headers('X-Influxdb-Version') } },
  })

  const answer = (
    request: InfluxRequest,
    statements: ReturnType<typeof readStatements>,
    now: number,
  ): Promise<InfluxAnswer> =>
    answerInflux(statements, request, {
      sensors,
      nowMs: now,
      run: (plan) => gate(() => run(plan, sources)),
      latest: async (code, of) => {
        const { answer: newest } = orProblem(
          await gate(() =>
            runLatest({ sensor: undefined, quantity: [code] }, stationsOf(of), sources, maxRows),
          ),
        )
        return newest.kind === 'latest' ? newest.rows : []
      },
    })

  app.use('/influx/*', async (c, next) => {
    await next()
    c.header('x-influxdb-version', versionText(version))
  })

  app.get('/influx/ping', (c) => c.body(null, 204))

  const query = async (c: Context): Promise<Response> => {
    const form = c.req.method === 'POST' ? new URLSearchParams(await c.req.text()) : new URLSearchParams()
    const request = refusedIn(() => readRequest(new URL(c.req.url).searchParams, form))
    if (request.key !== undefined) setKey(c, request.key)
    // A wrong key is told where a data source is tried out, not with its first panel.
    const key = till?.keyOf(c)
    const now = nowMs()
    const statements = refusedIn(() => readStatements(request, now))
    if (till === undefined || statements.every(({ kind }) => kind === 'show')) {
      const { body } = await answer(request, statements, now)
      c.header('content-type', 'application/json')
      return c.body(body)
    }
    const shared =
      key === undefined || c.req.header('idempotency-key') !== undefined
        ? undefined
        : sharedText(statements, request, now)
    const { query: q, bound, database, policy, epoch, pretty } = request
    const asked = `influx ${shared ?? JSON.stringify([q, [...bound], database, policy, epoch, pretty])}`
    const resolved = `influx ${resolvedText(statements, request, now)}`
    const once = shared === undefined ? {} : { once: Buffer.from(till.queryHash(asked)).toString('hex') }
    return till.serve(c, asked, { query: resolved, ...once }, async (_, own) => {
      const { body, priced, box } = await answer(request, statements, now)
      return {
        price: till.priceOf(priced, own),
        delivery: { contentType: 'application/json', body: new Uint8Array(Buffer.from(body)) },
        scope: scopeText(provable(box), evidence),
      }
    })
  }
  app.get('/influx/query', query)
  app.post('/influx/query', query)
}
