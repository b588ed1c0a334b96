/**
 * Sales: who bought what, for how much, and the proof of it. Payment, receipt and the body that is owed are one
 * transaction, on disk before a byte is served. What was paid and did not arrive is delivered again for nothing; what
 * was not served at all is given back.
 */
import { createHash, randomBytes } from 'node:crypto'
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import { gunzipSync, gzipSync } from 'node:zlib'
import { toHex } from '../reading/bytes.ts'
import type { Signer } from '../reading/cose.ts'
import { type SalesReceipt, signSale } from '../reading/sale.ts'
import { type CardBook, openCardBook } from './cards.ts'
import { signJws } from './jws.ts'
import { type ApiKey, type Keys, openKeys } from './keys.ts'
import { type AccountName, type Ledger, openLedger, openSalesDatabase } from './ledger.ts'
import type { MicroUsd } from './money.ts'
import { type OwnerFactor, type Price, type PriceList, sharesOf } from './price.ts'

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

/** What is owed to a buyer: the same bytes as the first time. */
export type Delivery = { readonly contentType: string; readonly body: Uint8Array }

export type Order = {
  /** What the sale will be called: `newSaleId()`. */
  readonly id: string
  readonly payer: Payer
  /** Idempotency-Key of the buyer; without one every order is another. */
  readonly idempotencyKey?: string
  /** SHA-256 of the canonical text of the query, its resolved times included. */
  readonly query: Uint8Array
  /** What an Idempotency-Key is bound to: the query as it was asked, before its times were resolved. */
  readonly asked: string
  readonly scope: string
  readonly price: Price
  /** Most that may be asked, by an offer, and its hash. */
  readonly offer?: { readonly mostMicroUsd: MicroUsd; readonly hash: Uint8Array }
  readonly delivery: Delivery
}

export type Sold =
  | { readonly ok: true; readonly sale: Sale; readonly delivery: Delivery; readonly again: boolean }
  | {
      readonly ok: false
      readonly reason: 'insufficient'
      readonly price: MicroUsd
      readonly balance: MicroUsd
    }
  | { readonly ok: false; readonly reason: 'budget'; readonly price: MicroUsd }
  | { readonly ok: false; readonly reason: 'conflict' }

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
  CREATE TABLE IF NOT EXISTS delivery (
    sale TEXT PRIMARY KEY REFERENCES sale (id),
    time_ms INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    body BLOB NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS delivery_time ON delivery (time_ms);
`

/** How long a body is kept, so that a retry gets the same bytes; and how much of all of them. */
export const keptMs = 24 * 3_600_000
/** How long an order like one that did not arrive whole gets that one again, without an Idempotency-Key. */
const againMs = 15 * 60_000
/** When the buyer of a body of which nothing was taken is paid back: long after any connection has ended. */
const givenUpMs = againMs + 5 * 60_000
const keptBytes = 256n << 20n

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

export type SalesOptions = {
  /** Path of the SQLite file. */
  readonly path: string
  readonly network: string
  readonly hub: Signer
  readonly prices: PriceList
  readonly factor: OwnerFactor
  readonly nowMs: () => number
}

/** A name that no other sale has. */
export const newSaleId = (): string => randomBytes(16).toString('hex')

export const saleHash = (text: string | Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(text).digest())

const jwsOf = (receipt: SalesReceipt, network: string): object => ({
  ...receipt,
  network,
  query: toHex(receipt.query),
  response: toHex(receipt.response),
  ...(receipt.offer === undefined ? {} : { offer: toHex(receipt.offer) }),
})

export type Sales = Disposable & {
  readonly prices: PriceList
  readonly factor: OwnerFactor
  readonly ledger: Ledger
  readonly keys: Keys
  readonly cards: CardBook
  sell(order: Order): Sold
  /** A sale made before to this order's buyer that answers it: by its Idempotency-Key, or one that never arrived. */
  owed(
    order: Pick<Order, 'payer' | 'idempotencyKey' | 'asked'>,
  ): Extract<Sold, { ok: true }> | 'conflict' | undefined
  /** Notes how much of a body its buyer has taken; what was not served at all is paid back. */
  served(sale: Sale, much: 'nothing' | 'some' | 'all'): void
  /** The sale of that query to that customer, if there is one: later pages of it are paid. */
  paid(customer: string, sale: string, query: Uint8Array): boolean
  sale(customer: string, id: string): Sale | undefined
  list(customer: string, limit: number, beforeMs?: number): Sale[]
  /** Adds credit that came by a rail; false where this request was credited before. */
  credit(request: string, rail: string, customer: string, amount: MicroUsd, memo: string): boolean
}

/** Opens the books. What was paid and not served when the hub died is paid back. */
export const openSales = (options: SalesOptions): Sales => {
  const { network, hub, prices, nowMs } = options
  const database: DatabaseSync = openSalesDatabase(options.path)
  const ledger = openLedger(database)
  const keys = openKeys(database)
  const cards = openCardBook(database, ledger, nowMs)
  database.exec(schema)
  const insert = database.prepare("INSERT INTO sale VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?)")
  const keep = database.prepare('INSERT INTO delivery VALUES (?, ?, ?, ?)')
  const freeRequest = database.prepare('UPDATE sale SET request = id WHERE request = ?')
  const byRequest = database.prepare('SELECT * FROM sale WHERE request = ?')
  const undelivered = database.prepare(`
    SELECT s.* FROM sale s JOIN delivery d ON d.sale = s.id
    WHERE s.customer = ? AND s.asked = ? AND s.state IN ('open', 'partial') AND s.time_ms > ?
    ORDER BY s.time_ms LIMIT 1`)
  const bodyOf = database.prepare('SELECT content_type, body FROM delivery WHERE sale = ?')
  const note = database.prepare("UPDATE sale SET state = ? WHERE id = ? AND state IN ('open', 'partial')")
  const free = database.prepare('UPDATE sale SET request = id WHERE id = ?')
  const unserved = database.prepare("SELECT * FROM sale WHERE state = 'open' AND time_ms < ?")
  const find = database.prepare('SELECT * FROM sale WHERE id = ? AND customer = ?')
  const recent = database.prepare(
    'SELECT * FROM sale WHERE customer = ? AND time_ms < ? ORDER BY time_ms DESC LIMIT ?',
  )
  const forget = database.prepare('DELETE FROM delivery WHERE time_ms < ?')
  const kept = database.prepare('SELECT coalesce(sum(length(body)), 0) AS bytes FROM delivery')
  const apiKeyOf = database.prepare('SELECT api_key FROM sale WHERE id = ?')
  const drop = database.prepare('DELETE FROM delivery WHERE sale = ?')
  const forgetOldest = database.prepare(
    'DELETE FROM delivery WHERE sale = (SELECT sale FROM delivery ORDER BY time_ms LIMIT 1)',
  )

  /** Pays back what was paid for a sale, from those who got it; once. */
  const refund = (sale: Sale, memo: string): void => {
    const back = { request: `refund:${sale.id}`, kind: 'refund', timeMs: nowMs(), memo } as const
    const ended = (): boolean => {
      const key = apiKeyOf.get(sale.id)?.api_key
      if (typeof key === 'string') keys.spend(key, -sale.priceMicroUsd)
      note.run('refunded', sale.id)
      // Its buyer may order again under the same name.
      free.run(sale.id)
      drop.run(sale.id)
      return true
    }
    const paid = ledger.entriesOfRequest(`sale:${sale.id}`)
    const entries = paid.map(({ account, amount }) => ({ account, amount: -amount }))
    const posted = ledger.post({ ...back, entries }, ended)
    if (posted.ok || posted.reason !== 'insufficient') return
    // An owner was paid out meanwhile: the hub stands in.
    const account = creditOf(sale.customer)
    const amount = sale.priceMicroUsd
    ledger.post(
      {
        ...back,
        entries: [
          { account, amount },
          { account: hubIncome, amount: -amount },
        ],
      },
      ended,
    )
  }

  const refundUnserved = (beforeMs: number, memo: string): void => {
    for (const row of unserved.all(beforeMs)) refund(asSale(row), memo)
  }
  refundUnserved(Number.MAX_SAFE_INTEGER, 'the hub was stopped before this was served')
  forget.run(nowMs() - keptMs)

  // Summed up once; from then on counted along.
  let bodies = kept.get()!.bytes as bigint
  const makeRoom = (): void => {
    while (bodies > keptBytes) {
      const { changes } = forgetOldest.run()
      bodies = Number(changes) === 0 ? 0n : (kept.get()!.bytes as bigint)
    }
  }

  const requestOf = (customer: string, idempotencyKey: string): string =>
    toHex(saleHash(JSON.stringify([customer, idempotencyKey])))

  const again = (row: Record<string, SQLOutputValue>): Extract<Sold, { ok: true }> | undefined => {
    const sale = asSale(row)
    const body = bodyOf.get(sale.id)
    return (
      body && {
        ok: true,
        sale,
        again: true,
        delivery: {
          contentType: body.content_type as string,
          body: new Uint8Array(gunzipSync(body.body as Uint8Array)),
        },
      }
    )
  }

  const owed: Sales['owed'] = ({ payer, idempotencyKey, asked }) => {
    const row =
      idempotencyKey === undefined
        ? undelivered.get(payer.customer, asked, nowMs() - againMs)
        : byRequest.get(requestOf(payer.customer, idempotencyKey))
    if (row === undefined) return undefined
    // What was served and is not kept any more cannot be given again, and is not sold twice under one name.
    return row.asked === asked ? (again(row) ?? 'conflict') : 'conflict'
  }

  const sell: Sales['sell'] = (order) => {
    const { payer, price, delivery } = order
    refundUnserved(nowMs() - givenUpMs, 'nobody took it')
    const before = owed(order)
    if (before === 'conflict') return { ok: false, reason: 'conflict' }
    if (before !== undefined) return before
    const { id } = order
    const timeMs = nowMs()
    let amount = price.totalMicroUsd
    if (order.offer !== undefined && order.offer.mostMicroUsd < amount) amount = order.offer.mostMicroUsd
    const account = creditOf(payer.customer)
    const shares = [...sharesOf(prices, price, amount)]
      .filter(([, share]) => share > 0n)
      .sort(([a], [b]) => (a < b ? -1 : 1))
    const receipt: SalesReceipt = {
      id,
      issuedMs: timeMs,
      query: order.query,
      response: saleHash(delivery.body),
      rows: price.rows,
      values: price.values,
      priceMicroUsd: Number(amount),
      rail: payer.rail,
      shares: shares.map(([station, share]) => ({ station, microUsd: Number(share) })),
      ...(order.offer === undefined ? {} : { offer: order.offer.hash }),
    }
    const signed = signSale(receipt, network, hub)
    const jws = signJws('groundtruth-sale+jwt', jwsOf(receipt, network), hub)
    const body = gzipSync(delivery.body, { level: 1 })
    const request = order.idempotencyKey === undefined ? id : requestOf(payer.customer, order.idempotencyKey)
    let overBudget = false
    const record = (): boolean => {
      overBudget = payer.key !== undefined && amount > 0n && !keys.spend(payer.key.id, amount)
      if (overBudget) return false
      // A sale that was paid back, or whose body is gone, answers this no more: the order is another from here on.
      freeRequest.run(request)
      insert.run(
        id,
        request,
        payer.customer,
        payer.key?.id ?? null,
        order.asked,
        order.query,
        order.scope,
        timeMs,
        amount,
        price.rows,
        signed,
        jws,
      )
      keep.run(id, timeMs, delivery.contentType, body)
      return true
    }
    const owners = shares.reduce((sum, [, share]) => sum + share, 0n)
    const posted = ledger.post(
      {
        request: `sale:${id}`,
        kind: 'sale',
        timeMs,
        memo: payer.rail,
        entries: [
          { account, amount: -amount },
          ...shares.map(([station, share]) => ({ account: `owner:${station}` as const, amount: share })),
          { account: hubIncome, amount: amount - owners },
        ],
      },
      record,
    )
    if (!posted.ok && posted.reason === 'insufficient')
      return { ok: false, reason: 'insufficient', price: amount, balance: posted.balance }
    if (!posted.ok && overBudget) return { ok: false, reason: 'budget', price: amount }
    if (!posted.ok) throw new Error(`sale ${id} is in the books already`)
    bodies += BigInt(body.length)
    makeRoom()
    return { ok: true, sale: asSale(find.get(id, payer.customer)!), delivery, again: false }
  }

  return {
    prices,
    factor: options.factor,
    ledger,
    keys,
    cards,
    sell,
    owed,
    served: (sale, much) => {
      if (much === 'nothing') refund(sale, 'nothing of it was taken')
      else note.run(much === 'all' ? 'delivered' : 'partial', sale.id)
    },
    paid: (customer, sale, query) => {
      const row = find.get(sale, customer)
      return row !== undefined && Buffer.from(row.query as Uint8Array).equals(query)
    },
    sale: (customer, id) => {
      const row = find.get(id, customer)
      return row && asSale(row)
    },
    list: (customer, limit, beforeMs = Number.MAX_SAFE_INTEGER) =>
      recent.all(customer, beforeMs, limit).map(asSale),
    credit: (request, rail, customer, amount, memo) =>
      ledger.post({
        request,
        kind: 'credit',
        timeMs: nowMs(),
        memo,
        entries: [
          { account: `world:${rail}`, amount: -amount },
          { account: creditOf(customer), amount },
        ],
      }).ok,
    [Symbol.dispose]: () => database.close(),
  }
}
