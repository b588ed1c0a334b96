/** Rows of intervals: each interval of a span has one, and what an empty one gets. */
import type { Fill } from './influxql.ts'

/** Starts of the intervals that a span touches, `fromMs` inclusive to `toMs` exclusive, UTC. */
export const gridOf = (
  fromMs: number,
  toMs: number,
  { everyMs, offsetMs }: { readonly everyMs: number; readonly offsetMs: number },
): number[] => {
  const starts: number[] = []
  for (let at = startOf(fromMs, { everyMs, offsetMs }); at < toMs; at += everyMs) starts.push(at)
  return starts
}

/** Start of the interval that a time is in. */
export const startOf = (
  ms: number,
  { everyMs, offsetMs }: { readonly everyMs: number; readonly offsetMs: number },
): number => Math.floor((ms - offsetMs) / everyMs) * everyMs + offsetMs

const between = (before: number, after: number, part: number, isWhole: boolean): number => {
  const value = before + (after - before) * part
  return isWhole ? Math.trunc(value) : value
}

/** What a column holds: whole numbers or any, and what nothing is in it where it is not filled. */
export type ColumnKind = { readonly isWhole: boolean; readonly nothing: number | null }

/** A column with its empty places filled, in the order of the rows. */
export const fillColumn = (
  values: readonly (number | null)[],
  fill: Fill,
  { isWhole, nothing }: ColumnKind,
): (number | null)[] => {
  if (fill === 'none') return [...values]
  if (fill === 'null') return values.map((value) => value ?? nothing)
  if (typeof fill === 'number') return values.map((value) => value ?? (isWhole ? Math.trunc(fill) : fill))
  const filled: (number | null)[] = []
  if (fill === 'previous') {
    for (const value of values) filled.push(value ?? filled.at(-1) ?? null)
    return filled
  }
  // Where the next value is, from the end, so that a long gap is passed once.
  const nextAt = new Array<number>(values.length)
  for (let at = values.length - 1, next = -1; at >= 0; at--) {
    if (values[at] !== null) next = at
    nextAt[at] = next
  }
  let lastAt = -1
  for (let at = 0; at < values.length; at++) {
    const own = values[at]!
    const next = nextAt[at]!
    if (own !== null) lastAt = at
    if (own !== null || lastAt < 0 || next < 0) filled.push(own)
    else filled.push(between(values[lastAt]!, values[next]!, (at - lastAt) / (next - lastAt), isWhole))
  }
  return filled
}
