/** Plantower particle sensors. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import {
  bytesIn,
  decode,
  expectDecoded,
  framesFile,
  fromDevice,
  haveFrames,
  hex,
  measurementsOf,
  surroundings,
} from './frames.ts'

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('plantower-pms5003'))('Plantower: $device $hex', (entry) => {
    const driver = driverOf('plantower-pms')
    const outcomes = decode(
      driver,
      bytesIn(entry),
      entry.device === 'PMS5003T' ? { variant: 'pms5003t' } : {},
    )
    if (entry.decoded.error === 'checksum')
      expect(outcomes).toEqual([{ kind: 'refused', reason: 'checksum', detail: 'sum is 965, frame says 0' }])
    else if (entry.decoded.error === 'warming-up')
      expect(new Set(Object.values(measurementsOf(outcomes)))).toEqual(new Set(['warming-up']))
    else expectDecoded(entry, outcomes)
  })

  test('the commands that the driver sends are the published ones', () => {
    const published = framesFile('plantower-pms5003').flatMap(({ direction, hex: digits }) =>
      direction ? [digits!] : [],
    )
    const sent = driverOf('plantower-pms')
      .greeting({})
      .map((bytes) => Buffer.from(bytes).toString('hex'))
    expect(sent).toHaveLength(2)
    expect(published).toEqual(expect.arrayContaining(sent))
  })
})

describe('Plantower', () => {
  const driver = driverOf('plantower-pms')
  const frame = (length: number, words: readonly number[]): Uint8Array => {
    const bytes = Buffer.alloc(4 + length)
    bytes.writeUInt16BE(0x424d, 0)
    bytes.writeUInt16BE(length, 2)
    for (const [index, word] of words.entries()) bytes.writeUInt16BE(word & 0xffff, 4 + 2 * index)
    bytes.writeUInt16BE(bytes.subarray(0, -2).reduce((total, byte) => total + byte, 0) & 0xffff, length + 2)
    return new Uint8Array(bytes)
  }

  test('a 5003ST frame of 40 bytes carries temperature below zero', () => {
    const bytes = frame(0x24, [1, 2, 3, 4, 5, 6, 700, 60, 50, 40, 30, 20, 12, -55, 451, 0, 0x9700])
    expect(measurementsOf(decode(driver, bytes))).toEqual({
      pm1: 4,
      pm2_5: 5,
      pm10: 6,
      n0_3: 700,
      n0_5: 60,
      n1: 50,
      n2_5: 40,
      n5: 30,
      n10: 20,
      formaldehyde: 0.012,
      temperature: -5.5,
      humidity: 45.1,
    })
  })

  test('formaldehyde of a 5003S is not taken for an error code', () => {
    const bytes = frame(0x1c, [1, 2, 3, 4, 5, 6, 700, 60, 50, 40, 30, 20, 0x0012])
    expect(measurementsOf(decode(driver, bytes, { variant: 'pms5003s' }))).toMatchObject({
      pm2_5: 5,
      formaldehyde: 0.018,
    })
    expect(measurementsOf(decode(driver, bytes)).pm2_5).toBe('device-error')
  })

  test('a 5003T that warms up still knows the temperature', () => {
    const bytes = frame(0x1c, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 212, 224, 0x9a00])
    expect(measurementsOf(decode(driver, bytes, { variant: 'pms5003t' }))).toMatchObject({
      pm2_5: 'warming-up',
      n0_3: 'warming-up',
      temperature: 21.2,
      humidity: 22.4,
    })
  })

  test('an acknowledgement is no reading', () => {
    expect(decode(driver, hex('424d0004e1000174'))).toEqual([
      { kind: 'control', what: 'acknowledged command e1' },
    ])
  })

  test('a frame of another variant than the configured one is refused with the setting to check', () => {
    expect(decode(driver, frame(0x14, [1, 2, 3, 4, 5, 6, 0, 0, 0x51]), { variant: 'pms5003' })).toEqual([
      { kind: 'refused', reason: 'layout', detail: '24 bytes are no pms5003 frame; check setting "variant"' },
    ])
  })

  test('an unknown variant is refused with those there are', () => {
    expect(() => driver.configure({ variant: 'pms9' }, surroundings())).toThrow(
      'plantower-pms: setting "variant": expected one of pms1003, pms3003, pms5003, pms7003, pmsa003, pms5003t, ' +
        'pms5003s, pms5003st; got "pms9".',
    )
  })
})
