/**
 * Ids of entities: text in quotes, made of names that match `idPattern` with ~ between them, so that each can be read back.
 * Things, Locations and FeaturesOfInterest: station. HistoricalLocations: station~time. Sensors: station~sensor.
 * ObservedProperties: quantity. Datastreams: station~sensor~quantity. Observations: time~station~sensor~seq~place~quantity.
 */
import { type Quantity, quantityNamed } from '../../reading/quantity.ts'
import { idPattern } from '../../reading/reading.ts'

/** What names one observation: a value of the reading at `place` (from 0) of envelope `seq`. `timeMs` is UTC. */
export type ObservationKey = {
  readonly timeMs: number
  readonly station: string
  readonly sensor: string
  readonly seq: number
  readonly place: number
  readonly quantity: Quantity
}

// Three ids of 64 characters, three numbers, a quantity.
const longest = 256

export const sensorId = (station: string, sensor: string): string => `${station}~${sensor}`

export const datastreamId = (station: string, sensor: string, quantity: string): string =>
  `${station}~${sensor}~${quantity}`

export const observationId = ({ timeMs, station, sensor, seq, place, quantity }: ObservationKey): string =>
  [timeMs, station, sensor, seq, place, quantity.name].join('~')

const wholeNumber = (text: string | undefined): number | undefined => {
  const value = /^(0|[1-9]\d{0,15})$/.test(text ?? '') ? Number(text) : Number.NaN
  return Number.isSafeInteger(value) ? value : undefined
}

/** A quantity that may be asked for; undefined for private ones too. */
const publicQuantity = (name: string | undefined): Quantity | undefined => {
  const quantity = name === undefined ? undefined : quantityNamed(name)
  return quantity?.private ? undefined : quantity
}

/** Reads the id of an observation back; undefined for what is none. */
export const parseObservationId = (id: string): ObservationKey | undefined => {
  if (id.length > longest) return undefined
  const parts = id.split('~')
  const [time, station = '', sensor = '', envelope, position, name] = parts
  const timeMs = wholeNumber(time)
  const seq = wholeNumber(envelope)
  const place = wholeNumber(position)
  const quantity = publicQuantity(name)
  return parts.length === 6 &&
    timeMs !== undefined &&
    seq !== undefined &&
    place !== undefined &&
    quantity !== undefined &&
    idPattern.test(station) &&
    idPattern.test(sensor)
    ? { timeMs, station, sensor, seq, place, quantity }
    : undefined
}
