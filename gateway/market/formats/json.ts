/** One JSON object (RFC 8259), a row per line. */
import type { Format } from './format.ts'
import { type Members, membersOf } from './members.ts'

export const json = {
  name: 'json',
  title: 'one object with all rows',
  mediaType: 'application/json',
  contentType: 'application/json',
  isText: true,
  needsColumns: false,
  async *render(pages) {
    let last: Members | undefined
    let separator = '\n'
    for await (const page of pages) {
      const members = membersOf(page)
      if (last === undefined) {
        yield '{'
        for (const [name, value] of Object.entries(members.head)) yield `"${name}":${JSON.stringify(value)},`
        yield `"${members.rows}":[`
      }
      last = members
      for (const row of page.rows) {
        yield separator + JSON.stringify(row)
        separator = ',\n'
      }
    }
    yield '\n]'
    for (const [name, value] of Object.entries(last?.tail ?? {})) yield `,"${name}":${JSON.stringify(value)}`
    yield '}\n'
  },
} as const satisfies Format
