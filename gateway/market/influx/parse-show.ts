/** SHOW of InfluxQL: what a query builder asks for. */

import { type ShowKind, type ShowStatement, showKinds } from './influxql.ts'
import { readLimits, readSource } from './parse-select.ts'
import { everywhere, readWhere } from './parse-where.ts'
import { matcherOf } from './pattern.ts'
import type { Reader } from './reader.ts'

type Names = ShowStatement['names']

/** `= name`, `!= name`, `=~ /pattern/`, `!~ /pattern/`, and `IN (names)` where lists are taken. */
const readNames = (reader: Reader, what: string, takesList: boolean): Names => {
  if (takesList && reader.takeWords('in')) {
    reader.expectSign('(')
    const names = new Set<string>()
    do names.add(reader.name(what))
    while (reader.takeSign(','))
    reader.expectSign(')')
    return (name) => names.has(name)
  }
  const sign = reader.wanted('sign', `a comparison with ${what}`)
  if (sign.text === '=~' || sign.text === '!~') {
    const matches = matcherOf(reader.wanted('regex', 'a regular expression').text)
    return sign.text === '=~' ? matches : (name) => !matches(name)
  }
  if (sign.text !== '=' && sign.text !== '!=')
    return reader.refuse(`=, !=, =~ or !~ is expected, not ${sign.text}`, sign)
  const wanted = reader.name(what)
  return sign.text === '=' ? (name) => name === wanted : (name) => name !== wanted
}

const readKind = (reader: Reader): ShowKind => {
  const found = showKinds.find((kind) => reader.takeWords(...kind.split(' ')))
  return found ?? reader.expected(showKinds.map((kind) => kind.toUpperCase()).join(', '))
}

/** What follows SHOW. `nowMs` is UTC. */
export const readShow = (reader: Reader, nowMs: number): ShowStatement => {
  const what = readKind(reader)
  let names: Names = () => true
  let where = everywhere
  const statement = { kind: 'show', what } as const
  if (what === 'databases') return { ...statement, where, names, limit: undefined, offset: 0 }
  const database = reader.takeWords('on') ? { database: reader.name('the name of a database') } : {}
  if (what === 'retention policies')
    return { ...statement, ...database, where, names, limit: undefined, offset: 0 }
  if (what === 'measurements' && reader.takeWords('with')) {
    reader.expectWord('measurement')
    names = readNames(reader, 'the name of a measurement', false)
  }
  const source = what !== 'measurements' && reader.takeWords('from') ? { source: readSource(reader) } : {}
  if (what === 'tag values') {
    reader.expectWord('with')
    reader.expectWord('key')
    names = readNames(reader, 'the name of a tag', true)
  }
  if (what !== 'field keys' && reader.takeWords('where')) {
    where = readWhere(reader, nowMs)
    if (where.minScore !== undefined)
      return reader.refuse('SHOW is about sensors: score is a condition of SELECT. Found')
  }
  return { ...statement, ...database, ...source, where, names, ...readLimits(reader) }
}
