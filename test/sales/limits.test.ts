import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { addressName, openBuckets, type RateLimits } from '#gateway/market/limits.ts'
import { run } from '#gateway/market/serve.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import { nowMs, openWorld, stationB } from '#test/market-world.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const openShop = async (over: Partial<RateLimits> = {}) => {
  const clock = { nowMs }
  const hub = newSigner()
  const selling = openSelling({
    path: join(temporaryDirectory(), 'sales.sqlite'),
    network: 'testnet',
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 1_000_000n,
    nowMs: () => clock.nowMs,
  })
  const limits = { perMinuteAddress: 6, perMinuteKey: 12, signUpsPerHour: 2, trustProxy: false, ...over }
  const world = await openWorld({
    till: selling.till,
    hubKey: hub.publicKey,
    nowMs: () => clock.nowMs,
    limits,
  })
  onTestFinished(async () => {
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  /** Asks as from an address, as the socket tells it. */
  const ask = (url: string, address: string, init: RequestInit = {}) =>
    world.api.request(url, init, { incoming: { socket: { remoteAddress: address } } })
  const signUp = (address: string, wanted: object = {}) =>
    ask('/v1/keys', address, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(wanted),
    })
  return { clock, world, ask, signUp }
}

const statusesOf = async (times: number, one: () => Response | Promise<Response>) => {
  const statuses: number[] = []
  for (let at = 0; at < times; at++) statuses.push((await one()).status)
  return statuses
}

test('an address has so many requests a minute, is told how many are left, and when to come again', async () => {
  const { ask, clock } = await openShop()
  const first = await ask('/v1/quantities', '192.0.2.1')
  expect(first.headers.get('ratelimit-policy')).toBe('"address";q=6;w=60')
  expect(first.headers.get('ratelimit')).toBe('"address";r=5;t=10')
  expect(await statusesOf(6, () => ask('/v1/quantities', '192.0.2.1'))).toEqual([
    200, 200, 200, 200, 200, 429,
  ])
  const refused = await ask('/v1/nothing', '192.0.2.1')
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '10'])
  expect(refused.headers.get('ratelimit')).toBe('"address";r=0;t=60')
  expect(await refused.json()).toMatchObject({ type: '/problems/rate-limited', retryAfterS: 10 })
  expect((await ask('/v1/quantities', '192.0.2.2')).status).toBe(200)
  clock.nowMs += 10_000
  expect(await statusesOf(2, () => ask('/v1/quantities', '192.0.2.1'))).toEqual([200, 429])
  // A clock that is set back locks nobody out for longer than that.
  clock.nowMs -= 3_600_000
  expect((await ask('/v1/quantities', '192.0.2.1')).status).toBe(429)
  clock.nowMs += 10_000
  expect((await ask('/v1/quantities', '192.0.2.1')).status).toBe(200)
})

test('a key has its own number wherever it is, and one that is made up counts for the address', async () => {
  const { ask, signUp } = await openShop()
  const { key } = (await (await signUp('192.0.2.1')).json()) as { key: string }
  const headers = { authorization: `Bearer ${key}` }
  let address = 10
  expect(await statusesOf(13, () => ask('/v1/account', `192.0.2.${address++}`, { headers }))).toEqual([
    ...new Array<number>(12).fill(200),
    429,
  ])
  let made = 0
  const guess = () =>
    ask('/v1/account', '192.0.2.99', {
      headers: { authorization: `Bearer gt_0123456789abcdef_${`${made++}`.padEnd(43, 'x')}` },
    })
  expect(await statusesOf(7, guess)).toEqual([401, 401, 401, 401, 401, 401, 429])
})

test('accounts are opened a few an hour from one address', async () => {
  const { signUp, clock } = await openShop({ perMinuteAddress: 1000 })
  expect(await statusesOf(3, () => signUp('192.0.2.1'))).toEqual([201, 201, 429])
  const refused = await signUp('192.0.2.1')
  expect(refused.headers.get('ratelimit-policy')).toBe('"address";q=1000;w=60, "sign-up";q=2;w=3600')
  expect(refused.headers.get('retry-after')).toBe('1800')
  expect((await signUp('192.0.2.2')).status).toBe(201)
  clock.nowMs += 1_800_000
  expect(await statusesOf(2, () => signUp('192.0.2.1'))).toEqual([201, 429])
})

test('X-Forwarded-For counts only behind a trusted proxy, and only its last hop', async () => {
  const headers = (text: string) => ({ headers: { 'x-forwarded-for': text } })
  const open = await openShop()
  let made = 0
  const pretend = () => open.ask('/v1/quantities', '192.0.2.1', headers(`198.51.100.${made++}`))
  expect((await statusesOf(7, pretend)).at(-1)).toBe(429)
  const behind = await openShop({ trustProxy: true })
  const through = () =>
    behind.ask('/v1/quantities', '127.0.0.1', headers(`198.51.100.${made++}, 203.0.113.5`))
  expect((await statusesOf(7, through)).at(-1)).toBe(429)
  expect((await behind.ask('/v1/quantities', '127.0.0.1', headers('203.0.113.6'))).status).toBe(200)
})

test('the address is the one of the socket', async () => {
  const { world } = await openShop()
  const stop = new AbortController()
  const port = Promise.withResolvers<number>()
  const ended = run({ app: world.api, host: '127.0.0.1', port: 0, listening: port.resolve }, stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await ended
  })
  const url = `http://127.0.0.1:${await port.promise}/v1/quantities`
  expect(await statusesOf(6, () => fetch(url))).toEqual(new Array(6).fill(200))
  // Not one of those that have no socket.
  expect((await world.api.request('/v1/quantities')).status).toBe(200)
  expect((await fetch(url)).status).toBe(429)
})

test('an IPv6 customer is one, whatever the second half of the address, and mapped IPv4 is IPv4', () => {
  const one = addressName('2001:db8:0:1::1')
  for (const same of ['2001:db8:0:1:2:3:4:5', '2001:DB8::1:0:0:0:9', '2001:0db8:0000:0001::'])
    expect(addressName(same)).toBe(one)
  expect(addressName('2001:db8:0:2::1')).not.toBe(one)
  expect(addressName('::ffff:192.0.2.1')).toBe('192.0.2.1')
  expect(addressName('::1')).toBe('0:0:0:0')
})

test('buckets are bounded, and the least recent goes', () => {
  const buckets = openBuckets(1, 60, 3)
  for (const name of ['a', 'b', 'c', 'a', 'd']) buckets.take(name, 0)
  expect(buckets.size()).toBe(3)
  expect(buckets.take('a', 0).ok).toBe(false)
  expect(buckets.take('b', 0).ok).toBe(true)
})

test('a body that is too long or no JSON is refused before it is read', async () => {
  const { ask } = await openShop({ perMinuteAddress: 1000, signUpsPerHour: 1000 })
  const post = (url: string, body: string | ReadableStream<Uint8Array>, type: string) =>
    ask(url, '192.0.2.1', {
      method: 'POST',
      headers: { 'content-type': type },
      body,
      duplex: 'half',
    } as RequestInit)
  const long = JSON.stringify({ label: 'x'.repeat(20_000) })
  const streamed = () =>
    new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(4096).fill(32)),
    })
  for (const url of ['/v1/keys', '/v1/quotes', '/v1/account/stations'])
    for (const body of [long, streamed()]) {
      const answer = await post(url, body, 'application/json')
      expect([answer.status, ((await answer.json()) as { type: string }).type]).toEqual([
        413,
        '/problems/body-too-large',
      ])
    }
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp'])
    expect((await post('/v1/keys', '{}', type)).status).toBe(415)
  expect((await post('/v1/keys', '{}', 'application/json; charset=utf-8')).status).toBe(201)
  expect((await ask(`/v1/quotes?station=${stationB}`, '192.0.2.1', { method: 'POST' })).status).toBe(200)
})

test('over a socket a request without a body needs no kind of one', async () => {
  const { world, signUp } = await openShop()
  const stop = new AbortController()
  const { promise, resolve } = Promise.withResolvers<number>()
  const running = run({ app: world.api, host: '127.0.0.1', port: 0, listening: resolve }, stop.signal)
  const port = await promise
  const { key } = (await (await signUp('192.0.2.1')).json()) as { key: string }
  const statusOf = async (method: string, path: string, headers: Record<string, string> = {}) => {
    const asked = request({ port, method, path, headers: { ...headers, authorization: `Bearer ${key}` } })
    // As curl does, which says nothing of a length where there is nothing.
    asked.useChunkedEncodingByDefault = 'transfer-encoding' in headers
    if ('transfer-encoding' in headers) asked.write('{}')
    asked.end()
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    answer.resume()
    return answer.statusCode
  }
  try {
    expect(await statusOf('DELETE', '/v1/keys/0123456789abcdef')).toBe(404)
    expect(await statusOf('POST', `/v1/quotes?station=${stationB}`)).toBe(200)
    expect(
      await statusOf('POST', '/v1/keys', { 'transfer-encoding': 'chunked', 'content-type': 'text/plain' }),
    ).toBe(415)
  } finally {
    stop.abort()
    await running
  }
})

test('answers carry an alarm from that part of a key’s budget on', async () => {
  const { ask, signUp } = await openShop()
  const made = await signUp('192.0.2.1', { budgetMicroUsd: 1000, alarmPercent: 60 })
  const { key } = (await made.json()) as { key: string }
  const buy = (order: string) =>
    ask(`/v1/readings?station=${stationB}&from=${nowMs - 3_600_000}&to=${nowMs}`, '192.0.2.1', {
      headers: { authorization: `Bearer ${key}`, 'idempotency-key': order },
    })
  const spent = async (order: string) => {
    const answer = await buy(order)
    await answer.text()
    return ['budget-alarm', 'budget-remaining'].map((name) => answer.headers.get(name))
  }
  expect(await spent('order-0001')).toEqual([null, '530'])
  expect(await spent('order-0002')).toEqual(['94', '60'])
  // Given again for nothing: the budget is where it was.
  expect(await spent('order-0001')).toEqual(['94', '60'])
})
