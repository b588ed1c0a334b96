/**
 * Sales: who bought what, for how much, and the proof of it. What was paid and did not arrive is delivered again for
 * nothing; what was not served at all is given back.
 */
import type { Signer } from '../reading/cose.ts'
import { openBodies } from './bodies.ts'
import { type CardBook, openCardBook } from './cards.ts'
import { openHolds } from './holds.ts'
import { type Jobs, openJobNames, openJobs } from './jobs.ts'
import { type Keys, openKeys } from './keys.ts'
import { type Ledger, openLedger, openSalesDatabase } from './ledger.ts'
import type { MicroUsd } from './money.ts'
import { type Orders, openOrders } from './orders.ts'
import type { OwnerFactor, PriceList } from './price.ts'
import { openRefunds } from './refunds.ts'
import { creditOf, openSaleTable, type Sale } from './sale.ts'
import type { SlaPromises } from './sla.ts'
import { openSlaBook, type SlaBook } from './sla-book.ts'
import { openSubscriptions, type Subscriptions } from './subscriptions.ts'
import { openTabs, type Tabs } from './tabs.ts'

export type SalesOptions = {
  /** Path of the SQLite file. */
  readonly path: string
  readonly network: string
  readonly hub: Signer
  readonly prices: PriceList
  readonly factor: OwnerFactor
  readonly sla: SlaPromises
  readonly nowMs: () => number
}

export type Sales = Disposable &
  Orders & {
    readonly prices: PriceList
    readonly factor: OwnerFactor
    readonly ledger: Ledger
    readonly keys: Keys
    readonly cards: CardBook
    readonly subscriptions: Subscriptions
    readonly tabs: Tabs
    readonly jobs: Jobs
    readonly sla: Pick<SlaBook, 'outcome' | 'counts'>
    /** Notes how much of a body its buyer has taken; what was not served at all is paid back. */
    served(sale: Sale, much: 'nothing' | 'some' | 'all'): void
    sale(customer: string, id: string): Sale | undefined
    /** A sale that was paid without a key: its id is a secret that only its buyer was told. */
    keyless(id: string): Sale | undefined
    /** The newest sale of that query to that customer since then (UTC ms) that was delivered whole. */
    soldSince(customer: string, query: Uint8Array, sinceMs: number): Sale | undefined
    list(customer: string, limit: number, beforeMs?: number): Sale[]
    /** Adds credit that came by a rail; false where this request was credited before. */
    credit(request: string, rail: string, customer: string, amount: MicroUsd, memo: string): boolean
  }

/** Opens the books. What was paid and not served when the hub died is paid back, and what was held is given back. */
export const openSales = (options: SalesOptions): Sales => {
  const { prices, factor, nowMs } = options
  const database = openSalesDatabase(options.path)
  const ledger = openLedger(database)
  const keys = openKeys(database)
  const cards = openCardBook(database, ledger, nowMs)
  const subscriptions = openSubscriptions(database)
  const table = openSaleTable(database)
  const bodies = openBodies(database, nowMs)
  const slaBook = openSlaBook(database)
  const refunds = openRefunds({ ledger, keys, table, bodies, slaBook, nowMs })
  refunds.refundUnserved(Number.MAX_SAFE_INTEGER, 'the hub was stopped before this was served')
  const orders = openOrders({
    ...options,
    ...{ ledger, keys, table, bodies, refunds, slaBook },
    mostCreditPermille: options.sla.mostCreditPermille,
  })
  const holds = openHolds(database, ledger, keys)
  const names = openJobNames(database)
  holds.releaseAll({ timeMs: nowMs(), memo: 'the hub was stopped' }, names.has)
  const jobs = openJobs({ ...options, names, holds, table })
  const tabs = openTabs({ ...options, database, ledger, holds, keys, table })

  return {
    ...orders,
    prices,
    factor,
    ledger,
    keys,
    cards,
    subscriptions,
    tabs,
    jobs,
    sla: slaBook,
    served: (sale, much) => {
      if (much !== 'nothing') return table.note(sale.id, much === 'all' ? 'delivered' : 'partial')
      // Of what is given again something was taken before.
      if (table.find(sale.id, sale.customer)?.state === 'open')
        refunds.refund(sale, 'nothing of it was taken')
    },
    sale: (customer, id) => table.find(id, customer),
    keyless: table.keyless,
    soldSince: table.soldSince,
    list: table.list,
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
    [Symbol.dispose]: () => {
      try {
        tabs.closeAll()
      } finally {
        database.close()
      }
    },
  }
}
