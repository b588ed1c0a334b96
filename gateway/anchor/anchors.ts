/** Roots on their way to a chain: which batches share one, and the transaction that carries it. */
import type { DatabaseSync } from 'node:sqlite'
import { atomically } from '../journal/sqlite.ts'
import { treeRoot } from '../reading/merkle.ts'
import type { Mined, Transactions } from './transactions.ts'

/** A root over the statements of `batches` consecutive batches from `firstBatch` on. */
export type Root = { readonly root: Uint8Array; readonly firstBatch: number; readonly batches: number }

/** A root that has been given to a transaction before. */
export type AnchorRow = Root & { readonly id: number }

type Row = { readonly id: number; readonly root: Uint8Array; first_batch: number; batches: number }

const toAnchor = (row: unknown): AnchorRow => {
  const { id, root, first_batch, batches } = row as Row
  return { id, root, firstBatch: first_batch, batches }
}

/** Rows of `anchors` on one chain. Every change is on disk when its call returns. */
export const anchorsOf = (database: DatabaseSync, chain: number) => {
  const queued = database.prepare(
    'SELECT batch, statement_leaf FROM batches WHERE anchor IS NULL ORDER BY batch LIMIT ?',
  )
  const anyQueued = database.prepare('SELECT 1 FROM batches WHERE anchor IS NULL LIMIT 1')
  const withoutTransaction = database.prepare(
    'SELECT * FROM anchors WHERE chain = ? AND tx IS NULL ORDER BY first_batch LIMIT 1',
  )
  const failed = database.prepare(
    `SELECT a.* FROM transactions t JOIN anchors a ON a.tx = t.id
     WHERE a.chain = ? AND t.status IN ('mined', 'final') AND t.succeeded = 0`,
  )
  const release = database.prepare(
    `UPDATE anchors SET tx = NULL WHERE chain = ?
     AND tx IN (SELECT id FROM transactions WHERE chain = ? AND status = 'superseded')`,
  )
  const insert = database.prepare(
    'INSERT INTO anchors (chain, root, first_batch, batches) VALUES (?, ?, ?, ?)',
  )
  const assign = database.prepare(
    'UPDATE batches SET anchor = ? WHERE batch >= ? AND batch < ? AND anchor IS NULL',
  )
  const setTransaction = database.prepare('UPDATE anchors SET tx = ? WHERE id = ?')

  const rowOf = (root: Root | AnchorRow): number => {
    if ('id' in root) return root.id
    const id = Number(insert.run(chain, root.root, root.firstBatch, root.batches).lastInsertRowid)
    const { changes } = assign.run(id, root.firstBatch, root.firstBatch + root.batches)
    if (changes !== root.batches) throw new Error(`batches from ${root.firstBatch} on have a root already`)
    return id
  }

  return {
    /** Takes roots whose transaction was superseded off it. */
    release: (): void => {
      release.run(chain, chain)
    },
    /** Whether anything has to be sent. */
    waiting: (): boolean => anyQueued.get() !== undefined || withoutTransaction.get(chain) !== undefined,
    /** The next root to send: one that lost its transaction, or a new one over the queued batches, `limit` at most. */
    next: (limit: number): Root | AnchorRow | undefined => {
      const again = withoutTransaction.get(chain)
      if (again !== undefined) return toAnchor(again)
      const rows = queued.all(limit)
      if (rows.length === 0) return undefined
      const firstBatch = rows[0]!.batch as number
      // A contract event names a range, so only neighbours share a root.
      const run = rows.filter(({ batch }, place) => batch === firstBatch + place)
      const leaves = run.map((row) => row.statement_leaf as Uint8Array)
      return { root: treeRoot(leaves), firstBatch, batches: run.length }
    },
    /** Mined without effect. */
    failed: (): AnchorRow[] => failed.all(chain).map(toAnchor),
    /** Gives the root to a transaction; call it inside a SQLite transaction. */
    carry: (root: Root | AnchorRow, transaction: number): void => {
      setTransaction.run(transaction, rowOf(root))
    },
    /** Takes the root off a transaction that did not write it. */
    drop: ({ id }: AnchorRow): void => {
      setTransaction.run(null, id)
    },
    /** Notes that the root is on the chain through somebody else's transaction, or an earlier one of ours. */
    adopt: (root: Root | AnchorRow, mined: Mined, transactions: Transactions, nowMs: number): void => {
      atomically(database, () => {
        setTransaction.run(transactions.addFound(mined, nowMs), rowOf(root))
      })
    },
  }
}

export type AnchorRows = ReturnType<typeof anchorsOf>
