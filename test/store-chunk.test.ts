import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ChunkDamaged, decodeChunk, encodeChunk } from '#gateway/store/chunk.ts'
import { openNumberReader, openNumberWriter, readColumn, writeColumn } from '#gateway/store/varint.ts'
import { hour, order, reading, startMs, untidyReadings } from '#test/contract/store-oracle.ts'

describe('a sealed chunk', () => {
  const ofOneSensor = (seed: number) =>
    untidyReadings(seed, 300)
      .filter(({ sensor }) => sensor === 'x_1')
      .map((one) => ({ ...one, timeMs: startMs + (one.timeMs % hour) }))
      .sort(order)

  test('packs any column of whole numbers without loss', () => {
    const column = fc.array(
      fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 1, 1, 2, 63, 64, 2 ** 31, 2 ** 53 - 1), fc.nat(100)),
    )
    fc.assert(
      fc.property(column, fc.nat(50), (numbers, repeats) => {
        const long = [...numbers, ...Array.from({ length: repeats }, (_, at) => at * 30_000)]
        const writer = openNumberWriter()
        writeColumn(writer, long)
        expect([...readColumn(openNumberReader(writer.take()), new Float64Array(long.length))]).toEqual(long)
      }),
    )
  })

  test('gives back exactly the readings that went in', () => {
    for (let seed = 0; seed < 30; seed++) {
      const readings = ofOneSensor(seed)
      const chunk = decodeChunk(encodeChunk(readings, startMs).body, startMs)
      const back = readings.map((_, at) => ({ station: '0f3c', sensor: 'x_1', ...chunk.reading(at) }))
      expect(back).toEqual(readings)
    }
  })

  test('takes few bytes where a sensor speaks evenly', () => {
    const readings = Array.from({ length: 120 }, (_, at) =>
      reading({ timeMs: startMs + at * 30_000, seq: 7 + Math.floor(at / 10), place: at % 10 }),
    )
    expect(encodeChunk(readings, startMs).body.length).toBeLessThan(2 * 120)
  })

  test('is found damaged when any of its bytes is changed or missing', () => {
    const { body } = encodeChunk(ofOneSensor(5), startMs)
    for (let at = 0; at < body.length; at++) {
      const changed = body.slice()
      changed[at]! ^= 1 << (at % 8)
      expect(() => decodeChunk(changed, startMs)).toThrow(ChunkDamaged)
      expect(() => decodeChunk(body.subarray(0, at), startMs)).toThrow(ChunkDamaged)
    }
  })
})
