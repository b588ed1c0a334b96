import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { buildBundle } from '#gateway/market/bundle.ts'
import { scopeOf } from '#gateway/market/scope.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { openWorld as openBundleWorld } from '#test/bundle-world.ts'
import {
  anHour,
  fakeAnchors,
  fakeEvidence,
  nowMs,
  openWorld,
  profiles,
  stationA,
  stationB,
  viennaCell,
} from '#test/market-world.ts'
import { aReading, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const network = 'testnet'
const hub = newSigner()

const inVienna = (station: string) =>
  station === '' ? undefined : { ...profiles[stationA]!, cell: viennaCell }

/** A market whose stations are where `places` says, and a buyer with a dollar. */
const openShop = async (
  places: Record<string, string>,
  over: Parameters<typeof openWorld>[0] = {},
  readings: Parameters<typeof openWorld>[1] = anHour(),
) => {
  const selling = openSelling({
    path: join(temporaryDirectory(), 'sales.sqlite'),
    network,
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 0n,
    nowMs: () => nowMs,
  })
  const { till } = selling
  const profile = (station: string) => inVienna(places[station] ?? '')
  const world = await openWorld(
    {
      till,
      network,
      hubKey: hub.publicKey,
      ...over,
      evidence: { ...fakeEvidence(), ...over.evidence, profile },
    },
    readings,
  )
  onTestFinished(async () => {
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  const made = await world.api.request('/v1/keys', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  const { key } = (await made.json()) as { key: string }
  const found = till.sales.keys.find(key, nowMs)
  if (!found.ok) return expect.fail(found.reason)
  const { customer } = found.key
  till.sales.credit('test', 'manual', customer, 1_000_000n, 'a test')
  const ask = (url: string, headers: Record<string, string> = {}, method = 'GET') =>
    world.api.request(url, { method, headers: { authorization: `Bearer ${key}`, ...headers } })
  const spent = () => 1_000_000n - till.sales.ledger.balance(`customer:${customer}`)
  return { ask, spent, till, customer, world }
}

const area = 'bbox=16,48,17,49'
const span = `from=${nowMs - 3_600_000}&to=${nowMs}`

type Page = { readonly readings: { readonly station: string }[]; readonly next: string | null }

test('an area costs what its stations cost, and an empty one nothing', async () => {
  const { ask, spent } = await openShop({ [stationA]: viennaCell })
  const quoted = async (where: string) =>
    (await (await ask(`/v1/quotes?${where}&${span}`, {}, 'POST')).json()) as {
      rows: number
      priceMicroUsd: number
    }
  const [there, byName, none] = [
    await quoted(area),
    await quoted(`station=${stationA}`),
    await quoted('bbox=17,48,18,49'),
  ]
  expect(there).toMatchObject({ rows: 120, priceMicroUsd: byName.priceMicroUsd })
  expect(none).toMatchObject({ rows: 0, priceMicroUsd: 0 })
  const bought = await ask(`/v1/readings?${area}&${span}`)
  expect([bought.headers.get('price'), ((await bought.json()) as Page).readings.length]).toEqual([
    `${there.priceMicroUsd}`,
    120,
  ])
  const empty = await ask(`/v1/readings?bbox=17,48,18,49&${span}`)
  expect([empty.headers.get('price'), ((await empty.json()) as Page).readings.length]).toEqual(['0', 0])
  const nothing = await ask('/v1/latest?bbox=17,48,18,49')
  expect([nothing.headers.get('price'), ((await nothing.json()) as Page).readings.length]).toEqual(['0', 0])
  expect(spent()).toBe(BigInt(there.priceMicroUsd))
})

test('a station that moves changes nothing of what was paid: pages and retries stay, an offer ends', async () => {
  const places: Record<string, string> = { [stationA]: viennaCell }
  const { ask, spent } = await openShop(places)
  const query = `/v1/readings?${area}&${span}&limit=50`
  const order = { 'idempotency-key': 'order-number-1' }
  const { offer } = (await (await ask(`/v1/quotes?${area}&${span}`, {}, 'POST')).json()) as { offer: string }
  const first = await ask(query, order)
  const body = await first.text()
  const { next } = JSON.parse(body) as Page
  const price = spent()
  expect(price).toBeGreaterThan(0n)

  places[stationB] = viennaCell
  let rows = 50
  for (let cursor = next; cursor !== null; ) {
    const response = await ask(`${query}&cursor=${cursor}`)
    expect([response.status, response.headers.get('price')]).toEqual([200, '0'])
    const page = (await response.json()) as Page
    expect(page.readings.every(({ station }) => station === stationA)).toBe(true)
    rows += page.readings.length
    cursor = page.next
  }
  expect(rows).toBe(120)
  expect(await (await ask(query, order)).text()).toBe(body)
  expect(spent()).toBe(price)
  const late = await ask(query, { offer })
  expect(late.status).toBe(409)
  expect(await late.json()).toMatchObject({ type: '/problems/offer-invalid' })
  const anew = (await (await ask(query)).json()) as Page
  expect(new Set(anew.readings.map(({ station }) => station))).toEqual(new Set([stationA, stationB]))
})

test('what was sold of an area is told by its stations to its buyer only', async () => {
  const places: Record<string, string> = { [stationA]: viennaCell }
  const { ask, till, customer } = await openShop(places)
  const bought = await ask(`/v1/readings?${area}&${span}`)
  await bought.text()
  const id = bought.headers.get('receipt-id')!
  expect(scopeOf(till.sales.sale(customer, id)!)).toEqual({
    stations: [stationA],
    fromMs: nowMs - 3_600_000,
    toMs: nowMs,
  })
  expect(till.sales.sale('somebody-else', id)).toBeUndefined()
})

test('the bundle of a sale proves the stations of its area, and of no other, wherever they are by then', async () => {
  const proven = openBundleWorld(network)
  const [here, there, away] = [1, 2, 3].map(() => proven.addStation(newSigner()))
  const at = nowMs - 600_000
  for (const station of [here!, there!, away!]) proven.sign(station, [aReading(at)])
  proven.closeBatch()
  proven.anchor(1)
  const rows = [here!, there!, away!].map((station) => ({
    ...anHour()[2]!,
    station,
    timeMs: at,
    seq: 1,
    place: 0,
  }))
  const places: Record<string, string> = { [here!]: viennaCell, [there!]: viennaCell }
  const { ask } = await openShop(
    places,
    {
      evidence: { ...fakeEvidence(), ...proven.evidence },
      anchors: { ...fakeAnchors(), ...proven.anchors },
    },
    rows,
  )
  const receipts: string[] = []
  for (const query of [`/v1/readings?${area}&${span}`, `/v1/latest?${area}`]) {
    const bought = await ask(query)
    expect(((await bought.json()) as Page).readings).toHaveLength(2)
    receipts.push(bought.headers.get('receipt-id')!)
  }
  places[away!] = viennaCell
  for (const receipt of receipts) {
    const file = await ask(`/v1/receipts/${receipt}/bundle`)
    expect(file.status).toBe(200)
    const report = verifyBundle(new Uint8Array(await file.arrayBuffer()))
    expect(report).toMatchObject({ ok: true, scope: { stations: [here!, there!].sort() } })
    expect(new Set(report.readings.map(({ station }) => station))).toEqual(new Set([here, there]))
  }
  const unknown = await buildBundle(proven.deps, { stations: ['e'.repeat(32)], fromMs: 0, toMs: nowMs })
  expect(unknown).toMatchObject({ ok: false, reason: 'unknown-station' })
})

test('newest readings that are far apart have no bundle, and the next step is told', async () => {
  const rows = [nowMs - 60_000, nowMs - 7_200_000].map((timeMs, place) => ({
    ...anHour()[2]!,
    sensor: `s${place}`,
    timeMs,
    place,
  }))
  const { ask } = await openShop({}, {}, rows)
  const bought = await ask('/v1/latest')
  await bought.text()
  const refused = await ask(`/v1/receipts/${bought.headers.get('receipt-id')}/bundle`)
  expect(refused.status).toBe(404)
  expect(await refused.json()).toMatchObject({ detail: expect.stringContaining('a span of /v1/readings') })
})

test('a station that is not registered is sold nothing of, and its name stands in the way of nothing', async () => {
  const { ask, till, customer } = await openShop({})
  for (const stranger of ['nobody', 'e'.repeat(32), 'E'.repeat(32)]) {
    const bought = await ask(`/v1/readings?station=${stationA},${stranger}&${span}`)
    expect(bought.status).toBe(200)
    expect(((await bought.json()) as Page).readings).toHaveLength(120)
    const id = bought.headers.get('receipt-id')!
    expect(scopeOf(till.sales.sale(customer, id)!)).toMatchObject({ stations: [stationA] })
    expect((await ask(`/v1/receipts/${id}`)).status).toBe(200)
  }
})
