import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { expect, onTestFinished, test } from 'vitest'
import type { RateLimits } from '#gateway/market/limits.ts'
import { run as serve } from '#gateway/market/serve.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { anHour, nowMs, openWorld, stationA, stationB } from '#test/market-world.ts'
import { startSellingHub } from '#test/sales/whole-hub.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

// As selling.test.ts counts it: the base, 15 fresh values, 44 older ones.
const hourPrice = 470
const hour = { station: stationB, from: `${nowMs - 3_600_000}`, to: `${nowMs}` }

type Told = { readonly isError: boolean; readonly texts: readonly string[] }

const connect = async (url: string, key?: string) => {
  const client = new Client({ name: 'test', version: '1' })
  const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` }
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit: { headers } })
  await client.connect(transport as Transport)
  onTestFinished(() => client.close())
  const call = async (name: string, asked: Record<string, unknown> = {}): Promise<Told> => {
    const { isError = false, content } = await client.callTool({ name, arguments: asked })
    const texts = (content as { text: string }[]).map(({ text }) => text)
    return { isError: isError === true, texts }
  }
  const json = async (...asked: Parameters<typeof call>) => {
    const { isError, texts } = await call(...asked)
    expect(isError, texts[0]).toBe(false)
    return JSON.parse(texts[0]!) as Record<string, unknown>
  }
  const problem = async (...asked: Parameters<typeof call>) => {
    const { isError, texts } = await call(...asked)
    expect([isError, texts.length]).toEqual([true, 1])
    return JSON.parse(texts[0]!) as Record<string, unknown>
  }
  return { client, call, json, problem }
}

const openShop = async (limits?: RateLimits, sells = true) => {
  const signer = newSigner()
  const selling = openSelling({
    path: join(temporaryDirectory(), 'sales.sqlite'),
    network: 'testnet',
    hub: signer,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 10_000n,
    nowMs: () => nowMs,
  })
  const { till } = selling
  const world = await openWorld(
    {
      network: 'testnet',
      hubKey: signer.publicKey,
      verifyBundle: async (bytes) => verifyBundle(bytes),
      ...(sells ? { till } : {}),
      ...(limits === undefined ? {} : { limits }),
    },
    anHour(),
  )
  const stop = new AbortController()
  const bound = Promise.withResolvers<number>()
  const ended = serve({ app: world.api, host: '127.0.0.1', port: 0, listening: bound.resolve }, stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await ended
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  const url = `http://127.0.0.1:${await bound.promise}`
  const signUp = (budget: bigint | null = null) => {
    const { key, secret } = till.signUp({
      label: '',
      scopes: ['read'],
      budget,
      alarmPercent: null,
      expiresMs: null,
    })
    return { secret, credit: () => till.sales.ledger.balance(`customer:${key.customer}`) }
  }
  return { url, till, signUp }
}

test('a model finds stations, asks for the price, buys for exactly that, and has its receipt', async () => {
  const { url, signUp, till } = await openShop()
  const buyer = signUp()
  const { client, json, call } = await connect(url, buyer.secret)
  const { tools } = await client.listTools()
  expect(tools.map(({ name }) => name)).toEqual([
    'find_stations',
    'sample',
    'quote',
    'query_readings',
    'verify_bundle',
    'budget',
  ])
  const { stations } = (await json('find_stations')) as { stations: { station: string }[] }
  expect(stations.map(({ station }) => station)).toEqual(expect.arrayContaining([stationA, stationB]))
  expect((await json('sample', { station: stationB })).readings).toHaveLength(5)
  const quote = await json('quote', { station: stationB, from: '-1h' })
  expect(quote).toMatchObject({ rows: 60, priceMicroUsd: hourPrice, from: hour.from, to: hour.to })
  expect(buyer.credit()).toBe(10_000n)

  const { offer, from, to } = quote
  const bought = await call('query_readings', { station: stationB, from, to, offer, limit: 40 })
  expect(bought.isError).toBe(false)
  const [sale, page] = bought.texts.map((text) => JSON.parse(text) as Record<string, unknown>)
  expect(page!.readings).toHaveLength(40)
  expect(sale).toMatchObject({ priceMicroUsd: hourPrice, creditMicroUsd: 10_000 - hourPrice })
  const digest = createHash('sha256').update(bought.texts[1]!).digest('base64')
  expect(sale!.contentDigest).toBe(`sha-256=:${digest}:`)
  expect(buyer.credit()).toBe(10_000n - BigInt(hourPrice))
  const receipt = await fetch(`${url}/v1/receipts/${sale!.receipt}`, {
    headers: { authorization: `Bearer ${buyer.secret}` },
  })
  expect(await receipt.json()).toMatchObject({ priceMicroUsd: hourPrice, rows: 60 })

  const rest = await call('query_readings', { station: stationB, from, to, limit: 40, cursor: page!.next })
  expect((JSON.parse(rest.texts[1]!) as { readings: unknown[] }).readings).toHaveLength(20)
  expect(buyer.credit()).toBe(10_000n - BigInt(hourPrice))
  expect(till.sales.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
})

test('without a payment there is a problem with the price, and not one reading', async () => {
  const { url, signUp } = await openShop()
  const stranger = await connect(url)
  const due = await stranger.problem('query_readings', hour)
  expect(due).toMatchObject({
    type: '/problems/payment-required',
    status: 402,
    payment: { priceMicroUsd: hourPrice },
  })
  expect(JSON.stringify(due)).not.toContain('-3.07')
  const tight = await connect(url, signUp(BigInt(hourPrice) - 1n).secret)
  expect(await tight.problem('query_readings', hour)).toMatchObject({ type: '/problems/budget-exhausted' })
  const wrong = await connect(url, 'gt_0123456789abcdef_'.padEnd(63, 'x'))
  for (const [name, asked] of [
    ['query_readings', hour],
    ['budget', {}],
    ['verify_bundle', { receipt: '0'.repeat(32) }],
  ] as const)
    expect(await wrong.problem(name, asked)).toMatchObject({ type: '/problems/key-invalid', status: 401 })
  // No header of HTTP can be such, and none is made of it.
  for (const offer of ['a\nb: c', 'ü€']) {
    const { isError, texts } = await stranger.call('query_readings', { ...hour, offer })
    expect([isError, texts[0]]).toEqual([true, expect.stringMatching(/^MCP error -32602: .* at offer$/)])
  }
  expect(await stranger.problem('quote', { quantity: ['temprature'] })).toMatchObject({
    type: '/problems/invalid-query',
    fields: [{ name: 'quantity', detail: expect.stringContaining('did you mean "temperature"') }],
  })
})

test('an order is paid once, and a misspelt argument never buys more than was meant', async () => {
  const { url, signUp } = await openShop()
  const buyer = signUp()
  const { call } = await connect(url, buyer.secret)
  const first = await call('query_readings', { ...hour, order: 'order-12345' })
  const second = await call('query_readings', { ...hour, order: 'order-12345' })
  expect(second.texts[1]).toBe(first.texts[1])
  expect(buyer.credit()).toBe(10_000n - BigInt(hourPrice))
  const misspelt = await call('query_readings', { ...hour, sensors: 'roof' })
  expect(misspelt.isError).toBe(true)
  expect(misspelt.texts.join()).not.toContain('-3.07')
  expect(buyer.credit()).toBe(10_000n - BigInt(hourPrice))
})

test('the budget is the smaller of credit and what the key may spend', async () => {
  const { url, signUp } = await openShop()
  const tight = await connect(url, signUp(1000n).secret)
  await tight.call('query_readings', hour)
  expect(await tight.json('budget')).toMatchObject({
    budgetMicroUsd: 1000,
    spentMicroUsd: hourPrice,
    leftMicroUsd: 1000 - hourPrice,
    leftUsd: '0.000530',
    creditMicroUsd: 10_000 - hourPrice,
  })
  const loose = await connect(url, signUp().secret)
  expect(await loose.json('budget')).toMatchObject({ budgetMicroUsd: null, leftMicroUsd: 10_000 })
  const wide = await connect(url, signUp(1_000_000n).secret)
  expect(await wide.json('budget')).toMatchObject({ budgetMicroUsd: 1_000_000, leftMicroUsd: 10_000 })
})

test('the limits of the API count here too, call by call, for key and address', async () => {
  const limits = { perMinuteAddress: 12, perMinuteKey: 1000, signUpsPerHour: 1, trustProxy: false }
  const { url, signUp } = await openShop(limits)
  const key = signUp().secret
  const stranger = await connect(url)
  const call = (id: number) => ({
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: { name: 'find_stations', arguments: {} },
  })
  // One request with many calls in it, which is one at the door and ten inside.
  const answer = await fetch(`${url}/mcp`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify(Array.from({ length: 12 }, (_, id) => call(id))),
  })
  const text = await answer.text()
  expect(text).toContain('/problems/rate-limited')
  await expect(stranger.call('find_stations')).rejects.toThrow('rate-limited')
  const buyer = await connect(url, key)
  await buyer.json('find_stations')
})

test('what is no message of the protocol is refused, and a hub that sells nothing has no such door', async () => {
  const { url } = await openShop()
  const post = (body: string, type = 'application/json') =>
    fetch(`${url}/mcp`, {
      method: 'POST',
      headers: { 'content-type': type, accept: 'application/json, text/event-stream' },
      body,
    })
  expect((await post('{')).status).toBe(400)
  expect((await post('{}', 'text/plain')).status).toBe(415)
  expect((await post(JSON.stringify({ x: 'x'.repeat(20_000) }))).status).toBe(413)
  expect((await fetch(`${url}/mcp`)).status).toBe(405)
  const free = await openShop(undefined, false)
  expect((await fetch(`${free.url}/mcp`, { method: 'POST' })).status).toBe(404)
})

test('a whole hub verifies what was bought from it', { timeout: 120_000 }, async () => {
  const { http, key } = await startSellingHub()
  const { json, call } = await connect(http, key)
  const quote = await until('readings to buy', 60, async () => {
    const one = await json('quote', { from: '-10m' })
    return (one.rows as number) > 5 ? one : undefined
  })
  const { offer, from, to } = quote
  const bought = await call('query_readings', { from, to, offer })
  const { receipt } = JSON.parse(bought.texts[0]!) as { receipt: string }
  const verified = await until('the proof', 60, async () => {
    const one = await call('verify_bundle', { receipt })
    if (one.isError) expect(one.texts[0]).toContain('/problems/not-anchored-yet')
    return one.isError ? undefined : (JSON.parse(one.texts[0]!) as Record<string, unknown>)
  })
  expect(verified).toMatchObject({ verified: true, failure: null, network: 'groundtruth-dev' })
  expect(verified.readings).toBeGreaterThan(0)
})
