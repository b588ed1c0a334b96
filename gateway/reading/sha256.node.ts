/** SHA-256 (FIPS 180-4) by OpenSSL; the browser build uses the portable twin beside it. */
import { hash } from 'node:crypto'

/** 32 bytes; no Buffer, whose slice() would not copy. */
export const sha256 = (bytes: Uint8Array): Uint8Array => {
  const digest = hash('sha256', bytes, 'buffer')
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.length)
}
