/** InfluxQL text as statements. An allow-list: what is not understood, to the last word, is refused and never passed on. */

import type { Statement } from './influxql.ts'
import { readSelect } from './parse-select.ts'
import { readShow } from './parse-show.ts'
import { readerOf } from './reader.ts'
import { type Bound, InfluxRefusal, tokensOf } from './token.ts'

// A dashboard's panel sends one; a query builder some.
const maxStatements = 16

export type Parsed =
  | { readonly ok: true; readonly statements: readonly Statement[] }
  | { readonly ok: false; readonly detail: string }

const read = (query: string, bound: Bound, nowMs: number): Statement[] => {
  const reader = readerOf(query, tokensOf(query, bound))
  const statements: Statement[] = []
  while (reader.peek().kind !== 'end') {
    if (reader.takeSign(';')) continue
    if (statements.length >= maxStatements) return reader.refuse(`more than ${maxStatements} statements`)
    if (reader.takeWords('select')) statements.push(readSelect(reader, nowMs))
    else if (reader.takeWords('show')) statements.push(readShow(reader, nowMs))
    else return reader.expected('SELECT or SHOW: nothing else is answered here')
    if (reader.peek().kind !== 'end' && !reader.takeSign(';'))
      return reader.expected('; or the end of the query')
  }
  if (statements.length === 0) return reader.expected('SELECT or SHOW')
  return statements
}

/**
 * Statements of a query, with the times of `now()` resolved (`nowMs` is UTC); or, with its place, what is wrong with it or
 * not answered here.
 */
export const parseInfluxql = (query: string, bound: Bound, nowMs: number): Parsed => {
  try {
    return { ok: true, statements: read(query, bound, nowMs) }
  } catch (error) {
    if (error instanceof InfluxRefusal) return { ok: false, detail: error.message }
    throw error
  }
}
