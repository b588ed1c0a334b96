/** Winsen MH-Z19 carbon dioxide sensors. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import type { Settings } from '#gateway/sensors/sensors.ts'
import { winsen } from '#sim/devices/winsen.ts'
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
import { air, conversation, startMs } from './modems.ts'

const driver = driverOf('winsen-mhz19')
const hexOf = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex')

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('winsen-mhz19'))('$hex', (entry) => {
    const outcomes = decode(driver, bytesIn(entry))
    if (entry.decoded.error) return expect(refusalsOf(outcomes)).toEqual(['checksum'])
    expect(measurementsOf(outcomes)).toEqual({ co2: entry.decoded.co2ppm })
  })

  test('what it says is published, and calibration is not among it', () => {
    const published = framesFile('winsen-mhz19').flatMap(({ direction, hex: digits }) =>
      direction ? [digits] : [],
    )
    for (const selfCalibration of [true, false]) {
      const { dialogue } = driver.configure({ selfCalibration }, surroundings())
      dialogue!.opened(0)
      const said = [dialogue!.turn(0), dialogue!.turn(200), dialogue!.turn(5200)].map(({ send }) =>
        hexOf(send),
      )
      for (const one of said) expect(published).toContain(one)
      expect(said).toEqual([
        selfCalibration ? 'ff0179a000000000e6' : 'ff0179000000000086',
        'ff0186000000000079',
        'ff0186000000000079',
      ])
    }
  })
})

test('it is told its range only where its owner says so, before anything else', () => {
  const said = (settings: Settings): string[] => {
    const { dialogue } = driver.configure(settings, surroundings())
    dialogue!.opened(0)
    return [0, 200, 400].map((nowMs) => hexOf(dialogue!.turn(nowMs).send))
  }
  expect(said({ rangePpm: 2000 })).toEqual(['ff0186000000000079', '', ''])
  expect(said({ setRange: true })).toEqual(['ff01990000001388cb', 'ff0186000000000079', ''])
  expect(said({ setRange: true, rangePpm: 10_000, selfCalibration: false })).toEqual([
    'ff019900000027102f',
    'ff0179000000000086',
    'ff0186000000000079',
  ])
  if (!haveFrames) return
  const published = framesFile('winsen-mhz19').map(({ hex: digits }) => digits)
  expect(published).toContain('ff01990000001388cb')
})

test('a sensor that is told its range measures no further, and says so', () => {
  const thick = winsen({ seed: 1, air: () => ({ ...air(startMs), pm2_5: 900 }) })
  const talk = conversation(thick, { preheatS: 0, setRange: true, rangePpm: 2000 })
  talk.open()
  talk.pass(30_000)
  expect(talk.outcomes[0]).toEqual({ kind: 'control', what: 'answered range' })
  expect(talk.outcomes.filter(({ kind }) => kind === 'refused')).toEqual([])
  expect(measurementsOf(talk.outcomes)).toEqual({ co2: 2000 })
})

test('values of the first minutes after opening are absent, and longer with the older variant', () => {
  const frame = hex('ff86019042000000a7')
  for (const [variant, warmS] of [
    ['b', 180],
    ['c', 60],
  ] as const) {
    const decoder = driver.configure({ variant }, surroundings())
    decoder.dialogue!.opened(1000)
    expect(measurementsOf(decoder.decode(frame, 1000 + warmS * 1000 - 1))).toEqual({ co2: 'warming-up' })
    expect(measurementsOf(decoder.decode(frame, 1000 + warmS * 1000))).toEqual({ co2: 400 })
  }
})

test('more than it can measure, and nothing at all, are no values', () => {
  const answer = (ppm: number): Uint8Array => {
    const bytes = [0xff, 0x86, ppm >> 8, ppm & 0xff, 0x42, 0, 0, 0]
    return Uint8Array.of(...bytes, -bytes.slice(1).reduce((sum, byte) => sum + byte, 0) & 0xff)
  }
  expect(measurementsOf(decode(driver, answer(5000)))).toEqual({ co2: 5000 })
  expect(measurementsOf(decode(driver, answer(5001)))).toEqual({ co2: 'out-of-range' })
  expect(measurementsOf(decode(driver, answer(2001), { rangePpm: 2000 }))).toEqual({ co2: 'out-of-range' })
  expect(measurementsOf(decode(driver, answer(0)))).toEqual({ co2: 'out-of-range' })
})
