/** Availability check: how much of the last hour the sensor was heard. */
import type { QuantityName } from '../reading/quantity.ts'
import { quantity } from '../reading/quantity.ts'
import type { Sample, SensorRule, Verdict } from './quality.ts'

const hourMs = 3_600_000

/** Share of an hour's expected readings below which it counts as incomplete; a reading's strictest quantity decides. */
export const shareNeeded = 0.67
export const shareNeededBy: readonly (readonly [quantity: QuantityName, share: number])[] = [
  ['wind_speed', 0.75],
  ['wind_direction', 0.75],
  ['wind_gust', 0.75],
  ['rain', 0.85],
  ['rain_rate', 0.85],
]

const needed: (number | undefined)[] = []
for (const [name, share] of shareNeededBy) needed[quantity(name).code] = share
const strictest = Math.max(...shareNeededBy.map(([, share]) => share))

/** One reading a minute is enough, however often the sensor speaks (WeatherXM Table 7: 60 of a possible 225 an hour). */
const leastSlotMs = 60_000

/** A reading may be half a slot late before what lies beyond its slot counts as missing. */
const lateBy = 1.5

/** Left of a reading that stands alone: an empty hour makes the hour poor, not the number wrong. */
const alone = 0.5

// Memory: the hour (since 1970), covered ms of it so far, covered ms of the hour before.
const [hourSlot, coveredSlot, beforeSlot] = [0, 1, 2]

const overlap = (from: number, to: number, start: number, end: number): number =>
  Math.max(0, Math.min(to, end) - Math.max(from, start))

/**
 * Share of the last hour covered. Each reading covers its slot, the time until the next one is due; what of the
 * hour before lies within the last sixty minutes is taken as evenly spread. Before its first reading a sensor is not blamed.
 */
const coveredShare = (sample: Sample, memory: Float64Array, at: number): number => {
  const { timeMs, previousMs, intervalMs } = sample
  const hour = Math.floor(timeMs / hourMs)
  const start = hour * hourMs
  if (Number.isNaN(previousMs)) {
    memory[at + coveredSlot] = timeMs - start
    memory[at + beforeSlot] = hourMs
  } else {
    // NaN, not known yet, compares false below: nothing is missing yet.
    const slotMs = Math.max(intervalMs, leastSlotMs)
    const untilMs = timeMs - previousMs > lateBy * slotMs ? previousMs + slotMs : timeMs
    const passed = hour - memory[at + hourSlot]!
    if (passed === 0) {
      memory[at + coveredSlot]! += untilMs - previousMs
    } else {
      memory[at + beforeSlot] =
        (passed === 1 ? memory[at + coveredSlot]! : 0) + overlap(previousMs, untilMs, start - hourMs, start)
      memory[at + coveredSlot] = overlap(previousMs, untilMs, start, timeMs)
    }
  }
  memory[at + hourSlot] = hour
  const beforeMs = (memory[at + beforeSlot]! * (start + hourMs - timeMs)) / hourMs
  return (memory[at + coveredSlot]! + beforeMs) / hourMs
}

const judge = (sample: Sample, memory: Float64Array, at: number): Verdict | undefined => {
  const share = coveredShare(sample, memory, at)
  if (share >= strictest) return undefined
  let least = shareNeeded
  for (const value of sample.reading.values) least = Math.max(least, needed[value.quantity] ?? 0)
  if (share >= least) return undefined
  return { code: 'NO_DATA', factor: alone + ((1 - alone) * share) / least }
}

export const availability: SensorRule = {
  kind: 'sensor',
  name: 'availability',
  title: 'Too few readings in the last hour',
  source:
    'WeatherXM obc-sqc-documentation s3b, Table 7; thresholds of qod initial_params.py; the floor of 0.5 is ours',
  version: '2026.1',
  codes: ['NO_DATA'],
  slots: 3,
  judge,
}
