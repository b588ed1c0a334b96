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

// Texts looked up instead of made: with them a line takes two thirds of the time.
const threeDigits = Array.from({ length: 1000 }, (_, number) => String(number).padStart(3, '0'))
const scores = Array.from({ length: 1001 }, (_, thousandths) => String(thousandths / 1000))
const fractions = [0, 1, 2, 3].map((decimals) =>
  Array.from({ length: 10 ** decimals }, (_, number) =>
    decimals === 0 ? '' : `.${String(number).padStart(decimals, '0')}`,
  ),
)

const fields: { readonly label: string; readonly unit: number; readonly fraction: readonly string[] }[] = []
for (const { code, name, decimals } of publicQuantities)
  fields[code] = { label: `,${name}=`, unit: 10 ** decimals, fraction: fractions[decimals]! }

/** A scaled integer with its point: faster than the shortest digits of a float, and always exact. */
const fieldText = (code: number, scaled: number): string => {
  const { label, unit, fraction } = fields[code]!
  const magnitude = Math.abs(scaled)
  const whole = Math.trunc(magnitude / unit)
  return `${label}${scaled < 0 ? '-' : ''}${whole}${fraction[magnitude - whole * unit]!}`
}

/**
 * Line protocol of one reading, for precision `ns`. Nothing is escaped, because nothing that would need it can occur:
 * call `assertStorable` first, which admits only ids and words of a closed alphabet.
 */
export const toLine = (reading: StoredReading): string => {
  const { station, sensor, model, timeMs, seq, place, score, flags, rules, values } = reading
  let line = `${measurement},sensor=${sensor},station=${station} seq=${seq}i,place=${place}i,score=${scores[
    Math.round(score * 1000)
  ]!},flags="${flags.length === 0 ? '' : flags.join()}",model="${model}",rules="${rules}"`
  let absent = ''
  for (const value of values) {
    if (value.scaled === null) absent += `${absent && ','}${value.quantity}:${absences[value.absent]}`
    else line += fieldText(value.quantity, value.scaled)
  }
  if (absent) line += `,absent="${absent}"`
  // Nanoseconds are digits, not arithmetic: they are beyond 2^53. The same reading has the same time for ever, so a
  // replay overwrites itself; two readings of one sensor in one millisecond stay two.
  return `${line} ${timeMs}${threeDigits[seq % 1000]!}${threeDigits[place % 1000]!}`
}

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
