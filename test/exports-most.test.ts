import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { countMost } from '#gateway/market/exports/most.ts'
import { pricedRow } from '#gateway/market/priced.ts'
import { orProblem } from '#gateway/market/problem.ts'
import { nextPlan, type Plan, planReadings, type ReadingsQuery, run } from '#gateway/market/query.ts'
import { quantityNamed } from '#gateway/reading/quantity.ts'
import { defaultPrices, openTally } from '#gateway/sales/price.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { anHour, nowMs, openWorld, stationA, stationB, type World } from './market-world.ts'

const hourMs = 3_600_000

/** Three days of both stations, an hour now and then. */
const threeDays = (): StoredReading[] =>
  [0, 1, 5, 30, 31, 71].flatMap((hours, stretch) =>
    anHour().map((one, at) => ({
      ...one,
      seq: one.seq + stretch * 1000,
      timeMs: one.timeMs - hours * hourMs,
      score: at % 7 === 0 ? 0.6 : one.score,
    })),
  )

let world: World
beforeAll(async () => {
  world = await openWorld({}, threeDays())
})
afterAll(() => world[Symbol.asyncDispose]())

const tallyOf = () => openTally(defaultPrices, (station) => (station === stationB ? 3000 : 700), new Set())

/** What all pages have and cost. */
const exactly = async (plan: Plan) => {
  const tally = tallyOf()
  for (let next: Plan | undefined = { ...plan, limit: 1000 }; next !== undefined; ) {
    const page = await run(next, world.deps)
    for (const row of page.rows) tally.add(pricedRow(row, nowMs))
    next = nextPlan(next, page)
  }
  return tally.price()
}

const seconds = fc.integer({ min: 0, max: 80 * 3600 })

const perhaps = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 1 })

const query = fc.record({
  span: fc.tuple(seconds, seconds).filter(([a, b]) => a !== b),
  station: perhaps(fc.constantFrom([stationA], [stationB], ['nobody'])),
  quantity: perhaps(fc.constantFrom(['temperature'], ['pm2_5', 'humidity'])),
  min_quality: perhaps(fc.constantFrom(0.5, 0.9)),
  every: perhaps(fc.constantFrom(60_000, 7 * 60_000, hourMs, 5 * hourMs, 24 * hourMs, 48 * hourMs)),
})

test('what is counted is never less than what is delivered, in price and values, and never more rows', async () => {
  let told = 0
  await fc.assert(
    fc.asyncProperty(query, async ({ span, station, quantity, every, min_quality }) => {
      const [from, to] = span.toSorted((a, b) => b - a)
      const asked = {
        from: { agoMs: from! * 1000 },
        to: { agoMs: to! * 1000 },
        ...(station === undefined ? {} : { station }),
        ...(quantity === undefined ? {} : { quantity: quantity.map((name) => quantityNamed(name)!.code) }),
        ...(every === undefined ? {} : { every, fn: 'max' }),
        ...(min_quality === undefined ? {} : { min_quality }),
      } as unknown as ReadingsQuery
      const { plan } = orProblem(planReadings(asked, nowMs, () => ({ ok: true, stations: station })))
      const tally = tallyOf()
      const found = await countMost(plan, world.store, nowMs, 1e9, (row) => tally.add(row))
      const most = tally.price()
      const exact = await exactly(plan)
      expect(most.totalMicroUsd >= exact.totalMicroUsd, `${most.totalMicroUsd} ${exact.totalMicroUsd}`).toBe(
        true,
      )
      expect(most.values).toBeGreaterThanOrEqual(exact.values)
      // Not wildly more either: the price would frighten people away.
      if (every === undefined && min_quality === undefined) {
        expect(found.leastRows).toBeLessThanOrEqual(exact.rows)
        expect(most.values).toBe(exact.values)
        told++
      }
    }),
    { numRuns: 150 },
  )
  expect(told).toBeGreaterThan(10)
}, 60_000)

test('counting ends as soon as there are too many rows', async () => {
  const { plan } = orProblem(
    planReadings({ from: { agoMs: 80 * hourMs } } as ReadingsQuery, nowMs, () => ({
      ok: true,
      stations: undefined,
    })),
  )
  let asked = 0
  const store = {
    rollup: (...given: Parameters<typeof world.store.rollup>) => {
      asked++
      return world.store.rollup(given[0], given[1], given[2], 3, given[4])
    },
  }
  const all = await countMost(plan, world.store, nowMs, 1e9, () => undefined)
  expect(all).toEqual({ leastRows: 6 * 180, stations: 2 })
  await countMost(plan, store, nowMs, 10, () => undefined)
  expect(asked).toBe(1)
})
