/** /v1/stations: who measures what, since when, and what of it has arrived. */
import { createRoute, z } from '@hono/zod-openapi'
import type { Evidence, StationRecord } from '../../evidence/evidence.ts'
import { toHex } from '../../reading/bytes.ts'
import { quantityCoded } from '../../reading/quantity.ts'
import { idPattern } from '../../reading/reading.ts'
import type { SensorSummary } from '../../store/store.ts'
import { type Api, linkTo, type MarketDeps, okJson, orFail } from '../api.ts'
import { defaultRows, parameters, queryOf } from '../parameters.ts'
import { fault, Problem } from '../problem.ts'
import { stationSchema, stationsSchema } from '../schemas.ts'
import { timeText } from '../time.ts'

const stationsRoute = createRoute({
  method: 'get',
  path: '/v1/stations',
  tags: ['Stations'],
  summary: 'All stations, in order of id',
  request: { query: queryOf({ limit: parameters.limit, after: parameters.after }) },
  responses: { 200: okJson(stationsSchema, 'Stations with their sensors'), ...orFail },
})

const stationRoute = createRoute({
  method: 'get',
  path: '/v1/stations/{id}',
  tags: ['Stations'],
  summary: 'One station',
  request: {
    query: queryOf({}),
    params: z.object({
      id: z.string().regex(idPattern, 'takes a station id').openapi({ description: 'Station id' }),
    }),
  },
  responses: { 200: okJson(stationSchema, 'The station'), ...orFail },
})

// A station that lost its clock or its disk can have thousands; the newest say what is going on.
const maxGapRanges = 100

const sensorView = ({ sensor, model, quantities, firstMs, lastMs, readings }: SensorSummary) => {
  const names = quantities.flatMap((code) => {
    const quantity = quantityCoded(code)
    return quantity === undefined || quantity.private ? [] : [quantity.name]
  })
  return { sensor, model, quantities: names, first: timeText(firstMs), last: timeText(lastMs), readings }
}

const stationView = (
  evidence: Evidence,
  { station, publicKey, registeredMs, revokedMs }: StationRecord,
  summaries: readonly SensorSummary[],
) => {
  const { gaps, envelopes, lastReceivedMs } = evidence.progress(station)
  return {
    station,
    publicKey: toHex(publicKey),
    registered: timeText(registeredMs),
    ...(revokedMs === null ? {} : { revoked: timeText(revokedMs) }),
    lastSeen: lastReceivedMs === null ? null : timeText(lastReceivedMs),
    envelopes,
    gaps: gaps.length,
    missing: gaps.reduce((sum, [first, last]) => sum + last - first + 1, 0),
    sensors: summaries.filter((one) => one.station === station).map(sensorView),
    gapRanges: gaps.slice(-maxGapRanges).map(([first, last]): [number, number] => [first, last]),
  }
}

/** Adds the routes. */
export const addStations = (app: Api, { evidence, store, publicUrl }: MarketDeps): void => {
  app.openapi(stationsRoute, async (c) => {
    const { limit = defaultRows, after = '' } = c.req.valid('query')
    const records = evidence
      .stations()
      .filter(({ station }) => station > after)
      .sort((a, b) => (a.station < b.station ? -1 : 1))
    const page = records.slice(0, limit)
    const summaries = Map.groupBy(await store.sensors(), ({ station }) => station)
    const stations = page.map((record) => {
      const { gapRanges: _, ...view } = stationView(evidence, record, summaries.get(record.station) ?? [])
      return view
    })
    const next = records.length > limit ? page.at(-1)!.station : null
    if (next !== null) c.header('link', linkTo(c, publicUrl, 'after', next))
    return c.json({ stations, next }, 200)
  })

  app.openapi(stationRoute, async (c) => {
    const { id } = c.req.valid('param')
    const record = evidence.station(id)
    if (record === undefined) throw new Problem(fault('not-found', `no station ${id} is registered here`))
    return c.json(stationView(evidence, record, await store.sensors(id)), 200)
  })
}
