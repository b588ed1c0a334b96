/** Davis Vantage consoles. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import { crcCcitt } from '#gateway/sensors/davis-vantage.ts'
import {
  bytesIn,
  decode,
  framesFile,
  fromDevice,
  haveFrames,
  measurementsOf,
  refusalsOf,
  surroundings,
} from './frames.ts'

const driver = driverOf('davis-vantage')
const clickMm = 0.2
const published: Readonly<Record<string, readonly [name: string, convert: (value: number) => number]>> = {
  barometerInHg: ['pressure', (value) => value * 33.8638866667],
  tempInF: ['indoor_temperature', (value) => ((value - 32) * 5) / 9],
  humIn: ['indoor_humidity', (value) => value],
  tempOutF: ['temperature', (value) => ((value - 32) * 5) / 9],
  windSpeedMph: ['wind_speed', (value) => value * 0.44704],
  windDirDeg: ['wind_direction', (value) => value],
  humOut: ['humidity', (value) => value],
  rainRateClicks: ['rain_rate', (value) => value * clickMm],
  uv: ['uv_index', (value) => value],
  solarWm2: ['solar_radiation', (value) => value],
  rainDayClicks: ['rain_day', (value) => value * clickMm],
  consoleBatteryV: ['battery_voltage', (value) => value],
}

describe.skipIf(!haveFrames)('published packets', () => {
  test.each(fromDevice('davis-vantage-loop'))('$device $hex', (entry) => {
    const outcomes = decode(driver, bytesIn(entry))
    // The answer to another question is passed over; its checksum is of the same kind.
    if (entry.decoded.time) {
      expect(outcomes).toEqual([])
      return expect(crcCcitt(bytesIn(entry), 0, 8)).toBe(0)
    }
    const measured = measurementsOf(outcomes)
    for (const [name, value] of Object.entries(entry.decoded)) {
      const known = published[name]
      if (!known) continue
      if (value === null) expect(measured[known[0]], name).toBe('no-data')
      else expect(measured[known[0]], name).toBeCloseTo(known[1](value as number), 3)
    }
  })

  test('what it says is published', () => {
    const commands = framesFile('davis-vantage-loop').flatMap(({ direction, hex: digits }) =>
      direction ? [digits] : [],
    )
    const { dialogue } = driver.configure({}, surroundings())
    dialogue!.opened(0)
    for (const nowMs of [0, 1200])
      expect(commands).toContain(Buffer.from(dialogue!.turn(nowMs).send!).toString('hex'))
  })
})

test('a console that does not answer is woken again, and one that answers is left alone until its time', () => {
  const decoder = driver.configure({ intervalS: 10 }, surroundings())
  decoder.dialogue!.opened(0)
  const said = (nowMs: number): string => Buffer.from(decoder.dialogue!.turn(nowMs).send ?? []).toString()
  expect([0, 600, 1200, 3699].map(said)).toEqual(['\n', '', 'LOOP 1\n', ''])
  expect([3700, 4900].map(said)).toEqual(['\n', 'LOOP 1\n'])
  decoder.decode(driver.examples[0]!.bytes, 5000)
  expect([5000, 9999].map(said)).toEqual(['', ''])
  expect(said(10_000)).toBe('\n')
})

test('rain is counted in what the owner says one click is', () => {
  const packet = driver.examples[0]!.bytes.slice()
  packet.set([10, 0], 50)
  new DataView(packet.buffer).setUint16(97, crcCcitt(packet, 0, 97))
  expect(measurementsOf(decode(driver, packet)).rain_day).toBeCloseTo(2, 9)
  expect(measurementsOf(decode(driver, packet, { rainClick: '0.01in' })).rain_day).toBeCloseTo(2.54, 9)
  packet[20]! ^= 1
  expect(refusalsOf(decode(driver, packet))).toEqual(['checksum'])
})
