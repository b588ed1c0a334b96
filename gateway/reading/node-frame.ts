/**
 * What a radio node sends: readings under one Ed25519 signature, small enough for LoRa. On the air:
 *
 *     0      0x11: signed readings, version 1
 *     1..4   the first four bytes of the node's key id
 *     5..    sequence number, 1 to 2^32 - 1, LEB128 of 1 to 5 bytes
 *     ..     payload (node-payload.ts)
 *     last   64 bytes of signature
 *
 * Ten readings of three quantities, each five minutes, are 110 to 114 bytes, and five are 100 to 104; nodes.cddl has the
 * table, and what fits which region.
 *
 * What is signed is a COSE_Sign1 (RFC 9052), tagged 18, deterministic: protected header { 1: -19, 3: content type,
 * 4: the 16-byte key id, -70001: sequence number }, nothing unprotected, external_aad the network id. Only what a
 * station knows already stays off the air, so that it can put the whole message together again, byte for byte.
 */
import { verify } from '#ed25519'
import { concatBytes, equalBytes } from './bytes.ts'
import { type CborBounds, CborWriter, isUint } from './cbor.ts'
import {
  algorithms,
  decodeSign1,
  headerLabels,
  type Sign1,
  type Signer,
  signSign1,
  toBeSigned,
} from './cose.ts'
import { envelopeLabels } from './envelope.ts'
import { keyId } from './key.ts'
import { decodeNodePayload, encodeNodePayload, leb128, leb128At, type NodeReading } from './node-payload.ts'
import { type Refused, refused } from './refusal.ts'

/** What is inside of a node's COSE_Sign1: the payload as it was on the air. */
export const nodeContentType = 'application/vnd.groundtruth.node-readings'

/** The first byte on the air. No text, no CBOR array, map or tag begins with it. */
export const nodeFrameType = 0x11

/** The most that any LoRa region carries in one message (LoRaWAN RP002, DR4 to DR7 of EU868). */
export const maxNodeFrameBytes = 242

const prefixBytes = 4
const signatureBytes = 64
const maxSeq = 0xffff_ffff

// The expansion adds the header and CBOR heads, about 90 bytes, to what is on the air.
const sign1Bounds: CborBounds = { maxBytes: 512, maxDepth: 2, maxItems: 16, floats: false }

/** A frame as it came from the air, nothing of it verified. */
export type NodeFrame = {
  /** The first bytes of the sender's key id. */
  readonly prefix: Uint8Array
  readonly seq: number
  readonly payload: Uint8Array
  readonly signature: Uint8Array
}

const isSeq = (seq: unknown): seq is number => isUint(seq) && seq >= 1 && seq <= maxSeq

const protectedHeader = (kid: Uint8Array, seq: number): Uint8Array =>
  new CborWriter()
    .map(4)
    .int(headerLabels.alg)
    .int(algorithms.ed25519)
    .int(headerLabels.contentType)
    .text(nodeContentType)
    .int(headerLabels.kid)
    .bytes(kid)
    .int(envelopeLabels.seq)
    .int(seq)
    .finish()

/**
 * Signs readings, oldest first, for the air. `seq` must be above all that this key has used, also after a restart: a node
 * keeps it where no power cut reaches (nodes.cddl says how). Throws RangeError for what cannot be carried; whether the
 * region lets so many bytes pass is the radio's to say.
 */
export const signNodeFrame = (
  readings: readonly NodeReading[],
  seq: number,
  network: string,
  signer: Signer,
): Uint8Array => {
  if (!isSeq(seq)) throw new RangeError(`a sequence number is 1 to ${maxSeq}, not ${seq}`)
  const payload = encodeNodePayload(readings)
  const kid = keyId(signer.publicKey)
  return concatBytes(
    Uint8Array.of(nodeFrameType, ...kid.subarray(0, prefixBytes), ...leb128(seq)),
    payload,
    signer.sign(toBeSigned(protectedHeader(kid, seq), payload, network)),
  )
}

/** Takes a frame from the air apart. */
export const decodeNodeFrame = (
  bytes: Uint8Array,
): { readonly ok: true; readonly frame: NodeFrame } | Refused => {
  const bad = (what: string): Refused => refused('malformed', what)
  if (bytes[0] !== nodeFrameType) return bad('no signed frame by its first byte')
  if (bytes.length > maxNodeFrameBytes)
    return bad(`a signed frame has at most ${maxNodeFrameBytes} bytes, not ${bytes.length}`)
  const seq = leb128At(bytes, 1 + prefixBytes)
  if (seq === undefined || !isSeq(seq.value)) return bad('a signed frame without a sequence number')
  const end = bytes.length - signatureBytes
  if (end <= seq.end) return bad(`${bytes.length} bytes are too few for a signed frame`)
  return {
    ok: true,
    frame: {
      prefix: bytes.slice(1, 1 + prefixBytes),
      seq: seq.value,
      payload: bytes.slice(seq.end, end),
      signature: bytes.slice(end),
    },
  }
}

/** Whether a frame says that it is by that key; a signature has to prove it. */
export const claims = ({ prefix }: NodeFrame, publicKey: Uint8Array): boolean =>
  equalBytes(prefix, keyId(publicKey).subarray(0, prefixBytes))

/** The COSE_Sign1 that a frame by that key stands for; undefined where its signature does not fit it. */
export const expandNodeFrame = (
  { seq, payload, signature }: NodeFrame,
  publicKey: Uint8Array,
  network: string,
): Uint8Array | undefined => {
  const header = protectedHeader(keyId(publicKey), seq)
  if (!verify(signature, toBeSigned(header, payload, network), publicKey)) return undefined
  return signSign1(header, payload, network, { sign: () => signature })
}

/** A node's COSE_Sign1 taken apart: who says it is from, which of its frames, what was measured. Not verified. */
export type NodeMessage = {
  readonly kid: Uint8Array
  readonly seq: number
  readonly readings: readonly NodeReading[]
  readonly sign1: Sign1
}

/** Takes a node's COSE_Sign1 apart; nothing but the one form that `expandNodeFrame` gives is read. */
export const decodeNodeMessage = (
  bytes: Uint8Array,
): { readonly ok: true; readonly message: NodeMessage } | Refused => {
  const decoded = decodeSign1(bytes, sign1Bounds)
  const bad = (what: string): Refused => refused('bad-payload', `a node's frame: ${what}`)
  if (!decoded.ok) return bad(decoded.detail)
  const { header, payload } = decoded.sign1
  const kid = header.get(headerLabels.kid)
  const seq = header.get(envelopeLabels.seq)
  if (header.size !== 4 || header.get(headerLabels.alg) !== algorithms.ed25519)
    return bad('a protected header has four parameters and algorithm -19')
  if (header.get(headerLabels.contentType) !== nodeContentType)
    return bad(`content type ${String(header.get(headerLabels.contentType))}`)
  if (!(kid instanceof Uint8Array) || kid.length !== 16) return bad('kid has 16 bytes')
  if (!isSeq(seq)) return bad(`seq is a number from 1 to ${maxSeq}`)
  const contents = decodeNodePayload(payload)
  if (!contents.ok) return contents
  return {
    ok: true,
    message: { kid: kid.slice(), seq, readings: contents.readings, sign1: decoded.sign1 },
  }
}
