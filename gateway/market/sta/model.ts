/**
 * SensorThings (OGC 18-088 s8.2) as this network fills it:
 *
 * - Thing: a station. Location: the H3 cell that its owner publishes, never a point; a station without one has none.
 * - HistoricalLocation: since when that cell was declared; earlier ones are not kept.
 * - Sensor: a sensor of a station. ObservedProperty: a quantity. Datastream: a quantity of a sensor of a station.
 * - Observation: one value of a reading; `result` is null where the sensor could not say, and `resultQuality` why.
 * - FeatureOfInterest: what surrounds a station: its cell, or a feature without geometry.
 */

/** Names of the entity sets, with the properties and links of their entities in the standard's order. */
export const model = {
  Things: {
    properties: ['name', 'description', 'properties'],
    links: { Locations: 'Locations', HistoricalLocations: 'HistoricalLocations', Datastreams: 'Datastreams' },
  },
  Locations: {
    properties: ['name', 'description', 'encodingType', 'location', 'properties'],
    links: { Things: 'Things', HistoricalLocations: 'HistoricalLocations' },
  },
  HistoricalLocations: { properties: ['time'], links: { Thing: 'Things', Locations: 'Locations' } },
  Datastreams: {
    properties: [
      'name',
      'description',
      'observationType',
      'unitOfMeasurement',
      'observedArea',
      'phenomenonTime',
      'resultTime',
      'properties',
    ],
    links: {
      Thing: 'Things',
      Sensor: 'Sensors',
      ObservedProperty: 'ObservedProperties',
      Observations: 'Observations',
    },
  },
  Sensors: {
    properties: ['name', 'description', 'encodingType', 'metadata', 'properties'],
    links: { Datastreams: 'Datastreams' },
  },
  ObservedProperties: {
    properties: ['name', 'definition', 'description', 'properties'],
    links: { Datastreams: 'Datastreams' },
  },
  Observations: {
    properties: ['phenomenonTime', 'resultTime', 'result', 'resultQuality', 'parameters'],
    links: { Datastream: 'Datastreams', FeatureOfInterest: 'FeaturesOfInterest' },
  },
  FeaturesOfInterest: {
    properties: ['name', 'description', 'encodingType', 'feature', 'properties'],
    links: { Observations: 'Observations' },
  },
} as const satisfies Record<
  string,
  { readonly properties: readonly string[]; readonly links: Readonly<Record<string, string>> }
>

export type SetName = keyof typeof model

export const setNames = Object.keys(model) as readonly SetName[]

export const isSetName = (name: string): name is SetName => Object.hasOwn(model, name)

/** Where a link of an entity leads: the set of what is there, and whether there can be many. */
export type Link = { readonly to: SetName; readonly many: boolean }

export const linkOf = (set: SetName, name: string): Link | undefined => {
  const links: Readonly<Record<string, SetName>> = model[set].links
  const to = Object.hasOwn(links, name) ? links[name] : undefined
  return to === undefined ? undefined : { to, many: to === name }
}

export const linkNames = (set: SetName): readonly string[] => Object.keys(model[set].links)

export const hasProperty = (set: SetName, name: string): boolean =>
  (model[set].properties as readonly string[]).includes(name)

/** Properties that are moments or spans of time. */
export const timeProperties: ReadonlySet<string> = new Set(['phenomenonTime', 'resultTime', 'time'])

/** Properties that are places, as GeoJSON. */
export const placeProperties: ReadonlySet<string> = new Set(['location', 'feature', 'observedArea'])
