/** Refunds: what was paid and not served at all goes back to its buyer, from those who got it. */
import type { Bodies } from './bodies.ts'
import type { Keys } from './keys.ts'
import type { Ledger } from './ledger.ts'
import { creditOf, hubIncome, type Sale, type SaleTable } from './sale.ts'
import type { SlaBook } from './sla-book.ts'

export type RefundDeps = {
  readonly ledger: Ledger
  readonly keys: Keys
  readonly table: SaleTable
  readonly bodies: Bodies
  readonly slaBook: SlaBook
  readonly nowMs: () => number
}

/** Pays sales back, each once. */
export const openRefunds = ({ ledger, keys, table, bodies, slaBook, nowMs }: RefundDeps) => {
  const refund = (sale: Sale, memo: string): void => {
    const back = { request: `refund:${sale.id}`, kind: 'refund', timeMs: nowMs(), memo } as const
    // What was credited for a shortfall has come back already.
    const credited = slaBook.outcome(sale.id)?.creditMicroUsd ?? 0n
    const amount = sale.priceMicroUsd - credited
    const ended = (): boolean => {
      const key = table.apiKeyOf(sale.id)
      if (key !== undefined) keys.spend(key, -amount)
      slaBook.takeBack(sale.id, sale.timeMs)
      table.note(sale.id, 'refunded')
      // Its buyer may order again under the same name.
      table.free(sale.id)
      bodies.drop(sale.id)
      return true
    }
    const paid = [`sale:${sale.id}`, `sla:${sale.id}`].flatMap(ledger.entriesOfRequest)
    const entries = paid.map(({ account, amount }) => ({ account, amount: -amount }))
    const posted = ledger.post({ ...back, entries }, ended)
    if (posted.ok || posted.reason !== 'insufficient') return
    // An owner was paid out meanwhile: the hub stands in.
    const account = creditOf(sale.customer)
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

  return {
    refund,
    /** Pays back every sale made before then (UTC ms) of which nothing was taken. */
    refundUnserved: (beforeMs: number, memo: string): void => {
      for (const sale of table.openBefore(beforeMs)) refund(sale, memo)
    },
  }
}

export type Refunds = ReturnType<typeof openRefunds>
