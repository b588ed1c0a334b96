/** Finds COSE_Sign1 messages in raw bytes, with no help from the code under test beyond decoding a candidate. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** End of the CBOR item at `at`, for definite lengths; undefined where the bytes end first. */
const itemEnd = (bytes: Uint8Array, at: number): number | undefined => {
  const initial = bytes[at]
  if (initial === undefined) return undefined
  const info = initial & 31
  let argument = info
  let next = at + 1
  if (info >= 24) {
    if (info > 26) return undefined
    const width = 1 << (info - 24)
    argument = 0
    for (let n = 0; n < width; n++) argument = argument * 256 + (bytes[next++] ?? 0)
  }
  switch (initial >> 5) {
    case 2:
    case 3:
      return next + argument <= bytes.length ? next + argument : undefined
    case 4:
    case 5: {
      const items = argument * (initial >> 5 === 5 ? 2 : 1)
      let end: number | undefined = next
      for (let n = 0; n < items && end !== undefined; n++) end = itemEnd(bytes, end)
      return end
    }
    case 6:
      return itemEnd(bytes, next)
    default:
      return next
  }
}

/** Everything that looks like a tagged array of four, wherever it begins; `rest` is where to look again. */
export const findSign1 = (bytes: Uint8Array): { readonly found: Uint8Array[]; readonly rest: number } => {
  const found: Uint8Array[] = []
  let at = 0
  let rest = bytes.length
  for (;;) {
    at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(Buffer.from([0xd2, 0x84]), at)
    if (at < 0) break
    const end = itemEnd(bytes, at)
    if (end === undefined) {
      rest = Math.min(rest, at)
      at += 1
    } else {
      found.push(bytes.slice(at, end))
      at = end
    }
  }
  return { found, rest }
}

/** The same over all files of a directory. */
export const findInDirectory = (directory: string): Uint8Array[] =>
  readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .flatMap((entry) => findSign1(readFileSync(join(directory, entry.name))).found)
