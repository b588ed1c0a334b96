import { decodePaymentRequiredHeader, encodePaymentRequiredHeader } from '@x402/core/http'
import { wrapFetchWithPayment } from '@x402/fetch'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { type ClientOptions, openClient } from '#gateway/client/client.ts'
import { makeDirectory } from '#test/anchor-world.ts'
import { many } from '#test/client-world.ts'
import { nowMs, stationB } from '#test/market-world.ts'
import { openShop, openTokenChain, type TokenChain, type Wallet } from '#test/sales/x402-world.ts'

const hourOfB = { station: stationB, from: nowMs - 3_600_000, to: nowMs } as const
const hourPrice = 470n

const directory = makeDirectory()
let onChain: TokenChain
beforeAll(async () => {
  onChain = await openTokenChain(directory.path)
}, 60_000)
afterAll(async () => {
  await onChain.close()
  directory.remove()
})

type Shop = Awaited<ReturnType<typeof openShop>>

/** A client whose wallet pays on the spot, behind `between`; `signed` are the payments that it sent. */
const openBuyer = (
  shop: Shop,
  wallet: Wallet,
  options: Partial<ClientOptions> = {},
  between: (request: Request, hub: (request: Request) => Promise<Response>) => Promise<Response> = (
    request,
    hub,
  ) => hub(request),
) => {
  const signed: string[] = []
  const hub = openClient({
    url: 'http://shop.test',
    fetch: async (input, init) => {
      const request = new Request(input, init)
      const payment = request.headers.get('payment-signature')
      if (payment !== null) signed.push(payment)
      return between(request, async (passed) => shop.world.api.fetch(passed))
    },
    pay: (fetch) => wrapFetchWithPayment(fetch, shop.buyer(wallet).client),
    ...options,
  })
  return { hub, signed }
}

test('pays on the spot what was quoted, and with a top-up has receipts and budget too', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const { hub, signed } = openBuyer(shop, wallet)
  const bought = await hub.buy(hourOfB)
  expect(await bought.all()).toHaveLength(60)
  expect(bought).toMatchObject({
    priceMicroUsd: hourPrice,
    receipt: { id: bought.receiptId, rail: 'x402', priceMicroUsd: Number(hourPrice) },
  })
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  expect(signed).toHaveLength(1)

  const session = await hub.topUp({ amountMicroUsd: 20_000n })
  expect(session).toMatchObject({ budgetMicroUsd: 20_000n, creditMicroUsd: 20_000n })
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice - 20_000n)
  expect((await hub.receipt(bought.receiptId!)).priceMicroUsd).toBe(hourPrice)
  const again = await hub.buy(hourOfB)
  expect(again.receipt).toMatchObject({ id: again.receiptId, rail: 'credits' })
  expect(await hub.budget()).toMatchObject({ leftMicroUsd: 20_000n - hourPrice })
  expect(hub.spentMicroUsd).toBe(2n * hourPrice)
  expect(signed).toHaveLength(2)
  shop.expectSound()
}, 60_000)

test('a fetch that pays by itself buys as well, within the limits of the client', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  const hub = openClient({
    url: 'http://shop.test',
    fetch: wrapFetchWithPayment(
      async (input, init) => shop.world.api.fetch(new Request(input, init)),
      buyer.client,
    ),
    maxMicroUsd: hourPrice,
  })
  expect(await Array.fromAsync(hub.readings(hourOfB))).toHaveLength(60)
  await expect(hub.latest({}, { maxMicroUsd: 1n })).rejects.toMatchObject({ limit: 'purchase' })
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  const { priceMicroUsd } = await hub.latest()
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice - priceMicroUsd)
  shop.expectSound()
}, 60_000)

test('all pages are paid with one signature, whichever way it is signed', async () => {
  const shop = await openShop(onChain)
  await shop.world.store.write(many)
  const wallet = await onChain.newWallet(1_000_000n)
  const { hub, signed } = openBuyer(shop, wallet, { maxMicroUsd: 100_000n })
  const bought = await hub.buy(hourOfB)
  const pages = await Array.fromAsync(bought.pages())
  expect(pages.map((rows) => rows.length)).toEqual([10_000, bought.receipt!.rows - 10_000])
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - bought.priceMicroUsd)
  expect(signed).toHaveLength(1)
  // What is read after a top-up, with a key, is still of the purchase without one.
  await hub.topUp({ amountMicroUsd: 20_000n })
  expect(await bought.all()).toHaveLength(bought.receipt!.rows)
  expect(await hub.budget()).toMatchObject({ leftMicroUsd: 20_000n })

  const other = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(other)
  const fetch = wrapFetchWithPayment(
    async (input, init) => shop.world.api.fetch(new Request(input, init)),
    buyer.client,
  )
  const selfPaying = openClient({ url: 'http://shop.test', fetch, maxMicroUsd: 100_000n })
  expect(await (await selfPaying.buy(hourOfB)).all()).toHaveLength(bought.receipt!.rows)
  expect(await shop.balance(other.address)).toBe(1_000_000n - bought.priceMicroUsd)
  shop.expectSound()
}, 60_000)

test('a hub that asks for a later page again gets nothing for it', async () => {
  const shop = await openShop(onChain)
  await shop.world.store.write(many)
  /** The hub, as it would be if it knew of no sale. */
  const forgetful = async (request: Request): Promise<Response> => {
    const url = new URL(request.url)
    const cursor = url.searchParams.get('cursor')
    if (cursor === null) return shop.world.api.fetch(request)
    return shop.world.api.fetch(new Request(url.href.replace(/&cursor=.*/, ''), request))
  }
  const wallet = await onChain.newWallet(1_000_000n)
  const options = { maxMicroUsd: 100_000n }
  const { hub, signed } = openBuyer(shop, wallet, options, forgetful)
  const bought = await hub.buy(hourOfB)
  await expect(bought.all()).rejects.toMatchObject({ slug: 'payment-required' })
  expect(signed).toHaveLength(1)

  const other = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(other)
  const fetch = wrapFetchWithPayment(async (input, init) => forgetful(new Request(input, init)), buyer.client)
  const selfPaid = await openClient({ url: 'http://shop.test', fetch, ...options }).buy(hourOfB)
  await expect(selfPaid.all()).rejects.toThrow(`the hub asks for ${selfPaid.priceMicroUsd} on page 2`)
  expect(await shop.balance(other.address)).toBe(1_000_000n - selfPaid.priceMicroUsd)
}, 60_000)

test('signs nothing above the price it was offered', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  const { hub, signed } = openBuyer(shop, wallet, {}, async (request, next) => {
    const answer = await next(request)
    const required = answer.headers.get('payment-required')
    if (required === null) return answer
    const said = decodePaymentRequiredHeader(required)
    for (const one of said.accepts as { amount: string }[]) one.amount = `${BigInt(one.amount) + 1n}`
    const headers = new Headers(answer.headers)
    headers.set('payment-required', encodePaymentRequiredHeader(said))
    return new Response(answer.body, { status: 402, headers })
  })
  await expect(hub.buy(hourOfB)).rejects.toMatchObject({
    name: 'LimitReached',
    priceMicroUsd: hourPrice + 1n,
    leftMicroUsd: hourPrice,
  })
  expect(signed).toEqual([])
  expect(hub.spentMicroUsd).toBe(0n)
  await expect(hub.topUp({ amountMicroUsd: 20_000n })).rejects.toThrow('asks for 20001 micro-USD, not 20000')
  expect(signed).toEqual([])
  expect(await shop.balance(wallet.address)).toBe(1_000_000n)
}, 60_000)

test('a payment that is not in a block yet, or whose answer was lost, is sent again and never signed anew', async () => {
  const shop = await openShop(onChain, { waitMs: 300 })
  const wallet = await onChain.newWallet(1_000_000n)
  const faults = ['lost', 'lost']
  const { hub, signed } = openBuyer(shop, wallet, {}, async (request, next) => {
    const answer = await next(request)
    if (answer.status === 503) {
      await shop.weather.release()
      return answer
    }
    if (answer.status === 200 && request.headers.has('payment-signature') && faults.pop() !== undefined)
      throw new TypeError('fetch failed')
    return answer
  })
  const looking = new AbortController()
  const looked = shop.till.rail!.run(looking.signal)
  onTestFinished(async () => {
    looking.abort()
    await looked
  })
  shop.weather.holding = true
  const bought = await hub.buy(hourOfB)
  expect(await bought.all()).toHaveLength(60)
  expect(faults).toEqual([])
  expect(signed.length).toBeGreaterThanOrEqual(4)
  expect(new Set(signed).size).toBe(1)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - hourPrice)
  shop.expectSound()
}, 60_000)

test('what a wallet refuses to sign is told as it says it, and is not asked for again', async () => {
  const shop = await openShop(onChain)
  const wallet = await onChain.newWallet(1_000_000n)
  let asked = 0
  const { hub } = openBuyer(shop, wallet, {
    pay: () => async () => {
      asked++
      throw new Error('the wallet is locked')
    },
  })
  await expect(hub.buy(hourOfB)).rejects.toThrow('the wallet is locked')
  expect(asked).toBe(1)
}, 60_000)
