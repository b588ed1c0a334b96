/** Reading from InfluxDB: what it can select and sum there, put in the port's order and exact numbers here. */
import { quantities, quantityCoded, quantityNamed } from '../reading/quantity.ts'
import type { InfluxConnection, Placeholders } from './influx-connection.ts'
import { fromSeries, headFields, measurement, tags } from './influx-line.ts'
import { bucketsAfter, compareBucket, type Tally, tallyValue } from './rollup.ts'
import { type CheckedSelection, compareIn, compareText, timeMaxMs } from './storable.ts'
import type {
  Bucket,
  BucketPosition,
  Order,
  Position,
  RollupFunction,
  SensorSummary,
  StoredReading,
} from './store.ts'

const quoted = (name: string) => `"${name}"`
const bySensor = `GROUP BY ${tags.map(quoted).join(', ')}`

// Below any value: a comparison is how InfluxQL asks whether a field is there.
const belowAll = '-1000000000000.0'

const isThere = (code: number) => `${quoted(quantityCoded(code)!.name)} >= ${belowAll}`

/** `values`: readings with a value of these; `named`: also those that say why there is none. */
const quantityCondition = (codes: ReadonlySet<number> | undefined, which: 'values' | 'named') => {
  if (!codes) return ''
  const conditions = [...codes].map(isThere)
  // Codes are whole numbers from our own table, so the pattern needs no escaping.
  if (which === 'named') conditions.push(`"absent" =~ /(^|,)(${[...codes].join('|')}):/`)
  return ` AND (${conditions.join(' OR ')})`
}

type Where = { readonly text: string; readonly placeholders: Placeholders }

/** Ids and times as bind parameters; a lower and an upper time always, as grouping by time otherwise ends at `now()`. */
const whereOf = (
  { stations, sensor, codes, fromMs, toMs, minScore }: CheckedSelection,
  which: 'values' | 'named' = 'named',
): Where => {
  const stationText =
    stations === undefined
      ? ''
      : ` AND (${stations.map((_, at) => `"station" = $station_${at}`).join(' OR ')})`
  const sensorText = sensor === undefined ? '' : ' AND "sensor" = $sensor'
  const scoreText = minScore === undefined ? '' : ' AND "score" >= $score'
  return {
    text: `WHERE time >= $from AND time < $to${stationText}${sensorText}${scoreText}${quantityCondition(codes, which)}`,
    placeholders: {
      // Milliseconds of 13 digits, so the product prints with all digits right although it is beyond 2^53.
      from: fromMs * 1e6,
      to: toMs * 1e6,
      ...Object.fromEntries((stations ?? []).map((station, at) => [`station_${at}`, station])),
      ...(sensor === undefined ? {} : { sensor }),
      ...(minScore === undefined ? {} : { score: minScore }),
    },
  }
}

const columnsOf = (codes: ReadonlySet<number> | undefined, withTags: boolean) =>
  codes
    ? [
        ...(withTags ? tags : []),
        ...Object.keys(headFields),
        ...[...codes].map((code) => quantityCoded(code)!.name),
      ]
        .map(quoted)
        .join(', ')
    : '*'

const directions = { ascending: 'ASC', descending: 'DESC' } as const satisfies Record<Order, string>

/** Readings from an end of the span on, in InfluxDB's order: by nanosecond, then series. */
const selectReadings = async (
  connection: InfluxConnection,
  selection: CheckedSelection,
  limit: number,
  order: Order,
) => {
  const { text, placeholders } = whereOf(selection)
  const [series = []] = await connection.ask(
    [
      `SELECT ${columnsOf(selection.codes, true)} FROM ${measurement} ${text} ORDER BY time ${directions[order]} LIMIT ${limit}`,
    ],
    placeholders,
  )
  return series.flatMap((one) => fromSeries(one, selection.codes))
}

/** A page of readings; see the port. */
export const queryReadings = async (
  connection: InfluxConnection,
  selection: CheckedSelection,
  limit: number,
  after: Position | undefined,
  order: Order,
): Promise<StoredReading[]> => {
  const found: StoredReading[] = []
  const compare = compareIn(order)
  const from = (edge: CheckedSelection, timeMs: number): CheckedSelection =>
    order === 'ascending'
      ? { ...edge, fromMs: Math.max(edge.fromMs, timeMs) }
      : { ...edge, toMs: Math.min(edge.toMs, timeMs + 1) }
  let rest = after === undefined ? selection : from(selection, after.timeMs)
  let asked = limit + 1
  while (rest.fromMs < rest.toMs) {
    const rows = await selectReadings(connection, rest, asked, order)
    // Within a millisecond our order is not InfluxDB's, so the last one counts only when it is surely whole.
    const lastMs = rows.length < asked ? undefined : rows.at(-1)!.timeMs
    const whole = rows.filter(({ timeMs }) => timeMs !== lastMs).sort(compare)
    for (const reading of whole) if (!after || compare(reading, after) > 0) found.push(reading)
    if (lastMs === undefined || found.length >= limit) break
    if (whole.length === 0) asked *= 4
    rest = from(rest, lastMs)
  }
  return found.slice(0, limit)
}

/** The newest reading of each sensor; see the port. */
export const queryLatest = async (
  connection: InfluxConnection,
  selection: CheckedSelection,
): Promise<StoredReading[]> => {
  const { codes } = selection
  const { text, placeholders } = whereOf(selection)
  const [series = []] = await connection.ask(
    [`SELECT ${columnsOf(codes, false)} FROM ${measurement} ${text} ${bySensor} ORDER BY time DESC LIMIT 2`],
    placeholders,
  )
  const newest: StoredReading[] = []
  for (const one of series) {
    const [first, second] = fromSeries(one, codes)
    if (!first) continue
    // Two in one millisecond: nanoseconds hold only the last digits of seq, so all of that millisecond are compared.
    if (second?.timeMs === first.timeMs) {
      const { station, sensor, timeMs } = first
      const within = { stations: [station], sensor, codes, fromMs: timeMs, toMs: timeMs + 1 }
      newest.push((await queryReadings(connection, within, 1, undefined, 'descending'))[0]!)
    } else newest.push(first)
  }
  return newest.sort((a, b) => compareText(a.station, b.station) || compareText(a.sensor, b.sensor))
}

/** What is known of sensors; see the port. A whole pass over one column: for status pages, not for every request. */
export const querySensors = async (
  connection: InfluxConnection,
  stations: readonly string[] | undefined,
): Promise<SensorSummary[]> => {
  const selection = { stations, sensor: undefined, codes: undefined, fromMs: 0, toMs: timeMaxMs + 1 }
  const { text, placeholders } = whereOf(selection)
  const of = (what: string) => `SELECT ${what} FROM ${measurement} ${text} ${bySensor}`
  const [counts = [], firsts = [], samples = [], absents = []] = await connection.ask(
    [of('count("seq")'), of('first("seq")'), of('first(*)'), of('distinct("absent")')],
    placeholders,
  )
  const latest = await queryLatest(connection, selection)
  const named = (list: typeof counts) =>
    new Map(list.map((series) => [`${series.tags?.station}/${series.tags?.sensor}`, series]))
  const [countOf, firstOf, sampleOf, absentOf] = [
    named(counts),
    named(firsts),
    named(samples),
    named(absents),
  ]
  return latest.map(({ station, sensor, model, timeMs }) => {
    const name = `${station}/${sensor}`
    const sample = sampleOf.get(name)
    const present = (sample?.columns ?? []).flatMap((column, index) => {
      const quantity =
        sample!.values[0]![index] === null ? undefined : quantityNamed(column.replace(/^first_/, ''))
      return quantity ? [quantity.code] : []
    })
    const absent = (absentOf.get(name)?.values ?? []).flatMap(([, text]) =>
      text ? String(text).split(',').map(Number.parseFloat) : [],
    )
    return {
      station,
      sensor,
      model,
      quantities: [...new Set([...present, ...absent])].sort((a, b) => a - b),
      firstMs: Math.floor(Number(firstOf.get(name)?.values[0]?.[0]) / 1000),
      lastMs: timeMs,
      readings: Number(countOf.get(name)?.values[0]?.[1]),
    }
  })
}

const knownCodes = async (connection: InfluxConnection): Promise<ReadonlySet<number>> => {
  const [series = []] = await connection.ask([`SHOW FIELD KEYS FROM ${measurement}`], {})
  const names = new Set(series.flatMap(({ values }) => values.map(([name]) => name)))
  return new Set(
    quantities.filter(({ name, private: hidden }) => names.has(name) && !hidden).map(({ code }) => code),
  )
}

const aggregates = { mean: ['sum'], sum: ['sum'], min: ['min'], max: ['max'], count: [] } as const

/** Buckets of one span, whole and in order. */
const selectBuckets = async (
  connection: InfluxConnection,
  selection: CheckedSelection & { readonly codes: ReadonlySet<number> },
  everyMs: number,
  fn: RollupFunction,
): Promise<Bucket[]> => {
  const { text, placeholders } = whereOf({ ...selection, codes: undefined })
  const parts = [...selection.codes].flatMap((code) => {
    const name = quoted(quantityCoded(code)!.name)
    return ['count', ...aggregates[fn]].map((aggregate) => `${aggregate}(${name}) AS "${aggregate}_${code}"`)
  })
  const [series = []] = await connection.ask(
    [
      `SELECT ${parts.join(', ')} FROM ${measurement} ${text} GROUP BY time(${everyMs}ms), ${tags.map(quoted).join(', ')} fill(none)`,
    ],
    placeholders,
  )
  return series
    .flatMap(({ tags: own, columns, values }) => {
      const { station = '', sensor = '' } = own ?? {}
      return values.flatMap((row) => {
        const number = (name: string) => Number(row[columns.indexOf(name)] ?? 0)
        return [...selection.codes].flatMap((quantity): Bucket[] => {
          const count = number(`count_${quantity}`)
          if (count === 0) return []
          // Values are whole numbers of the last decimal, so rounding takes away exactly what adding floats has added.
          const factor = 10 ** quantityCoded(quantity)!.decimals
          const exact = (name: string) => Math.round(number(`${name}_${quantity}`) * factor) + 0
          const tally: Tally = { count, sum: exact('sum'), min: exact('min'), max: exact('max') }
          const timeMs = number('time') / 1000
          return [{ station, sensor, quantity, timeMs, value: tallyValue(fn, quantity, tally), count }]
        })
      })
    })
    .sort(compareBucket)
}

// A span grows at most so many times from one question to the next, in case more sensors come in.
const spanGrowth = 8

/** A page of buckets; see the port. */
export const queryRollup = async (
  connection: InfluxConnection,
  selection: CheckedSelection,
  everyMs: number,
  fn: RollupFunction,
  limit: number,
  after: number | BucketPosition | undefined,
): Promise<Bucket[]> => {
  const { fromMs: firstMs, isAfter } = bucketsAfter(after, everyMs)
  const codes = selection.codes ?? (await knownCodes(connection))
  const found: Bucket[] = []
  let fromMs = Math.max(selection.fromMs, firstMs)
  let span = 1
  while (codes.size > 0 && fromMs < selection.toMs && found.length < limit) {
    // The next value there is: a gap of years costs one question.
    const { text, placeholders } = whereOf({ ...selection, codes, fromMs }, 'values')
    const [next = []] = await connection.ask(
      [
        `SELECT "seq", ${quoted(quantityCoded([...codes][0]!)!.name)} FROM ${measurement} ${text} ORDER BY time ASC LIMIT 1`,
      ],
      placeholders,
    )
    const microseconds = next[0]?.values[0]?.[0]
    if (microseconds === undefined) break
    const bucketMs = Math.floor(Number(microseconds) / 1000 / everyMs) * everyMs
    const toMs = Math.min(selection.toMs, bucketMs + span * everyMs)
    const within = { ...selection, codes, fromMs: Math.max(fromMs, bucketMs), toMs }
    const buckets = await selectBuckets(connection, within, everyMs, fn)
    found.push(...buckets.filter(isAfter))
    const times = new Set(buckets.map(({ timeMs }) => timeMs)).size
    const perTime = Math.max(1, buckets.length / Math.max(1, times))
    span = Math.max(1, Math.min(Math.ceil((limit - found.length) / perTime), span * spanGrowth))
    fromMs = toMs
  }
  return found.slice(0, limit)
}
