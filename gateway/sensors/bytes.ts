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
