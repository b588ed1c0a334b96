/** Checks JSON Web Signatures in compact form (RFC 7515) with Ed25519 (RFC 8037, RFC 9864). */
import { verify } from '#ed25519'
import { fromBase64url } from './base64.ts'

/** Longest JWS that is read where nothing else is said; a receipt with a share for each of many stations is longer. */
export const maxJwsLength = 8192

const pattern = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/

const utf8 = new TextDecoder('utf-8', { fatal: true })

const parsed = (part: string): unknown => {
  try {
    return JSON.parse(utf8.decode(fromBase64url(part)))
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
  const bytes = fromBase64url(signature)
  return bytes !== undefined && verify(bytes, new TextEncoder().encode(`${header}.${payload}`), publicKey)
    ? parsed(payload)
    : undefined
}
