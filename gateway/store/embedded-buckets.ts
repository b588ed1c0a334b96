/** Buckets being filled in order of time; holds only those that can still come into the page. */
import { emptyTally, type Tally, tallyValue } from './rollup.ts'
import type { Bucket, BucketPosition, RollupFunction } from './store.ts'

type Named = { readonly station: string; readonly sensor: string }

// Within one time: rank of the sensor, then quantity code, as one number in order.
const codesPerSensor = 1 << 16

/** `sensors` in order of station and sensor; a sensor's rank is its index. */
export const openBuckets = (
  sensors: readonly Named[],
  fn: RollupFunction,
  limit: number,
  isAfter: (bucket: BucketPosition) => boolean,
) => {
  const done: Bucket[] = []
  const times = new Map<number, Map<number, Tally>>()
  let held = 0
  // Buckets later than this can no longer come into the page.
  let lastMs = Infinity

  const prune = () => {
    let earlier = done.length
    for (const timeMs of [...times.keys()].sort((a, b) => a - b)) {
      const size = times.get(timeMs)!.size
      if (earlier >= limit) {
        times.delete(timeMs)
        held -= size
        lastMs = Math.min(lastMs, timeMs - 1)
      }
      earlier += size
    }
  }

  const give = (timeMs: number, tallies: ReadonlyMap<number, Tally>) => {
    for (const key of [...tallies.keys()].sort((a, b) => a - b)) {
      if (done.length >= limit) return
      const { station, sensor } = sensors[Math.floor(key / codesPerSensor)]!
      const quantity = key % codesPerSensor
      const tally = tallies.get(key)!
      done.push({
        station,
        sensor,
        quantity,
        timeMs,
        value: tallyValue(fn, quantity, tally),
        count: tally.count,
      })
    }
  }

  const finishBefore = (endMs: number) => {
    const over = [...times.keys()].filter((timeMs) => timeMs < endMs).sort((a, b) => a - b)
    for (const timeMs of over) {
      const tallies = times.get(timeMs)!
      give(timeMs, tallies)
      times.delete(timeMs)
      held -= tallies.size
    }
  }

  return {
    /** Where to add values, or undefined for a bucket that comes before or behind the page. */
    tally: (timeMs: number, rank: number, quantity: number): Tally | undefined => {
      if (timeMs > lastMs) return undefined
      const key = rank * codesPerSensor + quantity
      const tallies = times.get(timeMs) ?? new Map<number, Tally>()
      const known = tallies.get(key)
      if (known) return known
      const { station, sensor } = sensors[rank]!
      if (!isAfter({ timeMs, station, sensor, quantity })) return undefined
      times.set(timeMs, tallies)
      const tally = emptyTally()
      tallies.set(key, tally)
      if (++held > 4 * limit + 10_000) prune()
      return tally
    },
    finishBefore,
    full: () => done.length >= limit,
    finish: (): Bucket[] => {
      finishBefore(Infinity)
      return done
    },
  }
}
