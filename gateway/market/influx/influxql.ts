/** What of InfluxQL (1.x) is answered, as values: SELECT over one measurement, and the SHOW statements of a query builder. */
import type { InfluxTag } from './names.ts'

/** Functions of a SELECT; the first five as intervals of the query core, the others pick a reading. */
export const selectFunctions = ['mean', 'sum', 'count', 'min', 'max', 'first', 'last'] as const
export type SelectFunction = (typeof selectFunctions)[number]

/** One column of a SELECT; `name` as it is called in the answer, where it is given. */
export type SelectColumn =
  | { readonly kind: 'all' }
  | { readonly kind: 'time'; readonly name?: string }
  | { readonly kind: 'plain'; readonly field: string; readonly name?: string }
  | { readonly kind: 'call'; readonly fn: SelectFunction; readonly field: string; readonly name?: string }

/** A condition on one tag; `text` is the same for the same condition. */
export type TagTest = {
  readonly kind: 'tag'
  readonly tag: InfluxTag
  readonly text: string
  readonly matches: (value: string) => boolean
}

/** Conditions on tags, as a tree. */
export type TagCondition = { readonly kind: 'and' | 'or'; readonly of: readonly TagCondition[] } | TagTest

/** What WHERE says. Times are UTC ms, `fromMs` inclusive, `toMs` exclusive; undefined where nothing is said. */
export type Where = {
  readonly fromMs: number | undefined
  readonly toMs: number | undefined
  readonly minScore: number | undefined
  readonly tags: TagCondition | undefined
}

/** What an empty interval gets. */
export type Fill = 'null' | 'none' | 'previous' | 'linear' | number

/** A name after FROM, with database and retention policy where they are given. */
export type Source = { readonly database?: string; readonly policy?: string; readonly measurement: string }

/** How many rows of each series, and how many series; undefined where nothing is said. */
export type Bounds = {
  readonly limit: number | undefined
  readonly offset: number
  readonly seriesLimit: number | undefined
  readonly seriesOffset: number
}

export type SelectStatement = Bounds & {
  readonly kind: 'select'
  readonly columns: readonly SelectColumn[]
  readonly source: Source
  readonly where: Where
  /** Intervals in ms; `offsetMs` is where the first one after 1970 begins. */
  readonly interval?: { readonly everyMs: number; readonly offsetMs: number }
  readonly groupTags: readonly InfluxTag[]
  readonly fill: Fill
  readonly descending: boolean
}

export const showKinds = [
  'databases',
  'retention policies',
  'measurements',
  'tag keys',
  'tag values',
  'field keys',
  'series',
] as const
export type ShowKind = (typeof showKinds)[number]

export type ShowStatement = Pick<Bounds, 'limit' | 'offset'> & {
  readonly kind: 'show'
  readonly what: ShowKind
  readonly database?: string
  readonly source?: Source
  readonly where: Where
  /** Which measurements, or of which tag the values. */
  readonly names: (name: string) => boolean
}

export type Statement = SelectStatement | ShowStatement
