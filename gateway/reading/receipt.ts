/** The hub's signed receipt to a station: what it has on disk and will anchor, and what it refused. */
import { verify } from '#ed25519'
import { equalBytes, fromHex, toHex } from './bytes.ts'
import { type CborBounds, CborWriter, decodeCbor, envelopeBounds, isHash, isUint } from './cbor.ts'
import { decodeSign1, headerLabels, plainHeader, type Signer, signSign1, toBeSigned } from './cose.ts'
import { keyId } from './key.ts'
import { type Refusal, type Refused, refusalCoded, refusals, refused } from './refusal.ts'

export const receiptContentType = 'application/vnd.groundtruth.receipt+cbor'

/**
 * Envelopes `first` to `last` are kept; `head` is SHA-256 of envelope `last`, which names all before it by `prev`, and
 * `withheld` its count of envelopes with private positions: with both, a station whose disk forgot them can go on.
 */
export type AcceptedRange = {
  readonly first: number
  readonly last: number
  readonly head: Uint8Array
  readonly withheld: number
}

/** An envelope that was not kept, named by its own hash: a forger on the broker cannot have another one dropped. */
export type RefusedEnvelope = { readonly seq: number; readonly reason: Refusal; readonly hash: Uint8Array }

/** Cumulative: `accepted` covers all the hub ever kept of this station within the newest `maxRanges` ranges. */
export type Receipt = {
  readonly station: string
  readonly issuedMs: number
  readonly accepted: readonly AcceptedRange[]
  readonly refused: readonly RefusedEnvelope[]
}

/** Ranges and refusals one receipt carries at most; more gaps than this leave the oldest ranges to a later one. */
export const maxRanges = 64

// 64 ranges of at most 54 bytes and 64 refusals of 45, and their frame.
const receiptBounds: CborBounds = envelopeBounds

/** The receipt as COSE_Sign1 by the hub's key. */
export const signReceipt = (receipt: Receipt, network: string, hub: Signer): Uint8Array => {
  const station = fromHex(receipt.station)
  if (station?.length !== 16) throw new RangeError(`a station id has 32 hex digits: ${receipt.station}`)
  const writer = new CborWriter().map(4).int(0).bytes(station).int(1).int(receipt.issuedMs)
  writer.int(2).array(receipt.accepted.length)
  for (const { first, last, head, withheld } of receipt.accepted)
    writer.array(4).int(first).int(last).bytes(head).int(withheld)
  writer.int(3).array(receipt.refused.length)
  for (const { seq, reason, hash } of receipt.refused)
    writer.array(3).int(seq).int(refusals[reason].code).bytes(hash)
  return signSign1(plainHeader(receiptContentType, keyId(hub.publicKey)), writer.finish(), network, hub)
}

/** Checks form and signature of a receipt from outside. */
export const verifyReceipt = (
  bytes: Uint8Array,
  network: string,
  hubKey: Uint8Array,
): { readonly ok: true; readonly receipt: Receipt } | Refused => {
  const decoded = decodeSign1(bytes, receiptBounds)
  if (!decoded.ok) return decoded
  const { header, protectedBytes, payload, signature } = decoded.sign1
  if (header.get(headerLabels.contentType) !== receiptContentType)
    return refused('unsupported-content', 'no receipt by its content type')
  const kid = header.get(headerLabels.kid)
  if (!(kid instanceof Uint8Array) || !equalBytes(kid, keyId(hubKey)))
    return refused('bad-signature', 'signed by another key than this hub’s')
  if (!verify(signature, toBeSigned(protectedBytes, payload, network), hubKey))
    return refused('bad-signature', 'the signature does not fit')
  const bad = (what: string): Refused => refused('malformed', what)
  const inner = decodeCbor(payload, receiptBounds)
  if (!inner.ok) return inner
  const body = inner.value
  if (!(body instanceof Map) || body.size !== 4) return bad('a receipt is a map of four')
  const station = body.get(0)
  const issuedMs = body.get(1)
  const acceptedItems = body.get(2)
  const refusedItems = body.get(3)
  if (!(station instanceof Uint8Array) || station.length !== 16 || !isUint(issuedMs))
    return bad('a receipt names its station and time')
  if (!Array.isArray(acceptedItems) || !Array.isArray(refusedItems)) return bad('a receipt holds two lists')
  const accepted: AcceptedRange[] = []
  for (const item of acceptedItems) {
    if (!Array.isArray(item) || item.length !== 4) return bad('an accepted range has four items')
    const [first, last, head, withheld] = item
    if (!isUint(first) || !isUint(last) || first < 1 || last < first || !isHash(head) || !isUint(withheld))
      return bad('an accepted range is first, last, hash, count')
    if (first <= (accepted.at(-1)?.last ?? 0)) return bad('accepted ranges ascend')
    accepted.push({ first, last, head: head.slice(), withheld })
  }
  const refusedEnvelopes: RefusedEnvelope[] = []
  for (const item of refusedItems) {
    if (!Array.isArray(item) || item.length !== 3) return bad('a refusal has three items')
    const [seq, code, hash] = item
    const reason = isUint(code) ? refusalCoded(code) : undefined
    if (!isUint(seq) || !isUint(code) || !isHash(hash)) return bad('a refusal is seq, reason, hash')
    // A reason from a newer hub: nothing can be done about this one envelope, the rest of the receipt stands.
    if (reason === undefined) continue
    refusedEnvelopes.push({ seq, reason, hash: hash.slice() })
  }
  return { ok: true, receipt: { station: toHex(station), issuedMs, accepted, refused: refusedEnvelopes } }
}
