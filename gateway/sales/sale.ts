/** A sale as it is kept: its row, who paid, and what state it is in. */
import { createHash, randomBytes } from 'node:crypto'
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import type { ApiKey } from './keys.ts'
import type { AccountName } from './ledger.ts'
import type { MicroUsd } from './money.ts'

/** Who pays: a customer, by a key or without one, and the rail that the money came by. */
export type Payer = { readonly customer: string; readonly key?: ApiKey; readonly rail: string }

/** `open`: paid, nothing taken yet. `partial`: some of the body was taken. `delivered`: all of it. `refunded`: paid back. */
export const saleStates = ['open', 'partial', 'delivered', 'refunded'] as const
export type SaleState = (typeof saleStates)[number]

/** A sale as it is kept. */
export type Sale = {
  readonly id: string
  readonly customer: string
  readonly query: Uint8Array
  readonly timeMs: number
  readonly priceMicroUsd: MicroUsd
  readonly rows: number
  readonly state: SaleState
  /** COSE_Sign1 and JWS of the receipt. */
  readonly receipt: Uint8Array
  readonly jws: string
  /** What was asked, as JSON, for a bundle of the same. */
  readonly scope: string
}

const schema = `
  CREATE TABLE IF NOT EXISTS sale (
    id TEXT PRIMARY KEY,
    request TEXT NOT NULL UNIQUE,
    customer TEXT NOT NULL,
    api_key TEXT,
    asked TEXT NOT NULL,
    query BLOB NOT NULL,
    scope TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    price INTEGER NOT NULL,
    delivered_rows INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'partial', 'delivered', 'refunded')),
    receipt BLOB NOT NULL,
    jws TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS sale_query ON sale (customer, query, time_ms);
  CREATE INDEX IF NOT EXISTS sale_time ON sale (customer, time_ms);
  CREATE INDEX IF NOT EXISTS sale_open ON sale (time_ms) WHERE state = 'open';
`

const asSale = (row: Record<string, SQLOutputValue>): Sale => ({
  id: row.id as string,
  customer: row.customer as string,
  query: row.query as Uint8Array,
  timeMs: Number(row.time_ms),
  priceMicroUsd: row.price as bigint,
  rows: Number(row.delivered_rows),
  state: row.state as SaleState,
  receipt: row.receipt as Uint8Array,
  jws: row.jws as string,
  scope: row.scope as string,
})

/** The posting account of a customer's credit. */
export const creditOf = (customer: string): AccountName => `customer:${customer}`

export const hubIncome: AccountName = 'hub:income'

/** A name that no other sale has. */
export const newSaleId = (): string => randomBytes(16).toString('hex')

export const saleHash = (text: string | Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(text).digest())

/** A sale, and what else is noted of it: the key that paid, the order's name, and the query as it was asked. */
export type NewSale = Sale & {
  readonly request: string
  readonly apiKey: string | null
  readonly asked: string
}

/** The table of the sales. */
export const openSaleTable = (database: DatabaseSync) => {
  database.exec(schema)
  const insert = database.prepare('INSERT INTO sale VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  const freeRequest = database.prepare('UPDATE sale SET request = id WHERE request = ?')
  const free = database.prepare('UPDATE sale SET request = id WHERE id = ?')
  const byRequest = database.prepare('SELECT * FROM sale WHERE request = ?')
  const note = database.prepare("UPDATE sale SET state = ? WHERE id = ? AND state IN ('open', 'partial')")
  const open = database.prepare("SELECT * FROM sale WHERE state = 'open' AND time_ms < ?")
  const find = database.prepare('SELECT * FROM sale WHERE id = ? AND customer = ?')
  const keyless = database.prepare('SELECT * FROM sale WHERE id = ? AND api_key IS NULL')
  const soldSince = database.prepare(`
    SELECT * FROM sale WHERE customer = ? AND query = ? AND time_ms >= ? AND state = 'delivered'
    ORDER BY time_ms DESC LIMIT 1`)
  const recent = database.prepare(
    'SELECT * FROM sale WHERE customer = ? AND time_ms < ? ORDER BY time_ms DESC LIMIT ?',
  )
  const apiKeyOf = database.prepare('SELECT api_key FROM sale WHERE id = ?')
  const withAsked = (row: Record<string, SQLOutputValue>) => ({ ...asSale(row), asked: row.asked as string })

  return {
    insert: (sale: NewSale): void =>
      void insert.run(
        sale.id,
        sale.request,
        sale.customer,
        sale.apiKey,
        sale.asked,
        sale.query,
        sale.scope,
        sale.timeMs,
        sale.priceMicroUsd,
        sale.rows,
        sale.state,
        sale.receipt,
        sale.jws,
      ),
    /** Takes the name of an order from the sale that had it. */
    freeRequest: (request: string): void => void freeRequest.run(request),
    /** Takes the name of its order from a sale. */
    free: (id: string): void => void free.run(id),
    byRequest: (request: string): (Sale & { readonly asked: string }) | undefined => {
      const row = byRequest.get(request)
      return row && withAsked(row)
    },
    /** Changes the state of a sale that is not ended. */
    note: (id: string, state: SaleState): void => void note.run(state, id),
    /** Sales made before then of which nothing was taken. */
    openBefore: (beforeMs: number): Sale[] => open.all(beforeMs).map(asSale),
    find: (id: string, customer: string): Sale | undefined => {
      const row = find.get(id, customer)
      return row && asSale(row)
    },
    /** A sale that was paid without a key. */
    keyless: (id: string): Sale | undefined => {
      const row = keyless.get(id)
      return row && asSale(row)
    },
    /** The newest sale of that query to that customer since then (UTC ms) that was delivered whole. */
    soldSince: (customer: string, query: Uint8Array, sinceMs: number): Sale | undefined => {
      const row = soldSince.get(customer, query, sinceMs)
      return row && asSale(row)
    },
    list: (customer: string, limit: number, beforeMs: number = Number.MAX_SAFE_INTEGER): Sale[] =>
      recent.all(customer, beforeMs, limit).map(asSale),
    apiKeyOf: (id: string): string | undefined => (apiKeyOf.get(id)?.api_key as string | null) ?? undefined,
  }
}

export type SaleTable = ReturnType<typeof openSaleTable>
