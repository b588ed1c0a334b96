/** How a query is measured against what is promised of its product. */
import type { Price, PricedRow } from '../sales/price.ts'
import type { Measured, SlaPromises } from '../sales/sla.ts'

/**
 * How fresh the newest readings are: in what the rows cost, that of those which are not older than was promised. What is
 * stale is thereby credited for what it cost.
 */
export const measureLatest = (
  rows: readonly PricedRow[],
  price: Price,
  priceOf: (rows: Iterable<PricedRow>) => Price,
  { latestMaxAgeMs }: SlaPromises,
): Measured => ({
  product: 'latest',
  promisedPermille: 1000,
  expected: price.totalMicroUsd,
  present: priceOf(rows.filter(({ ageMs }) => ageMs <= latestMaxAgeMs)).totalMicroUsd,
})
