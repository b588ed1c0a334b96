/** Closes batches over the evidence, by age or by count. */
import type { Evidence } from '../evidence/evidence.ts'
import { leafHash } from '../reading/merkle.ts'
import type { BatchRows, ClosedBatch, Leaf } from './batches.ts'

export type BatchingOptions = {
  readonly network: string
  /** A batch closes when its oldest envelope has been kept for so long; 5 min unless told. */
  readonly maxAgeMs?: number
  /** The same for batch 1, so that a newcomer soon sees a proof; 10 s unless told. */
  readonly firstAgeMs?: number
  /** A batch closes with so many envelopes; 4096 unless told. */
  readonly maxLeaves?: number
}

/** `sleep` rejects when the signal aborts. */
export type Clock = {
  readonly nowMs: () => number
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
}

export type BatchingDeps = {
  readonly batches: BatchRows
  readonly evidence: Pick<Evidence, 'committed' | 'grown' | 'read'>
  readonly clock: Clock
  /** Envelopes read but not in a batch yet, and since when the oldest is kept (UTC ms; null without any). */
  readonly onPending: (leaves: number, sinceMs: number | null) => void
  readonly onBatch: (batch: ClosedBatch) => void
}

// A statement must stay below the 1 MiB that verifiers read, and a station takes up to 46 bytes in it.
const leafLimit = 16_384

/**
 * Reads evidence from where the last batch ended until the signal aborts. Only a closed batch is on disk: what was
 * pending is read again after a crash, so each envelope is in exactly one batch.
 */
export const runBatching = async (
  { batches, evidence, clock, onPending, onBatch }: BatchingDeps,
  { network, maxAgeMs = 300_000, firstAgeMs = 10_000, maxLeaves = 4096 }: BatchingOptions,
  signal: AbortSignal,
): Promise<void> => {
  if (!(Number.isInteger(maxLeaves) && maxLeaves >= 1 && maxLeaves <= leafLimit))
    throw new RangeError(`a batch has 1 to ${leafLimit} leaves, not ${maxLeaves}`)
  let next = batches.cursor()
  let pending: Leaf[] = []
  let sinceMs = 0

  const close = (): void => {
    const batch = batches.add(network, pending, next, clock.nowMs())
    pending = []
    onPending(0, null)
    onBatch(batch)
  }
  // Age counts from when the hub kept the envelope, but a clock that was set back must not hold a batch for hours.
  const leftMs = (): number => {
    const ageMs = batches.count() === 0 ? firstAgeMs : maxAgeMs
    sinceMs = Math.min(sinceMs, clock.nowMs())
    return sinceMs + ageMs - clock.nowMs()
  }

  while (!signal.aborted) {
    const to = evidence.committed
    if (next < to) {
      for await (const { index, station, seq, receivedMs, firstMs, lastMs, bytes } of evidence.read(
        next,
        to,
      )) {
        if (signal.aborted) return
        if (pending.length === 0) sinceMs = receivedMs
        pending.push({ index, station, seq, firstMs, lastMs, hash: leafHash(bytes) })
        next = index + 1
        if (pending.length >= maxLeaves) close()
      }
      next = to
      onPending(pending.length, pending.length === 0 ? null : sinceMs)
    }
    if (pending.length > 0 && leftMs() <= 0) {
      close()
      continue
    }
    const woken = new AbortController()
    const either = AbortSignal.any([signal, woken.signal])
    const waits = [evidence.grown(next, either)]
    if (pending.length > 0) waits.push(clock.sleep(leftMs(), either).catch(() => undefined))
    await Promise.race(waits)
    woken.abort()
  }
}
