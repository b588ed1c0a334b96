import { createHash } from 'node:crypto'
import { decode } from 'cborg'
import { Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { toHex } from '#gateway/reading/bytes.ts'
import { verifyJws } from '#gateway/reading/jws.ts'
import { stationId } from '#gateway/reading/key.ts'
import { signOwner } from '#gateway/reading/owner.ts'
import { verifySale } from '#gateway/reading/sale.ts'
import { signToken } from '#gateway/reading/token.ts'
import { openApi } from '#test/answers.ts'
import { anHour, nowMs, stationA, stationB } from '#test/market-world.ts'
import { hub, network, openShop } from '#test/sales/shop.ts'
import { newSigner } from '#test/station.ts'

const hour = `/v1/readings?station=${stationB}&from=${nowMs - 3_600_000}&to=${nowMs}`

// B has a reading of one value each minute: those of the last quarter of an hour cost 10, the others 5, and the base 100.
// Its first is scored 0.125, below any tier.
const hourPrice = 100n + 15n * 10n + 44n * 5n

test('without a key a query says what it costs, with an offer, and gives nothing', async () => {
  const { world } = await openShop()
  const response = await world.api.request(hour)
  expect(response.status).toBe(402)
  const problem = (await response.json()) as { type: string; payment: { offer: string } }
  expect(problem).toMatchObject({
    type: '/problems/payment-required',
    payment: { priceMicroUsd: Number(hourPrice), priceUsd: '0.000470' },
  })
  expect(problem.payment.offer.split('.')).toHaveLength(3)
  expect(JSON.stringify(problem)).not.toContain('-3.07')
})

test('a paid query gives data, price and receipt; the owner gets a share; the receipt binds what was given', async () => {
  const { signUp, sales, expectSound } = await openShop()
  const buyer = await signUp(1_000_000n)
  const response = await buyer.ask(hour)
  expect(response.status).toBe(200)
  const body = Buffer.from(await response.arrayBuffer())
  expect((JSON.parse(body.toString()) as { readings: unknown[] }).readings).toHaveLength(60)
  expect(response.headers.get('price')).toBe(`${hourPrice}`)
  expect(response.headers.get('credits-remaining')).toBe(`${1_000_000n - hourPrice}`)
  const digest = createHash('sha256').update(body).digest()
  expect(response.headers.get('content-digest')).toBe(`sha-256=:${digest.toString('base64')}:`)
  expect(buyer.credit()).toBe(1_000_000n - hourPrice)
  expect(sales.ledger.balance(`owner:${stationB}`)).toBe(((hourPrice - 100n) * 850n) / 1000n)
  expectSound()

  const id = response.headers.get('receipt-id')!
  const receipt = (await (await buyer.ask(`/v1/receipts/${id}`)).json()) as { cose: string; jws: string }
  const verified = verifySale(new Uint8Array(Buffer.from(receipt.cose, 'base64')), network, hub.publicKey)
  if (!verified.ok) return expect.fail(verified.detail)
  expect(verified.sale).toMatchObject({
    id,
    rows: 60,
    values: 60,
    priceMicroUsd: Number(hourPrice),
    rail: 'credits',
  })
  expect(toHex(verified.sale.response)).toBe(digest.toString('hex'))
  expect(verifyJws('groundtruth-sale+jwt', receipt.jws, hub.publicKey)).toMatchObject({
    id,
    response: digest.toString('hex'),
    shares: [{ station: stationB, microUsd: 314 }],
  })
  expect(verifyJws('groundtruth-offer+jwt', receipt.jws, hub.publicKey)).toBeUndefined()
  expect(verifyJws('groundtruth-sale+jwt', receipt.jws, newSigner().publicKey)).toBeUndefined()
})

test('what is sold as bytes is the same bytes when it is asked for again, and its receipt binds them', async () => {
  const { signUp, sales } = await openShop()
  const buyer = await signUp(1_000_000n)
  const bought = async (once: string) => {
    const response = await buyer.ask(`${hour}&format=cbor`, { 'idempotency-key': once })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/cbor')
    const body = new Uint8Array(await response.arrayBuffer())
    const digest = createHash('sha256').update(body).digest('base64')
    expect(response.headers.get('content-digest')).toBe(`sha-256=:${digest}:`)
    return { body, id: response.headers.get('receipt-id')! }
  }
  const first = await bought('bytes-once')
  expect((decode(first.body) as { readings: unknown[] }).readings).toHaveLength(60)
  expect(await bought('bytes-once')).toEqual(first)
  expect(buyer.credit()).toBe(1_000_000n - hourPrice)
  const { receipt } = sales.sale(buyer.customer, first.id)!
  const verified = verifySale(receipt, network, hub.publicKey)
  if (!verified.ok) return expect.fail(verified.detail)
  expect(toHex(verified.sale.response)).toBe(createHash('sha256').update(first.body).digest('hex'))
})

test('nobody else sees a receipt', async () => {
  const { signUp } = await openShop()
  const [buyer, other] = [await signUp(1_000_000n), await signUp(0n)]
  const id = (await buyer.ask(hour)).headers.get('receipt-id')!
  expect((await other.ask(`/v1/receipts/${id}`)).status).toBe(404)
})

test('a retry with the same Idempotency-Key gives the same bytes for nothing, and another query a conflict', async () => {
  const { signUp, clock } = await openShop()
  const buyer = await signUp(1_000_000n)
  const once = { 'idempotency-key': 'order-12345' }
  const first = await (await buyer.ask('/v1/readings?from=-30m', once)).text()
  const left = buyer.credit()
  clock.nowMs += 60_000
  const second = await buyer.ask('/v1/readings?from=-30m', once)
  expect(await second.text()).toBe(first)
  expect(buyer.credit()).toBe(left)
  const other = await buyer.ask('/v1/readings?from=-20m', once)
  expect([other.status, buyer.credit()]).toEqual([409, left])
  // Without the key it is another order.
  await (await buyer.ask('/v1/readings?from=-30m')).text()
  expect(buyer.credit()).toBeLessThan(left)
})

test('what was taken once is not paid back when it is asked for again and left', async () => {
  const { signUp, expectSound } = await openShop()
  const buyer = await signUp(1_000_000n)
  const once = { 'idempotency-key': 'order-12345' }
  await (await buyer.ask(hour, once)).text()
  const left = buyer.credit()
  const again = await buyer.ask(hour, once)
  await again.body!.cancel()
  expect(buyer.credit()).toBe(left)
  const part = await buyer.ask(`${hour}&limit=50`)
  const reader = part.body!.getReader()
  await reader.read()
  await reader.cancel()
  const rest = buyer.credit()
  await (await buyer.ask(`${hour}&limit=50`)).body!.cancel()
  expect(buyer.credit()).toBe(rest)
  expectSound()
})

test('later pages are of what there was when it was bought: what came since is not paid by it', async () => {
  const { signUp, clock, world } = await openShop()
  const buyer = await signUp(1_000_000n)
  const query = `/v1/readings?station=${stationB}&from=${nowMs - 3_600_000}&to=${nowMs + 86_400_000}`
  type Page = { readings: { time: string }[]; next: string | null; to: string }
  const first = (await (await buyer.ask(`${query}&limit=50`)).json()) as Page
  const left = buyer.credit()
  clock.nowMs += 3_600_000
  await world.store.write(
    Array.from({ length: 40 }, (_, at) => ({
      ...anHour()[1]!,
      score: 1,
      seq: 5000 + at,
      timeMs: nowMs + 60_000 + at * 1000,
    })),
  )
  const times: string[] = []
  for (let next = first.next; next !== null; ) {
    const response = await buyer.ask(`${query}&limit=4&cursor=${next}`)
    const page = (await response.json()) as Page
    expect([response.headers.get('price'), page.to]).toEqual(['0', first.to])
    times.push(...page.readings.map(({ time }) => time))
    next = page.next
  }
  expect(times).toHaveLength(10)
  expect(times.every((time) => Date.parse(time) < nowMs)).toBe(true)
  expect(buyer.credit()).toBe(left)
})

test('a hundred of the same order at once are one sale', async () => {
  const { signUp, expectSound } = await openShop()
  const buyer = await signUp(1_000_000n)
  const once = { 'idempotency-key': 'order-12345' }
  // More than run and wait at once are told to come again.
  const answers = await Promise.all(Array.from({ length: 60 }, () => buyer.ask(hour, once)))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect(new Set(answers.map(({ headers }) => headers.get('receipt-id'))).size).toBe(1)
  expect(buyer.credit()).toBe(1_000_000n - hourPrice)
  expectSound()
})

test('the first page pays for all, and a cursor that was made longer pays for itself', async () => {
  const { signUp } = await openShop()
  const buyer = await signUp(1_000_000n)
  type Page = { readings: unknown[]; next: string | null }
  let page = (await (await buyer.ask(`${hour}&limit=25`)).json()) as Page
  const first = page.next!
  let rows = page.readings.length
  while (page.next !== null) {
    const response = await buyer.ask(`${hour}&limit=25&cursor=${page.next}`)
    expect(response.headers.get('price')).toBe('0')
    expect(response.headers.get('cache-control')).toBe('private, no-cache')
    page = (await response.json()) as Page
    rows += page.readings.length
  }
  expect([rows, buyer.credit()]).toEqual([60, 1_000_000n - hourPrice])

  const fields = JSON.parse(Buffer.from(first, 'base64url').toString()) as (string | number)[]
  fields[0] = 0
  const forged = fields.slice(0, -1)
  const span = [{ ms: nowMs - 3_600_000 }, { ms: nowMs }]
  const asked = JSON.stringify([[stationB], null, null, null, ...span, null, null])
  const text = JSON.stringify([asked, [stationB]])
  const check = createHash('sha256')
    .update(JSON.stringify([text, ...forged]))
    .digest('base64url')
    .slice(0, 16)
  const cursor = Buffer.from(JSON.stringify([...forged, check])).toString('base64url')
  const stretched = await buyer.ask(`${hour}&limit=25&cursor=${cursor}`)
  expect(stretched.status).toBe(413) // from 1970 on: more than a year
  fields[0] = nowMs - 7_200_000
  const other = fields.slice(0, -1)
  const sum = createHash('sha256')
    .update(JSON.stringify([text, ...other]))
    .digest('base64url')
    .slice(0, 16)
  const longer = Buffer.from(JSON.stringify([...other, sum])).toString('base64url')
  const paid = await buyer.ask(`${hour}&limit=25&cursor=${longer}`)
  expect(Number(paid.headers.get('price'))).toBeGreaterThan(0)
  await paid.text()
})

test('what somebody has already, a look at the headers, empty answers and poor data cost nothing', async () => {
  const { signUp } = await openShop()
  const buyer = await signUp(1_000_000n)
  const first = await buyer.ask(hour)
  await first.text()
  const left = buyer.credit()
  const same = await buyer.ask(hour, { 'if-none-match': first.headers.get('etag')! })
  expect([same.status, buyer.credit()]).toEqual([304, left])
  const head = await buyer.ask(hour, {}, 'HEAD')
  expect([head.status, head.headers.get('price'), buyer.credit()]).toEqual([200, `${hourPrice}`, left])
  const empty = await buyer.ask(
    `/v1/readings?station=${stationB}&from=${nowMs - 9_000_000}&to=${nowMs - 8_000_000}`,
  )
  expect([empty.status, empty.headers.get('price'), buyer.credit()]).toEqual([200, '0', left])
  // The one reading scored 0.125 is below any tier.
  const poor = await buyer.ask(
    `/v1/readings?station=${stationA}&from=${nowMs - 3_600_000}&to=${nowMs - 3_599_000}`,
  )
  expect([poor.status, poor.headers.get('price')]).toEqual([200, '0'])
  const none = await buyer.ask(
    `/v1/readings?station=${stationA}&from=${nowMs - 3_600_000}&to=${nowMs - 3_599_000}&min_quality=0.5`,
  )
  expect(((await none.json()) as { readings: unknown[] }).readings).toEqual([])
})

test('the tag of an answer that is not paid yet is no hash of it that can be tried with all values', async () => {
  const { world, signUp } = await openShop()
  const mean = `/v1/readings?station=${stationB}&quantity=temperature&every=1h&from=${nowMs - 3_600_000}&to=${nowMs}`
  const told = (await world.api.request(mean, { method: 'HEAD' })).headers.get('etag')
  expect(told).toMatch(/^"[\w-]{24}"$/)
  // The same answer of a hub that sells nothing, whose tags anybody can make.
  const { till: _, ...deps } = world.deps
  const free = openApi({ ...deps, metrics: new Registry() })
  expect((await free.request(mean)).headers.get('etag')).not.toBe(told)
  const buyer = await signUp(1_000_000n)
  const bought = await buyer.ask(mean)
  await bought.text()
  expect(bought.headers.get('etag')).toBe(told)
  expect((await buyer.ask(mean, { 'if-none-match': told! })).status).toBe(304)
})

test('an account without credit and a key without budget get a price, and are not charged', async () => {
  const { signUp, world, expectSound } = await openShop()
  const poor = await signUp(hourPrice - 1n)
  const answer = await poor.ask(hour)
  expect(answer.status).toBe(402)
  expect(await answer.json()).toMatchObject({
    type: '/problems/credit-exhausted',
    payment: { priceMicroUsd: Number(hourPrice), balanceMicroUsd: Number(hourPrice) - 1 },
  })
  const tight = await signUp(1_000_000n, { budgetMicroUsd: Number(hourPrice) + 1 })
  expect((await tight.ask(hour)).headers.get('budget-remaining')).toBe('1')
  const spent = await tight.ask(hour, { 'idempotency-key': 'another-order' })
  expect([spent.status, tight.credit()]).toEqual([402, 1_000_000n - hourPrice])
  expect(await spent.json()).toMatchObject({ type: '/problems/budget-exhausted' })
  expectSound()
  const otherSecret = `${tight.key.slice(0, -4)}AAAA`
  for (const text of ['gt_0123456789abcdef_'.padEnd(63, 'x'), otherSecret, `${tight.key}x`, 'x'])
    expect((await world.api.request(hour, { headers: { authorization: `Bearer ${text}` } })).status).toBe(401)
})

test('an offer binds the hub to a price, for its query, until it ends', async () => {
  const { signUp, world, clock } = await openShop()
  const buyer = await signUp(1_000_000n)
  const query = hour.slice(hour.indexOf('?'))
  const quote = await world.api.request(`/v1/quotes${query}`, { method: 'POST' })
  expect(quote.status).toBe(200)
  const { offer, ...said } = (await quote.json()) as { offer: string }
  expect(said).toMatchObject({ rows: 60, values: 60, priceMicroUsd: Number(hourPrice) })
  const paid = await buyer.ask(hour, { offer })
  expect([paid.status, paid.headers.get('price')]).toEqual([200, `${hourPrice}`])
  await paid.text()
  for (const [url, header] of [
    [`${hour}&quantity=temperature`, offer],
    [hour, `${offer.slice(0, -4)}AAAA`],
  ] as const)
    expect((await buyer.ask(url, { offer: header })).status).toBe(409)
  clock.nowMs += 16 * 60_000
  expect((await buyer.ask(hour, { offer })).status).toBe(409)
})

test('what is measured after an offer was made, or after a purchase, is neither offered nor proved by it', async () => {
  const { signUp, world, clock } = await openShop()
  const buyer = await signUp(1_000_000n)
  const span = `station=${stationB}&from=${nowMs}&to=${nowMs + 600_000}`
  const quote = await world.api.request(`/v1/quotes?${span}`, { method: 'POST' })
  const { offer, priceMicroUsd } = (await quote.json()) as { offer: string; priceMicroUsd: number }
  expect(priceMicroUsd).toBe(0)
  await world.store.write([{ ...anHour()[1]!, score: 1, seq: 5000, timeMs: nowMs + 60_000 }])
  clock.nowMs += 120_000
  const cheap = await buyer.ask(`/v1/readings?${span}`, { offer })
  expect(cheap.status).toBe(409)
  const bought = await buyer.ask(`/v1/readings?${span}`)
  expect(bought.headers.get('price')).toBe('110')
  await bought.text()
  const id = bought.headers.get('receipt-id')
  const bundle = await buyer.ask(`/v1/receipts/${id}/bundle?to=${nowMs + 300_000}`)
  expect(((await bundle.json()) as { type: string }).type).toBe('/problems/invalid-query')
})

test('readings of one’s own station are free for whoever shows its key', async () => {
  const owner = newSigner()
  const station = stationId(owner.publicKey)
  const own = anHour().map((one) => (one.station === stationB ? { ...one, station } : one))
  const { signUp, world } = await openShop(undefined, undefined, own)
  const [buyer, stranger] = [await signUp(0n), await signUp(0n)]
  const url = hour.replace(stationB, station)
  expect((await buyer.ask(url)).status).toBe(402)
  const show = async ({ key }: typeof buyer, claim: string) => {
    const shown = await world.api.request('/v1/account/stations', {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ station, claim }),
    })
    return shown.status
  }
  // Of another station, what a broker sees, for another account, of another network, of yesterday: none is a claim.
  for (const claim of [
    signOwner(network, newSigner(), stranger.customer, nowMs),
    signToken(network, owner, nowMs),
    signOwner(network, owner, buyer.customer, nowMs),
    signOwner('othernet', owner, stranger.customer, nowMs),
    signOwner(network, owner, stranger.customer, nowMs - 25 * 3_600_000),
  ])
    expect(await show(stranger, claim)).toBe(400)
  expect(await show(buyer, signOwner(network, owner, buyer.customer, nowMs))).toBe(200)
  const free = await buyer.ask(url)
  expect([free.status, free.headers.get('price')]).toEqual([200, '0'])
  expect((await stranger.ask(url)).status).toBe(402)
  // The proof of it, too; this world has no evidence to make one of.
  const proof = `/v1/bundle?station=${station}&from=-1h`
  expect((await buyer.ask(proof)).status).toBe(404)
  expect((await stranger.ask(proof)).status).toBe(402)
  expect((await buyer.ask('/v1/bundle?from=-1h')).status).toBe(402)
  expect((await world.api.request(proof)).status).toBe(401)
})

test('a body that broke off is given again, and one that nobody took is paid back', async () => {
  const { signUp, expectSound } = await openShop()
  const buyer = await signUp(1_000_000n)
  const broken = await buyer.ask(hour)
  const reader = broken.body!.getReader()
  const { value } = await reader.read()
  expect(value!.length).toBeGreaterThan(0)
  await reader.cancel()
  const again = await buyer.ask(hour)
  expect(again.headers.get('receipt-id')).toBe(broken.headers.get('receipt-id'))
  expect(
    createHash('sha256')
      .update(Buffer.from(await again.arrayBuffer()))
      .digest('base64'),
  ).toBe(again.headers.get('content-digest')!.slice(9, -1))
  expect(buyer.credit()).toBe(1_000_000n - hourPrice)

  const untouched = await buyer.ask(`${hour}&limit=30`)
  await untouched.body!.cancel()
  expect(buyer.credit()).toBe(1_000_000n - hourPrice)
  expectSound()
})

test('what a hub had sold when it died and not served is paid back when it starts', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n, { budgetMicroUsd: 1000 })
  await buyer.ask(hour)
  expect(buyer.credit()).toBe(1_000_000n - hourPrice)
  await shop.close()
  const { sales, expectSound } = await openShop(shop.path)
  expect(sales.ledger.balance(`customer:${buyer.customer}`)).toBe(1_000_000n)
  expect(sales.keys.list(buyer.customer)[0]!.spent).toBe(0n)
  expect(sales.list(buyer.customer, 10)[0]!.state).toBe('refunded')
  expectSound()
})

test('keys are listed without secrets, revoked for good, and do only what their scope says', async () => {
  const { signUp, world } = await openShop()
  const buyer = await signUp(1_000_000n)
  const reader = await world.api.request('/v1/keys', {
    method: 'POST',
    headers: { authorization: `Bearer ${buyer.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ label: 'for a page', scopes: ['read'] }),
  })
  const { key, id } = (await reader.json()) as { key: string; id: string }
  const list = await (await buyer.ask('/v1/keys')).text()
  expect((JSON.parse(list) as { keys: { label: string }[] }).keys.map(({ label }) => label).sort()).toEqual([
    '',
    'for a page',
  ])
  expect(list).not.toContain(key)
  const bearer = { authorization: `Bearer ${key}` }
  expect((await world.api.request('/v1/keys', { headers: bearer })).status).toBe(403)
  expect((await world.api.request(hour, { headers: bearer })).status).toBe(200)
  expect((await buyer.ask(`/v1/keys/${id}`, {}, 'DELETE')).status).toBe(204)
  expect((await world.api.request(hour, { headers: bearer })).status).toBe(401)
})

test('the account’s statement adds up to its credit', async () => {
  const { signUp } = await openShop()
  const buyer = await signUp(1_000_000n)
  await (await buyer.ask(hour)).text()
  await (await buyer.ask('/v1/latest')).text()
  const { entries } = (await (await buyer.ask('/v1/usage')).json()) as {
    entries: { amountMicroUsd: number; kind: string }[]
  }
  expect(entries.map(({ kind }) => kind)).toEqual(['sale', 'sale', 'credit'])
  expect(entries.reduce((sum, { amountMicroUsd }) => sum + amountMicroUsd, 0)).toBe(Number(buyer.credit()))
})

test('an order that was paid back is placed again with its Idempotency-Key, and charged once', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  const once = { 'idempotency-key': 'order-12345' }
  await buyer.ask(hour, once)
  await shop.close()
  const { world, sales, expectSound } = await openShop(shop.path)
  const headers = { authorization: `Bearer ${buyer.key}`, ...once }
  for (let times = 0; times < 2; times++) {
    const again = await world.api.request(hour, { headers })
    expect([again.status, (await again.text()).length]).toEqual([200, expect.any(Number)])
  }
  expect(sales.ledger.balance(`customer:${buyer.customer}`)).toBe(1_000_000n - hourPrice)
  expectSound()
})

test('a key that there is not, and one with another secret, are answered alike, revoked or not', async () => {
  const { signUp, world } = await openShop()
  const [buyer, gone] = [await signUp(0n), await signUp(0n)]
  await gone.ask(`/v1/keys/${gone.id}`, {}, 'DELETE')
  const secret = 'A'.repeat(43)
  const answers = await Promise.all(
    ['0123456789abcdef', buyer.id, gone.id].map(async (id) => {
      const answer = await world.api.request(hour, {
        headers: { authorization: `Bearer gt_${id}_${secret}` },
      })
      return [answer.status, [...answer.headers], await answer.text()]
    }),
  )
  expect(answers[1]).toEqual(answers[0])
  expect(answers[2]).toEqual(answers[0])
  expect((await gone.ask(hour)).status).toBe(401)
})
