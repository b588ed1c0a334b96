/** What $filter and $orderby mean for observations: which streams, which span of time, and what is left to look at. */

import { quantityNamed } from '../../reading/quantity.ts'
import type { Order, Selection } from '../../store/store.ts'
import type { Catalogue, Entity } from './catalogue.ts'
import { evaluate, isTrue, type Lookup, type Work } from './evaluate.ts'
import { conjunctsOf, type Expression, type Operator, pathsOf } from './expression.ts'
import { parseObservationId } from './ids.ts'
import { checkPaths, ownValue, valuesAt } from './lookup.ts'
import type { Observation } from './observation.ts'
import type { Options, OrderKey } from './options.ts'
import { invalidOption, notOffered } from './refusals.ts'
import type { Span } from './values.ts'

/** `streams` by id, or all that there are. Times are UTC ms, `toMs` exclusive. */
export type ObservationQuery = {
  readonly streams: ReadonlyMap<string, Entity> | 'all'
  readonly fromMs: number
  readonly toMs: number
  readonly order: Order
  /** Whether an observation that is read is one that is asked for; undefined where every one is. */
  readonly isWanted?: (observation: Observation) => boolean
  /** Whether $filter asks about values or their quality: then an answer tells something of each that was looked at. */
  readonly looksAtValues: boolean
}

const timeNames = new Set(['phenomenonTime', 'resultTime'])
const valueNames = new Set(['result', 'resultQuality'])
const linkNames = new Set(['Datastream', 'FeatureOfInterest'])

/** Whether $filter asks about values of observations or their quality. */
export const asksAboutValues = ({ filter }: Pick<Options, 'filter'>): boolean =>
  filter !== undefined && [...pathsOf(filter)].some(([name]) => valueNames.has(name!))

const orderOf = (keys: readonly OrderKey[]): Order => {
  const isOffered = keys.every(
    ({ path, descending }) =>
      path.length === 1 &&
      ['phenomenonTime', 'resultTime', 'id', '@iot.id'].includes(path[0]!) &&
      descending === keys[0]!.descending,
  )
  if (!isOffered)
    throw notOffered(
      '$orderby',
      'orders Observations by phenomenonTime, resultTime or id, all asc or all desc',
    )
  return keys[0]?.descending ? 'descending' : 'ascending'
}

const turned: Partial<Record<Operator, Operator>> = { gt: 'lt', ge: 'le', lt: 'gt', le: 'ge', eq: 'eq' }

type Bounds = { fromMs: number; toMs: number }

/** Narrows bounds to those moments that compare so with a span. */
const narrow = (bounds: Bounds, name: Operator, { fromMs, toMs }: Span): void => {
  const from = { gt: toMs + 1, ge: toMs, eq: fromMs }[name as 'gt']
  const to = { lt: fromMs, le: fromMs + 1, eq: toMs + 1 }[name as 'lt']
  if (from !== undefined) bounds.fromMs = Math.max(bounds.fromMs, from)
  if (to !== undefined) bounds.toMs = Math.min(bounds.toMs, to)
}

/** The operator and the value of a comparison of a property with something fixed, as if the property stood on the left. */
const comparison = (
  expression: Expression,
  isProperty: (name: string) => boolean,
): { readonly name: Operator; readonly fixed: Expression } | undefined => {
  if (expression.kind !== 'operator') return undefined
  const name = turned[expression.name]
  if (name === undefined) return undefined
  const { left, right } = expression
  const isOne = (side: Expression) =>
    side.kind === 'path' && side.path.length === 1 && isProperty(side.path[0]!)
  const isFixed = (side: Expression) => pathsOf(side).next().done === true
  if (isOne(left) && isFixed(right)) return { name: expression.name, fixed: right }
  return isOne(right) && isFixed(left) ? { name, fixed: left } : undefined
}

/**
 * Plans observations of streams. `nowMs` (UTC) is when the first page was asked for: the span ends there, whatever $filter
 * says, so that pages come to an end, and that what came after a sale is not paid by it.
 */
export const planObservations = (
  catalogue: Catalogue,
  scope: readonly Entity[] | 'all',
  { filter, order }: Pick<Options, 'filter' | 'order'>,
  nowMs: number,
  work: Work,
): ObservationQuery => {
  if (filter !== undefined) checkPaths('$filter', 'Observations', filter)
  const bounds: Bounds = { fromMs: 0, toMs: Number.POSITIVE_INFINITY }
  let streams = scope
  const rest: Expression[] = []
  const keep = (wanted: (stream: Entity) => boolean): void => {
    streams = (streams === 'all' ? catalogue.all('Datastreams') : streams).filter(wanted)
  }
  const none: Lookup = () => []
  /** Values behind a stream's observations' links. */
  const behind =
    (stream: Entity): Lookup =>
    ([link, ...path]) => {
      if (link === 'Datastream') return valuesAt(catalogue, stream, path, work)
      return catalogue
        .within('FeaturesOfInterest', stream.key)
        .flatMap((there) => valuesAt(catalogue, there, path, work))
    }
  for (const conjunct of conjunctsOf(filter)) {
    const time = comparison(conjunct, (name) => timeNames.has(name))
    if (time !== undefined) {
      const [value = null] = evaluate(time.fixed, none, nowMs, work)
      if (typeof value !== 'object' || value?.kind !== 'span')
        throw invalidOption('$filter', 'compares a time with something else; times are 2026-11-21T10:00:00Z')
      narrow(bounds, time.name, value)
      continue
    }
    const paths = [...pathsOf(conjunct)]
    if (paths.every(([name]) => linkNames.has(name!))) {
      keep((stream) => isTrue(conjunct, behind(stream), nowMs, work))
      continue
    }
    const named = comparison(conjunct, (name) => name === 'id' || name === '@iot.id')
    if (named?.name === 'eq') {
      const [id] = evaluate(named.fixed, none, nowMs, work)
      const key = typeof id === 'string' ? parseObservationId(id) : undefined
      const from = key?.timeMs ?? 0
      narrow(bounds, 'eq', { kind: 'span', fromMs: from, toMs: key === undefined ? -1 : from })
    }
    rest.push(conjunct)
  }
  const byId = streams === 'all' ? streams : new Map(streams.map((stream) => [stream.id, stream]))
  const lookup =
    (observation: Observation): Lookup =>
    (path) => {
      if (!linkNames.has(path[0]!)) return [ownValue(observation.id, observation.body, path)]
      const stream =
        byId === 'all' ? catalogue.find('Datastreams', observation.stream) : byId.get(observation.stream)
      return stream === undefined ? [] : behind(stream)(path)
    }
  return {
    streams: byId,
    fromMs: bounds.fromMs,
    toMs: Math.min(bounds.toMs, nowMs),
    order: orderOf(order),
    looksAtValues: filter !== undefined && asksAboutValues({ filter }),
    ...(rest.length === 0
      ? {}
      : {
          isWanted: (observation: Observation) =>
            // Each of them always: see evaluate.ts.
            rest.map((one) => isTrue(one, lookup(observation), nowMs, work)).every(Boolean),
        }),
  }
}

// A store is asked for so many stations and quantities by name; of more, those not wanted are left out afterwards.
const mostNamed = 12

const only = <T>(values: ReadonlySet<T>): T | undefined => (values.size === 1 ? [...values][0] : undefined)

/** What a store is asked for: all that is wanted, and as little else as can be said in a selection. */
export const selectionOf = (
  { streams }: Pick<ObservationQuery, 'streams'>,
  fromMs: number,
  toMs: number,
): Selection => {
  if (streams === 'all') return { fromMs, toMs }
  const keys = [...streams.values()].map(({ key }) => key)
  const stations = new Set(keys.map((key) => key.station!))
  const sensor = only(new Set(keys.map((key) => key.sensor!)))
  const named = new Set(keys.map((key) => key.quantity!))
  return {
    ...(stations.size > mostNamed ? {} : { stations: [...stations] }),
    ...(sensor === undefined ? {} : { sensor }),
    ...(named.size > mostNamed ? {} : { quantities: [...named].map((name) => quantityNamed(name)!.code) }),
    fromMs,
    toMs,
  }
}
