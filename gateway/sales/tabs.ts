/** The tabs of the sales: which are open, and of which the base was paid. */
import type { DatabaseSync } from 'node:sqlite'
import type { Ledger } from './ledger.ts'
import { creditOf } from './sale.ts'
import { type Bases, openTab, type Tab, type TabDeps, type TabOrder, type Unpaid } from './tab.ts'

/** A tab, or why there is none. */
export type OpenedTab = { readonly ok: true; readonly tab: Tab } | ({ readonly ok: false } & Unpaid)

const schema = `
  CREATE TABLE IF NOT EXISTS tab (
    name TEXT PRIMARY KEY,
    customer TEXT NOT NULL,
    base_paid_ms INTEGER NOT NULL,
    note TEXT
  ) STRICT, WITHOUT ROWID;
`

/** Opens the tabs. */
export const openTabs = (
  deps: Omit<TabDeps, 'bases' | 'closed'> & { readonly database: DatabaseSync; readonly ledger: Ledger },
) => {
  const { database, ledger, keys, prices, nowMs } = deps
  database.exec(schema)
  const baseOf = database.prepare('SELECT 1 FROM tab WHERE name = ?')
  const noteBase = database.prepare('INSERT OR IGNORE INTO tab VALUES (?, ?, ?, NULL)')
  const keepNote = database.prepare('UPDATE tab SET note = ? WHERE name = ?')
  const noteOf = database.prepare('SELECT note FROM tab WHERE name = ?')
  const bases: Bases = {
    isPaid: (name) => baseOf.get(name) !== undefined,
    note: (name, customer, timeMs) => void noteBase.run(name, customer, timeMs),
  }
  const underWay = new Set<Tab>()

  return {
    /**
     * Opens a tab for whoever the key belongs to; why it cannot be, where the key does not count. With `afford` nothing
     * is opened either where there is too little for one value.
     */
    open: (order: TabOrder, afford: boolean): OpenedTab => {
      const found = keys.byId(order.apiKey, nowMs())
      if (!found.ok) return { ok: false, reason: 'key', fault: found.reason }
      const { customer, budget, spent } = found.key
      if (afford) {
        const price = (bases.isPaid(order.name) ? 0n : prices.baseMicroUsd) + prices.valueMicroUsd
        const credit = ledger.balance(creditOf(customer))
        if (credit < price) return { ok: false, reason: 'insufficient', price, left: credit }
        if (budget !== null && budget - spent < price)
          return { ok: false, reason: 'budget', price, left: budget - spent }
      }
      const tab = openTab({ ...deps, bases, closed: (one) => underWay.delete(one) }, order, customer)
      underWay.add(tab)
      return { ok: true, tab }
    },
    /** Keeps a note with a tab of which something was paid: belongs into `settled`. */
    note: (name: string, note: string): void => void keepNote.run(note, name),
    /** The note of the tab of that name, whoever opened it; undefined where there is none. */
    noteOf: (name: string): string | undefined => (noteOf.get(name)?.note as string | null) ?? undefined,
    /** Closes every tab that is open. */
    closeAll: (): void => {
      for (const tab of [...underWay]) tab.close()
    },
  }
}

export type Tabs = ReturnType<typeof openTabs>
