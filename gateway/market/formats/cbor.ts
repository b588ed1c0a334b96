/** One CBOR map (RFC 8949) with the members of the JSON. Whole numbers are integers up to 32 bits, all others doubles. */
import { Encoder } from 'cbor-x'
import { CborWriter } from '../../reading/cbor.ts'
import type { Format } from './format.ts'
import { type Members, membersOf } from './members.ts'

const encoder = new Encoder({ useRecords: false, variableMapSize: true } as ConstructorParameters<
  typeof Encoder
>[0])

// How many rows there are is known when they are written: an array of indefinite length (RFC 8949 s3.2.2).
const openArray = Uint8Array.of(0x9f)
const endOfArray = Uint8Array.of(0xff)

export const cbor = {
  name: 'cbor',
  title: 'one CBOR map with all rows',
  mediaType: 'application/cbor',
  contentType: 'application/cbor',
  isText: false,
  needs: [],
  async *render(pages) {
    let last: Members | undefined
    for await (const page of pages) {
      const members = membersOf(page)
      if (last === undefined) {
        const first = Object.entries(members.head)
        const writer = new CborWriter().map(first.length + 1 + Object.keys(members.tail).length)
        for (const [name, value] of first) writer.text(name).text(value)
        yield writer.text(members.rows).raw(openArray).finish()
      }
      last = members
      for (const row of page.rows) yield encoder.encode(row)
    }
    yield endOfArray
    for (const [name, value] of Object.entries(last?.tail ?? {}))
      yield new CborWriter().text(name).raw(encoder.encode(value)).finish()
  },
} as const satisfies Format
