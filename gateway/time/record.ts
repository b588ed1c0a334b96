/** Records of readings, and of frames that nodes signed, that wait for their time: as bytes. */
import { decodeHeard, encodeHeard, maxHeard } from '../reading/heard.ts'
import { type Item, laneOf, readingsIn } from '../reading/lane.ts'
import { decodeReadings, encodeReadings, maxReadings } from '../reading/payload.ts'
import type { Reading } from '../reading/reading.ts'
import { earliestMs, type Seen, type Unsigned } from './time.ts'

/**
 * A record: 1 byte kind (1 readings, 2 frames); 16 bytes boot id; u16 count of readings, those in frames included; f64
 * latest moment; u16 length, and so many bytes of payload. Of readings, their times are moments, and where any has a
 * time of its device's, an f64 of it for each follows, NaN for none, negative where the device keeps a backlog. Of
 * frames, the times of receipt are moments after 2025: what they say of the past then is a time, too. Big endian.
 */
const kinds = { readings: 1, frames: 2 } as const
const headBytes = 29
/** One record becomes one envelope where nothing forbids it: it should fit with header and signature. */
const maxPayloadBytes = 6 * 1024

const bootBytes = (boot: string): Buffer => {
  const bytes = Buffer.from(boot.replaceAll('-', ''), 'hex')
  if (bytes.length !== 16) throw new Error(`a boot is named by a UUID, not ${boot}`)
  return bytes
}

const bootName = (bytes: Uint8Array): string =>
  Buffer.from(bytes)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

const seriesOf = ({ sensor, model, values }: Reading): string =>
  `${sensor} ${model} ${values.map(({ quantity }) => quantity).join()}`

const isSeen = (one: Unsigned): one is Seen => 'reading' in one

/** What is to be signed, without its time; a frame's stands after 2025, so that all its readings have one. */
export const itemOf = (one: Unsigned): Item =>
  isSeen(one) ? one.reading : { ...one.frame, receivedMs: earliestMs + Math.max(0, Math.round(one.atMs)) }

/** Readings that these stand for: a frame has some. */
export const countOf = (all: readonly Unsigned[]): number =>
  all.reduce((sum, one) => sum + (isSeen(one) ? 1 : readingsIn(itemOf(one)).length), 0)

/** The payload with its readings by series, and each one's own time in that order. */
const readingsPayload = (all: readonly Seen[]): { payload: Uint8Array; own: Uint8Array } => {
  const seen = [...Map.groupBy(all, ({ reading }) => seriesOf(reading)).values()].flat()
  const payload = encodeReadings(seen.map(({ reading, atMs }) => ({ ...reading, timeMs: Math.round(atMs) })))
  const own = Buffer.alloc(seen.some(({ ownMs }) => ownMs !== undefined) ? 8 * seen.length : 0)
  if (own.length > 0)
    for (const [at, { ownMs = Number.NaN, backlog }] of seen.entries())
      own.writeDoubleBE(backlog ? -ownMs : ownMs, 8 * at)
  return { payload, own }
}

const framesPayload = (items: readonly Item[]): { payload: Uint8Array; own: Uint8Array } => ({
  payload: encodeHeard(items.flatMap((item) => ('sign1' in item ? [item] : []))),
  own: new Uint8Array(),
})

/** Records of one boot, each with as many as fit; all of one lane, so that their order is that of an envelope. */
export const encodeUntimed = (boot: string, all: readonly Unsigned[]): Uint8Array[] => {
  if (all.length === 0) return []
  const seen = all.filter(isSeen)
  const count = countOf(all)
  const isMany = count > maxReadings || all.length > maxHeard
  const encoded =
    isMany && all.length > 1
      ? undefined
      : seen.length > 0
        ? readingsPayload(seen)
        : framesPayload(all.map(itemOf))
  if (encoded === undefined || (encoded.payload.length > maxPayloadBytes && all.length > 1)) {
    const half = all.length >> 1
    return [...encodeUntimed(boot, all.slice(0, half)), ...encodeUntimed(boot, all.slice(half))]
  }
  const { payload, own } = encoded
  const head = Buffer.alloc(headBytes)
  head.writeUInt8(seen.length > 0 ? kinds.readings : kinds.frames, 0)
  bootBytes(boot).copy(head, 1)
  head.writeUInt16BE(count, 17)
  head.writeDoubleBE(Math.max(...all.map(({ atMs }) => atMs)), 19)
  head.writeUInt16BE(payload.length, 27)
  return [Buffer.concat([head, payload, own])]
}

/** What a record says of itself: its boot, how many readings, and the latest moment. */
export type Head = { readonly boot: string; readonly count: number; readonly lastMs: number }

/** Undefined where it is not one of ours. */
export const headOf = (record: Uint8Array): Head | undefined => {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
  if (bytes.length < headBytes || (bytes[0] !== kinds.readings && bytes[0] !== kinds.frames)) return undefined
  return {
    boot: bootName(bytes.subarray(1, 17)),
    count: bytes.readUInt16BE(17),
    lastMs: bytes.readDoubleBE(19),
  }
}

const framesIn = (payload: Uint8Array): Unsigned[] | undefined => {
  const decoded = decodeHeard(payload)
  if (!decoded.ok) return undefined
  return decoded.frames.map(({ receivedMs, sensor, model, radio, publicKey, sign1 }) => ({
    frame: { receivedMs, sensor, model, radio, publicKey, sign1 },
    atMs: receivedMs - earliestMs,
  }))
}

const readingsOf = (payload: Uint8Array, own: Buffer): Unsigned[] | undefined => {
  const decoded = decodeReadings(payload)
  if (!decoded.ok) return undefined
  const hasOwn = own.length > 0
  if (hasOwn && own.length !== 8 * decoded.readings.length) return undefined
  return decoded.readings.map((reading, at): Seen => {
    const ownMs = hasOwn ? own.readDoubleBE(8 * at) : Number.NaN
    return {
      reading,
      atMs: reading.timeMs,
      ...(Number.isNaN(ownMs) ? {} : { ownMs: Math.abs(ownMs), backlog: ownMs < 0 }),
    }
  })
}

/** What is in a record, in the order it was received; undefined where it is not one of ours. */
export const decodeUntimed = (
  record: Uint8Array,
): { readonly boot: string; readonly seen: readonly Unsigned[] } | undefined => {
  const head = headOf(record)
  if (head === undefined) return undefined
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
  const end = headBytes + bytes.readUInt16BE(27)
  const payload = bytes.subarray(headBytes, end)
  const seen = bytes[0] === kinds.frames ? framesIn(payload) : readingsOf(payload, bytes.subarray(end))
  if (seen === undefined || countOf(seen) !== head.count) return undefined
  return { boot: head.boot, seen: seen.sort((a, b) => a.atMs - b.atMs) }
}

/** What is left of a record when the first so many readings are signed; a frame is signed whole. */
export const without = (seen: readonly Unsigned[], signed: number): readonly Unsigned[] => {
  let left = signed
  return seen.filter((one) => {
    if (left <= 0) return true
    left -= countOf([one])
    return false
  })
}

const everySecond = (seen: readonly Unsigned[]): readonly Unsigned[] => seen.filter((_, at) => at % 2 === 0)

type Decoded = NonNullable<ReturnType<typeof decodeUntimed>>

const alike = (a: Decoded, b: Decoded): boolean =>
  a.boot === b.boot && laneOf(itemOf(a.seen[0]!)) === laneOf(itemOf(b.seen[0]!))

/** Every second of a record's; what is left of two neighbours of one boot and lane makes one. `b` may be left as it is. */
export const thinnedPair = (
  a: Uint8Array,
  b: Uint8Array | undefined,
): { readonly records: readonly Uint8Array[]; readonly lost: number } => {
  const [first, second] = [decodeUntimed(a), b && decodeUntimed(b)]
  if (first === undefined) return { records: b ? [b] : [], lost: headOf(a)?.count ?? 0 }
  const isPair = second !== undefined && alike(first, second)
  const all = isPair ? [...first.seen, ...second.seen] : first.seen
  const kept = everySecond(all)
  return {
    records: [...encodeUntimed(first.boot, kept), ...(b && !isPair ? [b] : [])],
    lost: countOf(all) - countOf(kept),
  }
}
