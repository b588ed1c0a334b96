/** Honeywell HPMA115 particle sensors. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import {
  bytesIn,
  decode,
  fromDevice,
  haveFrames,
  hex,
  measurementsOf,
  refusalsOf,
  surroundings,
} from './frames.ts'

const driver = driverOf('honeywell-hpma115')

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('honeywell-hpma115'))('$hex', (entry) => {
    const { pm1_0, pm2_5, pm4_0, pm10 } = entry.decoded
    expect(measurementsOf(decode(driver, bytesIn(entry)))).toEqual({ pm1: pm1_0, pm2_5, pm4: pm4_0, pm10 })
  })
})

test('an S0 tells two sizes', () => {
  expect(measurementsOf(decode(driver, hex('4005040030003156')))).toEqual({ pm2_5: 48, pm10: 49 })
})

test('acknowledgements are no readings, and a refused command is told', () => {
  const outcomes = decode(driver, hex('a5a59696'))
  expect(outcomes[0]).toEqual({ kind: 'control', what: 'acknowledged' })
  expect(refusalsOf(outcomes)).toEqual(['device-error'])
})

test('it is told to be silent and to measure, and then asked; the first seconds do not count', () => {
  const decoder = driver.configure({}, surroundings())
  decoder.dialogue!.opened(0)
  const said = [0, 200, 400, 1400].map((nowMs) =>
    Buffer.from(decoder.dialogue!.turn(nowMs).send!).toString('hex'),
  )
  expect(said).toEqual(['68012077', '68010196', '68010493', '68010493'])
  const frame = hex('4005040030003156')
  expect(measurementsOf(decoder.decode(frame, 5_999))).toEqual({ pm2_5: 'warming-up', pm10: 'warming-up' })
  expect(measurementsOf(decoder.decode(frame, 6_000))).toEqual({ pm2_5: 48, pm10: 49 })
})

test('one that sends by itself is told again to be silent', () => {
  const frame = new Uint8Array(32)
  frame.set([0x42, 0x4d, 0x00, 0x1c, 0, 3, 0, 4])
  const total = frame.reduce((sum, byte) => sum + byte, 0)
  frame.set([total >> 8, total & 0xff], 30)
  expect(decode(driver, frame)).toEqual([{ kind: 'control', what: 'sends by itself' }])
  const decoder = driver.configure({ intervalS: 60 }, surroundings())
  decoder.dialogue!.opened(0)
  for (const nowMs of [0, 200, 400]) decoder.dialogue!.turn(nowMs)
  expect(decoder.dialogue!.turn(1000).send).toBeUndefined()
  decoder.decode(frame, 1100)
  expect(Buffer.from(decoder.dialogue!.turn(1100).send!).toString('hex')).toBe('68012077')
})
