/** Data for tests of stores, and the answers a store must give, computed the plainest way. */
import { fromScaled, quantity, quantityCoded } from '#gateway/reading/quantity.ts'
import type { Value } from '#gateway/reading/reading.ts'
import type {
  Bucket,
  Position,
  RollupFunction,
  ScoredSelection,
  Selection,
  StoredReading,
} from '#gateway/store/store.ts'

/** 2026-01-05T00:00Z, a whole hour. */
export const startMs = Date.UTC(2026, 0, 5)
export const hour = 3_600_000
/** Every reading there is. */
export const all: Selection = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER }
export const temperature = quantity('temperature').code
export const humidity = quantity('humidity').code
export const pm25 = quantity('pm2_5').code

/** A reading with everything in it that a test does not care about. */
export const reading = (some: Partial<StoredReading> = {}): StoredReading => ({
  station: 'station-a',
  sensor: 'yard',
  model: 'bme280',
  timeMs: startMs,
  values: [{ quantity: temperature, scaled: 2153 }],
  seq: 1,
  place: 0,
  score: 1,
  flags: [],
  rules: '1',
  ...some,
})

/** Small, fast and the same everywhere: mulberry32. */
const randomFrom = (seed: number) => {
  let state = seed
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296) * below)
  }
}

/** Untidy data of some hours: ties in time, absences, changing models, sensors that name different quantities. */
export const untidyReadings = (seed: number, count: number): StoredReading[] => {
  const random = randomFrom(seed)
  const sensors = [
    { station: 'station-a', sensor: 'yard', codes: [temperature, humidity] },
    { station: 'station-a', sensor: 'Roof', codes: [pm25] },
    { station: 'station-b', sensor: 'yard', codes: [temperature, humidity, pm25] },
    { station: '0f3c', sensor: 'x_1', codes: [pm25, quantity('gas_resistance').code] },
  ]
  const seqs = new Map<string, number>()
  const value = (code: number): Value => {
    if (random(9) === 0)
      return { quantity: code, scaled: null, absent: random(2) ? 'warming-up' : 'out-of-range' }
    const wide = quantityCoded(code)!.name === 'gas_resistance'
    return { quantity: code, scaled: wide ? random(200_000_000) : random(9000) - 3000 }
  }
  return Array.from({ length: count }, () => {
    const { station, sensor, codes } = sensors[random(sensors.length)]!
    const seq = (seqs.get(station) ?? 990) + 1
    seqs.set(station, seq)
    return {
      station,
      sensor,
      model: random(20) ? 'sds011' : 'pms5003',
      // Few distinct milliseconds, so that many are shared.
      timeMs: startMs + random(5) * hour + random(40) * 90_000 + random(2),
      values: codes.filter(() => random(6) > 0).map(value),
      seq,
      place: random(50),
      score: random(1001) / 1000,
      flags: random(4) ? [] : ['pm2_5:step', 'clock'],
      rules: random(3) ? '1' : '2026-01',
    }
  })
}

/** Ids are ASCII: code units are their order. */
export const byText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
/** The order of readings in an answer. */
export const order = (a: Position, b: Position) =>
  a.timeMs - b.timeMs ||
  byText(a.station, b.station) ||
  byText(a.sensor, b.sensor) ||
  a.seq - b.seq ||
  a.place - b.place

/** Readings of a selection, in order. */
export const selected = (readings: readonly StoredReading[], selection: Selection): StoredReading[] =>
  readings
    .filter(({ timeMs }) => timeMs >= selection.fromMs && timeMs < selection.toMs)
    .filter(({ station }) => selection.stations === undefined || selection.stations.includes(station))
    .filter(({ sensor }) => selection.sensor === undefined || sensor === selection.sensor)
    .map((one) => ({
      ...one,
      values: one.values.filter(
        ({ quantity }) => !selection.quantities || selection.quantities.includes(quantity),
      ),
    }))
    .filter(({ values }) => !selection.quantities || values.length > 0)
    .sort(order)

const naiveValue = (fn: RollupFunction, code: number, scaled: readonly number[]) => {
  const sum = scaled.reduce((total, value) => total + value, 0)
  const row = quantityCoded(code)!
  if (fn === 'count') return scaled.length
  if (fn === 'mean') return fromScaled(row, sum / scaled.length)
  if (fn === 'sum') return fromScaled(row, sum)
  return fromScaled(row, fn === 'min' ? Math.min(...scaled) : Math.max(...scaled))
}

/** All buckets of a selection, in order. */
export const naiveRollup = (
  readings: readonly StoredReading[],
  selection: ScoredSelection,
  everyMs: number,
  fn: RollupFunction,
): Bucket[] => {
  const groups = new Map<string, { bucket: Omit<Bucket, 'value' | 'count'>; scaled: number[] }>()
  for (const { station, sensor, timeMs, values } of selected(
    readings.filter(({ score }) => score >= (selection.minScore ?? 0)),
    selection,
  ))
    for (const { quantity, scaled } of values) {
      if (scaled === null) continue
      const bucket = { station, sensor, quantity, timeMs: Math.floor(timeMs / everyMs) * everyMs }
      const name = JSON.stringify(bucket)
      const group = groups.get(name) ?? { bucket, scaled: [] }
      groups.set(name, group)
      group.scaled.push(scaled)
    }
  return [...groups.values()]
    .map(({ bucket, scaled }) => ({
      ...bucket,
      value: naiveValue(fn, bucket.quantity, scaled),
      count: scaled.length,
    }))
    .sort(
      (a, b) =>
        a.timeMs - b.timeMs ||
        byText(a.station, b.station) ||
        byText(a.sensor, b.sensor) ||
        a.quantity - b.quantity,
    )
}
