/** A tab at the till: rows are paid as they are delivered, for as long as it goes on, whoever asked and is gone. */
import type { Sales } from '../sales/sales.ts'
import type { Segment, Span, Unpaid } from '../sales/tab.ts'
import { pricedRow } from './priced.ts'
import type { Fault } from './problem.ts'
import type { ReadingRow } from './row.ts'
import { budgetFault, creditFault, keyFault, type UsdText } from './unpaid.ts'

/** What is sold by a tab, and to whom. */
export type WantedTab = {
  /** Names the tab for ever: who opens it again under this name does not pay the base again. */
  readonly name: string
  /** Id of the key that pays. A key that is revoked or ends later ends the tab. */
  readonly apiKey: string
  /** What was asked, in one string. Receipts are bound to its SHA-256. */
  readonly asked: string
  /** What the bundle of a segment asks for, as JSON; 'null' where there is none. */
  readonly scopeOf: (span: Span) => string
  /** What is kept of what was delivered, in one transaction with its settlement. */
  readonly settled?: (segment: Segment) => void
  /** Charged once and settled at once: no more is held than that costs. */
  readonly isSingle?: boolean
  /** Not opened for a buyer who cannot pay one value; not to be asked where all is the buyer's own. */
  readonly afford: boolean
}

/**
 * A segment that was settled. `receipt` is the id of its sales receipt, whose `response` is SHA-256 over the texts of
 * the segment's rows in the order of delivery; null where nothing of it cost anything. `totalMicroUsd` is what was
 * settled since the tab was opened, `creditsRemaining` what is left on the account, and `budgetRemaining` to its key;
 * null for no limit.
 */
export type Statement = {
  readonly receipt: string | null
  readonly rows: number
  readonly priceMicroUsd: number
  readonly totalMicroUsd: number
  readonly creditsRemaining: number
  readonly budgetRemaining: number | null
}

/** Whether rows may be delivered; what they were put behind may have been settled before. */
export type Paid = { readonly statement?: Statement } & (
  | { readonly ok: true }
  | { readonly ok: false; readonly fault: Fault }
)

export type OpenTab = {
  /**
   * To be asked right before rows are delivered: they are charged with this. `text` is what is delivered of them, as the
   * receipt binds it. Where the fault is credit or budget, the same may be tried again later. Without rows
   * it only looks at the key, and settles as "settleWhenDue" does.
   */
  deliver(rows: readonly ReadingRow[], text: string): Paid
  /** To be called every few seconds: settles once a minute. */
  settleWhenDue(): Statement | undefined
  /** The statement of so many rows that were paid before and come again. */
  standing(rows: number): Statement
  /** Settles the rest and ends the tab; once is enough. */
  close(): Statement | undefined
  /** Ends the tab and settles nothing: what was put on it since the last settlement was not delivered. */
  abandon(): void
}

/** Opens tabs; a fault says why one cannot be. */
export type OpenTabs = (
  wanted: WantedTab,
) => { readonly ok: true; readonly tab: OpenTab } | { readonly ok: false; readonly fault: Fault }

export type TabParts = {
  readonly sales: Sales
  readonly usdText: UsdText
  readonly saleHash: (text: string) => Uint8Array
  readonly nowMs: () => number
}

export const tabsOf = ({ sales, usdText, saleHash, nowMs }: TabParts): OpenTabs => {
  const faultOf = (unpaid: Unpaid): Fault => {
    switch (unpaid.reason) {
      case 'key':
        return keyFault(unpaid.fault)
      case 'budget':
        return budgetFault(unpaid.price, usdText)
      case 'insufficient':
        return creditFault(unpaid.price, unpaid.left, usdText)
    }
  }

  return ({ afford, ...wanted }) => {
    const { apiKey, asked } = wanted
    const opened = sales.tabs.open({ ...wanted, query: saleHash(asked) }, afford)
    if (!opened.ok) return { ok: false, fault: faultOf(opened) }
    const { tab } = opened

    const statement = (segment: Segment): Statement => {
      const left = sales.keys.left(apiKey)
      return {
        receipt: segment.receipt,
        rows: segment.rows,
        priceMicroUsd: Number(segment.priceMicroUsd),
        totalMicroUsd: Number(tab.settledMicroUsd),
        creditsRemaining: Number(sales.ledger.balance(`customer:${tab.customer}`)),
        budgetRemaining: left === null ? null : Number(left),
      }
    }
    const statementOf = (segment: Segment | undefined): Statement | undefined => segment && statement(segment)

    return {
      ok: true,
      tab: {
        deliver: (rows, text) => {
          const now = nowMs()
          const priced = rows.map((row) => ({ ...pricedRow(row, now), timeMs: Date.parse(row.time) }))
          const charged = tab.charge(priced, text)
          const before = charged.segment === undefined ? {} : { statement: statement(charged.segment) }
          return charged.ok ? { ...before, ok: true } : { ...before, ok: false, fault: faultOf(charged) }
        },
        settleWhenDue: () => statementOf(tab.settleWhenDue()),
        standing: (rows) => statement({ receipt: null, rows, values: 0, priceMicroUsd: 0n }),
        close: () => statementOf(tab.close()),
        abandon: () => tab.abandon(),
      },
    }
  }
}
