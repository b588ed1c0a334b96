/** The envelope: signed readings of one station, as one COSE_Sign1 (RFC 9052) in deterministic CBOR. */
import { sha256 } from '#sha256'
import { CborWriter, isUint } from './cbor.ts'
import { algorithms, decodeSign1, headerLabels, type Sign1, type Signer, signSign1 } from './cose.ts'
import { keyId } from './key.ts'
import { readingsContentType } from './payload.ts'
import { type Refused, refused } from './refusal.ts'

/** Where the signer's time comes from. The code goes into signed bytes. */
export const clockSources = { none: 0, rtc: 1, ntp: 2, gnss: 3 } as const

export type ClockSource = keyof typeof clockSources

const sourceNames = Object.keys(clockSources) as ClockSource[]

/**
 * What the signer knew of the time of its readings. With a source, each of them is no more than `errorMs` from the
 * truth, as long as nobody moved the system's clock in the minute before the station's first process of the boot looked
 * at it; and the source last set the time `ageS` seconds before the reading, or after it where that had to wait for its
 * time. With source `none` nobody vouches: an error of 0 says that nothing is known, as where the process started long
 * after the last synchronisation and the next has not come yet; a larger one says that at least so much is in doubt, as
 * after a jump of the clock; for readings of a boot that never knew its time, it is the interval in which that boot must
 * lie.
 */
export type Clock = { readonly source: ClockSource; readonly ageS: number; readonly errorMs: number }

/** Our header parameters, from the range that RFC 9052 leaves to private use. */
export const envelopeLabels = { seq: -70001, prev: -70002, clock: -70003, withheld: -70004 } as const

const clockLabels = { source: 1, age: 2, error: 3 } as const

/** 32 zero bytes: what the first envelope of a signer follows. */
export const noPrevious: Uint8Array = new Uint8Array(32)

/**
 * An envelope's head. `seq` starts at 1 and grows by one per envelope; `prev` is SHA-256 of the one before. `withheld`
 * is how many of this signer's envelopes up to and including this one hold private positions: a hub hands those out as
 * hashes only, and by the count it cannot pass off another envelope as one of them. Not in the bytes where it is 0.
 */
export type EnvelopeHead = {
  readonly contentType: string | number
  readonly kid: Uint8Array
  readonly seq: number
  readonly prev: Uint8Array
  readonly clock: Clock
  readonly withheld: number
}

/** An envelope taken apart, not yet verified. */
export type Envelope = EnvelopeHead & Pick<Sign1, 'protectedBytes' | 'payload' | 'signature'>

/** Signs a payload; the answer is what goes over the wire, into evidence and, hashed, under the root. */
export const signEnvelope = (
  head: Pick<EnvelopeHead, 'seq' | 'prev' | 'clock'> & {
    readonly contentType?: string | number
    readonly withheld?: number
  },
  payload: Uint8Array,
  network: string,
  signer: Signer,
): Uint8Array => {
  const writer = new CborWriter()
  const contentType = head.contentType ?? readingsContentType
  const withheld = head.withheld ?? 0
  writer
    .map(withheld === 0 ? 6 : 7)
    .int(headerLabels.alg)
    .int(algorithms.ed25519)
  writer.int(headerLabels.contentType)
  if (typeof contentType === 'number') writer.int(contentType)
  else writer.text(contentType)
  writer.int(headerLabels.kid).bytes(keyId(signer.publicKey))
  writer.int(envelopeLabels.seq).int(head.seq)
  writer.int(envelopeLabels.prev).bytes(head.prev)
  writer.int(envelopeLabels.clock).map(3)
  writer.int(clockLabels.source).int(clockSources[head.clock.source])
  writer.int(clockLabels.age).int(head.clock.ageS)
  writer.int(clockLabels.error).int(head.clock.errorMs)
  if (withheld !== 0) writer.int(envelopeLabels.withheld).int(withheld)
  return signSign1(writer.finish(), payload, network, signer)
}

/** SHA-256 of an envelope's exact bytes: what the next one names as `prev`, and what receipts name it by. */
export const envelopeHash = (bytes: Uint8Array): Uint8Array => sha256(bytes)

/** Takes an envelope apart. Everything about its form is checked here; its signature is not. */
export const decodeEnvelope = (
  bytes: Uint8Array,
): { readonly ok: true; readonly envelope: Envelope } | Refused => {
  const decoded = decodeSign1(bytes)
  if (!decoded.ok) return decoded
  const { header, protectedBytes, payload, signature } = decoded.sign1
  const bad = (what: string): Refused => refused('malformed', what)
  const counts = header.has(envelopeLabels.withheld)
  if (header.size !== (counts ? 7 : 6))
    return bad('a protected header has six parameters, and at most the count of withheld ones besides')
  const contentType = header.get(headerLabels.contentType)
  if (typeof contentType !== 'string' && !isUint(contentType)) return bad('content type is text or a number')
  const kid = header.get(headerLabels.kid)
  if (!(kid instanceof Uint8Array) || kid.length !== 16) return bad('kid has 16 bytes')
  const seq = header.get(envelopeLabels.seq)
  if (!isUint(seq) || seq < 1) return bad('seq is a number from 1')
  const prev = header.get(envelopeLabels.prev)
  if (!(prev instanceof Uint8Array) || prev.length !== 32) return bad('prev has 32 bytes')
  const clock = header.get(envelopeLabels.clock)
  if (!(clock instanceof Map) || clock.size !== 3) return bad('clock is a map of three')
  const source = clock.get(clockLabels.source)
  const ageS = clock.get(clockLabels.age)
  const errorMs = clock.get(clockLabels.error)
  const sourceName = isUint(source) ? sourceNames[source] : undefined
  if (sourceName === undefined || !isUint(ageS) || !isUint(errorMs))
    return bad('clock has a source, an age and an error')
  const withheld = counts ? header.get(envelopeLabels.withheld) : 0
  if (!isUint(withheld) || (counts && withheld < 1) || withheld > seq)
    return bad('the count of withheld ones is a number from 1 to seq, or absent')
  return {
    ok: true,
    envelope: {
      contentType,
      kid: kid.slice(),
      seq,
      prev: prev.slice(),
      clock: { source: sourceName, ageS, errorMs },
      withheld,
      protectedBytes,
      payload,
      signature,
    },
  }
}
