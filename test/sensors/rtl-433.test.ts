/** rtl_433's JSON lines. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import type { Settings } from '#gateway/sensors/sensors.ts'
import {
  bytesIn,
  bytesOf,
  decode,
  fromDevice,
  haveFrames,
  measurementsOf,
  refusalsOf,
  surroundings,
} from './frames.ts'

const driver = driverOf('rtl-433')
const read = (message: object, settings: Settings = {}) =>
  decode(driver, bytesOf(`${JSON.stringify({ model: 'X', id: 1, ...message })}\n`), settings)

const published: Readonly<Record<string, readonly [name: string, factor: number]>> = {
  temperature_C: ['temperature', 1],
  humidity: ['humidity', 1],
  wind_dir_deg: ['wind_direction', 1],
  wind_avg_m_s: ['wind_speed', 1],
  wind_max_m_s: ['wind_gust', 1],
  uvi: ['uv_index', 1],
  light_lux: ['illuminance', 1],
  rain_mm: ['rain_total', 1],
  moisture: ['soil_moisture', 1],
  battery_ok: ['battery', 100],
  rssi: ['rssi', 1],
  snr: ['snr', 1],
}

describe.skipIf(!haveFrames)('published lines', () => {
  test.each(fromDevice('rtl433'))('$decoded.model', (entry) => {
    const outcomes = decode(driver, bytesIn(entry))
    const measured = measurementsOf(outcomes)
    for (const [name, value] of Object.entries(entry.decoded)) {
      const known = published[name]
      if (known) expect(measured[known[0]], name).toBeCloseTo((value as number) * known[1], 6)
    }
    const { model, id } = entry.decoded
    expect(outcomes).toMatchObject([{ kind: 'reading', node: expect.stringContaining(`${model}-${id}`) }])
  })
})

test('units of other makers become ours, by the ending of their names', () => {
  const { temperature, pressure, wind_speed, rain_total } = measurementsOf(
    read({ temperature_F: 50, pressure_kPa: 101.3, wind_avg_km_h: 36, rain_in: 1 }),
  )
  expect(temperature).toBeCloseTo(10, 9)
  expect(pressure).toBeCloseTo(1013, 9)
  expect(wind_speed).toBeCloseTo(10, 9)
  expect(rain_total).toBeCloseTo(25.4, 9)
})

test('what is said again within two seconds is one transmission, and later a new one', () => {
  const decoder = driver.configure({}, surroundings())
  const line = (rssi: number): Uint8Array =>
    bytesOf(JSON.stringify({ model: 'X', id: 1, humidity: 50, rssi }))
  const kinds = ([0, 300, 1999, 2300] as const).map((atMs) => decoder.decode(line(-atMs), atMs)[0]!.kind)
  expect(kinds).toEqual(['reading', 'control', 'control', 'reading'])
})

test('what is remembered of a city is bounded', () => {
  const decoder = driver.configure({}, surroundings())
  for (let id = 0; id < 5_000; id += 1)
    expect(decoder.decode(bytesOf(JSON.stringify({ model: 'X', id, humidity: 50 })), id / 10)[0]!.kind).toBe(
      'reading',
    )
})

test('neighbours are not heard where the owner has said whom to hear', () => {
  expect(refusalsOf(read({ humidity: 50 }, { only: ['Y'] }))).toEqual(['not-configured'])
  for (const only of [['X'], ['X-1']])
    expect(measurementsOf(read({ humidity: 50 }, { only }))).toEqual({ humidity: 50 })
})

test('text where a number should be is no value, and a message without any is refused', () => {
  expect(measurementsOf(read({ humidity: 'LOW' }))).toEqual({ humidity: 'not-a-number' })
  expect(refusalsOf(read({ code: 'beef', rssi: -1 }))).toEqual(['unknown'])
  expect(refusalsOf(decode(driver, bytesOf('{"id":3}\n{]\n')))).toEqual(['layout', 'layout'])
})
