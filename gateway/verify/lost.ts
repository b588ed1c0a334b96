/** What a station declares lost, in its own signed envelopes: which of the numbers that are missing, and how much. */
import type { BundleScope } from '../reading/bundle.ts'
import type { Dropped, DroppedStretch } from '../reading/dropped.ts'
import type { Range } from '../reading/ranges.ts'

/** A declaration with its own number. */
export type Declaration = { readonly seq: number; readonly dropped: Dropped }

/**
 * `declared` are those of the missing numbers that the station declares lost, and `readings` how many these held at most:
 * exactly so many, where no stretch that it tells in one also holds numbers that are not missing. `stretches` are those
 * without such, ascending and apart. `unsigned` are readings of the time asked that never got a number.
 */
export type Lost = {
  readonly declared: readonly Range[]
  readonly readings: number
  readonly stretches: readonly DroppedStretch[]
  readonly unsigned: number
}

/** What the declarations of one station say of the numbers that are missing and of the time asked. */
export const lostOf = (
  declarations: readonly Declaration[],
  missing: readonly Range[],
  { fromMs, toMs }: Pick<BundleScope, 'fromMs' | 'toMs'>,
): Lost => {
  const holes = missing.toSorted(([a], [b]) => a - b)
  const listed = declarations.flatMap(({ seq, dropped }) =>
    dropped.envelopes.map((one) => ({ one, by: seq })),
  )
  // By first number, then the newest word about it: a declaration that takes the place of others says it all again.
  listed.sort((a, b) => a.one.seq - b.one.seq || b.by - a.by)
  const declared: [first: number, last: number][] = []
  const stretches: DroppedStretch[] = []
  let [readings, told, at] = [0, 0, 0]
  for (const { one } of listed) {
    const last = one.seq + one.count - 1
    if (last <= told) continue
    const from = Math.max(one.seq, told + 1)
    told = last
    while (at < holes.length && holes[at]![1] < from) at++
    let missed = 0
    for (let hole = at; hole < holes.length && holes[hole]![0] <= last; hole++) {
      const part: [number, number] = [Math.max(holes[hole]![0], from), Math.min(holes[hole]![1], last)]
      missed += part[1] - part[0] + 1
      const before = declared.at(-1)
      if (before !== undefined && before[1] + 1 === part[0]) before[1] = part[1]
      else declared.push(part)
    }
    if (missed > 0) readings += one.readings
    if (missed === one.count) stretches.push(one)
  }
  let unsigned = 0
  for (const { dropped } of declarations)
    if (dropped.fromMs < toMs && dropped.toMs >= fromMs) unsigned += dropped.unsigned
  return { declared, readings, stretches, unsigned }
}
