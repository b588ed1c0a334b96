import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { rules } from '#gateway/quality/all.ts'
import type { SensorPace } from '#gateway/quality/quality.ts'
import { createScorer } from '#gateway/quality/scorer.ts'
import { completenessOf, serviceMs } from '#gateway/sales/completeness.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { defaultSla, type SlaPromises } from '#gateway/sales/sla.ts'
import { openSelling } from '#gateway/selling.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { openChecked } from '#test/market-schema.ts'
import { anHour, nowMs, openWorld, stationA, stationB, stationSilent } from '#test/market-world.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const minute = 60_000
const hour = 60 * minute

const share = (sensors: Parameters<typeof completenessOf>[0], fromMs: number, untilMs: number) => {
  const { expected, present } = completenessOf(sensors, fromMs, untilMs)
  return [Number(expected) / 1000, Number(present) / 1000]
}

const every = (ms: number, from: number, until: number) =>
  Array.from({ length: Math.ceil((until - from) / ms) }, (_, at) => from + at * ms)

describe('completeness', () => {
  test('of a sensor that spoke whenever it ought to is whole, whatever the phase and some jitter', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 30_000, max: 2 * hour }),
        fc.integer({ min: 0, max: 1000 }),
        fc.array(fc.integer({ min: -240, max: 240 }), { minLength: 20, maxLength: 200 }),
        (slotMs, phase, jitter) => {
          const times = jitter.map((permille, at) => 1e12 + slotMs * (at + phase / 1000 + permille / 1000))
          const [expected, present] = share([{ slotMs, times }], times[0]!, times.at(-1)! + slotMs)
          expect(present).toBeCloseTo(expected!, 2)
          expect(expected).toBeCloseTo((times.at(-1)! + slotMs - times[0]!) / slotMs, 2)
        },
      ),
    )
  })

  test('counts what is missing in the middle, before and behind', () => {
    const times = every(minute, 0, 60 * minute)
    const without = (from: number, until: number) => [
      { slotMs: minute, times: times.filter((ms) => ms < from * minute || ms >= until * minute) },
    ]
    expect(share(without(20, 40), 0, hour)).toEqual([60, 40])
    expect(share(without(40, 60), 0, hour)).toEqual([60, 40])
    expect(share(without(20, 21), 0, hour)).toEqual([60, 59])
    // It was heard at 0, before the span from 10 on: what is missing until 30 is missed.
    expect(share(without(1, 30), 10 * minute, hour)).toEqual([50, 30])
    // Not heard of before: nothing was to be expected until it spoke.
    expect(share(without(0, 30), 0, hour)).toEqual([30, 30])
    expect(share([{ slotMs: minute, times: [] }], 0, hour)).toEqual([0, 0])
  })

  test('expects nothing of a sensor that was silent for a day, until it speaks again', () => {
    const times = [0, 5 * serviceMs, 5 * serviceMs + hour]
    const span = [{ slotMs: hour, times }]
    expect(share(span, 0, 10 * serviceMs)).toEqual([24 + 1 + 24, 1 + 1 + 1])
    expect(share(span, 2 * serviceMs, 4 * serviceMs)).toEqual([0, 0])
  })

  test('adds sensors up by their readings', () => {
    const fast = { slotMs: minute, times: every(minute, 0, hour) }
    const slow = { slotMs: 10 * minute, times: [0] }
    expect(share([fast, slow], 0, hour)).toEqual([66, 61])
  })
})

test('a scorer tells how often each sensor of a station speaks, once it knows', () => {
  const scorer = createScorer({ rules })
  const speak = (sensor: string, timeMs: number) =>
    scorer.score(stationA, { sensor, model: 'm', timeMs, values: [{ quantity: 1, scaled: 2000 }] })
  for (const timeMs of every(minute, nowMs, nowMs + hour)) speak('often', timeMs)
  speak('once', nowMs)
  const paces = new Map(scorer.paces(stationA).map(({ sensor, ...pace }) => [sensor, pace]))
  expect(paces.get('often')).toEqual({ intervalMs: minute, newestMs: nowMs + 59 * minute })
  expect(paces.get('once')).toEqual({ intervalMs: undefined, newestMs: nowMs })
  expect(scorer.paces(stationB)).toEqual([])
  // What is restored from its kept state knows as much.
  const restored = createScorer({ rules, states: scorer.changedStates() })
  expect(restored.paces(stationA)).toEqual(scorer.paces(stationA))
})

const hub = newSigner()

/** Readings of one value each minute for two hours. */
const steady = (station: string, sensor: string): StoredReading[] =>
  every(minute, nowMs - 2 * hour, nowMs).map((timeMs, place) => ({
    ...anHour()[2]!,
    ...{ station, sensor, timeMs, place, seq: 1 },
  }))

const between = (from: number, until: number) => (reading: StoredReading) =>
  reading.timeMs >= nowMs - from * minute && reading.timeMs < nowMs - until * minute

/** A market that knows how often sensors speak, and what a query of the last hour is measured to be. */
const openShop = async (
  readings: StoredReading[],
  paces: Record<string, readonly SensorPace[]>,
  sla: SlaPromises = defaultSla,
) => {
  const selling = openSelling({
    path: join(temporaryDirectory(), 'sales.sqlite'),
    network: 'testnet',
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    sla,
    starterMicroUsd: 1_000_000n,
    nowMs: () => nowMs,
  })
  const { till } = selling
  const world = await openWorld({ till, paces: (station) => paces[station] ?? [] }, readings)
  onTestFinished(async () => {
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  const made = await world.api.request('/v1/keys', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  const { key } = (await made.json()) as { key: string }
  const found = till.sales.keys.find(key, nowMs)
  if (!found.ok) return expect.fail(found.reason)
  const { customer } = found.key
  const ask = (url: string, headers: Record<string, string> = {}) =>
    world.api.request(url, { headers: { authorization: `Bearer ${key}`, ...headers } })
  const buy = async (query: string, headers: Record<string, string> = {}) => {
    const response = await ask(`/v1/readings?from=${nowMs - hour}&to=${nowMs}&${query}`, headers)
    const text = await response.text()
    expect(response.status, text).toBe(200)
    const { next } = JSON.parse(text) as { next: string | null }
    const [price, credit, reached] = ['price', 'sla-credit', 'sla-reached'].map((name) => {
      const value = response.headers.get(name)
      return value === null ? null : Number(value)
    })
    return { next, price: price!, credit, reached }
  }
  const counts = async () => {
    const { ask: free } = await openChecked(world.api)
    const { readings: told } = (await free('/v1/sla')).json as {
      readings: { completeness: number; periods: object[] }
    }
    return told
  }
  const expectSound = () =>
    expect(till.sales.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
  return { world, buy, ask, counts, till, customer, expectSound }
}

const pace = (sensor: string, intervalMs: number | undefined = minute, newestMs = nowMs - minute) => ({
  sensor,
  intervalMs,
  newestMs,
})
const one = { [stationA]: [pace('s')] }

// What is younger than a quarter of an hour may be on its way: of the last hour 45 minutes are measured.
describe('a span of readings', () => {
  test('that is whole is what was promised', async () => {
    const { buy, counts, expectSound } = await openShop(steady(stationA, 's'), one)
    expect(await buy('')).toMatchObject({ credit: 0, reached: 1 })
    const { completeness, periods } = await counts()
    expect(completeness).toBe(0.9)
    expect(periods[0]).toMatchObject({ period: '1h', measured: 1, met: 1, share: 1 })
    expectSound()
  })

  test.each([
    ['in the middle', 40, 25],
    ['at its begin', 70, 45],
    ['at its end', 30, 15],
  ])('with a gap of 15 minutes %s gives a part of the price back', async (_, from, until) => {
    const gap = between(from, until)
    const { buy, counts, expectSound } = await openShop(
      steady(stationA, 's').filter((reading) => !gap(reading)),
      one,
    )
    const { price, credit, reached } = await buy('')
    expect(reached).toBe(0.666)
    // Nine tenths were promised, two thirds are there.
    expect(credit).toBe(Math.floor((price * (0.9 - 2 / 3)) / 0.9))
    expect((await counts()).periods[0]).toMatchObject({ measured: 1, met: 0, creditedMicroUsd: credit })
    expectSound()
  })

  test('is measured until a quarter of an hour ago, and not at all where it is younger', async () => {
    const { buy, ask } = await openShop(steady(stationA, 's').filter(between(120, 10)), one)
    expect(await buy('')).toMatchObject({ reached: 1 })
    const young = await ask(`/v1/readings?from=${nowMs - 15 * minute}&to=${nowMs}`)
    await young.text()
    expect(Number(young.headers.get('price'))).toBeGreaterThan(0)
    expect(young.headers.get('sla-reached')).toBeNull()
  })

  test('is weighed by what was paid for each sensor: asking for dead ones beside others gives nothing back', async () => {
    const readings = [...steady(stationA, 's'), ...steady(stationA, 'gone').filter(between(120, 60))]
    const gone = pace('gone', 1000, nowMs - 61 * minute)
    const { buy } = await openShop(readings, { [stationA]: [pace('s'), gone] })
    expect(await buy('')).toMatchObject({ reached: 1, credit: 0 })
    // One of its readings was paid, and an hour of seconds is missing behind it.
    const last = steady(stationA, 'gone').filter(between(61, 59))
    const { buy: buyDying } = await openShop([...steady(stationA, 's'), ...last], {
      [stationA]: [pace('s'), gone],
    })
    const { reached, credit } = await buyDying('')
    expect(reached).toBeGreaterThan(0.95)
    expect(credit).toBe(0)
    const old = readings.map((reading) =>
      reading.sensor === 'gone' ? { ...reading, timeMs: reading.timeMs - serviceMs } : reading,
    )
    const retired = { ...gone, newestMs: gone.newestMs - serviceMs }
    const { buy: buyLater } = await openShop(old, { [stationA]: [pace('s'), retired] })
    expect(await buyLater('')).toMatchObject({ reached: 1 })
    // However many there are of those, others are looked after.
    const crowd = Array.from({ length: 150 }, (_, at) => ({ ...retired, sensor: `r${at}` }))
    const gap = between(70, 45)
    const { buy: buyAmong } = await openShop(
      steady(stationA, 's').filter((reading) => !gap(reading)),
      { [stationA]: [...crowd, pace('s')] },
    )
    expect(await buyAmong('')).toMatchObject({ reached: 0.666 })
  })

  test('of a sensor that is new expects nothing before its first reading, and nothing of one whose pace is unknown', async () => {
    const { buy, counts } = await openShop(steady(stationA, 's').filter(between(40, 0)), one)
    expect(await buy('')).toMatchObject({ reached: 1, credit: 0 })
    const unknown = { [stationA]: [{ sensor: 's', intervalMs: undefined, newestMs: nowMs }] }
    const { buy: buyUnknown } = await openShop(steady(stationA, 's').filter(between(40, 30)), unknown)
    expect(await buyUnknown('')).toMatchObject({ credit: null, reached: null })
    expect((await counts()).periods[0]).toMatchObject({ measured: 1 })
  })

  test('is as complete as it is, however strict its buyer is about quality', async () => {
    const poor = steady(stationA, 's').map((reading, at) => ({ ...reading, score: at % 4 === 0 ? 1 : 0.6 }))
    const { buy } = await openShop(poor, one)
    expect(await buy('min_quality=0.9')).toMatchObject({ credit: 0, reached: 1 })
    // Of intervals without a good reading nobody knows whether there was one.
    expect(await buy('min_quality=0.9&every=1m')).toMatchObject({ credit: null, reached: null })
  })

  test('of a quantity that is given less often than its sensor speaks is measured by its own pace', async () => {
    const readings = steady(stationA, 's').map((reading, at) =>
      at % 3 === 0 ? reading : { ...reading, values: [{ quantity: 2, scaled: 450 }] },
    )
    const { buy } = await openShop(readings, one)
    expect(await buy('quantity=temperature')).toMatchObject({ credit: 0, reached: 1 })
    const gap = between(40, 25)
    const { buy: buyLess } = await openShop(
      readings.filter((reading) => !gap(reading)),
      one,
    )
    const { reached } = await buyLess('quantity=temperature')
    expect(reached).toBeCloseTo(2 / 3, 1)
  })

  test('as intervals misses those that are not there', async () => {
    const gap = between(40, 25)
    const { buy } = await openShop(
      steady(stationA, 's').filter((reading) => !gap(reading)),
      one,
    )
    expect((await buy('every=5m')).reached).toBeCloseTo(2 / 3, 1)
    expect(await buy('every=1h')).toMatchObject({ reached: 1, credit: 0 })
  })

  test('in pages is measured once, whole, and a page that is paid by itself by what is behind its cursor', async () => {
    const gap = between(30, 20)
    const { buy, world, counts, till } = await openShop(
      steady(stationA, 's').filter((reading) => !gap(reading)),
      one,
    )
    const first = await buy('limit=20')
    expect(first.reached).toBe(0.777)
    expect(await buy(`limit=20&cursor=${first.next}`)).toMatchObject({ price: 0, credit: null })
    expect((await counts()).periods[0]).toMatchObject({ measured: 1 })
    // Another account goes on at the cursor: from 40 minutes ago on 25 are measured, and 10 of them are missing.
    const { secret } = till.signUp({
      label: '',
      scopes: ['read'],
      budget: null,
      alarmPercent: null,
      expiresMs: null,
    })
    const other = await buy(`limit=20&cursor=${first.next}`, { authorization: `Bearer ${secret}` })
    expect(other.price).toBeGreaterThan(0)
    expect(other.reached).toBeCloseTo(15 / 25, 1)
    expect(world.reported).toEqual([])
  })

  test('leaves out the buyer’s own stations', async () => {
    const gap = between(40, 25)
    const readings = [...steady(stationA, 's').filter((reading) => !gap(reading)), ...steady(stationB, 's')]
    const paces = { [stationA]: [pace('s')], [stationB]: [pace('s')], [stationSilent]: [] }
    const { buy, till, customer } = await openShop(readings, paces)
    // A cost 300 and two thirds of it are there, B cost 375.
    expect((await buy('')).reached).toBeCloseTo((200 + 375) / 675, 2)
    till.sales.keys.own(customer, stationA)
    expect(await buy('sensor=s')).toMatchObject({ reached: 1, credit: 0 })
    expect(await buy(`station=${stationA}`)).toMatchObject({ price: 0, credit: null })
  })

  test('is credited as much less as less of it was promised', async () => {
    const gap = between(40, 25)
    const readings = steady(stationA, 's').filter((reading) => !gap(reading))
    const { buy } = await openShop(readings, one, { ...defaultSla, completenessPermille: 600 })
    expect(await buy('')).toMatchObject({ credit: 0, reached: 0.666 })
    const none = await openShop(readings, one, { ...defaultSla, completenessPermille: 0 })
    expect(await none.buy('')).toMatchObject({ credit: 0 })
  })

  test('is not measured for who only looks: a quote, a 402, a 304, an answer without a price', async () => {
    let looked = 0
    const { buy, ask, world, counts } = await openShop(steady(stationA, 's'), {
      get [stationA]() {
        looked++
        return one[stationA]!
      },
    })
    const url = `/v1/readings?from=${nowMs - hour}&to=${nowMs}`
    const { response } = await (await openChecked(world.api)).ask(url)
    expect(response.status).toBe(402)
    await world.api.request(url.replace('readings', 'quotes'), { method: 'POST' })
    expect((await counts()).periods[0]).toMatchObject({ measured: 0 })
    expect(looked).toBe(0)
    const first = await ask(url)
    await first.text()
    const same = await ask(url, { 'if-none-match': first.headers.get('etag')! })
    expect([same.status, same.headers.get('sla-credit')]).toEqual([304, null])
    expect(await buy('station=nobody')).toMatchObject({ price: 0, credit: null })
    expect((await counts()).periods[0]).toMatchObject({ measured: 1 })
  })
})
