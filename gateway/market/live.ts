/** Live readings: what subscribers of the broker hear of a reading, in the words of the query API. */
import { topicsOf } from '../reading/topics.ts'
import type { StoredReading } from '../store/store.ts'
import { readingRow } from './row.ts'

// Older readings, as after a rebuild or an outage, are for queries.
const liveMs = 15 * 60_000

export type LiveDeps = {
  readonly network: string
  /** Whether anybody may be listening: where not, nothing is made. */
  readonly hasReaders: () => boolean
  readonly publish: (topic: string, message: string) => void
  /** UTC ms. */
  readonly nowMs: () => number
}

/** Publishes stored readings one by one; those with nothing public in them, and old ones, are left out. */
export const publishLive = (readings: readonly StoredReading[], deps: LiveDeps): void => {
  if (!deps.hasReaders()) return
  const oldestMs = deps.nowMs() - liveMs
  for (const reading of readings) {
    if (reading.timeMs < oldestMs) continue
    const row = readingRow(reading, undefined, { seq: reading.seq, status: 'pending' })
    if (row !== undefined)
      deps.publish(topicsOf(deps.network, reading.station).reading(reading.sensor), JSON.stringify(row))
  }
}
