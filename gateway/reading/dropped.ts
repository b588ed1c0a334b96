/**
 * What a station lost, declared by itself: an envelope of its own chain that lists envelopes it dropped unsent. Nobody
 * but the station can sign it, so a hub that leaves envelopes out cannot excuse itself by one. Layout: readings.cddl.
 */
import { sha256 } from '#sha256'
import { CborWriter, decodeCbor, envelopeBounds, isHash, isUint } from './cbor.ts'
import { columnItems, readColumn, writeColumn } from './column.ts'
import { type Refused, refused } from './refusal.ts'

export const droppedContentType = 'application/vnd.groundtruth.dropped+cbor'

/** Why; the code goes into signed bytes: append only. `budget`: its disk budget was used up. `damaged`: its disk spoilt them. */
export const dropReasons = { budget: 1, damaged: 2 } as const

export type DropReason = keyof typeof dropReasons

const reasonNames = new Map<number, DropReason>(
  Object.entries(dropReasons).map(([name, code]) => [code, name as DropReason]),
)

/** One dropped envelope: its number, how many readings it held, and whether it held private positions. */
export type DroppedEnvelope = { readonly seq: number; readonly readings: number; readonly withheld: boolean }

/**
 * `envelopes` ascend by seq. Their readings lie in `fromMs` <= time <= `toMs` (UTC ms); `declaredMs` is when they were
 * dropped. `digest` is SHA-256 of the 32-byte hashes of the envelopes, one behind the other: which bytes they were.
 */
export type Dropped = {
  readonly reason: DropReason
  readonly envelopes: readonly DroppedEnvelope[]
  readonly fromMs: number
  readonly toMs: number
  readonly declaredMs: number
  readonly digest: Uint8Array
}

/** Envelopes one declaration lists at most. */
export const maxDropped = 1000

/** The digest of a declaration: over the hashes of what it lists, in its order. */
export const droppedDigest = (hashes: readonly Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(hashes.length * 32)
  for (const [at, hash] of hashes.entries()) all.set(hash, at * 32)
  return sha256(all)
}

/** The payload of a declaration of 1 to `maxDropped` envelopes. */
export const encodeDropped = (dropped: Dropped): Uint8Array => {
  const { envelopes } = dropped
  if (envelopes.length === 0 || envelopes.length > maxDropped)
    throw new RangeError(`1 to ${maxDropped} envelopes make a declaration, not ${envelopes.length}`)
  const first = envelopes[0]!.seq
  const withheld = envelopes.flatMap((one, at) => (one.withheld ? [at] : []))
  const writer = new CborWriter().map(8).int(0).int(dropReasons[dropped.reason])
  writer.int(1).array(2).int(first).int(envelopes.length)
  writer.int(2).array(columnItems(envelopes.length))
  writeColumn(
    writer,
    envelopes.map(({ seq }) => seq - first),
  )
  writer.int(3).array(columnItems(envelopes.length))
  writeColumn(
    writer,
    envelopes.map(({ readings }) => readings),
  )
  writer.int(4).array(withheld.length)
  for (const at of withheld) writer.int(at)
  writer.int(5).array(2).int(dropped.fromMs).int(dropped.toMs)
  writer.int(6).int(dropped.declaredMs).int(7).bytes(dropped.digest)
  return writer.finish()
}

// Times beyond it could leave what a calendar reaches. Year 9999.
const latestMs = 253_402_300_799_999

/** Reads a declaration back that stands in envelope `seq`: it can only list earlier ones. Never throws. */
export const decodeDropped = (
  payload: Uint8Array,
  seq: number,
): { readonly ok: true; readonly dropped: Dropped } | Refused => {
  const decoded = decodeCbor(payload, envelopeBounds)
  if (!decoded.ok) return refused('bad-payload', decoded.detail)
  const bad = (what: string): Refused => refused('bad-payload', what)
  const body = decoded.value
  if (!(body instanceof Map) || body.size !== 8) return bad('a declaration is a map of eight')
  const [code, start, seqs, counts] = [body.get(0), body.get(1), body.get(2), body.get(3)]
  const [positions, span, declaredMs, digest] = [body.get(4), body.get(5), body.get(6), body.get(7)]
  const reason = isUint(code) ? reasonNames.get(code) : undefined
  if (reason === undefined) return bad('no reason that is known')
  if (!Array.isArray(start) || start.length !== 2) return bad('a first number and a count')
  const [first, count] = start
  if (!isUint(first) || first < 1 || !isUint(count) || count < 1 || count > maxDropped)
    return bad(`1 to ${maxDropped} envelopes make a declaration`)
  const offsets = Array.isArray(seqs) ? readColumn(seqs, count) : undefined
  const readings = Array.isArray(counts) ? readColumn(counts, count) : undefined
  if (offsets?.[0] !== 0 || offsets.some((one, at) => at > 0 && one <= offsets[at - 1]!))
    return bad('numbers ascend')
  if (first + offsets.at(-1)! >= seq) return bad('only earlier envelopes can be declared')
  if (readings === undefined || readings.some((one) => one < 0)) return bad('counts of readings')
  if (!Array.isArray(positions)) return bad('a list of those with positions')
  const withheld = new Set<number>()
  let before = -1
  for (const at of positions) {
    if (!isUint(at) || at <= before || at >= count) return bad('places of those with positions ascend')
    withheld.add(at)
    before = at
  }
  if (!Array.isArray(span) || span.length !== 2) return bad('a time span has two ends')
  const [fromMs, toMs] = span
  if (!isUint(fromMs) || !isUint(toMs) || fromMs > toMs || toMs > latestMs) return bad('no time span')
  if (!isUint(declaredMs) || declaredMs > latestMs) return bad('no time of declaration')
  if (!isHash(digest)) return bad('a digest has 32 bytes')
  const envelopes = offsets.map((offset, at) => ({
    seq: first + offset,
    readings: readings[at]!,
    withheld: withheld.has(at),
  }))
  return { ok: true, dropped: { reason, envelopes, fromMs, toMs, declaredMs, digest: digest.slice() } }
}
