/** What is in an envelope, by its content type. */

import { toHex } from './bytes.ts'
import { type Envelope, envelopeHash } from './envelope.ts'
import { decodeReadings, readingsContentType } from './payload.ts'
import { quantityCoded } from './quantity.ts'
import type { Reading } from './reading.ts'
import { type Refused, refused } from './refusal.ts'
import { decodeSenmlReadings } from './senml.ts'
import { senmlContentFormat } from './senml-cbor.ts'

/** The readings of a decoded envelope, in the order that gives each its place. */
export const readingsOf = (
  envelope: Envelope,
): { readonly ok: true; readonly readings: readonly Reading[] } | Refused =>
  envelope.contentType === readingsContentType
    ? decodeReadings(envelope.payload)
    : envelope.contentType === senmlContentFormat
      ? decodeSenmlReadings(envelope.payload)
      : refused('unsupported-content', `content type ${envelope.contentType}`)

/**
 * What is kept of an envelope beside its bytes: who, which, when, how much, and whether it may be handed out.
 * `declaredWithheld` is the signer's own count of those that may not, up to this one.
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
}

/** Whether any of an envelope's readings tells a position: then it is signed, kept and anchored, and not handed out. */
export const holdPositions = (readings: readonly Reading[]): boolean =>
  readings.some((reading) => reading.values.some(({ quantity }) => quantityCoded(quantity)?.private === true))

/** Summary of an envelope's exact bytes, already decoded; `withheld` when any of its readings tells a position. */
export const summarise = (bytes: Uint8Array, envelope: Envelope, readings: readonly Reading[]): Summary => {
  let firstMs = Number.POSITIVE_INFINITY
  let lastMs = Number.NEGATIVE_INFINITY
  for (const { timeMs } of readings) {
    if (timeMs < firstMs) firstMs = timeMs
    if (timeMs > lastMs) lastMs = timeMs
  }
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
  }
}
