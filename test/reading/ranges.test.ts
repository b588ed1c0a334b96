import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addRange, gapsIn, type Range } from '#gateway/reading/ranges.ts'
import { seed } from './samples.ts'

const numbers = (ranges: readonly Range[]): number[] =>
  ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, at) => first + at))

const additions = fc.array(
  fc
    .tuple(fc.integer({ min: 1, max: 60 }), fc.nat({ max: 9 }))
    .map(([first, more]): Range => [first, first + more]),
  { maxLength: 25 },
)

describe('ranges', () => {
  it('are a set: the same numbers as a Set would hold, sorted, disjoint and not touching', () => {
    fc.assert(
      fc.property(additions, fc.integer({ min: 1, max: 70 }), fc.nat({ max: 20 }), (added, from, more) => {
        const set = new Set(numbers(added))
        let ranges: Range[] = []
        for (const [first, last] of added) {
          const before = structuredClone(ranges)
          const next = addRange(ranges, first, last)
          expect(ranges).toEqual(before)
          ranges = next
        }
        expect(numbers(ranges)).toEqual([...set].sort((a, b) => a - b))
        for (const [at, range] of ranges.entries())
          if (at > 0) expect(range[0]).toBeGreaterThan(ranges[at - 1]![1] + 1)
        const missing = numbers([[from, from + more]]).filter((value) => !set.has(value))
        expect(numbers(gapsIn(ranges, from, from + more))).toEqual(missing)
      }),
      { seed, numRuns: 2000 },
    )
  })

  it('grow by one number when no last is given', () => {
    expect(addRange([[1, 3]], 4)).toEqual([[1, 4]])
    expect(addRange([[1, 3]], 5)).toEqual([
      [1, 3],
      [5, 5],
    ])
  })
})
