/** What the rest of the hub asks of batches and anchors, answered from the database. */
import type { DatabaseSync } from 'node:sqlite'
import type { Address, Hex } from 'viem'
import { inclusionProof } from '../reading/merkle.ts'
import type { Anchors, Batch, BatchStatus, Carrier } from './anchor.ts'
import { batchesOf } from './batches.ts'

/** The read side without `status`, which also knows what is under way. */
export type AnchorReader = Omit<Anchors, 'status'> & {
  /** Batches by how far they are. */
  readonly counts: () => Record<BatchStatus, number>
  /** When the oldest batch without a final root was closed, UTC ms; null when all are final. */
  readonly oldestOpenMs: () => number | null
  /** The chain and contract in use. */
  readonly inUse: () => { readonly chainId: number; readonly contract: Address | null } | undefined
}

// One page of a list; statements of a batch can have a hundred kilobytes.
const maxPage = 500

const columns = `
  b.batch, b.from_index, b.to_index, b.size, b.first_ms, b.last_ms, b.closed_ms, b.root, b.statement,
  c.chain_id, c.contract, t.status, t.succeeded, t.block_number, t.block_hash,
  coalesce(t.mined_hash, (SELECT hash FROM attempts WHERE tx = t.id ORDER BY made_ms DESC, head DESC LIMIT 1)) AS hash`

const joined = `
  FROM batches b LEFT JOIN anchors a ON a.id = b.anchor LEFT JOIN chains c ON c.id = a.chain
  LEFT JOIN transactions t ON t.id = a.tx`

type Row = Record<string, unknown>

const statusOf = ({ status, succeeded }: Row): BatchStatus => {
  // Mined without effect: the root has to be sent once more.
  if (succeeded === 0) return 'queued'
  return status === 'sent' || status === 'mined' || status === 'final' ? status : 'queued'
}

const carrierOf = (row: Row): Carrier | null =>
  statusOf(row) === 'queued'
    ? null
    : {
        chainId: row.chain_id as number,
        contract: row.contract as Address,
        txHash: row.hash as Hex,
        blockNumber: row.block_number as number | null,
        blockHash: row.block_hash as Hex | null,
      }

const toBatch = (row: Row): Batch => ({
  batch: row.batch as number,
  from: row.from_index as number,
  to: row.to_index as number,
  size: row.size as number,
  firstMs: row.first_ms as number,
  lastMs: row.last_ms as number,
  closedMs: row.closed_ms as number,
  root: row.root as Uint8Array,
  statement: row.statement as Uint8Array,
  status: statusOf(row),
  carrier: carrierOf(row),
})

/** Reads what the stage has written, at any time. */
export const readAnchors = (database: DatabaseSync): AnchorReader => {
  const rows = batchesOf(database)
  const one = database.prepare(`SELECT ${columns} ${joined} WHERE b.batch = ?`)
  const page = database.prepare(`SELECT ${columns} ${joined} WHERE b.batch < ? ORDER BY b.batch DESC LIMIT ?`)
  const anchor = database.prepare(
    `SELECT a.id, a.root AS anchor_root, a.first_batch, a.batches, ${columns} ${joined} WHERE b.batch = ?`,
  )
  const leavesOf = database.prepare('SELECT statement_leaf FROM batches WHERE anchor = ? ORDER BY batch')
  const total = database.prepare('SELECT count(*) AS count FROM batches')
  // Each goes by an index over what is not final: there are few of those however old the file is.
  const open = database.prepare(
    `SELECT CASE WHEN t.status IN ('sent', 'mined') AND t.succeeded IS NOT 0 THEN t.status ELSE 'queued' END AS status,
       sum(a.batches) AS count
     FROM transactions t JOIN anchors a ON a.tx = t.id JOIN chains c ON c.id = a.chain
     WHERE t.status <> 'final' AND c.left_ms IS NULL GROUP BY 1`,
  )
  const queued = database.prepare(
    `SELECT (SELECT count(*) FROM batches WHERE anchor IS NULL) + (
       SELECT coalesce(sum(a.batches), 0) FROM anchors a JOIN chains c ON c.id = a.chain
       WHERE a.tx IS NULL AND c.left_ms IS NULL) AS count`,
  )
  const oldestOpen = database.prepare(
    `SELECT min(closed_ms) AS closed_ms FROM (
       SELECT min(closed_ms) AS closed_ms FROM batches WHERE anchor IS NULL
       UNION ALL
       SELECT min(b.closed_ms) FROM anchors a JOIN batches b ON b.anchor = a.id WHERE a.tx IS NULL
       UNION ALL
       SELECT min(b.closed_ms) FROM transactions t JOIN anchors a ON a.tx = t.id
       JOIN batches b ON b.anchor = a.id WHERE t.status <> 'final')`,
  )
  const chain = database.prepare(
    'SELECT chain_id, contract FROM chains WHERE left_ms IS NULL ORDER BY id DESC LIMIT 1',
  )

  return {
    batch: (batch) => {
      const row = one.get(batch)
      return row === undefined ? undefined : toBatch(row)
    },
    batches: ({ limit, before = Number.MAX_SAFE_INTEGER }) =>
      page.all(before, Math.max(0, Math.min(limit, maxPage))).map(toBatch),
    batchOf: (station, seq) => rows.placeOfSeq(station, seq)?.batch,
    batchOfIndex: (index) => rows.placeOfIndex(index)?.batch,
    placeOf: rows.placeOfSeq,
    leaves: rows.leaves,
    anchorOf: (batch) => {
      const row = anchor.get(batch)
      const carrier = row === undefined ? null : carrierOf(row)
      if (row === undefined || carrier === null) return undefined
      const leaves = leavesOf.all(row.id as number).map((leaf) => leaf.statement_leaf as Uint8Array)
      const index = batch - (row.first_batch as number)
      return {
        ...carrier,
        root: row.anchor_root as Uint8Array,
        size: leaves.length,
        index,
        proof: inclusionProof(leaves, index),
        firstBatch: row.first_batch as number,
        status: statusOf(row),
      }
    },
    counts: () => {
      const counts = { queued: queued.get()!.count as number, sent: 0, mined: 0, final: 0 }
      for (const { status, count } of open.all())
        counts[status as 'queued' | 'sent' | 'mined'] += count as number
      counts.final = (total.get()!.count as number) - counts.queued - counts.sent - counts.mined
      return counts
    },
    oldestOpenMs: () => (oldestOpen.get()?.closed_ms as number | null | undefined) ?? null,
    inUse: () => {
      const row = chain.get()
      if (row === undefined) return undefined
      return { chainId: row.chain_id as number, contract: row.contract as Address | null }
    },
  }
}
