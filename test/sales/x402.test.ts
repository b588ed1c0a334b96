import { decodePaymentRequiredHeader, decodePaymentResponseHeader } from '@x402/core/http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeDirectory } from '#test/anchor-world.ts'
import { nowMs, stationB } from '#test/market-world.ts'
import { openShop, openTokenChain, type TokenChain } from '#test/sales/x402-world.ts'

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
