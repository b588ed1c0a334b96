/** A query as it is sold: a page, the price of it and of all pages behind it, and how complete they are. */
import type { Price, PricedRow } from '../sales/price.ts'
import type { Measured } from '../sales/sla.ts'
import type { MarketDeps } from './api.ts'
import type { Gate } from './gate.ts'
import { maxRows } from './parameters.ts'
import { pricedRow } from './priced.ts'
import { fault, Problem } from './problem.ts'
import { type Answer, nextPlan, type Plan, run } from './query.ts'
import { measureReadings, nameOf, noteTimes, type PaidOf, type TimesHeard } from './sla.ts'
import type { Till } from './till.ts'

/** What one sale can hold in all its pages; more is for a shorter time, for one station, or for an export. */
export const maxPaidRows = 100_000

const poorOf = (answer: Answer): number => (answer.kind === 'readings' ? (answer.poor?.length ?? 0) : 0)

/** `measure` is there where it is known how often sensors speak. */
export type PricedRun = {
  readonly answer: Answer
  readonly price: Price
  readonly measure?: () => Promise<Measured | undefined>
}

/** Runs a plan and all pages behind it. Throws Problem for more than is sold at once. */
export type RunPriced = (plan: Plan, own: ReadonlySet<string>, till: Till) => Promise<PricedRun>

/** What runs plans in that API. */
export const runPricedWith =
  ({ store, anchors, evidence, nowMs, paces }: MarketDeps, gate: Gate): RunPriced =>
  async (plan, own, { priceOf, sla, completenessOf, serviceMs }) => {
    const sources = { store, anchors }
    const heard: TimesHeard = new Map()
    const answer = await gate(() => run(plan, sources))
    const rows: PricedRow[] = []
    const bySensor = new Map<string, PricedRow[]>()
    const note = (page: Answer): void => {
      for (const row of page.rows) {
        const priced = pricedRow(row, nowMs())
        rows.push(priced)
        const name = nameOf(row.station, row.sensor)
        const known = bySensor.get(name)
        if (known === undefined) bySensor.set(name, [priced])
        else known.push(priced)
      }
      noteTimes(heard, page)
    }
    note(answer)
    let poor = poorOf(answer)
    let next = nextPlan(plan, answer)
    while (next !== undefined) {
      const page = { ...next, limit: maxRows }
      const more = await gate(() => run(page, sources))
      note(more)
      poor += poorOf(more)
      // What is not good enough is looked at all the same.
      if (rows.length + poor > maxPaidRows)
        throw new Problem(
          fault('query-too-large', `more than ${maxPaidRows} rows are not sold at once`, {
            fields: [{ name: 'from', detail: 'move it nearer to "to"' }],
          }),
        )
      next = nextPlan(page, more)
    }
    const price = priceOf(rows, own)
    if (paces === undefined) return { answer, price }
    const deps = { store, evidence, paces, sla, completenessOf, serviceMs }
    const paidOf = (): PaidOf =>
      new Map(
        [...bySensor].map(([name, some]) => {
          const { totalMicroUsd, baseMicroUsd } = priceOf(some, own)
          return [name, totalMicroUsd - baseMicroUsd] as const
        }),
      )
    return { answer, price, measure: () => gate(() => measureReadings(plan, heard, paidOf(), nowMs(), deps)) }
  }
