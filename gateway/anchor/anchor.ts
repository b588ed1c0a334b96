/** Anchoring: evidence becomes batches, batches become Merkle roots, and the roots go on a chain. */
import type { Address, Hex } from 'viem'
import type { Evidence } from '../evidence/evidence.ts'
import type { Account } from './account.ts'
import { type AnchoringOptions, openAnchoring, type Step } from './anchoring.ts'
import { batchesOf, type ClosedBatch, type LeafPlace, type LeafRef } from './batches.ts'
import { type BatchingOptions, type Clock, runBatching } from './batching.ts'
import { type Chain, ChainUnreachable, RpcError } from './chain.ts'
import { openDatabase } from './database.ts'
import { readAnchors } from './reader.ts'

/** `queued`: waits for a transaction. `sent`: a node has it. `mined`: in a block that may still go away. `final`: for good. */
export type BatchStatus = 'queued' | 'sent' | 'mined' | 'final'

/** The transaction that carries a root; the block is null until there is one. */
export type Carrier = {
  readonly chainId: number
  readonly contract: Address
  readonly txHash: Hex
  readonly blockNumber: number | null
  readonly blockHash: Hex | null
}

/** One batch: its statement, how far it is, and what carries it (null while queued). */
export type Batch = ClosedBatch & { readonly status: BatchStatus; readonly carrier: Carrier | null }

/**
 * How a batch hangs on the chain: `root` is in the contract, over the statements of `size` batches from `firstBatch`
 * on; this one's statement is leaf `index`, and `proof` its audit path (RFC 9162 s2.1.3).
 */
export type Anchor = Carrier & {
  readonly root: Uint8Array
  readonly size: number
  readonly index: number
  readonly proof: readonly Uint8Array[]
  readonly firstBatch: number
  readonly status: BatchStatus
}

/** Leaves of a batch in tree order, with their leaf hashes. */
export type Leaves = { readonly refs: readonly LeafRef[]; readonly hashes: readonly Uint8Array[] }

/** How the stage is doing, for status pages. Times UTC ms. */
export type AnchorStatus = {
  /** `starting` until the chain first answered; `waiting` and `stopped` say in `detail` for what and by what. */
  readonly state: 'starting' | 'working' | 'idle' | 'waiting' | 'unreachable' | 'stopped'
  readonly detail: string | null
  readonly chain: string | null
  readonly chainId: number | null
  readonly contract: Address | null
  readonly address: Address | null
  readonly balanceWei: bigint | null
  readonly batches: Readonly<Record<BatchStatus, number>>
  /** When the oldest batch without a final root was closed. */
  readonly oldestOpenMs: number | null
  /** Envelopes that are in no batch yet. */
  readonly pending: { readonly leaves: number; readonly sinceMs: number | null }
}

/** What other stages ask. */
export type Anchors = {
  batch(batch: number): Batch | undefined
  /** Newest first, at most 500, those before `before` where given. */
  batches(page: { readonly limit: number; readonly before?: number }): Batch[]
  /** Number of the batch that an envelope is in; undefined while it is in none. */
  batchOf(station: string, seq: number): number | undefined
  /** The same by evidence index. */
  batchOfIndex(index: number): number | undefined
  /** The batch and the place in its tree. */
  placeOf(station: string, seq: number): LeafPlace | undefined
  leaves(batch: number): Leaves | undefined
  /** Undefined while the batch is queued. */
  anchorOf(batch: number): Anchor | undefined
  status(): AnchorStatus
}

type Progress = Pick<AnchorStatus, 'state' | 'detail' | 'chain' | 'address' | 'balanceWei' | 'pending'>

/** The stage's file, open: answers questions at any time, and is written by `runAnchor` only. */
export type AnchorBook = Anchors &
  Disposable & {
    readonly database: ReturnType<typeof openDatabase>
    /** Notes for `status` how the running stage is doing. */
    report(progress: Partial<Progress>): void
    close(): void
  }

/** Opens or makes the anchor database at `path`. Throws when another process has it open. */
export const openAnchorBook = (path: string): AnchorBook => {
  const database = openDatabase(path)
  const { counts, oldestOpenMs, inUse, ...answers } = readAnchors(database)
  let progress: Progress = {
    state: 'starting',
    detail: null,
    chain: null,
    address: null,
    balanceWei: null,
    pending: { leaves: 0, sinceMs: null },
  }
  const close = (): void => database.close()
  return {
    ...answers,
    database,
    status: () => ({
      ...progress,
      chainId: inUse()?.chainId ?? null,
      contract: inUse()?.contract ?? null,
      batches: counts(),
      oldestOpenMs: oldestOpenMs(),
    }),
    report: (change) => {
      progress = { ...progress, ...change }
    },
    close,
    [Symbol.dispose]: close,
  }
}

export type AnchorDeps = {
  readonly book: AnchorBook
  readonly evidence: Pick<Evidence, 'committed' | 'grown' | 'read'>
  readonly chain: Chain
  /** The key that pays; nothing else may send with it. */
  readonly account: Account
  readonly clock: Clock
  /** Called for each batch that closes. */
  readonly onBatch?: (batch: ClosedBatch) => void
}

export type AnchorOptions = BatchingOptions &
  AnchoringOptions & {
    /** How often the chain is asked while something is under way; 4 s unless told. */
    readonly pollMs?: number
  }

// While nothing is under way the chain is asked once an hour whether it is still there.
const idleMs = 3_600_000
const longestRetryMs = 60_000

const stateOf = (step: Step): Pick<AnchorStatus, 'state' | 'detail'> => ({
  state: step.state === 'busy' ? 'working' : step.state,
  detail: 'detail' in step ? step.detail : null,
})

/** Steps until the signal aborts; a chain that fails is tried again, less and less often. */
const runAnchoring = async (
  { book, chain, account, clock }: AnchorDeps,
  options: AnchorOptions,
  batchClosed: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> => {
  const { pollMs = 4000 } = options
  const deps = { database: book.database, chain, account, nowMs: clock.nowMs }
  const anchoring = openAnchoring(deps, options)
  book.report({ chain: chain.name, address: account.address })
  let failures = 0
  while (!signal.aborted) {
    // Taken before the step, so that a batch closed during it is not slept over.
    const closed = batchClosed()
    let waitMs: number
    try {
      const step = await anchoring.step()
      failures = 0
      waitMs = step.state === 'idle' ? idleMs : pollMs
      book.report({ ...stateOf(step), balanceWei: anchoring.balanceWei() })
    } catch (error) {
      if (!(error instanceof ChainUnreachable || error instanceof RpcError)) throw error
      failures += 1
      waitMs = Math.min(pollMs * 2 ** Math.min(failures, 10), Math.max(pollMs, longestRetryMs))
      book.report({ state: 'unreachable', detail: error.message })
    }
    if (signal.aborted) return
    const woken = new AbortController()
    const slept = clock.sleep(waitMs, AbortSignal.any([signal, woken.signal])).catch(() => undefined)
    // Batches that close while the chain is away do not make it come back.
    await (failures > 0 ? slept : Promise.race([slept, closed]))
    woken.abort()
  }
}

/**
 * Runs the stage until the signal aborts: batches close by age or count, and their roots are brought to the chain.
 * Killed at any moment it goes on where it was. Throws only when its database fails or it finds a mistake of its own.
 */
export const runAnchor = async (
  deps: AnchorDeps,
  options: AnchorOptions,
  signal: AbortSignal,
): Promise<void> => {
  const { book, evidence, clock, onBatch } = deps
  const failed = new AbortController()
  const running = AbortSignal.any([signal, failed.signal])
  let closed = Promise.withResolvers<void>()
  const parts = [
    runBatching(
      {
        batches: batchesOf(book.database),
        evidence,
        clock,
        onPending: (leaves, sinceMs) => book.report({ pending: { leaves, sinceMs } }),
        onBatch: (batch) => {
          onBatch?.(batch)
          closed.resolve()
          closed = Promise.withResolvers()
        },
      },
      options,
      running,
    ),
    runAnchoring(deps, options, () => closed.promise, running),
  ]
  // One part that fails takes the other with it; both have ended before this throws.
  for (const part of parts) part.catch((error) => failed.abort(error))
  const results = await Promise.allSettled(parts)
  const broken = results.find((result) => result.status === 'rejected')
  if (broken !== undefined) throw broken.reason
}
