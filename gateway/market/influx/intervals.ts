/** mean, sum, count, min and max: intervals of each sensor from the query core, added up. */

import { addInterval } from './cells.ts'
import { type Asked, type Call, codesOf, type Gather, quantityOf } from './gather.ts'
import type { SelectFunction } from './influxql.ts'
import { bucketsOf } from './pages.ts'

/** How the query core is asked: mean, sum and count come from one pass; first and last from none. */
const passes: Readonly<Record<SelectFunction, 'sum' | 'min' | 'max' | undefined>> = {
  mean: 'sum',
  sum: 'sum',
  count: 'sum',
  min: 'min',
  max: 'max',
  first: undefined,
  last: undefined,
}

/** Whether a function picks a reading instead of adding up intervals. */
export const isPicked = ({ fn }: Call): boolean => passes[fn] === undefined

/** Adds all intervals of `everyMs`, which divides the length and the offset of those that are asked for. */
export const gatherIntervals = async (asked: Asked, everyMs: number, gather: Gather): Promise<void> => {
  const { calls, wanted, find, run } = asked
  for (const pass of ['sum', 'min', 'max'] as const) {
    const mine = calls.flatMap((call, at) => (passes[call.fn] === pass ? [{ call, at }] : []))
    if (mine.length === 0) continue
    const codes = codesOf(mine.map(({ call }) => call))
    for await (const { station, sensor, time, values, counts } of bucketsOf(
      { ...wanted, codes },
      everyMs,
      pass,
      run,
    )) {
      const summary = find(station, sensor)
      if (summary === undefined) continue
      const timeMs = Date.parse(time)
      const row = gather.rowAt(summary, timeMs)
      for (const { call, at } of mine) {
        const value = values[call.field]
        if (value === undefined) continue
        addInterval(gather.cellAt(row, at), pass, quantityOf(call), {
          timeMs,
          value,
          count: counts[call.field]!,
        })
        const has = row.sensors.get(summary) ?? new Set()
        row.sensors.set(summary, has.add(at))
      }
    }
  }
}
