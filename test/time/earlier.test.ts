/** The time of boots that ended before anybody knew. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Boot, earlierTimes } from '#gateway/time/earlier.ts'
import { createEstimate } from '#gateway/time/estimate.ts'
import type { Fix } from '#gateway/time/time.ts'
import { startMs } from '#test/time/world.ts'

const hour = 3_600_000

const fixAt = (utcMs: number, atMs: number, source: Fix['source'] = 'ntp'): Fix => ({
  source,
  atMs,
  utcMs,
  errorMs: 100,
  setMs: atMs,
  systemMs: utcMs - atMs,
  slewMs: 0,
})

test('a boot with a fix has its time from it, after a reboot too', () => {
  const of = earlierTimes([
    { id: 'a', fix: fixAt(startMs, 60_000), lastMs: 90_000 },
    { id: 'b', lastMs: 10 },
  ])
  expect(of('a', 30_000)).toEqual({
    utcMs: startMs - 30_000,
    clock: { source: 'ntp', ageS: 30, errorMs: 104 },
  })
})

test('a boot without one lies between its neighbours, and the error says how loosely', () => {
  const boots: Boot[] = [
    { id: 'before', fix: fixAt(startMs, 0), lastMs: hour },
    { id: 'dark', lastMs: hour },
    { id: 'after', fix: fixAt(startMs + 10 * hour, 60_000), lastMs: 120_000 },
  ]
  const stamp = earlierTimes(boots)('dark', 1000)!
  // It began after an hour and ended before ten less a minute: eight hours of play, less a minute.
  expect(stamp.clock.source).toBe('none')
  expect(Math.abs(stamp.utcMs - (startMs + 5 * hour - 30_000 + 1000))).toBeLessThan(1000)
  expect(stamp.clock.errorMs).toBeGreaterThanOrEqual(4 * hour - 30_000)
  expect(stamp.clock.errorMs).toBeLessThan(4 * hour)
})

test.each<[string, Boot[]]>([
  [
    'before it',
    [
      { id: 'dark', lastMs: 1 },
      { id: 'b', fix: fixAt(startMs, 0), lastMs: 1 },
    ],
  ],
  [
    'after it',
    [
      { id: 'b', fix: fixAt(startMs, 0), lastMs: 1 },
      { id: 'dark', lastMs: 1 },
    ],
  ],
  [
    'before it that anybody vouched for',
    [
      { id: 'a', fix: fixAt(startMs, 0, 'none'), lastMs: 1 },
      { id: 'dark', lastMs: 1 },
      { id: 'b', fix: fixAt(startMs, 0), lastMs: 1 },
    ],
  ],
  [
    'that does not contradict itself',
    [
      { id: 'a', fix: fixAt(startMs, 0), lastMs: 1 },
      { id: 'dark', lastMs: hour },
      { id: 'b', fix: fixAt(startMs, 0), lastMs: 1 },
    ],
  ],
])('where there is no time %s, nothing is told', (_what, boots) => {
  expect(earlierTimes(boots)('dark', 1)).toBeUndefined()
  expect(earlierTimes(boots)('unheard of', 1)).toBeUndefined()
})

test('any row of boots, each with or without its time: what is told covers the truth, and goes forward', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          offMs: fc.integer({ min: 0, max: 30 * 24 * hour }),
          lastMs: fc.integer({ min: 0, max: 9 * 24 * hour }),
          ppm: fc.integer({ min: -95, max: 95 }),
          source: fc.constantFrom<(Fix['source'] | undefined)[]>(
            'ntp',
            'gnss',
            'rtc',
            'none',
            undefined,
            undefined,
          ),
          fixedAt: fc.double({ min: 0, max: 1, noNaN: true }),
          errorMs: fc.integer({ min: -100, max: 100 }),
        }),
        { minLength: 1, maxLength: 12 },
      ),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (row, share) => {
        let trueMs = startMs
        const starts: number[] = []
        const rates: number[] = []
        const boots = row.map(({ offMs, lastMs, ppm, source, fixedAt, errorMs }, n): Boot => {
          trueMs += offMs
          starts.push(trueMs)
          const rate = 1 + ppm / 1e6
          rates.push(rate)
          const atMs = lastMs * fixedAt
          const wrong = source === 'none' ? 400 * 24 * hour : errorMs
          const fix = source && fixAt(trueMs + atMs / rate + wrong, atMs, source)
          trueMs += lastMs / rate
          return { id: String(n), lastMs, ...(fix ? { fix } : {}) }
        })
        const of = earlierTimes(boots)
        let before = Number.NEGATIVE_INFINITY
        for (const [n, { id, lastMs, fix }] of boots.entries()) {
          for (const atMs of [0, lastMs * share, lastMs]) {
            const stamp = of(id, atMs)
            if (stamp === undefined || fix?.source === 'none') continue
            const trueAtMs = starts[n]! + atMs / rates[n]!
            expect(Math.abs(stamp.utcMs - trueAtMs)).toBeLessThanOrEqual(stamp.clock.errorMs)
            expect(stamp.utcMs + stamp.clock.errorMs).toBeGreaterThanOrEqual(before)
            before = Math.max(before, stamp.utcMs - stamp.clock.errorMs)
          }
        }
      },
    ),
    { numRuns: 2000 },
  )
})

test('the fix of a boot is that of its estimate', () => {
  const estimate = createEstimate({})
  estimate.look({
    atMs: 5000,
    systemUtcMs: startMs,
    ntp: { syncedMs: startMs - 1000, errorMs: 10, slewMs: 0 },
  })
  const of = earlierTimes([{ id: 'a', fix: estimate.fix, lastMs: 5000 }])
  expect(of('a', 4000)).toEqual(estimate.at(4000))
})
