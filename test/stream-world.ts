/** A hub's way of a reading, from an envelope to a socket: real evidence, feed, store, books and API, without a broker. */
import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { Registry } from 'prom-client'
import { expect, onTestFinished } from 'vitest'
import { openEvidence } from '#gateway/evidence/keep.ts'
import { createIngest } from '#gateway/ingest/ingest.ts'
import { openJournal } from '#gateway/journal/open.ts'
import type { ReadingRow } from '#gateway/market/row.ts'
import { run as serve } from '#gateway/market/serve.ts'
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
import type { Store } from '#gateway/store/store.ts'
import { openApi } from '#test/answers.ts'
import { fakeAnchors } from '#test/market-world.ts'
import { aReading, envelopeChain, network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

export const startMs = Date.parse('2026-11-21T10:00:00Z')

/** An event with its data read. */
export type Heard = { readonly event: string; readonly id: string; readonly data: unknown }

export type Listener = {
  readonly status: number
  readonly headers: Headers
  /** What was heard so far. */
  readonly events: Heard[]
  readonly readings: () => ReadingRow[]
  readonly named: (event: string) => Heard[]
  /** Resolves when there are so many events of that name. */
  readonly until: (event: string, count: number) => Promise<Heard[]>
  /** Everything that came, as it came. */
  readonly text: () => string
  /** Resolves when the hub has ended the stream. */
  readonly ended: Promise<void>
  readonly close: () => void
}

/** Listens to a stream by fetch, read by the parser that MCP's client uses. */
export const listen = async (
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Listener> => {
  const gone = new AbortController()
  const response = await fetch(url, { headers, signal: gone.signal })
  const events: Heard[] = []
  let text = ''
  const parser = createParser({
    onEvent: ({ event = 'message', id = '', data }: EventSourceMessage) =>
      events.push({ event, id, data: JSON.parse(data) }),
    onError: (error) => expect.fail(error.message),
  })
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder()
    try {
      for await (const chunk of response.body!) {
        const piece = decoder.decode(chunk, { stream: true })
        text += piece
        if (response.ok) parser.feed(piece)
      }
    } catch (error) {
      if (!gone.signal.aborted) throw error
    }
  }
  const ended = read()
  ended.catch(() => undefined)
  const close = (): void => gone.abort()
  onTestFinished(close)
  const named = (event: string): Heard[] => events.filter((one) => one.event === event)
  return {
    status: response.status,
    headers: response.headers,
    events,
    named,
    readings: () => named('reading').map(({ data }) => data as ReadingRow),
    until: (event, count) =>
      until(`${count} times ${event}`, 30, async () =>
        named(event).length >= count ? named(event) : undefined,
      ),
    text: () => text,
    ended,
    close,
  }
}

/** A reader that asks and then takes nothing; `take` gives what has come by then, and goes on taking. */
export const listenSlowly = async (url: string, headers: Readonly<Record<string, string>> = {}) => {
  const { host, hostname, port, pathname, search } = new URL(url)
  const socket = connectSocket(Number(port), hostname)
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  socket.pause()
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\n${lines.join('')}\r\n`)
  let text = ''
  return {
    socket,
    take: () => {
      socket.on('data', (chunk: Buffer) => {
        text += chunk
      })
      socket.resume()
      return () => text
    },
  }
}

export type StreamWorldOptions = {
  readonly directory?: string
  readonly sell?: boolean
  readonly silenceMs?: number
  readonly rules?: string
  readonly clock?: { nowMs: number }
  readonly signers?: ReturnType<typeof newSigner>[]
  /** Replaces parts of the store, as the feed and the API see it. */
  readonly storeOver?: (store: Store) => Partial<Store>
}

/** Opens it, with two stations. Closed before the test ends, or by `close`. */
export const openStreamWorld = async (options: StreamWorldOptions = {}) => {
  const { directory = temporaryDirectory(), clock = { nowMs: startMs }, sell = false } = options
  const nowMs = () => clock.nowMs
  const evidence = await openEvidence({
    directory: join(directory, 'evidence'),
    openJournal: (path) => openJournal({ directory: path, segmentBytes: 1 << 20 }),
  })
  const hub = newSigner()
  const ingest = createIngest({
    network,
    hub,
    evidence,
    now: nowMs,
    sendReceipt: () => undefined,
    failed: (error) => {
      throw error
    },
  })
  const signers = options.signers ?? [newSigner(), newSigner()]
  const chains = signers.map((signer) => ({
    station: stationId(signer.publicKey),
    next: envelopeChain(signer),
  }))
  for (const { publicKey } of signers) await ingest.register(publicKey, startMs)
  const embedded = await openEmbeddedStore({ path: join(directory, 'store.sqlite') })
  const store = { ...embedded, ...options.storeOver?.(embedded) }
  const states = openScoreStates(join(directory, 'quality.sqlite'))
  const tail = openTail({ evidence, store }, 0)
  const stop = new AbortController()
  const feeding = runFeed(
    {
      evidence,
      store,
      states,
      rules: options.rules ?? 'test.1',
      scorer: () => createScorer({ rules, states: states.states() }),
      stored: tail.stored,
    },
    stop.signal,
  )
  const selling = sell
    ? openSelling({
        path: join(directory, 'sales.sqlite'),
        network,
        hub,
        prices: defaultPrices,
        factor: () => 1000,
        starterMicroUsd: 0n,
        nowMs,
      })
    : undefined
  const reported: unknown[] = []
  const app = openApi({
    network,
    hubKey: hub.publicKey,
    version: '0.1.0',
    store,
    evidence,
    anchors: fakeAnchors(),
    nowMs,
    batchMaxAgeMs: 300_000,
    firstBatchMaxAgeMs: 10_000,
    health: () => [],
    metrics: new Registry(),
    report: (error) => reported.push(error),
    live: { tail, stopping: stop.signal, silenceMs: options.silenceMs ?? 60_000 },
    ...(selling === undefined ? {} : { till: selling.till }),
  })
  const bound = Promise.withResolvers<number>()
  const serving = serve({ app, host: '127.0.0.1', port: 0, listening: bound.resolve }, stop.signal)
  const url = `http://127.0.0.1:${await bound.promise}`
  let closed: Promise<void> | undefined
  const close = (): Promise<void> => {
    closed ??= (async () => {
      stop.abort()
      await Promise.all([feeding, serving])
      selling?.[Symbol.dispose]()
      await embedded[Symbol.asyncDispose]()
      states[Symbol.dispose]()
      await evidence[Symbol.asyncDispose]()
    })()
    return closed
  }
  onTestFinished(close)

  const { till } = selling ?? {}
  let minute = 0
  /** Sends envelopes of a station, with a minute of readings each. */
  const emit = async (envelopes: number, of = 0, readings = 3, temperature?: number): Promise<void> => {
    const { station, next } = chains[of]!
    for (let n = 0; n < envelopes; n++, minute++) {
      const bytes = next(
        Array.from({ length: readings }, (_, at) =>
          aReading(
            clock.nowMs - 100_000 + at * Math.floor(60_000 / readings) + minute,
            temperature ?? 20 + (minute % 7) / 10,
          ),
        ),
      )
      await ingest.offer({ network, station, bytes, receivedMs: clock.nowMs })
    }
  }
  /** A position fix, which is kept and given to nobody. */
  const emitPosition = async (): Promise<void> => {
    const { station, next } = chains[0]!
    const fix: Reading = {
      sensor: 'gnss',
      model: 'nmea',
      timeMs: clock.nowMs,
      values: [{ quantity: 35, scaled: 481_173_000 }],
    }
    await ingest.offer({ network, station, bytes: next([fix]), receivedMs: clock.nowMs })
  }
  const signUp = (credit: bigint, wanted: { budget?: bigint } = {}) => {
    const { sales, signUp } = till!
    const made = signUp({
      label: '',
      scopes: ['read'],
      budget: wanted.budget ?? null,
      alarmPercent: null,
      expiresMs: null,
    })
    const { id, customer } = made.key
    if (credit > 0n) sales.credit(`test:${customer}`, 'manual', customer, credit, 'a test')
    return {
      id,
      customer,
      headers: { authorization: `Bearer ${made.secret}` },
      credit: () => sales.ledger.balance(`customer:${customer}`),
    }
  }
  return {
    url,
    clock,
    directory,
    signers,
    stations: chains.map(({ station }) => station),
    evidence,
    store,
    tail,
    hub,
    till,
    reported,
    emit,
    emitPosition,
    signUp,
    close,
    /** Resolves when so many streams are open, as /metrics tells. */
    untilOpen: (count: number): Promise<true> =>
      until(`${count} open streams`, 30, async () => {
        const text = await (await fetch(`${url}/metrics`)).text()
        return new RegExp(`^groundtruth_streams ${count}$`, 'm').test(text) ? true : undefined
      }),
    /** Opens a stream; `query` is what stands behind `/v1/stream`. */
    listen: (query = '', headers: Readonly<Record<string, string>> = {}) =>
      listen(`${url}/v1/stream${query}`, headers),
  }
}
