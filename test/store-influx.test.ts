import { once } from 'node:events'
import { createServer } from 'node:http'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { quantities, quantity } from '#gateway/reading/quantity.ts'
import { openInfluxStore } from '#gateway/store/influx.ts'
import { headFields, tags, toLine } from '#gateway/store/influx-line.ts'
import { type StoredReading, StoreUnavailable } from '#gateway/store/store.ts'
import { storeContract } from '#test/contract/store.ts'
import { all, hour, order, reading, startMs } from '#test/contract/store-oracle.ts'
import { type Influxd, influxdHint, influxdPath, startInfluxd } from '#test/influxd.ts'

describe.skipIf(!influxdPath)(`InfluxDB${influxdHint}`, () => {
  let influxd: Influxd
  beforeAll(async () => {
    influxd = await startInfluxd()
  })
  afterAll(async () => {
    await influxd?.[Symbol.asyncDispose]()
  })

  storeContract('the InfluxDB store', {
    open: () => openInfluxStore({ url: influxd.url, database: 'contract', onQuarantine: refuseQuarantine }),
  })

  const ask = async (database: string, statement: string) => {
    const parameters = new URLSearchParams({ db: database, q: statement })
    const response = await fetch(`${influxd.url}/query?${parameters}`, { method: 'POST' })
    return response.text()
  }

  const refuseQuarantine = (_: StoredReading, error: Error) => {
    throw error
  }

  const evenReadings = (count: number, first = 0) =>
    Array.from({ length: count }, (_, index) => {
      const at = first + index
      return reading({ timeMs: startMs + at * 1000, seq: Math.floor(at / 50) + 1, place: at % 50 })
    })

  test('readings too old for the retention are quarantined, the others of the same write are stored', async () => {
    const quarantined: StoredReading[] = []
    await using store = await openInfluxStore({
      url: influxd.url,
      database: 'retention',
      onQuarantine: (one, error) => {
        expect(error.message).toContain('beyond retention policy')
        quarantined.push(one)
      },
    })
    await ask('retention', 'CREATE RETENTION POLICY "short" ON "retention" DURATION 1h REPLICATION 1 DEFAULT')
    const fresh = evenReadings(20).map((one, at) => ({ ...one, timeMs: Date.now() - at * 1000 }))
    const old = evenReadings(7, 100)
    await store.write([...fresh.slice(0, 10), ...old, ...fresh.slice(10)])
    expect(quarantined).toEqual(old)
    expect(await store.readings(all, 100)).toEqual(fresh.toSorted(order))
    await store.write(old)
    expect(quarantined).toHaveLength(14)
    await store.setCursor(5)
    expect(await store.cursor()).toBe(5)
    await store.clear()
    await store.write([...old, ...fresh])
    expect(quarantined).toHaveLength(21)
    expect(await store.readings(all, 100)).toHaveLength(fresh.length)
  })

  test('one reading that the server refuses costs only itself', async () => {
    const quarantined: StoredReading[] = []
    await using store = await openInfluxStore({
      url: influxd.url,
      database: 'conflict',
      onQuarantine: (one) => quarantined.push(one),
    })
    const response = await fetch(`${influxd.url}/write?db=conflict&precision=ms`, {
      method: 'POST',
      body: `reading,sensor=foreign,station=foreign co2="text" ${startMs}`,
    })
    expect(response.status).toBe(204)
    const readings = evenReadings(3000)
    const poisoned = { ...readings[1234]!, values: [{ quantity: quantity('co2').code, scaled: 400 }] }
    await store.write(readings.with(1234, poisoned))
    expect(quarantined).toEqual([poisoned])
    expect(await store.readings({ ...all, stations: ['station-a'] }, 5000)).toEqual(
      readings.filter((_, at) => at !== 1234),
    )
  })

  test('keeps every acknowledged reading when influxd is killed, and goes on as soon as it is back', async () => {
    await using own = await startInfluxd()
    await using store = await openInfluxStore({
      url: own.url,
      database: 'killed',
      onQuarantine: refuseQuarantine,
    })
    let next = 0
    for (let kill = 0; kill < 3; kill++) {
      for (let batch = 0; batch < 5; batch++) {
        await store.write(evenReadings(1000, next))
        next += 1000
      }
      const cut = store.write(evenReadings(20_000, next)).then(
        () => 'written',
        (error: unknown) => error,
      )
      await new Promise((resolve) => setTimeout(resolve, 20 * kill))
      await own.kill()
      const outcome = await cut
      if (outcome !== 'written') expect(outcome).toBeInstanceOf(StoreUnavailable)
      const attempts = await Promise.allSettled([
        store.write(evenReadings(1, next)),
        store.readings(all, 1),
        store.rollup(all, hour, 'mean', 1),
        store.latest({}),
        store.sensors(),
        store.cursor(),
        store.setCursor(next),
        store.clear(),
      ])
      for (const attempt of attempts)
        expect(attempt.status === 'rejected' && attempt.reason).toBeInstanceOf(StoreUnavailable)
      await own.start()
      await store.write(evenReadings(20_000, next))
      next += 20_000
      await store.setCursor(next)
    }
    expect(await store.cursor()).toBe(next)
    expect(await store.sensors()).toMatchObject([{ readings: next }])
    const buckets = await store.rollup(all, 24 * hour, 'count', 100)
    expect(buckets.reduce((sum, { value }) => sum + value, 0)).toBe(next)
  })
})

test('no quantity is called like another field or tag of the InfluxDB schema', () => {
  const taken = new Set<string>([...Object.keys(headFields), ...tags, 'time', 'index'])
  expect(quantities.filter(({ name }) => taken.has(name))).toEqual([])
})

test('every quantity that may be stored has a field that can hold its decimals', () => {
  for (const { code, name, decimals, private: hidden } of quantities) {
    if (hidden) continue
    const line = toLine(reading({ values: [{ quantity: code, scaled: -(10 ** decimals) - 1 }] }))
    expect(line).toContain(`,${name}=${decimals === 0 ? '-2' : (-1 - 10 ** -decimals).toFixed(decimals)} `)
  }
})

describe('a server that is no InfluxDB 1.x', () => {
  /** A server that answers every request the same way. */
  const serving = async (status: number, headers: Record<string, string>, pingStatus = status) => {
    const server = createServer((request, response) => {
      request.resume()
      response.writeHead(request.url?.includes('ping') ? pingStatus : status, headers)
      response.end(pingStatus === 204 && request.url?.includes('ping') ? undefined : '{"results":[{}]}')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    return {
      url: `http://127.0.0.1:${port}`,
      [Symbol.asyncDispose]: async () => {
        server.closeAllConnections()
        server.close()
        await once(server, 'close')
      },
    }
  }

  const open = (url: string) =>
    openInfluxStore({ url, database: 'd', username: 'hub', password: 'hunter2', onQuarantine: () => {} })

  test('but answers everything with 200, as VictoriaMetrics does, is refused', async () => {
    await using server = await serving(200, {})
    await expect(open(server.url)).rejects.toThrow('is no InfluxDB: its /ping has no X-Influxdb-Version')
  })

  test('is refused with its version', async () => {
    await using server = await serving(204, { 'x-influxdb-version': 'v2.7.1' })
    await expect(open(server.url)).rejects.toThrow('is version v2.7.1; this store speaks to 1.x')
  })

  test('or does not answer at all is unavailable', async () => {
    const server = await serving(200, {})
    await server[Symbol.asyncDispose]()
    await expect(open(server.url)).rejects.toThrow(StoreUnavailable)
    await expect(open(server.url)).rejects.toThrow('Start it, or correct store.url')
  })

  test('or is overloaded or refuses the login is unavailable, and no error shows the password', async () => {
    for (const status of [401, 500, 503]) {
      await using server = await serving(status, { 'x-influxdb-version': '1.8.10' }, 204)
      const error: unknown = await open(server.url).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(StoreUnavailable)
      const shown = inspect(error, { depth: 20, showHidden: true })
      expect(shown).not.toContain('hunter2')
      expect(shown).not.toContain(Buffer.from('hub:hunter2').toString('base64'))
      if (status === 401) expect(shown).toContain('Check store.username')
    }
  })

  test('by address or database name is refused before anything is sent', async () => {
    const options = { database: 'd', onQuarantine: () => {} }
    for (const url of ['localhost:8086', 'ftp://x', 'http://a:b@127.0.0.1:8086', ''])
      await expect(openInfluxStore({ ...options, url })).rejects.toThrow('must look like http://host:8086')
    await expect(openInfluxStore({ ...options, url: 'http://127.0.0.1:1', database: 'a b' })).rejects.toThrow(
      'database must be named',
    )
  })
})
