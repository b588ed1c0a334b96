/** Words, values and marks of an expression in $filter (OData 4.0 ABNF). */
import type { Problem } from '../problem.ts'
import { parseTime } from '../time.ts'
import { parseWkt } from './geometry.ts'
import { invalidOption } from './refusals.ts'
import type { Value } from './values.ts'

export type Token =
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'mark'; readonly text: '(' | ')' | ',' }

// An address has some four thousand characters.
const mostTokens = 400

/** Enough of a text to be found again. */
export const shown = (text: string): string => (text.length <= 40 ? text : `${text.slice(0, 40)}...`)

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

/** The tokens of an expression; throws a Problem that shows what cannot be read. */
export const tokensOf = (text: string, option: string): Token[] => {
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
