/** Vaisala WXT weather transmitters. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import { wxtChecksum } from '#gateway/sensors/vaisala-wxt.ts'
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

const driver = driverOf('vaisala-wxt')
const published: Readonly<Record<string, string>> = {
  windDirAvg: 'wind_direction',
  windSpeedAvg: 'wind_speed',
  windSpeedMax: 'wind_gust',
  airTempC: 'temperature',
  humidityPct: 'humidity',
  pressureHPa: 'pressure',
  rainMm: 'rain_total',
  rainIntensityMmH: 'rain_rate',
  hailHits: 'hail',
  supplyV: 'battery_voltage',
}

describe.skipIf(!haveFrames)('published messages', () => {
  test.each(fromDevice('vaisala-wxt530'))('$ascii', (entry) => {
    const outcomes = decode(driver, bytesIn(entry))
    const measured = measurementsOf(outcomes)
    if (entry.decoded.error) {
      expect(refusalsOf(outcomes)).toEqual(['layout'])
      expect(measured).not.toHaveProperty('wind_direction')
      expect(measured).toMatchObject({ wind_speed: 0.1, temperature: 27.9 })
      return
    }
    expect(refusalsOf(outcomes)).toEqual([])
    for (const [name, value] of Object.entries(entry.decoded)) {
      const known = published[name]
      if (!known) continue
      if (value === null) expect(measured[known], name).toBe('device-error')
      else expect(measured[known], name).toBeCloseTo(value as number, 6)
    }
  })
})

test('units are read by their letter, and an unknown one is no value', () => {
  const outcomes = decode(driver, bytesOf('0R0,Sm=36.0K,Ta=50.0F,Pa=29.92I,Rc=1.00I,Ua=50.0X\r\n'))
  const measured = measurementsOf(outcomes)
  expect(measured.wind_speed).toBeCloseTo(10, 6)
  expect(measured.temperature).toBeCloseTo(10, 6)
  expect(measured.pressure).toBeCloseTo(1013.2, 1)
  expect(measured.rain_total).toBeCloseTo(25.4, 6)
  expect(measured).not.toHaveProperty('humidity')
  expect(refusalsOf(outcomes)).toEqual(['layout'])
})

test('a message of the lower-case kind is judged by its checksum', () => {
  const text = '0r2,Ta=23.6C,Ua=14.2P,Pa=1026.6H'
  expect(measurementsOf(decode(driver, bytesOf(`${text}${wxtChecksum(text)}\r\n`)))).toMatchObject({
    temperature: 23.6,
  })
  const spoilt = text.replace('23.6', '32.6')
  expect(refusalsOf(decode(driver, bytesOf(`${spoilt}${wxtChecksum(text)}\r\n`)))).toEqual(['checksum'])
})

test('it is asked for the composite message of its address, or left to send by itself', () => {
  const asked = driver.configure({ address: '3' }, surroundings()).dialogue!
  asked.opened(0)
  expect(Buffer.from(asked.turn(0).send!).toString()).toBe('3R0\r\n')
  expect(driver.configure({ intervalS: 0 }, surroundings()).dialogue).toBeUndefined()
})
