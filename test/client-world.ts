/** A hub that sells, in this process, and clients of it whose requests can be looked at and made to fail. */
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type ClientOptions, type HubClient, openClient } from '#gateway/client/client.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { anHour, nowMs, openWorld, stationB } from '#test/market-world.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

export const network = 'testnet'

/** Readings of one station, of its hour, on two pages. */
export const many = Array.from({ length: 10_400 }, (_, at): StoredReading => {
  const [one] = anHour().filter(({ station }) => station === stationB)
  return { ...one!, timeMs: nowMs - 3_600_000 + at * 300, seq: 1 + at, place: 0, score: 1 }
})

/** What stands between a client and the hub. */
export type Between = (request: Request, hub: (request: Request) => Promise<Response>) => Promise<Response>

/** A shop whose customers begin with `starter` micro-USD. */
export const openShop = async (
  readings: readonly StoredReading[] = anHour(),
  { starter = 1_000_000n, signer = newSigner() } = {},
) => {
  const selling = openSelling({
    path: join(temporaryDirectory(), 'sales.sqlite'),
    network,
    hub: signer,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: starter,
    nowMs: () => nowMs,
  })
  const { till } = selling
  const world = await openWorld({ till, network, hubKey: signer.publicKey }, [...readings])
  onTestFinished(async () => {
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  const { key, secret } = till.signUp({
    label: '',
    scopes: ['read', 'account'],
    budget: null,
    alarmPercent: null,
    expiresMs: null,
  })
  const requests: Request[] = []
  const hub = async (request: Request): Promise<Response> => world.api.fetch(request)
  /** A client with the key, behind `between`. */
  const open = (options: Partial<ClientOptions> = {}, between: Between = (request, next) => next(request)) =>
    openClient({
      url: 'http://shop.test',
      key: secret,
      fetch: async (input, init) => {
        const request = new Request(input, init)
        requests.push(request.clone())
        return between(request, hub)
      },
      ...options,
    }) satisfies HubClient
  const credit = (): bigint => till.sales.ledger.balance(`customer:${key.customer}`)
  const sales = () => till.sales.list(key.customer, 100)
  return { open, credit, sales, requests, secret, signer, till, customer: key.customer, hub }
}
