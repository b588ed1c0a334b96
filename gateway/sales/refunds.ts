/** Refunds: what was paid and not served at all goes back to its buyer, from those who got it. */
import type { Bodies } from './bodies.ts'
import type { Keys } from './keys.ts'
import type { Ledger } from './ledger.ts'
import { creditOf, hubIncome, type Sale, type SaleTable } from './sale.ts'

export type RefundDeps = {
  readonly ledger: Ledger
  readonly keys: Keys
  readonly table: SaleTable
  readonly bodies: Bodies
  readonly nowMs: () => number
}

/** Pays sales back, each once. */
export const openRefunds = ({ ledger, keys, table, bodies, nowMs }: RefundDeps) => {
  const refund = (sale: Sale, memo: string): void => {
    const back = { request: `refund:${sale.id}`, kind: 'refund', timeMs: nowMs(), memo } as const
    const ended = (): boolean => {
      const key = table.apiKeyOf(sale.id)
      if (key !== undefined) keys.spend(key, -sale.priceMicroUsd)
      table.note(sale.id, 'refunded')
      // Its buyer may order again under the same name.
      table.free(sale.id)
      bodies.drop(sale.id)
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

  return {
    refund,
    /** Pays back every sale made before then (UTC ms) of which nothing was taken. */
    refundUnserved: (beforeMs: number, memo: string): void => {
      for (const sale of table.openBefore(beforeMs)) refund(sale, memo)
    },
  }
}

export type Refunds = ReturnType<typeof openRefunds>
