/** What an expression of $filter is for one entity. Paths can lead to several values: a comparison holds if it does for any. */
import { fault, Problem } from '../problem.ts'
import type { Expression, FunctionName, Operator } from './expression.ts'
import { distance, intersects, isWithin } from './geometry.ts'
import { invalidOption } from './refusals.ts'
import type { Span, Value } from './values.ts'

/** Where paths lead: all values there; `null` stands for a property that is not there. */
export type Lookup = (path: readonly string[]) => readonly Value[]

/** How much work is left to one request. */
export type Work = { spend(steps: number): void }

/** So many steps of evaluation, and then a Problem: a filter over the whole network takes some hundred thousand. */
export const openWork = (most: number): Work => {
  let left = most
  return {
    spend: (steps) => {
      left -= steps
      if (left >= 0) return
      const detail = 'looks at more than one answer may; name a station, or leave links to many out'
      throw new Problem(
        fault('query-too-large', `$filter ${detail}`, { fields: [{ name: '$filter', detail }] }),
      )
    },
  }
}

// Two links to many beside each other; more than this is no honest question.
const mostPairs = 10_000

const isSpan = (value: Value): value is Span => typeof value === 'object' && value?.kind === 'span'

const compareSpans = (name: Operator, a: Span, b: Span): boolean => {
  switch (name) {
    case 'lt':
      return a.toMs < b.fromMs
    case 'le':
      return a.toMs <= b.fromMs || (a.fromMs === b.fromMs && a.toMs === b.toMs)
    case 'gt':
      return a.fromMs > b.toMs
    case 'ge':
      return a.fromMs >= b.toMs || (a.fromMs === b.fromMs && a.toMs === b.toMs)
    default: {
      const same =
        a.fromMs === a.toMs || b.fromMs === b.toMs
          ? Math.max(a.fromMs, b.fromMs) <= Math.min(a.toMs, b.toMs)
          : a.fromMs === b.fromMs && a.toMs === b.toMs
      return name === 'ne' ? !same : same
    }
  }
}

/** A moment is equal to a span that it lies in, and before one that begins later. Unlike kinds are not equal, no more. */
export const compareValues = (name: Operator, a: Value, b: Value): boolean => {
  if (isSpan(a) && isSpan(b)) return compareSpans(name, a, b)
  if (typeof a === 'object' && typeof b === 'object' && a?.kind === 'length' && b?.kind === 'length')
    return compareValues(name, a.ms, b.ms)
  if (name === 'eq') return a === b
  if (name === 'ne') return a !== b
  if (typeof a !== typeof b || (typeof a !== 'number' && typeof a !== 'string')) return false
  const [left, right] = [a, b] as [number, number]
  switch (name) {
    case 'lt':
      return left < right
    case 'le':
      return left <= right
    case 'gt':
      return left > right
    default:
      return left >= right
  }
}

const shifted = (span: Span, ms: number): Span => ({
  kind: 'span',
  fromMs: span.fromMs + ms,
  toMs: span.toMs + ms,
})

const calculate = (name: Operator, a: Value, b: Value): Value => {
  const sign = name === 'sub' ? -1 : 1
  if (isSpan(a) && (name === 'add' || name === 'sub') && typeof b === 'object' && b?.kind === 'length')
    return shifted(a, sign * b.ms)
  if (isSpan(a) && isSpan(b) && name === 'sub') return { kind: 'length', ms: a.fromMs - b.fromMs }
  if (typeof a !== 'number' || typeof b !== 'number') return null
  switch (name) {
    case 'add':
      return a + b
    case 'sub':
      return a - b
    case 'mul':
      return a * b
    case 'div':
      return b === 0 ? null : a / b
    default:
      return b === 0 ? null : a % b
  }
}

type Worked = (nowMs: number, ...given: readonly Value[]) => Value

const ofTexts =
  (work: (...texts: string[]) => Value): Worked =>
  (_, ...given) =>
    given.every((value) => typeof value === 'string') ? work(...(given as string[])) : null

const ofNumber =
  (work: (value: number) => number): Worked =>
  (_, value) =>
    typeof value === 'number' ? work(value) : null

const ofTime =
  (part: (date: Date) => number): Worked =>
  (_, value = null) =>
    isSpan(value) ? part(new Date(value.fromMs)) : null

const ofPlaces =
  (work: (...places: Parameters<typeof distance>) => Value): Worked =>
  (_, a = null, b = null) =>
    typeof a === 'object' && typeof b === 'object' && a?.kind === 'place' && b?.kind === 'place'
      ? work(a.geometry, b.geometry)
      : null

const worked: Readonly<Record<FunctionName, Worked>> = {
  substringof: ofTexts((part, whole) => whole!.includes(part!)),
  contains: ofTexts((whole, part) => whole!.includes(part!)),
  startswith: ofTexts((whole, part) => whole!.startsWith(part!)),
  endswith: ofTexts((whole, part) => whole!.endsWith(part!)),
  length: ofTexts((text) => text!.length),
  indexof: ofTexts((whole, part) => whole!.indexOf(part!)),
  substring: (_, text, from, length) =>
    typeof text !== 'string' || typeof from !== 'number'
      ? null
      : text.substring(from, typeof length === 'number' ? from + length : undefined),
  tolower: ofTexts((text) => text!.toLowerCase()),
  toupper: ofTexts((text) => text!.toUpperCase()),
  trim: ofTexts((text) => text!.trim()),
  concat: ofTexts((a, b) => `${a}${b}`.slice(0, 1000)),
  year: ofTime((date) => date.getUTCFullYear()),
  month: ofTime((date) => date.getUTCMonth() + 1),
  day: ofTime((date) => date.getUTCDate()),
  hour: ofTime((date) => date.getUTCHours()),
  minute: ofTime((date) => date.getUTCMinutes()),
  second: ofTime((date) => date.getUTCSeconds()),
  now: (nowMs) => ({ kind: 'span', fromMs: nowMs, toMs: nowMs }),
  round: ofNumber((value) => Math.sign(value) * Math.round(Math.abs(value))),
  floor: ofNumber(Math.floor),
  ceiling: ofNumber(Math.ceil),
  'geo.distance': ofPlaces(distance),
  'geo.intersects': ofPlaces(intersects),
  st_intersects: ofPlaces(intersects),
  st_disjoint: ofPlaces((a, b) => !intersects(a, b)),
  st_within: ofPlaces(isWithin),
}

/** All combinations of one value from each list. */
const combined = (lists: readonly (readonly Value[])[]): Value[][] => {
  if (lists.reduce((product, { length }) => product * length, 1) > mostPairs)
    throw invalidOption('$filter', 'combines several links to many; name one of them by its id')
  return lists.reduce<Value[][]>(
    (all, list) => all.flatMap((before) => list.map((value) => [...before, value])),
    [[]],
  )
}

const isLogic = (name: Operator): boolean => name === 'and' || name === 'or'
const isComparison = (name: Operator): boolean => ['eq', 'ne', 'gt', 'ge', 'lt', 'le'].includes(name)

/** All values of an expression. `nowMs` (UTC) is what now() is. */
export const evaluate = (
  expression: Expression,
  lookup: Lookup,
  nowMs: number,
  work: Work,
): readonly Value[] => {
  work.spend(1)
  const of = (inner: Expression) => evaluate(inner, lookup, nowMs, work)
  const holds = (inner: Expression): boolean => of(inner).includes(true)
  switch (expression.kind) {
    case 'value':
      return [expression.value]
    case 'path':
      return lookup(expression.path)
    case 'not':
      return [!holds(expression.of)]
    case 'call': {
      const lists = combined(expression.given.map(of))
      work.spend(lists.length)
      return lists.map((given) => worked[expression.name as FunctionName](nowMs, ...given))
    }
    case 'operator': {
      const { name, left, right } = expression
      if (isLogic(name)) {
        // Both sides always, so that how much work it is tells nothing of values that are not paid yet.
        const [one, other] = [holds(left), holds(right)]
        return [name === 'and' ? one && other : one || other]
      }
      const pairs = combined([of(left), of(right)])
      work.spend(pairs.length)
      if (isComparison(name)) return [pairs.some(([a, b]) => compareValues(name, a!, b!))]
      return pairs.map(([a, b]) => calculate(name, a!, b!))
    }
  }
}

/** Whether an expression holds for an entity. */
export const isTrue = (...asked: Parameters<typeof evaluate>): boolean => evaluate(...asked).includes(true)
