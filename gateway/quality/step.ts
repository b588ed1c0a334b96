/** Jump check: a value further from the one before it than the air can change in that time. */
import { type Quantity, type QuantityName, quantity } from '../reading/quantity.ts'
import type { Sample, SeriesRule, Verdict } from './quality.ts'

/**
 * Largest believable step, in the quantity's unit. Under a minute apart: `perReading`, or the minute's share of
 * `perMinute` where that is more. From a minute on: `perMinute` for every minute, up to `ceiling`.
 *
 * Tables 8 and 9 of WeatherXM's document. For pressure they give 0.5 raw and 0.8 per minute; the code of 2024 has the two
 * swapped. The document is followed: it is the newer, its Table 9 and the code agree on 0.8 for stations that send
 * minutes, and a limit for 16 s above that for 60 s makes no sense. For wind it is so all the same (20, then 10): a raw
 * value is a gust, a minute's is a mean. The code spreads wind's 10 m/s over two minutes, the document does not; the
 * document is followed. Solar radiation is illuminance by the 122 lx per W/m2 that the same code uses.
 * Not here: wind direction and rain jump by nature (WeatherXM excludes them too); particles, gases, sound and
 * radiation do when someone lights a stove, drives past or shuts a door.
 */
export const stepLimits: readonly (readonly [
  quantity: QuantityName,
  perReading: number,
  perMinute: number,
  ceiling: number,
])[] = [
  ['temperature', 2, 3, 15],
  ['humidity', 5, 10, 80],
  ['pressure', 0.5, 0.8, 15],
  ['illuminance', 97_600, 97_600, 146_400],
  ['solar_radiation', 800, 800, 1200],
  ['wind_speed', 20, 10, 15],
]

type Limit = { readonly perReading: number; readonly perMinute: number; readonly ceiling: number }

const limits: (Limit | undefined)[] = []
for (const [name, perReading, perMinute, ceiling] of stepLimits) {
  const { code, decimals } = quantity(name)
  const scale = (limit: number) => Math.round(limit * 10 ** decimals)
  limits[code] = {
    perReading: scale(perReading),
    perMinute: scale(perMinute),
    ceiling: scale(ceiling),
  }
}

const minuteMs = 60_000

/** The ceilings are meant for values an hour apart (European Commission, JRC128152); beyond that nothing is compared. */
const comparableMs = 60 * minuteMs

/** How many values in a row must agree before the older side of a jump is the one to believe. */
const trusted = 3

// WeatherXM believes the side nearer to the median of 10 minutes (60 where values are a minute or more apart). A
// median goes over to a new level once that fills half of its window.
const settledMs = 5 * minuteMs
const settledSparseMs = 30 * minuteMs

const spike: Verdict = { code: 'SPIKE_INST', factor: 0 }
// One of the two values is wrong and nothing tells which: half.
const unidentified: Verdict = { code: 'UNIDENTIFIED_SPIKE', factor: 0.5 }

const allowed = ({ perReading, perMinute, ceiling }: Limit, apartMs: number): number => {
  const linear = (perMinute * apartMs) / minuteMs
  return apartMs < minuteMs ? Math.max(perReading, linear) : Math.min(ceiling, linear)
}

// Memory: the value to compare with, its time, how many agreed with it; the other level a jump led to, its newest
// time and its first.
const [reference, referenceMs, agreed, other, otherMs, otherSinceMs] = [0, 1, 2, 3, 4, 5]

const adopt = (memory: Float64Array, at: number, value: number, timeMs: number, agreeing: number): void => {
  memory[at + reference] = value
  memory[at + referenceMs] = timeMs
  memory[at + agreed] = agreeing
  memory[at + other] = Number.NaN
}

const judge = (sample: Sample, memory: Float64Array, at: number): Verdict | undefined => {
  const { scaled, timeMs, previousMs } = sample
  const limit = limits[sample.quantity.code]!
  const apartMs = timeMs - memory[at + referenceMs]!
  // Written so that NaN, nothing known yet, is not comparable either.
  if (!(apartMs <= comparableMs)) {
    adopt(memory, at, scaled, timeMs, 1)
    return undefined
  }
  if (Math.abs(scaled - memory[at + reference]!) <= allowed(limit, apartMs)) {
    adopt(memory, at, scaled, timeMs, Math.min(trusted, memory[at + agreed]! + 1))
    return undefined
  }
  if (memory[at + agreed]! < trusted) {
    adopt(memory, at, scaled, timeMs, 1)
    return unidentified
  }
  const near = Math.abs(scaled - memory[at + other]!) <= allowed(limit, timeMs - memory[at + otherMs]!)
  if (!near) memory[at + otherSinceMs] = timeMs
  memory[at + other] = scaled
  memory[at + otherMs] = timeMs
  const enoughMs = timeMs - previousMs < minuteMs ? settledMs : settledSparseMs
  if (timeMs - memory[at + otherSinceMs]! < enoughMs) return spike
  adopt(memory, at, scaled, timeMs, trusted)
  return undefined
}

export const step: SeriesRule = {
  kind: 'series',
  name: 'step',
  title: 'Jump that the air cannot make',
  source: 'WeatherXM obc-sqc-documentation s3c, Tables 8 and 9; qod initial_params.py',
  version: '2026.1',
  codes: [spike.code, unidentified.code],
  slots: 6,
  applies: ({ code }: Quantity) => limits[code] !== undefined,
  judge,
}
