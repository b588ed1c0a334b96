import { once } from 'node:events'
import { chmodSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import Stripe from 'stripe'
import { expect, onTestFinished, test } from 'vitest'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openStripe } from '#gateway/sales/stripe.ts'
import { openSelling } from '#gateway/selling.ts'
import { start } from '#test/kill/process.ts'
import { nowMs, openWorld } from '#test/market-world.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const secretKey = 'sk_test_abcdefghijklmnop0123456789'
const webhookSecret = 'whsec_test0123456789'

/** Plays api.stripe.com on loopback: opens sessions, or is out of order. */
const openFakeStripe = async () => {
  const asked: { form: URLSearchParams; key: string; once: string }[] = []
  const behaviour = { status: 200 }
  const bodyOf = async (request: IncomingMessage) => {
    let text = ''
    for await (const chunk of request) text += chunk
    return text
  }
  const server = createServer(async (request, response) => {
    const form = new URLSearchParams(await bodyOf(request))
    asked.push({
      form,
      key: request.headers.authorization ?? '',
      once: String(request.headers['idempotency-key']),
    })
    response.setHeader('content-type', 'application/json')
    response.statusCode = request.url === '/v1/checkout/sessions' ? behaviour.status : 404
    if (response.statusCode !== 200)
      return response.end(
        JSON.stringify({ error: { type: 'api_error', message: `broken for ${secretKey}` } }),
      )
    const id = `cs_test_${asked.length}`
    response.end(JSON.stringify({ id, object: 'checkout.session', url: `https://checkout.test/${id}` }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  onTestFinished(close)
  return { apiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, behaviour, close }
}

const openShop = async () => {
  const fake = await openFakeStripe()
  const hub = newSigner()
  const cards = await openStripe({
    secretKey,
    webhookSecret,
    successUrl: 'https://shop.test/thanks',
    cancelUrl: 'https://shop.test/pity',
    apiUrl: fake.apiUrl,
  })
  const selling = openSelling({
    path: join(temporaryDirectory(), 'sales.sqlite'),
    network: 'testnet',
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 0n,
    nowMs: () => nowMs,
    cards,
  })
  const world = await openWorld({ till: selling.till, hubKey: hub.publicKey })
  onTestFinished(async () => {
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  const { ledger } = selling.till.sales
  const post = (url: string, body: string, headers: Record<string, string> = {}) =>
    world.api.request(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    })
  const signUp = async (wanted = '{}') => {
    const made = (await (await post('/v1/keys', wanted)).json()) as { key: string }
    const found = selling.till.sales.keys.find(made.key, nowMs)
    if (!found.ok) return expect.fail(found.reason)
    const { customer } = found.key
    const checkout = (amountUsd: unknown) =>
      post('/v1/checkout', JSON.stringify({ amountUsd }), { authorization: `Bearer ${made.key}` })
    return { customer, checkout, credit: () => ledger.balance(`customer:${customer}`) }
  }
  const sign = (payload: string, ageS = 0, secret = webhookSecret) =>
    Stripe.webhooks.generateTestHeaderString({
      payload,
      secret,
      timestamp: Math.floor(nowMs / 1000) - ageS,
    })
  const send = async (payload: string, signature = sign(payload)) => {
    const response = await post('/v1/webhooks/stripe', payload, { 'stripe-signature': signature })
    return { status: response.status, said: (await response.json()) as Record<string, unknown> }
  }
  let events = 0
  const event = (type: string, object: object) =>
    JSON.stringify({
      id: `evt_${events++}`,
      object: 'event',
      type,
      created: Math.floor(nowMs / 1000),
      data: { object },
    })
  /** A session as its event tells it, ten dollars of a customer. */
  const session = (customer: string, more: object = {}) => ({
    id: 'cs_test_1',
    object: 'checkout.session',
    client_reference_id: customer,
    metadata: { customer },
    amount_total: 1000,
    currency: 'usd',
    payment_status: 'paid',
    payment_intent: 'pi_1',
    ...more,
  })
  const completed = 'checkout.session.completed'
  const paid = (customer: string, more: object = {}) => event(completed, session(customer, more))
  const expectSound = () => expect(ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
  return { fake, world, ledger, signUp, sign, send, event, session, paid, expectSound }
}

test('a session is opened for a key’s customer, and credit comes when Stripe tells that it was paid', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp()
  const opened = await buyer.checkout(10)
  expect([opened.status, await opened.json()]).toEqual([
    201,
    { id: 'cs_test_1', url: 'https://checkout.test/cs_test_1' },
  ])
  const { form, key, once: name } = shop.fake.asked[0]!
  expect(key).toBe(`Bearer ${secretKey}`)
  expect(Object.fromEntries(form)).toMatchObject({
    mode: 'payment',
    client_reference_id: buyer.customer,
    'metadata[customer]': buyer.customer,
    'metadata[groundtruth_order]': name,
    'line_items[0][price_data][unit_amount]': '1000',
    'line_items[0][price_data][currency]': 'usd',
    success_url: 'https://shop.test/thanks',
  })
  expect(buyer.credit()).toBe(0n)
  expect(await shop.send(shop.paid(buyer.customer))).toEqual({ status: 200, said: { done: 'credited' } })
  expect(buyer.credit()).toBe(10_000_000n)
  shop.expectSound()
})

test('one session is credited once: the same event again, and another event of it', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp()
  await buyer.checkout(10)
  const payload = shop.paid(buyer.customer)
  await shop.send(payload)
  const late = shop.event('checkout.session.async_payment_succeeded', shop.session(buyer.customer))
  for (const again of [payload, late, shop.paid(buyer.customer)])
    expect(await shop.send(again)).toEqual({ status: 200, said: { done: 'already' } })
  expect(buyer.credit()).toBe(10_000_000n)
  shop.expectSound()
})

test('a session that completes unpaid is credited when its payment succeeds', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp()
  await buyer.checkout(10)
  const unpaid = shop.paid(buyer.customer, { payment_status: 'unpaid' })
  expect(await shop.send(unpaid)).toEqual({ status: 200, said: { done: 'ignored' } })
  expect(buyer.credit()).toBe(0n)
  await shop.send(shop.event('checkout.session.async_payment_succeeded', shop.session(buyer.customer)))
  expect(buyer.credit()).toBe(10_000_000n)
})

test('an event that is tampered with, old, or signed by another credits nothing', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp()
  await buyer.checkout(10)
  const payload = shop.paid(buyer.customer)
  for (const [body, signature] of [
    [payload.replace('1000', '9000'), shop.sign(payload)],
    [payload, shop.sign(payload, 600)],
    [payload, shop.sign(payload, 0, 'whsec_other')],
    [payload, 't=1,v1=00'],
  ] as const) {
    const { status, said } = await shop.send(body, signature)
    expect([status, said.type]).toEqual([400, '/problems/webhook-invalid'])
    expect(JSON.stringify(said)).not.toMatch(/whsec|sk_test/)
  }
  expect(buyer.credit()).toBe(0n)
  expect((await shop.send(payload, shop.sign(payload, 290))).status).toBe(200)
})

test('an event of another customer, amount, currency or session credits nothing', async () => {
  const shop = await openShop()
  const [buyer, other] = [await shop.signUp(), await shop.signUp()]
  await buyer.checkout(10)
  for (const wrong of [
    { client_reference_id: other.customer },
    { metadata: { customer: other.customer } },
    { client_reference_id: null },
    { metadata: null },
    { amount_total: 1001 },
    { amount_total: null },
    { currency: 'jpy' },
    { currency: null },
  ])
    expect((await shop.send(shop.paid(buyer.customer, wrong))).status).toBe(400)
  expect(await shop.send(shop.paid(buyer.customer, { id: 'cs_test_2' }))).toEqual({
    status: 200,
    said: { done: 'ignored' },
  })
  expect(await shop.send(shop.event('customer.created', {}))).toMatchObject({ status: 200 })
  expect([buyer.credit(), other.credit()]).toEqual([0n, 0n])
  expect([...shop.ledger.lines()]).toEqual([])
})

test('refunds take credit back once, as far as there is; the rest is the hub’s loss', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp()
  await buyer.checkout(10)
  const refund = (amount_refunded: number) =>
    shop.event('charge.refunded', { id: 'ch_1', payment_intent: 'pi_1', amount_refunded, metadata: {} })
  const early = shop.event('charge.refunded', {
    id: 'ch_1',
    payment_intent: 'pi_1',
    amount_refunded: 300,
    metadata: { groundtruth_order: shop.fake.asked[0]!.once },
  })
  expect(await shop.send(early)).toMatchObject({ status: 409 })
  await shop.send(shop.paid(buyer.customer))
  expect(await shop.send(early)).toMatchObject({ said: { done: 'taken-back' } })
  expect(buyer.credit()).toBe(7_000_000n)
  expect(await shop.send(refund(300))).toMatchObject({ said: { done: 'already' } })
  shop.ledger.post({
    request: 'spent',
    kind: 'sale',
    timeMs: 1,
    memo: '',
    entries: [
      { account: `customer:${buyer.customer}`, amount: -6_000_000n },
      { account: 'hub:income', amount: 6_000_000n },
    ],
  })
  expect(await shop.send(refund(1000))).toMatchObject({ said: { done: 'taken-back' } })
  // Told late, of a total that was passed.
  expect(await shop.send(refund(500))).toMatchObject({ said: { done: 'already' } })
  expect([buyer.credit(), shop.ledger.balance('hub:card-loss'), shop.ledger.balance('world:stripe')]).toEqual(
    [0n, -6_000_000n, 0n],
  )
  shop.expectSound()
})

test('a dispute takes credit back, and one that is won gives it again', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp()
  await buyer.checkout(10)
  await shop.send(shop.paid(buyer.customer))
  const dispute = (what: string, status: string) =>
    shop.event(`charge.dispute.${what}`, { id: 'dp_1', payment_intent: 'pi_1', amount: 1000, status })
  const say = async (what: string, status: string) => (await shop.send(dispute(what, status))).said.done
  expect(await say('created', 'warning_needs_response')).toBe('ignored')
  expect([await say('created', 'needs_response'), buyer.credit()]).toEqual(['taken-back', 0n])
  expect(await say('funds_withdrawn', 'needs_response')).toBe('already')
  expect(await say('closed', 'lost')).toBe('ignored')
  // Not taken a second time as a refund.
  const refund = { id: 'ch_1', payment_intent: 'pi_1', amount_refunded: 1000, metadata: {} }
  expect(await shop.send(shop.event('charge.refunded', refund))).toMatchObject({ said: { done: 'already' } })
  expect(shop.ledger.balance('hub:card-loss')).toBe(0n)
  expect([await say('closed', 'won'), buyer.credit()]).toEqual(['given-again', 10_000_000n])
  expect([await say('funds_reinstated', 'won'), buyer.credit()]).toEqual(['already', 10_000_000n])
  expect(await shop.send(shop.event('charge.refunded', refund))).toMatchObject({
    said: { done: 'taken-back' },
  })
  expect(buyer.credit()).toBe(0n)
  shop.expectSound()
})

test('Stripe out of order or away is a clear problem, tells no secret, and credits nothing', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp()
  const answersBadly = () => {
    shop.fake.behaviour.status = 500
  }
  for (const breakIt of [answersBadly, shop.fake.close]) {
    breakIt()
    const answer = await buyer.checkout(10)
    const said = await answer.text()
    expect([answer.status, said]).toEqual([503, expect.stringContaining('/problems/checkout-unavailable')])
    expect(said + shop.world.reported.map(String)).not.toContain('sk_test')
  }
  expect([...shop.ledger.lines()]).toEqual([])
})

test('a session needs a key of the account, and an amount in whole cents', async () => {
  const shop = await openShop()
  const reader = await shop.signUp('{"scopes":["read"]}')
  expect((await reader.checkout(10)).status).toBe(403)
  const buyer = await shop.signUp()
  for (const wrong of [0, -1, 0.5, 10.001, 10_001, '10', null])
    expect((await buyer.checkout(wrong)).status).toBe(400)
  expect(shop.fake.asked).toEqual([])
  expect((await buyer.checkout(10.29)).status).toBe(201)
  expect(shop.fake.asked[0]!.form.get('line_items[0][price_data][unit_amount]')).toBe('1029')
})

test('a hub without cards has no such routes', async () => {
  await using world = await openWorld()
  expect((await world.api.request('/v1/checkout', { method: 'POST' })).status).toBe(404)
})

test('a hub takes its secrets from files that nobody else may read, and money from a socket', {
  timeout: 60_000,
}, async () => {
  const fake = await openFakeStripe()
  const data = temporaryDirectory()
  const file = (name: string, secret: string) => {
    const path = join(data, name)
    writeFileSync(path, `${secret}\n`, { mode: 0o600 })
    return path
  }
  const secretKeyFile = file('key', secretKey)
  const setting = 'GROUNDTRUTH_HUB__MARKET__STRIPE__'
  const env = {
    GROUNDTRUTH_HUB__MARKET__SELL: 'true',
    [`${setting}SECRETKEYFILE`]: secretKeyFile,
    [`${setting}WEBHOOKSECRETFILE`]: file('webhook', webhookSecret),
    [`${setting}SUCCESSURL`]: 'https://shop.test/thanks',
    [`${setting}APIURL`]: fake.apiUrl,
  }
  const ports = ['--http-port', '0', '--mqtt-port', '0', '--rpc-port', '0', '--data', data]
  const startHub = (more: Record<string, string>) => {
    const hub = start(['hub', ...ports], { ...env, ...more })
    onTestFinished(async () => void (await hub.stop('SIGKILL')))
    return hub
  }
  const ended = async (more: Record<string, string>) => {
    const hub = startHub(more)
    const [code] = (await once(hub.child, 'close')) as [number]
    return { code, said: hub.said() }
  }
  expect(await ended({})).toMatchObject({
    code: 78,
    said: expect.stringContaining('hub.market.stripe.cancelUrl: expected a value'),
  })
  const whole = { [`${setting}CANCELURL`]: 'https://shop.test/pity' }
  chmodSync(secretKeyFile, 0o644)
  const open = await ended(whole)
  expect(open).toMatchObject({ code: 78, said: expect.stringContaining(`chmod 600 ${secretKeyFile}`) })
  chmodSync(secretKeyFile, 0o600)

  const hub = startHub(whole)
  const { http } = JSON.parse(await hub.firstLine) as { http: string }
  const post = async (path: string, body: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`${http}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    })
    return { status: response.status, limit: response.headers.get('ratelimit'), said: await response.json() }
  }
  const made = await post('/v1/keys', '{}')
  expect(made.limit).toMatch(/^"address";r=\d+;t=\d+, "sign-up";r=19;t=180$/)
  const headers = { authorization: `Bearer ${(made.said as { key: string }).key}` }
  const accountOf = async () =>
    (await (await fetch(`${http}/v1/account`, { headers })).json()) as {
      account: string
      creditMicroUsd: number
    }
  const { account } = await accountOf()
  const { id } = (await post('/v1/checkout', '{"amountUsd":10}', headers)).said as { id: string }
  const payload = JSON.stringify(
    {
      id: 'evt_1',
      object: 'event',
      type: 'checkout.session.completed',
      data: {
        object: {
          id,
          client_reference_id: account,
          metadata: { customer: account },
          amount_total: 1000,
          currency: 'usd',
          payment_status: 'paid',
          payment_intent: 'pi_1',
        },
      },
    },
    null,
    2,
  )
  const signature = Stripe.webhooks.generateTestHeaderString({ payload, secret: webhookSecret })
  expect(await post('/v1/webhooks/stripe', payload, { 'stripe-signature': signature })).toMatchObject({
    status: 200,
    said: { done: 'credited' },
  })
  expect((await accountOf()).creditMicroUsd).toBe(10_000_000)
  const operator = start(['market', 'credit', account, '2.5', '--memo', 'a gift', '--data', data], {})
  expect(await once(operator.child, 'close')).toEqual([0, null])
  expect((await accountOf()).creditMicroUsd).toBe(12_500_000)
  expect(hub.said() + open.said).not.toMatch(/sk_test|whsec/)
  expect(await hub.stop('SIGTERM')).toBe(0)
})
