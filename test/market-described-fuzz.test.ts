/** Every path and method of /openapi.json, asked with what its description allows, and with what it does not. */
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openExports } from '#gateway/market/exports/exports.ts'
import { openSubscriptionDesk } from '#gateway/market/subscriptions/subscriptions.ts'
import { openTail } from '#gateway/market/tail.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import type { Store } from '#gateway/store/store.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { type Asked, type Known, type RequestDocument, requestsOf } from './described-requests.ts'
import { nowMs, openWorld, stationA, stationB, viennaCell } from './market-world.ts'
import { newSigner } from './station.ts'
import { temporaryDirectory } from './temporary.ts'

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31)
const runs = Number(process.env.FUZZ_RUNS ?? 30)

// The hour that the store has is far from either; what goes beyond is work without a bound.
const mostBytes = 2 * 1024 * 1024
const mostLooks = 200

/** A store, and how often it was looked into. */
const countedStore = (store: Store) => {
  const looks = { count: 0 }
  const counted = new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      return (...given: unknown[]) => {
        looks.count++
        return member.apply(target, given)
      }
    },
  })
  return { counted, looks }
}

const known: Known = {
  station: [stationA, stationB],
  id: [stationA],
  sensor: ['garden', 'roof'],
  from: [`${nowMs - 3_600_000}`, '-1h', '-5m'],
  to: [`${nowMs}`, 'now'],
  every: ['1s', '5m', '1h', '366d'],
  min_quality: ['0.5'],
  batch: ['1', '2'],
  bbox: ['16,48,17,49', '170,-90,-170,90'],
  h3: [viennaCell],
  near: ['48.2,16.37,25km'],
  resource: ['Things', 'Datastreams', 'Observations', 'Locations', `Things('${stationA}')`],
  link: ['Datastreams', 'Locations', 'name', 'Observations'],
  further: ['$ref', 'Sensor', '$value'],
  $top: ['1', '5'],
  url: ['https://hooks.example/a'],
  q: ['SELECT mean(temperature) FROM readings WHERE time >= now() - 1h GROUP BY time(5m)', 'SHOW DATABASES'],
  db: ['groundtruth'],
  epoch: ['ms'],
}

type Mode = { readonly sells: boolean; readonly hasKey: boolean }

const openFuzzed = async ({ sells, hasKey }: Mode) => {
  const signer = newSigner()
  const selling = openSelling({
    path: join(temporaryDirectory(), 'sales.sqlite'),
    network: 'testnet',
    hub: signer,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 50_000_000n,
    nowMs: () => nowMs,
  })
  const real = await openWorld()
  const { counted, looks } = countedStore(real.store)
  const { till } = selling
  const exports = openExports({
    directory: join(temporaryDirectory(), 'exports'),
    limits: { maxRows: 10_000, maxBytes: 1e7, keptMs: 3_600_000 },
    store: counted,
    anchors: real.deps.anchors,
    evidence: real.deps.evidence,
    ...(sells ? { till } : {}),
    nowMs: () => nowMs,
    report: (error) => real.reported.push(error),
  })
  const stop = new AbortController()
  const exporting = exports.run(stop.signal)
  const tail = openTail({ evidence: real.deps.evidence, store: counted }, real.deps.evidence.committed)
  const desk = openSubscriptionDesk({
    ...{ till, tail, network: 'testnet', version: '0.1.0', hub: signer, nowMs: () => nowMs },
    ...{ evidence: real.deps.evidence, anchors: real.deps.anchors },
    // Nobody is called: there is no host of any name.
    webhook: { privateAddresses: false, timeoutMs: 500, resolve: async () => [] },
    report: (error) => real.reported.push(error),
  })
  const world = await openWorld({
    store: counted,
    exports,
    live: { tail, stopping: stop.signal },
    ...(sells ? { desk } : {}),
    hubKey: signer.publicKey,
    verifyBundle: async (bytes) => verifyBundle(bytes),
    ...(sells ? { till } : {}),
  })
  onTestFinished(async () => {
    stop.abort()
    await exporting
    exports[Symbol.dispose]()
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
    await real[Symbol.asyncDispose]()
  })
  const key = {
    label: '',
    scopes: ['read', 'account'],
    budget: null,
    alarmPercent: null,
    expiresMs: null,
  } as const
  const secrets = hasKey ? [till.signUp(key).secret, till.signUp({ ...key, scopes: ['read'] }).secret] : []
  const document = (await (await world.api.request('/openapi.json')).json()) as RequestDocument
  const seen = new Map<string, Set<number>>()

  /** Asks, and holds the answer against what holds for every answer; that it is described is looked at by the world. */
  const ask = async (operation: string, { method, address, headers, body }: Asked): Promise<void> => {
    looks.count = 0
    const response = await world.api.request(address, {
      method,
      headers,
      ...(body === undefined ? {} : { body }),
    })
    const isEndless = response.headers.get('content-type') === 'text/event-stream'
    if (isEndless) await response.body!.cancel()
    const { byteLength } = isEndless ? { byteLength: 0 } : await response.arrayBuffer()
    // 501: what SensorThings or another hub has, and this one has not. 503: exports that wait are as many as may.
    const isFull =
      method === 'POST' && address.startsWith('/v1/exports') && response.headers.has('retry-after')
    const allowed = isFull ? [501, 503] : [501]
    expect(response.status < 500 || allowed.includes(response.status), `${response.status}`).toBe(true)
    expect(byteLength).toBeLessThan(mostBytes)
    expect(looks.count).toBeLessThan(mostLooks)
    seen.set(operation, (seen.get(operation) ?? new Set()).add(response.status))
  }
  return { world, real, document, secrets, seen, ask, audit: () => till.sales.ledger.audit() }
}

const modes: readonly (readonly [name: string, mode: Mode])[] = [
  ['an API that gives everything', { sells: false, hasKey: false }],
  ['an API that sells, without a key', { sells: true, hasKey: false }],
  ['an API that sells, with a key', { sells: true, hasKey: true }],
]

describe(`with seed ${seed}`, () => {
  test.each(modes)(
    '%s answers whatever is asked as it is described',
    { timeout: 120_000 },
    async (_, mode) => {
      const { world, real, document, secrets, seen, ask, audit } = await openFuzzed(mode)
      const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => ({ path, method, name: `${method} ${path}` })),
      )
      for (const { path, method, name } of operations)
        await fc.assert(
          fc.asyncProperty(requestsOf(document, path, method, known, secrets), (asked) => ask(name, asked)),
          { numRuns: runs, seed },
        )
      expect([...world.reported, ...real.reported]).toEqual([])
      expect(audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
      // The requests are good enough to get through, and bad enough not to.
      const statuses = operations.map(({ name }) => [...seen.get(name)!])
      expect(statuses.filter((some) => some.some((status) => status < 300)).length).toBeGreaterThan(10)
      expect(statuses.filter((some) => some.some((status) => status >= 400)).length).toBeGreaterThan(10)
    },
  )
})
