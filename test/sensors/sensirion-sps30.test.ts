/** Sensirion SPS30 particle sensors. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import {
  bytesIn,
  decode,
  framesFile,
  fromDevice,
  haveFrames,
  hex,
  measurementsOf,
  refusalsOf,
  surroundings,
} from './frames.ts'

const driver = driverOf('sensirion-sps30')
const hexOf = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex')
const measured = driver.examples[0]!.bytes

const names = {
  pm1_0: 'pm1',
  pm2_5: 'pm2_5',
  pm4_0: 'pm4',
  pm10: 'pm10',
  n0_5: 'nc0_5',
  n1_0: 'nc1',
  n2_5: 'nc2_5',
  n4_0: 'nc4',
  n10: 'nc10',
  typicalSizeUm: 'typical_size',
} as const

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('sensirion-sps30'))('$hex', (entry) => {
    const outcomes = decode(driver, bytesIn(entry))
    const { decoded } = entry
    if (decoded.state === 67) return expect(outcomes).toMatchObject([{ kind: 'control' }])
    if (decoded.len === 0) return expect(outcomes).toMatchObject([{ kind: 'control' }])
    const measurements = measurementsOf(outcomes)
    for (const [published, name] of Object.entries(names))
      expect(measurements[name], name).toBeCloseTo(decoded[published] as number, 3)
  })

  test('what it says is published', () => {
    const published = framesFile('sensirion-sps30').flatMap(({ direction, hex: digits }) =>
      direction ? [digits] : [],
    )
    const { dialogue } = driver.configure({}, surroundings())
    dialogue!.opened(0)
    for (const nowMs of [0, 200, 400, 1400]) expect(published).toContain(hexOf(dialogue!.turn(nowMs).send))
  })
})

test('values until it is steady are absent, for longer where there are few particles', () => {
  const decoder = driver.configure({}, surroundings())
  expect(decoder.decode(hex('7e00000000ff7e'), 1000)).toEqual([
    { kind: 'control', what: 'measurement started' },
  ])
  expect(measurementsOf(decoder.decode(measured, 30_999)).pm2_5).toBe('warming-up')
  expect(measurementsOf(decoder.decode(measured, 31_000)).pm2_5).toBeCloseTo(9.467, 3)
})

test('one that measures already, nobody knows since when, has no values until it must be steady', () => {
  const decoder = driver.configure({}, surroundings())
  const already = hex('7e00004300bc7e')
  expect(decoder.decode(already, 1000)).toMatchObject([{ kind: 'control' }])
  expect(measurementsOf(decoder.decode(measured, 30_999)).pm2_5).toBe('unspecified')
  expect(measurementsOf(decoder.decode(measured, 31_000)).pm2_5).toBeCloseTo(9.467, 3)
  // A link that was opened again is told so, too, and the start is known now.
  decoder.decode(already, 40_000)
  expect(measurementsOf(decoder.decode(measured, 40_100)).pm2_5).toBeCloseTo(9.467, 3)
})

test('one that has forgotten that it measures is started again', () => {
  const decoder = driver.configure({}, surroundings())
  decoder.dialogue!.opened(0)
  expect([0, 200, 400].map((nowMs) => hexOf(decoder.dialogue!.turn(nowMs).send))).toEqual([
    'ff7e001100ee7e',
    '7e0000020103f97e',
    '7e000300fc7e',
  ])
  expect(refusalsOf(decoder.decode(hex('7e00034300b97e'), 450))).toEqual(['device-error'])
  expect(hexOf(decoder.dialogue!.turn(500).send)).toBe('ff7e001100ee7e')
  expect(hexOf(decoder.dialogue!.turn(700).send)).toBe('7e0000020103f97e')
})

test('with its error bit set nothing is a value', () => {
  const frame = measured.slice()
  frame[3]! |= 0x80
  frame[frame.length - 2]! -= 0x80
  const values = Object.values(measurementsOf(decode(driver, frame)))
  expect(new Set(values)).toEqual(new Set(['device-error']))
  expect(values).toHaveLength(10)
})

test('while its fan is cleaned nothing is a value', () => {
  const decoder = driver.configure({}, surroundings())
  decoder.decode(hex('7e00560000a97e'), 1000)
  expect(measurementsOf(decoder.decode(measured, 10_999)).pm10).toBe('unspecified')
  expect(measurementsOf(decoder.decode(measured, 11_000)).pm10).toBeCloseTo(13.285, 3)
})
