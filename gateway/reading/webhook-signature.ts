/**
 * Signatures of Standard Webhooks (github.com/standard-webhooks, spec/standard-webhooks.md) as their receiver checks them:
 * `v1` is HMAC-SHA256 with a shared secret, `v1a` Ed25519. Signed are the bytes of id, timestamp and body with full stops
 * between them.
 */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { verify } from '#ed25519'
import { fromBase64 } from './base64.ts'
import { fromHex } from './bytes.ts'
import { keyFault } from './key.ts'

/** A secret that only receiver and hub know (`whsec_...`), or the hub's public key (`whpk_...`, or 64 hex digits). */
export type SignatureTrust = { readonly secret: string } | { readonly hubKey: string }

/** The version of the signatures that count, and whether any of those given is by whom is trusted. */
export type SignatureCheck = {
  readonly version: 'v1' | 'v1a'
  readonly isSigned: (content: Uint8Array, given: readonly Uint8Array[]) => boolean
}

// Each is looked at: a hub sends two, and where its key changes some more.
const mostSignatures = 16

/** The signatures of a version in a header, which has several with spaces between them. */
export const signaturesIn = (header: string, version: SignatureCheck['version']): Uint8Array[] =>
  header
    .split(' ', mostSignatures)
    .filter((one) => one.startsWith(`${version},`))
    .map((one) => fromBase64(one.slice(version.length + 1)))
    .filter((one) => one !== undefined)

const secretIn = (text: string): Uint8Array => {
  const bytes = text.startsWith('whsec_') ? fromBase64(text.slice('whsec_'.length)) : undefined
  // As long as the specification says: a short one can be guessed.
  if (bytes === undefined || bytes.length < 24 || bytes.length > 64)
    throw new TypeError('secret is none of a webhook: subscribe() tells it, as whsec_...')
  return bytes
}

const keyIn = (text: string): Uint8Array => {
  const bytes = text.startsWith('whpk_') ? fromBase64(text.slice('whpk_'.length)) : fromHex(text)
  // Anybody signs for a key of small order.
  if (bytes === undefined || keyFault(bytes) !== undefined)
    throw new TypeError(
      'hubKey is no key of a hub: "publicKey" of the subscription, as whpk_..., or 64 hex digits',
    )
  return bytes
}

/** Whether bytes are the same, in a time that does not tell where they differ. */
const areSame = (one: Uint8Array, other: Uint8Array): boolean => {
  if (one.length !== other.length) return false
  let difference = 0
  for (let at = 0; at < one.length; at++) difference |= one[at]! ^ other[at]!
  return difference === 0
}

/** How messages are checked for whoever trusts that. Throws a TypeError for a secret or a key that is none. */
export const signatureCheck = (trust: SignatureTrust): SignatureCheck => {
  if ('secret' in trust) {
    const secret = secretIn(trust.secret)
    return {
      version: 'v1',
      isSigned: (content: Uint8Array, given: readonly Uint8Array[]): boolean => {
        const mac = hmac(sha256, secret, content)
        return given.some((one) => areSame(one, mac))
      },
    }
  }
  const hubKey = keyIn(trust.hubKey)
  return {
    version: 'v1a',
    isSigned: (content: Uint8Array, given: readonly Uint8Array[]): boolean =>
      given.some((one) => verify(one, content, hubKey)),
  }
}
