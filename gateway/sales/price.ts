/** What data costs: one pure function from what is delivered to an amount, and to whom it goes. */
import type { MicroUsd } from './money.ts'

/** From a least score on, or up to an age: so many thousandths of the price of a value. */
export type Tier = { readonly minScore: number; readonly permille: number }
export type Freshness = { readonly maxAgeS: number; readonly permille: number }

/**
 * A price list. `baseMicroUsd` is for a query that delivers anything; `valueMicroUsd` for one value of the best tier that
 * is fresh. `freshness` ascends by age and `tiers` descend by score; what is older than the last, or scored below the
 * last, costs nothing. Values that are computed from many (intervals) cost `aggregatePermille` of one. `ownerPermille` of
 * the price of a value is its station owner's.
 */
export type PriceList = {
  readonly baseMicroUsd: MicroUsd
  readonly valueMicroUsd: MicroUsd
  readonly freshness: readonly Freshness[]
  readonly tiers: readonly Tier[]
  readonly aggregatePermille: number
  readonly ownerPermille: number
}

const daysS = 86_400

/** The list that holds where no other is configured. */
export const defaultPrices: PriceList = {
  baseMicroUsd: 100n,
  valueMicroUsd: 10n,
  freshness: [
    { maxAgeS: 15 * 60, permille: 1000 },
    { maxAgeS: 30 * daysS, permille: 500 },
    { maxAgeS: Number.POSITIVE_INFINITY, permille: 250 },
  ],
  tiers: [
    { minScore: 0.9, permille: 1000 },
    { minScore: 0.5, permille: 500 },
  ],
  aggregatePermille: 500,
  ownerPermille: 850,
}

/**
 * A delivered row as its price sees it: how many values it has that are not absent, how old it is when it is delivered,
 * and its score (0..1); a row of intervals has none.
 */
export type PricedRow = {
  readonly station: string
  readonly values: number
  readonly ageMs: number
  readonly score?: number
}

/** Thousandths that a station's owner asks of the list's price: 1000 is the list's own. */
export type OwnerFactor = (station: string) => number

/** `byStation` adds up to the total less the base. */
export type Price = {
  readonly totalMicroUsd: MicroUsd
  readonly baseMicroUsd: MicroUsd
  readonly rows: number
  readonly values: number
  readonly byStation: ReadonlyMap<string, MicroUsd>
}

export const nothing: Price = {
  totalMicroUsd: 0n,
  baseMicroUsd: 0n,
  rows: 0,
  values: 0,
  byStation: new Map(),
}

const ageFactor = ({ freshness }: PriceList, ageMs: number): number =>
  freshness.find(({ maxAgeS }) => ageMs <= maxAgeS * 1000)?.permille ?? 0

const tierFactor = ({ tiers, aggregatePermille }: PriceList, score: number | undefined): number =>
  score === undefined ? aggregatePermille : (tiers.find(({ minScore }) => score >= minScore)?.permille ?? 0)

// Three factors in thousandths: what a value costs is counted in billionths of a micro-USD, and rounded once.
const parts = 1_000_000_000n

const up = (amount: bigint): MicroUsd => (amount + parts - 1n) / parts

/** A price that grows with the rows that are added to it. */
export type Tally = {
  add(row: PricedRow): void
  /** The total with these rows added, which are not. */
  totalWith(rows: readonly PricedRow[], baseMicroUsd?: MicroUsd): MicroUsd
  /** The price of what was added; with another base than the list's where one is given. */
  price(baseMicroUsd?: MicroUsd): Price
}

/**
 * Opens a price without rows. It is values x price of a value x freshness x tier x owner's factor, rounded up once for
 * each station, and the base where anything costs anything. Rows of `free` stations (a buyer's own) cost nothing.
 */
export const openTally = (list: PriceList, factor: OwnerFactor, free: ReadonlySet<string>): Tally => {
  const exact = new Map<string, bigint>()
  let count = 0
  let values = 0
  let sum = 0n
  const costOf = (row: PricedRow): bigint =>
    BigInt(row.values) *
    list.valueMicroUsd *
    BigInt(ageFactor(list, row.ageMs)) *
    BigInt(tierFactor(list, row.score)) *
    BigInt(free.has(row.station) ? 0 : factor(row.station))
  const totalOf = (amount: MicroUsd, base: MicroUsd): MicroUsd => (amount === 0n ? 0n : base + amount)
  return {
    add: (row) => {
      count++
      values += row.values
      const cost = costOf(row)
      if (cost === 0n) return
      const before = exact.get(row.station) ?? 0n
      exact.set(row.station, before + cost)
      sum += up(before + cost) - up(before)
    },
    totalWith: (rows, base = list.baseMicroUsd) => {
      const more = new Map<string, bigint>()
      for (const row of rows) {
        const cost = costOf(row)
        if (cost > 0n) more.set(row.station, (more.get(row.station) ?? 0n) + cost)
      }
      let total = sum
      for (const [station, cost] of more) {
        const before = exact.get(station) ?? 0n
        total += up(before + cost) - up(before)
      }
      return totalOf(total, base)
    },
    price: (base = list.baseMicroUsd) => {
      const byStation = new Map([...exact].map(([station, amount]) => [station, up(amount)] as const))
      const totalMicroUsd = totalOf(sum, base)
      return { totalMicroUsd, baseMicroUsd: totalMicroUsd - sum, rows: count, values, byStation }
    },
  }
}

/** The price of delivered rows, as a tally of them. */
export const priceOf = (
  list: PriceList,
  rows: Iterable<PricedRow>,
  factor: OwnerFactor,
  free: ReadonlySet<string> = new Set(),
): Price => {
  const tally = openTally(list, factor, free)
  for (const row of rows) tally.add(row)
  return tally.price()
}

/** How much of what was paid each station's owner gets: the share of its part, rounded down; the rest is the hub's. */
export const sharesOf = (
  { ownerPermille }: PriceList,
  { byStation, totalMicroUsd, baseMicroUsd }: Price,
  paid: MicroUsd,
): ReadonlyMap<string, MicroUsd> => {
  const sum = totalMicroUsd - baseMicroUsd
  // With an offer less may be paid than the list says; all bear it alike.
  const toShare = paid < totalMicroUsd ? (paid * sum) / (totalMicroUsd || 1n) : sum
  return new Map(
    [...byStation].map(([station, amount]) => [
      station,
      (amount * toShare * BigInt(ownerPermille)) / ((sum || 1n) * 1000n),
    ]),
  )
}
