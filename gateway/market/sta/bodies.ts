/** Properties of entities (OGC 18-088 s8.2), without ids and links. */
import { toHex } from '../../reading/bytes.ts'
import { cellResolution, type Profile } from '../../reading/profile.ts'
import type { Quantity } from '../../reading/quantity.ts'
import type { SensorSummary } from '../../store/store.ts'
import { outlineOf } from '../outline.ts'
import { centreOf } from '../place.ts'
import { timeText } from '../time.ts'
import type { StationEntry } from './catalogue.ts'
import { unitOfMeasurement } from './units.ts'

const measurement = 'http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement'

const geoJson = 'application/geo+json'

const nameOf = ({ record, profile }: StationEntry): string => profile?.name ?? record.station

const cellView = (cell: string) => ({ cell, resolution: cellResolution(cell)!, centre: centreOf(cell) })

const termsOf = (profile: Profile | undefined) =>
  profile === undefined ? {} : { licence: profile.licence, pricePermille: profile.pricePermille }

const span = ({ firstMs, lastMs }: SensorSummary): string => `${timeText(firstMs)}/${timeText(lastMs)}`

export const bodies = {
  thing: (entry: StationEntry) => {
    const { station, publicKey, registeredMs, revokedMs } = entry.record
    return {
      name: nameOf(entry),
      description: `Station ${station}`,
      properties: {
        station,
        publicKey: toHex(publicKey),
        registered: timeText(registeredMs),
        ...(revokedMs === null ? {} : { revoked: timeText(revokedMs) }),
        ...termsOf(entry.profile),
      },
    }
  },
  location: (entry: StationEntry) => {
    const cell = entry.profile!.cell!
    return {
      name: nameOf(entry),
      description: 'The H3 cell that the station stands in; where in it is not told',
      encodingType: geoJson,
      location: outlineOf(cell),
      properties: cellView(cell),
    }
  },
  feature: (entry: StationEntry) => {
    const cell = entry.profile?.cell
    return {
      name: `Surroundings of ${nameOf(entry)}`,
      description:
        cell === undefined ? 'A place that is not told' : 'The H3 cell around the station that observes it',
      encodingType: geoJson,
      feature: cell === undefined ? { type: 'Feature', geometry: null, properties: {} } : outlineOf(cell),
      properties: cell === undefined ? {} : cellView(cell),
    }
  },
  sensor: (station: string, sensor: string, model: string) => ({
    name: sensor,
    description: `Sensor ${sensor} of station ${station}`,
    // Of the standard's encodings (table 15) the one that a word is valid in.
    encodingType: 'text/html',
    metadata: model,
    properties: { station, sensor, model },
  }),
  property: ({ name, title, unit, senml, decimals, min, max }: Quantity, hubUrl: string) => ({
    name: title,
    definition: `${hubUrl}/v1/quantities#${name}`,
    description: `${title}${unit === '' ? '' : ` in ${unit}`}`,
    properties: { quantity: name, unit, senml, decimals, min, max },
  }),
  datastream: (summary: SensorSummary, quantity: Quantity, profile: Profile | undefined) => {
    const { station, sensor } = summary
    return {
      name: `${quantity.title} by ${sensor}${profile?.name === undefined ? '' : ` at ${profile.name}`}`,
      description: `${quantity.title} that sensor ${sensor} of station ${station} reads`,
      observationType: measurement,
      unitOfMeasurement: unitOfMeasurement(quantity.unit),
      ...(profile?.cell === undefined ? {} : { observedArea: outlineOf(profile.cell) }),
      phenomenonTime: span(summary),
      resultTime: span(summary),
      properties: {
        station,
        sensor,
        quantity: quantity.name,
        decimals: quantity.decimals,
        ...termsOf(profile),
      },
    }
  },
}
