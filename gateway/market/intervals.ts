/** Values per interval: buckets of the store as whole rows, a page at a time, and the bound on what that may touch. */
import { quantities, quantityCoded } from '../reading/quantity.ts'
import type { Bucket, Position, RollupFunction, ScoredSelection, Store } from '../store/store.ts'
import type { Plan } from './query.ts'
import { type BucketRow, bucketRows } from './row.ts'

// Buckets that one answer reads at most; a row holds as many as a sensor has quantities.
const maxBuckets = 20_000

/** Values that are looked at one by one at most. Where scores count no sums are kept: half a second of work on a core. */
export const maxScoredValues = 5_000_000

// Longer than any span: few buckets say how many values there are.
const wholeSpanMs = 400 * 86_400_000

// Behind every quantity of a row: no code is higher.
const afterAllQuantities = Math.max(...quantities.map(({ code }) => code)) + 1

const isSameRow = (a: Bucket, b: Bucket): boolean =>
  a.timeMs === b.timeMs && a.station === b.station && a.sensor === b.sensor

/** Leading buckets that fill at most `limit` whole rows; the last row counts as whole only if `ended`. */
const wholeRows = (buckets: readonly Bucket[], limit: number, ended: boolean): number => {
  let rows = 0
  let lastRowAt = 0
  for (let at = 0; at < buckets.length; at++) {
    if (at > 0 && isSameRow(buckets[at - 1]!, buckets[at]!)) continue
    lastRowAt = at
    if (++rows > limit) return at
  }
  return ended ? buckets.length : lastRowAt
}

/** A page of intervals; `last` is where it ended, undefined on the last page. */
export type IntervalPage =
  | { readonly ok: true; readonly rows: BucketRow[]; readonly last: Position | undefined }
  | { readonly ok: false; readonly detail: string }

const isPublic = (code: number): boolean => {
  const quantity = quantityCoded(code)
  return quantity !== undefined && quantity.private !== true
}

/**
 * How many values a selection holds; undefined for more than can be counted at once. With `minScore` each is looked at:
 * ask first how many there are without.
 */
export const countValues = async (
  selection: ScoredSelection,
  store: Pick<Store, 'rollup'>,
): Promise<number | undefined> => {
  const counted = await store.rollup(selection, wholeSpanMs, 'count', maxBuckets)
  if (counted.length >= maxBuckets) return undefined
  return counted.reduce((sum, { quantity, count }) => (isPublic(quantity) ? sum + count : sum), 0)
}

/** Runs a plan of intervals; one that has to look at too many readings is an answer that says so. */
export const runIntervals = async (
  plan: Plan,
  { everyMs, fn }: { readonly everyMs: number; readonly fn: RollupFunction },
  store: Store,
): Promise<IntervalPage> => {
  const { selection, limit, minScore } = plan
  if (minScore !== undefined) {
    const fromMs = Math.max(selection.fromMs, plan.after?.timeMs ?? 0)
    const values = await countValues({ ...selection, fromMs }, store)
    if (values === undefined || values > maxScoredValues)
      return {
        ok: false,
        detail: `with "min_quality" every value is looked at, ${maxScoredValues} of them at most, and there are ${values ?? 'more sensors than can be counted'}; move "from" nearer to "to", or name stations or quantities`,
      }
  }
  const after = plan.after && { ...plan.after, quantity: afterAllQuantities }
  const perRow = selection.quantities?.length ?? quantities.length
  const asked = Math.min(maxBuckets, (limit + 1) * perRow)
  const scored = minScore === undefined ? selection : { ...selection, minScore }
  const buckets = await store.rollup(scored, everyMs, fn, asked, after)
  const ended = buckets.length < asked
  const whole = wholeRows(buckets, limit, ended)
  const last = buckets[whole - 1]
  const more = !ended || whole < buckets.length
  return {
    ok: true,
    rows: bucketRows(buckets.slice(0, whole), fn),
    last: more && last !== undefined ? { ...last, seq: 0, place: 0 } : undefined,
  }
}
