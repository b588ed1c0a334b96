/** What an export can be at most, counted from the store's rollups and without reading a single reading. */
import { quantityCoded } from '../../reading/quantity.ts'
import type { PricedRow } from '../../sales/price.ts'
import type { Bucket, Store } from '../../store/store.ts'
import type { Plan } from '../query.ts'

// A sum for each hour shows what is fresh; over a longer time a day is as good, and cheaper.
const hourMs = 3_600_000
const dayMs = 86_400_000
const hoursUpToMs = 7 * dayMs

const pageBuckets = 10_000

/**
 * `leastRows`: there are at least so many, as a row has a value of a quantity once; 0 for intervals, of which that cannot
 * be told. `stations`: how many have any.
 */
export type Counted = { readonly leastRows: number; readonly stations: number }

/** Intervals of `everyMs` that can begin within or reach into a stretch of `overMs` that starts at a multiple of it. */
const mostIntervals = (everyMs: number, overMs: number): number =>
  overMs % everyMs === 0 ? overMs / everyMs : Math.floor(overMs / everyMs) + 2

/**
 * Counts the values that an export can have, and gives them as rows for their price, each as fresh and as good as any of
 * its values could be. Ends early where there are more rows than `maxRows`. `nowMs` is UTC.
 */
export const countMost = async (
  { selection, rollup }: Plan,
  store: Pick<Store, 'rollup'>,
  nowMs: number,
  maxRows: number,
  add: (row: PricedRow) => void,
): Promise<Counted> => {
  const { fromMs, toMs } = selection
  const usualMs = toMs - fromMs <= hoursUpToMs ? hourMs : dayMs
  const overMs = Math.max(usualMs, rollup?.everyMs ?? 0)
  const most = rollup === undefined ? Number.POSITIVE_INFINITY : mostIntervals(rollup.everyMs, overMs)
  const stations = new Set<string>()
  let leastRows = 0
  let before: Bucket | undefined
  let highest = 0
  for (let after: Bucket | undefined; ; ) {
    const page = await store.rollup(selection, overMs, 'count', pageBuckets, after)
    for (const bucket of page) {
      const { station, sensor, timeMs, count } = bucket
      after = bucket
      const quantity = quantityCoded(bucket.quantity)
      if (quantity === undefined || quantity.private) continue
      if (before?.timeMs !== timeMs || before.station !== station || before.sensor !== sensor) highest = 0
      before = bucket
      stations.add(station)
      leastRows += Math.max(0, count - highest)
      highest = Math.max(highest, count)
      const newestMs = Math.min(timeMs + overMs, toMs, nowMs)
      const values = Math.min(count, most)
      const ageMs = nowMs - newestMs
      add(rollup === undefined ? { station, values, ageMs, score: 1 } : { station, values, ageMs })
    }
    const isOver = rollup === undefined && leastRows > maxRows
    if (page.length < pageBuckets || isOver)
      return { leastRows: rollup === undefined ? leastRows : 0, stations: stations.size }
  }
}
