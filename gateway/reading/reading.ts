/** A reading: what one sensor frame said at one moment. */
import { type QuantityName, quantity, toScaled } from './quantity.ts'

/** Why a value is not there. The code goes into signed bytes: append only. */
export const absences = {
  unspecified: 0,
  'warming-up': 1,
  'out-of-range': 2,
  'device-error': 3,
  'no-data': 4,
  'not-a-number': 5,
} as const

export type Absence = keyof typeof absences

const absenceNames = Object.keys(absences) as Absence[]

/** The absence with that code, or undefined where a code came from outside. */
export const absenceCoded = (code: number): Absence | undefined =>
  Number.isInteger(code) ? absenceNames[code] : undefined

/** One quantity of a reading: a scaled integer (see `toScaled`), or null with the reason it is not there. */
export type Value =
  | { readonly quantity: number; readonly scaled: number }
  | { readonly quantity: number; readonly scaled: null; readonly absent: Absence }

/**
 * What one sensor frame said. `sensor` is unique within its station and, like every id, matches `idPattern`;
 * `timeMs` is UTC, milliseconds since 1970; `values` hold each quantity at most once, in ascending code order.
 */
export type Reading = {
  readonly sensor: string
  readonly model: string
  readonly timeMs: number
  readonly values: readonly Value[]
}

/** Ids of stations, sensors and networks: safe in a topic, a file name, an InfluxDB tag and a URL. */
export const idPattern = /^[A-Za-z0-9_-]{1,64}$/

/** What a driver measured, in the quantity's own unit; null with a reason when the device did not know. */
export type Measurement = { readonly quantity: QuantityName } & (
  | { readonly value: number }
  | { readonly value: null; readonly absent: Absence }
)

/** Scales and orders measurements; a number that cannot be carried becomes an absence, never a wrong value. */
export const toValues = (measurements: readonly Measurement[]): Value[] =>
  measurements
    .map((measurement): Value => {
      const row = quantity(measurement.quantity)
      if (measurement.value === null) return { quantity: row.code, scaled: null, absent: measurement.absent }
      const scaled = toScaled(row, measurement.value)
      return scaled === undefined
        ? {
            quantity: row.code,
            scaled: null,
            absent: Number.isNaN(measurement.value) ? 'not-a-number' : 'out-of-range',
          }
        : { quantity: row.code, scaled }
    })
    .sort((a, b) => a.quantity - b.quantity)
