/** Bytes of published frames and commands, as documents print them. */

/** The bytes of a hexadecimal string. */
export const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))

/** The bytes of a text (UTF-8). */
export const utf8 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

/** The sum of bytes `start` to before `end`. */
export const sum = (bytes: Uint8Array, start: number, end: number): number => {
  let total = 0
  for (let index = start; index < end; index += 1) total += bytes[index]!
  return total
}

/** The exclusive or of bytes `start` to before `end`, the checksum of NMEA 0183 and its imitators. */
export const xor = (bytes: Uint8Array, start: number, end: number): number => {
  let total = 0
  for (let index = start; index < end; index += 1) total ^= bytes[index]!
  return total
}

/** A line's text (Latin-1), from where what the device says begins: noise on the wire may stand before it. */
export const lineFrom = (frame: Uint8Array, beginning: RegExp): string => {
  const text = Buffer.from(frame).toString('latin1').trim()
  const at = text.search(beginning)
  return at > 0 ? text.slice(at) : text
}
