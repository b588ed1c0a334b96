/** Reading from the embedded store: hour by hour in order of time, so that a page never costs more than its hours. */
import { type Chunk, eachTotal, hasValue, isNamed } from './chunk.ts'
import { openBuckets } from './embedded-buckets.ts'
import { readHour, readOne } from './embedded-hour.ts'
import { eachRowValue, rowReading, rowScore } from './embedded-row.ts'
import { hourMs, type SensorRow, type Tables } from './embedded-tables.ts'
import { isLater, type Mark, parseNewest } from './embedded-write.ts'
import { addTally, addValue, bucketsAfter, type Tally } from './rollup.ts'
import { type CheckedSelection, compareIn } from './storable.ts'
import type { Bucket, BucketPosition, Order, Position, RollupFunction, StoredReading } from './store.ts'

/** One sensor of a query; `rank` is its place in the order of station and sensor. */
type Matched = SensorRow & { readonly rank: number }

/** One sensor-hour of a query. `totals` are undefined where nothing is sealed. */
type Part = { readonly sensor: Matched; readonly totals: Uint8Array | undefined; readonly hasRows: boolean }

/** In order of station and sensor; `stations` are in order. */
const sensorRows = (tables: Tables, stations?: readonly string[], sensor?: string): SensorRow[] => {
  if (stations !== undefined)
    return stations.flatMap((station) =>
      sensor === undefined
        ? tables.all<SensorRow>('sensorsOfStation', station)
        : tables.all<SensorRow>('sensorNamed', station, sensor),
    )
  return sensor === undefined ? tables.all('sensorsAll') : tables.all('sensorsCalled', sensor)
}

const matchedSensors = (
  tables: Tables,
  { stations, sensor, codes, fromMs, toMs }: CheckedSelection,
): Matched[] =>
  sensorRows(tables, stations, sensor)
    .filter((row) => row.first_ms < toMs && row.last_ms >= fromMs)
    .filter(
      (row) =>
        !codes ||
        parseNewest(row.newest)
          .keys()
          .some((code) => codes.has(code)),
    )
    .map((row, rank) => ({ ...row, rank }))

// Up to so many sensors, looking each one up by index is cheaper than reading an hour of the whole network.
const fewSensors = 64

type FoundHour = { readonly hour: number | null } | undefined

/** How the next hour is found on the way through time: the nearest one from an hour on, that one included. */
const ways = {
  ascending: {
    step: 1,
    ofAll: ['chunkNext', 'openNext'],
    ofSensor: ['chunkNextOf', 'openNextOf'],
    nearest: (found: readonly FoundHour[]) =>
      found.reduce((least, row) => Math.min(least, row?.hour ?? Infinity), Infinity),
  },
  descending: {
    step: -1,
    ofAll: ['chunkBefore', 'openBefore'],
    ofSensor: ['chunkBeforeOf', 'openBeforeOf'],
    nearest: (found: readonly FoundHour[]) =>
      found.reduce((most, row) => Math.max(most, row?.hour ?? -Infinity), -Infinity),
  },
} as const

const nextHour = (tables: Tables, sensors: readonly Matched[], from: number, order: Order): number => {
  const { ofAll, ofSensor, nearest } = ways[order]
  return sensors.length > fewSensors
    ? nearest(ofAll.map((name) => tables.get(name, from)))
    : nearest(sensors.flatMap(({ id }) => ofSensor.map((name): FoundHour => tables.get(name, id, from))))
}

const partsOf = (
  tables: Tables,
  sensors: readonly Matched[],
  byId: ReadonlyMap<number, Matched>,
  hour: number,
) => {
  type Totals = { sensor: number; totals: Uint8Array }
  const few = sensors.length <= fewSensors
  const chunks = few
    ? sensors.flatMap(({ id }) => tables.get<Totals>('chunkTotals', hour, id) ?? [])
    : tables.all<Totals>('chunksOfHour', hour)
  const open = few
    ? sensors.flatMap(({ id }) => (tables.get('openAt', hour, id) ? [id] : []))
    : tables.all<{ sensor: number }>('openOfHour', hour).map(({ sensor }) => sensor)
  const parts = new Map<number, Part>()
  for (const { sensor: id, totals } of chunks) {
    const sensor = byId.get(id)
    if (sensor) parts.set(id, { sensor, totals, hasRows: false })
  }
  for (const id of open) {
    const sensor = byId.get(id)
    if (sensor) parts.set(id, { sensor, totals: parts.get(id)?.totals, hasRows: true })
  }
  return [...parts.values()]
}

// The process serves others between so many sensor-hours: of totals, and of readings that have to be unpacked.
const partsPerTurn = 2_000
const unpackedPerTurn = 100

/** The hours of a span that hold something, in order, with the sensors that have it. */
async function* hoursOf(
  tables: Tables,
  sensors: readonly Matched[],
  fromMs: number,
  toMs: number,
  order: Order = 'ascending',
  perTurn = partsPerTurn,
) {
  const byId = new Map(sensors.map((sensor) => [sensor.id, sensor]))
  let sinceTurn = 0
  const startMs = order === 'ascending' ? fromMs : toMs - 1
  for (let from = Math.floor(startMs / hourMs); sensors.length > 0; ) {
    const hour = nextHour(tables, sensors, from, order)
    if (hour * hourMs >= toMs || (hour + 1) * hourMs <= fromMs) return
    const parts = partsOf(tables, sensors, byId, hour)
    yield { hour, parts }
    from = hour + ways[order].step
    sinceTurn += parts.length
    if (sinceTurn < perTurn) continue
    sinceTurn = 0
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const namesAny = (chunk: Chunk, at: number, codes: ReadonlySet<number>) => {
  for (const code of codes) {
    const column = chunk.column(code)
    if (column && isNamed(column, at)) return true
  }
  return false
}

const rowNamesAny = (body: string, codes: ReadonlySet<number>) => {
  let named = false
  eachRowValue(body, (code) => {
    named ||= codes.has(code)
  })
  return named
}

/** A reading that may come into the page: its position, and how to get the rest of it. */
type Candidate = Position & { readonly take: () => Omit<StoredReading, 'station' | 'sensor'> }

/** Gives the readings of one sensor-hour that match, in no certain order between rows and chunk. */
const eachCandidate = (
  tables: Tables,
  { sensor: { id, station, sensor }, hasRows }: Part,
  hour: number,
  { codes, fromMs, toMs }: CheckedSelection,
  give: (candidate: Candidate) => void,
) => {
  const { chunk, rows, replaced } = readHour(tables, hour, id, hasRows)
  for (const row of rows) {
    const timeMs = hour * hourMs + row.ms
    if (timeMs < fromMs || timeMs >= toMs || (codes && !rowNamesAny(row.body, codes))) continue
    const { seq, place } = row
    give({ timeMs, station, sensor, seq, place, take: () => rowReading(row, hour * hourMs, codes) })
  }
  for (let at = 0; chunk && at < chunk.count; at++) {
    const timeMs = chunk.timeMs[at]!
    if (timeMs < fromMs || timeMs >= toMs || replaced.has(at) || (codes && !namesAny(chunk, at, codes)))
      continue
    const take = () => chunk.reading(at, codes)
    give({ timeMs, station, sensor, seq: chunk.seq[at]!, place: chunk.place[at]!, take })
  }
}

/** A page of readings; see the port. */
export const queryReadings = async (
  tables: Tables,
  selection: CheckedSelection,
  limit: number,
  after: Position | undefined,
  order: Order,
): Promise<StoredReading[]> => {
  const found: StoredReading[] = []
  const compare = compareIn(order)
  const within = {
    ...selection,
    ...(after && order === 'ascending' ? { fromMs: Math.max(selection.fromMs, after.timeMs) } : {}),
    ...(after && order === 'descending' ? { toMs: Math.min(selection.toMs, after.timeMs + 1) } : {}),
  }
  const sensors = matchedSensors(tables, within)
  for await (const { hour, parts } of hoursOf(tables, sensors, within.fromMs, within.toMs, order)) {
    const wanted = limit - found.length
    let candidates: Candidate[] = []
    const cut = () => {
      candidates = candidates.sort(compare).slice(0, wanted)
    }
    for (const part of parts)
      eachCandidate(tables, part, hour, within, (candidate) => {
        if (after && compare(candidate, after) <= 0) return
        candidates.push(candidate)
        // Of a busy hour only what can still come into the page is held.
        if (candidates.length > 4 * wanted + 1_000) cut()
      })
    cut()
    for (const { station, sensor, take } of candidates) found.push({ station, sensor, ...take() })
    if (found.length >= limit) break
  }
  return found
}

/** Adds one sensor-hour to buckets, reading by reading. */
const tallyHour = (
  tables: Tables,
  { sensor: { id }, hasRows }: Part,
  hour: number,
  { codes, fromMs, toMs, minScore }: CheckedSelection,
  tallyOf: (timeMs: number, code: number) => Tally | undefined,
) => {
  const { chunk, rows, replaced } = readHour(tables, hour, id, hasRows)
  const add = (timeMs: number, code: number, scaled: number) => {
    const tally = tallyOf(timeMs, code)
    if (tally) addValue(tally, scaled)
  }
  const isGood = (thousandths: number) => minScore === undefined || thousandths / 1000 >= minScore
  for (const { ms, body } of rows) {
    const timeMs = hour * hourMs + ms
    if (timeMs < fromMs || timeMs >= toMs) continue
    if (minScore !== undefined && !isGood(rowScore(body))) continue
    eachRowValue(body, (code, scaled) => {
      if (typeof scaled === 'number' && (!codes || codes.has(code))) add(timeMs, code, scaled)
    })
  }
  if (!chunk) return
  for (const code of chunk.codes) {
    if (codes && !codes.has(code)) continue
    const column = chunk.column(code)!
    for (let at = 0; at < chunk.count; at++) {
      const timeMs = chunk.timeMs[at]!
      if (timeMs < fromMs || timeMs >= toMs || replaced.has(at) || !isGood(chunk.score[at]!)) continue
      if (hasValue(column, at)) add(timeMs, code, column.scaled[at]!)
    }
  }
}

/** A page of buckets; see the port. */
export const queryRollup = async (
  tables: Tables,
  selection: CheckedSelection,
  everyMs: number,
  fn: RollupFunction,
  limit: number,
  after: number | BucketPosition | undefined,
): Promise<Bucket[]> => {
  const { fromMs: firstMs, isAfter } = bucketsAfter(after, everyMs)
  const within = { ...selection, fromMs: Math.max(selection.fromMs, firstMs) }
  const { codes, fromMs, toMs, minScore } = within
  const sensors = matchedSensors(tables, within)
  const buckets = openBuckets(sensors, fn, limit, isAfter)
  const perTurn = minScore === undefined ? partsPerTurn : unpackedPerTurn
  for await (const { hour, parts } of hoursOf(tables, sensors, fromMs, toMs, 'ascending', perTurn)) {
    const startMs = hour * hourMs
    const bucketMs = Math.floor(startMs / everyMs) * everyMs
    buckets.finishBefore(bucketMs)
    if (buckets.full()) break
    // Chunk totals will do where the whole hour is asked for and falls into one bucket.
    const whole = fromMs <= startMs && startMs + hourMs <= toMs && startMs + hourMs <= bucketMs + everyMs
    for (const part of parts) {
      const { rank } = part.sensor
      // Totals know no scores.
      if (whole && part.totals && !part.hasRows && minScore === undefined)
        eachTotal(part.totals, (code, total) => {
          if (codes && !codes.has(code)) return
          const tally = buckets.tally(bucketMs, rank, code)
          if (tally) addTally(tally, total)
        })
      else
        tallyHour(tables, part, hour, within, (timeMs, code) =>
          buckets.tally(Math.floor(timeMs / everyMs) * everyMs, rank, code),
        )
    }
  }
  return buckets.finish()
}

/** The newest mark at which a sensor named one of the codes. */
const newestMark = (row: SensorRow, codes: ReadonlySet<number> | undefined): Mark | undefined => {
  if (!codes) return [row.last_ms, row.last_seq, row.last_place]
  let newest: Mark | undefined
  for (const [code, mark] of parseNewest(row.newest))
    if (codes.has(code) && (!newest || isLater(mark, newest))) newest = mark
  return newest
}

/** The newest reading of each sensor; see the port. */
export const queryLatest = (tables: Tables, { stations, sensor, codes }: CheckedSelection): StoredReading[] =>
  sensorRows(tables, stations, sensor).flatMap((row) => {
    const mark = newestMark(row, codes)
    const found = mark && readOne(tables, row.id, ...mark, codes)
    return found ? [{ station: row.station, sensor: row.sensor, ...found }] : []
  })

/** What is known of sensors; see the port. */
export const querySensors = (tables: Tables, station: string | undefined) =>
  sensorRows(tables, station === undefined ? undefined : [station]).map((row) => ({
    station: row.station,
    sensor: row.sensor,
    model: row.model,
    quantities: [...parseNewest(row.newest).keys()].sort((a, b) => a - b),
    firstMs: row.first_ms,
    lastMs: row.last_ms,
    readings: row.readings,
  }))
