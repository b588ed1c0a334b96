/**
 * What a purchase entitles to be shown in its proof. A bundle shows every reading of its scope, so a few values that were
 * made of very many, or lie far apart, would hand out all that is in between for next to nothing.
 */
import type { ScoredSelection, Store } from '../store/store.ts'
import { countValues, maxScoredValues } from './intervals.ts'

// A late backlog may have come in since, and a small purchase is shown with its neighbours in any case.
const mostPerSold = 2
const mostBeside = 100

/** Whether a scope holds about as many values as were sold of it. */
export const isSold = async (
  sold: number,
  { minScore, ...selection }: ScoredSelection,
  store: Pick<Store, 'rollup'>,
): Promise<boolean> => {
  const most = mostPerSold * sold + mostBeside
  const isWithin = (count: number | undefined): boolean => count !== undefined && count <= most
  const inAll = await countValues(selection, store)
  if (isWithin(inAll)) return true
  // Those that are not good enough were not sold; nobody buys a bundle to see them.
  return (
    minScore !== undefined &&
    inAll !== undefined &&
    inAll <= maxScoredValues &&
    isWithin(await countValues({ ...selection, minScore }, store))
  )
}
