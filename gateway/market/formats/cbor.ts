/** One CBOR map (RFC 8949) with the members of the JSON. Whole numbers are integers up to 32 bits, all others doubles. */
import { Encoder } from 'cbor-x'
import { CborWriter } from '../../reading/cbor.ts'
import type { Format } from './format.ts'
import { membersOf } from './members.ts'

const encoder = new Encoder({ useRecords: false, variableMapSize: true } as ConstructorParameters<
  typeof Encoder
>[0])

export const cbor = {
  name: 'cbor',
  title: 'one CBOR map with all rows',
  mediaType: 'application/cbor',
  contentType: 'application/cbor',
  isText: false,
  needsColumns: false,
  *render(answer) {
    const { head, rows, tail } = membersOf(answer)
    const [first, last] = [Object.entries(head), Object.entries(tail)]
    const writer = new CborWriter().map(first.length + 1 + last.length)
    for (const [name, value] of first) writer.text(name).text(value)
    yield writer.text(rows).array(answer.rows.length).finish()
    for (const row of answer.rows) yield encoder.encode(row)
    for (const [name, value] of last) yield new CborWriter().text(name).raw(encoder.encode(value)).finish()
  },
} as const satisfies Format
