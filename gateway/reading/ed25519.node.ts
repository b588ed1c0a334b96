/** Ed25519 (RFC 8032) by OpenSSL, through cached key objects: about thirteen times the portable implementation. */
import { createPublicKey, type KeyObject, verify as opensslVerify } from 'node:crypto'

// SubjectPublicKeyInfo of an Ed25519 key (RFC 8410 s4) up to the 32 key bytes.
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex')

// Parsing a key costs a third of a verification; a hub sees few keys, so keep the recent ones.
const cacheLimit = 4096
const cache = new Map<string, KeyObject>()

/** The key object of 32 raw bytes, cached; throws where OpenSSL does not take the key. */
export const keyObject = (publicKey: Uint8Array): KeyObject => {
  const raw = Buffer.from(publicKey.buffer, publicKey.byteOffset, publicKey.byteLength)
  const id = raw.toString('latin1')
  let key = cache.get(id)
  if (key === undefined) {
    key = createPublicKey({ key: Buffer.concat([spkiPrefix, raw]), format: 'der', type: 'spki' })
    if (cache.size >= cacheLimit) cache.delete(cache.keys().next().value!)
    cache.set(id, key)
  }
  return key
}

/** Whether 64 bytes of signature by that 32-byte key fit the message. Never throws. */
export const verify = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean => {
  if (signature.length !== 64 || publicKey.length !== 32) return false
  try {
    return opensslVerify(null, message, keyObject(publicKey), signature)
  } catch {
    return false // a key that OpenSSL refuses to load signs nothing
  }
}
