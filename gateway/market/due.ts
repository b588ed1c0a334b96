/** When the next batch is due: how long somebody waits whose readings are not anchored yet. */
import type { AnchorStatus } from '../anchor/anchor.ts'

// A root that is under way is usually in a block by then.
const underWayMs = 10_000

/** How long an envelope waits for its batch at most: the hub's first batch, and every later one. */
export type BatchAges = { readonly batchMaxAgeMs: number; readonly firstBatchMaxAgeMs: number }

type Pending = Pick<AnchorStatus, 'pending' | 'batches'>

/** UTC ms at which the pending envelopes go into a batch at the latest; undefined where nothing is pending. */
export const batchDueMs = ({ pending, batches }: Pending, ages: BatchAges): number | undefined => {
  if (pending.sinceMs === null) return undefined
  const isFirst = Object.values(batches).every((count) => count === 0)
  return pending.sinceMs + (isFirst ? ages.firstBatchMaxAgeMs : ages.batchMaxAgeMs)
}

/** Whole seconds after which asking for a proof again makes sense, at least 1. */
export const proofRetryS = (status: Pending, deps: BatchAges & { readonly nowMs: () => number }): number => {
  const dueMs = batchDueMs(status, deps)
  const waitMs = dueMs === undefined ? underWayMs : dueMs - deps.nowMs()
  return Math.max(1, Math.ceil(waitMs / 1000))
}
