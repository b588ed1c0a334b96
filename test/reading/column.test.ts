import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex } from '#gateway/reading/bytes.ts'
import { type CborValue, CborWriter, decodeCbor, envelopeBounds } from '#gateway/reading/cbor.ts'
import { columnItems, readColumn, writeColumn } from '#gateway/reading/column.ts'
import { scaledMax, scaledMin } from '#gateway/reading/quantity.ts'
import { int32, seed } from './samples.ts'

const bounds = { ...envelopeBounds, maxBytes: 1 << 16 }

const columnBytes = (values: readonly number[]): Uint8Array => {
  const writer = new CborWriter().array(columnItems(values.length))
  writeColumn(writer, values)
  return writer.finish()
}

const itemsOf = (bytes: Uint8Array): CborValue[] => {
  const decoded = decodeCbor(bytes, bounds)
  return decoded.ok && Array.isArray(decoded.value) ? decoded.value : expect.fail('no array')
}

/** The layout again, by big integers and strings of bits: what readings.cddl says, word for word. */
const reference = (values: readonly number[]): CborValue[] => {
  if (values.length < 2) return [...values]
  const differences = values.slice(1).map((value, at) => value - values[at]!)
  const least = Math.min(...differences)
  const above = differences.map((difference) => BigInt(difference - least))
  const width = Math.max(...above.map((one) => (one === 0n ? 0 : one.toString(2).length)))
  const bits = width === 0 ? '' : above.map((one) => one.toString(2).padStart(width, '0')).join('')
  const packed = new Uint8Array(Math.ceil(bits.length / 8))
  for (let at = 0; at < bits.length; at++) if (bits[at] === '1') packed[at >> 3]! |= 128 >> (at & 7)
  return [values[0]!, least, width, packed]
}

const columns = fc.oneof(
  fc.array(int32, { maxLength: 60 }),
  fc.tuple(int32, fc.array(fc.integer({ min: -9, max: 9 }), { maxLength: 60 })).map(([first, steps]) => {
    const values = [first]
    for (const step of steps) values.push(Math.max(scaledMin, Math.min(scaledMax, values.at(-1)! + step)))
    return values
  }),
)

describe('a column', () => {
  it('holds what the layout says, and reads back, for any 32-bit integers', () => {
    fc.assert(
      fc.property(columns, (values) => {
        const items = itemsOf(columnBytes(values))
        expect(items).toEqual(reference(values))
        expect(readColumn(items, values.length)).toEqual(values)
      }),
      { seed, numRuns: 2000 },
    )
  })

  it('carries the widest jumps in 33 bits, at every count', () => {
    for (let count = 3; count < 40; count++) {
      const values = Array.from({ length: count }, (_, at) => (at % 2 ? scaledMin : scaledMax))
      const items = itemsOf(columnBytes(values))
      expect(items[2]).toBe(33)
      expect(readColumn(items, count)).toEqual(values)
    }
  })

  it('of an even clock takes no packed bytes', () => {
    expect(itemsOf(columnBytes([0, 30_000, 60_000, 90_000]))).toEqual([0, 30_000, 0, new Uint8Array(0)])
  })

  it('is refused in every other encoding of the same values', () => {
    fc.assert(
      fc.property(
        fc.array(int32, { minLength: 2, maxLength: 20 }),
        fc.integer({ min: 0, max: 33 }),
        fc.integer({ min: 1, max: 300 }),
        (values, width, lower) => {
          const [first, least, narrow] = reference(values) as [number, number, number]
          const differences = values.slice(1).map((value, at) => value - values[at]!)
          const packAt = (from: number, wide: number): CborValue[] => {
            const bits = differences
              .map((one) =>
                BigInt(one - from)
                  .toString(2)
                  .padStart(wide, '0'),
              )
              .join('')
            const bytes = new Uint8Array(Math.ceil((wide === 0 ? 0 : bits.length) / 8))
            for (let at = 0; at < bytes.length * 8; at++)
              if (bits[at] === '1') bytes[at >> 3]! |= 128 >> (at & 7)
            return [first, from, wide, bytes]
          }
          if (width > narrow) expect(readColumn(packAt(least, width), values.length)).toBeUndefined()
          // A lower base: the same differences, none of them zero.
          const widest = Math.max(...differences) - (least - lower)
          const bits = widest.toString(2).length
          if (bits <= 33) expect(readColumn(packAt(least - lower, bits), values.length)).toBeUndefined()
        },
      ),
      { seed, numRuns: 500 },
    )
  })

  it('that can be read at all is what would be written: random items have one form or none', () => {
    const items = fc.tuple(
      int32,
      fc.integer({ min: -40, max: 40 }),
      fc.integer({ min: 0, max: 9 }),
      fc.uint8Array({ maxLength: 4 }),
    )
    let read = 0
    fc.assert(
      fc.property(items, fc.integer({ min: 2, max: 9 }), (column, count) => {
        const values = readColumn(column, count)
        if (values === undefined) return
        read++
        expect(toHex(columnBytes(values))).toBe(
          toHex(
            new CborWriter().array(4).int(column[0]).int(column[1]).int(column[2]).bytes(column[3]).finish(),
          ),
        )
      }),
      { seed, numRuns: 20_000 },
    )
    expect(read).toBeGreaterThan(50)
  })

  it('is refused with stray bits, a wrong length, a value beyond 32 bits or items of another kind', () => {
    const good: CborValue[] = [100, -1, 2, Uint8Array.of(0b00_01_10_11)]
    expect(readColumn(good, 5)).toEqual([100, 99, 99, 100, 102])
    const bad: readonly (readonly [CborValue[], number])[] = [
      [good, 4],
      [good, 6],
      [[100, -1, 2, Uint8Array.of(0b00_01_11_01)], 4],
      [[100, -1, 2, Uint8Array.of(0b00_01_10_11, 0)], 5],
      [[scaledMax, 1, 0, new Uint8Array(0)], 2],
      [[100, -1, 2], 5],
      [[100], 2],
      [[100, 100], 2],
      [[scaledMax + 1], 1],
      [[1.5], 1],
      [['100'], 1],
      [[100, -(2 ** 32), 0, new Uint8Array(0)], 2],
      [[100, -1, 34, new Uint8Array(17)], 5],
      [[100, -1, -1, new Uint8Array(0)], 5],
      [[100, -1, 2, 'ab'], 5],
      [[], 1],
      [[1], 0],
    ]
    for (const [items, count] of bad) expect(readColumn(items, count)).toBeUndefined()
  })
})
