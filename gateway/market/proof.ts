/** How far the proof of a reading has come: in which batch its envelope is, and how sure that batch is. */
import type { Anchors } from '../anchor/anchor.ts'

/** `pending`: in no batch yet; then as the batch: waiting, on its way, in a block, past finality. */
export const proofStatuses = ['pending', 'queued', 'sent', 'mined', 'final'] as const
export type ProofStatus = (typeof proofStatuses)[number]

/** The envelope that a reading came in, and its batch. */
export type Proof = { readonly seq: number; readonly batch?: number; readonly status: ProofStatus }

/** Looks proofs up for one answer; neighbours share envelopes, and envelopes share batches. */
export const proofsOf = (anchors: Pick<Anchors, 'batchOf' | 'batch'>) => {
  const byEnvelope = new Map<string, Proof>()
  const statuses = new Map<number, ProofStatus>()
  return (station: string, seq: number): Proof => {
    const key = `${station}/${seq}`
    const known = byEnvelope.get(key)
    if (known !== undefined) return known
    const batch = anchors.batchOf(station, seq)
    let proof: Proof = { seq, status: 'pending' }
    if (batch !== undefined) {
      const status = statuses.get(batch) ?? anchors.batch(batch)?.status ?? 'queued'
      statuses.set(batch, status)
      proof = { seq, batch, status }
    }
    byEnvelope.set(key, proof)
    return proof
  }
}
