/**
 * A sealed chunk: one sensor's readings of one hour as columns, and for each quantity what rollups need of them.
 *
 * Body: CRC-32 of the rest (4 bytes, big-endian), then packed numbers (varint.ts): layout version, count n, `heads` as
 * length and JSON, columns of time steps, seq, place, score in thousandths, index into heads; number of quantities; for
 * each its code and, with its length before it, states (absent where all n are values) and the values that are there.
 */
import { crc32 } from 'node:zlib'
import { type Absence, absenceCoded, absences, type Value } from '../reading/reading.ts'
import { addValue, emptyTally, type Tally } from './rollup.ts'
import type { StoredReading } from './store.ts'
import { openNumberReader, openNumberWriter, readColumn, writeColumn } from './varint.ts'

const layout = 1

/** Most readings of one chunk, fourteen a second; busier hours stay rows, so that no decode takes long. */
export const chunkReadingsMax = 50_000

// State of a quantity in a reading: not named, a value, or absent for the reason with code state - 2.
const unnamed = 0
const present = 1
const absentFrom = 2

/** A chunk's bytes do not say what was written: the disk or a foreign hand changed them. */
export class ChunkDamaged extends Error {
  override name = 'ChunkDamaged'
}

/** What readings of one sensor mostly share. */
type Head = readonly [model: string, rules: string, ...flags: string[]]

export type Chunk = {
  readonly count: number
  /** UTC ms, ascending; then seq, then place. */
  readonly timeMs: Float64Array
  readonly seq: Float64Array
  readonly place: Float64Array
  /** Thousandths. */
  readonly score: Float64Array
  /** Quantity codes that occur, ascending. */
  readonly codes: readonly number[]
  /** Which readings name the quantity, and its values where state is 1; undefined for a code that does not occur. */
  column(code: number): Column | undefined
  reading(at: number, codes?: ReadonlySet<number>): Omit<StoredReading, 'station' | 'sensor'>
}

export type Column = { readonly states: Uint8Array; readonly scaled: Int32Array }

/** True where the reading at `at` has a value in the column, and not an absence. */
export const hasValue = ({ states }: Column, at: number): boolean => states[at] === present

/** True where the reading at `at` names the quantity, be it absent. */
export const isNamed = ({ states }: Column, at: number): boolean => states[at] !== unnamed

const stateOf = (value: Value) => (value.scaled === null ? absentFrom + absences[value.absent] : present)

const valueAt = (quantity: number, { states, scaled }: Column, at: number): Value => {
  const state = states[at]!
  if (state === present) return { quantity, scaled: scaled[at]! }
  return { quantity, scaled: null, absent: absenceCoded(state - absentFrom) as Absence }
}

/** Columns of all quantities that occur, by code, filled reading by reading. */
const columnsOf = (readings: readonly StoredReading[]) => {
  const columns = new Map<number, { states: Uint8Array; values: number[] }>()
  for (const [at, { values }] of readings.entries())
    for (const value of values) {
      const column = columns.get(value.quantity) ?? { states: new Uint8Array(readings.length), values: [] }
      columns.set(value.quantity, column)
      column.states[at] = stateOf(value)
      if (value.scaled !== null) column.values.push(value.scaled)
    }
  return [...columns].sort(([a], [b]) => a - b)
}

/** Steps between neighbours: a clock that ticks evenly then costs nothing in a column of differences. */
const steps = (numbers: readonly number[], origin: number) =>
  numbers.map((number, at) => number - (at === 0 ? origin : numbers[at - 1]!))

const sealed = (payload: Uint8Array) => {
  const body = new Uint8Array(payload.length + 4)
  new DataView(body.buffer).setUint32(0, crc32(payload))
  body.set(payload, 4)
  return body
}

/** Packs one sensor's readings of the hour that begins at `hourMs`, ordered by time, seq, place. */
export const encodeChunk = (
  readings: readonly StoredReading[],
  hourMs: number,
): { body: Uint8Array; totals: Uint8Array } => {
  const heads = new Map<string, number>()
  const headAt = readings.map(({ model, rules, flags }) => {
    const head = JSON.stringify([model, rules, ...flags])
    if (!heads.has(head)) heads.set(head, heads.size)
    return heads.get(head)!
  })
  const writer = openNumberWriter()
  writer.int(layout)
  writer.int(readings.length)
  writer.raw(new TextEncoder().encode(`[${[...heads.keys()].join()}]`))
  const times = readings.map(({ timeMs }) => timeMs)
  writeColumn(writer, steps(times, hourMs))
  for (const key of ['seq', 'place'] as const)
    writeColumn(
      writer,
      readings.map((reading) => reading[key]),
    )
  writeColumn(
    writer,
    readings.map(({ score }) => Math.round(score * 1000)),
  )
  writeColumn(writer, headAt)
  const columns = columnsOf(readings)
  writer.int(columns.length)
  const tallies: [number, Tally][] = []
  for (const [code, { states, values }] of columns) {
    const packed = openNumberWriter()
    const whole = values.length === readings.length
    packed.int(whole ? 0 : 1)
    if (!whole) writeColumn(packed, states)
    writeColumn(packed, values)
    writer.int(code)
    writer.raw(packed.take())
    const tally = emptyTally()
    for (const value of values) addValue(tally, value)
    if (tally.count > 0) tallies.push([code, tally])
  }
  return { body: sealed(writer.take()), totals: encodeTotals(tallies) }
}

// Per quantity: code (2 bytes), count (4), min (4), max (4), sum (8, float: exact to 2^53); all big-endian.
const totalBytes = 22

const encodeTotals = (tallies: readonly [number, Tally][]) => {
  const bytes = new Uint8Array(tallies.length * totalBytes)
  const view = new DataView(bytes.buffer)
  for (const [at, [code, { count, sum, min, max }]] of tallies.entries()) {
    const offset = at * totalBytes
    view.setUint16(offset, code)
    view.setUint32(offset + 2, count)
    view.setInt32(offset + 6, min)
    view.setInt32(offset + 10, max)
    view.setFloat64(offset + 14, sum)
  }
  return bytes
}

/** Calls back with each quantity that has values in a chunk, from its totals alone. */
export const eachTotal = (totals: Uint8Array, give: (code: number, tally: Tally) => void): void => {
  const view = new DataView(totals.buffer, totals.byteOffset, totals.byteLength)
  for (let offset = 0; offset + totalBytes <= totals.length; offset += totalBytes)
    give(view.getUint16(offset), {
      count: view.getUint32(offset + 2),
      min: view.getInt32(offset + 6),
      max: view.getInt32(offset + 10),
      sum: view.getFloat64(offset + 14),
    })
}

const decodeColumn = (packed: Uint8Array, count: number): Column => {
  const reader = openNumberReader(packed)
  if (reader.int() === 0)
    return { states: new Uint8Array(count).fill(present), scaled: readColumn(reader, new Int32Array(count)) }
  const states = readColumn(reader, new Uint8Array(count))
  let there = 0
  for (const state of states) if (state === present) there++
  const values = readColumn(reader, new Int32Array(there))
  const scaled = new Int32Array(count)
  let at = 0
  for (let to = 0; to < count; to++) if (states[to] === present) scaled[to] = values[at++]!
  return { states, scaled }
}

const decodeTimes = (times: Float64Array, hourMs: number) => {
  let timeMs = hourMs
  for (let at = 0; at < times.length; at++) times[at] = timeMs += times[at]!
  return times
}

/** Opens a body from `encodeChunk`; columns of quantities are decoded when asked for. Throws ChunkDamaged. */
export const decodeChunk = (body: Uint8Array, hourMs: number): Chunk => {
  const payload = body.subarray(4)
  const expected = new DataView(body.buffer, body.byteOffset, body.byteLength)
  if (body.length < 4 || crc32(payload) !== expected.getUint32(0))
    throw new ChunkDamaged('its checksum does not match its bytes')
  const reader = openNumberReader(payload)
  const version = reader.int()
  if (version !== layout) throw new ChunkDamaged(`layout ${version} is not ${layout}`)
  const count = reader.int()
  if (count < 1 || count > chunkReadingsMax) throw new ChunkDamaged(`${count} readings are too many`)
  const heads = JSON.parse(new TextDecoder().decode(reader.raw())) as Head[]
  const timeMs = decodeTimes(readColumn(reader, new Float64Array(count)), hourMs)
  const seq = readColumn(reader, new Float64Array(count))
  const place = readColumn(reader, new Float64Array(count))
  const score = readColumn(reader, new Float64Array(count))
  const headAt = readColumn(reader, new Int32Array(count))
  const packed = new Map<number, Uint8Array>()
  for (let left = reader.int(); left > 0; left--) packed.set(reader.int(), reader.raw())
  const codes = [...packed.keys()]

  const columns = new Map<number, Column>()
  const column = (code: number) => {
    const known = columns.get(code)
    const bytes = packed.get(code)
    if (known || !bytes) return known
    const decoded = decodeColumn(bytes, count)
    columns.set(code, decoded)
    return decoded
  }

  const reading: Chunk['reading'] = (at, wanted) => {
    const [model, rules, ...flags] = heads[headAt[at]!]!
    const values: Value[] = []
    for (const code of codes) {
      if (wanted && !wanted.has(code)) continue
      const decoded = column(code)!
      if (isNamed(decoded, at)) values.push(valueAt(code, decoded, at))
    }
    return {
      model,
      timeMs: timeMs[at]!,
      values,
      seq: seq[at]!,
      place: place[at]!,
      score: score[at]! / 1000,
      flags,
      rules,
    }
  }

  return { count, timeMs, seq, place, score, codes, column, reading }
}
