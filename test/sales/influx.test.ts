import { DatabaseSync } from 'node:sqlite'
import { InfluxDB } from 'influx'
import { expect, onTestFinished, test } from 'vitest'
import { run as serve } from '#gateway/market/serve.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { nowMs, stationA, stationB } from '#test/market-world.ts'
import { openShop } from '#test/sales/shop.ts'
import { startSellingHub } from '#test/sales/whole-hub.ts'
import { until } from '#test/until.ts'

type Shop = Awaited<ReturnType<typeof openShop>>
type Body = {
  readonly results: readonly {
    readonly series?: readonly { readonly columns: string[]; readonly values: unknown[][] }[]
    readonly error?: string
  }[]
}

const hourMs = 3_600_000
const fromMs = nowMs - hourMs

const listen = async ({ world }: Shop): Promise<string> => {
  const stop = new AbortController()
  const bound = Promise.withResolvers<number>()
  const ended = serve({ app: world.api, host: '127.0.0.1', port: 0, listening: bound.resolve }, stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await ended
  })
  return `http://127.0.0.1:${await bound.promise}`
}

const clientOf = (url: string, key: string): InfluxDB => {
  const { hostname, port } = new URL(url)
  return new InfluxDB({
    host: hostname,
    port: Number(port),
    path: '/influx',
    database: 'groundtruth',
    username: 'anybody',
    password: key,
    pool: { maxRetries: 0 },
  })
}

const address = (q: string, more: Record<string, string> = {}): string =>
  `/influx/query?${new URLSearchParams({ db: 'groundtruth', epoch: 'ms', q, ...more })}`

const span = (from = fromMs, to = nowMs): string => `time >= ${from}ms AND time < ${to}ms`

const ofB = `station = '${stationB}'`
const panel = (from = fromMs, to = nowMs): string =>
  `SELECT mean("temperature") FROM "readings" WHERE (${ofB}) AND ${span(from, to)} GROUP BY time(10m), "sensor" fill(null)`

// As the query API has it: the base; of B's ten-minute means the last is fresh (5) and the others are not (2.5), rounded up.
const panelPrice = async ({ world }: Shop): Promise<string> => {
  const quote = await world.api.request(
    `/v1/quotes?station=${stationB}&quantity=temperature&every=10m&from=${fromMs}&to=${nowMs}`,
    { method: 'POST' },
  )
  return `${((await quote.json()) as { priceMicroUsd: number }).priceMicroUsd}`
}

test('the influx package finds its way, pays with the key as password, and gets what the query API gives', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  const url = await listen(shop)
  const influx = clientOf(url, buyer.key)
  expect(await influx.getDatabaseNames()).toEqual(['groundtruth'])
  expect(await influx.getMeasurements()).toEqual(['readings'])
  expect([...(await influx.showRetentionPolicies())]).toMatchObject([{ name: 'autogen', default: true }])
  for (const method of ['GET', 'HEAD']) {
    const pong = await fetch(`${url}/influx/ping`, { method })
    expect([pong.status, pong.headers.get('x-influxdb-version')]).toEqual([204, '1.8-groundtruth-0.1.0'])
  }
  expect(buyer.credit()).toBe(1_000_000n)

  type Row = { readonly time: { getTime(): number }; readonly mean: number | null }
  const rows = await influx.query<Row>(panel(), { precision: 'ms' })
  const oracle = (await (
    await buyer.ask(
      `/v1/readings?station=${stationB}&quantity=temperature&every=10m&from=${fromMs}&to=${nowMs}`,
    )
  ).json()) as { buckets: { time: string; values: { temperature: number } }[] }
  expect(rows.groups()).toMatchObject([{ name: 'readings', tags: { sensor: 'roof' } }])
  expect(rows.map(({ time, mean }) => [time.getTime(), mean])).toEqual(
    oracle.buckets.map(({ time, values }) => [Date.parse(time), values.temperature]),
  )
  expect(rows).toHaveLength(6)

  const posted = await influx.queryRaw(
    `SELECT "temperature", "score" FROM "readings" WHERE ${ofB} AND time >= $from LIMIT 3`,
    {
      method: 'POST',
      precision: 'ms',
      placeholders: { from: fromMs * 1e6 },
    },
  )
  expect((posted as Body).results[0]!.series![0]!.values).toEqual([
    [fromMs, -3.07, 0.125],
    [fromMs + 60_000, -3.07, 1],
    [fromMs + 120_000, -3.07, 1],
  ])
  shop.expectSound()
})

test('a panel costs what the query API asks for the same, and its receipt says so', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  const response = await buyer.ask(address(panel()))
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(response.headers.get('price')).toBe(await panelPrice(shop))
  const left = 1_000_000n - BigInt(await panelPrice(shop))
  expect(response.headers.get('credits-remaining')).toBe(`${left}`)
  expect(buyer.credit()).toBe(left)
  const receipt = await buyer.ask(`/v1/receipts/${response.headers.get('receipt-id')}`)
  expect(await receipt.json()).toMatchObject({ priceMicroUsd: Number(await panelPrice(shop)), rows: 6 })
  shop.expectSound()
})

test('a panel that looks again is given the same for nothing until its newest interval is over', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  const other = await shop.signUp(1_000_000n)
  const look = async (who: typeof buyer, to = shop.clock.nowMs) => {
    const before = who.credit()
    const response = await who.ask(address(panel(to - hourMs, to)))
    expect(response.status).toBe(200)
    return { text: await response.text(), paid: before - who.credit(), age: response.headers.get('age') }
  }
  shop.clock.nowMs += 1000
  const first = await look(buyer)
  expect(first.age).toBeNull()
  expect(first.paid).toBeGreaterThan(100n)
  shop.clock.nowMs += 30_000
  expect(await look(buyer)).toEqual({ text: first.text, paid: 0n, age: '30' })
  shop.clock.nowMs += 568_000
  expect(await look(buyer)).toEqual({ text: first.text, paid: 0n, age: '598' })
  expect((await look(other)).paid).toBeGreaterThan(0n)
  // Another panel is another order.
  const sums = await buyer.ask(
    address(panel(shop.clock.nowMs - hourMs, shop.clock.nowMs).replace('mean(', 'sum(')),
  )
  expect(Number(sums.headers.get('price'))).toBeGreaterThan(0)
  expect(sums.headers.get('age')).toBeNull()
  shop.clock.nowMs += 1000
  expect((await look(buyer)).paid).toBeGreaterThan(0n)
  shop.expectSound()
})

test('a span that is over is not answered with what was given of one that goes on', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  const rows = async (from: number, to: number) => {
    const response = await buyer.ask(address(panel(from, to).replace('10m', '1h')))
    const body = (await response.json()) as Body
    return body.results[0]!.series![0]!.values.length
  }
  shop.clock.nowMs += 1000
  expect(await rows(fromMs, shop.clock.nowMs)).toBe(2)
  expect(await rows(fromMs, nowMs)).toBe(1)
  expect(await rows(fromMs + 500, shop.clock.nowMs + 500)).toBe(2)
})

test('what is over is paid once an hour; the newest is paid each time', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  const price = async (q: string) => {
    const before = buyer.credit()
    const response = await buyer.ask(address(q))
    await response.text()
    expect(response.status).toBe(200)
    return before - buyer.credit()
  }
  const over = `SELECT temperature FROM readings WHERE ${ofB} AND ${span(fromMs, fromMs + 600_000)}`
  expect(await price(over)).toBe(100n + 9n * 5n)
  expect(await price(over)).toBe(0n)
  expect(await price(over.replace('temperature', 'temperature, score'))).toBe(145n)
  const newest = `SELECT last(temperature) FROM readings WHERE ${ofB} AND time > now() - 10m`
  expect(await price(newest)).toBe(110n)
  expect(await price(newest)).toBe(110n)
  shop.clock.nowMs += hourMs
  expect(await price(over)).toBe(145n)
})

test('two panels that ask for the same at once are one purchase', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  const [one, two] = await Promise.all([buyer.ask(address(panel())), buyer.ask(address(panel()))])
  expect(await one!.text()).toBe(await two!.text())
  expect(buyer.credit()).toBe(1_000_000n - BigInt(await panelPrice(shop)))
})

test('a panel whose first bytes are not kept any more is sold again instead of refused', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  await (await buyer.ask(address(panel()))).text()
  const books = new DatabaseSync(shop.path)
  books.exec('DELETE FROM delivery')
  books.close()
  const again = await buyer.ask(address(panel()))
  expect(again.status).toBe(200)
  expect(buyer.credit()).toBe(1_000_000n - 2n * BigInt(await panelPrice(shop)))
})

test('an Idempotency-Key goes before what the door makes of a panel', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  const headers = { 'idempotency-key': 'my-own-key' }
  const first = await buyer.ask(address(panel()), headers)
  const again = await buyer.ask(address(panel()), headers)
  expect(await again.text()).toBe(await first.text())
  expect(again.headers.get('receipt-id')).toBe(first.headers.get('receipt-id'))
  const moving = 'SELECT mean(temperature) FROM readings WHERE time >= now() - 1h GROUP BY time(1m)'
  const mine = { 'idempotency-key': 'another-one' }
  const once = await (await buyer.ask(address(moving), mine)).text()
  shop.clock.nowMs += 120_000
  expect(await (await buyer.ask(address(moving), mine)).text()).toBe(once)
  const other = await buyer.ask(address(panel().replace('mean(', 'max(')), headers)
  expect(other.status).toBe(409)
  expect(((await other.json()) as { error: string }).error).toContain('Idempotency-Key')
})

test('the key is taken wherever a client puts it, and a wrong one is told with SHOW already', async () => {
  const shop = await openShop()
  const { key, credit } = await shop.signUp(1_000_000n)
  const { api, reported } = shop.world
  const basic = (password: string) => ({
    authorization: `Basic ${Buffer.from(`me:${password}`).toString('base64')}`,
  })
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const q = `SELECT last(temperature) FROM readings WHERE ${ofB} AND time > now() - 10m`
  const ways: readonly [string, (secret: string, q: string) => Response | Promise<Response>][] = [
    ['Basic', (secret, text) => api.request(address(text), { headers: basic(secret) })],
    [
      'Bearer',
      (secret, text) => api.request(address(text), { headers: { authorization: `Bearer ${secret}` } }),
    ],
    [
      'Token',
      (secret, text) => api.request(address(text), { headers: { authorization: `Token ${secret}` } }),
    ],
    [
      'Token with a user',
      (secret, text) => api.request(address(text), { headers: { authorization: `Token me:${secret}` } }),
    ],
    ['u and p in the address', (secret, text) => api.request(address(text, { u: 'me', p: secret }))],
    [
      'u and p in a form',
      (secret, text) =>
        api.request('/influx/query?db=groundtruth', {
          method: 'POST',
          headers: form,
          body: `${new URLSearchParams({ q: text, u: 'me', p: secret })}`,
        }),
    ],
  ]
  for (const [way, ask] of ways) {
    const before = credit()
    const given = await ask(key, q)
    expect(await given.text(), way).toContain('-3.07')
    expect(before - credit(), way).toBe(110n)
    const wrong = key.replace(/.{6}$/, 'XXXXXX')
    for (const text of [q, 'SHOW MEASUREMENTS']) {
      const refused = await ask(wrong, text)
      expect(refused.status, way).toBe(401)
      expect(refused.headers.get('www-authenticate')).toBe('Basic realm="groundtruth"')
      const told = await refused.text()
      expect(JSON.parse(told)).toMatchObject({
        error: expect.stringContaining('authorization failed'),
        type: '/problems/key-invalid',
      })
      expect(told).not.toContain(wrong)
    }
  }
  expect(reported).toEqual([])
  const metrics = await (await api.request('/metrics')).text()
  expect(metrics).toContain('route="/influx/query"')
  expect(metrics).not.toContain(key)
})

test('without payment there is an error with the price and where credit comes from, and not one value', async () => {
  const shop = await openShop()
  const { api } = shop.world
  const show = await api.request(address('SHOW TAG VALUES WITH KEY = station'))
  expect(show.status).toBe(200)
  expect(await show.text()).toContain(stationB)
  const stranger = await api.request(address(panel()))
  const text = await stranger.text()
  expect(stranger.status).toBe(402)
  expect(stranger.headers.get('content-type')).toBe('application/json')
  const price = Number(await panelPrice(shop))
  expect(JSON.parse(text)).toMatchObject({
    error: expect.stringMatching(
      `this costs 0\\.000${price} USD\\. The key \\(POST /v1/keys\\) is the password; .* Credit comes by the operator`,
    ),
    type: '/problems/payment-required',
    payment: { priceMicroUsd: price },
  })
  expect(text).not.toContain('-3.07')

  const poor = await shop.signUp(50n)
  const credit = await poor.ask(address(panel()))
  expect(credit.status).toBe(402)
  expect(await credit.json()).toMatchObject({
    error: expect.stringContaining('there are 0.000050'),
    type: '/problems/credit-exhausted',
  })
  const tight = await shop.signUp(1_000_000n, { budgetMicroUsd: 50 })
  expect(await (await tight.ask(address(panel()))).json()).toMatchObject({
    type: '/problems/budget-exhausted',
  })
  expect(tight.credit()).toBe(1_000_000n)

  const looked = await tight.ask(address(panel()), {}, 'HEAD')
  expect([looked.status, looked.headers.get('price'), await looked.text()]).toEqual([200, `${price}`, ''])
})

test('several statements are one purchase; of one that fails and those behind it nothing is paid', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  const value = `SELECT last(temperature) FROM readings WHERE ${ofB} AND time > now() - 10m`
  const same = await buyer.ask(
    address(value.replace('last(temperature)', 'last(temperature) AS a, last(temperature)')),
  )
  expect(await same.text()).toContain('"columns":["time","a","last"]')
  expect(same.headers.get('price')).toBe('110')
  const two = await buyer.ask(address(`${value}; ${value} GROUP BY station; SHOW DATABASES`))
  expect(two.headers.get('price')).toBe('120')
  const failing = await buyer.ask(address(`${value}; SELECT temperature FROM readings; ${value}`))
  expect(failing.headers.get('price')).toBe('110')
  const { results } = (await failing.json()) as Body
  expect(results.map(({ series, error }) => series?.length ?? error)).toEqual([
    1,
    'say from when on: WHERE time >= now() - 1h',
    'not executed',
  ])
  const none = await buyer.ask(address('SELECT temperature FROM readings'))
  expect([none.status, none.headers.get('price')]).toEqual([200, '0'])
})

test('only rows that are given are paid, and the proof of them holds no others', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  const buy = async (q: string) => {
    const response = await buyer.ask(address(q))
    await response.text()
    const id = response.headers.get('receipt-id')!
    const sale = shop.sales.sale(buyer.customer, id)!
    return { price: response.headers.get('price'), scope: JSON.parse(sale.scope) as unknown }
  }
  const all = `SELECT temperature FROM readings WHERE ${span()} AND score >= 0.9`
  const ofRoof = { stations: [stationB], sensor: 'roof', quantities: [1], minScore: 0.9 }
  expect(await buy(`${all} AND ${ofB} LIMIT 2 OFFSET 3`)).toEqual({
    price: '110',
    scope: { ...ofRoof, fromMs: fromMs + 240_000, toMs: fromMs + 300_001 },
  })
  expect(await buy(`${all} AND ${ofB} ORDER BY time DESC LIMIT 1`)).toEqual({
    price: '110',
    scope: { ...ofRoof, fromMs: nowMs - 60_000, toMs: nowMs - 59_999 },
  })
  expect(await buy(`${all} GROUP BY station`)).toMatchObject({
    scope: { stations: [stationA, stationB], fromMs: fromMs + 30_000, toMs: nowMs - 29_999 },
  })
  // A box around the first row of each would hold more of both.
  expect(await buy(`${all} GROUP BY station LIMIT 1`)).toMatchObject({ scope: null })
  // Nor does it hold what comes after the sale.
  expect(await buy(panel(fromMs, nowMs + hourMs))).toMatchObject({
    scope: { stations: [stationB], fromMs, toMs: nowMs },
  })
  expect(await buy(panel(fromMs + 30_000, nowMs + hourMs).replace('10m', '7h'))).toMatchObject({
    scope: { stations: [stationB], fromMs: fromMs + 30_000, toMs: nowMs },
  })
  expect(await buy(`${all} AND ${ofB}; ${all} AND ${ofB} LIMIT 1`)).toMatchObject({ scope: null })
  expect(await buy(panel(fromMs + 60_000, nowMs - 60_000))).toMatchObject({
    scope: { stations: [stationB], fromMs: fromMs + 60_000, toMs: nowMs - 60_000 },
  })
})

test('what fills a gap with values of rows that were cut off is paid as these are, each once', async () => {
  const shop = await openShop()
  const buyer = await shop.signUp(1_000_000n)
  // A measures each 30 s: of twelve intervals of 10 s the first, fourth, seventh and tenth have a value.
  const ask = async (fill: string, cut: string) => {
    const within = `station = '${stationA}' AND ${span(fromMs, fromMs + 120_000)}`
    const q = `SELECT mean("temperature") FROM "readings" WHERE ${within} GROUP BY time(10s) fill(${fill}) ${cut}`
    const response = await buyer.ask(address(q))
    const { results } = (await response.json()) as Body
    const values = results[0]!.series![0]!.values.map(([, value]) => value)
    const id = response.headers.get('receipt-id')
    const receipt = id === null ? undefined : await (await buyer.ask(`/v1/receipts/${id}`)).json()
    return { values, sold: (receipt as { rows: number } | undefined)?.rows ?? 0 }
  }
  expect(await ask('previous', 'LIMIT 2 OFFSET 1')).toEqual({ values: [20, 20], sold: 1 })
  expect(await ask('previous', 'LIMIT 3 OFFSET 2')).toEqual({ values: [20, 20.01, 20.01], sold: 2 })
  const between = await ask('linear', 'LIMIT 2 OFFSET 1')
  expect(between.values.map((value) => Math.round(1000 * (value as number)))).toEqual([20_003, 20_007])
  expect(between.sold).toBe(2)
  expect((await ask('previous', '')).sold).toBe(4)
  expect((await ask('linear', 'LIMIT 4')).sold).toBe(2)
  expect((await ask('linear', 'LIMIT 5')).sold).toBe(3)
  // Nothing is told by an empty place.
  expect(await ask('null', 'LIMIT 2 OFFSET 1')).toEqual({ values: [null, null], sold: 0 })
  expect(await ask('7', 'LIMIT 2 OFFSET 1')).toEqual({ values: [7, 7], sold: 0 })
  shop.expectSound()
})

test('a hub that sells nothing gives the same for nothing', async () => {
  const { world } = await openShop()
  const { openApi } = await import('#test/answers.ts')
  const { Registry } = await import('prom-client')
  const { till: _, ...deps } = world.deps
  const api = openApi({ ...deps, metrics: new Registry() })
  const response = await api.request(address(panel()))
  expect([response.status, response.headers.get('price')]).toEqual([200, null])
  expect(((await response.json()) as Body).results[0]!.series![0]!.values).toHaveLength(6)
})

test('a whole hub answers the influx package what it answers everybody', { timeout: 120_000 }, async () => {
  const { http, key } = await startSellingHub()
  const influx = clientOf(http, key)
  const ask = async <T>(path: string): Promise<T> =>
    (await (await fetch(`${http}${path}`, { headers: { authorization: `Bearer ${key}` } })).json()) as T
  const first = await until('readings to buy', 60, async () => {
    const { readings } = await ask<{ readings: { time: string; values: { temperature?: number } }[] }>(
      '/v1/readings?from=-10m&quantity=temperature&limit=1',
    )
    return readings[0]
  })
  const from = Date.parse(first.time) - (Date.parse(first.time) % 1000)
  await until('some seconds', 60, async () => Date.now() > from + 8000 || undefined)
  const where = `time >= ${from}ms AND time < ${from + 6000}ms`
  const rows = await influx.query<{ time: { getTime(): number }; mean: number; n: number; station: string }>(
    `SELECT mean(temperature), count(temperature) AS n FROM readings WHERE ${where} GROUP BY time(2s), station, sensor fill(none)`,
    { precision: 'ms' },
  )
  const { buckets } = await ask<{
    buckets: { time: string; values: { temperature: number }; counts: { temperature: number } }[]
  }>(`/v1/readings?from=${from}&to=${from + 6000}&quantity=temperature&every=2s`)
  expect(rows.length).toBeGreaterThan(0)
  const sorted = (list: readonly (readonly number[])[]) => list.map((one) => one.join()).sort()
  expect(sorted(rows.map(({ time, mean, n }) => [time.getTime(), mean, n]))).toEqual(
    sorted(
      buckets.map(({ time, values, counts }) => [Date.parse(time), values.temperature, counts.temperature]),
    ),
  )
  const short = `time >= ${from}ms AND time < ${from + 4000}ms`
  const bought = await fetch(`${http}${address(`SELECT temperature FROM readings WHERE ${short}`)}`, {
    headers: { authorization: `Bearer ${key}` },
  })
  const values = ((await bought.json()) as Body).results[0]!.series![0]!.values
  const receipt = bought.headers.get('receipt-id')
  const report = await until('its proof', 60, async () => {
    const bundle = await fetch(`${http}/v1/receipts/${receipt}/bundle`, {
      headers: { authorization: `Bearer ${key}` },
    })
    return bundle.ok ? verifyBundle(new Uint8Array(await bundle.arrayBuffer())) : undefined
  })
  expect([report.ok, report.failure]).toEqual([true, null])
  const times = new Set(report.readings.map(({ timeMs }) => timeMs))
  expect(values.every(([time]) => times.has(time as number))).toBe(true)
  await expect(clientOf(http, `${key}x`).getMeasurements()).rejects.toThrow('authorization failed')
})
