/**
 * What a station lost, declared by itself: an envelope of its own chain that lists envelopes it dropped unsent. Nobody
 * but the station can sign it, so a hub that leaves envelopes out cannot excuse itself by one. Layout: readings.cddl.
 */
import { sha256 } from '#sha256'
import { type CborValue, CborWriter, decodeCbor, envelopeBounds, isHash, isUint } from './cbor.ts'
import { columnItems, readColumn, writeColumn } from './column.ts'
import { type Refused, refused } from './refusal.ts'

export const droppedContentType = 'application/vnd.groundtruth.dropped+cbor'

/**
 * Why; the code goes into signed bytes: append only. `budget`: its disk budget was used up. `damaged`: its disk spoilt them.
 * `unsigned`: readings, not envelopes, that memory had no room for while the disk took none.
 */
export const dropReasons = { budget: 1, damaged: 2, unsigned: 3 } as const

export type DropReason = keyof typeof dropReasons

const reasonNames = new Map<number, DropReason>(
  Object.entries(dropReasons).map(([name, code]) => [code, name as DropReason]),
)

/**
 * Dropped envelopes `seq` to `seq + count - 1`: how many readings they held in all, and how many of them held private
 * positions.
 */
export type DroppedStretch = {
  readonly seq: number
  readonly count: number
  readonly readings: number
  readonly withheld: number
}

/**
 * `envelopes` ascend by seq and are apart. Their readings lie in `fromMs` <= time <= `toMs` (UTC ms); `declaredMs` is when
 * they were dropped. `digest` is SHA-256 of the 32-byte hashes of the envelopes, one behind the other: which bytes they
 * were. One that is `merged` takes the place of earlier declarations, which are among those it lists, without readings;
 * its digest is over the hashes of those alone, and only in it a stretch is longer than one. `unsigned` counts readings
 * that were lost before they got a number; where there are any, no envelopes are listed and the digest is over none.
 */
export type Dropped = {
  readonly reason: DropReason
  readonly envelopes: readonly DroppedStretch[]
  readonly merged: boolean
  readonly unsigned: number
  readonly fromMs: number
  readonly toMs: number
  readonly declaredMs: number
  readonly digest: Uint8Array
}

/** Stretches one declaration lists at most. */
export const maxDropped = 1000

/** The digest of a declaration: over the hashes of what it lists, in its order. */
export const droppedDigest = (hashes: readonly Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(hashes.length * 32)
  for (const [at, hash] of hashes.entries()) all.set(hash, at * 32)
  return sha256(all)
}

/** A declaration of readings that were lost before they were signed. */
export const unsignedLost = (
  unsigned: number,
  fromMs: number,
  toMs: number,
  declaredMs: number,
): Dropped => ({
  reason: 'unsigned',
  envelopes: [],
  merged: false,
  unsigned,
  fromMs,
  toMs,
  declaredMs,
  digest: droppedDigest([]),
})

const encodeUnsigned = ({ unsigned, fromMs, toMs, declaredMs }: Dropped): Uint8Array =>
  new CborWriter()
    .map(4)
    .int(0)
    .int(dropReasons.unsigned)
    .int(5)
    .array(2)
    .int(fromMs)
    .int(toMs)
    .int(6)
    .int(declaredMs)
    .int(10)
    .int(unsigned)
    .finish()

/** The payload of a declaration of 1 to `maxDropped` stretches, or of readings that were not signed yet. */
export const encodeDropped = (dropped: Dropped): Uint8Array => {
  const { envelopes, merged } = dropped
  if (dropped.reason === 'unsigned') return encodeUnsigned(dropped)
  if (envelopes.length === 0 || envelopes.length > maxDropped)
    throw new RangeError(`1 to ${maxDropped} envelopes make a declaration, not ${envelopes.length}`)
  const first = envelopes[0]!.seq
  const withheld = merged ? [] : envelopes.flatMap((one, at) => (one.withheld > 0 ? [at] : []))
  const writer = new CborWriter().map(merged ? 10 : 8)
  const column = (label: number, of: (one: DroppedStretch) => number): void => {
    writer.int(label).array(columnItems(envelopes.length))
    writeColumn(writer, envelopes.map(of))
  }
  writer.int(0).int(dropReasons[dropped.reason])
  writer.int(1).array(2).int(first).int(envelopes.length)
  column(2, ({ seq }) => seq - first)
  column(3, ({ readings }) => readings)
  writer.int(4).array(withheld.length)
  for (const at of withheld) writer.int(at)
  writer.int(5).array(2).int(dropped.fromMs).int(dropped.toMs)
  writer.int(6).int(dropped.declaredMs).int(7).bytes(dropped.digest)
  if (merged) {
    column(8, ({ count }) => count)
    column(9, (one) => one.withheld)
  }
  return writer.finish()
}

// Times beyond it could leave what a calendar reaches. Year 9999.
const latestMs = 253_402_300_799_999

type Body = ReadonlyMap<CborValue, CborValue>
type Times = Pick<Dropped, 'fromMs' | 'toMs' | 'declaredMs'>

const bad = (what: string): Refused => refused('bad-payload', what)

const isRefused = (value: object): value is Refused => 'ok' in value && value.ok === false

const timesOf = (body: Body): Times | Refused => {
  const [span, declaredMs] = [body.get(5), body.get(6)]
  if (!Array.isArray(span) || span.length !== 2) return bad('a time span has two ends')
  const [fromMs, toMs] = span
  if (!isUint(fromMs) || !isUint(toMs) || fromMs > toMs || toMs > latestMs) return bad('no time span')
  if (!isUint(declaredMs) || declaredMs > latestMs) return bad('no time of declaration')
  return { fromMs, toMs, declaredMs }
}

const columnOf = (value: CborValue | undefined, count: number, least: number): number[] | undefined => {
  const values = Array.isArray(value) ? readColumn(value, count) : undefined
  return values?.every((one) => one >= least) ? values : undefined
}

const placesOf = (value: CborValue | undefined, count: number): Set<number> | undefined => {
  if (!Array.isArray(value)) return undefined
  const places = new Set<number>()
  let before = -1
  for (const at of value) {
    if (!isUint(at) || at <= before || at >= count) return undefined
    places.add(at)
    before = at
  }
  return places
}

/** What is listed, which must end before envelope `seq`. */
const stretchesOf = (body: Body, merged: boolean, seq: number): DroppedStretch[] | Refused => {
  const start = body.get(1)
  if (!Array.isArray(start) || start.length !== 2) return bad('a first number and a count')
  const [first, listed] = start
  if (!isUint(first) || first < 1 || !isUint(listed) || listed < 1 || listed > maxDropped)
    return bad(`1 to ${maxDropped} envelopes make a declaration`)
  const offsets = columnOf(body.get(2), listed, 0)
  const readings = columnOf(body.get(3), listed, 0)
  const places = placesOf(body.get(4), listed)
  const counts = merged ? columnOf(body.get(8), listed, 1) : new Array<number>(listed).fill(1)
  const withheld = merged
    ? columnOf(body.get(9), listed, 0)
    : Array.from({ length: listed }, (_, at) => (places?.has(at) ? 1 : 0))
  if (readings === undefined) return bad('counts of readings')
  if (places === undefined || (merged && places.size > 0)) return bad('places of those with positions ascend')
  if (counts === undefined || withheld === undefined || withheld.some((one, at) => one > counts[at]!))
    return bad('counts of envelopes, and of those with positions')
  if (offsets?.[0] !== 0 || offsets.some((one, at) => at > 0 && one < offsets[at - 1]! + counts[at - 1]!))
    return bad('numbers ascend')
  if (first + offsets.at(-1)! + counts.at(-1)! > seq) return bad('only earlier envelopes can be declared')
  return offsets.map((offset, at) => ({
    seq: first + offset,
    count: counts[at]!,
    readings: readings[at]!,
    withheld: withheld[at]!,
  }))
}

/** Reads a declaration back that stands in envelope `seq`: it can only list earlier ones. Never throws. */
export const decodeDropped = (
  payload: Uint8Array,
  seq: number,
): { readonly ok: true; readonly dropped: Dropped } | Refused => {
  const decoded = decodeCbor(payload, envelopeBounds)
  if (!decoded.ok) return refused('bad-payload', decoded.detail)
  const body = decoded.value
  if (!(body instanceof Map)) return bad('a declaration is a map')
  const code = body.get(0)
  const reason = isUint(code) ? reasonNames.get(code) : undefined
  if (reason === undefined) return bad('no reason that is known')
  const times = timesOf(body)
  if (isRefused(times)) return times
  if (reason === 'unsigned') {
    const unsigned = body.get(10)
    if (body.size !== 4 || !isUint(unsigned) || unsigned < 1) return bad('a count of readings is expected')
    return { ok: true, dropped: unsignedLost(unsigned, times.fromMs, times.toMs, times.declaredMs) }
  }
  const merged = body.size === 10
  if (body.size !== 8 && !merged) return bad('a declaration is a map of eight, or of ten')
  const envelopes = stretchesOf(body, merged, seq)
  if (isRefused(envelopes)) return envelopes
  const digest = body.get(7)
  if (!isHash(digest)) return bad('a digest has 32 bytes')
  return {
    ok: true,
    dropped: { reason, envelopes, merged, unsigned: 0, ...times, digest: digest.slice() },
  }
}
