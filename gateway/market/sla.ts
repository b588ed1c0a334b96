/** How a query is measured against what is promised of its product. */
import type { Evidence } from '../evidence/evidence.ts'
import type { SensorPace } from '../quality/quality.ts'
import type { Spoken } from '../sales/completeness.ts'
import type { Price, PricedRow } from '../sales/price.ts'
import type { Measured, SlaPromises } from '../sales/sla.ts'
import type { Store } from '../store/store.ts'
import type { Answer, Plan } from './query.ts'

/**
 * How fresh the newest readings are: in what the rows cost, that of those which are not older than was promised. What is
 * stale is thereby credited for what it cost.
 */
export const measureLatest = (
  rows: readonly PricedRow[],
  price: Price,
  priceOf: (rows: Iterable<PricedRow>) => Price,
  { latestMaxAgeMs }: SlaPromises,
): Measured => ({
  product: 'latest',
  promisedPermille: 1000,
  expected: price.totalMicroUsd,
  present: priceOf(rows.filter(({ ageMs }) => ageMs <= latestMaxAgeMs)).totalMicroUsd,
})

/** When sensors spoke, by station and sensor, in order. */
export type TimesHeard = Map<string, number[]>

/** One name for a sensor of a station. */
export const nameOf = (station: string, sensor: string): string => `${station}/${sensor}`

/** Notes when the sensors of an answer spoke, also with what was not good enough for it; pages come in order. */
export const noteTimes = (heard: TimesHeard, answer: Answer): void => {
  const times = answer.rows.map(({ station, sensor, time }) => ({
    station,
    sensor,
    timeMs: Date.parse(time),
  }))
  const poor = answer.kind === 'readings' ? (answer.poor ?? []) : []
  for (const { station, sensor, timeMs } of [...times, ...poor]) {
    const name = nameOf(station, sensor)
    const known = heard.get(name)
    if (known === undefined) heard.set(name, [timeMs])
    else known.push(timeMs)
  }
}

/** What completeness is measured with. `paces` gives the sensors of a station and how often each speaks. */
export type CompletenessDeps = {
  readonly store: Pick<Store, 'readings'>
  readonly evidence: Pick<Evidence, 'stations'>
  readonly paces: (station: string) => Iterable<SensorPace>
  readonly sla: SlaPromises
  readonly completenessOf: (
    sensors: Iterable<Spoken>,
    fromMs: number,
    untilMs: number,
  ) => { readonly expected: bigint; readonly present: bigint }
  readonly serviceMs: number
}

/** What was paid for the rows of each sensor (micro-USD), by station and sensor. */
export type PaidOf = ReadonlyMap<string, bigint>

// Sensors of which one query looks up when they spoke before; of the others nothing is expected before they speak.
const maxLookUps = 100

/** The middle of the times between readings; 0 where there are too few. */
const middleGap = (times: readonly number[]): number => {
  const gaps = times.slice(1).map((timeMs, at) => timeMs - times[at]!)
  return gaps.sort((a, b) => a - b)[gaps.length >> 1] ?? 0
}

// A price is counted in so many parts of a micro-USD, for a share of it.
const parts = 1000n

/**
 * How complete what a plan gave is: of the readings that its sensors ought to have given by their own pace, those that are
 * there, whatever they are scored; weighed by what was paid for each sensor, so that one which is known to be dead gives
 * nothing back of what others cost. What is younger than the newest readings are promised to be may be on its way, and is
 * left out. Undefined where nothing can be expected.
 */
export const measureReadings = async (
  { selection, rollup, minScore, after }: Plan,
  heard: TimesHeard,
  paidOf: PaidOf,
  nowMs: number,
  { store, evidence, paces, sla, completenessOf, serviceMs }: CompletenessDeps,
): Promise<Measured | undefined> => {
  // An interval that is not there had no reading, or none that was good enough: it cannot be told.
  if (rollup !== undefined && minScore !== undefined) return undefined
  const { quantities } = selection
  // Behind a page that another sale paid for, or nobody, nothing before its end was asked for.
  const fromMs = Math.max(selection.fromMs, after === undefined ? 0 : after.timeMs + (rollup?.everyMs ?? 0))
  const untilMs = Math.min(selection.toMs, nowMs - sla.latestMaxAgeMs)
  const stations = selection.stations ?? evidence.stations().map(({ station }) => station)
  let expected = 0n
  let present = 0n
  let lookUps = 0
  for (const station of stations) {
    for (const { sensor, intervalMs } of paces(station)) {
      const name = nameOf(station, sensor)
      const paid = paidOf.get(name) ?? 0n
      if (intervalMs === undefined || paid === 0n) continue
      const spoke = heard.get(name)?.sort((a, b) => a - b) ?? []
      // A sensor may give one of its quantities less often than it speaks.
      const ownPaceMs = quantities === undefined ? 0 : middleGap(spoke)
      const slotMs = Math.max(intervalMs, rollup?.everyMs ?? 0, ownPaceMs)
      const before =
        (spoke[0] ?? Infinity) > fromMs + slotMs && lookUps++ < maxLookUps
          ? await store.readings(
              {
                ...(quantities === undefined ? {} : { quantities }),
                ...{ stations: [station], sensor, fromMs: Math.max(0, fromMs - serviceMs), toMs: fromMs },
              },
              1,
              undefined,
              'descending',
            )
          : []
      const spoken: Spoken = { slotMs, times: [...before.map(({ timeMs }) => timeMs), ...spoke] }
      const one = completenessOf([spoken], fromMs, untilMs)
      if (one.expected === 0n) continue
      expected += paid * parts
      present += (paid * parts * one.present) / one.expected
    }
  }
  return expected === 0n
    ? undefined
    : { product: 'readings', promisedPermille: sla.completenessPermille, expected, present }
}
