/**
 * Service level: what is promised of each product, and what a shortfall is worth. Each paid query is measured when it is
 * sold, and what it falls short is credited with the sale.
 */
import type { MicroUsd } from './money.ts'

/** What something is promised of. */
export const slaProducts = ['latest', 'readings'] as const
export type SlaProduct = (typeof slaProducts)[number]

/**
 * The promises. `latestMaxAgeMs`: no newest reading that is paid for is older. `completenessPermille`: so many of a
 * thousand expected readings are there. `mostCreditPermille`: so much of a price is credited at most.
 */
export type SlaPromises = {
  readonly latestMaxAgeMs: number
  readonly completenessPermille: number
  readonly mostCreditPermille: number
}

/** Those that hold where no others are configured. */
export const defaultSla: SlaPromises = {
  latestMaxAgeMs: 15 * 60_000,
  completenessPermille: 900,
  mostCreditPermille: 1000,
}

/**
 * What one query was found to be: `present` of `expected`, in a unit of the product's own, of which `promisedPermille`
 * were promised.
 */
export type Measured = {
  readonly product: SlaProduct
  readonly promisedPermille: number
  readonly expected: bigint
  readonly present: bigint
}

/** Present of a thousand expected, rounded down; 1000 where nothing was expected. */
export const reachedPermille = ({ expected, present }: Pick<Measured, 'expected' | 'present'>): number =>
  expected === 0n || present >= expected ? 1000 : Number((present * 1000n) / expected)

/** Whether the promise was kept. */
export const isMet = ({ promisedPermille, expected, present }: Measured): boolean =>
  present * 1000n >= expected * BigInt(promisedPermille)

/**
 * What a shortfall gives back of what was paid: the part of the promise that was not kept, rounded down, and not more
 * than `mostPermille` of the price.
 */
export const creditFor = (paid: MicroUsd, measured: Measured, mostPermille: number): MicroUsd => {
  if (isMet(measured)) return 0n
  const promised = measured.expected * BigInt(measured.promisedPermille)
  const credit = (paid * (promised - measured.present * 1000n)) / promised
  const most = (paid * BigInt(mostPermille)) / 1000n
  return credit < most ? credit : most
}
