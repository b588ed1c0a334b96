import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatNames } from '#gateway/market/formats/all.ts'
import { quantities } from '#gateway/reading/quantity.ts'
import { openChecked } from './market-schema.ts'
import { nowMs, openWorld, stationA, type World } from './market-world.ts'

let world: World
let ask: Awaited<ReturnType<typeof openChecked>>['ask']

beforeAll(async () => {
  world = await openWorld()
  ask = (await openChecked(world.api)).ask
})

afterAll(() => world[Symbol.asyncDispose]())

const paths = [
  '/v1/readings',
  '/v1/readings',
  '/v1/latest',
  '/v1/stations',
  `/v1/stations/${stationA}`,
  '/v1/batches',
  '/v1/batches/1',
  '/v1/bundle',
  '/v1/quantities',
  '/v1/sample',
  '/v1/refusals',
  '/v1/status',
]

const time = fc.oneof(
  fc.constantFrom('now', '-1h', '-5m', '-300d', '0', '2026-11-21T11:30:00Z', '2026-11-21T11:30:00+01:00'),
  fc.integer({ min: nowMs - 7_200_000, max: nowMs + 60_000 }).map(String),
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
)

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('', '\0', '%', '../..', "' OR 1=1 --", '{"$gt":""}', 'NaN', '-0', '1e999', '9'.repeat(40)),
)

// Values that are right for their parameter most of the time, so that whole queries get through.
const good = {
  station: fc.constantFrom(stationA, 'nobody'),
  sensor: fc.constantFrom('garden', 'roof'),
  quantity: fc
    .subarray(
      quantities.map(({ name }) => name),
      { minLength: 1, maxLength: 3 },
    )
    .map((names) => names.join(',')),
  from: time,
  to: time,
  every: fc.constantFrom('1s', '30s', '7m', '1h', '1d', '366d'),
  fn: fc.constantFrom('mean', 'min', 'max', 'sum', 'count', 'median'),
  limit: fc.integer({ min: -1, max: 12_000 }).map(String),
  cursor: fc.oneof(
    fc.base64String({ maxLength: 60 }),
    fc.json({ maxDepth: 2 }).map((json) => Buffer.from(json).toString('base64url')),
  ),
  format: fc.constantFrom(...formatNames),
  before: fc.nat().map(String),
  after: fc.constantFrom('a', stationA),
  reason: fc.constantFrom('future', 'bad-signature'),
  bytes: fc.constantFrom('true', 'false'),
}

const parameter = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .constantFrom(...(Object.keys(good) as (keyof typeof good)[]))
      .chain((name) => good[name].map((value): [string, string] => [name, value])),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...Object.keys(good)), text) },
  { weight: 1, arbitrary: fc.tuple(text, text) },
)

test('whatever is asked, the answer is a described one and never a failure of the hub', async () => {
  const seen = new Map<number, number>()
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      fc.array(parameter, { maxLength: 5 }),
      async (path, query) => {
        const { response } = await ask(`${path}?${new URLSearchParams(query)}`)
        seen.set(response.status, (seen.get(response.status) ?? 0) + 1)
        expect(response.status).toBeLessThan(500)
      },
    ),
    { numRuns: 600 },
  )
  expect(world.reported).toEqual([])
  // The fuzz reaches answers and not only refusals.
  expect(seen.get(200)).toBeGreaterThan(50)
  expect(seen.get(400)).toBeGreaterThan(50)
})

test('raw addresses and headers do no harm either', async () => {
  const raw = fc.string({ unit: fc.constantFrom(...'%&=?;/+#[]"\\ aé\u0000ÿ0'), maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(raw, raw, async (rest, header) => {
      const address = URL.parse(`/v1/readings?${rest}`, 'http://hub/')!
      const accept = header.replaceAll(/[^\x20-\x7e]/g, '')
      const { response } = await ask(`${address.pathname}${address.search}`, {
        headers: { accept, 'if-none-match': accept },
      })
      expect(response.status).toBeLessThan(500)
    }),
    { numRuns: 200 },
  )
  expect(world.reported).toEqual([])
})
