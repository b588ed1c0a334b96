/** A bundle's leaves opened: envelopes decoded, signatures checked, each with its place in its batch. */
import { verify } from '#ed25519'
import type { Bundle } from '../reading/bundle.ts'
import { toHex } from '../reading/bytes.ts'
import { readingsOf, spanOf } from '../reading/contents.ts'
import { toBeSigned } from '../reading/cose.ts'
import { type Dropped, decodeDropped, droppedContentType } from '../reading/dropped.ts'
import { decodeEnvelope, type Envelope, envelopeHash } from '../reading/envelope.ts'
import type { HeardFrame } from '../reading/heard.ts'
import { leafHash } from '../reading/merkle.ts'
import type { Reading } from '../reading/reading.ts'
import type { Statement } from '../reading/statement.ts'
import { type Checked, failed } from './report.ts'

/**
 * What only an envelope that is there can tell. `hash` is SHA-256 of its bytes; times span its readings (UTC ms).
 * `declares` is what it says was lost; then it has no readings.
 */
export type Held = {
  readonly envelope: Envelope
  readonly hash: Uint8Array
  readonly readings: readonly Reading[]
  readonly firstMs: number
  readonly lastMs: number
  readonly declares: Dropped | undefined
  /** What nodes signed themselves. */
  readonly frames: readonly HeardFrame[]
}

/** One leaf of a batch; `held` is null where the envelope is withheld. `leaf` is its place, `leafHash` its hash. */
export type Entry = {
  readonly station: string
  readonly seq: number
  readonly batch: number
  readonly leaf: number
  readonly leafHash: Uint8Array
  readonly held: Held | null
}

/** `envelope 12 of station 21fe... (batch 3, leaf 5)`. */
export const entryName = ({ station, seq, batch, leaf }: Omit<Entry, 'leafHash' | 'held'>): string =>
  `envelope ${seq} of station ${station} (batch ${batch}, leaf ${leaf})`

const declaredIn = (envelope: Envelope): Dropped | undefined => {
  if (envelope.contentType !== droppedContentType) return undefined
  const decoded = decodeDropped(envelope.payload, envelope.seq)
  return decoded.ok ? decoded.dropped : undefined
}

/** Opens every leaf; the first that cannot be read is the answer. Runs come in the order of the bundle. */
export const openEntries = (
  bundle: Bundle,
  statements: readonly Statement[],
):
  | { readonly ok: true; readonly runs: readonly (readonly Entry[])[][] }
  | Extract<Checked, { ok: false }> => {
  const batches: (readonly Entry[])[][] = []
  for (const [at, { runs }] of bundle.batches.entries()) {
    const { batch } = statements[at]!
    const opened: Entry[][] = []
    for (const { station, first, leaves } of runs) {
      const entries: Entry[] = []
      for (const [offset, one] of leaves.entries()) {
        const leaf = first + offset
        if (!('bytes' in one)) {
          entries.push({ station, seq: one.seq, batch, leaf, leafHash: one.hash, held: null })
          continue
        }
        const bad = (what: string, seq?: number): Extract<Checked, { ok: false }> => ({
          ok: false,
          text: `${seq === undefined ? 'the envelope' : `envelope ${seq}`} of station ${station} (batch ${batch}, leaf ${leaf}) ${what}`,
          batch,
          leaf,
          station,
          ...(seq === undefined ? {} : { seq }),
        })
        const decoded = decodeEnvelope(one.bytes)
        if (!decoded.ok) return bad(`cannot be read: ${decoded.detail}`)
        const { envelope } = decoded
        if (toHex(envelope.kid) !== station)
          return bad(`names another key in its kid: ${toHex(envelope.kid)}`, envelope.seq)
        const contents = readingsOf(envelope)
        if (!contents.ok) return bad(`has a payload that cannot be read: ${contents.detail}`, envelope.seq)
        entries.push({
          station,
          seq: envelope.seq,
          batch,
          leaf,
          leafHash: leafHash(one.bytes),
          held: {
            envelope,
            hash: envelopeHash(one.bytes),
            readings: contents.readings,
            ...spanOf(envelope, contents.readings),
            declares: declaredIn(envelope),
            frames: contents.frames,
          },
        })
      }
      opened.push(entries)
    }
    batches.push(opened)
  }
  return { ok: true, runs: batches }
}

/** Checks the signature of every envelope with its station's key. */
export const checkSignatures = (
  entries: readonly Entry[],
  network: string,
  keys: ReadonlyMap<string, Uint8Array>,
): Checked | undefined => {
  for (const entry of entries) {
    if (entry.held === null) continue
    const { signature, protectedBytes, payload } = entry.held.envelope
    if (!verify(signature, toBeSigned(protectedBytes, payload, network), keys.get(entry.station)!))
      return failed(
        `the signature of ${entryName(entry)} does not fit its bytes, its key and network ${network}`,
        { batch: entry.batch, leaf: entry.leaf, station: entry.station, seq: entry.seq },
      )
  }
  return undefined
}
