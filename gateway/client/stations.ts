/** Stations and places, page after page. */
import type { CellFeatures, CoveredCell, Station } from './answers.ts'
import { type Ask, linked, objectIn } from './ask.ts'
import { HubDistrusted } from './errors.ts'
import type { CallOptions } from './hub.ts'
import { pageRows } from './pages.ts'
import { type CoverageQuery, type PlacesQuery, searchOf } from './query.ts'

const mostBytes = 64 * 1024 * 1024

const isList =
  (name: string) =>
  (said: Readonly<Record<string, unknown>>): boolean =>
    Array.isArray(said[name])

/** Lists of a name, on one page after the other. */
async function* listsOf<T>(ask: Ask, search: URLSearchParams, name: string, options: CallOptions) {
  for (let after = ''; ; ) {
    if (after !== '') search.set('after', after)
    const answer = await ask(`/v1/stations?${search}`, { mostBytes, ...options })
    yield objectIn<Record<string, readonly T[]>>(answer, isList(name))[name]!
    const next = linked(answer, 'after')
    if (next === undefined) return
    // Ids ascend, so this ends.
    if (next <= after) throw new HubDistrusted('the hub gives the same page again')
    after = next
  }
}

export const stationsOf = async function* (
  ask: Ask,
  query: PlacesQuery,
  options: CallOptions,
): AsyncGenerator<Station, void, void> {
  const search = searchOf({ ...query, limit: pageRows })
  for await (const stations of listsOf<Station>(ask, search, 'stations', options)) yield* stations
}

export const stationFeaturesOf = async (
  ask: Ask,
  query: PlacesQuery,
  options: CallOptions,
): Promise<CellFeatures<Station>> => {
  type Feature = CellFeatures<Station>['features'][number]
  const search = searchOf({ ...query, limit: pageRows, format: 'geojson' })
  const pages: (readonly Feature[])[] = []
  for await (const features of listsOf<Feature>(ask, search, 'features', options)) pages.push(features)
  return { type: 'FeatureCollection', features: pages.flat() }
}

export const coverageOf = async (
  ask: Ask,
  query: CoverageQuery,
  options: CallOptions,
): Promise<CellFeatures<CoveredCell>> =>
  objectIn(await ask(`/v1/coverage?${searchOf({ ...query })}`, { mostBytes, ...options }), isList('features'))
