/** A hub that sells subscriptions, without its sockets: real evidence, store, feed, books and API, on disk to be opened again. */
import { join } from 'node:path'
import { Registry } from 'prom-client'
import { expect, onTestFinished } from 'vitest'
import { openEvidence } from '#gateway/evidence/keep.ts'
import { openEmbeddedBroker } from '#gateway/ingest/aedes.ts'
import { createIngest } from '#gateway/ingest/ingest.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { openSubscriptionDesk, type SubscriptionsDeps } from '#gateway/market/subscriptions/subscriptions.ts'
import { openTail } from '#gateway/market/tail.ts'
import { rules } from '#gateway/quality/all.ts'
import { createScorer } from '#gateway/quality/scorer.ts'
import { openScoreStates } from '#gateway/quality/states.ts'
import { stationId } from '#gateway/reading/key.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import { openEmbeddedStore } from '#gateway/store/embedded.ts'
import { runFeed } from '#gateway/store/feed.ts'
import { openApi } from '#test/answers.ts'
import { openChecked } from '#test/market-schema.ts'
import { fakeAnchors } from '#test/market-world.ts'
import { aReading, envelopeChain, network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

export const startMs = Date.UTC(2026, 10, 26, 12)

/** What outlives a hub: its directory, its key, the time, and the stations. */
export const newPlace = () => {
  const chains = new Map<string, ReturnType<typeof envelopeChain>>()
  return {
    directory: temporaryDirectory(),
    hub: newSigner(),
    clock: { nowMs: startMs },
    stations: [newSigner(), newSigner()].map((signer) => {
      const id = stationId(signer.publicKey)
      chains.set(id, envelopeChain(signer))
      return { id, publicKey: signer.publicKey }
    }),
    /** Signs one envelope of a station. */
    sign: (station: string, readings: readonly Reading[]) => chains.get(station)!(readings),
  }
}

export type HubOver = Partial<
  Pick<SubscriptionsDeps, 'mqtt' | 'webhook' | 'publicUrl' | 'random'> & { readonly mayFail: boolean }
>

/** Opens it; closed at the end of the test, or before, with what is under way cut off. */
export const openHub = async (place = newPlace(), over: HubOver = {}) => {
  const { directory, hub, clock, stations } = place
  const evidence = await openEvidence({
    directory: join(directory, 'evidence'),
    openJournal: (path) => openJournal({ directory: path, segmentBytes: 1 << 20 }),
  })
  const ingest = createIngest({
    network,
    hub,
    evidence,
    now: () => clock.nowMs,
    sendReceipt: () => undefined,
    failed: (error) => {
      throw error
    },
  })
  for (const { publicKey } of stations) await ingest.register(publicKey, startMs)
  const store = await openEmbeddedStore({ path: join(directory, 'store.sqlite') })
  const states = openScoreStates(join(directory, 'quality.sqlite'))
  const selling = openSelling({
    path: join(directory, 'sales.sqlite'),
    network,
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 0n,
    nowMs: () => clock.nowMs,
  })
  const { till } = selling
  const reported: unknown[] = []
  const anchors = fakeAnchors()
  const tail = openTail({ evidence, store }, 0)
  const desk = openSubscriptionDesk({
    ...{ till, evidence, tail, anchors, network, version: '0.1.0', hub },
    webhook: { privateAddresses: true, timeoutMs: 500 },
    report: (error) => reported.push(error),
    nowMs: () => clock.nowMs,
    random: () => 0.5,
    ...over,
  })
  const stop = new AbortController()
  const serving = desk.run(stop.signal)
  const feeding = runFeed(
    {
      evidence,
      store,
      states,
      rules: 'test.1',
      scorer: () => createScorer({ rules, states: states.states() }),
      stored: (readings, reached) => {
        tail.stored(readings, reached)
        desk.grown()
      },
    },
    stop.signal,
  )
  const api = openApi({
    ...{ network, version: '0.1.0', store, evidence, anchors, till, desk, hubKey: hub.publicKey },
    batchMaxAgeMs: 300_000,
    firstBatchMaxAgeMs: 10_000,
    nowMs: () => clock.nowMs,
    health: () => [],
    metrics: new Registry(),
    report: (error) => reported.push(error),
  })
  const checked = await openChecked(api)

  let open = true
  const close = async () => {
    if (!open) return
    open = false
    stop.abort()
    await Promise.all([serving, feeding])
    await ingest.drain()
    const audit = till.sales.ledger.audit()
    selling[Symbol.dispose]()
    await store[Symbol.asyncDispose]()
    states[Symbol.dispose]()
    await evidence[Symbol.asyncDispose]()
    expect(audit).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
    if (over.mayFail !== true) expect(reported).toEqual([])
  }
  onTestFinished(close)

  const ask = (path: string, key: string, method = 'GET', body?: unknown, headers = {}) =>
    checked.ask(path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })

  /** An account with credit; another key of it with `add`. */
  const signUp = async (credit: bigint, wanted: object = {}) => {
    const response = await api.request('/v1/keys', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(wanted),
    })
    const { id, key } = (await response.json()) as { id: string; key: string }
    const found = till.sales.keys.find(key, clock.nowMs)
    if (!found.ok) return expect.fail(found.reason)
    const { customer } = found.key
    const pay = (amount: bigint) =>
      till.sales.credit(`test:${Math.random()}`, 'manual', customer, amount, 'a test')
    if (credit > 0n) pay(credit)
    return { id, key, customer, pay, credit: () => till.sales.ledger.balance(`customer:${customer}`) }
  }

  /** Envelopes of one reading each, a second apart, kept and stored. */
  const emit = async (count: number, station = stations[0]!.id, temperature = 21.5) => {
    for (let n = 0; n < count; n++) {
      clock.nowMs += 1000
      const bytes = place.sign(station, [aReading(clock.nowMs, temperature)])
      await ingest.offer({ network, station, bytes, receivedMs: clock.nowMs })
    }
    await until('stored', 10, async () => ((await store.cursor()) === evidence.committed ? true : undefined))
  }

  /** One envelope with several readings, a second apart. */
  const emitTogether = async (count: number, station = stations[0]!.id) => {
    const readings = Array.from({ length: count }, (_, at) => aReading(clock.nowMs + at * 1000))
    clock.nowMs += count * 1000
    await ingest.offer({ network, station, bytes: place.sign(station, readings), receivedMs: clock.nowMs })
  }

  return {
    emitTogether,
    place,
    clock,
    stations,
    desk,
    till,
    evidence,
    store,
    api,
    ask,
    signUp,
    emit,
    reported,
    close,
  }
}

export type HubWorld = Awaited<ReturnType<typeof openHub>>

/** A hub with its own broker, both real. */
export const openBrokerHub = async () => {
  let world: HubWorld | undefined
  const broker = await openEmbeddedBroker({
    host: '127.0.0.1',
    port: 0,
    network,
    now: Date.now,
    anonymousReaders: false,
    events: {
      envelope: async () => undefined,
      hello: async () => undefined,
      listening: () => undefined,
      login: (login, password) => world?.desk.isLogin(login, password) === true,
      heeded: (login) => world?.desk.heeded(login),
    },
  })
  onTestFinished(() => broker[Symbol.asyncDispose]())
  const url = `mqtt://127.0.0.1:${broker.port}`
  world = await openHub(newPlace(), { mqtt: { logins: broker.logins!, url } })
  return { ...world, broker, brokerUrl: url }
}

/** A subscription as the API shows it. */
export type Shown = {
  readonly id: string
  readonly kind: string
  readonly state: string
  readonly reason?: string
  readonly delivered: number
  readonly spentMicroUsd: number
  readonly failures: number
  readonly failingSince: string | null
  readonly nextTry: string | null
  readonly lastError: string | null
  readonly skipped?: {
    readonly readings: number
    readonly from: string
    readonly to: string
    readonly get: string
  }
  readonly secret?: string
  readonly topics?: string
  readonly login?: { readonly broker: string; readonly username: string; readonly password: string }
}

/** Subscribes, and looks at it. */
export const subscribe = async ({ ask }: HubWorld, key: string, body: object, headers = {}) => {
  const made = await ask('/v1/subscriptions', key, 'POST', body, headers)
  expect([made.response.status, made.json]).toMatchObject([201, {}])
  const told = made.json as Shown
  expect(made.response.headers.get('location')).toBe(`/v1/subscriptions/${told.id}`)
  return told
}

export const shown = async ({ ask }: HubWorld, key: string, id: string): Promise<Shown> =>
  (await ask(`/v1/subscriptions/${id}`, key)).json as Shown

/** Waits until it looks as it should. */
export const untilShown = (world: HubWorld, key: string, id: string, members: Partial<Shown>) =>
  until(`${id} with ${JSON.stringify(members)}`, 10, async () => {
    const now = await shown(world, key, id)
    return Object.entries(members).every(([name, value]) => now[name as keyof Shown] === value)
      ? now
      : undefined
  })
