/** What can be asked for, and how it is written in an address. */
import { parseTime, resolveTime } from '../market/time.ts'

/** A moment: a Date, UTC milliseconds since 1970, or text as the API takes it (`2026-11-21T10:00:00Z`, `-1h`, `now`). */
export type Time = Date | number | string

/** Places: whoever fits all that are given. */
export type PlacesQuery = {
  /** West, south, east, north in degrees. */
  readonly bbox?: readonly [west: number, south: number, east: number, north: number]
  /** An H3 cell. */
  readonly h3?: string
  /** Latitude, longitude and a distance: `48.2,16.37,25km`. */
  readonly near?: string
}

/** Which sensors are meant; all that there are where nothing is said. */
export type SensorsQuery = PlacesQuery & {
  readonly station?: string | readonly string[]
  readonly sensor?: string
  /** Names as in /v1/quantities. */
  readonly quantity?: string | readonly string[]
}

type SpanQuery = SensorsQuery & {
  /** First moment; an hour before `to` unless told. */
  readonly from?: Time
  /** Moment after the last; now unless told. */
  readonly to?: Time
  /** Only readings with at least this score, 0 to 1; the others cost nothing. */
  readonly minQuality?: number
}

/** Single readings of a span of time. */
export type ReadingsQuery = SpanQuery

/** One value for each interval of a span of time. */
export type IntervalsQuery = SpanQuery & {
  /** Length of an interval: `30s`, `5m`, `1h`, `1d`. */
  readonly every: string
  /** How its values become one; `mean` unless told. */
  readonly fn?: 'mean' | 'min' | 'max' | 'sum' | 'count'
}

export type AnyQuery = ReadingsQuery | IntervalsQuery

export type CoverageQuery = PlacesQuery & {
  /** H3 resolution of the cells that are counted, 0 to 9. */
  readonly resolution?: number
  readonly quantity?: string | readonly string[]
}

type Value = string | number | readonly (string | number)[] | undefined

/** Parameters in an address; lists are written with commas, and what is undefined is left out. */
export const searchOf = (parameters: Readonly<Record<string, Value>>): URLSearchParams => {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined) search.set(name, typeof value === 'object' ? value.join(',') : `${value}`)
  return search
}

const msOf = (name: 'from' | 'to', time: Time, hubMs: number): number => {
  const parsed = parseTime(typeof time === 'string' ? time : `${Number(time)}`)
  if (!parsed.ok) throw new TypeError(`${name} ${parsed.detail}`)
  return resolveTime(parsed.time, hubMs)
}

const defaultSpanMs = 3_600_000

/** The parameters of a query, its times fixed by the hub's clock: quote, purchase and later pages are about the same. */
export const fixedSearch = (query: AnyQuery, hubMs: number): URLSearchParams => {
  const { from, to, minQuality, ...rest } = query
  const toMs = to === undefined ? hubMs : msOf('to', to, hubMs)
  const fromMs = from === undefined ? Math.max(0, toMs - defaultSpanMs) : msOf('from', from, hubMs)
  return searchOf({ ...rest, from: fromMs, to: toMs, min_quality: minQuality?.toFixed(6) })
}
