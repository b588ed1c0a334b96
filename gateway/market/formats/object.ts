/** One JSON object around the rows of all pages, a row per line: what JSON and GeoJSON have in common. */
import type { Answer } from '../query.ts'
import type { Pages } from './format.ts'
import { type Members, membersOf } from './members.ts'

const memberText = (name: string, value: unknown): string => `"${name}":${JSON.stringify(value)}`

/** How an object differs: constant members in front, the name of its list, and each row of a page as JSON. */
export type ObjectForm = {
  readonly constant: Readonly<Record<string, string>>
  readonly list: (members: Members) => string
  readonly rows: (page: Answer) => Iterable<string>
}

/** The object, in pieces. */
export async function* objectText(
  pages: Pages,
  { constant, list, rows }: ObjectForm,
): AsyncGenerator<string> {
  let last: Members | undefined
  let separator = '\n'
  for await (const page of pages) {
    const members = membersOf(page)
    if (last === undefined) {
      yield '{'
      for (const [name, value] of Object.entries({ ...constant, ...members.head }))
        yield `${memberText(name, value)},`
      yield `"${list(members)}":[`
    }
    last = members
    for (const row of rows(page)) {
      yield separator + row
      separator = ',\n'
    }
  }
  yield '\n]'
  for (const [name, value] of Object.entries(last?.tail ?? {})) yield `,${memberText(name, value)}`
  yield '}\n'
}
