import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { openEvidence } from '#gateway/evidence/keep.ts'
import { createIngest } from '#gateway/ingest/ingest.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { rules } from '#gateway/quality/all.ts'
import { createScorer } from '#gateway/quality/scorer.ts'
import { openScoreStates } from '#gateway/quality/states.ts'
import { stationId } from '#gateway/reading/key.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { openEmbeddedStore } from '#gateway/store/embedded.ts'
import { runFeed } from '#gateway/store/feed.ts'
import { type Store, type StoredReading, StoreUnavailable } from '#gateway/store/store.ts'
import { aReading, envelopeChain, network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const startMs = Date.parse('2026-11-21T10:00:00Z')
const everything = { fromMs: 0, toMs: 1e14 }

const hub = async () => {
  const directory = temporaryDirectory()
  const evidence = await openEvidence({
    directory: join(directory, 'evidence'),
    openJournal: (path) => openJournal({ directory: path, segmentBytes: 1 << 18 }),
  })
  const ingest = createIngest({
    network,
    hub: newSigner(),
    evidence,
    now: () => startMs + 3_600_000,
    sendReceipt: () => undefined,
    failed: (error) => {
      throw error
    },
  })
  const signer = newSigner()
  await ingest.register(signer.publicKey, startMs)
  const next = envelopeChain(signer)
  let minute = 0
  const emit = async (count: number) => {
    for (let n = 0; n < count; n++, minute++) {
      const readings = [0, 20_000, 40_000].map((ms) =>
        // In minute four it is suddenly warm: only a scorer that remembers minute three sees that.
        aReading(startMs + minute * 60_000 + ms, (minute < 4 ? 20 : 35) + (minute % 7) / 10),
      )
      const station = stationId(signer.publicKey)
      await ingest.offer({ network, station, bytes: next(readings), receivedMs: startMs })
    }
  }
  const store = await openEmbeddedStore({ path: join(directory, 'store.sqlite') })
  const states = openScoreStates(join(directory, 'quality.sqlite'))
  onTestFinished(async () => {
    await store[Symbol.asyncDispose]()
    states[Symbol.dispose]()
    await evidence[Symbol.asyncDispose]()
  })
  /** Runs the feed until the store has caught up. */
  const feed = async (
    into: Store = store,
    version = 'test.1',
    stored: (readings: readonly StoredReading[], reached: number) => void = () => undefined,
  ) => {
    const stop = new AbortController()
    const away: string[] = []
    const running = runFeed(
      {
        evidence,
        store: into,
        states,
        rules: version,
        scorer: () => createScorer({ rules, states: states.states() }),
        stored,
        unavailable: (error) => away.push(error.message),
      },
      stop.signal,
    )
    const caughtUp = { rules: version, reached: evidence.committed, cursor: evidence.committed }
    await vi.waitFor(
      async () => expect({ ...states.place, cursor: await store.cursor() }).toMatchObject(caughtUp),
      10_000,
    )
    stop.abort()
    await running
    return away
  }
  /** A position fix, which is signed and kept like all. */
  const emitPosition = async () => {
    const fix: Reading = {
      sensor: 'gnss',
      model: 'nmea',
      timeMs: startMs,
      values: [{ quantity: 35, scaled: 481_173_000 }],
    }
    const station = stationId(signer.publicKey)
    await ingest.offer({ network, station, bytes: next([fix]), receivedMs: startMs })
  }
  return { evidence, store, states, emit, emitPosition, feed }
}

test('every reading of the evidence is in the store once, however often the feed stops and starts', async () => {
  const { store, emit, feed } = await hub()
  for (const count of [3, 1, 5]) {
    await emit(count)
    await feed()
    await feed()
  }
  const rows = await store.readings(everything, 1000)
  expect(rows).toHaveLength(27)
  expect(new Set(rows.map(({ seq, place }) => `${seq}/${place}`)).size).toBe(27)
})

test('a feed tells where it goes on, and then how far the store is with each write', async () => {
  const { evidence, emit, store, feed } = await hub()
  await emit(3)
  const told: [rows: number, reached: number][] = []
  const stored = (readings: readonly StoredReading[], reached: number): void =>
    void told.push([readings.length, reached])
  await feed(store, 'test.1', stored)
  const first = evidence.committed
  await emit(2)
  await feed(store, 'test.1', stored)
  expect(told).toEqual([
    [0, 0],
    [9, first],
    [0, first],
    [6, evidence.committed],
  ])
  told.length = 0
  // With other rules everything is scored anew: the store is not as far as it was.
  await feed(store, 'test.2', stored)
  expect(told[0]).toEqual([0, 0])
})

test('a store that was deleted comes back with the same readings and the same scores', async () => {
  const { store, emit, feed } = await hub()
  await emit(4)
  await feed()
  await emit(6)
  await feed()
  const before = await store.readings(everything, 1000)
  expect(before.some(({ flags }) => flags.length > 0)).toBe(true)
  await store.clear()
  await feed()
  expect(await store.readings(everything, 1000)).toEqual(before)
})

test('positions stay in the evidence', async () => {
  const { store, evidence, emit, emitPosition, feed } = await hub()
  await emit(1)
  await emitPosition()
  await emit(1)
  await feed()
  expect((await Array.fromAsync(evidence.read(0))).map(({ withheld }) => withheld)).toEqual([
    false,
    true,
    false,
  ])
  expect((await store.readings(everything, 1000)).map(({ sensor }) => sensor)).toEqual(
    Array(6).fill('garden'),
  )
})

test('other rules score everything again', async () => {
  const { store, states, emit, feed } = await hub()
  await emit(2)
  await feed()
  await feed(store, 'test.2')
  expect(states.place?.rules).toBe('test.2')
  expect(await store.readings(everything, 1000)).toHaveLength(6)
})

test('a crash between writing and noting how far is repaired by writing again', async () => {
  const { store, emit, feed } = await hub()
  await emit(2)
  await feed()
  const reached = await store.cursor()
  await emit(3)
  await feed()
  const before = await store.readings(everything, 1000)
  await store.setCursor(reached) // as if the process had died before this
  await feed()
  expect(await store.readings(everything, 1000)).toEqual(before)
})

test('while the store is away the feed waits, and loses nothing', async () => {
  const { store, emit, feed } = await hub()
  let failures = 2
  const shaky: Store = {
    ...store,
    write: async (rows) => {
      if (failures-- > 0) throw new StoreUnavailable('away for a moment')
      await store.write(rows)
    },
  }
  await emit(3)
  expect(await feed(shaky)).toEqual(['away for a moment', 'away for a moment'])
  expect(await store.readings(everything, 1000)).toHaveLength(9)
})
