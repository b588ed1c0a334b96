/** Expressions of $filter (OGC 18-088 s9.3.3.5, after OData 4.0 ABNF): what they are made of, and how text becomes one. */
import { invalidOption, notOffered } from './refusals.ts'
import { shown, tokensOf } from './tokens.ts'
import type { Value } from './values.ts'

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

// What one expression may be.
const mostDepth = 16
const mostPathParts = 8

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
