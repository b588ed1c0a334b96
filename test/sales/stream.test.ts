import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { segmentScope } from '#gateway/market/scope.ts'
import type { Statement } from '#gateway/market/tab.ts'
import { verifySale } from '#gateway/reading/sale.ts'
import { network } from '#test/station.ts'
import { listenSlowly, openStreamWorld } from '#test/stream-world.ts'
import { until } from '#test/until.ts'

const world = (silenceMs = 60_000) => openStreamWorld({ sell: true, silenceMs })

type World = Awaited<ReturnType<typeof world>>

/** Resolves when so much of what a buyer had is spent, and nothing is held. */
const spent = async ({ till }: World, buyer: { credit: () => bigint }, had: bigint, amount: bigint) => {
  const { ledger } = till!.sales
  const isSo = () => buyer.credit() === had - amount && ledger.balance('held:queries') === 0n
  await until('the receipt', 10, async () => (isSo() ? true : undefined)).catch(() => undefined)
  expect([had - buyer.credit(), ledger.balance('held:queries')]).toEqual([amount, 0n])
}

const isSound = ({ till }: World): void =>
  expect(till!.sales.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })

/** SHA-256 over the data of events, a line feed behind each, as a buyer would count it. */
const digestOf = (texts: readonly string[]): string => {
  const hash = createHash('sha256')
  for (const text of texts) hash.update(`${text}\n`)
  return hash.digest('hex')
}

/** The data of all readings in a stream's text, in order, by segments: an account ends one. */
const segmentsOf = (text: string): string[][] => {
  const segments: string[][] = [[]]
  for (const [, event, data] of text.matchAll(/^event: (\w+)\nid: .*\ndata: (.*)$/gm))
    if (event === 'reading') segments.at(-1)!.push(data!)
    else if (event === 'account') segments.push([])
  return segments
}

const responseOf = ({ till, hub }: World, customer: string, id: string): string => {
  const verified = verifySale(till!.sales.sale(customer, id)!.receipt, network, hub.publicKey)
  if (!verified.ok) return expect.fail(verified.detail)
  return Buffer.from(verified.sale.response).toString('hex')
}

test('each minute an account tells what was paid, with a receipt over the readings since the last one', async () => {
  const shop = await world(50)
  const { listen, emit, signUp, clock, stations, till } = shop
  const buyer = signUp(100_000n)
  const stream = await listen('', buyer.headers)
  await stream.until('start', 1)
  await emit(2)
  await stream.until('reading', 6)
  clock.nowMs += 60_000
  // Nothing comes any more: the next sign of life settles.
  const [first] = await stream.until('account', 1)
  expect(first!.data).toEqual({
    receipt: expect.stringMatching(/^[0-9a-f]{32}$/),
    rows: 6,
    priceMicroUsd: 280,
    totalMicroUsd: 280,
    creditsRemaining: 99_720,
    budgetRemaining: null,
  })
  await emit(1)
  await stream.until('reading', 9)
  clock.nowMs += 60_000
  // The next reading finds that it is time.
  await emit(1, 1)
  const accounts = (await stream.until('account', 2)).map(({ data }) => data as Statement)
  expect(accounts[1]).toMatchObject({ rows: 3, priceMicroUsd: 90, totalMicroUsd: 370 })
  const segments = segmentsOf(stream.text())
  expect(segments.slice(0, 2).map(({ length }) => length)).toEqual([6, 3])
  for (const [at, { receipt }] of accounts.entries()) {
    expect(responseOf(shop, buyer.customer, receipt!)).toBe(digestOf(segments[at]!))
    const answer = await fetch(`${shop.url}/v1/receipts/${receipt}`, { headers: buyer.headers })
    expect(await answer.json()).toMatchObject({ id: receipt, state: 'delivered', rows: segments[at]!.length })
  }
  await stream.until('reading', 12)
  stream.close()
  // A reader that goes is charged for what it took, and what was held for it is given back.
  await until('the last receipt', 10, async () => (buyer.credit() === 99_540n ? true : undefined))
  const sales = till!.sales.list(buyer.customer, 10)
  expect(sales.map(({ priceMicroUsd }) => priceMicroUsd).sort()).toEqual([280n, 90n, 90n])
  expect(sales.map(({ scope }) => JSON.parse(scope).stations)).toContainEqual([stations[0]])
  expect(till!.sales.ledger.balance(`owner:${stations[0]}`)).toBe(((180n + 90n) * 85n) / 100n)
  isSound(shop)
})

test('where credit ends the stream ends, says so, and goes on there when there is more', async () => {
  const shop = await world()
  const { listen, emit, signUp, till } = shop
  const buyer = signUp(100n + 4n * 30n + 5n)
  const stream = await listen('', buyer.headers)
  await stream.until('start', 1)
  await emit(2)
  await stream.ended
  expect(stream.readings()).toHaveLength(4)
  expect(stream.events.slice(-2)).toEqual([
    {
      event: 'account',
      id: '3-0',
      data: expect.objectContaining({ rows: 4, priceMicroUsd: 220, creditsRemaining: 5 }),
    },
    {
      event: 'end',
      id: '3-0',
      data: expect.objectContaining({
        type: '/problems/credit-exhausted',
        status: 402,
        payment: { priceMicroUsd: 30, priceUsd: '0.000030', balanceMicroUsd: 5 },
      }),
    },
  ])
  const poor = await listen('', { ...buyer.headers, 'last-event-id': '3-0' })
  await poor.ended
  expect([poor.status, JSON.parse(poor.text()).type]).toEqual([402, '/problems/credit-exhausted'])
  till!.sales.credit('more', 'manual', buyer.customer, 55n, 'a test')
  const onward = await listen('', { ...buyer.headers, 'last-event-id': '3-0' })
  await onward.until('reading', 2)
  expect(onward.named('reading').map(({ id }) => id)).toEqual(['3-1', '3-2'])
  onward.close()
  await until('the receipt', 10, async () => (buyer.credit() === 0n ? true : undefined))
  isSound(shop)
})

test('the budget of a key ends a stream, whatever credit there is', async () => {
  const shop = await world()
  const buyer = shop.signUp(100_000n, { budget: 190n })
  const stream = await shop.listen('', buyer.headers)
  await stream.until('start', 1)
  await shop.emit(2)
  await stream.ended
  expect(stream.readings()).toHaveLength(3)
  expect(stream.events.at(-1)).toMatchObject({ event: 'end', data: { type: '/problems/budget-exhausted' } })
  expect(buyer.credit()).toBe(99_810n)
  isSound(shop)
})

test('a key that is revoked ends its stream, with or without readings', async () => {
  const shop = await world(50)
  const { listen, emit, signUp, till, clock } = shop
  const [busy, idle] = [signUp(100_000n), signUp(100_000n)]
  const streams = [await listen('', busy.headers), await listen(`?station=${shop.stations[1]}`, idle.headers)]
  for (const stream of streams) await stream.until('start', 1)
  await emit(1)
  await streams[0]!.until('reading', 3)
  for (const { customer, id } of [busy, idle]) till!.sales.keys.revoke(customer, id, clock.nowMs)
  await emit(1)
  await streams[0]!.ended
  clock.nowMs += 50
  await streams[1]!.ended
  for (const stream of streams)
    expect(stream.events.at(-1)).toMatchObject({
      event: 'end',
      data: { type: '/problems/key-invalid', detail: 'this key was revoked' },
    })
  expect([busy.credit(), idle.credit()]).toEqual([99_810n, 100_000n])
  isSound(shop)
})

test('without a key there is no stream where data is sold; without credit only of one’s own stations', async () => {
  const shop = await world()
  const { listen, emit, signUp, stations, till } = shop
  const stranger = await listen()
  await stranger.ended
  expect(stranger.status).toBe(401)
  expect(JSON.parse(stranger.text())).toMatchObject({
    type: '/problems/key-invalid',
    detail: expect.stringContaining('/v1/topup'),
  })
  const owner = signUp(0n)
  const refused = await listen('', owner.headers)
  await refused.ended
  expect(refused.status).toBe(402)
  till!.sales.keys.own(owner.customer, stations[0]!)
  const own = await listen(`?station=${stations[0]}`, owner.headers)
  await own.until('start', 1)
  await emit(1)
  await own.until('reading', 3)
  expect(till!.sales.list(owner.customer, 10)).toEqual([])
})

test('an account has ten streams at once, however many keys it has', async () => {
  const { listen, signUp, till, clock } = await world()
  const buyer = signUp(1_000_000n)
  const wanted = { label: '', scopes: ['read'], budget: null, alarmPercent: null, expiresMs: null } as const
  const other = till!.sales.keys.add(buyer.customer, wanted, clock.nowMs)!
  const streams = await Promise.all(Array.from({ length: 10 }, () => listen('', buyer.headers)))
  expect(streams.map(({ status }) => status)).toEqual(Array(10).fill(200))
  const more = await listen('', { authorization: `Bearer ${other.secret}` })
  await more.ended
  expect([more.status, JSON.parse(more.text())]).toMatchObject([429, { type: '/problems/too-many-streams' }])
})

test('what was sent and not received comes again for nothing, and nothing else does', async () => {
  const shop = await world()
  const { listen, emit, signUp } = shop
  const buyer = signUp(100_000n)
  await emit(1)
  const first = await listen('', buyer.headers)
  await first.until('start', 1)
  await emit(2)
  const heard = await first.until('reading', 6)
  first.close()
  const paid = 100n + 6n * 30n
  await spent(shop, buyer, 100_000n, paid)

  // As if the last four had been lost on the way.
  const onward = await listen('', { ...buyer.headers, 'last-event-id': heard[1]!.id })
  await onward.until('reading', 4)
  expect(onward.named('reading')).toEqual(heard.slice(2))
  const [again] = await onward.until('account', 1)
  expect(again!.data).toMatchObject({ receipt: null, rows: 4, priceMicroUsd: 0, totalMicroUsd: 0 })
  await emit(1)
  await onward.until('reading', 7)
  onward.close()
  await spent(shop, buyer, 100_000n, paid + 90n)

  // Another question, another key and what lies before are not what was paid.
  const before = await listen('', { ...buyer.headers, 'last-event-id': '0' })
  await before.until('reading', 12)
  before.close()
  await spent(shop, buyer, 100_000n, paid + 90n + 360n)
  const other = await listen('?sensor=garden', { ...buyer.headers, 'last-event-id': heard[1]!.id })
  await other.until('reading', 7)
  other.close()
  await spent(shop, buyer, 100_000n, paid + 90n + 360n + 310n)
  isSound(shop)
})

test('what lies between two streams was not paid, and is', async () => {
  const shop = await world()
  const { listen, emit, signUp } = shop
  const buyer = signUp(100_000n)
  const first = await listen('', buyer.headers)
  await first.until('start', 1)
  await emit(1)
  const { id } = (await first.until('reading', 3))[0]!
  first.close()
  await spent(shop, buyer, 100_000n, 190n)
  await emit(1)
  const second = await listen('', buyer.headers)
  await second.until('start', 1)
  await emit(1)
  await second.until('reading', 3)
  second.close()
  await spent(shop, buyer, 100_000n, 190n + 90n)
  const third = await listen('', { ...buyer.headers, 'last-event-id': id })
  await third.until('reading', 8)
  third.close()
  await spent(shop, buyer, 100_000n, 190n + 90n + 240n)
  isSound(shop)
})

test('a reader that takes nothing pays for what the sockets took, and no more', async () => {
  const shop = await world()
  const { url, emit, signUp, tail, untilOpen } = shop
  const buyer = signUp(10_000_000n)
  const slow = await listenSlowly(`${url}/v1/stream`, buyer.headers)
  await untilOpen(1)
  const envelopes = 75
  await emit(envelopes, 0, 200)
  await until('the store', 30, async () => (tail.reached === envelopes + 2 ? true : undefined))
  const held = await until('money is held', 10, async () => (buyer.credit() < 10_000_000n ? true : undefined))
  expect(held).toBe(true)
  let before = -1n
  await until('nothing moves any more', 30, async () => {
    await sleep(300)
    const now = buyer.credit()
    if (now === before) return true
    before = now
    return undefined
  })
  slow.socket.destroy()
  await until('the receipt', 10, async () =>
    shop.till!.sales.ledger.balance('held:queries') === 0n ? true : undefined,
  )
  const rows = shop.till!.sales.list(buyer.customer, 1000).reduce((sum, sale) => sum + sale.rows, 0)
  expect(rows).toBeGreaterThan(0)
  expect(rows).toBeLessThan(envelopes * 200)
  expect(buyer.credit()).toBe(10_000_000n - 100n - BigInt(rows) * 30n)
  isSound(shop)
}, 90_000)

test('a bundle of a segment is of its stations and its time, where that is an hour and a hundred stations at most', () => {
  const span = { stations: new Set(['b', 'a']), fromMs: 1000, lastMs: 3_601_000 }
  expect(segmentScope(span, { sensor: 'garden', quantities: [1] })).toEqual({
    stations: ['a', 'b'],
    sensor: 'garden',
    quantities: [1],
    fromMs: 1000,
    toMs: 3_601_001,
  })
  expect(segmentScope({ ...span, lastMs: 3_601_001 }, {})).toBeNull()
  const many = (count: number) => new Set(Array.from({ length: count }, (_, at) => `${at}`))
  expect(segmentScope({ ...span, stations: many(100) }, {})?.stations).toHaveLength(100)
  expect(segmentScope({ ...span, stations: many(101) }, {})).toBeNull()
})

test('books are settled when the hub stops, and the last word is an account and why', async () => {
  const shop = await world()
  const buyer = shop.signUp(100_000n)
  const stream = await shop.listen('', buyer.headers)
  await stream.until('start', 1)
  await shop.emit(1)
  await stream.until('reading', 3)
  await shop.close()
  await stream.ended
  expect(stream.events.slice(-2)).toMatchObject([
    { event: 'account', data: { rows: 3, priceMicroUsd: 190, creditsRemaining: 99_810 } },
    { event: 'end', data: { type: '/problems/hub-stopping' } },
  ])
})
