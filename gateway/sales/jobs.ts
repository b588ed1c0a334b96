/**
 * Jobs: work that is paid when it is done, and that outlives the hub which took it on. What a job can cost at most is
 * held when it is taken on; the hold is captured for what was delivered, with a receipt, or released.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { Signer } from '../reading/cose.ts'
import type { Held, Holds } from './holds.ts'
import type { MicroUsd } from './money.ts'
import type { Price, PriceList } from './price.ts'
import { incomeOf, ownersOf, signReceipt, soldScope } from './receipt.ts'
import { creditOf, type Sale, type SaleTable } from './sale.ts'

/** A job as it is taken on. `id` is what its sale will be called: `newSaleId()`. `most` is above zero. */
export type NewJob = {
  readonly id: string
  readonly customer: string
  /** The key whose budget it is taken from; null for who pays without one. */
  readonly apiKey: string | null
  readonly most: MicroUsd
}

/** What was delivered. */
export type Delivered = {
  readonly id: string
  readonly price: Price
  /** SHA-256 of the canonical text of the query, its resolved times included. */
  readonly query: Uint8Array
  readonly asked: string
  /** What a bundle of the same asks for, as JSON. */
  readonly scope: string
  /** SHA-256 of what was delivered. */
  readonly response: Uint8Array
  /** How the money came. */
  readonly rail: string
  /** Hash of the signed offer that the price was held to. */
  readonly offer?: Uint8Array
}

const schema = 'CREATE TABLE IF NOT EXISTS job (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID'

/** The names of jobs in the sales' database: whose holds are kept when a hub starts. */
export const openJobNames = (database: DatabaseSync) => {
  database.exec(schema)
  const add = database.prepare('INSERT OR IGNORE INTO job VALUES (?)')
  const drop = database.prepare('DELETE FROM job WHERE id = ?')
  const find = database.prepare('SELECT 1 FROM job WHERE id = ?')
  const all = database.prepare('SELECT id FROM job ORDER BY id')
  return {
    add: (id: string): void => void add.run(id),
    drop: (id: string): void => void drop.run(id),
    has: (id: string): boolean => find.get(id) !== undefined,
    all: (): string[] => all.all().map((row) => row.id as string),
  }
}

export type JobDeps = {
  readonly names: ReturnType<typeof openJobNames>
  readonly holds: Holds
  readonly table: SaleTable
  readonly network: string
  readonly hub: Signer
  readonly prices: PriceList
  readonly nowMs: () => number
}

/** The jobs of the sales. */
export const openJobs = ({ names, holds, table, network, hub, prices, nowMs }: JobDeps) => ({
  /** Holds what a job can cost, all of it or nothing. */
  take: ({ id, customer, apiKey, most }: NewJob): Held => {
    // Noted before: a hub that dies in between leaves a name without a hold, which is nothing.
    names.add(id)
    const wanted = { id, account: creditOf(customer), apiKey, most, least: most }
    const held = holds.take(wanted, { timeMs: nowMs(), memo: 'a job' })
    if (!held.ok) names.drop(id)
    return held
  },
  /**
   * Charges a job for what was delivered, at most what is held, and gives its sale: the same one as often as it is asked.
   * Undefined where it costs nothing: the hold is released.
   */
  settle: ({ id, price, query, asked, scope, response, rail, offer }: Delivered): Sale | undefined => {
    const hold = holds.holdOf(id)
    if (hold === undefined) throw new Error(`nothing was held for job ${id}`)
    const customer = hold.account.slice('customer:'.length)
    let amount = price.totalMicroUsd
    if (amount > hold.amount) amount = hold.amount
    const timeMs = nowMs()
    if (hold.state === 'open' && amount === 0n) holds.release(id, { timeMs, memo: 'it cost nothing' })
    else if (hold.state === 'open') {
      const shares = ownersOf(prices, price, amount)
      const { rows, values } = price
      const bound = { ...soldScope(scope), ...(offer === undefined ? {} : { offer }) }
      const priceMicroUsd = Number(amount)
      const signed = signReceipt(
        { id, issuedMs: timeMs, query, response, rows, values, priceMicroUsd, rail, shares, ...bound },
        network,
        hub,
      )
      const sale: Sale = {
        id,
        customer,
        query,
        scope,
        timeMs,
        priceMicroUsd: amount,
        rows,
        state: 'delivered',
        ...signed,
      }
      const also = (): void => table.insert({ ...sale, request: id, apiKey: hold.apiKey, asked })
      if (holds.capture(id, incomeOf(shares, amount), { timeMs, memo: rail }, { also }) === undefined)
        throw new Error(`the hold of job ${id} was ended behind its back`)
    }
    names.drop(id)
    return table.find(id, customer)
  },
  /** Gives back what is held for a job that was not done. */
  release: (id: string, memo: string): void => {
    if (holds.holdOf(id) !== undefined) holds.release(id, { timeMs: nowMs(), memo })
    names.drop(id)
  },
  /** Jobs that were taken on and are not ended. */
  unended: (): string[] => names.all(),
})

export type Jobs = ReturnType<typeof openJobs>
