/** first and last: single readings. */
import type { SensorSummary } from '../../store/store.ts'
import type { ReadingRow } from '../row.ts'
import { pick } from './cells.ts'
import { type Asked, codesOf, type Gather } from './gather.ts'
import { readingsOf } from './pages.ts'

// A value is mostly near: nothing is missing for long.
const searchedAtOnce = 100

/** Takes a reading for these of the calls, where it has a value for them. */
const take = ({ calls, find }: Asked, gather: Gather, reading: ReadingRow, only: readonly number[]): void => {
  const summary = find(reading.station, reading.sensor)
  if (summary === undefined) return
  const { station, quality, time, values } = reading
  const timeMs = Date.parse(time)
  for (const at of only) {
    const { fn, field } = calls[at]!
    const value = values[field] ?? null
    if (value === null) continue
    const cell = gather.cellAt(gather.rowAt(summary, timeMs), at)
    pick(cell, fn, { value, timeMs, station, score: quality.score })
  }
}

/** The newest values of a span: mostly of a sensor's newest reading, else of its readings of the span. */
const gatherLast = async (asked: Asked, at: number, gather: Gather): Promise<void> => {
  const { calls, wanted, find, run, latest } = asked
  const { field } = calls[at]!
  const codes = codesOf([calls[at]!])
  const open = new Set<SensorSummary>()
  for (const reading of await latest(codes[0]!, wanted.sensors)) {
    const summary = find(reading.station, reading.sensor)
    const timeMs = Date.parse(reading.time)
    if (summary === undefined || timeMs < wanted.fromMs) continue
    const counts = timeMs < wanted.toMs && reading.quality.score >= (wanted.minScore ?? 0)
    if (counts && (reading.values[field] ?? null) !== null) take(asked, gather, reading, [at])
    else open.add(summary)
  }
  if (open.size === 0) return
  const rest = { ...wanted, sensors: [...open], everySensor: false, codes }
  for await (const reading of readingsOf(rest, run, { order: 'descending', atOnce: searchedAtOnce })) {
    const summary = find(reading.station, reading.sensor)
    if (summary === undefined || !open.has(summary) || (reading.values[field] ?? null) === null) continue
    take(asked, gather, reading, [at])
    open.delete(summary)
    if (open.size === 0) return
  }
}

/** Gathers what the calls at these places pick. */
export const gatherPicked = async (
  asked: Asked,
  picked: readonly number[],
  gather: Gather,
): Promise<void> => {
  const { calls, statement, wanted, run } = asked
  if (statement.interval === undefined && picked.every((at) => calls[at]!.fn === 'last')) {
    for (const at of picked) await gatherLast(asked, at, gather)
    return
  }
  const codes = codesOf(picked.map((at) => calls[at]!))
  for await (const reading of readingsOf({ ...wanted, codes }, run)) take(asked, gather, reading, picked)
}
