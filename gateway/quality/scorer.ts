/** Scores readings by a set of rules, remembering what the rules need of each sensor. */
import { type Quantity, quantities, quantity } from '../reading/quantity.ts'
import type { Reading } from '../reading/reading.ts'
import { trackedIntervalMs, trackInterval } from './interval.ts'
import {
  decodeMemory,
  encodeMemory,
  fingerprintOf,
  intervalAt,
  type Layout,
  type Memory,
  newestSlot,
  sensorRulesAt,
  touchedSlot,
  unknown,
} from './memory.ts'
import {
  type KeptState,
  type Rule,
  rulesVersion,
  type Sample,
  type Score,
  type Scorer,
  type SensorRule,
  type SeriesRule,
} from './quality.ts'
import { unscored } from './unscored.ts'

/**
 * `states`: what `changedStates` gave, in any order, to go on from. `expectedIntervalMs`: how often a sensor ought to
 * speak, where that is configured; otherwise it is learned. `context`: what rules that look beyond one sensor asked for.
 */
export type ScorerDeps<Context> = {
  readonly rules: readonly Rule<Context>[]
  readonly states?: Iterable<KeptState>
  readonly expectedIntervalMs?: (station: string, sensor: string) => number | undefined
  /** Series held before the sensors longest untouched are forgotten; at most 10 numbers each with the rules of `all.ts`. */
  readonly maxSeries?: number
  /** So that one station making up sensors forgets its own and nobody else's. */
  readonly maxSensorsPerStation?: number
} & (undefined extends Context
  ? { readonly context?: (station: string, reading: Reading) => Context }
  : { readonly context: (station: string, reading: Reading) => Context })

type Placed<R> = { readonly rule: R; readonly at: number }

const noFlags: readonly string[] = Object.freeze([])

const scoredRows: (Quantity | undefined)[] = []
for (const row of quantities) if (!unscored.has(row.name)) scoredRows[row.code] = row

const temperatureRow = quantity('temperature')
const humidityRow = quantity('humidity')

const placeRules = <Context>(rules: readonly Rule<Context>[]) => {
  const valueRules = rules.filter((rule) => rule.kind === 'value')
  const seriesRules: Placed<SeriesRule<Context>>[][] = []
  const seriesSlots: number[] = []
  for (const row of quantities) {
    const placed: Placed<SeriesRule<Context>>[] = []
    let slots = 0
    for (const rule of rules) {
      if (rule.kind !== 'series' || unscored.has(row.name) || !rule.applies(row)) continue
      placed.push({ rule, at: slots })
      slots += rule.slots
    }
    seriesRules[row.code] = placed
    seriesSlots[row.code] = slots
  }
  const sensorRules: Placed<SensorRule<Context>>[] = []
  let ownSlots = sensorRulesAt
  for (const rule of rules) {
    if (rule.kind !== 'sensor') continue
    sensorRules.push({ rule, at: ownSlots })
    ownSlots += rule.slots
  }
  const named = rules.map((rule) => [rule.name, rule.kind === 'value' ? 0 : rule.slots])
  const fingerprint = fingerprintOf(JSON.stringify([1, named, seriesSlots]))
  const layout: Layout = { ownSlots, seriesSlots, fingerprint }
  return { valueRules, seriesRules, sensorRules, layout }
}

/**
 * A scorer over those rules. A reading older than the newest of its sensor (backlog) is judged by value rules only: it
 * gets no verdict that needs history, counts for no hour, and changes nothing that is remembered. Readings are as
 * decoded from an envelope: quantities in ascending order, times no further ahead than ingest lets through.
 */
export const createScorer = <Context = undefined>(deps: ScorerDeps<Context>): Scorer => {
  const { rules, states = [], expectedIntervalMs, maxSeries = 50_000, maxSensorsPerStation = 256 } = deps
  const contextOf: ((station: string, reading: Reading) => Context) | undefined = deps.context
  const version = rulesVersion(rules)
  const { valueRules, seriesRules, sensorRules, layout } = placeRules(rules)

  const stations = new Map<string, Map<string, Memory>>()
  let touched = 0
  let series = 0
  let changed: Memory[] = []
  const forgotten = new Set<string>()

  const remember = (memory: Memory): Memory => {
    let sensors = stations.get(memory.station)
    if (!sensors) {
      sensors = new Map()
      stations.set(memory.station, sensors)
    }
    sensors.set(memory.sensor, memory)
    series += memory.held
    return memory
  }

  const forget = (memory: Memory): void => {
    const sensors = stations.get(memory.station)!
    sensors.delete(memory.sensor)
    if (sensors.size === 0) stations.delete(memory.station)
    series -= memory.held
    forgotten.add(`${memory.station}/${memory.sensor}`)
  }

  for (const [key, bytes] of states) {
    const numbers = bytes && decodeMemory(key, bytes, layout)
    if (!numbers) continue
    const [station = '', sensor = ''] = key.split('/')
    const expectedMs = expectedIntervalMs?.(station, sensor)
    remember({ station, sensor, expectedMs, changed: false, ...numbers })
    touched = Math.max(touched, numbers.own[touchedSlot]!)
  }

  const memoryOf = (station: string, sensor: string): Memory => {
    const known = stations.get(station)
    const memory = known?.get(sensor)
    if (memory) return memory
    if (known && known.size >= maxSensorsPerStation) {
      let oldest: Memory | undefined
      for (const other of known.values()) {
        if (!oldest || other.own[touchedSlot]! < oldest.own[touchedSlot]!) oldest = other
      }
      if (oldest) forget(oldest)
    }
    const expectedMs = expectedIntervalMs?.(station, sensor)
    const own = unknown(layout.ownSlots)
    return remember({ station, sensor, own, series: [], expectedMs, held: 0, changed: false })
  }

  /** A tenth at a time, so that sorting is rare; which ones go depends on nothing but the order of calls. */
  const makeRoom = (keep: Memory): void => {
    const all = [...stations.values()].flatMap((sensors) => [...sensors.values()])
    all.sort((a, b) => a.own[touchedSlot]! - b.own[touchedSlot]!)
    for (const memory of all) {
      if (series <= 0.9 * maxSeries) break
      if (memory !== keep) forget(memory)
    }
  }

  // One object for all samples: the path of every reading allocates its answer and nothing else.
  const sample: { -readonly [Key in keyof Sample<Context>]: Sample<Context>[Key] } = {
    reading: { sensor: '', model: '', timeMs: 0, values: [] },
    quantity: temperatureRow,
    value: { quantity: 0, scaled: 0 },
    scaled: Number.NaN,
    timeMs: Number.NaN,
    previousMs: Number.NaN,
    intervalMs: Number.NaN,
    temperatureC: Number.NaN,
    humidityPct: Number.NaN,
    context: undefined as Context,
  }

  const scaledOf = (reading: Reading, code: number): number => {
    for (const value of reading.values) {
      if (value.quantity === code) return value.scaled ?? Number.NaN
      if (value.quantity > code) break
    }
    return Number.NaN
  }

  const seriesOf = (memory: Memory, code: number): Float64Array => {
    let numbers = memory.series[code]
    if (!numbers) {
      numbers = unknown(layout.seriesSlots[code]!)
      memory.series[code] = numbers
      memory.held += 1
      series += 1
    }
    return numbers
  }

  const score = (station: string, reading: Reading): Score => {
    const { timeMs, values } = reading
    const memory = memoryOf(station, reading.sensor)
    const { own } = memory
    const late = timeMs < own[newestSlot]!
    sample.reading = reading
    sample.timeMs = timeMs
    sample.temperatureC = scaledOf(reading, temperatureRow.code) / 10 ** temperatureRow.decimals
    sample.humidityPct = scaledOf(reading, humidityRow.code) / 10 ** humidityRow.decimals
    if (contextOf) sample.context = contextOf(station, reading)
    if (!late) {
      touched += 1
      sample.previousMs = own[newestSlot]!
      own[touchedSlot] = touched
      own[newestSlot] = timeMs
      trackInterval(own, intervalAt, timeMs)
      sample.intervalMs = memory.expectedMs ?? trackedIntervalMs(own, intervalAt)
      if (!memory.changed) {
        memory.changed = true
        changed.push(memory)
      }
    }

    const seriesBefore = series
    let flags: string[] | undefined
    let scored = 0
    let sum = 0
    for (const value of values) {
      const row = scoredRows[value.quantity]
      if (!row) continue
      sample.quantity = row
      sample.value = value
      sample.scaled = value.scaled ?? Number.NaN
      let factor = 1
      for (const rule of valueRules) {
        const verdict = rule.judge(sample)
        if (!verdict) continue
        factor = Math.min(factor, verdict.factor)
        flags ??= []
        flags.push(`${row.name}:${verdict.code}`)
      }
      if (!late && factor === 1 && value.scaled !== null) {
        const placed = seriesRules[value.quantity]!
        const numbers = placed.length > 0 ? seriesOf(memory, value.quantity) : memory.own
        for (const { rule, at } of placed) {
          const verdict = rule.judge(sample, numbers, at)
          if (!verdict) continue
          factor = Math.min(factor, verdict.factor)
          flags ??= []
          flags.push(`${row.name}:${verdict.code}`)
        }
      }
      scored += 1
      sum += factor
    }
    let whole = scored === 0 ? 1 : sum / scored
    if (!late) {
      for (const { rule, at } of sensorRules) {
        const verdict = rule.judge(sample, own, at)
        if (!verdict) continue
        whole *= verdict.factor
        flags ??= []
        flags.push(verdict.code)
      }
      if (series > maxSeries && series > seriesBefore) makeRoom(memory)
    }
    return { score: Math.round(whole * 1000) / 1000, flags: flags ?? noFlags, rules: version }
  }

  const changedStates = (): KeptState[] => {
    const kept: KeptState[] = []
    for (const memory of changed) {
      memory.changed = false
      if (stations.get(memory.station)?.get(memory.sensor) !== memory) continue
      const key = `${memory.station}/${memory.sensor}`
      forgotten.delete(key)
      kept.push([key, encodeMemory(memory, layout)])
    }
    changed = []
    for (const key of forgotten) kept.push([key, null])
    forgotten.clear()
    return kept
  }

  const paces: Scorer['paces'] = (station) =>
    [...(stations.get(station)?.values() ?? [])].map(({ sensor, own, expectedMs }) => {
      const intervalMs = expectedMs ?? trackedIntervalMs(own, intervalAt)
      return {
        sensor,
        intervalMs: Number.isNaN(intervalMs) ? undefined : intervalMs,
        newestMs: own[newestSlot]!,
      }
    })

  return { score, changedStates, paces, series: () => series }
}
