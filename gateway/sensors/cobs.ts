/** COBS: bytes written without a zero, so that a zero can end them (Cheshire and Baker, IEEE/ACM ToN 7(2), 1999). */

// A group is its length plus one, then that many bytes that are not zero; after a group of 254 no zero is left out.
const fullGroup = 0xff

/** The bytes without any zero, at most one more for each 254, and one. */
export const cobsEncode = (bytes: Uint8Array): Uint8Array => {
  const out: number[] = [0]
  let groupAt = 0
  const close = (): void => {
    out[groupAt] = out.length - groupAt
    groupAt = out.length
    out.push(0)
  }
  for (const [index, byte] of bytes.entries()) {
    if (byte === 0) close()
    else {
      out.push(byte)
      // A full group at the very end needs no other after it.
      if (out.length - groupAt === fullGroup && index < bytes.length - 1) close()
    }
  }
  out[groupAt] = out.length - groupAt
  return Uint8Array.from(out)
}

/** What was encoded; undefined where a zero stands within or a group is longer than what is left. */
export const cobsDecode = (bytes: Uint8Array): Uint8Array | undefined => {
  const out = new Uint8Array(bytes.length)
  let size = 0
  for (let at = 0; at < bytes.length; ) {
    const group = bytes[at]!
    const end = at + group
    if (group === 0 || end > bytes.length) return undefined
    for (at += 1; at < end; at += 1) {
      if (bytes[at] === 0) return undefined
      out[size] = bytes[at]!
      size += 1
    }
    if (group !== fullGroup && at < bytes.length) size += 1
  }
  return out.slice(0, size)
}
