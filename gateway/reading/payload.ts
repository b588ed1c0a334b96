/** The readings payload, `application/vnd.groundtruth.readings+cbor`: columnar, integers only. Layout: readings.cddl. */
import { type CborValue, CborWriter, decodeCbor, envelopeBounds } from './cbor.ts'
import { columnItems, readColumn, writeColumn } from './column.ts'
import { quantityCoded, scaledMax } from './quantity.ts'
import { type Absence, absenceCoded, absences, idPattern, type Reading, type Value } from './reading.ts'
import { type Refused, refused } from './refusal.ts'

export const readingsContentType = 'application/vnd.groundtruth.readings+cbor'

/** Most readings one payload may hold; a station sends at most 50 by default. */
export const maxReadings = 1000

// Beyond this, base time and offsets could leave the safe integers. Year 9999.
const latestMs = 253_402_300_799_999

type Series = { sensor: string; model: string; codes: readonly number[]; rows: Reading[] }

const seriesOf = (readings: readonly Reading[]): Series[] => {
  const series: Series[] = []
  for (const reading of readings) {
    const { sensor, model, values } = reading
    const same = series.find(
      (one) =>
        one.sensor === sensor &&
        one.model === model &&
        one.codes.length === values.length &&
        one.codes.every((code, at) => code === values[at]!.quantity),
    )
    if (same) same.rows.push(reading)
    else series.push({ sensor, model, codes: values.map((value) => value.quantity), rows: [reading] })
  }
  return series
}

const writeValues = (writer: CborWriter, rows: readonly Reading[], at: number): void => {
  const present: number[] = []
  // Runs of absent values as start, count, reason: a dead channel costs four bytes, not one per reading.
  const runs: number[] = []
  for (let row = 0; row < rows.length; row++) {
    const value = rows[row]!.values[at]!
    if (value.scaled !== null) present.push(value.scaled)
    else {
      const reason = absences[value.absent]
      const last = runs.length - 3
      if (last >= 0 && runs[last]! + runs[last + 1]! === row && runs[last + 2] === reason) runs[last + 1]!++
      else runs.push(row, 1, reason)
    }
  }
  writer.array(columnItems(present.length) + (runs.length > 0 ? 1 : 0))
  writeColumn(writer, present)
  if (runs.length > 0) {
    writer.array(runs.length)
    for (const item of runs) writer.int(item)
  }
}

/**
 * The payload of 1 to `maxReadings` readings. Readings of one sensor with the same quantities become one series;
 * the order within a sensor stays. Throws RangeError where readings lie more than 24 days apart.
 */
export const encodeReadings = (readings: readonly Reading[]): Uint8Array => {
  if (readings.length === 0 || readings.length > maxReadings)
    throw new RangeError(`1 to ${maxReadings} readings make a payload, not ${readings.length}`)
  let base = readings[0]!.timeMs
  for (const { timeMs } of readings) if (timeMs < base) base = timeMs
  const writer = new CborWriter()
  const series = seriesOf(readings)
  writer.map(2).int(0).int(base).int(1).array(series.length)
  for (const { sensor, model, codes, rows } of series) {
    const times = rows.map((row) => row.timeMs - base)
    if (times.some((time) => time > scaledMax)) throw new RangeError('readings lie more than 24 days apart')
    writer.array(6).text(sensor).text(model).int(rows.length).array(codes.length)
    for (const code of codes) writer.int(code)
    writer.array(columnItems(times.length))
    writeColumn(writer, times)
    writer.array(codes.length)
    for (let at = 0; at < codes.length; at++) writeValues(writer, rows, at)
  }
  return writer.finish()
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1

/** Values of one quantity, row by row; undefined where the column is not well formed. */
const readValues = (quantity: number, items: CborValue, count: number): Value[] | undefined => {
  if (!Array.isArray(items)) return undefined
  const last = items.at(-1)
  const runs = Array.isArray(last) ? last : undefined
  const absent: (Absence | undefined)[] = new Array(count)
  let missing = 0
  if (runs) {
    let end = 0
    let before: Absence | undefined
    if (runs.length === 0 || runs.length % 3 !== 0) return undefined
    for (let at = 0; at < runs.length; at += 3) {
      const [start, length, code] = runs.slice(at, at + 3)
      const reason = typeof code === 'number' ? absenceCoded(code) : undefined
      if (typeof start !== 'number' || !Number.isInteger(start) || start < end) return undefined
      if (!isCount(length) || start + length > count || reason === undefined) return undefined
      if (at > 0 && start === end && reason === before) return undefined // one run, written as two
      absent.fill(reason, start, start + length)
      end = start + length
      before = reason
      missing += length
    }
  }
  const present = readColumn(runs ? items.slice(0, -1) : items, count - missing)
  if (present === undefined) return undefined
  let next = 0
  return Array.from({ length: count }, (_, row) => {
    const reason = absent[row]
    return reason === undefined
      ? { quantity, scaled: present[next++]! }
      : { quantity, scaled: null, absent: reason }
  })
}

const readSeries = (series: CborValue, base: number): Reading[] | string => {
  if (!Array.isArray(series) || series.length !== 6) return 'a series is an array of six'
  const [sensor, model, count, codes, times, columns] = series
  if (typeof sensor !== 'string' || !idPattern.test(sensor)) return 'a sensor id out of form'
  if (typeof model !== 'string' || !idPattern.test(model)) return 'a model name out of form'
  if (!isCount(count) || count > maxReadings) return `1 to ${maxReadings} readings make a series`
  if (
    !Array.isArray(codes) ||
    codes.length === 0 ||
    !Array.isArray(columns) ||
    columns.length !== codes.length
  )
    return 'each quantity has one column'
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at]
    if (typeof code !== 'number' || quantityCoded(code) === undefined)
      return `no quantity has code ${String(code)}`
    if (at > 0 && code <= (codes[at - 1] as number)) return 'quantity codes ascend'
  }
  const offsets = Array.isArray(times) ? readColumn(times, count) : undefined
  if (offsets === undefined || offsets.some((offset) => offset < 0))
    return `times of ${sensor} cannot be read`
  const values: Value[][] = []
  for (let at = 0; at < codes.length; at++) {
    const column = readValues(codes[at] as number, columns[at]!, count)
    if (column === undefined) return `column ${String(codes[at])} of ${sensor} cannot be read`
    values.push(column)
  }
  return offsets.map((offset, row) => ({
    sensor,
    model,
    timeMs: base + offset,
    values: values.map((column) => column[row]!),
  }))
}

/** Reads a payload back: readings in the order they stand in it. Bad bytes are an answer, never an exception. */
export const decodeReadings = (
  payload: Uint8Array,
): { readonly ok: true; readonly readings: readonly Reading[] } | Refused => {
  const decoded = decodeCbor(payload, envelopeBounds)
  if (!decoded.ok) return refused('bad-payload', decoded.detail)
  const bad = (what: string): Refused => refused('bad-payload', what)
  const body = decoded.value
  if (!(body instanceof Map) || body.size !== 2) return bad('a payload is a map of base time and series')
  const base = body.get(0)
  const all = body.get(1)
  if (typeof base !== 'number' || !Number.isInteger(base) || base < 0 || base > latestMs)
    return bad('the base time is no time')
  if (!Array.isArray(all) || all.length === 0) return bad('no series')
  const readings: Reading[] = []
  for (const one of all) {
    const series = readSeries(one, base)
    if (typeof series === 'string') return bad(series)
    readings.push(...series)
    if (readings.length > maxReadings) return bad(`more than ${maxReadings} readings`)
  }
  return { ok: true, readings }
}
