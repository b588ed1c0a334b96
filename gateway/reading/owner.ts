/** A station's word on whose account it belongs to: signed by its key, good for one account of one network. */
import { verify } from '#ed25519'
import { equalBytes } from './bytes.ts'
import { CborWriter, decodeCbor, isUint } from './cbor.ts'
import { decodeSign1, headerLabels, plainHeader, type Signer, signSign1, toBeSigned } from './cose.ts'
import { keyFault, keyId, stationId } from './key.ts'
import { type Refused, refused } from './refusal.ts'

/** Another type than that of a login token: a broker sees those, and must not be able to claim a station by one. */
export const ownerContentType = 'application/vnd.groundtruth.owner+cbor'

/** How long it is good for, and how far the clocks of station and hub may be apart. */
const lifeMs = 24 * 3_600_000

/** The claim as base64url text. */
export const signOwner = (network: string, station: Signer, account: string, nowMs: number): string => {
  const payload = new CborWriter()
    .map(3)
    .int(0)
    .int(nowMs)
    .int(1)
    .bytes(station.publicKey)
    .int(2)
    .text(account)
  const header = plainHeader(ownerContentType, keyId(station.publicKey))
  return Buffer.from(signSign1(header, payload.finish(), network, station)).toString('base64url')
}

/** Whether `claim` is the word of `station` for that account, given not long ago; or why not. */
export const verifyOwner = (
  claim: string,
  network: string,
  station: string,
  account: string,
  nowMs: number,
): { readonly ok: true } | Refused => {
  if (claim.length > 1024) return refused('too-large', 'a claim has at most 1024 characters')
  const decoded = decodeSign1(new Uint8Array(Buffer.from(claim, 'base64url')))
  if (!decoded.ok) return decoded
  const { header, protectedBytes, payload, signature } = decoded.sign1
  if (header.get(headerLabels.contentType) !== ownerContentType)
    return refused(
      'unsupported-content',
      'no claim by its content type; "groundtruth key --account ID" prints one',
    )
  const inner = decodeCbor(payload)
  if (!inner.ok) return inner
  const body = inner.value
  const [issuedMs, publicKey, whose] = body instanceof Map ? [body.get(0), body.get(1), body.get(2)] : []
  if (!isUint(issuedMs) || !(publicKey instanceof Uint8Array) || keyFault(publicKey) !== undefined)
    return refused('malformed', 'a claim holds its time, a public key and an account')
  const kid = header.get(headerLabels.kid)
  if (stationId(publicKey) !== station || !(kid instanceof Uint8Array) || !equalBytes(kid, keyId(publicKey)))
    return refused('wrong-topic', 'the key is another station’s')
  if (!verify(signature, toBeSigned(protectedBytes, payload, network), publicKey))
    return refused('bad-signature', 'the signature does not fit')
  if (whose !== account) return refused('wrong-topic', 'it is for another account')
  if (Math.abs(nowMs - issuedMs) > lifeMs) return refused('replayed', 'it is too old, or a clock is wrong')
  return { ok: true }
}
