/** Sets of sequence numbers as sorted, disjoint, closed ranges: what a hub has, what a station has been promised. */

export type Range = readonly [first: number, last: number]

/** Ranges with one more; ranges that touch become one. Does not change its argument. */
export const addRange = (ranges: readonly Range[], first: number, last: number = first): Range[] => {
  // Nearly always the newest range grows by one: look from the end.
  let end = ranges.length
  while (end > 0 && ranges[end - 1]![0] > last + 1) end--
  let start = end
  let from = first
  let to = last
  while (start > 0 && ranges[start - 1]![1] >= first - 1) {
    start--
    from = Math.min(from, ranges[start]![0])
    to = Math.max(to, ranges[start]![1])
  }
  return [...ranges.slice(0, start), [from, to], ...ranges.slice(end)]
}

/** What is missing between `first` and `last`. */
export const gapsIn = (ranges: readonly Range[], first: number, last: number): Range[] => {
  const gaps: Range[] = []
  let next = first
  for (const [from, to] of ranges) {
    if (to < next) continue
    if (from > last) break
    if (from > next) gaps.push([next, from - 1])
    next = to + 1
  }
  if (next <= last) gaps.push([next, last])
  return gaps
}
