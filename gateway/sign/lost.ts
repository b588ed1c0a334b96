/** Readings that were lost before they were signed: how many, and of which time. */
import { type Dropped, unsignedLost } from '../reading/dropped.ts'
import type { Reading } from '../reading/reading.ts'

export type Lost = {
  /** Since the start. */
  readonly count: number
  add(readings: readonly Reading[]): void
  /** A declaration of those that were not taken before; undefined where there are none. */
  take(declaredMs: number): Dropped | undefined
}

/** None yet. */
export const createLost = (): Lost => {
  let [count, taken] = [0, 0]
  let [fromMs, toMs] = [Number.POSITIVE_INFINITY, 0]
  return {
    get count() {
      return count
    },
    add: (readings) => {
      count += readings.length
      for (const { timeMs } of readings) {
        fromMs = Math.min(fromMs, timeMs)
        toMs = Math.max(toMs, timeMs)
      }
    },
    take: (declaredMs) => {
      if (count === taken) return undefined
      const dropped = unsignedLost(count - taken, fromMs, toMs, declaredMs)
      taken = count
      fromMs = Number.POSITIVE_INFINITY
      toMs = 0
      return dropped
    },
  }
}
