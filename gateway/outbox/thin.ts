/**
 * A step of thinning: when the outbox has used up its disk, every second of its oldest envelopes goes, so that the past
 * gets coarser and the newest stays whole. What goes is declared in the station's own chain.
 */

import { holdPositions, readingsOf, spanOf } from '../reading/contents.ts'
import { type Dropped, droppedContentType, droppedDigest, maxDropped } from '../reading/dropped.ts'
import { decodeEnvelope } from '../reading/envelope.ts'
import { profileContentType } from '../reading/profile.ts'

// What a Pi reads, decodes and writes within a tenth of a second or two.
const mostPerStep = 256

/** Envelopes that one step looks at, and moves to the end of the journal, where so many wait. */
export const stepOf = (waiting: number): number => Math.min(mostPerStep, waiting >> 3)

/** Of so many that wait only the older half is thinned; fewer than this are left alone. */
export const leastThinned = 64

/** An envelope that waits: its number, its hash and its bytes. */
export type Waiting = { readonly seq: number; readonly hash: Uint8Array; readonly bytes: Uint8Array }

// What a station says of itself and of what it lost is small, and nothing else says it.
const statements: ReadonlySet<string | number> = new Set([droppedContentType, profileContentType])

/**
 * What of the oldest envelopes goes, as a declaration: every second one, the first of each pair, but for declarations
 * themselves, which nothing else could replace. Undefined where nothing may go.
 */
export const declarationOf = (
  oldest: readonly Waiting[],
  declaredMs: number,
  reason: Dropped['reason'],
): Dropped | undefined => {
  const envelopes: Dropped['envelopes'][number][] = []
  const hashes: Uint8Array[] = []
  let fromMs = Number.POSITIVE_INFINITY
  let toMs = Number.NEGATIVE_INFINITY
  for (const [at, { seq, hash, bytes }] of oldest.entries()) {
    if (reason === 'budget' && at % 2 === 1) continue
    if (envelopes.length >= maxDropped) break
    const decoded = decodeEnvelope(bytes)
    if (!decoded.ok || statements.has(decoded.envelope.contentType)) continue
    const contents = readingsOf(decoded.envelope)
    if (!contents.ok) continue
    const span = spanOf(decoded.envelope, contents.readings)
    fromMs = Math.min(fromMs, span.firstMs)
    toMs = Math.max(toMs, span.lastMs)
    const withheld = holdPositions(contents.readings) ? 1 : 0
    envelopes.push({ seq, count: 1, readings: contents.readings.length, withheld })
    hashes.push(hash)
  }
  if (envelopes.length === 0) return undefined
  const digest = droppedDigest(hashes)
  return { reason, envelopes, merged: false, unsigned: 0, fromMs, toMs, declaredMs, digest }
}
