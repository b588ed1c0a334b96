/**
 * The query core that every door calls: parse (the schemas below), plan (what it will cost, refused if too much),
 * run (rows). It knows nothing of HTTP; what a query costs in money belongs between plan and run.
 */
import { z } from '@hono/zod-openapi'
import type { Anchors } from '../anchor/anchor.ts'
import { quantities } from '../reading/quantity.ts'
import type { Order, Position, RollupFunction, Selection, Store, StoredReading } from '../store/store.ts'
import type { StationsFound } from './area.ts'
import { decodeCursor, encodeCursor, saleInCursor } from './cursor.ts'
import { runIntervals } from './intervals.ts'
import { defaultRows, parameters, queryOf } from './parameters.ts'
import { whereOf } from './place.ts'
import { type Fault, fault, Problem } from './problem.ts'
import { proofsOf } from './proof.ts'
import { type BucketRow, type ReadingRow, readingRow } from './row.ts'
import { durationText, resolveTime, type TimeRef, timeText } from './time.ts'

const { stations: station, bbox, h3, near, sensor, quantity } = parameters
const { from, to, every, fn, min_quality, limit, cursor, format, last_event_id } = parameters

/** Which stations, of them which sensors, of these which quantities. */
const subject = { station, bbox, h3, near, sensor, quantity }

const numbersAsText = (body: object): object =>
  Object.fromEntries(
    Object.entries(body).map(([name, value]) => [name, typeof value === 'number' ? `${value}` : value]),
  )

/** What can be asked of readings, by parameter name; values as text or, where repeated, lists of text. */
export const readingsQuery = queryOf({
  ...subject,
  from,
  to,
  every,
  fn,
  min_quality,
  limit,
  cursor,
  format,
})
/** What an export is made of: the same, as members of a JSON object; numbers may be numbers there. */
export const exportQuery = z.preprocess(
  (body) => (typeof body === 'object' && body !== null && !Array.isArray(body) ? numbersAsText(body) : body),
  queryOf({ ...subject, from, to, every, fn, min_quality, format }),
)
export const latestQuery = queryOf({ ...subject, format })
export const streamQuery = queryOf({ ...subject, min_quality, last_event_id })
export const scopeQuery = queryOf({ ...subject, from, to })

export type ReadingsQuery = z.output<typeof readingsQuery>
export type LatestQuery = z.output<typeof latestQuery>
export type StreamQuery = z.output<typeof streamQuery>
export type ScopeQuery = z.output<typeof scopeQuery>

const defaultSpanMs = 3_600_000

// What one query may touch: a year and a leap day of readings, or 20,000 intervals in time.
export const maxSpanMs = 366 * 86_400_000
const maxIntervals = 20_000

// Small enough that others are served between two pages of a large answer.
const storePage = 1000

/** A query that may be run: resolved times, bounded cost. `closed` says that its span is fixed and in the past. */
export type Plan = {
  readonly selection: Selection
  readonly limit: number
  readonly rollup?: { readonly everyMs: number; readonly fn: RollupFunction }
  readonly after?: Position
  /** Of single readings; oldest first where nothing is said. */
  readonly order?: Order
  readonly closed: boolean
  /** Readings scored below this (0..1) are left out. */
  readonly minScore?: number
  /** The sale that pays for this page and those after it. */
  readonly sale?: string
  /** The span that was asked for, where less of it is read. */
  readonly span?: { readonly fromMs: number; readonly toMs: number }
  /** What was asked, as one string: the same for the same request at any time. */
  readonly text: string
  /** What was asked and the stations it was found to mean: cursors, offers and receipts are bound to it. */
  readonly bound: string
}

const invalid = (name: string, detail: string): Fault =>
  fault('invalid-query', `${name} ${detail}`, { fields: [{ name, detail }] })

const tooLarge = (name: string, detail: string): Fault =>
  fault('query-too-large', detail, { fields: [{ name, detail }] })

const isFixed = (time: TimeRef | undefined): boolean => time !== undefined && 'ms' in time

/** The part of a query that names readings, with its span in UTC ms. `stations` are those it was found to mean. */
export const planScope = (
  query: ScopeQuery,
  nowMs: number,
  stations: readonly string[] | undefined,
): { readonly ok: true; readonly selection: Selection } | Fault => {
  const toMs = query.to === undefined ? nowMs : resolveTime(query.to, nowMs)
  const fromMs = query.from === undefined ? Math.max(0, toMs - defaultSpanMs) : resolveTime(query.from, nowMs)
  if (fromMs >= toMs)
    return invalid('from', `is ${timeText(fromMs)}, which is not before "to", ${timeText(toMs)}`)
  if (toMs - fromMs > maxSpanMs)
    return tooLarge('from', `"from" to "to" may span at most ${durationText(maxSpanMs)}; move "from" nearer`)
  return {
    ok: true,
    selection: {
      ...(stations === undefined ? {} : { stations }),
      ...(query.sensor === undefined ? {} : { sensor: query.sensor }),
      ...(query.quantity === undefined ? {} : { quantities: query.quantity }),
      fromMs,
      toMs,
    },
  }
}

/**
 * Resolves times, stations and cursor, and bounds the cost. `nowMs` is UTC. `find` gives the stations that the query
 * means: for a later page, whose cursor names the sale that pays for it, those that were sold.
 */
export const planReadings = (
  query: ReadingsQuery,
  nowMs: number,
  find: (sale: string | undefined) => StationsFound,
): { readonly ok: true; readonly plan: Plan } | Fault => {
  if (query.fn !== undefined && query.every === undefined)
    return invalid('fn', 'needs "every": the interval whose values it turns into one')
  const rollup = query.every === undefined ? undefined : { everyMs: query.every, fn: query.fn ?? 'mean' }
  const text = JSON.stringify([
    query.station ?? null,
    whereOf(query) ?? null,
    query.sensor ?? null,
    query.quantity ?? null,
    query.from ?? null,
    query.to ?? null,
    rollup ?? null,
    query.min_quality ?? null,
  ])
  const found = find(query.cursor === undefined ? undefined : saleInCursor(query.cursor))
  if (!found.ok) return found
  const { stations } = found
  const bound = JSON.stringify([text, stations ?? null])
  const resumed = query.cursor === undefined ? undefined : decodeCursor(query.cursor, bound)
  if (query.cursor !== undefined && resumed === undefined)
    return invalid(
      'cursor',
      whereOf(query) === undefined
        ? 'belongs to another query; keep every parameter but "limit" as on the first page'
        : 'belongs to another query, or other stations lie there by now; keep every parameter but "limit", or begin anew',
    )
  const scope = planScope(
    resumed === undefined ? query : { ...query, from: { ms: resumed.fromMs }, to: { ms: resumed.toMs } },
    nowMs,
    stations,
  )
  if (!scope.ok) return scope
  const { fromMs, toMs } = scope.selection
  if (rollup !== undefined && (toMs - fromMs) / rollup.everyMs > maxIntervals) {
    const least = durationText(Math.ceil((toMs - fromMs) / maxIntervals / 1000) * 1000)
    return tooLarge(
      'every',
      `this span has more than ${maxIntervals} intervals of ${durationText(rollup.everyMs)}; take "every" of at least ${least}, or move "from" nearer to "to"`,
    )
  }
  return {
    ok: true,
    plan: {
      selection: scope.selection,
      limit: query.limit ?? defaultRows,
      ...(rollup === undefined ? {} : { rollup }),
      ...(query.min_quality === undefined ? {} : { minScore: query.min_quality }),
      ...(resumed === undefined ? {} : { after: resumed.after }),
      ...(resumed?.sale === undefined ? {} : { sale: resumed.sale }),
      closed: isFixed(query.from) && isFixed(query.to) && toMs <= nowMs,
      text,
      bound,
    },
  }
}

/** A query with its times resolved, in one string: what offers and receipts are bound to. */
export const queryText = ({ bound, selection: { fromMs, toMs } }: Plan): string =>
  `readings ${bound} ${fromMs} ${toMs}`

/** The same up to a time (UTC ms): what is measured later is another query. */
export const planCut = (plan: Plan, timeMs: number): Plan => {
  const { selection } = plan
  const { fromMs, toMs } = selection
  return { ...plan, selection: { ...selection, toMs: Math.max(fromMs + 1, Math.min(toMs, timeMs)) } }
}

/** The same of what there was at a time (UTC ms): what came after a sale is not paid by it. */
export const planUntil = (plan: Plan, timeMs: number): Plan => {
  const { fromMs, toMs } = plan.selection
  return { ...planCut(plan, timeMs), span: { fromMs, toMs } }
}

type Spanned = { readonly fromMs: number; readonly toMs: number; readonly next: string | null }

/** Rows, and a cursor where there are more. `quantities` are the codes that the rows may hold. */
export type Answer =
  | ({
      readonly kind: 'readings'
      readonly rows: readonly ReadingRow[]
      /** When others were heard that are not good enough to be among the rows. */
      readonly poor?: readonly Pick<StoredReading, 'station' | 'sensor' | 'timeMs'>[]
    } & Spanned)
  | { readonly kind: 'latest'; readonly rows: readonly ReadingRow[] }
  | ({
      readonly kind: 'buckets'
      readonly rows: readonly BucketRow[]
      readonly everyMs: number
      readonly fn: RollupFunction
    } & Spanned)

/** Where rows come from. */
export type Sources = { readonly store: Store; readonly anchors: Anchors }

const positionOf = ({ timeMs, station, sensor, seq, place }: StoredReading): Position => ({
  timeMs,
  station,
  sensor,
  seq,
  place,
})

const wantedCodes = (selection: Pick<Selection, 'quantities'>): ReadonlySet<number> | undefined =>
  selection.quantities === undefined ? undefined : new Set(selection.quantities)

const spanOf = (plan: Plan, last: Position | undefined): Spanned => {
  const { fromMs, toMs } = plan.span ?? plan.selection
  const { sale } = plan
  const next =
    last === undefined
      ? null
      : encodeCursor({ fromMs, toMs, after: last, ...(sale === undefined ? {} : { sale }) }, plan.bound)
  return { fromMs, toMs, next }
}

const runReadings = async (plan: Plan, { store, anchors }: Sources): Promise<Answer> => {
  const { selection, limit } = plan
  const wanted = wantedCodes(selection)
  const proof = proofsOf(anchors)
  const rows: ReadingRow[] = []
  const poor: StoredReading[] = []
  let after = plan.after
  let read = 0
  let more = false
  // One reading beyond the limit tells whether there is a next page.
  while (read <= limit) {
    const asked = Math.min(storePage, limit + 1 - read)
    const page = await store.readings(selection, asked, after, plan.order)
    for (const reading of page) {
      if (read++ === limit) {
        more = true
        break
      }
      after = positionOf(reading)
      if (reading.score < (plan.minScore ?? 0)) {
        poor.push(reading)
        continue
      }
      const row = readingRow(reading, wanted, proof(reading.station, reading.seq))
      if (row !== undefined) rows.push(row)
    }
    if (page.length < asked) break
  }
  return { kind: 'readings', rows, poor, ...spanOf(plan, more ? after : undefined) }
}

const runRollup = async (
  plan: Plan,
  rollup: NonNullable<Plan['rollup']>,
  { store }: Sources,
): Promise<Answer> => {
  const page = await runIntervals(plan, rollup, store)
  if (!page.ok) throw new Problem(tooLarge('min_quality', page.detail))
  return { kind: 'buckets', rows: page.rows, ...rollup, ...spanOf(plan, page.last) }
}

/** The plan of the page behind an answer; undefined on the last. */
export const nextPlan = (plan: Plan, answer: Answer): Plan | undefined => {
  const cursor =
    answer.kind === 'latest' || answer.next === null ? undefined : decodeCursor(answer.next, plan.bound)
  return cursor && { ...plan, after: cursor.after }
}

/** Runs a plan. Throws StoreUnavailable where the store cannot answer now, and Problem where it would touch too much. */
export const run = (plan: Plan, sources: Sources): Promise<Answer> =>
  plan.rollup === undefined ? runReadings(plan, sources) : runRollup(plan, plan.rollup, sources)

/** The newest reading of each sensor; of every station where none are given. */
export const runLatest = async (
  { sensor, quantity }: Pick<LatestQuery, 'sensor' | 'quantity'>,
  stations: readonly string[] | undefined,
  { store, anchors }: Sources,
  maxSensors: number,
): Promise<
  { readonly ok: true; readonly answer: Answer; readonly selection: Partial<Selection> } | Fault
> => {
  const selection = {
    ...(stations === undefined ? {} : { stations }),
    ...(sensor === undefined ? {} : { sensor }),
    ...(quantity === undefined ? {} : { quantities: quantity }),
  }
  const latest = await store.latest(selection)
  if (latest.length > maxSensors)
    return tooLarge('station', `more than ${maxSensors} sensors match; name a station`)
  const proof = proofsOf(anchors)
  const wanted = wantedCodes(selection)
  const rows = latest.flatMap(
    (reading) => readingRow(reading, wanted, proof(reading.station, reading.seq)) ?? [],
  )
  return { ok: true, answer: { kind: 'latest', rows }, selection }
}

/** Names of the quantities that rows of the selection can hold, the same on every page, in the table's order. */
export const columnsOf = async (
  { stations, sensor, quantities: codes }: Partial<Selection>,
  answer: Answer,
  store: Store,
): Promise<string[]> => {
  if (codes !== undefined)
    return quantities.filter(({ code }) => codes.includes(code)).map(({ name }) => name)
  const summaries = await store.sensors(stations?.length === 1 ? stations[0] : undefined)
  const known = new Set(
    summaries
      .filter((one) => sensor === undefined || one.sensor === sensor)
      .filter((one) => stations === undefined || stations.includes(one.station))
      .flatMap((one) => one.quantities),
  )
  const named = new Set(answer.rows.flatMap((row) => Object.keys(row.values)))
  return quantities
    .filter((quantity) => !quantity.private && (known.has(quantity.code) || named.has(quantity.name)))
    .map(({ name }) => name)
}
