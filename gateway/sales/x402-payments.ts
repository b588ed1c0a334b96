/** Payments of the rail x402 as they are kept, in an SQLite file of their own; every change is on disk when it returns. */
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite'
import type { Hex } from 'viem'

/**
 * `taken`: verified, nothing sent yet. `sent`: its transaction is signed and may land at any time. `settled`: its money
 * is in the ledger. `credit`: paid from credit, its authorization was never used.
 */
export type PaymentState = 'taken' | 'sent' | 'settled' | 'credit'

export type KeptPayment = {
  readonly payer: Hex
  readonly nonce: Hex
  /** SHA-256 over everything that a request with this payment must have: see `keyOf` in x402.ts. */
  readonly key: string
  readonly value: bigint
  readonly validBeforeS: number
  readonly state: PaymentState
  /** Block from which on its transfer can be. */
  readonly fromBlock: number
  readonly raw: Hex | null
  readonly transaction: Hex | null
  /** Nonce of the transaction at the settling key. */
  readonly senderNonce: number | null
  readonly createdMs: number
  readonly served: number
}

const schema = `
  CREATE TABLE IF NOT EXISTS payment (
    chain TEXT NOT NULL,
    payer TEXT NOT NULL,
    nonce TEXT NOT NULL,
    key TEXT NOT NULL,
    value INTEGER NOT NULL,
    valid_before_s INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('taken', 'sent', 'settled', 'credit')),
    from_block INTEGER NOT NULL,
    raw TEXT,
    tx TEXT,
    sender_nonce INTEGER,
    created_ms INTEGER NOT NULL,
    served INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (chain, payer, nonce)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS payment_open ON payment (chain, created_ms) WHERE state IN ('taken', 'sent');
  PRAGMA user_version = 1;
`

const asPayment = (row: Record<string, SQLOutputValue>): KeptPayment => ({
  payer: row.payer as Hex,
  nonce: row.nonce as Hex,
  key: row.key as string,
  value: BigInt(row.value as number),
  validBeforeS: row.valid_before_s as number,
  state: row.state as PaymentState,
  fromBlock: row.from_block as number,
  raw: row.raw as Hex | null,
  transaction: row.tx as Hex | null,
  senderNonce: row.sender_nonce as number | null,
  createdMs: row.created_ms as number,
  served: row.served as number,
})

/** Opens or creates the file; `chain` names chain and token, and payments of others are left alone. */
export const openPayments = (path: string, chain: string) => {
  const database = new DatabaseSync(path)
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  const synchronous = database.prepare('PRAGMA synchronous').get()?.synchronous
  if (synchronous !== 2) throw new Error(`SQLite's synchronous is ${String(synchronous)}, not FULL (2)`)
  database.exec(schema)
  const where = 'chain = ? AND payer = ? AND nonce = ?'
  const find = database.prepare(`SELECT * FROM payment WHERE ${where}`)
  const insert = database.prepare(`
    INSERT INTO payment (chain, payer, nonce, key, value, valid_before_s, state, from_block, created_ms)
    VALUES (?, ?, ?, ?, ?, ?, 'taken', ?, ?)`)
  const send = database.prepare(
    `UPDATE payment SET state = 'sent', raw = ?, tx = ?, sender_nonce = ? WHERE ${where}`,
  )
  const set = database.prepare(`UPDATE payment SET state = ?, tx = coalesce(?, tx) WHERE ${where}`)
  const count = database.prepare(`UPDATE payment SET served = served + 1 WHERE ${where}`)
  const drop = database.prepare(`DELETE FROM payment WHERE ${where}`)
  const open = database.prepare(
    "SELECT * FROM payment WHERE chain = ? AND state IN ('taken', 'sent') ORDER BY created_ms LIMIT ?",
  )
  const openOf = database.prepare(
    "SELECT * FROM payment WHERE chain = ? AND payer = ? AND state = 'sent' ORDER BY created_ms LIMIT ?",
  )
  const forget = database.prepare(
    "DELETE FROM payment WHERE state IN ('settled', 'credit') AND created_ms < ? AND valid_before_s < ?",
  )

  type Id = Pick<KeptPayment, 'payer' | 'nonce'>

  return {
    find: ({ payer, nonce }: Id): KeptPayment | undefined => {
      const row = find.get(chain, payer, nonce)
      return row && asPayment(row)
    },
    /** Takes a payer's nonce for ever; throws where it is taken. */
    take: (
      payment: Pick<
        KeptPayment,
        'payer' | 'nonce' | 'key' | 'value' | 'validBeforeS' | 'fromBlock' | 'createdMs'
      >,
    ): void => {
      const { payer, nonce, key, value, validBeforeS, fromBlock, createdMs } = payment
      insert.run(chain, payer, nonce, key, value, validBeforeS, fromBlock, createdMs)
    },
    sent: ({ payer, nonce }: Id, raw: Hex, transaction: Hex, senderNonce: number): void => {
      send.run(raw, transaction, senderNonce, chain, payer, nonce)
    },
    /** `transaction` where another one than ours moved the money. */
    set: ({ payer, nonce }: Id, state: 'settled' | 'credit', transaction: Hex | null = null): void => {
      set.run(state, transaction, chain, payer, nonce)
    },
    served: ({ payer, nonce }: Id): void => {
      count.run(chain, payer, nonce)
    },
    /** For what never moved any money, and never will. */
    drop: ({ payer, nonce }: Id): void => {
      drop.run(chain, payer, nonce)
    },
    /** Those whose money may still move, oldest first. */
    open: (limit: number): KeptPayment[] => open.all(chain, limit).map(asPayment),
    /** Those of one payer that are sent. */
    openOf: (payer: Hex, limit: number): KeptPayment[] => openOf.all(chain, payer, limit).map(asPayment),
    /** Forgets ended ones made before a moment (UTC ms) whose authorization is out of date. */
    forget: (beforeMs: number, nowS: number): void => {
      forget.run(beforeMs, nowS)
    },
    [Symbol.dispose]: () => database.close(),
  }
}

export type Payments = ReturnType<typeof openPayments>
