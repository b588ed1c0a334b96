/**
 * One column of 32-bit integers as signed bytes carry it: first value absolute, then differences, packed to the
 * width the widest one needs (frame of reference). Readings of one sensor differ little from one to the next, so a
 * column of fifty takes some thirty bytes; a clock that ticks evenly takes none. readings.cddl holds the layout.
 */
import type { CborValue, CborWriter } from './cbor.ts'
import { scaledMax, scaledMin } from './quantity.ts'

// Two 32-bit integers differ by less than 2^32, and differences themselves are taken above the least one.
const widestBits = 33

/** Bits needed for a non-negative number up to 2^33 - 1. */
const bitsFor = (value: number): number => {
  const high = Math.floor(value / 0x1_0000_0000)
  return high > 0 ? 32 + bitsFor(high) : 32 - Math.clz32(value)
}

/** Most significant bit first; the last byte is filled with zero bits. `scale` steps stay exact below 2^53. */
const pack = (differences: readonly number[], least: number, width: number): Uint8Array => {
  const packed = new Uint8Array(Math.ceil((differences.length * width) / 8))
  if (width <= 24) return packNarrow(differences, least, width, packed)
  let at = 0
  let pending = 0
  let bits = 0
  const scale = 2 ** width
  for (const difference of differences) {
    pending = pending * scale + (difference - least)
    bits += width
    while (bits >= 8) {
      bits -= 8
      const unit = 2 ** bits
      const byte = Math.floor(pending / unit)
      packed[at++] = byte
      pending -= byte * unit
    }
  }
  if (bits > 0) packed[at] = pending * 2 ** (8 - bits)
  return packed
}

/** The same for widths that 32-bit arithmetic holds, which nearly all columns have. */
const packNarrow = (
  differences: readonly number[],
  least: number,
  width: number,
  packed: Uint8Array,
): Uint8Array => {
  let at = 0
  let pending = 0
  let bits = 0
  for (let index = 0; index < differences.length; index++) {
    pending = (pending << width) | (differences[index]! - least)
    bits += width
    while (bits >= 8) {
      bits -= 8
      packed[at++] = pending >>> bits
    }
    pending &= (1 << bits) - 1
  }
  if (bits > 0) packed[at] = pending << (8 - bits)
  return packed
}

const unpack = (packed: Uint8Array, count: number, least: number, width: number): number[] | undefined => {
  if (packed.length !== Math.ceil((count * width) / 8)) return undefined
  const differences: number[] = []
  let at = 0
  let pending = 0
  let bits = 0
  let widest = 0
  for (let done = 0; done < count; done++) {
    while (bits < width) {
      pending = pending * 256 + packed[at++]!
      bits += 8
    }
    bits -= width
    const unit = 2 ** bits
    const value = Math.floor(pending / unit)
    pending -= value * unit
    if (value > widest) widest = value
    differences.push(value + least)
  }
  // One column, one encoding: no width to spare, no stray bits behind the end, and the least difference occurs.
  if (pending !== 0 || bitsFor(widest) !== width) return undefined
  if (width > 0 && !differences.includes(least)) return undefined
  return differences
}

/** What follows the first value: the least difference, the width of what each has above it, and those packed. */
export type Differences = { readonly least: number; readonly width: number; readonly packed: Uint8Array }

/** The differences of two or more values. */
export const differencesOf = (values: readonly number[]): Differences => {
  const differences: number[] = []
  let least = Number.POSITIVE_INFINITY
  let most = Number.NEGATIVE_INFINITY
  for (let at = 1; at < values.length; at++) {
    const difference = values[at]! - values[at - 1]!
    differences.push(difference)
    if (difference < least) least = difference
    if (difference > most) most = difference
  }
  const width = bitsFor(most - least)
  return { least, width, packed: pack(differences, least, width) }
}

/** The bytes that `count` values have in packed differences of that width. */
export const packedBytes = (count: number, width: number): number => Math.ceil(((count - 1) * width) / 8)

/** Reads `count` values back, at least two; undefined where the differences are not what `differencesOf` gives. */
export const valuesFrom = (
  first: number,
  { least, width, packed }: Differences,
  count: number,
): number[] | undefined => {
  if (!Number.isSafeInteger(least) || Math.abs(least) >= 2 ** 32) return undefined
  if (!Number.isInteger(width) || width < 0 || width > widestBits) return undefined
  const differences = unpack(packed, count - 1, least, width)
  if (differences === undefined) return undefined
  const values = [first]
  let value = first
  for (const difference of differences) {
    value += difference
    if (!isScaled(value)) return undefined
    values.push(value)
  }
  return values
}

/** Writes the items of a column into an open array: none, `first`, or `first, least, width, packed`. */
export const columnItems = (count: number): number => (count === 0 ? 0 : count === 1 ? 1 : 4)

export const writeColumn = (writer: CborWriter, values: readonly number[]): void => {
  if (values.length === 0) return
  writer.int(values[0]!)
  if (values.length === 1) return
  const { least, width, packed } = differencesOf(values)
  writer.int(least).int(width).bytes(packed)
}

const isScaled = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= scaledMin && value <= scaledMax

/** Reads back `count` values; undefined where the items are not exactly what `writeColumn` would have written. */
export const readColumn = (items: readonly CborValue[], count: number): number[] | undefined => {
  if (items.length !== columnItems(count)) return undefined
  if (count === 0) return []
  const [first, least, width, packed] = items
  if (!isScaled(first)) return undefined
  if (count === 1) return [first]
  if (typeof least !== 'number' || typeof width !== 'number' || !(packed instanceof Uint8Array))
    return undefined
  return valuesFrom(first, { least, width, packed }, count)
}
