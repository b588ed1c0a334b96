import { createHash } from 'node:crypto'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodePaymentRequiredHeader, decodePaymentResponseHeader } from '@x402/core/http'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import { decodeFunctionData, parseAbi, parseTransaction, serializeSignature } from 'viem'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defaultSla } from '#gateway/sales/sla.ts'
import { accountNumber, makeDirectory, walletOf } from '#test/anchor-world.ts'
import { anHour, fakeEvidence, nowMs, profiles, stationA, stationB, viennaCell } from '#test/market-world.ts'
import { openShop, openTokenChain, type TokenChain } from '#test/sales/x402-world.ts'

const transferAbi = parseAbi([
  'function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s)',
])

const directory = makeDirectory()
let onChain: TokenChain
beforeAll(async () => {
  onChain = await openTokenChain(directory.path)
}, 60_000)
afterAll(async () => {
  await onChain.close()
  directory.remove()
})

const hour = `/v1/readings?station=${stationB}&from=${nowMs - 3_600_000}&to=${nowMs}`
const hourPrice = 470n

test('the stock client buys: what it pays is what the 402 said, and the books and the chain agree', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const before = await shop.ask(hour)
  expect(before.status).toBe(402)
  expect(before.headers.get('content-type')).toBe('application/problem+json')
  const required = decodePaymentRequiredHeader(before.headers.get('payment-required')!)
  expect(required).toMatchObject({
    x402Version: 2,
    resource: { url: `https://data.example${hour}` },
    accepts: [
      {
        scheme: 'exact',
        network: 'eip155:31337',
        asset: onChain.asset,
        amount: `${hourPrice}`,
        extra: { name: 'Test USD', version: '1' },
      },
    ],
  })
  expect(await before.json()).toMatchObject({
    type: '/problems/payment-required',
    payment: { priceMicroUsd: Number(hourPrice) },
  })

  const buyer = shop.buyer(wallet)
  const answer = await buyer.buy(hour)
  expect([answer.status, answer.headers.get('price')]).toEqual([200, `${hourPrice}`])
  expect(((await answer.json()) as { readings: unknown[] }).readings).toHaveLength(60)
  const settled = decodePaymentResponseHeader(answer.headers.get('payment-response')!)
  expect(settled).toMatchObject({ success: true, network: 'eip155:31337', payer: wallet.address })
  expect(settled.transaction).toMatch(/^0x[0-9a-f]{64}$/)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  expect(buyer.credit()).toBe(0n)
  expect(shop.sales.ledger.balance('world:x402')).toBe(-hourPrice)
  expect(shop.sales.list(`x402-${wallet.address.toLowerCase()}`, 10)[0]).toMatchObject({ state: 'delivered' })
  shop.expectSound()
})

const signed = (signature: string, more: Record<string, string> = {}) => ({
  headers: { 'payment-signature': signature, ...more },
})
const typeOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { type: string }).type
const secret = { 'idempotency-key': 'order-0123456789abcdef' }

type Page = { readonly readings: readonly { readonly time: string }[]; readonly next: string | null }

/** The first of three pages, bought by a new wallet. */
const buyPages = async (shop: Awaited<ReturnType<typeof openShop>>) => {
  const wallet = await onChain.newWallet(1_000_000n)
  const first = await shop.buyer(wallet).buy(`${hour}&limit=25`)
  const id = first.headers.get('receipt-id')!
  return { wallet, first, id, customer: `x402-${wallet.address.toLowerCase()}` }
}

const cursorAt = (link: Response): string => /cursor=([^&>]+)/.exec(link.headers.get('link')!)![1]!

test('later pages of what was paid on the spot cost nothing, and are of what there was then', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const open = `/v1/readings?station=${stationB}&from=${nowMs - 3_600_000}&to=${nowMs + 3_600_000}`
  const first = await shop.buyer(wallet).buy(`${open}&limit=25`)
  expect([first.status, first.headers.get('price')]).toEqual([200, `${hourPrice}`])
  let page = (await first.json()) as Page
  const times = page.readings.map(({ time }) => time)
  const newer = anHour().findLast(({ station }) => station === stationB)!
  shop.clock.nowMs += 60_000
  await shop.world.store.write([{ ...newer, seq: 999, timeMs: nowMs + 1500 }])
  while (page.next !== null) {
    const later = await shop.ask(`${open}&limit=25&cursor=${page.next}`)
    expect([later.status, later.headers.get('price'), later.headers.get('cache-control')]).toEqual([
      200,
      '0',
      'private, no-cache',
    ])
    page = (await later.json()) as Page
    times.push(...page.readings.map(({ time }) => time))
  }
  expect(new Set(times).size).toBe(60)
  expect(times.every((time) => Date.parse(time) < nowMs)).toBe(true)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  expect(shop.weather.sent).toHaveLength(1)
  shop.expectSound()
})

test('a station that moves changes nothing of the pages of an area that was paid on the spot', async () => {
  const inVienna = new Set([stationB])
  const profile = (station: string) =>
    inVienna.has(station) ? { ...profiles[stationA]!, cell: viennaCell } : undefined
  const shop = await openShop(onChain, { evidence: { ...fakeEvidence(), profile } })
  const wallet = await onChain.newWallet(1_000_000n)
  const area = `/v1/readings?bbox=16,48,17,49&from=${nowMs - 3_600_000}&to=${nowMs}&limit=25`
  const first = await shop.buyer(wallet).buy(area)
  expect([first.status, first.headers.get('price')]).toEqual([200, `${hourPrice}`])
  const { next } = (await first.json()) as Page
  inVienna.add(stationA)
  const later = await shop.ask(`${area}&cursor=${next}`)
  expect([later.status, later.headers.get('price')]).toEqual([200, '0'])
  const { readings } = (await later.json()) as { readings: { station: string }[] }
  expect(readings.map(({ station }) => station)).toEqual(new Array(25).fill(stationB))
})

test('a cursor opens nothing but the query that was paid, and no sale that a key paid', async () => {
  const shop = await openShop(onChain)
  const { first } = await buyPages(shop)
  const { next } = (await first.json()) as Page
  const later = `${hour}&limit=25&cursor=${next}`
  expect((await shop.ask(later)).status).toBe(200)
  const other = await shop.ask(later.replace(`${nowMs - 3_600_000}`, `${nowMs - 3_500_000}`))
  expect([other.status, await typeOf(other)]).toEqual([400, '/problems/invalid-query'])

  // The same cursor over another span, with the check that goes with it.
  const bound = JSON.stringify([
    JSON.stringify([[stationB], null, null, null, { ms: nowMs - 3_600_000 }, { ms: nowMs }, null, null]),
    [stationB],
  ])
  const cursorWith = (change: (fields: (string | number)[]) => void): string => {
    const fields = (JSON.parse(Buffer.from(next!, 'base64url').toString()) as string[]).slice(0, -1)
    change(fields)
    const sum = createHash('sha256').update(JSON.stringify([bound, ...fields]))
    return Buffer.from(JSON.stringify([...fields, sum.digest('base64url').slice(0, 16)])).toString(
      'base64url',
    )
  }
  const statusOf = async (cursor: string, headers: Record<string, string> = {}): Promise<number> =>
    (await shop.ask(`${hour}&limit=25&cursor=${cursor}`, { headers })).status
  expect(await statusOf(cursorWith(() => {}))).toBe(200)
  const longer = cursorWith((fields) => {
    fields[0] = nowMs - 7_200_000
  })
  expect(await statusOf(longer)).toBe(402)

  const { secret, key } = shop.till.signUp({
    label: '',
    scopes: ['read'],
    budget: null,
    alarmPercent: null,
    expiresMs: null,
  })
  shop.sales.credit('for-a-test', 'operator', key.customer, hourPrice, '')
  const authorization = `Bearer ${secret}`
  const byKey = await shop.ask(`${hour}&limit=25`, { headers: { authorization } })
  const paidByKey = ((await byKey.json()) as Page).next!
  expect(byKey.headers.get('price')).toBe(`${hourPrice}`)
  expect(await statusOf(paidByKey, { authorization })).toBe(200)
  expect(await statusOf(paidByKey)).toBe(402)
  // As its receipt is, what was paid without a key is for whoever knows its id, with a key or without one.
  expect(await statusOf(next!, { authorization })).toBe(200)
  expect(shop.weather.sent).toHaveLength(1)
})

test('what was paid back gives no pages, and what gave a page is not paid back as if nothing was taken', async () => {
  const shop = await openShop(onChain)
  const back = await buyPages(shop)
  const cursor = cursorAt(back.first)
  await back.first.body!.cancel()
  expect(shop.sales.sale(back.customer, back.id)).toMatchObject({ state: 'refunded' })
  expect((await shop.ask(`${hour}&limit=25&cursor=${cursor}`)).status).toBe(402)

  const kept = await buyPages(shop)
  const later = `${hour}&limit=25&cursor=${cursorAt(kept.first)}`
  await shop.ask(later, { method: 'HEAD' })
  expect(shop.sales.sale(kept.customer, kept.id)).toMatchObject({ state: 'open' })
  expect((await shop.ask(later)).status).toBe(200)
  await kept.first.body!.cancel()
  expect(shop.sales.sale(kept.customer, kept.id)).toMatchObject({ state: 'partial' })
  expect(shop.sales.ledger.balance(`customer:${kept.customer}`)).toBe(0n)
  shop.expectSound()
})

test('a hundred of one payment at once are one transaction and one sale', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const header = await buyer.sign(hour)
  // More than run and wait at once are told to come again, so they come in two waves.
  const wave = () => Promise.all(Array.from({ length: 50 }, () => shop.ask(hour, signed(header))))
  const answers = [...(await wave()), ...(await wave())]
  const statuses = answers.map(({ status }) => status)
  expect(statuses.filter((status) => status === 200)).toHaveLength(1)
  expect(statuses.filter((status) => status === 402 || status === 503)).toHaveLength(99)
  expect(shop.weather.sent).toHaveLength(1)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  expect(shop.sales.list(`x402-${wallet.address.toLowerCase()}`, 100)).toHaveLength(1)
  shop.expectSound()
})

test('a query in InfluxQL is paid on the spot too, and told with its price before', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const q = `SELECT temperature FROM readings WHERE station = '${stationB}' AND time >= ${nowMs - 3_600_000}ms`
  const query = `/influx/query?${new URLSearchParams({ db: 'groundtruth', q })}`
  const asked = await shop.ask(query)
  expect(asked.status).toBe(402)
  expect(asked.headers.get('payment-required')).not.toBeNull()
  expect(await asked.json()).toMatchObject({
    error: expect.stringMatching(/this costs 0\.000470 USD.*POST \S+\/v1\/topup \(x402\)/),
  })
  const bought = await shop.buyer(wallet).buy(query)
  expect(bought.status).toBe(200)
  expect(await bought.text()).toContain('-3.07')
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  shop.expectSound()
})

test('payments of twenty wallets at once all land, with one key that settles', async () => {
  // A machine that does other things too checks twenty payments slowly.
  const shop = await openShop(onChain, { waitMs: 20_000, chainMs: 20_000 })
  const wallets = []
  for (let n = 0; n < 20; n++) wallets.push(await onChain.newWallet(1_000_000n))
  const answers = await Promise.all(wallets.map((wallet) => shop.buyer(wallet).buy(hour)))
  expect(answers.map(({ status }) => status)).toEqual(wallets.map(() => 200))
  expect(shop.sales.ledger.balance('world:x402')).toBe(-20n * hourPrice)
  shop.expectSound()
})

test('who reads a payment from the chain gets nothing for it; its buyer gets the same again with the secret', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const header = await buyer.sign(hour)
  const first = await shop.ask(hour, signed(header, secret))
  const bytes = await first.text()
  expect(first.status).toBe(200)

  // What the chain shows: the arguments of the call. The rest of the header anybody gets with a 402.
  const { args } = decodeFunctionData({
    abi: transferAbi,
    data: parseTransaction(shop.weather.sent[0]!).data!,
  })
  const [from, to, value, validAfter, validBefore, nonce, v, r, s] = args
  const seen = decodePaymentRequiredHeader((await shop.ask(hour)).headers.get('payment-required')!)
  const rebuilt = Buffer.from(
    JSON.stringify({
      x402Version: 2,
      resource: seen.resource,
      accepted: seen.accepts[0],
      payload: {
        signature: serializeSignature({ r, s, v: BigInt(v) }),
        authorization: {
          from,
          to,
          value: `${value}`,
          validAfter: `${validAfter}`,
          validBefore: `${validBefore}`,
          nonce,
        },
      },
    }),
  ).toString('base64')
  for (const theft of [
    {},
    { 'idempotency-key': 'some-other-secret-0000' },
    { 'idempotency-key': 'short-secret' },
  ]) {
    const stolen = await shop.ask(hour, signed(rebuilt, theft))
    expect([stolen.status, await typeOf(stolen)]).toEqual([402, '/problems/payment-invalid'])
  }
  const again = await shop.ask(hour, signed(header, secret))
  expect([again.status, await again.text()]).toEqual([200, bytes])
  expect(again.headers.get('receipt-id')).toBe(first.headers.get('receipt-id'))
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  // The receipt is for who knows its id, and the chain does not tell that.
  const receipt = await shop.ask(`/v1/receipts/${first.headers.get('receipt-id')}`)
  expect([receipt.status, await receipt.json()]).toMatchObject([200, { priceMicroUsd: Number(hourPrice) }])
  expect((await shop.ask(`/v1/receipts/${'0'.repeat(32)}`)).status).toBe(401)
  // Not without end.
  const more = []
  for (let n = 0; n < 10; n++) more.push((await shop.ask(hour, signed(header, secret))).status)
  expect(more).toEqual([200, 200, 200, 200, 200, 200, 200, 200, 402, 402])
  shop.expectSound()
})

test('a payment for another address is refused, and still good for its own', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const header = await buyer.sign(hour)
  expect((await shop.ask(hour, signed(header, secret))).status).toBe(200)
  const other = `/v1/readings?station=${stationB}&from=${nowMs - 3_600_000}&to=${nowMs}&limit=50`
  const answer = await shop.ask(other, signed(header, secret))
  expect([answer.status, await typeOf(answer)]).toEqual([402, '/problems/payment-invalid'])
  expect((await shop.ask(hour, signed(header, secret))).status).toBe(200)
  expect(shop.weather.sent).toHaveLength(1)
})

test('with the chain away nothing is taken, and the same signature works later', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const header = await buyer.sign(hour)
  shop.weather.down = true
  const away = await shop.ask(hour, signed(header))
  expect([away.status, await typeOf(away)]).toEqual([503, '/problems/settlement-unavailable'])
  expect(away.headers.get('retry-after')).toBe('10')
  expect((await shop.ask(hour, signed(header))).status).toBe(503)
  expect(shop.logged).toEqual(['payments cannot be settled: the node is away'])
  expect(buyer.credit()).toBe(0n)
  shop.weather.down = false
  expect((await shop.ask(hour, signed(header))).status).toBe(200)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  shop.expectSound()
})

test('a node that fails half-way is not taken for a bad signature', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const header = await shop.buyer(wallet).sign(hour)
  for (const method of [
    'eth_getCode',
    'eth_call',
    'eth_chainId',
    'eth_estimateGas',
    'eth_getTransactionCount',
  ]) {
    shop.weather.failing = method
    const answer = await shop.ask(hour, signed(header))
    expect([method, answer.status, await typeOf(answer)]).toEqual([
      method,
      503,
      '/problems/settlement-unavailable',
    ])
  }
  shop.weather.failing = undefined
  expect((await shop.ask(hour, signed(header))).status).toBe(200)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
})

test('a node that never answers holds nobody up', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const header = await shop.buyer(wallet).sign(hour)
  shop.weather.hanging = true
  const answer = await shop.ask(hour, signed(header))
  expect([answer.status, await typeOf(answer)]).toEqual([503, '/problems/settlement-unavailable'])
  shop.weather.hanging = false
  expect((await shop.ask(hour, signed(header))).status).toBe(200)
})

test('the id of the extension payment-identifier is a secret too', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const header = await shop.buyer(wallet).sign(hour)
  const withId = (id: string): string => {
    const payment = JSON.parse(Buffer.from(header, 'base64').toString())
    payment.extensions = { 'payment-identifier': { info: { required: false, id } } }
    return Buffer.from(JSON.stringify(payment)).toString('base64')
  }
  const ask = async (id: string) => {
    const answer = await shop.ask(hour, signed(withId(id)))
    await answer.text()
    return answer.status
  }
  expect(await ask('pay_0123456789abcdef')).toBe(200)
  expect(await ask('pay_0123456789abcdee')).toBe(402)
  expect(await ask('pay_0123456789abcdef')).toBe(200)
  expect(shop.weather.sent).toHaveLength(1)
})

test('on a slow chain the buyer is told to wait, and the same signature is served once the block is there', async () => {
  const shop = await openShop(onChain, { waitMs: 100 })
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const header = await buyer.sign(hour)
  shop.weather.holding = true
  for (let n = 0; n < 2; n++) {
    const waiting = await shop.ask(hour, signed(header, secret))
    expect([waiting.status, await typeOf(waiting)]).toEqual([503, '/problems/settlement-pending'])
  }
  // Who signs again all the same does not pay twice.
  const anew = await shop.ask(hour, signed(await buyer.sign(hour)))
  expect([anew.status, await typeOf(anew)]).toEqual([503, '/problems/settlement-pending'])
  await shop.weather.release()
  const served = await shop.ask(hour, signed(header, secret))
  expect(served.status).toBe(200)
  await served.text()
  expect(shop.weather.sent).toHaveLength(1)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  expect(buyer.credit()).toBe(0n)
  shop.expectSound()
})

test('a payment that lands when nobody waits any more is the wallet’s credit, and pays the next request', async () => {
  const shop = await openShop(onChain, { waitMs: 100 })
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  shop.weather.holding = true
  expect((await buyer.buy(hour)).status).toBe(503)
  const stop = new AbortController()
  const running = shop.till.rail!.run(stop.signal)
  await shop.weather.release()
  await expect.poll(() => buyer.credit()).toBe(hourPrice)
  stop.abort()
  await running
  expect((await buyer.buy(hour)).status).toBe(200)
  expect(buyer.credit()).toBe(0n)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  shop.expectSound()
})

test('what falls short of a promise is the wallet’s credit, and pays the next request', async () => {
  const shop = await openShop(onChain, { sla: { ...defaultSla, latestMaxAgeMs: 1000 } })
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const first = await buyer.buy('/v1/latest')
  expect(first.status).toBe(200)
  await first.text()
  const price = BigInt(first.headers.get('price')!)
  expect(first.headers.get('sla-credit')).toBe(`${price}`)
  expect(first.headers.get('credits-remaining')).toBe(`${price}`)
  expect([buyer.credit(), await shop.balance(wallet.address)]).toEqual([price, 1_000_000n - price])
  const next = await buyer.buy('/v1/latest?format=csv')
  await next.text()
  expect([next.status, next.headers.get('price')]).toEqual([200, `${price}`])
  // Paid from the credit, and credited again: the chain moved nothing.
  expect([buyer.credit(), await shop.balance(wallet.address)]).toEqual([price, 1_000_000n - price])
  expect(shop.weather.sent).toHaveLength(1)
  shop.expectSound()
})

test('a wallet that signs the same dollar twice gets one answer, and the other is not served', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(hourPrice)
  const buyer = shop.buyer(wallet)
  const urls = [hour, `${hour}&limit=50`]
  const headers: string[] = []
  for (const url of urls) headers.push(await buyer.sign(url))
  shop.weather.holding = true
  const buying = urls.map((url, n) => shop.ask(url, signed(headers[n]!)))
  await expect.poll(() => shop.weather.held.length).toBe(2)
  await shop.weather.release()
  const answers = await Promise.all(buying)
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 402])
  const refused = answers.find(({ status }) => status === 402)!
  expect(await typeOf(refused)).toBe('/problems/payment-failed')
  expect(shop.sales.ledger.balance('world:x402')).toBe(-hourPrice)
  expect(await shop.balance(wallet.address)).toBe(0n)
  shop.expectSound()
})

test('a transaction that a node forgot is sent again, the same bytes', async () => {
  const shop = await openShop(onChain, { waitMs: 100 })
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const header = await buyer.sign(hour)
  shop.weather.forgetting = true
  expect((await shop.ask(hour, signed(header, secret))).status).toBe(503)
  shop.weather.forgetting = false
  const stop = new AbortController()
  const running = shop.till.rail!.run(stop.signal)
  await expect.poll(() => buyer.credit()).toBe(hourPrice)
  stop.abort()
  await running
  expect(new Set(shop.weather.sent).size).toBe(1)
  expect((await shop.ask(hour, signed(header, secret))).status).toBe(200)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  shop.expectSound()
})

test('too little, another token, another recipient, another chain and an empty wallet are refused, and cost nothing', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const required = decodePaymentRequiredHeader((await shop.ask(hour)).headers.get('payment-required')!)
  const [asked] = required.accepts as [(typeof required.accepts)[number]]
  const scheme = new ExactEvmScheme(wallet)
  const pay = async (over: Partial<typeof asked>) => {
    const accepted = { ...asked, ...over }
    const { payload } = await scheme.createPaymentPayload(2, accepted)
    const header = Buffer.from(JSON.stringify({ x402Version: 2, accepted, payload })).toString('base64')
    const answer = await shop.ask(hour, signed(header))
    return [answer.status, await typeOf(answer), answer.headers.has('payment-required')]
  }
  const refused = [402, '/problems/payment-invalid', true]
  expect(await pay({ amount: `${hourPrice - 1n}` })).toEqual(refused)
  expect(await pay({ asset: wallet.address })).toEqual(refused)
  expect(await pay({ payTo: wallet.address })).toEqual(refused)
  expect(await pay({ network: 'eip155:1' })).toEqual(refused)
  expect(await pay({ extra: { ...asked.extra, name: 'Other USD' } })).toEqual(refused)
  expect(await pay({ maxTimeoutSeconds: 86_400 })).toEqual(refused)
  const header = await buyer.sign(hour)
  for (const noise of ['', 'x', '{}', `${header}x`.repeat(20), header.slice(0, -40)]) {
    const answer = await shop.ask(hour, signed(noise))
    expect(answer.status).toBe(402)
  }
  const poor = await shop.buyer(await onChain.newWallet(hourPrice - 1n)).buy(hour)
  expect([poor.status, await typeOf(poor)]).toEqual([402, '/problems/payment-failed'])
  expect(shop.weather.sent).toEqual([])
  expect(await shop.balance(wallet.address)).toBe(1_000_000n)
  shop.expectSound()
})

test('a hub that dies between payment and sale charges nobody twice: the next try is served', async () => {
  for (const retry of ['same signature', 'new signature'] as const) {
    const shop = await openShop(onChain, { waitMs: 100 })
    const wallet = await onChain.newWallet(hourPrice)
    const header = await shop.buyer(wallet).sign(hour)
    // It dies while the block is made: nobody has seen the receipt yet.
    shop.weather.holding = true
    expect((await shop.ask(hour, signed(header, secret))).status).toBe(503)
    await shop.close()
    await shop.weather.release()

    const next = await openShop(onChain, { directory: shop.directory })
    const buyer = next.buyer(wallet)
    const answer =
      retry === 'same signature' ? await next.ask(hour, signed(header, secret)) : await buyer.buy(hour)
    expect([retry, answer.status]).toEqual([retry, 200])
    await answer.text()
    expect(await next.balance(wallet.address)).toBe(0n)
    expect([buyer.credit(), next.weather.sent]).toEqual([0n, []])
    next.expectSound()
    await next.close()
  }
})

test('a hub that dies after the sale and before it is served pays back, and the credit buys the next try', async () => {
  for (const retry of ['same signature', 'new signature'] as const) {
    const shop = await openShop(onChain)
    const wallet = await onChain.newWallet(hourPrice)
    const header = await shop.buyer(wallet).sign(hour)
    // Sold, and of its body nothing was taken.
    expect((await shop.ask(hour, signed(header, secret))).status).toBe(200)
    await shop.close()

    const next = await openShop(onChain, { directory: shop.directory })
    const buyer = next.buyer(wallet)
    expect(buyer.credit()).toBe(hourPrice)
    const answer =
      retry === 'same signature' ? await next.ask(hour, signed(header, secret)) : await buyer.buy(hour)
    expect([retry, answer.status]).toEqual([retry, 200])
    await answer.text()
    expect([buyer.credit(), next.weather.sent]).toEqual([0n, []])
    next.expectSound()
    await next.close()
  }
})

test('a hub that dies between the ledger and its note of it credits a payment once', async () => {
  const shop = await openShop(onChain, { waitMs: 100 })
  const wallet = await onChain.newWallet(1_000_000n)
  const header = await shop.buyer(wallet).sign(hour)
  shop.weather.holding = true
  expect((await shop.ask(hour, signed(header, secret))).status).toBe(503)
  await shop.close()
  await shop.weather.release()
  const notes = join(shop.directory, 'x402.sqlite')
  copyFileSync(notes, `${notes}.before`)

  const next = await openShop(onChain, { directory: shop.directory })
  const served = await next.ask(hour, signed(header, secret))
  const bytes = await served.text()
  expect(served.status).toBe(200)
  await next.close()
  copyFileSync(`${notes}.before`, notes)

  const last = await openShop(onChain, { directory: shop.directory })
  const again = await last.ask(hour, signed(header, secret))
  expect([again.status, await again.text()]).toEqual([200, bytes])
  expect(last.sales.ledger.balance('world:x402')).toBe(-hourPrice)
  expect(last.buyer(wallet).credit()).toBe(0n)
  last.expectSound()
})

test('money that a stranger moved with a payment of which he knew counts as paid', async () => {
  const shop = await openShop(onChain, { waitMs: 100 })
  const wallet = await onChain.newWallet(1_000_000n)
  const header = await shop.buyer(wallet).sign(hour)
  shop.weather.holding = true
  expect((await shop.ask(hour, signed(header, secret))).status).toBe(503)
  const stranger = walletOf(onChain.chain, accountNumber(0))
  await stranger.send(onChain.asset, parseTransaction(shop.weather.sent[0]!).data!)
  const answer = await shop.ask(hour, signed(header, secret))
  expect(answer.status).toBe(200)
  await shop.weather.release()
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  expect(shop.sales.ledger.balance('world:x402')).toBe(-hourPrice)
  shop.expectSound()
})

test('a top-up gives a session key that buys without the chain, up to its amount', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const body = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ amountMicroUsd: 10_000 }),
  }
  const bad = await shop.ask('/v1/topup', { ...body, body: JSON.stringify({ amountMicroUsd: 9999 }) })
  expect(bad.status).toBe(400)
  const answer = await buyer.buy('/v1/topup', body)
  expect(answer.status).toBe(201)
  const made = (await answer.json()) as { key: string; creditMicroUsd: number; expires: string }
  expect(made).toMatchObject({ budgetMicroUsd: 10_000, creditMicroUsd: 10_000 })
  expect(Date.parse(made.expires)).toBe(nowMs + 86_400_000)
  shop.weather.down = true
  const bearer = { headers: { authorization: `Bearer ${made.key}` } }
  const bought = await shop.ask(hour, bearer)
  expect([bought.status, bought.headers.get('credits-remaining')]).toEqual([200, `${10_000n - hourPrice}`])
  const id = bought.headers.get('receipt-id')
  await bought.text()
  expect((await shop.ask(`/v1/receipts/${id}`, bearer)).status).toBe(200)
  expect((await shop.ask(`/v1/receipts/${id}`)).status).toBe(401)
  expect((await shop.ask('/v1/keys', bearer)).status).toBe(403)
  shop.expectSound()
})

test('a top-up whose answer was lost gives another key for the same money, and the first does not count any more', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const body = {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...secret },
    body: JSON.stringify({ amountMicroUsd: 10_000 }),
  }
  const header = await buyer.sign('/v1/topup', body)
  const paid = { ...body, headers: { ...body.headers, 'payment-signature': header } }
  const keys = []
  for (let n = 0; n < 2; n++) {
    const answer = await shop.ask('/v1/topup', paid)
    expect(answer.status).toBe(201)
    keys.push(((await answer.json()) as { key: string }).key)
  }
  const statuses = []
  for (const key of keys)
    statuses.push((await shop.ask(hour, { headers: { authorization: `Bearer ${key}` } })).status)
  expect(statuses).toEqual([401, 200])
  expect(buyer.credit()).toBe(10_000n - hourPrice)
  expect(shop.weather.sent).toHaveLength(1)
  shop.expectSound()
})

test('a price that rose while the payment was on its way is not asked for; an old one is', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const open = `/v1/readings?station=${stationB}&from=-60m`
  const header = await shop.buyer(wallet).sign(open)
  const newer = anHour().findLast(({ station }) => station === stationB)!
  await shop.world.store.write([{ ...newer, seq: 999, timeMs: nowMs - 1500 }])
  const dearer = await shop.ask(open)
  const required = decodePaymentRequiredHeader(dearer.headers.get('payment-required')!)
  const answer = await shop.ask(open, signed(header))
  expect(answer.status).toBe(200)
  expect(Number(answer.headers.get('price'))).toBeLessThan(Number(required.accepts[0]!.amount))
  expect(shop.sales.ledger.balance(`customer:x402-${wallet.address.toLowerCase()}`)).toBe(0n)
  shop.expectSound()
})
