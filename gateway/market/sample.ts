/**
 * A look at the data before it is bought: a few rows of each sensor, the same for everybody for a week. Which ones is
 * for the calendar to say, not for who looks, so that nobody collects by it what is sold.
 */

import { proofsOf } from './proof.ts'
import type { Answer, Sources } from './query.ts'
import { readingRow } from './row.ts'

/** Rows of one sensor, and sensors in one sample, at most. */
export const sampleRows = 5
export const sampleSensors = 20

const dayMs = 86_400_000
const weekMs = 7 * dayMs

// 5 January 1970, the first Monday.
const mondayMs = 4 * dayMs

/** What a sample is of: the week (from Monday, UTC) that a day ago was in, up to a day ago; UTC ms. */
export const sampleSpan = (nowMs: number): { readonly fromMs: number; readonly toMs: number } => {
  const toMs = nowMs - dayMs
  return { fromMs: mondayMs + Math.floor((toMs - 1 - mondayMs) / weekMs) * weekMs, toMs }
}

/** The first rows of each sensor in that week; of one that has none there, the oldest there are. */
export const runSample = async (
  station: string | undefined,
  { store, anchors }: Sources,
  nowMs: number,
): Promise<Answer> => {
  const week = sampleSpan(nowMs)
  const proof = proofsOf(anchors)
  const rows = []
  const sensors = (await store.sensors(station)).slice(0, sampleSensors)
  for (const { station, sensor, firstMs, lastMs } of sensors) {
    const inWeek = await store.readings({ stations: [station], sensor, ...week }, sampleRows)
    const shown =
      inWeek.length > 0
        ? inWeek
        : await store.readings({ stations: [station], sensor, fromMs: firstMs, toMs: lastMs + 1 }, sampleRows)
    for (const reading of shown)
      rows.push(readingRow(reading, undefined, proof(reading.station, reading.seq)) ?? [])
  }
  return { kind: 'latest', rows: rows.flat() }
}
