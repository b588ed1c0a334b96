/** Transactions as the database keeps them: what was signed, every hash of it, and where it was mined. */
import type { DatabaseSync } from 'node:sqlite'
import type { Address, Hex } from 'viem'
import { atomically } from '../journal/sqlite.ts'
import type { Fees } from './fees.ts'

export type TransactionStatus = 'signed' | 'sent' | 'mined' | 'final' | 'superseded'

/**
 * One call, whatever became of it. Only a transaction of ours has `sender`, `nonce` and attempts; one without was
 * found on the chain, sent by somebody else. `event` is the first indexed argument of the event without which the
 * call counts as failed. `succeeded` is null until it is mined.
 */
export type Transaction = {
  readonly id: number
  readonly sender: Address | null
  readonly nonce: number | null
  readonly recipient: Address | null
  readonly data: Hex
  readonly gas: number
  readonly event: Hex | null
  readonly status: TransactionStatus
  readonly note: string | null
  readonly minedHash: Hex | null
  readonly blockNumber: number | null
  readonly blockHash: Hex | null
  readonly succeeded: boolean | null
}

/** One signed form of a transaction: same nonce and payload as the others, other fees. `head` was the newest block then. */
export type Attempt = { readonly hash: Hex; readonly raw: Hex; readonly fees: Fees; readonly head: number }

export type Mined = {
  readonly hash: Hex
  readonly blockNumber: number
  readonly blockHash: Hex
  readonly succeeded: boolean
}

type Row = Record<string, null | number | bigint | string | NodeJS.NonSharedUint8Array>

const toTransaction = (row: Row): Transaction => ({
  id: row.id as number,
  sender: row.sender as Address | null,
  nonce: row.nonce as number | null,
  recipient: row.recipient as Address | null,
  data: row.data as Hex,
  gas: row.gas as number,
  event: row.event as Hex | null,
  status: row.status as TransactionStatus,
  note: row.note as string | null,
  minedHash: row.mined_hash as Hex | null,
  blockNumber: row.block_number as number | null,
  blockHash: row.block_hash as Hex | null,
  succeeded: row.succeeded === null ? null : row.succeeded === 1,
})

// A node's words are kept for people, not for ever.
const maxNoteLength = 300

/** The rows of one chain (`chain` is its row id). Every change is on disk when its call returns. */
export const transactionsOf = (database: DatabaseSync, chain: number) => {
  const prepare = (sql: string) => database.prepare(sql)
  const one = prepare('SELECT * FROM transactions WHERE id = ? AND chain = ?')
  const withStatus = prepare(
    'SELECT * FROM transactions WHERE chain = ? AND status = ? ORDER BY nonce IS NULL, nonce, id',
  )
  const byBlock = prepare(
    `SELECT * FROM transactions WHERE chain = ? AND status IN ('mined', 'final') AND block_number < ?
     ORDER BY block_number DESC, id DESC LIMIT 1`,
  )
  const highestNonce = prepare(
    `SELECT max(nonce) AS nonce FROM transactions
     WHERE chain = ? AND sender = ? AND status IN ('mined', 'final')`,
  )
  const insert = prepare(
    `INSERT INTO transactions (chain, sender, nonce, recipient, data, gas, event, status, made_ms)
     VALUES (?, ?, ?, ?, ?, ?, ?, 'signed', ?)`,
  )
  const insertFound = prepare(
    `INSERT INTO transactions
       (chain, data, gas, status, note, mined_hash, block_number, block_hash, succeeded, made_ms)
     VALUES (?, '0x', 0, 'mined', 'found on the chain', ?, ?, ?, 1, ?)`,
  )
  const insertAttempt = prepare('INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)')
  const attempts = prepare('SELECT * FROM attempts WHERE tx = ? ORDER BY CAST(max_fee_wei AS REAL), made_ms')
  const setStatus = prepare('UPDATE transactions SET status = ?, note = ? WHERE id = ?')
  const setMined = prepare(
    `UPDATE transactions SET status = 'mined', note = NULL, mined_hash = ?, block_number = ?, block_hash = ?,
     succeeded = ? WHERE id = ?`,
  )
  const setUnmined = prepare(
    `UPDATE transactions SET status = ?, note = ?, mined_hash = NULL, block_number = NULL, block_hash = NULL,
     succeeded = NULL WHERE id = ?`,
  )

  const addAttempt = (id: number, { hash, raw, fees, head }: Attempt, nowMs: number): void => {
    insertAttempt.run(hash, id, raw, `${fees.maxFeeWei}`, `${fees.priorityFeeWei}`, head, nowMs)
  }
  const all = (status: TransactionStatus): Transaction[] =>
    withStatus.all(chain, status).map((row) => toTransaction(row))

  return {
    get: (id: number): Transaction | undefined => {
      const row = one.get(id, chain)
      return row === undefined ? undefined : toTransaction(row)
    },
    /** Signed or sent and not seen in a block, lowest nonce first. */
    unfinished: (): Transaction[] =>
      [...all('signed'), ...all('sent')].sort((a, b) => (a.nonce ?? 0) - (b.nonce ?? 0)),
    /** In a block that may still go away. */
    mined: (): Transaction[] => all('mined'),
    /** The highest in the chain below a block. */
    lastBelow: (blockNumber: number): Transaction | undefined => {
      const row = byBlock.get(chain, blockNumber)
      return row === undefined ? undefined : toTransaction(row)
    },
    /** Lowest nonce that is free as far as blocks we have seen tell. */
    nextNonce: (sender: Address): number => {
      const nonce = highestNonce.get(chain, sender)?.nonce
      return typeof nonce === 'number' ? nonce + 1 : 0
    },
    /** Keeps a transaction with its first attempt, and whatever `keep` writes along with it. */
    add: (
      made: {
        readonly sender: Address
        readonly nonce: number
        readonly recipient: Address | null
        readonly data: Hex
        readonly gas: number
        readonly event: Hex | null
      },
      attempt: Attempt,
      nowMs: number,
      keep: (id: number) => void,
    ): number =>
      atomically(database, () => {
        const { sender, nonce, recipient, data, gas, event } = made
        const id = Number(
          insert.run(chain, sender, nonce, recipient, data, gas, event, nowMs).lastInsertRowid,
        )
        addAttempt(id, attempt, nowMs)
        keep(id)
        return id
      }),
    /** A transaction of somebody else that did what one of ours was to do. */
    addFound: (mined: Mined, nowMs: number): number =>
      Number(insertFound.run(chain, mined.hash, mined.blockNumber, mined.blockHash, nowMs).lastInsertRowid),
    addAttempt,
    /** Oldest first, so fees ascend. */
    attempts: (id: number): Attempt[] =>
      attempts.all(id).map((row) => ({
        hash: row.hash as Hex,
        raw: row.raw as Hex,
        fees: {
          maxFeeWei: BigInt(row.max_fee_wei as string),
          priorityFeeWei: BigInt(row.priority_fee_wei as string),
        },
        head: row.head as number,
      })),
    setStatus: (
      id: number,
      status: 'signed' | 'sent' | 'final' | 'superseded',
      note: string | null,
    ): void => {
      setStatus.run(status, note?.slice(0, maxNoteLength) ?? null, id)
    },
    setMined: (id: number, { hash, blockNumber, blockHash, succeeded }: Mined): void => {
      setMined.run(hash, blockNumber, blockHash, succeeded ? 1 : 0, id)
    },
    /** Its block is gone: back to the queue if it is ours to send again, else given up. */
    setUnmined: (id: number, status: 'sent' | 'superseded', note: string): void => {
      setUnmined.run(status, note, id)
    },
  }
}

export type Transactions = ReturnType<typeof transactionsOf>
