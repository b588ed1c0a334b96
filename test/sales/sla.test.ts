import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { signSale, verifySale } from '#gateway/reading/sale.ts'
import { defaultPrices, nothing } from '#gateway/sales/price.ts'
import { newSaleId, saleHash } from '#gateway/sales/sale.ts'
import {
  creditFor,
  defaultSla,
  isMet,
  type Measured,
  reachedPermille,
  type SlaPromises,
} from '#gateway/sales/sla.ts'
import { openSelling } from '#gateway/selling.ts'
import { openChecked } from '#test/market-schema.ts'
import { anHour, nowMs, openWorld, stationA, stationB } from '#test/market-world.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const network = 'testnet'
const hub = newSigner()
const day = 86_400_000

/** A market with those promises, and a buyer with a dollar whose key may spend a cent. */
const openShop = async (readings = anHour(), sla: SlaPromises = defaultSla) => {
  const clock = { nowMs }
  const path = join(temporaryDirectory(), 'sales.sqlite')
  const selling = openSelling({
    path,
    network,
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    sla,
    starterMicroUsd: 0n,
    nowMs: () => clock.nowMs,
  })
  const { till } = selling
  const world = await openWorld({ till, network, hubKey: hub.publicKey, nowMs: () => clock.nowMs }, readings)
  onTestFinished(async () => {
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  const { sales } = till
  const made = await world.api.request('/v1/keys', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ budgetMicroUsd: 10_000 }),
  })
  const { key, id } = (await made.json()) as { key: string; id: string }
  const found = sales.keys.find(key, nowMs)
  if (!found.ok) return expect.fail(found.reason)
  const { customer } = found.key
  sales.credit('test', 'manual', customer, 1_000_000n, 'a test')
  const ask = (url: string, headers: Record<string, string> = {}) =>
    world.api.request(url, { headers: { authorization: `Bearer ${key}`, ...headers } })
  const buy = async (url: string, headers: Record<string, string> = {}) => {
    const response = await ask(url, headers)
    const body = await response.text()
    const number = (name: string) => {
      const text = response.headers.get(name)
      return text === null ? null : Number(text)
    }
    return {
      body,
      status: response.status,
      receipt: response.headers.get('receipt-id')!,
      price: number('price'),
      credit: number('sla-credit'),
      reached: number('sla-reached'),
      budgetRemaining: number('budget-remaining'),
      creditsRemaining: number('credits-remaining'),
    }
  }
  const spent = () => Number(1_000_000n - sales.ledger.balance(`customer:${customer}`))
  const spentByKey = () => 10_000 - Number(sales.keys.left(id))
  const expectSound = () =>
    expect(sales.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
  const counts = async () => {
    const { ask: free } = await openChecked(world.api)
    return (await free('/v1/sla')).json as {
      latest: { maxAgeS: number; periods: Record<string, unknown>[] }
      readings: { completeness: number; periods: Record<string, unknown>[] }
    }
  }
  return { world, sales, till, ask, buy, spent, spentByKey, expectSound, counts, clock, customer, path }
}

/** Four sensors of station A, of which so many are an hour old, and the others a minute. */
const newest = (stale: number) =>
  Array.from({ length: 4 }, (_, at) => ({
    ...anHour()[2]!,
    station: stationA,
    sensor: `s${at}`,
    timeMs: nowMs - (at < stale ? 3_600_000 : 60_000),
    place: at,
  }))

// The base, a fresh reading of one value, and one of an hour ago.
const [base, fresh, stale] = [100, 10, 5]

describe('a shortfall', () => {
  const anyMeasured: fc.Arbitrary<Measured> = fc
    .record({
      promisedPermille: fc.integer({ min: 0, max: 1000 }),
      expected: fc.bigInt(0n, 10_000_000n),
      present: fc.bigInt(0n, 10_000_000n),
    })
    .map((some) => ({ product: 'readings', ...some }))

  test('gives back at most the price and at most the part that may be, and nothing where the promise was kept', () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, 1_000_000_000n),
        anyMeasured,
        fc.integer({ min: 0, max: 1000 }),
        (paid, measured, most) => {
          const credit = creditFor(paid, measured, most)
          expect(credit >= 0n && credit * 1000n <= paid * BigInt(most)).toBe(true)
          if (isMet(measured)) expect(credit).toBe(0n)
          // A little more missing never gives back less.
          const less = { ...measured, present: measured.present === 0n ? 0n : measured.present - 1n }
          expect(creditFor(paid, less, most) >= credit).toBe(true)
        },
      ),
    )
  })

  test.each([
    [900, 100n, 90n, 0n],
    [900, 100n, 89n, 11n],
    [900, 100n, 45n, 500n],
    [900, 100n, 0n, 1000n],
    [1000, 100n, 99n, 10n],
    [0, 100n, 0n, 0n],
    [900, 0n, 0n, 0n],
  ])(
    'of a promise of %i permille, %i expected and %i present gives %i of 1000 back',
    (promisedPermille, expected, present, credit) => {
      expect(creditFor(1000n, { product: 'readings', promisedPermille, expected, present }, 1000)).toBe(
        credit,
      )
    },
  )

  test('is told in thousandths, rounded down', () => {
    expect(reachedPermille({ expected: 3n, present: 2n })).toBe(666)
    expect(reachedPermille({ expected: 3n, present: 4n })).toBe(1000)
    expect(reachedPermille({ expected: 0n, present: 0n })).toBe(1000)
  })
})

describe('newest readings', () => {
  test('that are fresh are what was promised, and cost their price', async () => {
    const { buy, spent, counts, expectSound } = await openShop(newest(0))
    expect(await buy('/v1/latest')).toMatchObject({ price: base + 4 * fresh, credit: 0, reached: 1 })
    expect(spent()).toBe(base + 4 * fresh)
    const { latest, readings } = await counts()
    expect(latest).toMatchObject({ maxAgeS: 900 })
    for (const period of latest.periods)
      expect(period).toMatchObject({ measured: 1, met: 1, share: 1, creditedMicroUsd: 0 })
    expect(readings.periods.map(({ measured, share }) => [measured, share])).toEqual([
      [0, null],
      [0, null],
      [0, null],
    ])
    expectSound()
  })

  test.each([
    [1, stale],
    [3, 3 * stale],
    [4, base + 4 * stale],
  ])('of which %i are stale give back what those cost: %i micro-USD', async (count, credit) => {
    const { buy, spent, spentByKey, sales, expectSound, counts } = await openShop(newest(count))
    const price = base + count * stale + (4 - count) * fresh
    const bought = await buy('/v1/latest')
    expect(bought).toMatchObject({
      price,
      credit,
      reached: Math.floor((1000 * (price - credit)) / price) / 1000,
    })
    expect([spent(), spentByKey()]).toEqual([price - credit, price - credit])
    expect(bought).toMatchObject({
      creditsRemaining: 1_000_000 - price + credit,
      budgetRemaining: 10_000 - price + credit,
    })
    // Owners and hub bear it alike: who buys what is stale of a station of his own earns nothing by it.
    const owners = Number(sales.ledger.balance(`owner:${stationA}`))
    const shared = Math.floor(((price - credit) * (price - base)) / price)
    expect(owners).toBe(Math.floor((shared * 850) / 1000))
    expect(owners).toBeLessThanOrEqual(price - credit)
    expect(sales.ledger.balance('hub:income')).toBe(BigInt(price - credit - owners))
    expect([...sales.ledger.lines()].filter(({ kind }) => kind === 'sla')).toMatchObject([
      { request: `sla:${bought.receipt}`, account: 'hub:income', amount: BigInt(-credit) },
      { account: expect.stringMatching(/^customer:/), amount: BigInt(credit) },
    ])
    for (const period of (await counts()).latest.periods)
      expect(period).toMatchObject({ measured: 1, met: 0, share: 0, creditedMicroUsd: credit })
    expectSound()
  })

  test('say it in the receipt, in both its forms, and in the list of receipts', async () => {
    const { buy, ask } = await openShop(newest(1))
    const { receipt, price } = await buy('/v1/latest')
    const shown = (await (await ask(`/v1/receipts/${receipt}`)).json()) as { cose: string; jws: string }
    expect(shown).toMatchObject({ slaCreditMicroUsd: stale, priceMicroUsd: price })
    const verified = verifySale(new Uint8Array(Buffer.from(shown.cose, 'base64')), network, hub.publicKey)
    expect(verified).toMatchObject({ ok: true, sale: { priceMicroUsd: price, creditMicroUsd: stale } })
    const payload = JSON.parse(Buffer.from(shown.jws.split('.')[1]!, 'base64url').toString()) as object
    expect(payload).toMatchObject({ creditMicroUsd: stale })
    const { receipts } = (await (await ask('/v1/receipts')).json()) as { receipts: object[] }
    expect(receipts).toMatchObject([{ slaCreditMicroUsd: stale }])
  })

  test('that are given again say the same, and are credited once', async () => {
    const { buy, spent, sales, counts } = await openShop(newest(1))
    const order = { 'idempotency-key': 'order-number-1' }
    const [first, again] = [await buy('/v1/latest', order), await buy('/v1/latest', order)]
    expect(again).toEqual(first)
    expect(spent()).toBe(first.price! - stale)
    expect([...sales.ledger.lines()].filter(({ kind }) => kind === 'sla')).toHaveLength(2)
    expect((await counts()).latest.periods[0]).toMatchObject({ measured: 1 })
  })

  test('of which nobody took anything are paid back, less what was credited', async () => {
    const { ask, spent, spentByKey, sales, expectSound, counts } = await openShop(newest(1))
    const response = await ask('/v1/latest')
    expect(spent()).toBe(base + 3 * fresh)
    await response.body!.cancel()
    expect([spent(), spentByKey()]).toEqual([0, 0])
    expect(sales.ledger.balance('hub:income')).toBe(0n)
    expect(sales.ledger.balance(`owner:${stationA}`)).toBe(0n)
    const period = (await counts()).latest.periods[0]
    expect(period).toMatchObject({ measured: 1, creditedMicroUsd: 0 })
    expectSound()
  })

  test('of which nobody took anything are paid back by the hub where the owner has the money already', async () => {
    const { ask, spent, spentByKey, sales, expectSound } = await openShop(newest(1))
    const response = await ask('/v1/latest')
    const owed = sales.ledger.balance(`owner:${stationA}`)
    sales.ledger.post({
      request: 'payout',
      kind: 'release',
      timeMs: nowMs,
      memo: 'paid out',
      entries: [
        { account: `owner:${stationA}`, amount: -owed },
        { account: 'world:manual', amount: owed },
      ],
    })
    await response.body!.cancel()
    expect([spent(), spentByKey()]).toEqual([0, 0])
    expect(sales.ledger.balance('hub:income')).toBe(-owed)
    expectSound()
  })

  test('are credited up to the part of a price that is credited at most', async () => {
    for (const [mostCreditPermille, credit] of [
      [0, 0],
      [100, 12],
    ] as const) {
      const { buy, counts } = await openShop(newest(4), { ...defaultSla, mostCreditPermille })
      expect(await buy('/v1/latest')).toMatchObject({ price: 120, credit, reached: 0 })
      expect((await counts()).latest.periods[0]).toMatchObject({
        measured: 1,
        met: 0,
        creditedMicroUsd: credit,
      })
    }
  })

  test('are judged by what the operator promises', async () => {
    const { buy } = await openShop(newest(4), { ...defaultSla, latestMaxAgeMs: 3_600_000 })
    expect(await buy('/v1/latest')).toMatchObject({ credit: 0, reached: 1 })
  })

  test('of one’s own are neither paid nor measured, and those of others are measured without them', async () => {
    const strange = newest(1).map((one) => ({ ...one, station: stationB }))
    const { buy, sales, customer, counts } = await openShop([...newest(2), ...strange])
    sales.keys.own(customer, stationA)
    const mine = await buy(`/v1/latest?station=${stationA}`)
    expect(mine).toMatchObject({ price: 0, credit: null, reached: null })
    expect((await counts()).latest.periods[0]).toMatchObject({ measured: 0 })
    expect(await buy('/v1/latest')).toMatchObject({ price: base + stale + 3 * fresh, credit: stale })
  })
})

test('a credit that an offer made smaller is the same part of what was paid', async () => {
  const { sales, customer, expectSound } = await openShop()
  const id = newSaleId()
  const sold = sales.sell({
    id,
    payer: { customer, rail: 'credits' },
    query: saleHash('q'),
    asked: 'q',
    scope: 'null',
    price: { ...nothing, totalMicroUsd: 1000n, baseMicroUsd: 1000n },
    offer: { mostMicroUsd: 500n, hash: saleHash('o') },
    delivery: { contentType: 'text/plain', body: new Uint8Array(1) },
    measured: { product: 'latest', promisedPermille: 1000, expected: 4n, present: 3n },
  })
  expect(sold.ok).toBe(true)
  expect(sales.sla.outcome(id)).toEqual({ product: 'latest', reachedPermille: 750, creditMicroUsd: 125n })
  expectSound()
})

test('counts are told by hour, day and month, and no more than a month of them is kept', async () => {
  const { buy, clock, counts, path } = await openShop(newest(0))
  const measured = async () => (await counts()).latest.periods.map((period) => period.measured)
  for (const laterMs of [0, 0, 30 * 60_000, 2 * 3_600_000, 2 * day]) {
    clock.nowMs = nowMs + laterMs
    const { status } = await buy('/v1/latest')
    expect(status).toBe(200)
  }
  expect(await measured()).toEqual([1, 1, 5])
  clock.nowMs = nowMs + 2.6 * 3_600_000
  expect(await measured()).toEqual([2, 5, 5])
  clock.nowMs = nowMs + 29 * day
  expect(await measured()).toEqual([0, 0, 5])
  clock.nowMs = nowMs + 31 * day
  expect(await measured()).toEqual([0, 0, 1])
  await buy('/v1/latest')
  const database = new DatabaseSync(path)
  const { rows } = database.prepare('SELECT count(*) AS rows FROM sla_count').get()!
  database.close()
  expect(rows).toBe(2)
})

test('a receipt that credits nothing, or more than the price, is none', () => {
  const receipt = {
    ...{
      id: 'ab'.repeat(16),
      issuedMs: nowMs,
      query: saleHash('q'),
      response: saleHash('r'),
      rows: 1,
      values: 1,
    },
    ...{ priceMicroUsd: 100, rail: 'credits', shares: [] },
  }
  const verified = (creditMicroUsd: number) =>
    verifySale(signSale({ ...receipt, creditMicroUsd }, network, hub), network, hub.publicKey)
  expect(verified(100)).toMatchObject({ ok: true, sale: { creditMicroUsd: 100 } })
  for (const wrong of [0, 101]) expect(verified(wrong)).toMatchObject({ ok: false, reason: 'malformed' })
})
