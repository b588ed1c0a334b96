/**
 * Deterministic CBOR (RFC 8949 s4.2.1): a writer for what is signed, a strict checker for what comes in, and
 * decoding through cbor-x, which never sees bytes that the checker has not passed.
 */
import { Decoder } from 'cbor-x'
import { compareBytes } from './bytes.ts'

const initialBytes = 512

// A writer's memory goes back here when it has finished: fresh memory costs more than a small message does. A few are
// enough for messages written while others are open; what grew large is let go.
const spares: Uint8Array[] = []
const keptSpares = 4
const none = new Uint8Array(0)
const keptBytes = 64 * 1024

/** The least integer written and accepted: cbor-x misreads negative ones of 64 bits (-2^32 - 1 becomes -1). */
const leastInt = -(2 ** 32)

/** The initial byte of tag 18, COSE_Sign1 (RFC 9052 s2). */
const cose1Tag = 0xd2

/** Writes CBOR items one after the other, each in its shortest form. Map keys are the caller's to order. */
export class CborWriter {
  #bytes = spares.pop() ?? new Uint8Array(initialBytes)
  #length = 0

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return
    const bytes = new Uint8Array(Math.max(initialBytes, this.#bytes.length * 2, this.#length + more))
    bytes.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = bytes
  }

  #head(major: number, argument: number): void {
    this.#reserve(9)
    const bytes = this.#bytes
    const type = major << 5
    let at = this.#length
    if (argument < 24) bytes[at++] = type | argument
    else if (argument < 0x100) {
      bytes[at++] = type | 24
      bytes[at++] = argument
    } else if (argument < 0x1_0000) {
      bytes[at++] = type | 25
      bytes[at++] = argument >>> 8
      bytes[at++] = argument
    } else {
      if (argument < 0x1_0000_0000) bytes[at++] = type | 26
      else {
        const high = Math.floor(argument / 0x1_0000_0000)
        bytes[at++] = type | 27
        bytes[at++] = high >>> 24
        bytes[at++] = high >>> 16
        bytes[at++] = high >>> 8
        bytes[at++] = high
      }
      const low = argument >>> 0
      bytes[at++] = low >>> 24
      bytes[at++] = low >>> 16
      bytes[at++] = low >>> 8
      bytes[at++] = low
    }
    this.#length = at
  }

  /** An integer from -2^32 to 2^53 - 1. */
  int(value: number): this {
    if (!Number.isSafeInteger(value) || value < leastInt)
      throw new RangeError(`a safe integer from ${leastInt} is needed, not ${value}`)
    if (value < 0) this.#head(1, -1 - value)
    else this.#head(0, value)
    return this
  }

  bytes(value: Uint8Array): this {
    this.#head(2, value.length)
    return this.raw(value)
  }

  text(value: string): this {
    const length = value.length
    // Ids, models, reasons and content types are short ASCII: write them in place, and encode only what is not.
    if (length >= 0x100) return this.#encodedText(value)
    this.#reserve(9 + length)
    const start = this.#length + (length < 24 ? 1 : 2)
    for (let at = 0; at < length; at++) {
      const unit = value.charCodeAt(at)
      if (unit > 0x7f) return this.#encodedText(value)
      this.#bytes[start + at] = unit
    }
    this.#head(3, length)
    this.#length += length
    return this
  }

  #encodedText(value: string): this {
    if (!value.isWellFormed()) throw new RangeError('text with a lone surrogate has no UTF-8')
    const encoded = new TextEncoder().encode(value)
    this.#head(3, encoded.length)
    return this.raw(encoded)
  }

  /** Opens an array; exactly `length` items must follow. */
  array(length: number): this {
    this.#head(4, length)
    return this
  }

  /** Opens a map; exactly `length` pairs must follow, their encoded keys ascending. */
  map(length: number): this {
    this.#head(5, length)
    return this
  }

  tag(number: number): this {
    this.#head(6, number)
    return this
  }

  /** Bytes that are CBOR already. */
  raw(value: Uint8Array): this {
    this.#reserve(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
    return this
  }

  /** A copy of what was written; the writer is empty again and can be reused. */
  finish(): Uint8Array {
    const done = this.#bytes.slice(0, this.#length)
    this.#length = 0
    if (spares.length < keptSpares && this.#bytes.length <= keptBytes) {
      spares.push(this.#bytes)
      this.#bytes = none
    }
    return done
  }
}

/** Why bytes are not the CBOR that is accepted here. */
export type CborFault = {
  readonly reason: 'too-large' | 'malformed' | 'not-canonical'
  readonly detail: string
}

/** Bounds of a check; the defaults suit one envelope from a stranger. */
export type CborBounds = {
  /** Longest input in bytes. */
  readonly maxBytes: number
  readonly maxDepth: number
  readonly maxItems: number
  /** Finite floats, in any width: only third parties' SenML has them. */
  readonly floats: boolean
  /** Map keys in any order, in maps of at most 32 pairs: as SenML packs of third parties have them. */
  readonly anyOrder?: boolean
}

// Unsorted keys are compared each with each: this many, and no map costs more than a thousand comparisons.
const maxUnsortedPairs = 32

export const envelopeBounds: CborBounds = { maxBytes: 8192, maxDepth: 8, maxItems: 4096, floats: false }

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** `keys` are the encoded keys of a map so far: all of them where order is free, otherwise the last. */
type Frame = { left: number; map: boolean; keyNext: boolean; keys: Uint8Array[] }

/**
 * Checks that bytes are exactly one deterministic CBOR item within bounds: definite lengths, shortest forms, map
 * keys integers or text in ascending order without repeats, valid UTF-8, integers from -2^32 to 2^53, no simple values but
 * true, false and null, no tag other than 18 and that only in front. Never recurses, never allocates by what a
 * length claims. Undefined means: safe to decode.
 */
export const cborFault = (bytes: Uint8Array, bounds: CborBounds = envelopeBounds): CborFault | undefined => {
  const size = bytes.length
  const fault = (reason: CborFault['reason'], what: string, at: number): CborFault => ({
    reason,
    detail: `${what} at byte ${at}`,
  })
  if (size > bounds.maxBytes)
    return { reason: 'too-large', detail: `${size} bytes, at most ${bounds.maxBytes} are accepted` }
  const stack: Frame[] = []
  let at = bytes[0] === cose1Tag ? 1 : 0
  let items = 0
  while (true) {
    const start = at
    if (++items > bounds.maxItems) return fault('too-large', `more than ${bounds.maxItems} items`, at)
    const initial = bytes[at++]
    if (initial === undefined) return fault('malformed', 'input ends inside an item', start)
    const major = initial >> 5
    const info = initial & 31
    const top = stack.at(-1)
    if (top?.map && top.keyNext && major !== 0 && major !== 1 && major !== 3)
      return fault('malformed', 'a map key that is no integer or text', start)
    let argument = info
    if (info >= 24) {
      if (info > 27)
        return fault(
          info === 31 ? 'not-canonical' : 'malformed',
          info === 31 ? 'indefinite length' : 'reserved length',
          start,
        )
      const width = 1 << (info - 24)
      if (at + width > size) return fault('malformed', 'input ends inside an item', start)
      argument = 0
      for (let end = at + width; at < end; at++) argument = argument * 256 + bytes[at]!
      if (major !== 7) {
        if (argument < (info === 24 ? 24 : 256 ** (width / 2)))
          return fault('not-canonical', 'not the shortest form', start)
        if (argument > Number.MAX_SAFE_INTEGER) return fault('too-large', 'a number beyond 2^53', start)
        if (major === 1 && -1 - argument < leastInt)
          return fault('too-large', 'a negative number beyond -2^32', start)
      }
    }
    let opened = false
    switch (major) {
      case 2:
      case 3:
        if (argument > size - at) return fault('malformed', 'a string longer than the input', start)
        if (major === 3)
          try {
            utf8.decode(bytes.subarray(at, at + argument))
          } catch {
            return fault('malformed', 'text that is not UTF-8', start)
          }
        at += argument
        break
      case 4:
      case 5:
        // Each item takes at least one byte: a longer claim cannot be true.
        if (argument * (major === 5 ? 2 : 1) > size - at)
          return fault('malformed', 'more items than input', start)
        if (stack.length >= bounds.maxDepth)
          return fault('too-large', `nested deeper than ${bounds.maxDepth}`, start)
        if (bounds.anyOrder && major === 5 && argument > maxUnsortedPairs)
          return fault('too-large', `a map of more than ${maxUnsortedPairs} pairs`, start)
        if (argument > 0) {
          stack.push({
            left: argument * (major === 5 ? 2 : 1),
            map: major === 5,
            keyNext: major === 5,
            keys: [],
          })
          opened = true
        }
        break
      case 6:
        return fault('malformed', 'a tag', start)
      case 7:
        if (info >= 25 && bounds.floats) {
          const view = new DataView(bytes.buffer, bytes.byteOffset + start + 1)
          if (
            info === 25
              ? (view.getUint8(0) & 0x7c) === 0x7c
              : !Number.isFinite(info === 26 ? view.getFloat32(0) : view.getFloat64(0))
          )
            return fault('malformed', 'a float that is no number', start)
        } else if (info >= 25) return fault('malformed', 'a float', start)
        else if (info < 20 || info > 22) return fault('malformed', 'an unassigned simple value', start)
    }
    if (opened) continue
    // The item that began at `start` is whole; so are the containers it was the last item of.
    for (;;) {
      const frame = stack.at(-1)
      if (frame === undefined) {
        if (at !== size) return fault('malformed', 'bytes after the end', at)
        return undefined
      }
      if (frame.map) {
        if (frame.keyNext) {
          const key = bytes.subarray(start, at)
          for (const other of frame.keys) {
            const order = compareBytes(other, key)
            if (order === 0) return fault('malformed', 'a map key twice', start)
            if (order > 0 && !bounds.anyOrder) return fault('not-canonical', 'map keys out of order', start)
          }
          if (bounds.anyOrder) frame.keys.push(key)
          else frame.keys[0] = key
        }
        frame.keyNext = !frame.keyNext
      }
      if (--frame.left > 0) break
      stack.pop()
    }
  }
}

const decoder = new Decoder({
  useRecords: false,
  mapsAsObjects: false,
  variableMapSize: true,
  tagUint8Array: false,
  int64AsNumber: true,
} as ConstructorParameters<typeof Decoder>[0])

/** What checked CBOR decodes to. Byte strings are views of the input: copy what outlives it. */
export type CborValue =
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | CborValue[]
  | Map<number | string, CborValue>

/** A decoded item, or why there is none. */
export type Decoded = { readonly ok: true; readonly value: CborValue } | ({ readonly ok: false } & CborFault)

const checked = (bytes: Uint8Array, bounds: CborBounds, from: number): Decoded => {
  const fault = cborFault(bytes, bounds)
  if (fault !== undefined) return { ok: false, ...fault }
  // A view of our own: views of a Buffer would be Buffers, whose slice() does not copy.
  const item = new Uint8Array(bytes.buffer, bytes.byteOffset + from, bytes.length - from)
  return { ok: true, value: decoder.decode(item) as CborValue }
}

/** Checks and decodes one item without any tag. */
export const decodeCbor = (bytes: Uint8Array, bounds: CborBounds = envelopeBounds): Decoded =>
  bytes[0] === cose1Tag
    ? { ok: false, reason: 'malformed', detail: 'a tag at byte 0' }
    : checked(bytes, bounds, 0)

/** Checks and decodes what stands behind a leading tag 18 (COSE_Sign1). */
export const decodeTagged = (bytes: Uint8Array, bounds: CborBounds = envelopeBounds): Decoded =>
  bytes[0] === cose1Tag
    ? checked(bytes, bounds, 1)
    : { ok: false, reason: 'malformed', detail: 'no COSE_Sign1 tag in front' }

/** Whether a decoded value is a whole number from 0 to 2^53 - 1. */
export const isUint = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

/** Whether a decoded value is a byte string as long as a SHA-256 hash. */
export const isHash = (value: unknown): value is Uint8Array =>
  value instanceof Uint8Array && value.length === 32
