/**
 * The answer that was bought against its proof: whether a file is byte for byte what the sales receipt names, and whether
 * each of its rows is a proven reading, with nothing beside them. Rows are found in JSON, NDJSON and CSV as /v1/readings
 * gives them.
 */
import { sha256 } from '#sha256'
import { equalBytes } from '../reading/bytes.ts'
import { fromScaled, quantityCoded, quantityNamed } from '../reading/quantity.ts'
import { counted, type ProvenReading, type Report, type Step } from './report.ts'

/** A row as far as a station signed it; `values` by quantity name, null where the sensor gave none. */
type Row = {
  readonly station: string
  readonly sensor: string
  readonly model: string
  readonly time: string
  readonly values: Readonly<Record<string, number | null>>
  readonly seq: number
  readonly place: number
}

type Rows =
  | { readonly ok: true; readonly rows: readonly Row[] }
  | { readonly ok: false; readonly why: 'unknown-form' | 'intervals' | 'more' }

const unknownForm: Rows = { ok: false, why: 'unknown-form' }
const intervals: Rows = { ok: false, why: 'intervals' }
const more: Rows = { ok: false, why: 'more' }

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

// Whoever reads an answer reads all of it: with a member or a column beside these it says something that nobody compared.
const rowMembers = new Set(['station', 'sensor', 'model', 'time', 'values', 'absent', 'quality', 'proof'])
const pageMembers = new Set(['from', 'to', 'readings', 'next'])
const intervalMembers = new Set(['from', 'to', 'every', 'fn', 'buckets', 'next'])

const hasOnly = (value: object, names: ReadonlySet<string>): boolean =>
  Object.keys(value).every((name) => names.has(name))

const rowOf = (value: unknown): Row | undefined => {
  if (!isObject(value) || !hasOnly(value, rowMembers)) return undefined
  const { station, sensor, model, time, values, proof } = value
  if (typeof station !== 'string' || typeof sensor !== 'string' || typeof model !== 'string') return undefined
  if (typeof time !== 'string' || !isObject(values) || !isObject(proof)) return undefined
  const { seq, place } = proof
  if (typeof seq !== 'number' || typeof place !== 'number') return undefined
  const isValue = (one: unknown): boolean => one === null || typeof one === 'number'
  if (!Object.values(values).every(isValue)) return undefined
  return { station, sensor, model, time, values: values as Row['values'], seq, place }
}

const rowsOf = (values: readonly unknown[]): Rows => {
  const rows = values.map(rowOf)
  if (rows.every((row) => row !== undefined)) return { ok: true, rows }
  if (values.some((value) => isObject(value) && 'proof' in value && !hasOnly(value, rowMembers))) return more
  return values.every((value) => isObject(value) && 'counts' in value) ? intervals : unknownForm
}

/** Members of all objects in a value; without recursion, as an answer may be nested as deeply as it likes. */
const membersIn = (whole: unknown): number => {
  const open = [whole]
  let members = 0
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== 'object' || value === null) continue
    const inner = Object.values(value)
    if (!Array.isArray(value)) members += inner.length
    for (const one of inner) open.push(one)
  }
  return members
}

/** Whether a member of JSON comes twice in an object: some readers take the first of them, others the last. */
const hasTwice = (text: string, values: readonly unknown[]): boolean => {
  let names = 0
  for (const [, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)) if (colon !== undefined) names++
  return names !== membersIn(values.filter((value) => value !== undefined))
}

// Columns of the CSV that are no quantity: in front of these, and behind them.
const csvHead = ['time', 'station', 'sensor', 'model']
const csvTail = new Set(['absent', 'score', 'flags', 'rules', 'seq', 'place', 'batch', 'status'])

const csvNumber = /^-?\d+(\.\d+)?(e[+-]\d+)?$/

const numberIn = (field: string): number => (csvNumber.test(field) ? Number(field) : Number.NaN)

/** Text as it was before an apostrophe kept a spreadsheet from running it. */
const textIn = (field: string): string => field.replace(/^'(?=[=+\-@])/, '')

const csvRows = (lines: readonly string[]): Rows => {
  const names = lines[0]!.split(',')
  if (names.includes('station') && names.some((name) => name.endsWith('_count'))) return intervals
  if (csvHead.some((name, at) => names[at] !== name)) return unknownForm
  if (new Set(names).size < names.length) return more
  const columns = names.flatMap((name, at) => (quantityNamed(name) === undefined ? [] : [{ name, at }]))
  const others = names.slice(csvHead.length).filter((name) => quantityNamed(name) === undefined)
  if (!others.every((name) => csvTail.has(name))) return more
  const [seqAt, placeAt] = [names.indexOf('seq'), names.indexOf('place')]
  if (seqAt < 0 || placeAt < 0) return unknownForm
  const rows: Row[] = []
  for (const line of lines.slice(1)) {
    const fields = line.split(',')
    // No field of a reading has a comma, a quote or a line end in it.
    if (fields.length !== names.length || /["\r]/.test(line)) return more
    const [time, station, sensor, model] = fields.map(textIn) as [string, string, string, string]
    const values: Record<string, number | null> = {}
    for (const { name, at } of columns) if (fields[at] !== '') values[name] = numberIn(fields[at]!)
    const [seq, place] = [numberIn(fields[seqAt]!), numberIn(fields[placeAt]!)]
    rows.push({ station, sensor, model, time, values, seq, place })
  }
  return { ok: true, rows }
}

/** The rows of an answer, by what it looks like. */
const readRows = (bytes: Uint8Array): Rows => {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return unknownForm
  }
  const whole = parsed(text)
  if (isObject(whole) && rowOf(whole) === undefined) {
    const { readings, buckets } = whole
    if (Array.isArray(readings))
      return hasOnly(whole, pageMembers) && !hasTwice(text, [whole]) ? rowsOf(readings) : more
    if (Array.isArray(buckets)) return hasOnly(whole, intervalMembers) ? intervals : more
  }
  const lines = text.split(/\r?\n/)
  if (lines.at(-1) === '') lines.pop()
  if (lines.length === 0) return { ok: true, rows: [] }
  if (!lines[0]!.startsWith('{')) return csvRows(lines)
  const rows = lines.map(parsed)
  return hasTwice(text, rows) ? more : rowsOf(rows)
}

// A time without a zone is another one wherever it is read.
const utcTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$/

/** What a row says that the reading does not; undefined where they agree. */
const difference = (row: Row, reading: ProvenReading): string | undefined => {
  if (!utcTime.test(row.time) || Date.parse(row.time) !== reading.timeMs) return `time ${row.time}`
  if (row.sensor !== reading.sensor) return `sensor ${row.sensor}`
  if (row.model !== reading.model) return `model ${row.model}`
  const signed = new Map(
    reading.values.map((one) => {
      const quantity = quantityCoded(one.quantity)!
      return [quantity.name, one.scaled === null ? null : fromScaled(quantity, one.scaled)]
    }),
  )
  for (const [name, value] of Object.entries(row.values))
    if (!signed.has(name) || signed.get(name) !== value) return `${name} ${value}`
  return undefined
}

const nameOf = ({ station, seq, place }: Pick<Row, 'station' | 'seq' | 'place'>): string =>
  `${station} ${seq} ${place}`

/** Whether the bundle cannot have the envelope of a row yet: it is behind those that are anchored, or waits among them. */
const isPending = ({ station, seq }: Row, { stations, scope }: Report): boolean => {
  if (scope?.stations?.includes(station) === false) return false
  const report = stations.find((one) => one.station === station)
  return (
    report === undefined ||
    seq > report.last ||
    report.pending.some(([first, last]) => first <= seq && seq <= last)
  )
}

/** The first row that is no proven reading, in words; or how many are not anchored yet. */
const compare = (
  rows: readonly Row[],
  report: Report,
): { readonly foreign: string } | { readonly pending: number } => {
  const proven = new Map(report.readings.map((reading) => [nameOf(reading), reading]))
  let pending = 0
  for (const [at, row] of rows.entries()) {
    const reading = proven.get(nameOf(row))
    proven.delete(nameOf(row))
    const where = `row ${at + 1} (envelope ${row.seq} of station ${row.station}, place ${row.place})`
    if (reading === undefined) {
      if (!isPending(row, report))
        return { foreign: `${where} is none of the proven readings, or comes twice` }
      pending++
      continue
    }
    const differs = difference(row, reading)
    if (differs !== undefined) return { foreign: `${where} says ${differs}, which its station did not sign` }
  }
  return { pending }
}

/**
 * Compares an answer with a report that holds. Passed: it is what was bought, and each of its rows is proven. Warned: a
 * part of this cannot be told, or not yet. Failed: a row is not what its station signed, or neither its bytes nor its
 * rows are known.
 */
export const checkAnswer = (report: Report, bytes: Uint8Array): Step => {
  const { ok, sale, readings } = report
  const step = (state: Step['state'], text: string): Step => ({ name: 'answer', state, text })
  if (!ok) return step('failed', 'nothing is proven that it could be compared with')
  const isSold = sale !== null && equalBytes(sale.response, sha256(bytes))
  const asSold = 'it is what the receipt names, byte for byte'
  const found = readRows(bytes)
  if (!found.ok && found.why === 'more')
    return step(
      'failed',
      'it says more than what can be compared: a member, column or field that no answer of this version has, or one that comes twice',
    )
  if (!found.ok) {
    const compared =
      found.why === 'intervals'
        ? 'its values are made of the proven readings by the hub, and not made again here'
        : 'its rows were not compared: that is done for JSON, NDJSON and CSV'
    return isSold
      ? step('warned', `${asSold}; ${compared}`)
      : step('failed', `it is not what the receipt names, and ${compared}`)
  }
  const compared = compare(found.rows, report)
  if ('foreign' in compared) return step('failed', compared.foreign)
  const { pending } = compared
  const parts = isSold ? [asSold] : []
  const proven = found.rows.length - pending
  if (pending === 0) parts.push(`each of its ${counted(proven, 'row')} is a proven reading`)
  else {
    parts.push(`${counted(proven, 'row')} of it proven`)
    parts.push(`${counted(pending, 'row')} NOT PROVEN YET: ask for the bundle again when they are anchored`)
  }
  const others = readings.length - proven
  if (others > 0) parts.push(`${counted(others, 'proven reading')} more are not in it`)
  if (sale !== null && !isSold)
    parts.push('its bytes are not those of the receipt, as of pages that were put together')
  return step(pending > 0 || (sale !== null && !isSold) ? 'warned' : 'passed', parts.join('; '))
}
