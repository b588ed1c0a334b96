/** Out-of-bounds check: a value that the quantity, or the maker of the device, says cannot be. */
import { type Quantity, type QuantityName, quantities, quantity } from '../reading/quantity.ts'
import type { ValueRule, Verdict } from './quality.ts'

/** Limits narrower than the quantity's own, by the model a reading is signed with; bounds inclusive, in the quantity's unit. */
export const makerLimits: readonly (readonly [
  model: string,
  quantity: QuantityName,
  min: number,
  max: number,
  source: string,
])[] = [
  ['nova-sds011', 'pm2_5', 0, 999.9, 'Nova SDS011 specification: measuring range'],
  ['nova-sds011', 'pm10', 0, 999.9, 'Nova SDS011 specification: measuring range'],
  ['bme280', 'temperature', -40, 85, 'Bosch BME280 data sheet: operating range'],
  ['dht22', 'temperature', -40, 80, 'Aosong AM2302 (DHT22) data sheet: operating range'],
]

type Limits = { readonly least: Float64Array; readonly most: Float64Array }

const scaledBound = ({ decimals }: Quantity, bound: number): number => Math.round(bound * 10 ** decimals)

const size = 1 + Math.max(...quantities.map(({ code }) => code))

const own: Limits = { least: new Float64Array(size), most: new Float64Array(size) }
for (const row of quantities) {
  own.least[row.code] = scaledBound(row, row.min)
  own.most[row.code] = scaledBound(row, row.max)
}

const byModel = new Map<string, Limits>()
for (const [model, name, min, max] of makerLimits) {
  const limits = byModel.get(model) ?? { least: own.least.slice(), most: own.most.slice() }
  const row = quantity(name)
  limits.least[row.code] = scaledBound(row, min)
  limits.most[row.code] = scaledBound(row, max)
  byModel.set(model, limits)
}

const outOfBounds: Verdict = { code: 'OBC', factor: 0 }

export const range: ValueRule = {
  kind: 'value',
  name: 'range',
  title: 'Out of bounds',
  source: 'WeatherXM obc-sqc-documentation s2; bounds of reading/quantity.ts, narrowed by the makers above',
  version: '2026.1',
  codes: [outOfBounds.code],
  judge: ({ reading, quantity: { code }, scaled }) => {
    const { least, most } = byModel.get(reading.model) ?? own
    return scaled < least[code]! || scaled > most[code]! ? outOfBounds : undefined
  },
}
