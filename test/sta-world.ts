import { expect } from 'vitest'
import type { World } from '#test/market-world.ts'

/** An entity or a collection, as JSON. */
export type Json = Readonly<Record<string, unknown>>

export const root = '/sta/v1.1'

/** Properties that an entity must have, and links (OGC 18-088 s8.2). */
export const entitySets: Readonly<
  Record<string, { readonly properties: readonly string[]; readonly links: readonly string[] }>
> = {
  Things: {
    properties: ['name', 'description', 'properties'],
    links: ['Locations', 'HistoricalLocations', 'Datastreams'],
  },
  Locations: {
    properties: ['name', 'description', 'encodingType', 'location'],
    links: ['Things', 'HistoricalLocations'],
  },
  HistoricalLocations: { properties: ['time'], links: ['Thing', 'Locations'] },
  Datastreams: {
    properties: [
      'name',
      'description',
      'unitOfMeasurement',
      'observationType',
      'phenomenonTime',
      'resultTime',
    ],
    links: ['Thing', 'Sensor', 'ObservedProperty', 'Observations'],
  },
  Sensors: { properties: ['name', 'description', 'encodingType', 'metadata'], links: ['Datastreams'] },
  ObservedProperties: { properties: ['name', 'definition', 'description'], links: ['Datastreams'] },
  Observations: {
    properties: ['phenomenonTime', 'resultTime', 'result', 'resultQuality', 'parameters'],
    links: ['Datastream', 'FeatureOfInterest'],
  },
  FeaturesOfInterest: {
    properties: ['name', 'description', 'encodingType', 'feature'],
    links: ['Observations'],
  },
}

/** The set that a link leads to. */
export const setOf: Readonly<Record<string, string>> = {
  Thing: 'Things',
  Sensor: 'Sensors',
  ObservedProperty: 'ObservedProperties',
  Datastream: 'Datastreams',
  FeatureOfInterest: 'FeaturesOfInterest',
}

export const idsOf = (collection: Json): string[] =>
  (collection.value as Json[]).map((entity) => entity['@iot.id'] as string)

/** Options as an address has them. */
export const search = (options: Readonly<Record<string, string>>): string =>
  `?${Object.entries(options)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&')}`

/** Asks a world for what is behind the service root, or at a whole address. */
export const asking = ({ api }: Pick<World, 'api'>, headers: Readonly<Record<string, string>> = {}) => {
  const ask = (path: string, method = 'GET') =>
    api.request(path.startsWith('http') ? path : `${root}${path}`, { method, headers })
  const get = async (path: string, options: Readonly<Record<string, string>> = {}): Promise<Json> => {
    const response = await ask(`${path}${Object.keys(options).length === 0 ? '' : search(options)}`)
    const json = (await response.json()) as Json
    expect(response.status, `${path} ${JSON.stringify(json)}`).toBe(200)
    return json
  }
  /** A refusal: its status and what it says. */
  const problem = async (path: string, options: Readonly<Record<string, string>> = {}) => {
    const response = await ask(`${path}${Object.keys(options).length === 0 ? '' : search(options)}`)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    return (await response.json()) as { status: number; type: string; detail: string }
  }
  /** All entities of a collection, page by page. */
  const pages = async (path: string, options: Readonly<Record<string, string>> = {}): Promise<Json[]> => {
    const found: Json[] = []
    let page = await get(path, options)
    for (;;) {
      found.push(...(page.value as Json[]))
      const next = page['@iot.nextLink'] as string | undefined
      if (next === undefined) return found
      page = await get(next)
    }
  }
  return { ask, get, problem, pages }
}
