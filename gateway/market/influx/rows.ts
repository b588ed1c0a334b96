/** Rows on their way out: in which series, in which order, how many of them, what they cost, and of which readings they are. */
import type { PricedRow } from '../../sales/price.ts'
import type { ScoredSelection } from '../../store/store.ts'
import type { SelectStatement } from './influxql.ts'
import type { Cell, Series } from './json.ts'
import { type InfluxTag, measurement } from './names.ts'
import { type SensorTags, tagsKey } from './sensors.ts'
import { InfluxRefusal } from './token.ts'

/** What a row has of one station: so many values of a time (UTC ms, until `untilMs`); `score` where it is of one reading. */
export type Part = {
  readonly station: string
  readonly values: number
  readonly timeMs: number
  readonly untilMs: number
  readonly score?: number
}

/**
 * A row and what it is made of. One that only fills a gap has no parts of its own; where it shows what other rows say,
 * `filledFrom` has their parts, as these very arrays.
 */
export type MadeRow = {
  readonly timeMs: number
  readonly cells: readonly Cell[]
  readonly parts: readonly Part[]
  readonly filledFrom?: readonly (readonly Part[])[]
}

// Cells of one answer, gaps included: a hundred panels, and some 10 MB of text.
const mostCells = 500_000

/** Throws InfluxRefusal where so many rows and columns are more than one answer holds. */
export const checkCells = (rows: number, columns: number): void => {
  if (rows * columns > mostCells)
    throw new InfluxRefusal(
      `more than ${mostCells} values: take longer intervals, a shorter time, or fewer series or columns`,
    )
}

/** Rows of one series, ready in their order. */
export type Group = { readonly tags: SensorTags; readonly rows: readonly MadeRow[] }

/**
 * Stations and a span of UTC ms that hold what was given, and nothing of the same query that was not; of the
 * quantities that it asks for.
 */
export type Box = ScoredSelection & { readonly stations: readonly string[] }

/** What a SELECT gives. */
export type Selected = {
  readonly series: readonly Series[]
  readonly priced: readonly PricedRow[]
  /** Undefined where nothing was given, or not all of several stations. */
  readonly box: Box | undefined
}

/** In which series a sensor's rows are. */
export const groupKey = (tags: SensorTags, of: readonly InfluxTag[]): string => tagsKey(tags, of)

/** UTC ms, the end exclusive. */
type Span = { readonly fromMs: number; readonly toMs: number }

const boxOf = (parts: readonly Part[], span: Span, isCut: boolean): Box | undefined => {
  const stations = [...new Set(parts.map(({ station }) => station))].sort()
  // A box around parts of several stations would hold more of each than was given.
  if (stations.length === 0 || (isCut && stations.length > 1)) return undefined
  let [fromMs, toMs] = [Number.POSITIVE_INFINITY, 0]
  for (const { timeMs, untilMs } of parts) {
    fromMs = Math.min(fromMs, timeMs)
    toMs = Math.max(toMs, untilMs)
  }
  const box = { stations, fromMs: Math.max(fromMs, span.fromMs), toMs: Math.min(toMs, span.toMs) }
  return box.fromMs < box.toMs ? box : undefined
}

/** Cuts the rows of groups as the statement says, and prices what is left. `span` is the statement's; `nowMs` is when it is given. */
export const selectedOf = (
  statement: SelectStatement,
  columns: readonly string[],
  groups: readonly Group[],
  span: Span,
  nowMs: number,
): Selected => {
  const { groupTags, limit, offset } = statement
  const ordered = groups
    .map((group) => ({ group, key: groupKey(group.tags, groupTags) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ group }) => group)
  const given = ordered
    .map(({ tags, rows }) => ({
      tags,
      rows: rows.slice(offset, limit === undefined ? undefined : offset + limit),
    }))
    .filter(({ rows }) => rows.length > 0)
  // As in InfluxDB, the order of rows is that of the series too.
  if (statement.descending) given.reverse()
  const count = (of: readonly Group[]) => of.reduce((sum, { rows }) => sum + rows.length, 0)
  // Rows that were cut off are paid too where those that are left repeat them: each once.
  const shown = new Set(
    given.flatMap(({ rows }) => rows.flatMap(({ parts, filledFrom = [] }) => [parts, ...filledFrom])),
  )
  const parts = [...shown].flat()
  return {
    series: given.map(({ tags, rows }) => ({
      name: measurement,
      ...(groupTags.length === 0
        ? {}
        : { tags: Object.fromEntries(groupTags.map((tag) => [tag, tags[tag]])) }),
      columns,
      rows,
    })),
    priced: parts.map(({ station, values, timeMs, score }) => ({
      station,
      values,
      ageMs: nowMs - timeMs,
      ...(score === undefined ? {} : { score }),
    })),
    // What comes after this is not given, whatever was asked for.
    box: boxOf(parts, { ...span, toMs: Math.min(span.toMs, nowMs) }, count(given) < count(groups)),
  }
}
