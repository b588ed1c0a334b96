/** The batch statement: what one batch of evidence holds, in the bytes whose hash goes under the anchored root. */
import { sha256 } from '#sha256'
import { compareBytes, fromHex, toHex } from './bytes.ts'
import { type CborBounds, CborWriter, decodeCbor, isHash, isUint } from './cbor.ts'
import { idPattern } from './reading.ts'
import { type Refused, refused } from './refusal.ts'

/** Sequence numbers of one station in a batch: the least, the greatest, and how many envelopes there are. */
export type StationSpan = {
  readonly station: string
  readonly first: number
  readonly last: number
  readonly count: number
}

/**
 * One batch. `root` is over its envelopes in (station, seq) order, `size` of them; `previous` is SHA-256 of the
 * statement before it (zero for batch 1), so that no batch can be slipped out; `firstMs` and `lastMs` span the
 * readings' times (UTC ms); `stations` ascend by id.
 */
export type Statement = {
  readonly network: string
  readonly batch: number
  readonly size: number
  readonly root: Uint8Array
  readonly previous: Uint8Array
  readonly firstMs: number
  readonly lastMs: number
  readonly stations: readonly StationSpan[]
}

// A batch of 4,096 envelopes has at most as many stations, 30 bytes each.
export const statementBounds: CborBounds = {
  maxBytes: 1 << 20,
  maxDepth: 4,
  maxItems: 200_000,
  floats: false,
}

/** Deterministic CBOR map: 0 network, 1 batch, 2 size, 3 root, 4 previous, 5 first ms, 6 last ms, 7 stations. */
export const encodeStatement = (statement: Statement): Uint8Array => {
  const writer = new CborWriter()
    .map(8)
    .int(0)
    .text(statement.network)
    .int(1)
    .int(statement.batch)
    .int(2)
    .int(statement.size)
    .int(3)
    .bytes(statement.root)
    .int(4)
    .bytes(statement.previous)
    .int(5)
    .int(statement.firstMs)
    .int(6)
    .int(statement.lastMs)
    .int(7)
    .array(statement.stations.length)
  for (const { station, first, last, count } of statement.stations) {
    const id = fromHex(station)
    if (id?.length !== 16) throw new RangeError(`a station id has 32 hex digits: ${station}`)
    writer.array(4).bytes(id).int(first).int(last).int(count)
  }
  return writer.finish()
}

/** What the next statement names as `previous`. */
export const statementHash = (bytes: Uint8Array): Uint8Array => sha256(bytes)

/** Reads a statement from outside; everything in it is checked for form and for agreeing with itself. */
export const decodeStatement = (
  bytes: Uint8Array,
): { readonly ok: true; readonly statement: Statement } | Refused => {
  const decoded = decodeCbor(bytes, statementBounds)
  if (!decoded.ok) return decoded
  const bad = (what: string): Refused => refused('malformed', `batch statement: ${what}`)
  const body = decoded.value
  if (!(body instanceof Map) || body.size !== 8) return bad('a map of eight is expected')
  const network = body.get(0)
  const [batch, size, firstMs, lastMs] = [1, 2, 5, 6].map((label) => body.get(label))
  const root = body.get(3)
  const previous = body.get(4)
  const spans = body.get(7)
  if (typeof network !== 'string' || !idPattern.test(network)) return bad('the network id is out of form')
  if (!isUint(batch) || batch < 1 || !isUint(size) || size < 1)
    return bad('batch and size are numbers from 1')
  if (!isUint(firstMs) || !isUint(lastMs) || lastMs < firstMs) return bad('the time span is none')
  if (!isHash(root) || !isHash(previous)) return bad('root and previous have 32 bytes')
  if (!Array.isArray(spans)) return bad('stations are a list')
  const stations: StationSpan[] = []
  let before: Uint8Array | undefined
  let total = 0
  for (const span of spans) {
    if (!Array.isArray(span) || span.length !== 4) return bad('a station has four items')
    const [id, first, last, count] = span
    if (!(id instanceof Uint8Array) || id.length !== 16) return bad('a station id has 16 bytes')
    if (before !== undefined && compareBytes(before, id) >= 0) return bad('stations ascend')
    if (!isUint(first) || !isUint(last) || !isUint(count)) return bad('a station has first, last and count')
    if (first < 1 || last < first || count < 1 || count > last - first + 1)
      return bad('a station’s counts disagree')
    stations.push({ station: toHex(id), first, last, count })
    before = id
    total += count
  }
  if (total !== size) return bad('the stations’ counts do not add up to its size')
  return {
    ok: true,
    statement: {
      network,
      batch,
      size,
      root: root.slice(),
      previous: previous.slice(),
      firstMs,
      lastMs,
      stations,
    },
  }
}
