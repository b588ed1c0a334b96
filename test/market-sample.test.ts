import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { runSample, sampleSpan } from '#gateway/market/sample.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { openChecked } from './market-schema.ts'
import { anHour, nowMs, openWorld, stationA, stationB } from './market-world.ts'
import { newSigner } from './station.ts'
import { temporaryDirectory } from './temporary.ts'

const dayMs = 86_400_000

/** Twenty days of a sensor, a reading each hour, until now. */
const twentyDays = (sensor = 'roof'): StoredReading[] =>
  anHour()
    .slice(0, 1)
    .flatMap((one) =>
      Array.from({ length: 20 * 24 }, (_, at) => ({
        ...one,
        sensor,
        score: 1,
        seq: at + 1,
        place: 0,
        timeMs: nowMs - (20 * 24 - at) * 3_600_000,
      })),
    )

type Sample = { readonly readings: readonly { readonly time: string; readonly sensor: string }[] }

const openShop = async (readings: readonly StoredReading[] = anHour(), clock = { nowMs }) => {
  const selling = openSelling({
    path: join(temporaryDirectory(), 'sales.sqlite'),
    network: 'testnet',
    hub: newSigner(),
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 0n,
    nowMs: () => clock.nowMs,
  })
  const world = await openWorld(
    {
      till: selling.till,
      nowMs: () => clock.nowMs,
      verifyBundle: () => Promise.reject(new Error('not asked for')),
    },
    readings,
  )
  onTestFinished(async () => {
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  return { ...(await openChecked(world.api)), world }
}

const timesOf = (answer: { readonly json: unknown }): string[] =>
  (answer.json as Sample).readings.map(({ time }) => time)

test('a sample is of the week that yesterday was in, and never younger than a day', () => {
  // Saturday noon.
  expect(sampleSpan(nowMs)).toEqual({ fromMs: Date.UTC(2026, 10, 16), toMs: nowMs - dayMs })
  const tuesday = Date.UTC(2026, 10, 17)
  expect(sampleSpan(tuesday + 1).fromMs).toBe(Date.UTC(2026, 10, 16))
  expect(sampleSpan(tuesday)).toEqual({ fromMs: Date.UTC(2026, 10, 9), toMs: tuesday - dayMs })
})

test('a sample costs nothing, and is the same few rows for everybody all week', async () => {
  const clock = { nowMs }
  const { ask, world } = await openShop(twentyDays(), clock)
  expect((await ask('/v1/readings')).response.status).toBe(402)
  const first = await ask('/v1/sample')
  expect(first.response.status).toBe(200)
  expect(first.response.headers.get('cache-control')).toBe('public, max-age=300')
  const monday = Array.from({ length: 5 }, (_, hour) => `2026-11-16T0${hour}:00:00.000Z`)
  expect(timesOf(first)).toEqual(monday)
  clock.nowMs = Date.UTC(2026, 10, 17, 4)
  expect(timesOf(await ask('/v1/sample'))).toEqual(monday.slice(0, 4))
  clock.nowMs = Date.UTC(2026, 10, 23, 23)
  expect(timesOf(await ask('/v1/sample'))).toEqual(monday)
  expect(world.reported).toEqual([])
})

test('of a sensor with nothing that old a sample has the oldest rows, in the form of any other reading', async () => {
  const { ask } = await openShop()
  const sample = (await ask('/v1/sample')).json as Sample
  await using free = await openWorld()
  const page = (await (await free.api.request('/v1/readings')).json()) as Sample
  const of = (sensor: string) => page.readings.filter((row) => row.sensor === sensor).slice(0, 5)
  expect(sample.readings).toEqual([...of('garden'), ...of('roof')])
  expect(((await ask(`/v1/sample?station=${stationB}`)).json as Sample).readings).toEqual(of('roof'))
})

test('a sample cannot be asked for by time or in pages, and holds so many sensors at most', async () => {
  const { ask, world } = await openShop(
    Array.from({ length: 30 }, (_, at) => twentyDays(`s${at + 10}`).slice(0, 7)).flat(),
  )
  for (const parameter of ['from=-2d', 'to=now', 'limit=100', 'cursor=x', 'sensor=roof', 'every=1h'])
    expect((await ask(`/v1/sample?${parameter}`)).response.status, parameter).toBe(400)
  const answer = await runSample(undefined, world.deps, nowMs)
  expect(new Set(answer.rows.map(({ sensor }) => sensor)).size).toBe(20)
  expect(answer.rows).toHaveLength(100)
  expect((await ask('/v1/sample?station=nobody')).response.status).toBe(404)
})

test('a sample comes in every format, and is not sent again to who has it', async () => {
  const { ask } = await openShop()
  const csv = await ask('/v1/sample?format=csv')
  expect(csv.text.trim().split('\r\n')).toHaveLength(11)
  const ndjson = await ask('/v1/sample', { headers: { accept: 'application/x-ndjson' } })
  expect(ndjson.text.trim().split('\n')).toHaveLength(10)
  const etag = csv.response.headers.get('etag')!
  expect(ndjson.response.headers.get('etag')).not.toBe(etag)
  const again = await ask('/v1/sample?format=csv', { headers: { 'if-none-match': etag } })
  expect([again.response.status, again.text]).toEqual([304, ''])
})

test('each station says where its sample is, and a price where to look before paying', async () => {
  const { ask } = await openShop()
  const station = (await ask(`/v1/stations/${stationA}`)).json as { sample: string }
  expect((await ask(station.sample)).response.status).toBe(200)
  const { json } = await ask('/v1/latest')
  expect((json as { help: string }).help).toContain('/v1/sample')
})

test('the index and the front page list every door that is there, and no other', async () => {
  const selling = await openShop()
  const doorsOf = async ({ ask }: Pick<typeof selling, 'ask'>) =>
    ((await ask('/')).json as { doors: Record<string, string> }).doors
  const sold = await doorsOf(selling)
  expect(sold).toMatchObject({ mcp: '/mcp', quotes: '/v1/quotes', receipts: '/v1/receipts' })
  for (const address of Object.values(sold)) expect(selling.document.paths).toHaveProperty([address])
  const page = await selling.ask('/', { headers: { accept: 'text/html' } })
  for (const address of Object.values(sold)) expect(page.text).toContain(address)
  await using free = await openWorld()
  const given = await doorsOf(await openChecked(free.api))
  expect(given).toMatchObject({ sample: '/v1/sample', readings: '/v1/readings' })
  expect(Object.keys(given)).not.toContain('mcp')
})
