/** JSON Web Signatures in compact form (RFC 7515) with Ed25519 (RFC 8037, RFC 9864): offers, and receipts for JSON. */
import { verify } from '#ed25519'
import { toHex } from '../reading/bytes.ts'
import type { Signer } from '../reading/cose.ts'
import { keyId } from '../reading/key.ts'

const text = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signs a JSON value. `type` goes into the header (RFC 8725 s3.11), so that one kind never passes for another. */
export const signJws = (type: string, payload: object, signer: Signer): string => {
  const header = { alg: 'EdDSA', typ: type, kid: toHex(keyId(signer.publicKey)) }
  const input = `${text(header)}.${text(payload)}`
  return `${input}.${Buffer.from(signer.sign(Buffer.from(input))).toString('base64url')}`
}

/** Longest JWS that is read where nothing else is said; a receipt with a share for each of many stations is longer. */
export const maxJwsLength = 8192

const pattern = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/

const parsed = (part: string): unknown => {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
}

/** The payload of a JWS of that type by that key; undefined for anything else. The header is never asked for the key. */
export const verifyJws = (
  type: string,
  jws: string,
  publicKey: Uint8Array,
  longest: number = maxJwsLength,
): unknown => {
  const match = jws.length > longest ? null : pattern.exec(jws)
  if (match === null) return undefined
  const [, header, payload, signature] = match as unknown as [string, string, string, string]
  const said = parsed(header) as { alg?: unknown; typ?: unknown } | undefined | null
  if (said?.alg !== 'EdDSA' || said.typ !== type) return undefined
  const bytes = new Uint8Array(Buffer.from(signature, 'base64url'))
  return verify(bytes, new Uint8Array(Buffer.from(`${header}.${payload}`)), publicKey)
    ? parsed(payload)
    : undefined
}
