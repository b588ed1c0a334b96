import { createHash } from 'node:crypto'
import { describe, expect, expectTypeOf, onTestFinished, test, vi } from 'vitest'
import type { z } from 'zod'
import {
  type Budget,
  type CellFeatures,
  type CoveredCell,
  HubDistrusted,
  HubProblem,
  HubUnreachable,
  type IntervalRow,
  type KeptReceipt,
  LimitReached,
  openClient,
  type ReadingRow,
  type Station,
} from '#gateway/client/client.ts'
import type { coverageSchema, stationFeaturesSchema } from '#gateway/market/place-schemas.ts'
import type { budgetSchema, receiptSchema } from '#gateway/market/sale-schemas.ts'
import type { latestSchema, readingsSchema, stationsSchema } from '#gateway/market/schemas.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { many, openShop } from '#test/client-world.ts'
import { anHour, nowMs, openWorld, stationA, stationB, viennaCell } from '#test/market-world.ts'
import { newSigner } from '#test/station.ts'

const hourOfB = { station: stationB, from: nowMs - 3_600_000, to: nowMs } as const
// As selling.test.ts counts it: 15 fresh values, 44 older ones, the base.
const hourPrice = 470n

/** An answer with another body, and headers that fit it where `consistent`. */
const altered = async (answer: Response, change: (text: string) => string, consistent = false) => {
  const text = change(await answer.text())
  const headers = new Headers(answer.headers)
  headers.delete('content-encoding')
  if (consistent)
    headers.set('content-digest', `sha-256=:${createHash('sha256').update(text).digest('base64')}:`)
  return new Response(text, { status: answer.status, headers })
}

describe('the client: what is free', () => {
  test('gives stations, one station, places, coverage and quantities as the hub describes them', async () => {
    const { open } = await openShop()
    const hub = open()
    const stations = await Array.fromAsync(hub.stations())
    expect(stations.map(({ station }) => station)).toEqual([stationA, stationB, 'c'.repeat(32)])
    expect(await Array.fromAsync(hub.stations({ near: '48.2,16.37,25km' }))).toHaveLength(1)
    expect(await hub.station(stationA)).toMatchObject({ station: stationA, profile: { cell: viennaCell } })
    const { features } = await hub.stationFeatures({ bbox: [16, 48, 17, 49] })
    expect(features.map(({ id, geometry }) => [id, geometry.type])).toEqual([[stationA, 'Polygon']])
    expect(await hub.stationFeatures({ bbox: [0, 0, 1, 1] })).toEqual({
      type: 'FeatureCollection',
      features: [],
    })
    const covered = await hub.coverage({ resolution: 7, quantity: ['temperature', 'humidity'] })
    expect(covered.features[0]!.properties).toMatchObject({ cell: viennaCell, stations: 1 })
    expect((await hub.sample({ station: stationB })).map(({ sensor }) => sensor)).toContain('roof')
    expect((await hub.quantities()).find(({ name }) => name === 'temperature')?.unit).toBe('°C')
  })

  test('follows stations from page to page', async () => {
    const { open, requests } = await openShop()
    const hub = open({}, (request, next) => {
      const url = new URL(request.url)
      if (url.pathname === '/v1/stations') url.searchParams.set('limit', '1')
      return next(new Request(url, request))
    })
    expect(await Array.fromAsync(hub.stations())).toHaveLength(3)
    expect(requests).toHaveLength(3)
  })

  test('its types promise what the hub describes', () => {
    type Wire<T> = T extends bigint ? number : T extends object ? { [Name in keyof T]: Wire<T[Name]> } : T
    type Rows = z.output<typeof readingsSchema>
    expectTypeOf<Extract<Rows, { readings: unknown }>['readings'][number]>().toExtend<Wire<ReadingRow>>()
    expectTypeOf<Extract<Rows, { buckets: unknown }>['buckets'][number]>().toExtend<Wire<IntervalRow>>()
    expectTypeOf<z.output<typeof latestSchema>['readings'][number]>().toExtend<Wire<ReadingRow>>()
    expectTypeOf<z.output<typeof stationsSchema>['stations'][number]>().toExtend<Wire<Station>>()
    expectTypeOf<z.output<typeof stationFeaturesSchema>>().toExtend<Wire<CellFeatures<Station>>>()
    expectTypeOf<z.output<typeof coverageSchema>>().toExtend<Wire<CellFeatures<CoveredCell>>>()
    expectTypeOf<z.output<typeof budgetSchema>>().toExtend<Wire<Budget>>()
    expectTypeOf<z.output<typeof receiptSchema>>().toExtend<Wire<KeptReceipt>>()
  })
})

describe('the client: buying', () => {
  test('quotes, buys at that price and checks the receipt: the books agree', async () => {
    const { open, credit, sales } = await openShop()
    const hub = open()
    const quote = await hub.quote(hourOfB)
    expect(quote).toMatchObject({ rows: 60, values: 60, priceMicroUsd: hourPrice })
    expect(credit()).toBe(1_000_000n)
    const bought = await quote.buy()
    const rows = await bought.all()
    expectTypeOf(rows).toEqualTypeOf<ReadingRow[]>()
    expect(rows).toHaveLength(60)
    expect(rows[0]).toMatchObject({ station: stationB, sensor: 'roof', values: { temperature: -3.07 } })
    const [sale] = sales()
    expect(bought).toMatchObject({ priceMicroUsd: hourPrice, receiptId: sale!.id })
    expect(bought.receipt).toMatchObject({ id: sale!.id, rows: 60, priceMicroUsd: 470, rail: 'credits' })
    expect(credit()).toBe(1_000_000n - hourPrice)
    expect(hub.spentMicroUsd).toBe(hourPrice)
    expect(await hub.receipt(sale!.id)).toMatchObject({ id: sale!.id, priceMicroUsd: hourPrice })
    expect(await hub.budget()).toMatchObject({ creditMicroUsd: 1_000_000n - hourPrice, budgetMicroUsd: null })
    expect(await hub.account()).toMatchObject({ creditMicroUsd: 1_000_000n - hourPrice, stations: [] })
  })

  test('takes times as Date, as number, as text and back from now, all by the hub’s clock', async () => {
    const { open } = await openShop()
    const hub = open()
    for (const [from, to] of [
      [new Date(hourOfB.from), new Date(hourOfB.to)],
      [new Date(hourOfB.from).toISOString(), hourOfB.to],
    ] as const)
      expect((await hub.buy({ station: stationB, from, to })).fromMs).toBe(hourOfB.from)
    // The hub's clock is far from this machine's, and does not stand still in between.
    const { fromMs, toMs } = await hub.buy({ station: stationB, from: '-1h' })
    expect(toMs - fromMs).toBe(3_600_000)
    expect(Math.abs(toMs - nowMs)).toBeLessThan(60_000)
    await expect(hub.buy({ from: 'yesterday' })).rejects.toThrow('from takes a time such as')
  })

  test('gives one value for each interval where "every" is asked for', async () => {
    const { open } = await openShop()
    const rows = await Array.fromAsync(open().readings({ ...hourOfB, every: '30m', fn: 'count' }))
    expectTypeOf(rows).toEqualTypeOf<IntervalRow[]>()
    expect(rows.map(({ values }) => values)).toEqual([{ temperature: 30 }, { temperature: 30 }])
  })

  test('leaves out what is not good enough', async () => {
    const { open } = await openShop()
    const hub = open()
    const intervals = await hub.buy({ ...hourOfB, minQuality: 0.5, every: '1h', fn: 'count' })
    expect((await intervals.all()).map(({ values }) => values)).toEqual([{ temperature: 59 }])
    const bought = await hub.buy({ ...hourOfB, minQuality: 0.5 })
    expect((await bought.all()).map(({ quality }) => quality.score)).toEqual(new Array(59).fill(1))
  })

  test('buys every page with the first, and asks for later ones only when they are read', async () => {
    const { open, credit, sales, requests } = await openShop(many)
    const bought = await open({ maxMicroUsd: 1_000_000n }).buy(hourOfB)
    const paid = 1_000_000n - credit()
    expect(bought.priceMicroUsd).toBe(paid)
    expect(paid).toBeGreaterThan(10_400n)
    const asked = () => requests.filter(({ url }) => url.includes('/v1/readings')).length
    expect(asked()).toBe(1)
    const pages = await Array.fromAsync(bought.pages())
    expect(pages.map((rows) => rows.length)).toEqual([10_000, 400])
    expect(new Set((await bought.all()).map(({ time }) => time)).size).toBe(10_400)
    expect(1_000_000n - credit()).toBe(paid)
    expect(sales()).toHaveLength(1)
  })

  test('gives the same in every format of the hub, as it comes', async () => {
    const { open } = await openShop(many)
    const hub = open({ maxMicroUsd: 1_000_000n })
    const lines = await Array.fromAsync((await hub.download(hourOfB, 'ndjson')).bodies())
    expect(lines.map((body) => new TextDecoder().decode(body).split('\n').length - 1)).toEqual([10_000, 400])
    const bought = await hub.download(hourOfB, 'parquet')
    expect(bought.receipt).toMatchObject({ rows: 10_400 })
    for await (const body of bought.bodies()) expect(new TextDecoder().decode(body.slice(0, 4))).toBe('PAR1')
  })

  test('buys nothing above the limit of a purchase, nor above that of all together', async () => {
    const { open, credit, requests } = await openShop()
    const small = open({ maxMicroUsd: hourPrice - 1n })
    const refused = await small.buy(hourOfB).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(LimitReached)
    expect(refused).toMatchObject({
      limit: 'purchase',
      priceMicroUsd: hourPrice,
      leftMicroUsd: hourPrice - 1n,
    })
    expect(requests.some(({ url }) => url.includes('/v1/readings'))).toBe(false)
    await small.buy(hourOfB, { maxMicroUsd: hourPrice })
    const twice = open({ maxTotalMicroUsd: 2n * hourPrice })
    // All at once: what one has put aside, the others cannot spend.
    const outcomes = await Promise.allSettled([1, 2, 3, 4].map(() => twice.buy(hourOfB)))
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
    expect(twice.spentMicroUsd).toBe(2n * hourPrice)
    await expect(twice.buy(hourOfB)).rejects.toMatchObject({ limit: 'total', leftMicroUsd: 0n })
    expect(credit()).toBe(1_000_000n - 3n * hourPrice)
  })

  test('what turned out cheaper than it was offered counts as what was paid', async () => {
    const { open, till, customer } = await openShop()
    const hub = open()
    const quote = await hub.quote(hourOfB)
    till.sales.keys.own(customer, stationB)
    expect(await quote.buy()).toMatchObject({ priceMicroUsd: 0n, receiptId: null })
    expect(hub.spentMicroUsd).toBe(0n)
  })

  test('does not count what the hub refused', async () => {
    const { open } = await openShop(anHour(), { starter: hourPrice - 1n })
    const hub = open({ maxTotalMicroUsd: hourPrice })
    const refused = await hub.buy(hourOfB).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(HubProblem)
    expect(refused).toMatchObject({
      slug: 'credit-exhausted',
      status: 402,
      payment: { priceMicroUsd: hourPrice, priceUsd: '0.000470', balanceMicroUsd: hourPrice - 1n },
      message: expect.stringContaining('Add credit to the account'),
    })
    expect(hub.spentMicroUsd).toBe(0n)
  })

  test('a price that rises after the quote stays as it was offered; an offer of another hub is none', async () => {
    const { open, credit, till } = await openShop()
    const quote = await open().quote(hourOfB)
    expect(quote.offerExpires).toMatch(/^2026-/)
    await quote.buy()
    expect(credit()).toBe(1_000_000n - hourPrice)

    const other = newSigner()
    const forged = open({}, async (request, next) => {
      const answer = await next(request)
      if (!request.url.includes('/v1/status')) return answer
      return altered(answer, (text) =>
        text.replace(/"hubKey":"[0-9a-f]+"/, `"hubKey":"${toHex(other.publicKey)}"`),
      )
    })
    await expect(forged.buy(hourOfB)).rejects.toThrow('the offer is not signed by this hub')
    const cheaper = open({}, async (request, next) => {
      const answer = await next(request)
      if (!request.url.includes('/v1/quotes')) return answer
      return altered(answer, (text) => text.replace('"priceMicroUsd":470', '"priceMicroUsd":469'))
    })
    await expect(cheaper.buy(hourOfB)).rejects.toThrow('the signed offer names another price')
    expect(till.sales.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
    expect(credit()).toBe(1_000_000n - hourPrice)
  })

  test('a hub of another key than the one expected is asked for nothing', async () => {
    const { open, signer, requests } = await openShop()
    await open({ hubKey: toHex(signer.publicKey).toUpperCase() }).quote(hourOfB)
    requests.length = 0
    await expect(open({ hubKey: toHex(newSigner().publicKey) }).buy(hourOfB)).rejects.toThrow('another hub')
    expect(requests).toHaveLength(1)
  })

  test('the newest reading of each sensor has its price and its limit too', async () => {
    const { open, credit } = await openShop()
    const hub = open()
    const { readings, priceMicroUsd, receiptId } = await hub.latest({ quantity: ['temperature'] })
    expect(readings.map(({ sensor }) => sensor)).toEqual(['garden', 'roof'])
    expect(credit()).toBe(1_000_000n - priceMicroUsd)
    expect(priceMicroUsd).toBeGreaterThan(0n)
    expect(receiptId).toMatch(/^[0-9a-f]{32}$/)
    await expect(hub.latest({}, { maxMicroUsd: 1n })).rejects.toBeInstanceOf(LimitReached)
    expect(credit()).toBe(1_000_000n - priceMicroUsd)
  })

  test('a hub that sells nothing gives its readings for nothing', async () => {
    await using world = await openWorld()
    const hub = openClient({
      url: 'http://free.test/',
      fetch: async (input, init) => world.api.fetch(new Request(input, init)),
    })
    const bought = await hub.buy(hourOfB)
    expect(bought).toMatchObject({ priceMicroUsd: 0n, receiptId: null, receipt: null })
    expect(await bought.all()).toHaveLength(60)
    expect((await hub.latest()).readings).toHaveLength(2)
    await expect(bought.proof()).rejects.toThrow('no proof is given for it')
  })
})

describe('the client: a rude world', () => {
  test('a purchase whose answer was lost or cut off is asked for again, and paid once', async () => {
    const { open, credit, sales } = await openShop()
    const faults = ['busy', 'lost', 'half']
    const hub = open({}, async (request, next) => {
      if (!request.url.includes('/v1/readings')) return next(request)
      const fault = faults.shift()
      if (fault === 'busy') return new Response('', { status: 503, headers: { 'retry-after': '1' } })
      const answer = await next(request)
      if (fault === undefined) return answer
      const body = new Uint8Array(await answer.arrayBuffer())
      if (fault === 'lost') throw new TypeError('fetch failed')
      const torn = new ReadableStream({
        start: (controller) => controller.enqueue(body.subarray(0, 100)),
        pull: (controller) => controller.error(new TypeError('terminated')),
      })
      return new Response(torn, { headers: answer.headers })
    })
    expect(await (await hub.buy(hourOfB)).all()).toHaveLength(60)
    expect(faults).toEqual([])
    expect(sales()).toHaveLength(1)
    expect(credit()).toBe(1_000_000n - hourPrice)
  })

  test('stops asking after so many tries, says why, and counts what may have been paid', async () => {
    const { open, requests } = await openShop()
    const hub = open({ tries: 2 }, async (request, next) => {
      if (request.url.includes('/v1/readings'))
        throw new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') })
      return next(request)
    })
    const failed = await hub.buy(hourOfB).catch((error: unknown) => error)
    expect(failed).toBeInstanceOf(HubUnreachable)
    expect((failed as Error).message).toContain('ECONNREFUSED')
    const tried = requests.filter(({ url }) => url.includes('/v1/readings'))
    expect(tried).toHaveLength(2)
    expect(new Set(tried.map(({ headers }) => headers.get('idempotency-key'))).size).toBe(1)
    expect(hub.spentMicroUsd).toBe(hourPrice)
  })

  test('a limit on requests is waited for, and told when it lasts', async () => {
    const { open } = await openShop()
    let asked = 0
    const hub = open({ tries: 3 }, async () => {
      asked++
      return Response.json(
        { type: '/problems/rate-limited', title: 'Too many requests', detail: '', help: '' },
        { status: 429, headers: { 'retry-after': '1' } },
      )
    })
    const refused = await hub.status().catch((error: unknown) => error)
    expect(refused).toMatchObject({ slug: 'rate-limited', status: 429, retryAfterS: 1 })
    expect(asked).toBe(3)
  })

  test('waits as long as the hub asks for, and no longer than a minute', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { open, requests } = await openShop()
    for (const [asked, waitedS] of [
      ['30', 30],
      ['3600', 60],
    ] as const) {
      requests.length = 0
      const hub = open({ tries: 2 }, async () => {
        return new Response('', { status: 503, headers: { 'retry-after': asked } })
      })
      const refused = hub.status().catch((error: unknown) => error)
      await vi.advanceTimersByTimeAsync(waitedS * 1000 - 1)
      expect(requests).toHaveLength(1)
      await vi.advanceTimersByTimeAsync(1)
      expect(requests).toHaveLength(2)
      expect(await refused).toMatchObject({ slug: 'unknown', status: 503 })
    }
  })

  test('a wrong parameter is named, and is not asked for twice', async () => {
    const { open, requests } = await openShop()
    const refused = await open()
      .quote({ quantity: 'temprature' })
      .catch((error: unknown) => error)
    expect(refused).toMatchObject({ slug: 'invalid-query', status: 400, fields: [{ name: 'quantity' }] })
    expect((refused as Error).message).toContain('did you mean "temperature"?')
    expect(requests.filter(({ url }) => url.includes('quotes'))).toHaveLength(1)
  })

  test('readings that were changed on the way are no purchase, whatever the headers say', async () => {
    const { open } = await openShop()
    for (const [consistent, words] of [
      [false, 'Content-Digest'],
      [true, 'the receipt is of other readings'],
    ] as const) {
      const hub = open({}, async (request, next) => {
        const answer = await next(request)
        return request.url.includes('/v1/readings')
          ? altered(answer, (text) => text.replace('-3.07', '-3.08'), consistent)
          : answer
      })
      const refused = await hub.buy(hourOfB).catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(HubDistrusted)
      expect(refused).toMatchObject({
        message: expect.stringContaining(words),
        receiptId: expect.stringMatching(/^[0-9a-f]{32}$/),
        body: expect.any(Uint8Array),
      })
    }
  })

  test('a receipt, a price or a page that is not the hub’s own ends the purchase', async () => {
    const cases: readonly (readonly [path: string, change: (text: string) => string, words: string])[] = [
      ['/v1/receipts/', (text) => text.replace(/"jws":"[^"]{8}/, '"jws":"AAAAAAAA'), 'the receipt as JWS'],
      ['/v1/receipts/', (text) => text.replace(/.{8}"}$/, 'AAAAAAA="}'), 'the receipt does not hold'],
      [
        '/v1/status',
        (text) => text.replace('groundtruth', 'grundwahrheit'),
        'no answer of a Groundtruth hub',
      ],
    ]
    for (const [path, change, words] of cases) {
      const { open } = await openShop()
      const hub = open({}, async (request, next) => {
        const answer = await next(request)
        return request.url.includes(path) ? altered(answer, change) : answer
      })
      await expect(hub.buy(hourOfB)).rejects.toThrow(words)
    }
    const { open } = await openShop(many)
    const later: readonly (readonly [header: string, value: string, words: string])[] = [
      ['price', '1', 'asks for 1 on page 2'],
      ['content-digest', 'sha-256=:AAAA:', 'not what its Content-Digest says'],
      ['link', 'of-the-first', 'gives the same page again'],
    ]
    for (const [header, value, words] of later) {
      let link = ''
      const hub = open({ maxMicroUsd: 1_000_000n }, async (request, next) => {
        const answer = await next(request)
        link ||= answer.headers.get('link') ?? ''
        if (!request.url.includes('cursor=')) return answer
        const headers = new Headers(answer.headers)
        headers.set(header, value === 'of-the-first' ? link : value)
        return new Response(answer.body, { headers })
      })
      await expect((await hub.buy(hourOfB)).all()).rejects.toThrow(words)
    }
  })

  test('a key goes to the hub and nowhere else, and no further than one address', async () => {
    const { open, secret } = await openShop()
    const hub = open(
      {},
      async () => new Response(null, { status: 307, headers: { location: 'http://else' } }),
    )
    await expect(hub.budget()).rejects.toThrow('sends us on')
    for (const url of ['ftp://hub', 'hub.example', 'http://user:word@hub'])
      expect(() => openClient({ url })).toThrow('url takes the address of a hub')
    expect(() => openClient({ url: 'http://hub', key: `${secret}\n` })).toThrow('key is no API key')
  })

  test('more than can be meant is not read', async () => {
    const { open } = await openShop()
    const endless = open({}, async () => {
      const chunk = new Uint8Array(1 << 20)
      return new Response(new ReadableStream({ pull: (controller) => controller.enqueue(chunk) }))
    })
    await expect(endless.status()).rejects.toThrow('more than 4194304 bytes')
  })

  test('pages that come to more than a sale can be are not all read', async () => {
    const { open } = await openShop(many)
    const piece = new Uint8Array(4 << 20)
    let pages = 0
    const hub = open({ maxMicroUsd: 1_000_000n }, async (request, next) => {
      const cursor = /&cursor=[^&]*/.exec(request.url)
      if (cursor === null) return next(request)
      // Each of them is small enough, and each has another one behind it.
      let pieces = 15
      const body = new ReadableStream<Uint8Array>({
        pull: (controller) => (pieces-- > 0 ? controller.enqueue(piece) : controller.close()),
      })
      const link = `<${request.url.replace(cursor[0], `&cursor=${++pages}`)}>; rel="next"`
      return new Response(body, { headers: { link } })
    })
    const bought = await (await hub.quote(hourOfB)).download('ndjson')
    const read = async () => {
      for await (const _ of bought.bodies()) if (pages > 20) expect.fail('it reads on')
    }
    await expect(read()).rejects.toThrow('the hub gives more than 268435456 bytes')
    expect(pages).toBe(5)
  })

  test('whoever asked can stop waiting', async () => {
    const { open } = await openShop()
    const stop = new AbortController()
    const hub = open({}, async () => {
      stop.abort(new Error('enough'))
      return new Response('', { status: 503, headers: { 'retry-after': '60' } })
    })
    await expect(hub.status({ signal: stop.signal })).rejects.toThrow('enough')
  })
})
