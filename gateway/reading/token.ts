/** The password a station shows a broker: short-lived, signed by its own key, good for one network. */
import { verify } from '#ed25519'
import { equalBytes } from './bytes.ts'
import { CborWriter, decodeCbor } from './cbor.ts'
import { decodeSign1, headerLabels, plainHeader, type Signer, signSign1, toBeSigned } from './cose.ts'
import { keyId, stationId } from './key.ts'
import { type Refused, refused } from './refusal.ts'

export const tokenContentType = 'application/vnd.groundtruth.token+cbor'

/** How long a token is good for; it is made anew for every connection. */
export const tokenLifeMs = 10 * 60_000

/** How far the two clocks may be apart: a Pi without a battery clock connects before it knows the time. */
const clockToleranceMs = 24 * 3_600_000

/** The token as base64url text. */
export const signToken = (network: string, station: Signer, nowMs: number): string => {
  const payload = new CborWriter().map(2).int(0).int(nowMs).int(1).bytes(station.publicKey).finish()
  const header = plainHeader(tokenContentType, keyId(station.publicKey))
  return Buffer.from(signSign1(header, payload, network, station)).toString('base64url')
}

/** The public key behind a token for `station`, or why it is not good. Whether the key is sound is for registration to say. */
export const verifyToken = (
  token: string,
  network: string,
  station: string,
  nowMs: number,
): { readonly ok: true; readonly publicKey: Uint8Array } | Refused => {
  if (token.length > 1024) return refused('too-large', 'a token has at most 1024 characters')
  const decoded = decodeSign1(new Uint8Array(Buffer.from(token, 'base64url')))
  if (!decoded.ok) return decoded
  const { header, protectedBytes, payload, signature } = decoded.sign1
  if (header.get(headerLabels.contentType) !== tokenContentType)
    return refused('unsupported-content', 'no token by its content type')
  const inner = decodeCbor(payload)
  if (!inner.ok) return inner
  const body = inner.value
  const issuedMs = body instanceof Map ? body.get(0) : undefined
  const key = body instanceof Map ? body.get(1) : undefined
  if (typeof issuedMs !== 'number' || !(key instanceof Uint8Array))
    return refused('malformed', 'a token holds its time and a public key')
  const publicKey = key.slice()
  const kid = header.get(headerLabels.kid)
  if (stationId(publicKey) !== station || !(kid instanceof Uint8Array) || !equalBytes(kid, keyId(publicKey)))
    return refused('wrong-topic', 'the key is another station’s')
  if (!verify(signature, toBeSigned(protectedBytes, payload, network), publicKey))
    return refused('bad-signature', 'the signature does not fit')
  const ageMs = nowMs - issuedMs
  if (ageMs > tokenLifeMs + clockToleranceMs || ageMs < -clockToleranceMs)
    return refused('replayed', 'the token is too old, or a clock is wrong')
  return { ok: true, publicKey }
}
