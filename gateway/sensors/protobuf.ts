/** Reads protocol buffers without a schema: enough for small messages from a device, and bounded for hostile ones. */

type Value =
  | { readonly wire: 'varint'; readonly low: number }
  | { readonly wire: 'fixed32'; readonly bytes: Uint8Array }
  | { readonly wire: 'bytes'; readonly bytes: Uint8Array }
  | { readonly wire: 'fixed64' }

/** Fields of one message by number; of a repeated one the last, as protobuf has it for single fields. */
export type Fields = ReadonlyMap<number, Value>

// Encoding guide: protobuf.dev/programming-guides/encoding. A varint has ten bytes at most.
const maxVarint = 10
const maxFieldNumber = 0x1fff_ffff
// No message that is read here has so many.
const maxFields = 512

/**
 * The fields of a message; undefined where the bytes are none: a length past the end, a group, an endless varint.
 * Varints are kept to their low 32 bits, which is all that 32-bit fields are (negative ones have ten bytes).
 */
export const fieldsOf = (bytes: Uint8Array): Fields | undefined => {
  const fields = new Map<number, Value>()
  let at = 0

  const varint = (): number | undefined => {
    let low = 0
    for (let index = 0; index < maxVarint; index += 1) {
      const byte = bytes[at]
      if (byte === undefined) return undefined
      at += 1
      if (index < 5) low += (byte & 0x7f) * 2 ** (7 * index)
      if (byte < 0x80) return low % 2 ** 32
    }
    return undefined
  }
  const taken = (size: number): Uint8Array | undefined => {
    if (size > bytes.length - at) return undefined
    at += size
    return bytes.subarray(at - size, at)
  }
  const valueAs = (wire: number): Value | undefined => {
    if (wire === 0) {
      const low = varint()
      return low === undefined ? undefined : { wire: 'varint', low }
    }
    if (wire === 1) return taken(8) && { wire: 'fixed64' }
    const size = wire === 2 ? varint() : wire === 5 ? 4 : undefined
    const content = size === undefined ? undefined : taken(size)
    return content && { wire: wire === 2 ? 'bytes' : 'fixed32', bytes: content }
  }

  for (let count = 0; at < bytes.length; count += 1) {
    const tag = varint()
    if (tag === undefined || count === maxFields) return undefined
    const number = tag >>> 3
    const value = number === 0 || number > maxFieldNumber ? undefined : valueAs(tag & 7)
    if (!value) return undefined
    fields.set(number, value)
  }
  return fields
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** A uint32, enum, bool or fixed32; undefined where it is not there, or is something else. */
export const uint = (fields: Fields, number: number): number | undefined => {
  const value = fields.get(number)
  if (value?.wire === 'varint') return value.low
  return value?.wire === 'fixed32' ? viewOf(value.bytes).getUint32(0, true) : undefined
}

/** An int32 or sfixed32. */
export const int = (fields: Fields, number: number): number | undefined => {
  const value = uint(fields, number)
  return value === undefined ? undefined : value | 0
}

/** A float; not finite where the device said so. */
export const float = (fields: Fields, number: number): number | undefined => {
  const value = fields.get(number)
  return value?.wire === 'fixed32' ? viewOf(value.bytes).getFloat32(0, true) : undefined
}

/** Bytes, a text or a message. */
export const bytesAt = (fields: Fields, number: number): Uint8Array | undefined => {
  const value = fields.get(number)
  return value?.wire === 'bytes' ? value.bytes : undefined
}
