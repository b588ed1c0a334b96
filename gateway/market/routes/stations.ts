/** /v1/stations: who measures what, since when, and what of it has arrived. */
import { createRoute, z } from '@hono/zod-openapi'
import type { Evidence, StationRecord } from '../../evidence/evidence.ts'
import { toHex } from '../../reading/bytes.ts'
import { cellResolution, type Profile } from '../../reading/profile.ts'
import { quantityCoded } from '../../reading/quantity.ts'
import { idPattern } from '../../reading/reading.ts'
import type { SensorSummary } from '../../store/store.ts'
import { type Api, linkTo, type MarketDeps, okJson, orFail } from '../api.ts'
import { headers } from '../headers.ts'
import { outlineOf } from '../outline.ts'
import { defaultRows, oneOf, parameters, queryOf } from '../parameters.ts'
import { centreOf, coarser, isThere, whereOf } from '../place.ts'
import { coverageSchema, stationFeaturesSchema } from '../place-schemas.ts'
import { fault, Problem } from '../problem.ts'
import { stationSchema, stationsSchema } from '../schemas.ts'
import { timeText } from '../time.ts'

const stationsRoute = createRoute({
  method: 'get',
  path: '/v1/stations',
  tags: ['Stations'],
  summary: 'All stations, in order of id',
  description:
    'As GeoJSON (Accept: application/geo+json, or format=geojson) each station that tells its place is a feature with its H3 cell as polygon; a cell across the antimeridian is cut there.',
  request: {
    query: queryOf({
      bbox: parameters.bbox,
      h3: parameters.h3,
      near: parameters.near,
      limit: parameters.limit,
      after: parameters.after,
      format: oneOf(['json', 'geojson'], 'Format of the answer, stronger than the Accept header.'),
    }),
  },
  responses: {
    200: {
      description: 'Stations with their sensors',
      headers: headers('Link'),
      content: {
        'application/json': { schema: stationsSchema },
        'application/geo+json': { schema: stationFeaturesSchema },
      },
    },
    ...orFail,
  },
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

const geoJson = { 'content-type': 'application/geo+json' } as const

const defaultResolution = 5

const coverageRoute = createRoute({
  method: 'get',
  path: '/v1/coverage',
  tags: ['Stations'],
  summary: 'Where there is data: H3 cells with their stations counted',
  description:
    'Stations that tell their place more coarsely than "resolution" are counted in their own, larger cell.',
  request: {
    query: queryOf({
      resolution: parameters.resolution,
      quantity: parameters.quantity,
      bbox: parameters.bbox,
      h3: parameters.h3,
      near: parameters.near,
    }),
  },
  responses: {
    200: {
      description: 'Cells as GeoJSON',
      content: { 'application/geo+json': { schema: coverageSchema } },
    },
    ...orFail,
  },
})

const wantsGeoJson = (accept = ''): boolean => /application\/geo\+json/i.test(accept.slice(0, 512))

// A station that lost its clock or its disk can have thousands; the newest say what is going on.
const maxGapRanges = 100

const sensorView = ({ sensor, model, quantities, firstMs, lastMs, readings }: SensorSummary) => {
  const names = quantities.flatMap((code) => {
    const quantity = quantityCoded(code)
    return quantity === undefined || quantity.private ? [] : [quantity.name]
  })
  return { sensor, model, quantities: names, first: timeText(firstMs), last: timeText(lastMs), readings }
}

/** What the owner says; of the place only the cell, and its centre. */
const profileView = ({ declaredMs, licence, pricePermille, name, cell }: Profile) => ({
  declared: timeText(declaredMs),
  licence,
  pricePermille,
  ...(name === undefined ? {} : { name }),
  ...(cell === undefined ? {} : { cell, resolution: cellResolution(cell)!, centre: centreOf(cell) }),
})

const stationView = (
  evidence: Evidence,
  { station, publicKey, registeredMs, revokedMs }: StationRecord,
  summaries: readonly SensorSummary[],
) => {
  const { gaps, envelopes, lastReceivedMs } = evidence.progress(station)
  const profile = evidence.profile(station)
  return {
    station,
    publicKey: toHex(publicKey),
    registered: timeText(registeredMs),
    ...(revokedMs === null ? {} : { revoked: timeText(revokedMs) }),
    lastSeen: lastReceivedMs === null ? null : timeText(lastReceivedMs),
    envelopes,
    gaps: gaps.length,
    missing: gaps.reduce((sum, [first, last]) => sum + last - first + 1, 0),
    ...(profile === undefined ? {} : { profile: profileView(profile) }),
    sample: `/v1/sample?station=${station}`,
    sensors: summaries.filter((one) => one.station === station).map(sensorView),
    gapRanges: gaps.slice(-maxGapRanges).map(([first, last]): [number, number] => [first, last]),
  }
}

/** Adds the routes. */
export const addStations = (app: Api, { evidence, store, publicUrl }: MarketDeps): void => {
  app.openapi(stationsRoute, async (c) => {
    const { limit = defaultRows, after = '', format, bbox, h3, near } = c.req.valid('query')
    const where = whereOf({ bbox, h3, near })
    const isGeo = format === undefined ? wantsGeoJson(c.req.header('accept')) : format === 'geojson'
    const isWanted = (station: string): boolean => {
      if (station <= after) return false
      if (where === undefined && !isGeo) return true
      const cell = evidence.profile(station)?.cell
      return cell !== undefined && isThere(cell, where ?? {})
    }
    const records = evidence
      .stations()
      .filter(({ station }) => isWanted(station))
      .sort((a, b) => (a.station < b.station ? -1 : 1))
    const page = records.slice(0, limit)
    const summaries = Map.groupBy(await store.sensors(), ({ station }) => station)
    const stations = page.map((record) => {
      const { gapRanges: _, ...view } = stationView(evidence, record, summaries.get(record.station) ?? [])
      return view
    })
    const next = records.length > limit ? page.at(-1)!.station : null
    if (next !== null) c.header('link', linkTo(c, publicUrl, 'after', next))
    c.header('vary', 'Accept', { append: true })
    if (!isGeo) return c.json({ stations, next }, 200)
    const features = stations.map((station) => ({
      type: 'Feature' as const,
      id: station.station,
      geometry: outlineOf(station.profile!.cell!),
      properties: station,
    }))
    return c.json({ type: 'FeatureCollection' as const, features }, 200, geoJson)
  })

  app.openapi(coverageRoute, async (c) => {
    const { resolution = defaultResolution, quantity, bbox, h3, near } = c.req.valid('query')
    const wanted = quantity && new Set(quantity)
    const summaries = Map.groupBy(await store.sensors(), ({ station }) => station)
    const cells = new Map<string, { stations: number; quantities: Set<string>; last: number }>()
    for (const { station } of evidence.stations()) {
      const cell = evidence.profile(station)?.cell
      if (cell === undefined || !isThere(cell, whereOf({ bbox, h3, near }) ?? {})) continue
      const sensors = (summaries.get(station) ?? []).filter(
        ({ quantities }) => wanted === undefined || quantities.some((code) => wanted.has(code)),
      )
      if (sensors.length === 0) continue
      const place = coarser(cell, resolution)
      const known = cells.get(place) ?? { stations: 0, quantities: new Set(), last: 0 }
      known.stations++
      for (const name of sensors.flatMap((sensor) => sensorView(sensor).quantities))
        known.quantities.add(name)
      known.last = Math.max(known.last, ...sensors.map(({ lastMs }) => lastMs))
      cells.set(place, known)
    }
    const features = [...cells]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([cell, known]) => ({
        type: 'Feature' as const,
        id: cell,
        geometry: outlineOf(cell),
        properties: {
          cell,
          stations: known.stations,
          quantities: [...known.quantities].sort(),
          last: timeText(known.last),
        },
      }))
    return c.json({ type: 'FeatureCollection' as const, features }, 200, geoJson)
  })

  app.openapi(stationRoute, async (c) => {
    const { id } = c.req.valid('param')
    const record = evidence.station(id)
    if (record === undefined) throw new Problem(fault('not-found', `no station ${id} is registered here`))
    return c.json(stationView(evidence, record, await store.sensors(id)), 200)
  })
}
