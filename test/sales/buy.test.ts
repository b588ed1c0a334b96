import { createHash } from 'node:crypto'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { HttpBindings } from '@hono/node-server'
import { decode, decodeFirst } from 'cborg'
import { parquetReadObjects } from 'hyparquet'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '#gateway/config.ts'
import { buildBundle } from '#gateway/market/bundle.ts'
import { formatNames } from '#gateway/market/formats/all.ts'
import { run as serve } from '#gateway/market/serve.ts'
import { type SalesReceipt, signSale } from '#gateway/reading/sale.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { openWorld as openBundleWorld } from '#test/bundle-world.ts'
import { start } from '#test/kill/process.ts'
import { anHour, nowMs, openWorld, stationB } from '#test/market-world.ts'
import { signerOf, weather } from '#test/reading/samples.ts'
import { startSellingHub } from '#test/sales/whole-hub.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

const network = 'testnet'
const hour = ['--station', stationB, '--from', `${nowMs - 3_600_000}`, '--to', 'now']
// As selling.test.ts counts it: 15 fresh values, 44 older ones, the base.
const hourPrice = 470n

type Fetch = (request: Request, bindings: HttpBindings) => Response | Promise<Response>

/** A hub that sells, on a socket; `between` sees requests before it and may answer for it. */
const openShop = async (
  between: (request: Request, bindings: HttpBindings, hub: Fetch) => ReturnType<Fetch> = (
    request,
    bindings,
    hub,
  ) => hub(request, bindings),
  stations: readonly StoredReading[] = anHour(),
  over: Parameters<typeof openWorld>[0] = {},
) => {
  const signer = newSigner()
  const selling = openSelling({
    path: join(temporaryDirectory(), 'sales.sqlite'),
    network,
    hub: signer,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 1_000_000n,
    nowMs: () => nowMs,
  })
  const { till } = selling
  const world = await openWorld({ till, network, hubKey: signer.publicKey, ...over }, [...stations])
  const stop = new AbortController()
  const bound = Promise.withResolvers<number>()
  const hub: Fetch = (request, bindings) => world.api.fetch(request, bindings)
  const ended = serve(
    {
      app: { fetch: (request, bindings) => between(request, bindings as HttpBindings, hub) },
      host: '127.0.0.1',
      port: 0,
      listening: bound.resolve,
    },
    stop.signal,
  )
  onTestFinished(async () => {
    stop.abort()
    await ended
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  const url = `http://127.0.0.1:${await bound.promise}`
  const { key, secret } = till.signUp({
    label: '',
    scopes: ['read'],
    budget: null,
    alarmPercent: null,
    expiresMs: null,
  })
  const credit = () => till.sales.ledger.balance(`customer:${key.customer}`)
  const buy = (...args: string[]) => buyAt(url, secret, ...args)
  return { url, secret, buy, credit, till, customer: key.customer }
}

/** The hub's answer in plain text, to be changed. */
const plainly = (hub: Fetch, { url, method, headers }: Request, bindings: HttpBindings) => {
  const without = new Headers(headers)
  without.delete('accept-encoding')
  return hub(new Request(url, { method, headers: without }), bindings)
}

const buyAt = async (url: string, secret: string | undefined, ...args: string[]) => {
  const running = start(
    ['buy', '--hub', url, ...args],
    secret === undefined ? {} : { GROUNDTRUTH_KEY: secret },
  )
  let out = ''
  running.child.stdout!.on('data', (chunk: Buffer) => (out += chunk))
  const code = await new Promise<number | null>((resolve) => running.child.once('close', resolve))
  return { code, said: running.said(), out }
}

describe('groundtruth buy', () => {
  test('says the price without a key, and sells for it: data, receipt and the books agree', async () => {
    const { url, buy, credit, till, customer } = await openShop()
    expect(await buyAt(url, undefined, ...hour, '--quote')).toMatchObject({
      code: 0,
      out: '0.000470 USD for 60 rows with 60 values\n',
    })
    expect(credit()).toBe(1_000_000n)
    const file = join(temporaryDirectory(), 'hour.json')
    const bought = await buy(...hour, '--output', file, '--json')
    expect(bought.code, bought.said).toBe(0)
    expect(credit()).toBe(1_000_000n - hourPrice)
    const [sale] = till.sales.list(customer, 10)
    expect(JSON.parse(bought.out)).toEqual({
      rows: 60,
      priceMicroUsd: Number(hourPrice),
      priceUsd: '0.000470',
      receipt: sale!.id,
      output: file,
    })
    expect((JSON.parse(readFileSync(file, 'utf8')) as { readings: unknown[] }).readings).toHaveLength(60)
    expect(existsSync(`${file}.part`)).toBe(false)
  })

  test('says what was credited where less was there than is promised', async () => {
    // Twice as often as it does, the sensor ought to speak.
    const paces = () => [{ sensor: 'roof', intervalMs: 30_000, newestMs: nowMs - 60_000 }]
    const { buy, credit } = await openShop(undefined, undefined, { paces })
    const file = join(temporaryDirectory(), 'hour.json')
    const told = await buy(...hour, '--output', file)
    expect(told.code, told.said).toBe(0)
    const promised = 900n
    const credited = (hourPrice * (promised - 500n)) / promised
    expect(credit()).toBe(1_000_000n - hourPrice + credited)
    expect(told.out).toContain('0.000208 USD of it credited: less was there than the hub promises')
    const again = await buy(...hour, '--output', file, '--json')
    expect(JSON.parse(again.out)).toMatchObject({
      priceMicroUsd: Number(hourPrice),
      creditMicroUsd: Number(credited),
    })
  })

  test('buys nothing above --max-usd, ends with 1, and tells the price', async () => {
    const { buy, credit } = await openShop()
    const file = join(temporaryDirectory(), 'hour.json')
    const refused = await buy(...hour, '--max-usd', '0.000469', '--output', file)
    expect(refused).toMatchObject({ code: 1, said: expect.stringContaining('this costs 0.000470 USD') })
    expect(credit()).toBe(1_000_000n)
    expect([existsSync(file), existsSync(`${file}.part`)]).toEqual([false, false])
    const exact = await buy(...hour, '--max-usd', '0.00047', '--format', 'csv')
    expect(exact.code, exact.said).toBe(0)
    expect(exact.out.split('\r\n')).toHaveLength(62)
    expect(exact.said).toMatch(/60 rows for 0\.000470 USD, receipt [0-9a-f]{32} checked/)
  })

  test('a broken connection and a busy hub cost one sale and no more', async () => {
    const faults = ['busy', 'after', 'half']
    const { buy, credit, till, customer } = await openShop(async (request, bindings, hub) => {
      if (!request.url.includes('/v1/readings')) return hub(request, bindings)
      const fault = faults.shift()
      if (fault === undefined) return hub(request, bindings)
      if (fault === 'busy') return new Response('', { status: 503 })
      const answer = await hub(request, bindings)
      const body = new Uint8Array(await answer.arrayBuffer())
      if (fault === 'after') {
        bindings.incoming.socket.destroy()
        return new Response('')
      }
      let pulled = 0
      const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
        if (pulled++ === 0) return controller.enqueue(body.subarray(0, 100))
        await sleep(100)
        bindings.incoming.socket.destroy()
      }
      return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }), { headers: answer.headers })
    })
    const bought = await buy(...hour, '--format', 'ndjson')
    expect(bought.code, bought.said).toBe(0)
    expect(faults).toEqual([])
    expect(bought.out.trim().split('\n')).toHaveLength(60)
    expect(credit()).toBe(1_000_000n - hourPrice)
    expect(till.sales.list(customer, 10)).toHaveLength(1)
  })

  /** A shop with more readings of one station than a page holds; `isBroken` spoils later pages. */
  const openLargeShop = async (isBroken = () => false) => {
    const [one] = anHour().filter(({ station }) => station === stationB)
    const many = Array.from({ length: 10_400 }, (_, at): StoredReading => {
      return { ...one!, timeMs: nowMs - 3_600_000 + at * 300, seq: 1 + at, place: 0 }
    })
    const { buy, credit } = await openShop((request, bindings, hub) => {
      if (!isBroken() || !request.url.includes('cursor=')) return hub(request, bindings)
      return new Response('no', { headers: { 'content-digest': 'sha-256=:AAAA:' } })
    }, many)
    return {
      times: many.map(({ timeMs }) => new Date(timeMs).toISOString()),
      buy: async (...args: string[]) => {
        const before = credit()
        const bought = await buy(...hour, ...args, '--max-usd', '1')
        return { ...bought, cost: before - credit() }
      },
    }
  }
  const timesOf = (rows: readonly { readonly time: string }[]) => rows.map(({ time }) => time)

  test('all pages come for the price of the first, and text becomes one', { timeout: 60_000 }, async () => {
    const { buy, times } = await openLargeShop()
    const price = async (format: string) => {
      const bought = await buy('--format', format)
      expect(bought.code, bought.said).toBe(0)
      return bought
    }
    const lines = await price('ndjson')
    expect(
      timesOf(
        lines.out
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
      ),
    ).toEqual(times)
    const json = await price('json')
    const whole = JSON.parse(json.out)
    expect(timesOf(whole.readings)).toEqual(times)
    expect(whole).toMatchObject({ next: null, from: times[0] })
    const csv = await price('csv')
    expect(csv.out.split('\r\n').filter((line) => line.startsWith('time,'))).toHaveLength(1)
    expect(csv.out.split('\r\n')).toHaveLength(10_402)
    const map = await price('geojson')
    const { type, features } = JSON.parse(map.out) as {
      type: string
      features: { properties: { time: string } }[]
    }
    expect(type).toBe('FeatureCollection')
    expect(timesOf(features.map(({ properties }) => properties))).toEqual(times)
    expect(new Set([lines.cost, json.cost, csv.cost, map.cost]).size).toBe(1)
  })

  test('pages of CBOR become a sequence, and pages of Parquet a file each', { timeout: 60_000 }, async () => {
    let isBroken = false
    const { buy, times } = await openLargeShop(() => isBroken)
    const directory = temporaryDirectory()
    const sequence = join(directory, 'rows.cbor')
    const bought = await buy('--format', 'cbor', '--output', sequence)
    expect(bought.out).toContain(
      `${sequence} is a sequence of 2 CBOR maps (RFC 8742), one a page\n10400 rows for`,
    )
    const [first, rest] = decodeFirst(readFileSync(sequence))
    expect([first, decode(rest)].flatMap(({ readings }) => timesOf(readings))).toEqual(times)

    const tables = [join(directory, 'rows.parquet'), join(directory, 'rows-2.parquet')]
    const inTables = await buy('--format', 'parquet', '--output', tables[0]!, '--json')
    expect(JSON.parse(inTables.out)).toMatchObject({ rows: 10_400, output: tables[0], files: tables })
    const read = (path: string) => parquetReadObjects({ file: new Uint8Array(readFileSync(path)).buffer })
    const rows = (await Promise.all(tables.map(read))).flat()
    expect(rows.map(({ time }) => (time as Date).toISOString())).toEqual(times)

    isBroken = true
    const half = join(directory, 'half.parquet')
    expect(await buy('--format', 'parquet', '--output', half)).toMatchObject({
      code: 1,
      said: expect.stringContaining(`What came is in ${half}.part.\n`),
    })
    expect(await read(`${half}.part`)).toHaveLength(10_000)
  })

  test('Parquet needs a file to go to, and costs nothing without one', async () => {
    const { buy, credit } = await openShop()
    expect(await buy(...hour, '--format', 'parquet')).toMatchObject({
      code: 64,
      out: '',
      said: expect.stringContaining('--format parquet needs --output'),
    })
    expect(credit()).toBe(1_000_000n)
    expect(await buy(...hour, '--format', 'parquet', '--quote')).toMatchObject({ code: 0 })
  })

  test('a format that no hub has is refused with those that there are', async () => {
    const wrong = await buyAt('http://127.0.0.1:1', undefined, '--format', 'xml')
    expect(wrong.code).toBe(64)
    const choices = /Allowed choices are (.*)\.\n/.exec(wrong.said)?.[1]?.split(', ')
    expect(new Set(choices)).toEqual(new Set(formatNames))
  })

  test('readings that were changed on the way, and another hub’s receipt, are no purchase', async () => {
    const changed = await openShop(async (request, bindings, hub) => {
      const answer = await plainly(hub, request, bindings)
      if (!request.url.includes('/v1/readings')) return answer
      const text = (await answer.text()).replace('-3.07', '-3.08')
      return new Response(text, { headers: answer.headers })
    })
    const file = join(temporaryDirectory(), 'hour.json')
    expect(await changed.buy(...hour, '--output', file)).toMatchObject({
      code: 1,
      said: expect.stringContaining('Content-Digest'),
    })
    expect(existsSync(file)).toBe(false)

    const consistent = await openShop(async (request, bindings, hub) => {
      const answer = await plainly(hub, request, bindings)
      if (!request.url.includes('/v1/readings')) return answer
      const text = (await answer.text()).replace('-3.07', '-3.08')
      const headers = new Headers(answer.headers)
      const digest = createHash('sha256').update(text).digest('base64')
      headers.set('content-digest', `sha-256=:${digest}:`)
      return new Response(text, { headers })
    })
    expect(await consistent.buy(...hour, '--output', file)).toMatchObject({
      code: 1,
      said: expect.stringContaining('FAILED: the receipt is of other readings'),
    })
    expect([existsSync(file), existsSync(`${file}.part`)]).toEqual([false, true])

    for (const [member, told] of [
      ['jws', 'the receipt as JWS is not signed by this hub'],
      ['cose', 'the receipt does not hold'],
    ] as const) {
      const shop = await openShop(async (request, bindings, hub) => {
        const answer = await plainly(hub, request, bindings)
        if (!request.url.includes('/v1/receipts/')) return answer
        const receipt = (await answer.json()) as { jws: string; cose: string }
        receipt[member] = `${receipt[member].slice(0, -8)}${member === 'jws' ? 'AAAAAAAA' : 'AAAAAAA='}`
        return Response.json(receipt)
      })
      expect(await shop.buy(...hour)).toMatchObject({
        code: 1,
        out: '',
        said: expect.stringContaining(told),
      })
    }
  })

  test('a proof that holds, and is of something else, is no proof of it', async () => {
    const world = openBundleWorld(network)
    const station = world.addStation(signerOf(21))
    world.sign(station, weather(4, nowMs - 60_000, 'bme280', 0))
    world.closeBatch()
    world.anchor(1)
    const times = { fromMs: nowMs - 3_600_000, toMs: nowMs }
    const built = await buildBundle(world.deps, { stations: [station], ...times })
    if (!built.ok) return expect.fail(built.detail)
    expect(verifyBundle(built.bytes)).toMatchObject({ ok: true, network })
    const { buy } = await openShop((request, bindings, hub) =>
      request.url.endsWith('/bundle') ? new Response(new Uint8Array(built.bytes)) : hub(request, bindings),
    )
    const bundle = join(temporaryDirectory(), 'proof.cbor')
    const bought = await buy(...hour, '--bundle', bundle)
    expect(bought).toMatchObject({
      code: 1,
      said: expect.stringContaining('FAILED: the proof is of other readings'),
    })
    expect(bought.said).not.toContain('VERIFIED')
  })

  test('a proof of the same readings that holds another sale is no proof of this one', async () => {
    const world = openBundleWorld(network)
    const station = world.addStation(signerOf(21))
    world.sign(station, weather(4, nowMs - 60_000, 'bme280', 0))
    world.closeBatch()
    world.anchor(1)
    const times = { fromMs: nowMs - 3_600_000, toMs: nowMs }
    const stranger = newSigner()
    const none = new Uint8Array(32)
    const sale: SalesReceipt = {
      ...{ id: 'ab'.repeat(16), issuedMs: nowMs, query: none, response: none, rows: 4, values: 12 },
      ...{ priceMicroUsd: 470, rail: 'credits', shares: [] },
    }
    const receipt = signSale(sale, network, stranger)
    const built = await buildBundle(
      world.deps,
      { stations: [station], ...times },
      { hubKey: stranger.publicKey, receipt },
    )
    if (!built.ok) return expect.fail(built.detail)
    expect(verifyBundle(built.bytes)).toMatchObject({ ok: true, sale: { id: sale.id } })
    const { buy } = await openShop(
      (request, bindings, hub) =>
        request.url.endsWith('/bundle') ? new Response(new Uint8Array(built.bytes)) : hub(request, bindings),
      anHour().map((reading) => ({ ...reading, station })),
    )
    const query = ['--station', station, '--from', `${times.fromMs}`, '--to', `${times.toMs}`]
    const bought = await buy(...query, '--bundle', join(temporaryDirectory(), 'proof.cbor'))
    expect(bought).toMatchObject({
      code: 1,
      said: expect.stringContaining('FAILED: the proof is of another sale'),
    })
  })

  test('a key is private, is needed, and is told from a wrong one', async () => {
    const { url, secret } = await openShop()
    const keyFile = join(temporaryDirectory(), 'key')
    writeFileSync(keyFile, `${secret}\n`)
    chmodSync(keyFile, 0o644)
    const open = await buyAt(url, undefined, ...hour, '--key-file', keyFile)
    expect(open).toMatchObject({ code: 78, said: expect.stringContaining(`chmod 600 ${keyFile}`) })
    expect(open.said).not.toContain(secret)
    chmodSync(keyFile, 0o600)
    expect(await buyAt(url, undefined, ...hour, '--key-file', keyFile)).toMatchObject({ code: 0 })
    expect(await buyAt(url, undefined, ...hour)).toMatchObject({
      code: 64,
      said: expect.stringContaining('--key-file FILE, or GROUNDTRUTH_KEY'),
    })
    const wrong = await buyAt(url, `${secret.slice(0, -4)}AAAA`, ...hour)
    expect(wrong).toMatchObject({ code: 1, said: expect.stringContaining('The API key does not count') })
    expect(wrong.said).not.toContain(secret.slice(0, -4))
    const unknown = await buyAt(url, secret, '--quantity', 'temprature')
    expect(unknown).toMatchObject({ code: 64, said: expect.stringContaining('did you mean "temperature"') })
    expect(await buyAt(url, secret, ...hour, '--output', '/dev/null/x')).toMatchObject({ code: 73 })
  })

  test('the variable with a key is no setting, and no mistake for other commands', () => {
    expect(() => loadConfig({ env: { GROUNDTRUTH_KEY: 'gt_1' } })).not.toThrow()
    expect(() => loadConfig({ env: { GROUNDTRUTH_KEYS: 'gt_1' } })).toThrow('GROUNDTRUTH_KEYS')
  })

  test('a hub that sells nothing says where its readings are', async () => {
    const world = await openWorld()
    const stop = new AbortController()
    const bound = Promise.withResolvers<number>()
    const ended = serve({ app: world.api, host: '127.0.0.1', port: 0, listening: bound.resolve }, stop.signal)
    onTestFinished(async () => {
      stop.abort()
      await ended
      await world[Symbol.asyncDispose]()
    })
    expect(await buyAt(`http://127.0.0.1:${await bound.promise}`, undefined, '--quote')).toMatchObject({
      code: 1,
      said: expect.stringContaining('sells nothing'),
    })
  })

  test('from a whole hub it brings readings with a proof that holds', { timeout: 120_000 }, async () => {
    const { http, key, said } = await startSellingHub()
    await until('readings to buy', 60, async () => {
      const quote = await fetch(`${http}/v1/quotes?from=-10m`, { method: 'POST' })
      return ((await quote.json()) as { rows: number }).rows > 20 ? true : undefined
    })
    const [data, bundle] = ['data.csv', 'proof.cbor'].map((name) => join(temporaryDirectory(), name))
    const args = ['--from', '-10m', '--format', 'csv', '--output', data!, '--bundle', bundle!, '--wait', '60']
    const bought = await buyAt(http, key, ...args)
    expect(bought.code, `${bought.said}\n${said()}`).toBe(0)
    expect(bought.said).toContain('VERIFIED: ')
    expect(bought.said).toMatch(/✓ sale +receipt [0-9a-f]{32}: \d+ rows/)
    expect(bought.said).toMatch(/[✓!] answer +it is what the receipt names, byte for byte; /)
    expect(readFileSync(data!, 'utf8').split('\r\n').length).toBeGreaterThan(20)
    expect(
      await new Promise<number | null>((resolve) =>
        start(['verify', bundle!], {}).child.once('close', resolve),
      ),
    ).toBe(0)
  })
})
