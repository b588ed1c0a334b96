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

/**
 * A column with its empty places filled, in the order of the rows. `takenFrom` gives the places whose values a place that
 * had none shows, or lies between.
 */
export type FilledColumn = {
  readonly values: readonly (number | null)[]
  readonly takenFrom: (place: number) => readonly number[]
}

const fromNowhere = (): readonly number[] => []

/** The nearest place with a value at or before each place; -1 where there is none. */
const nearestBefore = (values: readonly (number | null)[]): number[] => {
  let last = -1
  return values.map((value, at) => {
    if (value !== null) last = at
    return last
  })
}

/** Fills a column. */
export const fillColumn = (
  values: readonly (number | null)[],
  fill: Fill,
  { isWhole, nothing }: ColumnKind,
): FilledColumn => {
  if (fill === 'none') return { values, takenFrom: fromNowhere }
  if (fill === 'null') return { values: values.map((value) => value ?? nothing), takenFrom: fromNowhere }
  if (typeof fill === 'number') {
    const same = isWhole ? Math.trunc(fill) : fill
    return { values: values.map((value) => value ?? same), takenFrom: fromNowhere }
  }
  const before = nearestBefore(values)
  const isLinear = fill === 'linear'
  const last = values.length - 1
  const after = isLinear
    ? nearestBefore(values.toReversed())
        .map((at) => (at < 0 ? -1 : last - at))
        .reverse()
    : []
  const takenFrom = (place: number): readonly number[] => {
    const sources = isLinear ? [before[place]!, after[place]!] : [before[place]!]
    return values[place] !== null || sources.includes(-1) ? [] : sources
  }
  return {
    values: values.map((value, place) => {
      const [from, to = from] = takenFrom(place)
      if (from === undefined) return value
      const part = to === from ? 0 : (place - from) / (to! - from)
      return between(values[from]!, values[to!]!, part, isWhole)
    }),
    takenFrom,
  }
}
