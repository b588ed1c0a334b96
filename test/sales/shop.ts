/** A hub's books and its API over an hour of readings, without sockets; what tests of selling begin with. */
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import { anHour, nowMs, openWorld } from '#test/market-world.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

export const network = 'testnet'
export const hub = newSigner()

/** `clock` can be set on; `close` may come before the end of the test. */
export const openShop = async (
  path = join(temporaryDirectory(), 'sales.sqlite'),
  clock: { nowMs: number } = { nowMs },
  stations: Parameters<typeof openWorld>[1] = anHour(),
) => {
  const selling = openSelling({
    path,
    network,
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 0n,
    nowMs: () => clock.nowMs,
  })
  const { till } = selling
  const world = await openWorld({ till, nowMs: () => clock.nowMs, network, hubKey: hub.publicKey }, stations)
  let closed = false
  const close = async () => {
    if (closed) return
    closed = true
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  }
  onTestFinished(close)
  const { sales } = till

  const signUp = async (credit: bigint, wanted: object = {}) => {
    const response = await world.api.request('/v1/keys', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(wanted),
    })
    expect(response.status).toBe(201)
    const made = (await response.json()) as { id: string; key: string }
    const found = sales.keys.find(made.key, clock.nowMs)
    if (!found.ok) return expect.fail(found.reason)
    const { customer } = found.key
    if (credit > 0n) sales.credit(`test:${customer}`, 'manual', customer, credit, 'a test')
    const ask = (url: string, headers: Record<string, string> = {}, method = 'GET') =>
      world.api.request(url, { method, headers: { authorization: `Bearer ${made.key}`, ...headers } })
    return { ...made, customer, ask, credit: () => sales.ledger.balance(`customer:${customer}`) }
  }
  const expectSound = () =>
    expect(sales.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
  return { world, sales, till, signUp, expectSound, close, path, clock }
}
