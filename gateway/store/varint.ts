/** Whole numbers in few bytes, and columns of them: neighbours differ little, so differences are what is kept. */

// First byte: bit 7 more follow, bit 6 negative, six bits of magnitude. Then seven bits a byte, lowest first.
// Sign and magnitude instead of zigzag keeps all of +-(2^53 - 1), the range of a station's seq, exact.
const more = 0x80
const negative = 0x40

/** A growing buffer of whole numbers. */
export type NumberWriter = ReturnType<typeof openNumberWriter>

export const openNumberWriter = () => {
  let bytes = new Uint8Array(1024)
  let length = 0

  const push = (byte: number) => {
    if (length === bytes.length) {
      const larger = new Uint8Array(bytes.length * 2)
      larger.set(bytes)
      bytes = larger
    }
    bytes[length++] = byte
  }

  const int = (value: number) => {
    let magnitude = Math.abs(value)
    let byte = (value < 0 ? negative : 0) | (magnitude % 64)
    magnitude = Math.floor(magnitude / 64)
    while (magnitude > 0) {
      push(byte | more)
      byte = magnitude % 128
      magnitude = Math.floor(magnitude / 128)
    }
    push(byte)
  }

  const raw = (part: Uint8Array) => {
    int(part.length)
    for (const byte of part) push(byte)
  }

  return { int, raw, take: () => bytes.subarray(0, length) }
}

// Three equal steps cost three bytes as singles and up to five around a run.
const runMin = 4

/**
 * A column as the differences between neighbours, the first from zero: either n > 0 and one step that is taken n times, or
 * -n and then n single steps.
 */
export const writeColumn = (writer: NumberWriter, column: ArrayLike<number>): void => {
  const step = (at: number) => column[at]! - (at === 0 ? 0 : column[at - 1]!)
  let written = 0
  const writeSingles = (end: number) => {
    if (end === written) return
    writer.int(written - end)
    for (let at = written; at < end; at++) writer.int(step(at))
  }
  let at = 0
  while (at < column.length) {
    const first = step(at)
    let end = at + 1
    while (end < column.length && step(end) === first) end++
    if (end - at >= runMin) {
      writeSingles(at)
      writer.int(end - at)
      writer.int(first)
      written = end
    }
    at = end
  }
  writeSingles(column.length)
}

/** Reads what a writer wrote; throws RangeError at the end of the bytes. */
export type NumberReader = ReturnType<typeof openNumberReader>

export const openNumberReader = (bytes: Uint8Array, start = 0) => {
  let at = start

  const next = () => {
    if (at >= bytes.length) throw new RangeError('a packed column ends too early')
    return bytes[at++]!
  }

  const int = () => {
    let byte = next()
    const sign = byte & negative ? -1 : 1
    let magnitude = byte & 63
    let unit = 64
    while (byte & more) {
      byte = next()
      magnitude += (byte & 127) * unit
      unit *= 128
    }
    return magnitude === 0 ? 0 : sign * magnitude
  }

  const raw = () => {
    const length = int()
    if (length < 0 || at + length > bytes.length) throw new RangeError('a packed column ends too early')
    at += length
    return bytes.subarray(at - length, at)
  }

  return { int, raw }
}

/** Fills `column` with what `writeColumn` wrote of the same length. */
export const readColumn = <Column extends Float64Array | Int32Array | Uint8Array>(
  reader: NumberReader,
  column: Column,
): Column => {
  let before = 0
  let at = 0
  while (at < column.length) {
    const run = reader.int()
    const end = at + Math.abs(run)
    if (run === 0 || end > column.length) throw new RangeError('a packed column is longer than its count')
    const step = run > 0 ? reader.int() : 0
    for (; at < end; at++) {
      before += run > 0 ? step : reader.int()
      column[at] = before
    }
  }
  return column
}
