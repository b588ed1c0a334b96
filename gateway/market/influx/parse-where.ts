/** WHERE of InfluxQL: times, conditions on tags, and a least quality. */
import { idPattern } from '../../reading/reading.ts'
import { parseTime } from '../time.ts'
import type { TagCondition, TagTest, Where } from './influxql.ts'
import { type InfluxTag, isTag, scoreField } from './names.ts'
import { matcherOf } from './pattern.ts'
import type { Reader } from './reader.ts'
import { InfluxRefusal } from './token.ts'

// Parentheses in parentheses; a query builder has two or three.
const maxDepth = 16

// Each is tried on every sensor there is; many values of one tag are a regular expression.
const maxConditions = 64

type Comparison = '=' | '!=' | '<' | '<=' | '>' | '>='

type Node =
  | { readonly kind: 'and' | 'or'; readonly of: readonly Node[] }
  | TagTest
  | { readonly kind: 'time'; readonly sign: Comparison; readonly ns: bigint }
  | { readonly kind: 'score'; readonly least: number }

const nsPerMs = 1_000_000n

// What RFC 3339 can write; beyond it nothing was measured.
const maxNs = 253_402_300_800_000n * nsPerMs

const clampNs = (ns: bigint): bigint => (ns < 0n ? 0n : ns > maxNs ? maxNs : ns)

/** `2026-11-21`, `2026-11-21 10:00:00.5` (UTC) or RFC 3339, in ns. */
const textNs = (text: string): bigint | undefined => {
  const day = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00` : text
  const zoned = /[Zz]$|[+-]\d{2}:\d{2}$/.test(day.slice(10)) ? day : `${day}Z`
  const parsed = parseTime(zoned)
  if (!parsed.ok || !('ms' in parsed.time)) return undefined
  const fraction = /\.(\d{1,9})/.exec(zoned)?.[1]?.padEnd(9, '0') ?? '000000000'
  // The parts below a millisecond, which a Date does not have.
  return BigInt(parsed.time.ms) * nsPerMs + BigInt(fraction.slice(3))
}

const readMoment = (reader: Reader, nowMs: number): bigint => {
  const token = reader.skip()
  switch (token.kind) {
    case 'word':
      if (token.text.toLowerCase() !== 'now') break
      reader.expectSign('(')
      reader.expectSign(')')
      return BigInt(nowMs) * nsPerMs
    case 'text': {
      const ns = textNs(token.text)
      if (ns !== undefined) return ns
      return reader.refuse(`'${token.text.slice(0, 40)}' is no time such as '2026-11-21T10:00:00Z'`, token)
    }
    case 'duration':
      return token.ns
    case 'number':
      if (/^[0-9]+$/.test(token.text)) return BigInt(token.text)
  }
  return reader.refuse(
    "time is compared with now(), a text such as '2026-11-21T10:00:00Z' or a number with its unit such as 1764000000000ms, and so much more or less",
    token,
  )
}

/** A moment, and durations added to it or taken from it. */
const readTime = (reader: Reader, nowMs: number): bigint => {
  let ns = readMoment(reader, nowMs)
  for (;;) {
    const sign = reader.isSign('+') ? 1n : reader.isSign('-') ? -1n : undefined
    if (sign === undefined) return ns
    reader.skip()
    ns += sign * reader.wanted('duration', 'a duration such as 6h').ns
  }
}

const comparisons = new Set<string>(['=', '!=', '<>', '<', '<=', '>', '>=', '=~', '!~'])

const readComparison = (reader: Reader): string => {
  const token = reader.wanted('sign', 'a comparison')
  if (!comparisons.has(token.text)) return reader.refuse(`${token.text} is no comparison`, token)
  return token.text === '<>' ? '!=' : token.text
}

const readTag = (reader: Reader, tag: InfluxTag): Node => {
  const start = reader.peek()
  const sign = readComparison(reader)
  if (sign === '=~' || sign === '!~') {
    const pattern = reader.wanted('regex', 'a regular expression').text
    const matches = matcherOf(pattern)
    return {
      kind: 'tag',
      tag,
      text: `${sign}${pattern}`,
      matches: sign === '=~' ? matches : (value) => !matches(value),
    }
  }
  if (sign !== '=' && sign !== '!=') return reader.refuse(`${tag} is compared with =, !=, =~ or !~`, start)
  const { text } = reader.wanted('text', "a text in single quotes, such as 'garden'")
  if (!idPattern.test(text))
    throw new InfluxRefusal(`${tag} takes 1 to 64 of A-Z a-z 0-9 _ -, not '${text.slice(0, 64)}'`)
  return {
    kind: 'tag',
    tag,
    text: `${sign}${text}`,
    matches: sign === '=' ? (value) => value === text : (value) => value !== text,
  }
}

const readScore = (reader: Reader): Node => {
  const start = reader.peek()
  const sign = readComparison(reader)
  if (sign !== '>=') return reader.refuse('score is compared with >= alone', start)
  const least = Number(reader.wanted('number', 'a score from 0 to 1').text)
  if (!(least >= 0 && least <= 1)) return reader.refuse('a score is from 0 to 1', start)
  return { kind: 'score', least }
}

const readCondition = (reader: Reader, nowMs: number): Node => {
  const start = reader.peek()
  const name = reader.name('time, station, sensor, model or score, on the left of a comparison')
  let type: string | undefined
  if (reader.takeSign('::')) type = reader.name('tag or field').toLowerCase()
  if (name.toLowerCase() === 'time' && type === undefined) {
    const sign = readComparison(reader)
    if (sign === '!=' || sign === '=~' || sign === '!~')
      return reader.refuse('time is compared with =, <, <=, > or >=', start)
    return { kind: 'time', sign: sign as Comparison, ns: clampNs(readTime(reader, nowMs)) }
  }
  if (isTag(name) && (type === undefined || type === 'tag')) return readTag(reader, name)
  if (name === scoreField && type !== 'tag') return readScore(reader)
  return reader.refuse(
    `WHERE takes time, the tags station, sensor and model, and score >= ..., not "${name.slice(0, 64)}"`,
    start,
  )
}

/** `count` is told of every comparison. */
const readNode = (reader: Reader, nowMs: number, depth: number, count: () => void): Node => {
  const readUnit = (): Node => {
    if (!reader.takeSign('(')) {
      count()
      return readCondition(reader, nowMs)
    }
    if (depth >= maxDepth) return reader.refuse(`more than ${maxDepth} parentheses in one another`)
    const inner = readNode(reader, nowMs, depth + 1, count)
    reader.expectSign(')')
    return inner
  }
  const readAnd = (): Node => {
    const of = [readUnit()]
    while (reader.takeWords('and')) of.push(readUnit())
    return of.length === 1 ? of[0]! : { kind: 'and', of }
  }
  const of = [readAnd()]
  while (reader.takeWords('or')) of.push(readAnd())
  return of.length === 1 ? of[0]! : { kind: 'or', of }
}

const ceilMs = (ns: bigint): number => Number((ns + nsPerMs - 1n) / nsPerMs)

/** The span of a comparison, in whole ms: readings have no finer time. */
const spanOf = (sign: Comparison, ns: bigint): readonly [fromMs: number, toMs: number] => {
  switch (sign) {
    case '>=':
      return [ceilMs(ns), Infinity]
    case '>':
      return [ceilMs(ns + 1n), Infinity]
    case '<':
      return [-Infinity, ceilMs(ns)]
    case '<=':
      return [-Infinity, ceilMs(ns + 1n)]
    default:
      return [ceilMs(ns), ceilMs(ns + 1n)]
  }
}

const tagsOnly = (node: Node): TagCondition => {
  switch (node.kind) {
    case 'tag':
      return node
    case 'and':
    case 'or':
      return { kind: node.kind, of: node.of.map(tagsOnly) }
    default:
      throw new InfluxRefusal(`${node.kind} cannot stand beside OR: it holds for the whole query`)
  }
}

export const everywhere: Where = { fromMs: undefined, toMs: undefined, minScore: undefined, tags: undefined }

/** What follows WHERE. `nowMs` is UTC. */
export const readWhere = (reader: Reader, nowMs: number): Where => {
  let [fromMs, toMs, minScore] = [-Infinity, Infinity, 0]
  let scored = false
  const tags: TagCondition[] = []
  const add = (node: Node): void => {
    switch (node.kind) {
      case 'and':
        for (const one of node.of) add(one)
        return
      case 'time': {
        const [first, end] = spanOf(node.sign, node.ns)
        fromMs = Math.max(fromMs, first)
        toMs = Math.min(toMs, end)
        return
      }
      case 'score':
        scored = true
        minScore = Math.max(minScore, node.least)
        return
      default:
        tags.push(tagsOnly(node))
    }
  }
  let conditions = 0
  const count = (): void => {
    if (++conditions > maxConditions) reader.refuse(`more than ${maxConditions} conditions`)
  }
  add(readNode(reader, nowMs, 0, count))
  return {
    fromMs: fromMs === -Infinity ? undefined : fromMs,
    toMs: toMs === Infinity ? undefined : toMs,
    minScore: scored ? minScore : undefined,
    tags: tags.length === 0 ? undefined : { kind: 'and', of: tags },
  }
}

/** Whether a sensor with these tags is meant. */
export const isMeant = (
  condition: TagCondition | undefined,
  tags: Readonly<Record<InfluxTag, string>>,
): boolean => {
  if (condition === undefined) return true
  if (condition.kind === 'tag') return condition.matches(tags[condition.tag])
  return condition.kind === 'and'
    ? condition.of.every((one) => isMeant(one, tags))
    : condition.of.some((one) => isMeant(one, tags))
}
