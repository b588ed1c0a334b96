/** A reading as one InfluxDB point: one measurement, two tags, a field for each quantity and for each thing known of it. */
import { FieldType, type ISchemaOptions } from 'influx'
import { quantities, quantityNamed } from '../reading/quantity.ts'
import { type Absence, absenceCoded, absences, type Value } from '../reading/reading.ts'
import type { StoredReading } from './store.ts'

export const measurement = 'reading'

// Few tags with few values: each combination is a series, and series are what InfluxDB pays memory for.
export const tags = ['station', 'sensor'] as const

/** Fields beside the quantities. `absent` is `<quantity code>:<absence code>`, separated by commas; `flags` likewise. */
export const headFields = {
  seq: FieldType.INTEGER,
  place: FieldType.INTEGER,
  score: FieldType.FLOAT,
  flags: FieldType.STRING,
  model: FieldType.STRING,
  rules: FieldType.STRING,
  absent: FieldType.STRING,
} as const

const publicQuantities = quantities.filter((quantity) => !quantity.private)

/** The whole schema. The first writer of a field fixes its type for good, so all are declared. */
export const schema: ISchemaOptions = {
  measurement,
  tags: [...tags],
  fields: {
    ...headFields,
    ...Object.fromEntries(publicQuantities.map(({ name }) => [name, FieldType.FLOAT])),
  },
}

// Characters and digits go straight into the bytes of the request: building strings, joining and encoding them took three
// quarters of the writer's time. All texts are ASCII.
const ascii = (text: string): Uint8Array => Buffer.from(text, 'latin1')

const pieces = {
  sensor: ascii(`${measurement},sensor=`),
  station: ascii(',station='),
  seq: ascii(' seq='),
  place: ascii('i,place='),
  score: ascii('i,score='),
  flags: ascii(',flags="'),
  model: ascii('",model="'),
  rules: ascii('",rules="'),
  absent: ascii(',absent="'),
} as const

const codeOf = (character: string): number => character.charCodeAt(0)
const space = codeOf(' ')
const quote = codeOf('"')
const comma = codeOf(',')
const minus = codeOf('-')
const point = codeOf('.')
const zero = codeOf('0')
const colon = codeOf(':')
const lineEnd = codeOf('\n')

const scores = Array.from({ length: 1001 }, (_, thousandths) => String(thousandths / 1000))

const fields: { readonly label: Uint8Array; readonly decimals: number; readonly unit: number }[] = []
for (const { code, name, decimals } of publicQuantities)
  fields[code] = { label: ascii(`,${name}=`), decimals, unit: 10 ** decimals }

// Each puts something at an offset of `bytes`, where there is room, and answers where it ends.

const putPiece = (bytes: Uint8Array, at: number, piece: Uint8Array): number => {
  bytes.set(piece, at)
  return at + piece.length
}

const putText = (bytes: Uint8Array, at: number, text: string): number => {
  for (let place = 0; place < text.length; place++) bytes[at + place] = text.charCodeAt(place)
  return at + text.length
}

/** The last `digits` digits, with leading zeros, of a count below 2^31. */
const putDigits = (bytes: Uint8Array, at: number, count: number, digits: number): number => {
  let rest = count
  for (let place = at + digits - 1; place >= at; place--) {
    const tens = (rest / 10) | 0
    bytes[place] = zero + rest - tens * 10
    rest = tens
  }
  return at + digits
}

const putCount = (bytes: Uint8Array, at: number, count: number): number => {
  if (count >= 1e9) {
    const billions = Math.floor(count / 1e9)
    return putDigits(bytes, putCount(bytes, at, billions), count - billions * 1e9, 9)
  }
  let digits = 1
  for (let limit = 10; count >= limit; limit *= 10) digits++
  return putDigits(bytes, at, count, digits)
}

/** A scaled integer with its point: faster than the shortest digits of a float, and always exact. */
const putField = (bytes: Uint8Array, start: number, code: number, scaled: number): number => {
  const { label, decimals, unit } = fields[code]!
  const magnitude = Math.abs(scaled)
  const whole = Math.trunc(magnitude / unit)
  let at = putPiece(bytes, start, label)
  if (scaled < 0) bytes[at++] = minus
  at = putCount(bytes, at, whole)
  if (decimals === 0) return at
  bytes[at++] = point
  return putDigits(bytes, at, magnitude - whole * unit, decimals)
}

const putLine = (bytes: Uint8Array, start: number, reading: StoredReading): number => {
  const { station, sensor, model, timeMs, seq, place, score, flags, rules, values } = reading
  let at = putText(bytes, putPiece(bytes, start, pieces.sensor), sensor)
  at = putText(bytes, putPiece(bytes, at, pieces.station), station)
  at = putCount(bytes, putPiece(bytes, at, pieces.seq), seq)
  at = putCount(bytes, putPiece(bytes, at, pieces.place), place)
  at = putText(bytes, putPiece(bytes, at, pieces.score), scores[Math.round(score * 1000)]!)
  at = putPiece(bytes, at, pieces.flags)
  for (let flag = 0; flag < flags.length; flag++) {
    if (flag > 0) bytes[at++] = comma
    at = putText(bytes, at, flags[flag]!)
  }
  at = putText(bytes, putPiece(bytes, at, pieces.model), model)
  at = putText(bytes, putPiece(bytes, at, pieces.rules), rules)
  bytes[at++] = quote
  let absent = 0
  for (const value of values)
    if (value.scaled === null) absent++
    else at = putField(bytes, at, value.quantity, value.scaled)
  if (absent > 0) {
    at = putPiece(bytes, at, pieces.absent)
    for (const value of values) {
      if (value.scaled !== null) continue
      at = putCount(bytes, at, value.quantity)
      bytes[at++] = colon
      at = putCount(bytes, at, absences[value.absent])
      bytes[at++] = --absent > 0 ? comma : quote
    }
  }
  bytes[at++] = space
  // Nanoseconds are digits, not arithmetic: they are beyond 2^53. The same reading has the same time for ever, so a
  // replay overwrites itself; two readings of one sensor in one millisecond stay two.
  at = putDigits(bytes, putCount(bytes, at, timeMs), seq % 1000, 3)
  return putDigits(bytes, at, place % 1000, 3)
}

// Four texts of 64, all names and numbers around them; and for each value or flag its longest.
const lineBytesMost = 512
const valueBytesMost = 64
const flagBytesMost = 65
const usualLineBytes = 256

/**
 * Line protocol, a line for each reading, for precision `ns`. Nothing is escaped, because nothing that would need it can
 * occur: call `assertStorable` first, which admits only ids and words of a closed alphabet.
 */
export const toLines = (readings: readonly StoredReading[]): Uint8Array => {
  let bytes = Buffer.allocUnsafeSlow(lineBytesMost + readings.length * usualLineBytes)
  let at = 0
  for (const reading of readings) {
    const most = lineBytesMost + reading.values.length * valueBytesMost + reading.flags.length * flagBytesMost
    if (at + most > bytes.length) {
      const larger = Buffer.allocUnsafeSlow(bytes.length * 2 + most)
      bytes.copy(larger, 0, 0, at)
      bytes = larger
    }
    if (at > 0) bytes[at++] = lineEnd
    at = putLine(bytes, at, reading)
  }
  return bytes.subarray(0, at)
}

/** One reading's line as text. */
export const toLine = (reading: StoredReading): string => Buffer.from(toLines([reading])).toString('latin1')

/** One series of an answer, as InfluxDB's JSON has it. */
export type Series = {
  readonly tags?: Readonly<Record<string, string>>
  readonly columns: readonly string[]
  readonly values: readonly (readonly (string | number | null)[])[]
}

const absentValues = (text: string): Value[] =>
  text.split(',').map((pair) => {
    const [quantity, code] = pair.split(':').map(Number)
    return { quantity: quantity!, scaled: null, absent: absenceCoded(code!) as Absence }
  })

/** The readings of a series asked for in microseconds (`u`: nanoseconds would lose digits in JSON); any order. */
export const fromSeries = (
  { tags: own, columns, values }: Series,
  wanted?: ReadonlySet<number>,
): StoredReading[] => {
  const at = Object.fromEntries(columns.map((name, index) => [name, index])) as Record<string, number>
  const quantityColumns = columns
    .flatMap((name, index) => {
      const quantity = quantityNamed(name)
      return quantity && !quantity.private && (!wanted || wanted.has(quantity.code))
        ? [{ code: quantity.code, factor: 10 ** quantity.decimals, index }]
        : []
    })
    .sort((a, b) => a.code - b.code)
  return values.map((row) => {
    const text = (name: string) => row[at[name]!] as string
    const number = (name: string) => row[at[name]!] as number
    const found: Value[] = []
    for (const { code, factor, index } of quantityColumns) {
      const value = row[index] as number | null
      // Adding zero makes a minus zero, which a rounded tiny negative gives, plain zero.
      if (value !== null) found.push({ quantity: code, scaled: Math.round(value * factor) + 0 })
    }
    const absent = text('absent')
    if (absent) {
      found.push(...absentValues(absent).filter(({ quantity }) => !wanted || wanted.has(quantity)))
      found.sort((a, b) => a.quantity - b.quantity)
    }
    const flags = text('flags')
    return {
      station: own?.station ?? text('station'),
      sensor: own?.sensor ?? text('sensor'),
      model: text('model'),
      timeMs: Math.floor(number('time') / 1000),
      values: found,
      seq: number('seq'),
      place: number('place'),
      score: number('score'),
      flags: flags ? flags.split(',') : [],
      rules: text('rules'),
    }
  })
}
