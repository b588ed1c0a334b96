import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex } from '#gateway/reading/bytes.ts'
import { type CborValue, CborWriter, decodeCbor } from '#gateway/reading/cbor.ts'
import { decodeReadings, encodeReadings, maxReadings } from '#gateway/reading/payload.ts'
import { scaledMax, scaledMin } from '#gateway/reading/quantity.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { mutation, readingLists, seed, weather } from './samples.ts'

const back = (payload: Uint8Array): readonly Reading[] => {
  const decoded = decodeReadings(payload)
  return decoded.ok ? decoded.readings : expect.fail(decoded.detail)
}

/** A payload groups readings into series; within one, the order stays. */
const grouped = (readings: readonly Reading[]): Reading[] => {
  const groups = new Map<string, Reading[]>()
  for (const reading of readings) {
    const key = JSON.stringify([reading.sensor, reading.model, reading.values.map((value) => value.quantity)])
    groups.set(key, [...(groups.get(key) ?? []), reading])
  }
  return [...groups.values()].flat()
}

const startMs = 1_763_700_000_000
const one: Reading = { sensor: 'a', model: 'm', timeMs: startMs, values: [{ quantity: 1, scaled: 2153 }] }

describe('the readings payload', () => {
  it('gives back any readings: absences, extremes, several sensors, equal times', () => {
    fc.assert(
      fc.property(readingLists, (readings) => {
        const payload = encodeReadings(readings)
        if (payload.length > 8192) return
        const decoded = back(payload)
        expect(decoded).toEqual(grouped(readings))
        expect(toHex(encodeReadings(decoded))).toBe(toHex(payload))
      }),
      { seed, numRuns: 1000 },
    )
  })

  it('is these bytes for one reading', () => {
    expect(toHex(encodeReadings([one]))).toBe('a2001b0000019aa4b645000181866161616d018101810081811908' + '69')
    expect(back(encodeReadings([one]))).toEqual([one])
  })

  it('carries 32-bit extremes beside each other', () => {
    const readings = [scaledMin, scaledMax, scaledMin, 0, scaledMax].map(
      (scaled, at): Reading => ({ ...one, timeMs: startMs + at, values: [{ quantity: 1, scaled }] }),
    )
    expect(back(encodeReadings(readings))).toEqual(readings)
  })

  it('spends four bytes or less on a channel that is absent throughout', () => {
    const dead = weather(50, startMs).map(
      (reading): Reading => ({
        ...reading,
        values: [{ quantity: 1, scaled: null, absent: 'device-error' }, ...reading.values.slice(1)],
      }),
    )
    const without = dead.map((reading): Reading => ({ ...reading, values: reading.values.slice(1) }))
    expect(back(encodeReadings(dead))).toEqual(dead)
    expect(encodeReadings(dead).length - encodeReadings(without).length).toBeLessThanOrEqual(8)
  })

  it('takes 1 to 1000 readings no more than 24 days apart', () => {
    const many = (count: number): Reading[] =>
      Array.from({ length: count }, (_, at) => ({ ...one, timeMs: startMs + at }))
    expect(back(encodeReadings(many(maxReadings)))).toHaveLength(maxReadings)
    expect(() => encodeReadings([])).toThrow('1 to 1000 readings')
    expect(() => encodeReadings(many(maxReadings + 1))).toThrow('1 to 1000 readings')
    expect(() => encodeReadings([one, { ...one, timeMs: startMs + 2 ** 31 }])).toThrow('24 days')
    expect(back(encodeReadings([one, { ...one, timeMs: startMs + 2 ** 31 - 1 }]))).toHaveLength(2)
  })

  it('changed at random is an answer, never an exception', () => {
    const payload = encodeReadings([...weather(9, startMs), one])
    fc.assert(
      fc.property(mutation(payload), (bytes) => {
        const decoded = decodeReadings(bytes)
        if (decoded.ok)
          for (const { timeMs } of decoded.readings) expect(Number.isSafeInteger(timeMs)).toBe(true)
        else expect(decoded.reason).toBe('bad-payload')
      }),
      { seed, numRuns: 3000 },
    )
  })

  it('is refused with its reason when it is out of form', () => {
    const write = (writer: CborWriter, value: CborValue): CborWriter => {
      if (typeof value === 'number') return writer.int(value)
      if (typeof value === 'string') return writer.text(value)
      if (value instanceof Uint8Array) return writer.bytes(value)
      if (Array.isArray(value)) return value.reduce<CborWriter>(write, writer.array(value.length))
      return expect.fail('not used here')
    }
    const detail = (base: CborValue, ...series: CborValue[]): string => {
      const writer = write(new CborWriter().map(2).int(0), base).int(1).array(series.length)
      const decoded = decodeReadings(series.reduce<CborWriter>(write, writer).finish())
      return decoded.ok ? 'ok' : decoded.detail
    }
    const column = (...items: CborValue[]): CborValue => [
      'a',
      'm',
      3,
      [1],
      [0, 0, 0, new Uint8Array(0)],
      [items],
    ]
    const flat: CborValue[] = [5, 0, 0, new Uint8Array(0)]
    const cannot = 'column 1 of a cannot be read'
    const cases: readonly (readonly [CborValue, CborValue, string])[] = [
      [0, column(...flat), 'ok'],
      [0, column([0, 3, 2]), 'ok'],
      [0, column(5, [1, 1, 2, 2, 1, 3]), 'ok'],
      [0, column(5, [1, 1, 2, 2, 1, 2]), cannot],
      [0, column(5, [2, 1, 2, 1, 1, 2]), cannot],
      [0, column([0, 4, 2]), cannot],
      [0, column([0, 3, 9]), cannot],
      [0, column([0, 0, 2]), cannot],
      [0, column([0, 3]), cannot],
      [0, column(...flat, []), cannot],
      [0, column(5, 5), cannot],
      [-1, column(...flat), 'the base time is no time'],
      [253_402_300_800_000, column(...flat), 'the base time is no time'],
      ['0', column(...flat), 'the base time is no time'],
      [0, ['a b', 'm', 1, [1], [0], [[5]]], 'a sensor id out of form'],
      [0, ['a', '', 1, [1], [0], [[5]]], 'a model name out of form'],
      [0, ['a', 'm', 0, [1], [], [[]]], '1 to 1000 readings make a series'],
      [0, ['a', 'm', 1001, [1], [0], [[5]]], '1 to 1000 readings make a series'],
      [0, ['a', 'm', 1, [], [0], []], 'each quantity has one column'],
      [0, ['a', 'm', 1, [1, 2], [0], [[5]]], 'each quantity has one column'],
      [0, ['a', 'm', 1, [9999], [0], [[5]]], 'no quantity has code 9999'],
      [0, ['a', 'm', 1, [2, 1], [0], [[5], [5]]], 'quantity codes ascend'],
      [0, ['a', 'm', 1, [1, 1], [0], [[5], [5]]], 'quantity codes ascend'],
      [0, ['a', 'm', 1, [1], [-1], [[5]]], 'times of a cannot be read'],
      [0, ['a', 'm', 1, [1], [0]], 'a series is an array of six'],
    ]
    for (const [base, series, expected] of cases)
      expect(detail(base, series), JSON.stringify(series)).toBe(expected)
    expect(detail(0)).toBe('no series')
    expect(decodeCbor(encodeReadings([one])).ok).toBe(true)
  })
})
