/** Ed25519 (RFC 8032) in plain JavaScript: browsers, buyers' tools, simulated devices and the cross-check. */
import * as ed25519 from '@noble/ed25519'
import { sha512 } from '@noble/hashes/sha2.js'

ed25519.hashes.sha512 = sha512

/** 32 raw bytes of the public key that belongs to a 32-byte seed. */
export const publicKeyOf = (seed: Uint8Array): Uint8Array => ed25519.getPublicKey(seed)

/** 64 bytes; the same for the same seed and message everywhere. */
export const sign = (message: Uint8Array, seed: Uint8Array): Uint8Array => ed25519.sign(message, seed)

/**
 * Strict verification (RFC 8032, not ZIP 215: under that rule fourteen small-order keys "sign" anything).
 * Never throws: a key or signature that does not parse is simply not valid.
 */
export const verify = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean => {
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: false })
  } catch {
    return false // noble throws for points and scalars that do not decode
  }
}
