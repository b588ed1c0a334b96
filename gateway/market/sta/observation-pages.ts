/** Reads observations page by page, and counts them, within what one request may look at. */
import type { Anchors } from '../../anchor/anchor.ts'
import { quantityNamed } from '../../reading/quantity.ts'
import type { PricedRow } from '../../sales/price.ts'
import type { Position, Selection, Store } from '../../store/store.ts'
import type { Gate } from '../gate.ts'
import { fault, Problem } from '../problem.ts'
import { proofsOf } from '../proof.ts'
import { maxSpanMs } from '../query.ts'
import { readingRow } from '../row.ts'
import type { Catalogue } from './catalogue.ts'
import { type Observation, observationOf } from './observation.ts'
import { type ObservationQuery, selectionOf } from './observation-query.ts'
import { encodeToken, type Mark, type Token } from './token.ts'

/** An observation as its price sees it, and which one it is. */
export type Sold = PricedRow & Pick<Observation['key'], 'timeMs' | 'sensor' | 'quantity'>

/** What one request may look at, and what of it is sold: counted down and gathered over all its parts. */
export type Desk = {
  readonly store: Store
  readonly anchors: Anchors
  readonly gate: Gate
  readonly catalogue: Catalogue
  /** UTC ms. */
  readonly nowMs: number
  /**
   * Whether a question about values is still to be paid: then all of its span is looked at, so that its price tells nothing
   * of the answer.
   */
  readonly mustLookAtAll: boolean
  /** Readings that may still be looked at, and times that the store may still be asked. */
  readings: number
  questions: number
  /** By id of the observation, so that one that is given twice is sold once. */
  readonly sold: Map<string, Sold>
}

export const mostReadings = 50_000
export const mostQuestions = 1_000

// A store reads an hour of a sensor whole, however little of it is asked for: larger pages read it less often.
const storePage = 5_000

const tooLarge = (name: string, detail: string): Problem =>
  new Problem(fault('query-too-large', `${name} ${detail}`, { fields: [{ name, detail }] }))

/** Notes an observation as sold: one that is given, or whose value was looked at for the asker. */
export const sell = (desk: Desk, { id, key, result, score }: Observation): void => {
  const { station, sensor, timeMs, quantity } = key
  const values = result === null ? 0 : 1
  desk.sold.set(id, { station, sensor, timeMs, quantity, values, ageMs: desk.nowMs - timeMs, score })
}

type Stretch = { readonly fromMs: number; readonly toMs: number; readonly start?: Mark }

/** Gives observations in order; those behind `start` where given. The visitor says when it has enough. */
const walk = async (
  desk: Desk,
  query: ObservationQuery,
  { fromMs, toMs, start }: Stretch,
  atFirst: number,
  visit: (observation: Observation) => 'more' | 'enough',
): Promise<void> => {
  const { store, gate, anchors, catalogue } = desk
  const { streams, order, isWanted, looksAtValues } = query
  if (fromMs >= toMs || (streams !== 'all' && streams.size === 0)) return
  const proof = proofsOf(anchors)
  const isDescending = order === 'descending'
  const selection = selectionOf(query, fromMs, toMs)
  // The reading of the mark comes again: it can have more quantities behind it.
  let after: Position | undefined = start && { ...start, place: start.place + (isDescending ? 1 : -1) }
  let size = Math.min(storePage, Math.max(1, atFirst))
  for (;;) {
    if (desk.questions-- <= 0)
      throw tooLarge('$expand', `asks for observations ${mostQuestions} times; lower $top around it`)
    const page = await gate(() => store.readings(selection, size, after, order))
    for (const reading of page) {
      if (desk.readings-- <= 0)
        throw tooLarge(
          '$filter',
          `looks at more than ${mostReadings} readings; name a Datastream, or less time by phenomenonTime`,
        )
      const { timeMs, station, sensor, seq, place } = reading
      after = { timeMs, station, sensor, seq, place }
      const row = readingRow(reading, undefined, proof(station, seq))
      if (row === undefined) continue
      const isStart =
        start !== undefined && seq === start.seq && place === start.place && station === start.station
      const names = Object.keys(row.values)
      for (const name of isDescending ? names.reverse() : names) {
        const quantity = quantityNamed(name)!
        if (isStart && (isDescending ? quantity.code >= start.code : quantity.code <= start.code)) continue
        const observation = observationOf(row, timeMs, quantity, catalogue.profileOf(station))
        if (streams !== 'all' && !streams.has(observation.stream)) continue
        if (looksAtValues) sell(desk, observation)
        if (isWanted?.(observation) === false) continue
        if (visit(observation) === 'enough') return
      }
    }
    if (page.length < size) return
    size = storePage
  }
}

export type ObservationPage = {
  readonly observations: readonly Observation[]
  readonly count?: number
  /** Where there are more. */
  readonly next?: string
}

/** The part of a span that one page looks at, when the span is longer than one query may be; from the start of the page on. */
const stretchOf = (desk: Desk, query: ObservationQuery, token: Token | undefined) => {
  const { order } = query
  const mark = token !== undefined && 'mark' in token ? token.mark : undefined
  const edge = token === undefined ? undefined : 'mark' in token ? token.mark.timeMs : token.edgeMs
  const { firstMs, lastMs } = desk.catalogue.reachOf(query.streams)
  const start = mark === undefined ? {} : { start: mark }
  if (order === 'ascending') {
    const fromMs = Math.max(query.fromMs, edge ?? 0)
    const toMs = Math.min(query.toMs, Math.max(fromMs, firstMs) + maxSpanMs)
    return { fromMs, toMs, ...start, beyond: toMs < query.toMs && toMs <= lastMs ? toMs : undefined }
  }
  // The mark's own millisecond belongs to it, an edge does not.
  const toMs = Math.min(query.toMs, edge === undefined ? query.toMs : mark === undefined ? edge : edge + 1)
  const fromMs = Math.max(query.fromMs, Math.min(toMs, lastMs + 1) - maxSpanMs)
  return { fromMs, toMs, ...start, beyond: fromMs > query.fromMs && fromMs > firstMs ? fromMs : undefined }
}

/** Refuses a question about all of a span that is longer than one query may be. */
const refuseLong = (desk: Desk, { fromMs, toMs, streams }: ObservationQuery, option: string): void => {
  const { firstMs } = desk.catalogue.reachOf(streams)
  if (toMs - Math.max(fromMs, firstMs) > maxSpanMs)
    throw tooLarge(option, 'looks at 366 days at most; name less time by phenomenonTime')
}

/**
 * A page of observations, and their number where `count` asks for it. What is given is noted as sold. `sale` is what pays
 * for the pages behind it, where one does.
 */
export const observationPage = async (
  desk: Desk,
  query: ObservationQuery,
  { top, skip, count }: { readonly top: number; readonly skip: number; readonly count: boolean },
  token: Token | undefined,
  sale: string | undefined,
): Promise<ObservationPage> => {
  const { looksAtValues } = query
  const looksAtAll = looksAtValues && desk.mustLookAtAll
  if (looksAtAll) refuseLong(desk, query, '$filter')
  const observations: Observation[] = []
  let next: Token | undefined
  if (top > 0) {
    const { beyond, ...stretch } = stretchOf(desk, query, token)
    let left = skip
    let more = false
    await walk(desk, query, stretch, looksAtValues ? storePage : skip + top + 1, (observation) => {
      if (left-- > 0) return 'more'
      if (observations.length < top) observations.push(observation)
      else {
        more = true
        if (!looksAtAll) return 'enough'
      }
      return 'more'
    })
    const last = observations.at(-1)
    const asked = {
      askedMs: token?.askedMs ?? desk.nowMs,
      ...(looksAtValues && sale !== undefined ? { sale } : {}),
    }
    if (more) next = { ...asked, mark: { ...last!.key, code: last!.key.quantity.code } }
    else if (beyond !== undefined) next = { ...asked, edgeMs: beyond }
    for (const observation of observations) sell(desk, observation)
  }
  let counted: number | undefined
  if (count) {
    refuseLong(desk, query, '$count')
    counted = 0
    await walk(desk, query, query, storePage, () => {
      counted!++
      return 'more'
    })
  }
  return {
    observations,
    ...(counted === undefined ? {} : { count: counted }),
    ...(next === undefined ? {} : { next: encodeToken(next) }),
  }
}

/** One observation by its id; undefined where there is none. Noted as sold where its value is given. */
export const oneObservation = async (
  desk: Desk,
  key: Observation['key'],
): Promise<Observation | undefined> => {
  const { timeMs, station, sensor, seq, place, quantity } = key
  const selection: Selection = {
    stations: [station],
    sensor,
    quantities: [quantity.code],
    fromMs: timeMs,
    toMs: timeMs + 1,
  }
  const after = { timeMs, station, sensor, seq, place: place - 1 }
  const [reading] = await desk.gate(() => desk.store.readings(selection, 1, after))
  if (reading === undefined || reading.seq !== seq || reading.place !== place) return undefined
  const row = readingRow(reading, new Set([quantity.code]), proofsOf(desk.anchors)(station, seq))
  return row && observationOf(row, timeMs, quantity, desk.catalogue.profileOf(station))
}
