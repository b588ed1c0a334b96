/** Expressions of $filter (OGC 18-088 s9.3.3.5, after OData 4.0 ABNF): what they are made of, and how text becomes one. */
import { fault, Problem } from '../problem.ts'
import { parseTime } from '../time.ts'
import { type Geometry, parseWkt } from './geometry.ts'

/** A span of time in UTC ms, ends included; of a moment both ends are the same. */
export type Span = { readonly kind: 'span'; readonly fromMs: number; readonly toMs: number }
export type Length = { readonly kind: 'length'; readonly ms: number }
export type Place = { readonly kind: 'place'; readonly geometry: Geometry }

/** What an expression's parts can be. */
export type Value = string | number | boolean | null | Span | Length | Place

export const comparisons = ['eq', 'ne', 'gt', 'ge', 'lt', 'le'] as const
export const sums = ['add', 'sub'] as const
export const products = ['mul', 'div', 'mod'] as const

export type Comparison = (typeof comparisons)[number]
export type Operator = 'and' | 'or' | Comparison | (typeof sums)[number] | (typeof products)[number]

/** A parsed expression. A path is as it was written: links first, a property and its members behind. */
export type Expression =
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'path'; readonly path: readonly string[] }
  | { readonly kind: 'not'; readonly of: Expression }
  | { readonly kind: 'call'; readonly name: string; readonly given: readonly Expression[] }
  | {
      readonly kind: 'operator'
      readonly name: Operator
      readonly left: Expression
      readonly right: Expression
    }

/** Functions that are worked out here, with how many things each takes. The standard's others are answered with 501. */
export const functions = {
  substringof: [2, 2],
  contains: [2, 2],
  startswith: [2, 2],
  endswith: [2, 2],
  length: [1, 1],
  indexof: [2, 2],
  substring: [2, 3],
  tolower: [1, 1],
  toupper: [1, 1],
  trim: [1, 1],
  concat: [2, 2],
  year: [1, 1],
  month: [1, 1],
  day: [1, 1],
  hour: [1, 1],
  minute: [1, 1],
  second: [1, 1],
  now: [0, 0],
  round: [1, 1],
  floor: [1, 1],
  ceiling: [1, 1],
  'geo.distance': [2, 2],
  'geo.intersects': [2, 2],
  st_intersects: [2, 2],
  st_disjoint: [2, 2],
  st_within: [2, 2],
} as const satisfies Record<string, readonly [least: number, most: number]>

export type FunctionName = keyof typeof functions

const standardFunctions = new Set([
  ...['fractionalseconds', 'date', 'time', 'totaloffsetminutes', 'mindatetime', 'maxdatetime', 'geo.length'],
  ...['st_equals', 'st_touches', 'st_overlaps', 'st_crosses', 'st_contains', 'st_relate'],
])

// What one expression may be; an address has some four thousand characters.
const mostTokens = 400
const mostDepth = 16
const mostPathParts = 8

type Token =
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'mark'; readonly text: '(' | ')' | ',' }

export const invalidOption = (name: string, detail: string): Problem =>
  new Problem(fault('invalid-query', `${name} ${detail}`, { fields: [{ name, detail }] }))

export const notOffered = (name: string, detail: string): Problem =>
  new Problem(fault('not-implemented', `${name} ${detail}`, { fields: [{ name, detail }] }))

const shown = (text: string): string => (text.length <= 40 ? text : `${text.slice(0, 40)}...`)

const moment = String.raw`\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:[Zz]|[+\- ]\d{2}:\d{2})?`

const patterns = {
  space: /\s+/y,
  time: new RegExp(`(${moment})(?:/(${moment}))?`, 'y'),
  place: /geography\s*'([^']*)'/iy,
  length: /duration\s*'([^']*)'/iy,
  text: /'((?:[^']|'')*)'/y,
  number: /-?\d{1,17}(?:\.\d{1,17})?(?:[eE][+-]?\d{1,3})?(?![\w.])/y,
  mark: /[(),]/y,
  word: /@?[A-Za-z_][A-Za-z0-9_.@]*(?:\/@?[A-Za-z_][A-Za-z0-9_.@]*)*/y,
} as const

/** UTC ms of a moment as it stands in an expression; one without an offset is UTC, seconds may be left out. */
export const momentMs = (text: string): number | undefined => {
  const whole = /T\d{2}:\d{2}(?![:\d])/i.test(text) ? text.replace(/(T\d{2}:\d{2})/i, '$1:00') : text
  const parsed = parseTime(/([Zz]|[+\- ]\d{2}:\d{2})$/.test(whole) ? whole : `${whole}Z`)
  return parsed.ok && 'ms' in parsed.time ? parsed.time.ms : undefined
}

const lengthPattern = /^P(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,8}(?:\.\d{1,3})?)S)?)?$/

/** Milliseconds of a length such as P1D or PT1H30M (ISO 8601, days and smaller). */
const lengthMs = (text: string): number | undefined => {
  const match = lengthPattern.exec(text)
  if (match === null || text === 'P' || text.endsWith('T')) return undefined
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ]
  return Math.round(days * 86_400_000 + hours * 3_600_000 + minutes * 60_000 + seconds * 1000)
}

const constants: Readonly<Record<string, boolean | null>> = { true: true, false: false, null: null }

const tokensOf = (text: string, option: string): Token[] => {
  const tokens: Token[] = []
  let at = 0
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const found = pattern.exec(text)
    if (found !== null) at = pattern.lastIndex
    return found
  }
  const bad = (what: string, piece: string): Problem => invalidOption(option, `${what}: ${shown(piece)}`)
  const time = (piece: string): number => {
    const ms = momentMs(piece)
    if (ms === undefined) throw bad('has a time that is none', piece)
    return ms
  }
  const next = (): Token | undefined => {
    if (match(patterns.space)) return undefined
    let found = match(patterns.time)
    if (found !== null) {
      const fromMs = time(found[1]!)
      const toMs = found[2] === undefined ? fromMs : time(found[2])
      return { kind: 'value', value: { kind: 'span', fromMs, toMs } }
    }
    found = match(patterns.place)
    if (found !== null) {
      const geometry = parseWkt(found[1]!)
      if (geometry === undefined)
        throw bad('takes POINT, LINESTRING, POLYGON or MULTIPOLYGON as well-known text', found[1]!)
      return { kind: 'value', value: { kind: 'place', geometry } }
    }
    found = match(patterns.length)
    if (found !== null) {
      const ms = lengthMs(found[1]!)
      if (ms === undefined) throw bad('takes lengths such as P1D or PT1H30M', found[1]!)
      return { kind: 'value', value: { kind: 'length', ms } }
    }
    found = match(patterns.text)
    if (found !== null) return { kind: 'value', value: found[1]!.replaceAll("''", "'") }
    found = match(patterns.number)
    if (found !== null) return { kind: 'value', value: Number(found[0]) }
    found = match(patterns.mark)
    if (found !== null) return { kind: 'mark', text: found[0] as '(' }
    found = match(patterns.word)
    if (found === null) throw bad('cannot be read from here on', text.slice(at))
    const word = found[0]
    return Object.hasOwn(constants, word)
      ? { kind: 'value', value: constants[word]! }
      : { kind: 'word', text: word }
  }
  while (at < text.length) {
    const token = next()
    if (token !== undefined) tokens.push(token)
    if (tokens.length > mostTokens) throw invalidOption(option, `has more than ${mostTokens} words`)
  }
  return tokens
}

// Weakest first: how operators bind.
const levels: readonly (readonly Operator[])[] = [['or'], ['and'], comparisons, sums, products]

/** The expression of a text; throws a Problem that names what cannot be read, or what is not offered. */
export const parseExpression = (text: string, option = '$filter'): Expression => {
  const tokens = tokensOf(text, option)
  let at = 0
  let depth = 0
  const peekWord = (): string | undefined => {
    const token = tokens[at]
    return token?.kind === 'word' ? token.text : undefined
  }
  const isMark = (mark: string): boolean => {
    const token = tokens[at]
    return token?.kind === 'mark' && token.text === mark
  }
  const take = (mark: '(' | ')' | ','): void => {
    if (!isMark(mark)) throw invalidOption(option, `lacks a "${mark}"`)
    at++
  }

  const call = (name: string): Expression => {
    if (!Object.hasOwn(functions, name)) {
      const detail = `has the function ${shown(name)}; worked out are ${Object.keys(functions).join(', ')}`
      throw standardFunctions.has(name) ? notOffered(option, detail) : invalidOption(option, detail)
    }
    take('(')
    const given: Expression[] = []
    if (!isMark(')')) {
      given.push(weakest())
      while (isMark(',')) {
        at++
        given.push(weakest())
      }
    }
    take(')')
    const [least, most] = functions[name as FunctionName]
    if (given.length < least || given.length > most)
      throw invalidOption(option, `gives ${name} ${given.length} things, and it takes ${least} to ${most}`)
    return { kind: 'call', name, given }
  }

  const primary = (): Expression => {
    const token = tokens[at]
    if (token === undefined) throw invalidOption(option, 'ends too early')
    if (token.kind === 'value') {
      at++
      return token
    }
    if (token.kind === 'mark') {
      take('(')
      const inner = weakest()
      take(')')
      return inner
    }
    at++
    if (token.text === 'not') return { kind: 'not', of: nested(primary) }
    if (isMark('(')) return call(token.text)
    const path = token.text.split('/')
    if (path.length > mostPathParts)
      throw invalidOption(option, `has a path of more than ${mostPathParts} parts`)
    return { kind: 'path', path }
  }

  const nested = (parse: () => Expression): Expression => {
    if (++depth > mostDepth) throw invalidOption(option, `is nested more than ${mostDepth} deep`)
    const parsed = parse()
    depth--
    return parsed
  }

  const binary = (level: number): Expression => {
    const names = levels[level]
    if (names === undefined) return primary()
    let left = binary(level + 1)
    for (;;) {
      const name = names.find((one) => one === peekWord())
      if (name === undefined) return left
      at++
      left = { kind: 'operator', name, left, right: binary(level + 1) }
    }
  }
  const weakest = (): Expression => nested(() => binary(0))

  const parsed = weakest()
  if (at < tokens.length) throw invalidOption(option, 'goes on where it should have ended')
  return parsed
}

/** Every path in an expression. */
export function* pathsOf(expression: Expression): Generator<readonly string[]> {
  switch (expression.kind) {
    case 'value':
      return
    case 'path':
      yield expression.path
      return
    case 'not':
      yield* pathsOf(expression.of)
      return
    case 'call':
      for (const one of expression.given) yield* pathsOf(one)
      return
    case 'operator':
      yield* pathsOf(expression.left)
      yield* pathsOf(expression.right)
  }
}

/** The parts of an expression that must all hold. */
export const conjunctsOf = (expression: Expression | undefined): readonly Expression[] =>
  expression === undefined
    ? []
    : expression.kind === 'operator' && expression.name === 'and'
      ? [...conjunctsOf(expression.left), ...conjunctsOf(expression.right)]
      : [expression]
