/** GNSS receivers that speak NMEA 0183. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import type { Outcome } from '#gateway/sensors/sensors.ts'
import {
  bytesIn,
  bytesOf,
  decode,
  expectDecoded,
  fromDevice,
  haveFrames,
  measurementsOf,
  refusalsOf,
  shared,
} from './frames.ts'

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('nmea0183'))('NMEA: $ascii', (entry) => {
    const outcomes = decode(driverOf('nmea'), bytesIn(entry))
    const { type, status, error, datetime } = entry.decoded
    if (error) return expect(refusalsOf(outcomes)).toEqual([error])
    if (type !== 'GGA' && type !== 'RMC') return expect(outcomes).toMatchObject([{ kind: 'control' }])
    if (status === 'V')
      return expect(outcomes).toEqual([
        {
          kind: 'reading',
          measurements: ['latitude', 'longitude', 'speed'].map((quantity) => ({
            quantity,
            value: null,
            absent: 'no-data',
          })),
        },
      ])
    expectDecoded(entry, outcomes)
    if (typeof datetime === 'string') expect(outcomes).toMatchObject([{ timeMs: Date.parse(datetime) }])
  })
})

const logs = new URL('vectors/nmea-gpsd/', shared)
const haveLogs = existsSync(logs)
if (!haveLogs) console.warn('Receiver logs are skipped: there is no ../shared/vectors/nmea-gpsd.')

describe.skipIf(!haveLogs)('logs of real GNSS receivers', () => {
  const names = haveLogs ? readdirSync(logs).filter((name) => name.endsWith('.log')) : []

  /** Sentences with a right and a wrong checksum, counted in a way that shares nothing with the driver. */
  const counted = (log: Buffer): { right: number; wrong: number } => {
    let right = 0
    let wrong = 0
    const sentences = /[$!]([^$!\n]*)\*([0-9A-Fa-f]{2})[\r ]*(?=[$!\n])/g
    for (const [, content, said] of log.toString('latin1').matchAll(sentences)) {
      const computed = [...content!].reduce((sum, character) => sum ^ character.charCodeAt(0), 0)
      if (computed === Number.parseInt(said!, 16)) right += 1
      else wrong += 1
    }
    return { right, wrong }
  }

  test.each(names)('%s: every checksum is judged right, no place is invented', (name) => {
    const log = readFileSync(new URL(name, logs))
    const outcomes = decode(driverOf('nmea'), log, {}, 33)
    const judgedWrong = outcomes.filter(
      (outcome) => outcome.kind === 'refused' && outcome.detail.startsWith('checksum is'),
    )
    const good = outcomes.filter(({ kind }) => kind !== 'refused').length
    const malformed = outcomes.filter((outcome) => outcome.kind === 'refused' && outcome.reason === 'layout')
    const expected = counted(log)
    expect(judgedWrong.length).toBe(expected.wrong)
    const inSentences = malformed.filter(
      (outcome) => 'detail' in outcome && /^(GGA|RMC)/.test(outcome.detail),
    )
    expect(good + inSentences.length).toBe(expected.right)
    for (const outcome of outcomes)
      if (outcome.kind === 'reading') {
        const { latitude, longitude } = measurementsOf([outcome])
        expect([latitude, longitude]).not.toEqual([0, 0])
      }
  })

  test('most receivers in the logs have a place', () => {
    const placed = names.filter((name) =>
      decode(driverOf('nmea'), readFileSync(new URL(name, logs))).some(
        (outcome) => typeof measurementsOf([outcome]).latitude === 'number',
      ),
    )
    expect(placed.length).toBeGreaterThan(names.length / 2)
  })
})

describe('NMEA', () => {
  const driver = driverOf('nmea')
  const sentence = (content: string): string => {
    const sum = [...content].reduce((total, character) => total ^ character.charCodeAt(0), 0)
    return `$${content}*${sum.toString(16).padStart(2, '0').toUpperCase()}\r\n`
  }
  const read = (content: string): Outcome[] => decode(driver, bytesOf(sentence(content)))

  test('a fix that was not measured is no place', () => {
    for (const content of [
      'GPGGA,123519,4807.038,N,01131.000,E,0,00,99.99,,M,,M,,',
      'GPGGA,123519,4807.038,N,01131.000,E,8,08,0.9,545.4,M,46.9,M,,',
      'GPGGA,123519,0000.0000,N,00000.0000,E,1,08,0.9,545.4,M,46.9,M,,',
      'GNRMC,090802.00,A,5327.03976,N,00214.41006,W,0.144,,220221,,,E,V',
      'GNRMC,090802.00,V,5327.03976,N,00214.41006,W,0.144,,220221,,,N,V',
    ])
      expect(measurementsOf(read(content)), content).toMatchObject({
        latitude: 'no-data',
        longitude: 'no-data',
      })
  })

  test('a place off the globe or with more than 59 minutes is refused', () => {
    for (const latitude of ['9107.038', '4860.000', '48x7', '4807.038e5'])
      expect(refusalsOf(read(`GPGGA,123519,${latitude},N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,`))).toEqual([
        'layout',
      ])
  })

  test('a date that is none gives no time', () => {
    expect(read('GNRMC,090802.00,A,5327.03976,N,00214.41006,W,0.144,,310221,,,A,V')[0]).not.toHaveProperty(
      'timeMs',
    )
  })

  test('sentences glued together by a lost newline are both read', () => {
    const glued =
      sentence('GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,').trim() + sentence('GPZDA,1')
    expect(decode(driver, bytesOf(`\u0000\u00ff${glued}`)).map(({ kind }) => kind)).toEqual([
      'reading',
      'control',
    ])
  })
})
