/** The book of the service level: what each sale was measured to be, and counts of it for everybody to see. */
import type { DatabaseSync } from 'node:sqlite'
import type { MicroUsd } from './money.ts'
import { isMet, type Measured, reachedPermille, type SlaProduct, slaProducts } from './sla.ts'

const schema = `
  CREATE TABLE IF NOT EXISTS sla_sale (
    sale TEXT PRIMARY KEY,
    product TEXT NOT NULL,
    promised_permille INTEGER NOT NULL,
    expected INTEGER NOT NULL,
    present INTEGER NOT NULL,
    credit INTEGER NOT NULL CHECK (credit >= 0)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS sla_count (
    product TEXT NOT NULL,
    slot_ms INTEGER NOT NULL,
    measured INTEGER NOT NULL,
    met INTEGER NOT NULL,
    credited INTEGER NOT NULL,
    PRIMARY KEY (product, slot_ms)
  ) STRICT, WITHOUT ROWID;
`

// Counts are kept in steps of five minutes, for a month: 8,640 rows a product.
const slotMs = 5 * 60_000
const keptMs = 30 * 86_400_000

/** Over which times counts are told. */
export const slaPeriods = { '1h': 3_600_000, '24h': 86_400_000, '30d': keptMs } as const
export type SlaPeriod = keyof typeof slaPeriods

/** Sales of one product in one period: how many were measured, how many met the promise, what was credited. */
export type SlaCounts = {
  readonly product: SlaProduct
  readonly period: SlaPeriod
  readonly measured: number
  readonly met: number
  readonly creditedMicroUsd: MicroUsd
}

/** What a sale was measured to be, and what was credited for it. */
export type SlaOutcome = {
  readonly product: SlaProduct
  readonly reachedPermille: number
  readonly creditMicroUsd: MicroUsd
}

const slotOf = (timeMs: number): number => Math.floor(timeMs / slotMs) * slotMs

/** The book in the database of the sales. */
export const openSlaBook = (database: DatabaseSync) => {
  database.exec(schema)
  const add = database.prepare('INSERT INTO sla_sale VALUES (?, ?, ?, ?, ?, ?)')
  const find = database.prepare('SELECT * FROM sla_sale WHERE sale = ?')
  const clear = database.prepare('UPDATE sla_sale SET credit = 0 WHERE sale = ?')
  const count = database.prepare(`
    INSERT INTO sla_count VALUES (?, ?, 1, ?, ?)
    ON CONFLICT DO UPDATE SET measured = measured + 1, met = met + excluded.met, credited = credited + excluded.credited`)
  const uncount = database.prepare(
    'UPDATE sla_count SET credited = credited - ? WHERE product = ? AND slot_ms = ?',
  )
  const forget = database.prepare('DELETE FROM sla_count WHERE product = ? AND slot_ms < ?')
  const sums = database.prepare(`
    SELECT coalesce(sum(measured), 0) AS measured, coalesce(sum(met), 0) AS met, coalesce(sum(credited), 0) AS credited
    FROM sla_count WHERE product = ? AND slot_ms > ?`)

  return {
    /** Notes a sale that was measured. To be called in its transaction, as is `takeBack`. */
    note: (sale: string, measured: Measured, credit: MicroUsd, timeMs: number): void => {
      const { product, promisedPermille, expected, present } = measured
      add.run(sale, product, promisedPermille, expected, present, credit)
      count.run(product, slotOf(timeMs), isMet(measured) ? 1 : 0, credit)
      forget.run(product, slotOf(timeMs) - keptMs)
    },
    /** Forgets the credit of a sale of that time which is paid back. */
    takeBack: (sale: string, timeMs: number): void => {
      const row = find.get(sale)
      if (row === undefined) return
      uncount.run(row.credit!, row.product!, slotOf(timeMs))
      clear.run(sale)
    },
    /** What a sale was measured to be; undefined where it was not measured. */
    outcome: (sale: string): SlaOutcome | undefined => {
      const row = find.get(sale)
      return (
        row && {
          product: row.product as SlaProduct,
          reachedPermille: reachedPermille({
            expected: row.expected as bigint,
            present: row.present as bigint,
          }),
          creditMicroUsd: row.credit as bigint,
        }
      )
    },
    /** Counts of every product and period until now (UTC ms), in steps of five minutes. */
    counts: (nowMs: number): SlaCounts[] =>
      slaProducts.flatMap((product) =>
        Object.entries(slaPeriods).map(([period, ms]): SlaCounts => {
          const row = sums.get(product, slotOf(nowMs) - ms)!
          return {
            product,
            period: period as SlaPeriod,
            measured: Number(row.measured),
            met: Number(row.met),
            creditedMicroUsd: row.credited as bigint,
          }
        }),
      ),
  }
}

export type SlaBook = ReturnType<typeof openSlaBook>
