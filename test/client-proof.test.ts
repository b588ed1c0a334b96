import { expect, test } from 'vitest'
import { type HubClient, HubDistrusted } from '#gateway/client/client.ts'
import { buildBundle } from '#gateway/market/bundle.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { openWorld } from '#test/bundle-world.ts'
import { network, openShop } from '#test/client-world.ts'
import { nowMs } from '#test/market-world.ts'
import { signerOf, weather } from '#test/reading/samples.ts'

const perEnvelope = 50
const intervalMs = 30_000

/** A station's signed and anchored readings up to now, and the same as the store has them. */
const openStation = (count: number) => {
  const world = openWorld(network)
  const station = world.addStation(signerOf(41))
  const startMs = nowMs - (count + 1) * intervalMs
  const readings = weather(count, startMs)
  const stored: StoredReading[] = []
  for (let at = 0; at < count; at += perEnvelope) {
    const held = readings.slice(at, at + perEnvelope)
    const { seq } = world.sign(station, held)
    for (const [place, reading] of held.entries())
      stored.push({ ...reading, station, seq, place, score: 1, flags: [], rules: '1' })
  }
  world.closeBatch()
  world.anchor(1)
  return { world, stored, query: { station, from: startMs - intervalMs, to: nowMs } as const }
}

/** A client of a hub that sells these readings, and gives their proof after so many refusals. */
const openProving = async (
  { world, query }: ReturnType<typeof openStation>,
  stored: readonly StoredReading[],
  { early = 0, foreign = false } = {},
) => {
  const shop = await openShop(stored, { starter: 10n ** 9n })
  let refusals = early
  const hub: HubClient = shop.open({ maxMicroUsd: 10n ** 9n }, async (request, next) => {
    const id = /\/v1\/receipts\/([0-9a-f]+)\/bundle$/.exec(new URL(request.url).pathname)?.[1]
    if (id === undefined) return next(request)
    if (refusals-- > 0)
      return Response.json(
        { type: '/problems/not-anchored-yet', title: 'Nothing of this is anchored yet', status: 409 },
        { status: 409, headers: { 'retry-after': '1' } },
      )
    const { station, from: fromMs, to: toMs } = query
    const sold = shop.sales().find((sale) => (sale.id === id) !== foreign)!
    const sale = { hubKey: shop.signer.publicKey, receipt: sold.receipt }
    const built = await buildBundle(world.deps, { stations: [station], fromMs, toMs }, sale)
    return built.ok ? new Response(new Uint8Array(built.bytes)) : expect.fail(built.detail)
  })
  return hub
}

test('every row of every page is looked up in the proof', async () => {
  const station = openStation(10_400)
  const hub = await openProving(station, station.stored)
  const bought = await hub.buy(station.query)
  const { ok, report, pages } = await bought.proof()
  expect([ok, report.readings.length]).toEqual([true, 10_400])
  expect(report.sale).toMatchObject({ id: bought.receiptId, rows: 10_400 })
  // A receipt names the bytes of the first page only; of the later ones the rows are known.
  expect(pages.map(({ state }) => state)).toEqual(['passed', 'warned'])
  expect(pages[1]!.text).toContain('each of its 400 rows is a proven reading')
  // Of a later page in a form that is not compared nothing is known, so nothing is said of it.
  for (const later of [
    await hub.download(station.query, 'parquet'),
    await hub.buy({ ...station.query, every: '30s' }),
  ]) {
    expect(await Array.fromAsync(later.bodies())).toHaveLength(2)
    const proof = await later.proof()
    expect([proof.ok, proof.pages.map(({ state }) => state)]).toEqual([true, ['warned']])
  }
})

test('a number other than its station signed is found, though the hub’s receipt is of it', async () => {
  const station = openStation(100)
  const stored = station.stored.map((reading, at) =>
    at === 70 ? { ...reading, values: [{ quantity: 1, scaled: 9999 }] } : reading,
  )
  const hub = await openProving(station, stored)
  const { ok, report, pages } = await (await hub.buy(station.query)).proof()
  expect([ok, report.ok]).toEqual([false, true])
  expect(pages[0]).toMatchObject({
    state: 'failed',
    text: expect.stringContaining('says temperature 99.99, which its station did not sign'),
  })
})

test('what is made of readings, or comes in a format whose rows are not compared, is told from what is proven', async () => {
  const station = openStation(100)
  const hub = await openProving(station, station.stored)
  const intervals = await (await hub.buy({ ...station.query, every: '5m' })).proof()
  expect([intervals.ok, intervals.pages.map(({ state }) => state)]).toEqual([true, ['warned']])
  const parquet = await (await hub.download(station.query, 'parquet')).proof()
  expect([parquet.ok, parquet.pages.map(({ state }) => state)]).toEqual([true, ['warned']])
  const csv = await (await hub.download(station.query, 'csv')).proof()
  expect([csv.ok, csv.pages.map(({ state }) => state)]).toEqual([true, ['passed']])
})

test('a proof is waited for as long as the buyer wants to, and no longer', async () => {
  const station = openStation(50)
  const hub = await openProving(station, station.stored, { early: 2 })
  const bought = await hub.buy(station.query)
  await expect(bought.proof()).rejects.toMatchObject({ slug: 'not-anchored-yet', retryAfterS: 1 })
  expect((await bought.proof({ waitMs: 30_000 })).ok).toBe(true)
})

test('the proof of another sale is none of this one, and is given along', async () => {
  const station = openStation(50)
  const hub = await openProving(station, station.stored, { foreign: true })
  await hub.buy(station.query)
  const bought = await hub.buy(station.query)
  const refused = await bought.bundle().catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(HubDistrusted)
  expect(refused).toMatchObject({
    message: 'the proof is of another sale',
    receiptId: bought.receiptId,
    body: expect.any(Uint8Array),
  })
  expect((await hub.verify((refused as HubDistrusted).body!)).ok).toBe(true)
})
