/** When a least or most value was measured: a function that stands alone is told with its time. */
import type { Tally } from './cells.ts'
import { tallyValue } from './cells.ts'
import { type Asked, codesOf, type OpenGroup, quantityOf } from './gather.ts'
import { readingsOf } from './pages.ts'

// So many intervals are looked through, then the readings of one.
const searchIntervals = 200
const leastEveryMs = 1000

/** The length of intervals to gather, so that one of them can be searched. */
export const searchEveryMs = (fromMs: number, toMs: number): number =>
  Math.max(leastEveryMs, Math.ceil((toMs - fromMs) / searchIntervals))

/** UTC ms of the earliest reading of a series that has the value of its only cell. */
export const extremeTime = async (
  { calls: [call], wanted, find, run }: Asked,
  { sensors }: OpenGroup,
  tally: Tally,
  everyMs: number,
): Promise<number> => {
  const value = tallyValue(tally, call!.fn, quantityOf(call!))
  const within = {
    ...wanted,
    sensors,
    everySensor: false,
    codes: codesOf([call!]),
    fromMs: Math.max(wanted.fromMs, tally.extremeMs),
    toMs: Math.min(wanted.toMs, tally.extremeMs + everyMs),
  }
  const mine = new Set(sensors)
  for await (const reading of readingsOf(within, run)) {
    const summary = find(reading.station, reading.sensor)
    if (summary !== undefined && mine.has(summary) && reading.values[call!.field] === value)
      return Date.parse(reading.time)
  }
  // A reading that was written again meanwhile; the interval is as near as can be said.
  return within.fromMs
}
