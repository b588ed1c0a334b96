/** SELECT of InfluxQL. */

import {
  type Bounds,
  type Fill,
  type SelectColumn,
  type SelectStatement,
  type Source,
  selectFunctions,
} from './influxql.ts'
import { type InfluxTag, influxTags, isTag, knownField, knownTag, scoreField } from './names.ts'
import { everywhere, readWhere } from './parse-where.ts'
import type { Reader } from './reader.ts'
import { InfluxRefusal } from './token.ts'

// As many as there are fields and some functions of each.
const maxColumns = 256

const nsPerMs = 1_000_000n

// A leap year, as the query core takes it.
const maxEveryMs = 366 * 86_400_000

const functionsHelp = `fields are selected as they are, or as ${selectFunctions.join(', ')} of one`

/** What follows `::` after a name: what it is said to be. */
const readType = (reader: Reader): string | undefined =>
  reader.takeSign('::') ? reader.name('tag or field').toLowerCase() : undefined

const readField = (reader: Reader): string => {
  const start = reader.peek()
  const name = reader.name('the name of a field')
  const type = readType(reader)
  if (type !== undefined && type !== 'field' && type !== 'float')
    return reader.refuse(`"${name.slice(0, 64)}" is asked for as ${type}; ${functionsHelp}`, start)
  return name
}

const readAlias = (reader: Reader): { readonly name?: string } =>
  reader.takeWords('as') ? { name: reader.name('the name of a column') } : {}

const readColumn = (reader: Reader): SelectColumn => {
  if (reader.takeSign('*')) {
    if (reader.isSign('::')) return reader.refuse('*::field and *::tag are not answered; name what is wanted')
    return { kind: 'all' }
  }
  const start = reader.peek()
  const first = reader.name(`a field, a function of one, or *; ${functionsHelp}`)
  if (start.kind === 'word' && reader.takeSign('(')) {
    const fn = selectFunctions.find((known) => known === first.toLowerCase())
    if (fn === undefined)
      return reader.refuse(`${first.slice(0, 40)}() is not answered; ${functionsHelp}`, start)
    if (reader.isSign('*')) return reader.refuse(`${fn}(*) is not answered; name the field`)
    const field = knownField(readField(reader))
    if (field === scoreField)
      return reader.refuse(`${fn}(${scoreField}) is not answered; functions are of quantities`, start)
    if (!reader.takeSign(')')) return reader.expected(`) after the one field of ${fn}`)
    return { kind: 'call', fn, field, ...readAlias(reader) }
  }
  const type = readType(reader)
  if (first.toLowerCase() === 'time' && type === undefined) return { kind: 'time', ...readAlias(reader) }
  const isKnownTag = isTag(first)
  const fits = type === undefined || (isKnownTag ? type === 'tag' : type === 'field' || type === 'float')
  if (!fits) return reader.refuse(`"${first.slice(0, 64)}" is no ${type.slice(0, 40)}`, start)
  return { kind: 'plain', field: isKnownTag ? first : knownField(first), ...readAlias(reader) }
}

/** Names with dots between them, of which the first ones can be left out: database, policy, measurement. */
export const readSource = (reader: Reader): Source => {
  if (reader.isSign('(')) return reader.refuse('queries within queries are not answered; FROM takes readings')
  if (reader.isSign('/'))
    return reader.refuse('FROM takes the name of a measurement, readings, not a pattern')
  const parts = [reader.name('the name of a measurement')]
  while (parts.length < 3 && reader.takeSign('.')) parts.push(reader.isSign('.') ? '' : reader.name('a name'))
  if (reader.isSign(',')) return reader.refuse('one measurement is answered at once')
  const [measurement = '', policy = '', database = ''] = parts.reverse()
  return { measurement, ...(policy === '' ? {} : { policy }), ...(database === '' ? {} : { database }) }
}

type Grouping = Pick<SelectStatement, 'interval' | 'groupTags'>

const readDuration = (reader: Reader, isSigned: boolean): number => {
  const start = reader.peek()
  const isNegative = isSigned && reader.takeSign('-')
  const { ns } = reader.wanted('duration', 'a duration such as 5m')
  if (ns % nsPerMs !== 0n) return reader.refuse('intervals are whole milliseconds', start)
  const ms = Number(ns / nsPerMs)
  if (ms > maxEveryMs) return reader.refuse('an interval has at most 366d', start)
  return isNegative ? -ms : ms
}

const readInterval = (reader: Reader): NonNullable<Grouping['interval']> => {
  reader.expectSign('(')
  const start = reader.peek()
  const everyMs = readDuration(reader, false)
  if (everyMs < 1) return reader.refuse('time() takes an interval from 1ms', start)
  const offsetMs = reader.takeSign(',') ? readDuration(reader, true) : 0
  reader.expectSign(')')
  return { everyMs, offsetMs }
}

const readGrouping = (reader: Reader): Grouping => {
  let interval: Grouping['interval']
  const tags = new Set<InfluxTag>()
  do {
    const start = reader.peek()
    if (reader.takeSign('*')) {
      for (const tag of influxTags) tags.add(tag)
      continue
    }
    const name = reader.name('time(), a tag or *')
    if (start.kind === 'word' && name.toLowerCase() === 'time' && reader.isSign('(')) {
      if (interval !== undefined) return reader.refuse('multiple time dimensions not allowed', start)
      interval = readInterval(reader)
      continue
    }
    const type = readType(reader)
    if (type !== undefined && type !== 'tag') return reader.refuse('GROUP BY takes time() and tags', start)
    tags.add(knownTag(name))
  } while (reader.takeSign(','))
  return {
    ...(interval === undefined ? {} : { interval }),
    groupTags: influxTags.filter((tag) => tags.has(tag)),
  }
}

const readFill = (reader: Reader): Fill => {
  reader.expectSign('(')
  const start = reader.peek()
  const isNegative = reader.takeSign('-')
  const token = reader.skip()
  let fill: Fill | undefined
  if (token.kind === 'number') fill = isNegative ? -Number(token.text) : Number(token.text)
  if (token.kind === 'word' && !isNegative)
    fill = (['null', 'none', 'previous', 'linear'] as const).find(
      (known) => known === token.text.toLowerCase(),
    )
  if (fill === undefined || !(typeof fill === 'string' || Number.isFinite(fill)))
    return reader.refuse('fill() takes null, none, previous, linear or a number', start)
  reader.expectSign(')')
  return fill
}

/** ORDER BY time, where it stands; whether the newest comes first. */
const readOrder = (reader: Reader): boolean => {
  if (!reader.takeWords('order')) return false
  reader.expectWord('by')
  const start = reader.peek()
  const name = reader.takeWords('asc') ? 'asc' : reader.takeWords('desc') ? 'desc' : undefined
  if (name !== undefined) return name === 'desc'
  if (reader.name('time').toLowerCase() !== 'time')
    return reader.refuse('only ORDER BY time supported', start)
  if (reader.isSign(',')) return reader.refuse('only ORDER BY time supported')
  if (reader.takeWords('desc')) return true
  reader.takeWords('asc')
  return false
}

/** How many, and after how many, where that stands; none at all is as good as 0. */
const readWindow = (reader: Reader, limitName: string, offsetName: string) => {
  const limit = reader.takeWords(limitName.toLowerCase()) ? reader.count(limitName) : 0
  const start = reader.peek()
  const offset = reader.takeWords(offsetName.toLowerCase()) ? reader.count(offsetName) : 0
  if (offset > 0 && limit === 0) return reader.refuse(`${offsetName} goes with ${limitName}`, start)
  return { limit: limit === 0 ? undefined : limit, offset }
}

/** LIMIT and OFFSET. */
export const readLimits = (reader: Reader): Pick<Bounds, 'limit' | 'offset'> =>
  readWindow(reader, 'LIMIT', 'OFFSET')

const readSeriesLimits = (reader: Reader): Pick<Bounds, 'seriesLimit' | 'seriesOffset'> => {
  const { limit, offset } = readWindow(reader, 'SLIMIT', 'SOFFSET')
  return { seriesLimit: limit, seriesOffset: offset }
}

const readZone = (reader: Reader): void => {
  if (!reader.takeWords('tz')) return
  reader.expectSign('(')
  const token = reader.wanted('text', 'the name of a time zone in single quotes')
  if (!/^(UTC|Etc\/UTC)$/i.test(token.text))
    reader.refuse("tz() takes 'UTC' alone: intervals begin at multiples of their length, UTC", token)
  reader.expectSign(')')
}

const checkColumns = (columns: readonly SelectColumn[], { interval }: Grouping): void => {
  const calls = columns.filter(({ kind }) => kind === 'call').length
  const plain = columns.filter(({ kind }) => kind === 'plain' || kind === 'all')
  if (calls > 0 && plain.length > 0)
    throw new InfluxRefusal('mixing aggregate and non-aggregate queries is not supported')
  if (interval !== undefined && calls === 0)
    throw new InfluxRefusal('GROUP BY requires at least one aggregate function')
  if (
    calls === 0 &&
    plain.every((column) => column.kind === 'plain' && (isTag(column.field) || column.field === scoreField))
  )
    throw new InfluxRefusal(`select at least one quantity: tags and ${scoreField} come beside one`)
}

/** What follows SELECT. `nowMs` is UTC. */
export const readSelect = (reader: Reader, nowMs: number): SelectStatement => {
  const columns: SelectColumn[] = []
  do {
    if (columns.length >= maxColumns) return reader.refuse(`more than ${maxColumns} columns`)
    columns.push(readColumn(reader))
  } while (reader.takeSign(','))
  if (reader.isWord('into')) return reader.refuse('nothing is written here: leave INTO out')
  if (['+', '-', '*', '/', '%'].some((sign) => reader.isSign(sign)))
    return reader.refuse(`calculating with fields is not answered; ${functionsHelp}. Found`)
  reader.expectWord('from')
  const source = readSource(reader)
  const where = reader.takeWords('where') ? readWhere(reader, nowMs) : everywhere
  const grouping: Grouping = reader.takeWords('group', 'by') ? readGrouping(reader) : { groupTags: [] }
  const fillStart = reader.peek()
  let fill: Fill = 'null'
  if (reader.takeWords('fill')) {
    fill = readFill(reader)
    if (!columns.some(({ kind }) => kind === 'call'))
      return reader.refuse('fill() must be used with a function', fillStart)
  }
  const descending = readOrder(reader)
  const limits = readLimits(reader)
  const seriesLimits = readSeriesLimits(reader)
  readZone(reader)
  checkColumns(columns, grouping)
  return { kind: 'select', columns, source, where, ...grouping, fill, descending, ...limits, ...seriesLimits }
}
