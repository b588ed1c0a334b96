import { join } from 'node:path'
import { wrapFetchWithPayment } from '@x402/fetch'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { openExports } from '#gateway/market/exports/exports.ts'
import { makeDirectory } from '#test/anchor-world.ts'
import { openApi } from '#test/answers.ts'
import { type Shown, sha256, usualLimits } from '#test/exports-world.ts'
import { nowMs, stationB } from '#test/market-world.ts'
import { openShop, openTokenChain, type TokenChain } from '#test/sales/x402-world.ts'
import { until } from '#test/until.ts'

const directory = makeDirectory()
let onChain: TokenChain
beforeAll(async () => {
  onChain = await openTokenChain(directory.path)
}, 60_000)
afterAll(async () => {
  await onChain.close()
  directory.remove()
})

test('an export is paid by x402 on the spot: its id opens it, and what it did not cost is the wallet’s credit', async () => {
  const shop = await openShop(onChain)
  const exports = openExports({
    ...shop.world.deps,
    directory: join(shop.directory, 'exports'),
    limits: usualLimits,
  })
  const stop = new AbortController()
  const running = exports.run(stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await running
    exports[Symbol.dispose]()
  })
  const api = openApi({ ...shop.world.deps, metrics: new Registry(), exports })
  const wallet = await onChain.newWallet(1_000_000n)
  const buyer = shop.buyer(wallet)
  let paidWith = ''
  const fetching = wrapFetchWithPayment(async (input, init) => {
    const request = new Request(input, init)
    paidWith = request.headers.get('payment-signature') ?? paidWith
    return api.fetch(request)
  }, buyer.client)
  const query = { station: stationB, from: `${nowMs - 3_600_000}`, to: `${nowMs}`, format: 'csv' }
  const order = {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': 'order-0123456789abcdef' },
    body: JSON.stringify(query),
  }
  const [most, price] = [700n, 470n]
  const ordered = await fetching('http://shop.test/v1/exports', order)
  expect(ordered.status).toBe(202)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - most)
  const { id } = (await ordered.json()) as Shown
  const look = async () => (await (await api.request(`/v1/exports/${id}`)).json()) as Shown
  const shown = await until('the export', 20, async () => {
    const one = await look()
    return one.state === 'done' ? one : undefined
  })
  expect(shown).toMatchObject({ priceMicroUsd: Number(price), receipt: id })
  const file = await api.request(shown.files[0]!.href)
  expect(sha256(new Uint8Array(await file.arrayBuffer()))).toBe(shown.files[0]!.sha256)
  expect(buyer.credit()).toBe(most - price)
  const receipt = await api.request(`/v1/receipts/${id}`)
  expect(await receipt.json()).toMatchObject({ priceMicroUsd: Number(price), rows: 60 })

  // The same payment again is the same export, and another one of it is not.
  const again = await api.request('/v1/exports', {
    ...order,
    headers: { ...order.headers, 'payment-signature': paidWith },
  })
  expect([again.status, ((await again.json()) as Shown).id]).toEqual([202, id])
  const other = await api.request('/v1/exports', {
    ...order,
    headers: { ...order.headers, 'payment-signature': paidWith },
    body: JSON.stringify({ ...query, format: 'json' }),
  })
  expect(other.status).toBe(409)
  expect(await shop.balance(wallet.address)).toBe(1_000_000n - most)
  shop.expectSound()
})
