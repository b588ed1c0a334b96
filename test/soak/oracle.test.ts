import { describe, expect, test } from 'vitest'
import { compare, isPartOf, reasonAmong, type Seen } from '#test/soak/oracle.ts'

const startMs = 1_700_000_000_000

/** One reading a second, all of which say the same. */
const same = (count: number, lateMs = 0): Seen[] =>
  Array.from({ length: count }, (_, n) => ({
    sensor: 'co2',
    timeMs: startMs + 1000 * n + lateMs,
    what: '7=400',
  }))

describe('the oracle of the soak', () => {
  test('what was meant and is there, a little later, is complete', () => {
    expect(compare(same(100), same(100, 120), false)).toEqual({ lost: [], strange: [], withheld: 0 })
  })

  test('one reading less is missed, and it is that one, though all say the same', () => {
    const evident = same(100, 120)
    const meant = same(100)
    for (const gone of [0, 50, 99])
      expect(compare(meant, evident.toSpliced(gone, 1), false)).toEqual({
        lost: [meant[gone]],
        strange: [],
        withheld: 0,
      })
  })

  test('a reading that is there twice is strange once', () => {
    const evident = same(100, 120)
    expect(compare(same(100), [...evident, evident[40]!], false)).toMatchObject({
      lost: [],
      strange: [evident[40]],
    })
  })

  test('one that says something else is both lost and strange', () => {
    const evident = same(10, 120)
    const other = { ...evident[5]!, what: '7=401' }
    expect(compare(same(10), evident.with(5, other), false)).toMatchObject({
      lost: [same(10)[5]],
      strange: [other],
    })
  })

  test('one that comes late stands for itself and for none that came in time', () => {
    const evident = same(10, 120)
    const late = { ...evident[5]!, timeMs: evident[5]!.timeMs + 2_300 }
    expect(compare(same(10), evident.with(5, late), false)).toMatchObject({ lost: [], strange: [] })
    const later = { ...late, timeMs: late.timeMs + 60_000 }
    expect(compare(same(10), evident.with(5, later), false).lost).toEqual([same(10)[5]])
  })

  test('one without values stands for another only where it may', () => {
    const evident = same(10, 120).with(5, { ...same(10, 120)[5]!, what: '7=null' })
    expect(compare(same(10), evident, true)).toMatchObject({ lost: [], strange: [], withheld: 1 })
    expect(compare(same(10), evident, false)).toMatchObject({ lost: [same(10)[5]] })
  })

  test('one that says less is a part of what was meant, and one that says anything else is not', () => {
    const whole: Seen = { sensor: 'node', timeMs: startMs, what: '1=20 2=50 46=868' }
    const part = { ...whole, timeMs: startMs + 500, what: '1=20 46=868' }
    expect(isPartOf(part, whole)).toBe(true)
    expect(isPartOf({ ...part, what: '1=21 46=868' }, whole)).toBe(false)
    expect(isPartOf({ ...part, sensor: 'other' }, whole)).toBe(false)
    expect(isPartOf({ ...part, timeMs: startMs + 60_000 }, whole)).toBe(false)
  })

  test('an hour of readings, of which each tenth is lost, is compared without going over all of them for each', () => {
    const meant = same(100_000)
    const evident = same(100_000, 120).filter((_, n) => n % 10 !== 0)
    expect(compare(meant, evident, false).lost).toHaveLength(10_000)
  })

  test('a moment has the reason of the excuse that covers it, and no other moment has any', () => {
    const reasonOf = reasonAmong([
      { reason: 'long', fromMs: 0, toMs: 100 },
      { reason: 'short', fromMs: 120, toMs: 130 },
      { reason: 'inner', fromMs: 20, toMs: 30 },
      { reason: 'last', fromMs: 200, toMs: Number.POSITIVE_INFINITY },
    ])
    expect([0, 25, 50, 100, 110, 120, 130, 131, 199, 200, 1e9].map(reasonOf)).toEqual([
      ...['long', 'long', 'long', 'long', undefined, 'short', 'short', undefined, undefined, 'last', 'last'],
    ])
  })
})
