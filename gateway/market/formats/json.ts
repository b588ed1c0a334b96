/** One JSON object (RFC 8259), a row per line. */
import type { Format } from './format.ts'
import { membersOf } from './members.ts'

export const json = {
  name: 'json',
  title: 'one object with all rows',
  mediaType: 'application/json',
  contentType: 'application/json',
  isText: true,
  needsColumns: false,
  *render(answer) {
    const { head, rows, tail } = membersOf(answer)
    yield '{'
    for (const [name, value] of Object.entries(head)) yield `"${name}":${JSON.stringify(value)},`
    yield `"${rows}":[`
    let separator = '\n'
    for (const row of answer.rows) {
      yield separator + JSON.stringify(row)
      separator = ',\n'
    }
    yield '\n]'
    for (const [name, value] of Object.entries(tail)) yield `,"${name}":${JSON.stringify(value)}`
    yield '}\n'
  },
} as const satisfies Format
