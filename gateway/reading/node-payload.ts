/**
 * The payload of a frame that a radio node signs: readings of one node in as few bytes as there are. Integers only;
 * a node has no clock, so that a time is an age: whole seconds before the frame was sent.
 *
 *     count (number), quantities (number), their codes: the first, then differences (numbers)
 *     ages: a column without absences, oldest first
 *     one column per quantity
 *
 * A number is unsigned LEB128 of at most 5 bytes; a signed one is zigzag LEB128 (0, -1, 1, -2 as 0, 1, 2, 3). A column:
 *
 *     head (1 byte): bits 0 to 5 the width, 0 where fewer than two values are there; bit 6 absences follow; bit 7 zero
 *     absences: runs (number), and for each run values before it and after the last one (number), its length - 1
 *               (number), reason (1 byte); runs of the same reason do not touch
 *     first (signed), where a value is there; then, where two are: least (signed) and the differences, packed as in
 *     readings.cddl
 *
 * Every payload has one encoding, and nothing else is read.
 */
import { concatBytes } from './bytes.ts'
import { differencesOf, packedBytes, valuesFrom } from './column.ts'
import { quantityCoded, scaledMax, scaledMin } from './quantity.ts'
import { absenceCoded, absences, type Value } from './reading.ts'
import { type Refused, refused } from './refusal.ts'

/** Readings in one frame, at most; what fits on the air is far less. */
export const maxNodeReadings = 64

/** Quantities in one frame, at most. */
export const maxNodeQuantities = 16

/** The oldest reading that a frame may hold: a week, for nodes that were out of reach. */
export const maxAgeS = 7 * 86_400

/** What a node measured so many whole seconds before it sent. `values` hold the same quantities in every reading of a frame. */
export type NodeReading = { readonly ageS: number; readonly values: readonly Value[] }

const absencesFollow = 0x40
const widthBits = 0x3f
const widestNumber = 2 ** 35

const zigzag = (value: number): number => (value < 0 ? -2 * value - 1 : 2 * value)
const unzigzag = (value: number): number => (value % 2 === 0 ? value / 2 : -(value + 1) / 2)

/** The bytes of a number below 2^35 in unsigned LEB128. */
export const leb128 = (value: number): number[] => {
  const bytes: number[] = []
  let rest = value
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  bytes.push(rest)
  return bytes
}

/** The number at `at` and where it ends; undefined where there is none, or not in its shortest form. */
export const leb128At = (
  bytes: Uint8Array,
  at: number,
): { readonly value: number; readonly end: number } | undefined => {
  let value = 0
  let unit = 1
  for (let end = at; unit < widestNumber; ) {
    const byte = bytes[end++]
    if (byte === undefined) return undefined
    value += (byte & 0x7f) * unit
    unit *= 0x80
    if (byte < 0x80) return byte === 0 && end > at + 1 ? undefined : { value, end }
  }
  return undefined
}

const columnBytes = (values: readonly Value[]): Uint8Array => {
  const present: number[] = []
  const runs: { skip: number; length: number; reason: number }[] = []
  let since = 0
  let open = false
  for (const value of values) {
    if (value.scaled !== null) {
      present.push(value.scaled)
      since += 1
      open = false
      continue
    }
    const reason = absences[value.absent]
    const last = runs.at(-1)
    if (open && last?.reason === reason) last.length += 1
    else runs.push({ skip: since, length: 1, reason })
    open = true
    since = 0
  }
  const differences = present.length > 1 ? differencesOf(present) : undefined
  return concatBytes(
    Uint8Array.from([
      (differences?.width ?? 0) | (runs.length > 0 ? absencesFollow : 0),
      ...(runs.length > 0 ? leb128(runs.length) : []),
      ...runs.flatMap(({ skip, length, reason }) => [...leb128(skip), ...leb128(length - 1), reason]),
      ...(present.length > 0 ? leb128(zigzag(present[0]!)) : []),
      ...(differences ? leb128(zigzag(differences.least)) : []),
    ]),
    differences?.packed ?? new Uint8Array(),
  )
}

const isAge = (ageS: number): boolean => Number.isInteger(ageS) && ageS >= 0 && ageS <= maxAgeS

/** The payload of 1 to `maxNodeReadings` readings, oldest first. Throws RangeError for what cannot be carried. */
export const encodeNodePayload = (readings: readonly NodeReading[]): Uint8Array => {
  const [first] = readings
  if (first === undefined || readings.length > maxNodeReadings)
    throw new RangeError(`1 to ${maxNodeReadings} readings make a frame, not ${readings.length}`)
  const codes = first.values.map(({ quantity }) => quantity)
  if (codes.length === 0 || codes.length > maxNodeQuantities)
    throw new RangeError(`1 to ${maxNodeQuantities} quantities make a frame, not ${codes.length}`)
  for (const [row, { ageS, values }] of readings.entries()) {
    if (!isAge(ageS)) throw new RangeError(`an age is 0 to ${maxAgeS} whole seconds, not ${ageS}`)
    if (row > 0 && ageS > readings[row - 1]!.ageS)
      throw new RangeError('readings of a frame go from old to new')
    if (values.length !== codes.length || values.some(({ quantity }, at) => quantity !== codes[at]))
      throw new RangeError('readings of a frame hold the same quantities')
  }
  return concatBytes(
    Uint8Array.from([
      ...leb128(readings.length),
      ...leb128(codes.length),
      ...codes.flatMap((code, at) => leb128(code - (at > 0 ? codes[at - 1]! : 0))),
    ]),
    columnBytes(readings.map(({ ageS }) => ({ quantity: 0, scaled: ageS }))),
    ...codes.map((_, at) => columnBytes(readings.map(({ values }) => values[at]!))),
  )
}

/** Left by `throw` inside this file only: a payload has many places where it can be wrong. */
class Malformed extends Error {}

const fail = (what: string): never => {
  throw new Malformed(what)
}

/** Reads a payload from the front. */
const reader = (bytes: Uint8Array) => {
  let at = 0
  const byte = (what: string): number => bytes[at++] ?? fail(`it ends before ${what}`)
  const number = (what: string, least: number, most: number): number => {
    const found = leb128At(bytes, at)
    if (found === undefined || found.value < least || found.value > most)
      return fail(`${what} is no number from ${least} to ${most}`)
    at = found.end
    return found.value
  }
  return {
    byte,
    number,
    signed: (what: string): number => unzigzag(number(what, 0, widestNumber - 1)),
    take: (length: number): Uint8Array => {
      if (length > bytes.length - at) fail('it ends inside a column')
      at += length
      return bytes.slice(at - length, at)
    },
    end: (): void => void (at < bytes.length && fail('bytes after the end')),
  }
}

const readColumnOf = (from: ReturnType<typeof reader>, quantity: number, count: number): Value[] => {
  const head = from.byte('a column')
  if (head & 0x80) fail('a column with bit 7 set')
  const values: (Value | undefined)[] = new Array(count).fill(undefined)
  let missing = 0
  if (head & absencesFollow) {
    let end = 0
    let before: string | undefined
    for (let runs = from.number('a count of absences', 1, count); runs > 0; runs--) {
      const skip = from.number('the place of an absence', 0, count - end - 1)
      const length = from.number('the length of an absence', 0, count - end - skip - 1) + 1
      const absent = absenceCoded(from.byte('a reason')) ?? fail('an absence without a reason')
      if (skip === 0 && absent === before) fail('one run of absences, written as two')
      values.fill({ quantity, scaled: null, absent }, end + skip, end + skip + length)
      end += skip + length
      missing += length
      before = absent
    }
  }
  const width = head & widthBits
  const present = count - missing
  if (present < 2 && width > 0) fail('a width without differences')
  if (present > 0) {
    const first = from.signed('a first value')
    if (first < scaledMin || first > scaledMax) fail('a value beyond 32 bits')
    let found: number[] | undefined = [first]
    if (present > 1) {
      const least = from.signed('a least difference')
      found = valuesFrom(first, { least, width, packed: from.take(packedBytes(present, width)) }, present)
    }
    if (found === undefined) return fail('a column that is not in its one form')
    let next = 0
    for (const [row, value] of values.entries())
      if (value === undefined) values[row] = { quantity, scaled: found[next++]! }
  }
  return values as Value[]
}

/** Reads a payload back, oldest reading first. Bad bytes are an answer, never an exception. */
export const decodeNodePayload = (
  payload: Uint8Array,
): { readonly ok: true; readonly readings: readonly NodeReading[] } | Refused => {
  try {
    const from = reader(payload)
    const count = from.number('the count of readings', 1, maxNodeReadings)
    const codes: number[] = []
    for (let left = from.number('the count of quantities', 1, maxNodeQuantities); left > 0; left--) {
      const code = (codes.at(-1) ?? 0) + from.number('a quantity', 1, 0xffff)
      if (quantityCoded(code) === undefined) fail(`no quantity has code ${code}`)
      codes.push(code)
    }
    const ages = readColumnOf(from, 0, count).map(({ scaled }) => scaled ?? fail('an age that is absent'))
    for (const [row, ageS] of ages.entries())
      if (!isAge(ageS) || (row > 0 && ageS > ages[row - 1]!)) fail('ages that do not go from old to new')
    const columns = codes.map((code) => readColumnOf(from, code, count))
    from.end()
    return {
      ok: true,
      readings: ages.map((ageS, row) => ({ ageS, values: columns.map((column) => column[row]!) })),
    }
  } catch (error) {
    if (error instanceof Malformed) return refused('bad-payload', `a node's frame: ${error.message}`)
    throw error
  }
}
