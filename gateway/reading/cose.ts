/** COSE_Sign1 (RFC 9052 s4.2) with Ed25519: the frame of envelopes, receipts and tokens. */
import {
  type CborBounds,
  type CborValue,
  CborWriter,
  decodeCbor,
  decodeTagged,
  envelopeBounds,
} from './cbor.ts'
import { type Refused, refused } from './refusal.ts'

/** Algorithms accepted in the protected header: fully specified Ed25519 (RFC 9864) and its older, wider name. */
export const algorithms = { ed25519: -19, eddsa: -8 } as const

/** Common header parameters (RFC 9052 s3.1). */
export const headerLabels = { alg: 1, contentType: 3, kid: 4 } as const

/** A COSE_Sign1 message taken apart; byte strings are copies. Nothing in it is verified yet. */
export type Sign1 = {
  readonly protectedBytes: Uint8Array
  readonly header: ReadonlyMap<number | string, CborValue>
  readonly payload: Uint8Array
  readonly signature: Uint8Array
}

/** Signs what it is given with one key; 64 bytes. */
export type Signer = {
  readonly publicKey: Uint8Array
  readonly sign: (message: Uint8Array) => Uint8Array
}

const utf8 = new TextEncoder()

/** The bytes that are signed: Sig_structure of RFC 9052 s4.4, bound to one network by external_aad. */
export const toBeSigned = (protectedBytes: Uint8Array, payload: Uint8Array, network: string): Uint8Array =>
  new CborWriter()
    .array(4)
    .text('Signature1')
    .bytes(protectedBytes)
    .bytes(utf8.encode(network))
    .bytes(payload)
    .finish()

/** Signs and assembles a tagged COSE_Sign1 with an empty unprotected header. */
export const signSign1 = (
  protectedBytes: Uint8Array,
  payload: Uint8Array,
  network: string,
  signer: Pick<Signer, 'sign'>,
): Uint8Array =>
  new CborWriter()
    .tag(18)
    .array(4)
    .bytes(protectedBytes)
    .map(0)
    .bytes(payload)
    .bytes(signer.sign(toBeSigned(protectedBytes, payload, network)))
    .finish()

/** A protected header for the messages that need only algorithm, content type and key id. */
export const plainHeader = (contentType: string, kid: Uint8Array): Uint8Array =>
  new CborWriter()
    .map(3)
    .int(headerLabels.alg)
    .int(algorithms.ed25519)
    .int(headerLabels.contentType)
    .text(contentType)
    .int(headerLabels.kid)
    .bytes(kid)
    .finish()

/** Any Ed25519 COSE_Sign1 in deterministic CBOR, with its unprotected header; `decodeSign1` is for our own messages. */
export const parseSign1 = (
  bytes: Uint8Array,
  bounds: CborBounds = envelopeBounds,
):
  | { readonly ok: true; readonly sign1: Sign1; readonly unprotected: ReadonlyMap<unknown, CborValue> }
  | Refused => {
  const outer = decodeTagged(bytes, bounds)
  if (!outer.ok) return outer
  if (!Array.isArray(outer.value) || outer.value.length !== 4)
    return refused('malformed', 'COSE_Sign1 is an array of four')
  const [protectedBytes, unprotected, payload, signature] = outer.value
  if (
    !(
      protectedBytes instanceof Uint8Array &&
      payload instanceof Uint8Array &&
      signature instanceof Uint8Array
    )
  )
    return refused('malformed', 'protected header, payload and signature are byte strings')
  if (!(unprotected instanceof Map)) return refused('malformed', 'the unprotected header is a map')
  if (signature.length !== 64) return refused('malformed', `a signature of ${signature.length} bytes, not 64`)
  const inner = decodeCbor(protectedBytes, bounds)
  if (!inner.ok) return refused(inner.reason, `protected header: ${inner.detail}`)
  if (!(inner.value instanceof Map)) return refused('malformed', 'the protected header is a map')
  const algorithm = inner.value.get(headerLabels.alg)
  if (algorithm !== algorithms.ed25519 && algorithm !== algorithms.eddsa)
    return refused('unsupported-algorithm', `alg ${String(algorithm)}`)
  return {
    ok: true,
    sign1: {
      protectedBytes: protectedBytes.slice(),
      header: inner.value,
      payload: payload.slice(),
      signature: signature.slice(),
    },
    unprotected,
  }
}

/**
 * Takes one of our messages apart. Stricter than RFC 9052 on purpose: with nothing in the unprotected header,
 * nobody but the signer can change a byte and leave the signature valid.
 */
export const decodeSign1 = (
  bytes: Uint8Array,
  bounds: CborBounds = envelopeBounds,
): { readonly ok: true; readonly sign1: Sign1 } | Refused => {
  const parsed = parseSign1(bytes, bounds)
  if (parsed.ok && parsed.unprotected.size > 0)
    return refused('malformed', 'the unprotected header is not empty')
  return parsed
}
