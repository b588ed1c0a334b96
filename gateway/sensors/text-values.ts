/** What a microcontroller's text means: which quantity a name stands for, and which number, or none, is written. */
import { type QuantityName, quantities, quantity, quantityNamed } from '../reading/quantity.ts'
import type { Absence, Measurement } from '../reading/reading.ts'

/** A quantity read from text: `value = written * scale + offset`, in the quantity's unit. */
export type Target = { readonly quantity: QuantityName; readonly scale: number; readonly offset: number }

/** The quantity as it is written, without conversion. */
export const asWritten = (name: QuantityName): Target => ({ quantity: name, scale: 1, offset: 0 })

// Names seen in the example sketches of the sensor libraries, in ESPHome, Tasmota and Sensor.Community.
const aliases = {
  temperature: ['t', 'temp', 'tempc', 'temp_c', 'temperaturec', 'temperature_c', 'air_temperature'],
  humidity: ['h', 'hum', 'rh', 'humi', 'humiditypct', 'humidity_pct', 'relative_humidity'],
  pressure: ['p', 'pres', 'press', 'baro', 'pressurehpa', 'pressure_hpa', 'air_pressure'],
  pm1: ['pm1.0', 'pm1_0', 'pm01'],
  pm2_5: ['pm25', 'pm2.5', 'pm02'],
  pm10: ['pm10.0', 'pm10_0'],
  co2: ['co2ppm', 'co2_ppm', 'eco2'],
  voc_index: ['voc'],
  gas_resistance: ['gas', 'gasohm', 'gas_ohm'],
  noise: ['laeq', 'dba'],
  illuminance: ['lux', 'light'],
  uv_index: ['uv', 'uvi'],
  wind_speed: ['wind'],
  wind_direction: ['winddir', 'wind_dir'],
  wind_gust: ['gust'],
  soil_moisture: ['soil', 'moisture'],
  soil_temperature: ['soil_temp'],
  count_rate: ['cpm'],
  battery: ['batt', 'bat'],
  battery_voltage: ['vbat', 'vbatt', 'batt_v'],
} as const satisfies Partial<Record<QuantityName, readonly string[]>>

const known: ReadonlyMap<string, Target> = new Map([
  ...quantities.map(({ name }) => [name, asWritten(name as QuantityName)] as const),
  ...Object.entries(aliases).flatMap(([name, others]) =>
    others.map((other) => [other, asWritten(name as QuantityName)] as const),
  ),
])

/** The quantity that a name in a line usually stands for; letter case is ignored. */
export const targetOf = (name: string): Target | undefined => known.get(name.toLowerCase())

/** True where a name from outside is a quantity's name. */
export const isQuantity = (name: string): name is QuantityName => quantityNamed(name) !== undefined

const number = /^([+-]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(?:[eE][+-]?\d{1,2})?)\s*(.{0,8})$/
const notNumbers = /^[+-]?(?:nan|inf|infinity)$/i
const nothings: ReadonlySet<string> = new Set([
  '',
  '-',
  '--',
  '---',
  'null',
  'none',
  'n/a',
  'na',
  'undefined',
])

// A unit in the text must be the quantity's own: degrees Fahrenheit read as Celsius would be a wrong value.
const spellings: Readonly<Record<string, readonly string[]>> = {
  '°C': ['C', 'degC', 'ºC', '*C'],
  'µg/m³': ['ug/m3', 'µg/m3', 'μg/m³', 'μg/m3'],
  '%': ['%RH', '% RH'],
  Ω: ['Ohm', 'ohm', 'Ohms'],
  'dB(A)': ['dBA', 'dB'],
  lx: ['lux', 'Lux'],
}

/** What is written for one quantity: a measurement, or undefined where it is neither a number nor a known "nothing". */
export const measured = (target: Target, written: string): Measurement | undefined => {
  const name = target.quantity
  const absent = (reason: Absence): Measurement => ({ quantity: name, value: null, absent: reason })
  const text = written.trim()
  const match = number.exec(text)
  if (!match) {
    if (nothings.has(text.toLowerCase())) return absent('no-data')
    return notNumbers.test(text) ? absent('not-a-number') : undefined
  }
  const { unit } = quantity(name)
  const said = match[2]!.trim()
  if (said !== '' && said !== unit && !spellings[unit]?.includes(said)) return undefined
  const value = Number(match[1]) * target.scale + target.offset
  return Number.isFinite(value) ? { quantity: name, value } : absent('out-of-range')
}
