/** What is in an envelope, by its content type. */

import { toHex } from './bytes.ts'
import { decodeDropped, droppedContentType } from './dropped.ts'
import { type Envelope, envelopeHash } from './envelope.ts'
import { decodeHeard, type HeardFrame, heardContentType } from './heard.ts'
import { decodeReadings, readingsContentType } from './payload.ts'
import { decodeProfile, type Profile, profileContentType } from './profile.ts'
import { quantityCoded } from './quantity.ts'
import type { Reading } from './reading.ts'
import { type Refused, refused } from './refusal.ts'
import { decodeSenmlReadings } from './senml.ts'
import { senmlContentFormat } from './senml-cbor.ts'

/**
 * The readings of a decoded envelope, in the order that gives each its place; none where it declares
 * dropped ones, or what its station is.
 * `frames` are what nodes signed themselves, in the order of their readings: their signatures are for `framesFault`.
 */
export const readingsOf = (
  envelope: Envelope,
):
  | { readonly ok: true; readonly readings: readonly Reading[]; readonly frames: readonly HeardFrame[] }
  | Refused => {
  const { contentType, payload, seq } = envelope
  if (contentType === heardContentType) {
    const heard = decodeHeard(payload)
    return heard.ok
      ? { ok: true, frames: heard.frames, readings: heard.frames.flatMap(({ readings }) => readings) }
      : heard
  }
  if (contentType === droppedContentType) {
    const dropped = decodeDropped(payload, seq)
    return dropped.ok ? { ok: true, readings: [], frames: [] } : dropped
  }
  if (contentType === profileContentType) {
    const declared = decodeProfile(payload)
    return declared.ok ? { ok: true, readings: [], frames: [] } : declared
  }
  const plain =
    contentType === readingsContentType
      ? decodeReadings(payload)
      : contentType === senmlContentFormat
        ? decodeSenmlReadings(payload)
        : refused('unsupported-content', `content type ${contentType}`)
  return plain.ok ? { ok: true, readings: plain.readings, frames: [] } : plain
}

/** What an envelope says of its station; undefined for one that says something else. */
export const profileIn = ({ contentType, payload }: Envelope): Profile | undefined => {
  if (contentType !== profileContentType) return undefined
  const decoded = decodeProfile(payload)
  return decoded.ok ? decoded.profile : undefined
}

/**
 * First and last time of an envelope's readings (UTC ms). Of one without: when it was declared, or where it declares
 * readings that never got a number, the time of those: so whoever asks for that time is told.
 */
export const spanOf = (
  envelope: Envelope,
  readings: readonly Reading[],
): { readonly firstMs: number; readonly lastMs: number } => {
  if (readings.length === 0) {
    const profile = profileIn(envelope)
    const decoded = decodeDropped(envelope.payload, envelope.seq)
    if (profile !== undefined) return { firstMs: profile.declaredMs, lastMs: profile.declaredMs }
    if (!decoded.ok) return { firstMs: 0, lastMs: 0 }
    const { unsigned, fromMs, toMs, declaredMs } = decoded.dropped
    return unsigned > 0 ? { firstMs: fromMs, lastMs: toMs } : { firstMs: declaredMs, lastMs: declaredMs }
  }
  let firstMs = Number.POSITIVE_INFINITY
  let lastMs = Number.NEGATIVE_INFINITY
  for (const { timeMs } of readings) {
    if (timeMs < firstMs) firstMs = timeMs
    if (timeMs > lastMs) lastMs = timeMs
  }
  return { firstMs, lastMs }
}

/** A node's frame by its number: with the station it names what must not be there twice. */
export type FrameId = { readonly node: string; readonly seq: number }

/** The numbers of one node's frames in one envelope, where they ascend: the first and the last of them. */
export type FrameSpan = { readonly node: string; readonly first: number; readonly last: number }

/** What an envelope holds of each node. */
export const frameSpans = (frames: readonly FrameId[]): FrameSpan[] =>
  [...Map.groupBy(frames, ({ node }) => node)].map(([node, own]) => ({
    node,
    first: own[0]!.seq,
    last: own.at(-1)!.seq,
  }))

/**
 * What is kept of an envelope beside its bytes: who, which, when, how much, whether it may be handed out, and which frames
 * of nodes are in it. `declaredWithheld` is the signer's own count of those that may not, up to this one.
 */
export type Summary = {
  readonly station: string
  readonly seq: number
  readonly prev: Uint8Array
  readonly hash: Uint8Array
  readonly firstMs: number
  readonly lastMs: number
  readonly readings: number
  readonly withheld: boolean
  readonly declaredWithheld: number
  readonly frames: readonly FrameId[]
  /** What it says of its station, where that is what it is for. */
  readonly profile?: Profile
}

/** Whether any of an envelope's readings tells a position: then it is signed, kept and anchored, and not handed out. */
export const holdPositions = (readings: readonly Reading[]): boolean =>
  readings.some((reading) => reading.values.some(({ quantity }) => quantityCoded(quantity)?.private === true))

/** Summary of an envelope's exact bytes, already decoded; `withheld` when any of its readings tells a position. */
export const summarise = (
  bytes: Uint8Array,
  envelope: Envelope,
  readings: readonly Reading[],
  frames: readonly FrameId[],
): Summary => {
  const { firstMs, lastMs } = spanOf(envelope, readings)
  const profile = profileIn(envelope)
  return {
    station: toHex(envelope.kid),
    seq: envelope.seq,
    prev: envelope.prev,
    hash: envelopeHash(bytes),
    firstMs,
    lastMs,
    readings: readings.length,
    withheld: holdPositions(readings),
    declaredWithheld: envelope.withheld,
    frames: frames.map(({ node, seq }) => ({ node, seq })),
    ...(profile === undefined ? {} : { profile }),
  }
}
