/**
 * The bytes of a segment file. Integers are little-endian; everything starts on a multiple of 8.
 *
 *     <first>.open               mark | record | record ... | zeros ...            | mark   (preallocated)
 *     <first>-<sha256/64>.seg    mark | record | record ...                        | mark   (sealed, cut to length)
 *
 *     mark, 40 bytes             0  magic "GTJRNL"                  record      0  CRC-32           u32
 *                                6  version 1           u16                     4  payload length   u32
 *                                8  salt                u32                     8  index            u64
 *                               12  capacity, bytes     u32                    16  payload
 *                               16  largest record      u32                        zeros up to a multiple of 8
 *                               20  CRC-32 of the rest  u32
 *                               24  first index         u64         16 zero bytes where a record would start: the end
 *                               32  next index (sealed) u64
 *
 * A record's CRC-32 (IEEE 802.3, as in zlib) runs over length, index and payload and starts from the segment's
 * random salt: bytes inside a payload, or left over from an older file, that look like a record are none. The
 * mark stands at both ends, so that no single bad sector takes the salt away; the first index is also in the name.
 */
import { crc32 } from './crc.ts'
import { createOffsets, type Offsets } from './offsets.ts'

export const markBytes = 40
export const recordHeaderBytes = 16
/** 32 bits of offset would allow more; a scan holds a whole segment in memory. */
export const maxSegmentBytes = 64 * 1024 * 1024
const magic = Buffer.from('GTJRNL')
const version = 1

/** What a segment says about itself; `next` is 0 until it is sealed. */
export type Mark = {
  readonly salt: number
  readonly capacity: number
  readonly maxRecordBytes: number
  readonly first: number
  readonly next: number
}

/** Bytes a record with a payload of that many bytes takes in a segment. */
export const recordBytes = (payloadBytes: number): number => (recordHeaderBytes + payloadBytes + 7) & ~7

/** Where the last record must end in a segment of that many bytes. */
export const recordsEnd = (capacity: number): number => capacity - markBytes

const writeIndex = (bytes: Buffer, index: number, at: number): void => {
  bytes.writeUInt32LE(index % 0x1_0000_0000, at)
  bytes.writeUInt32LE(Math.floor(index / 0x1_0000_0000), at + 4)
}

const readIndex = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 0x1_0000_0000

/** The 40 bytes of a mark. */
export const encodeMark = (mark: Mark): Buffer => {
  const bytes = Buffer.alloc(markBytes)
  magic.copy(bytes, 0)
  bytes.writeUInt16LE(version, 6)
  bytes.writeUInt32LE(mark.salt, 8)
  bytes.writeUInt32LE(mark.capacity, 12)
  bytes.writeUInt32LE(mark.maxRecordBytes, 16)
  writeIndex(bytes, mark.first, 24)
  writeIndex(bytes, mark.next, 32)
  bytes.writeUInt32LE(markCrc(bytes, 0), 20)
  return bytes
}

const markCrc = (bytes: Buffer, at: number): number =>
  crc32(bytes, at + 24, at + markBytes, crc32(bytes, at, at + 20, 0))

/**
 * The mark at an offset, or undefined where there is no whole one for that first index. Throws where the mark
 * is whole but of another version: the file is good, this program is too old for it.
 */
export const decodeMark = (bytes: Buffer, at: number, first: number): Mark | undefined => {
  if (at < 0 || at + markBytes > bytes.length || magic.compare(bytes, at, at + magic.length) !== 0)
    return undefined
  if (bytes.readUInt32LE(at + 20) !== markCrc(bytes, at) || readIndex(bytes, at + 24) !== first)
    return undefined
  const found = bytes.readUInt16LE(at + 6)
  if (found !== version)
    throw new Error(`journal segment ${first} has format ${found}, this program reads ${version}`)
  const capacity = bytes.readUInt32LE(at + 12)
  if (capacity > maxSegmentBytes) return undefined
  return {
    salt: bytes.readUInt32LE(at + 8),
    capacity,
    maxRecordBytes: bytes.readUInt32LE(at + 16),
    first,
    next: readIndex(bytes, at + 32),
  }
}

const recordCrc = (bytes: Buffer, at: number, payloadBytes: number, salt: number): number =>
  crc32(bytes, at + 4, at + recordHeaderBytes + payloadBytes, salt)

// Plain stores: each call into Buffer costs a tenth of what the whole record does.
const store32 = (bytes: Uint8Array, value: number, at: number): void => {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}

/** Writes a record at an offset of `bytes`, padding included; answers where it ends. */
export const encodeRecord = (
  bytes: Buffer,
  at: number,
  index: number,
  payload: Uint8Array,
  salt: number,
): number => {
  const end = at + recordBytes(payload.length)
  store32(bytes, 0, end - 4)
  store32(bytes, 0, end - 8)
  store32(bytes, payload.length, at + 4)
  store32(bytes, index % 0x1_0000_0000, at + 8)
  store32(bytes, Math.floor(index / 0x1_0000_0000), at + 12)
  bytes.set(payload, at + recordHeaderBytes)
  store32(bytes, recordCrc(bytes, at, payload.length, salt), at)
  return end
}

/** Payload bytes of the whole record with that index at an offset; undefined where it is not there or not whole. */
export const payloadBytesAt = (
  bytes: Buffer,
  at: number,
  index: number,
  { salt, maxRecordBytes }: Pick<Mark, 'salt' | 'maxRecordBytes'>,
): number | undefined => {
  if (at + recordHeaderBytes > bytes.length || readIndex(bytes, at + 8) !== index) return undefined
  const length = bytes.readUInt32LE(at + 4)
  if (length > maxRecordBytes || at + recordHeaderBytes + length > bytes.length) return undefined
  return bytes.readUInt32LE(at) === recordCrc(bytes, at, length, salt) ? length : undefined
}

/** A stretch that is not what was written. `lostTo` equals `lostFrom` where no record is missing because of it. */
export type Bad = {
  readonly offset: number
  readonly bytes: number
  readonly lostFrom: number
  readonly lostTo: number
}

/** What a segment holds. `tail` is a stretch behind the last whole record that is neither zero nor a mark. */
export type Scan = {
  readonly offsets: Offsets
  readonly bad: readonly Bad[]
  readonly tail: Bad | undefined
  /** Behind the last byte that is not zero, the mark at the file's end not counted. */
  readonly contentEnd: number
}

const zeros = Buffer.alloc(64 * 1024)

/** Offset behind the last byte of [from, to) that is not zero; `from` where all are. */
export const zeroFrom = (bytes: Buffer, from: number, to: number): number => {
  let end = to
  while (end > from) {
    const start = Math.max(from, end - zeros.length)
    if (bytes.compare(zeros, 0, end - start, start, end) !== 0) break
    end = start
  }
  while (end > from && bytes[end - 1] === 0) end--
  return end
}

/**
 * Every whole record of a segment's bytes, in order. Behind a bad one the next whole record is looked for at every
 * multiple of 8, so one flipped bit costs one record. Indexes only rise, and no more of them are passed over than
 * could have stood in the bytes passed over: a record left from another time is not taken.
 */
export const scanSegment = (bytes: Buffer, mark: Mark): Scan => {
  const limit = decodeMark(bytes, bytes.length - markBytes, mark.first)
    ? bytes.length - markBytes
    : Math.min(bytes.length, recordsEnd(mark.capacity))
  const contentEnd = zeroFrom(bytes, Math.min(markBytes, limit), limit)
  const within = bytes.subarray(0, limit)
  const offsets = createOffsets(mark.first, markBytes)
  const bad: Bad[] = []
  while (offsets.end < contentEnd) {
    const at = offsets.end
    const index = offsets.next
    const length = payloadBytesAt(within, at, index, mark)
    if (length !== undefined) {
      const end = at + recordBytes(length)
      const payloadEnd = at + recordHeaderBytes + length
      offsets.push(index, at, end)
      const dirty = zeroFrom(within, payloadEnd, Math.min(end, limit)) - payloadEnd
      if (dirty > 0) bad.push({ offset: payloadEnd, bytes: dirty, lostFrom: index + 1, lostTo: index + 1 })
      continue
    }
    // A crash between writing the end mark and the rename leaves it here.
    if (decodeMark(within, at, mark.first)) return { offsets, bad, tail: undefined, contentEnd }
    const found = nextRecord(within, at, index, contentEnd, mark)
    if (!found) {
      const tail = { offset: at, bytes: contentEnd - at, lostFrom: index, lostTo: index }
      return { offsets, bad, tail, contentEnd }
    }
    bad.push({ offset: at, bytes: found.offset - at, lostFrom: index, lostTo: found.index })
    offsets.skip(found.index, found.offset)
  }
  return { offsets, bad, tail: undefined, contentEnd }
}

const nextRecord = (
  bytes: Buffer,
  from: number,
  expected: number,
  to: number,
  mark: Mark,
): { offset: number; index: number } | undefined => {
  for (let at = from + 8; at < to && at + recordHeaderBytes <= bytes.length; at += 8) {
    const index = readIndex(bytes, at + 8)
    if (index <= expected || index - expected > (at - from) / recordHeaderBytes) continue
    if (payloadBytesAt(bytes, at, index, mark) !== undefined) return { offset: at, index }
  }
  return undefined
}
