import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import type { Anchors, Batch } from '#gateway/anchor/anchor.ts'
import type { Evidence, RefusedRecord, StationRecord } from '#gateway/evidence/evidence.ts'
import type { PartState } from '#gateway/market/api.ts'
import type { createApi, MarketDeps } from '#gateway/market/market.ts'
import type { Profile } from '#gateway/reading/profile.ts'
import { type Measurement, toValues } from '#gateway/reading/reading.ts'
import { encodeStatement, statementHash } from '#gateway/reading/statement.ts'
import { openEmbeddedStore } from '#gateway/store/embedded.ts'
import type { Store, StoredReading } from '#gateway/store/store.ts'
import { openApi } from '#test/answers.ts'

/** What the tests below call now. */
export const nowMs = Date.UTC(2026, 10, 21, 12, 0, 0)

export const stationA = 'a'.repeat(32)
export const stationB = 'b'.repeat(32)
export const stationSilent = 'c'.repeat(32)

const readingsPerSeq = 5

const stored = (
  station: string,
  sensor: string,
  model: string,
  place: number,
  timeMs: number,
  measurements: readonly Measurement[],
): StoredReading => ({
  station,
  sensor,
  model,
  timeMs,
  values: toValues(measurements),
  seq: 1 + Math.floor(place / readingsPerSeq),
  place: place % readingsPerSeq,
  score: place === 0 ? 0.125 : 1,
  flags: place === 0 ? ['temperature:spike', 'latitude:jump', 'late'] : [],
  rules: '1',
})

/** An hour of two stations: A has temperature, humidity and particles each 30 s, B has temperature each minute. */
export const anHour = (): StoredReading[] => {
  const startMs = nowMs - 3_600_000
  const readings: StoredReading[] = []
  for (let at = 0; at < 120; at++) {
    readings.push(
      stored(stationA, 'garden', 'text-lines', at, startMs + at * 30_000, [
        { quantity: 'temperature', value: 20 + at / 100 },
        at === 1
          ? { quantity: 'humidity', value: null, absent: 'warming-up' }
          : { quantity: 'humidity', value: 45.1 },
        ...(at % 2 ? [] : [{ quantity: 'pm2_5', value: 7.3 } as const]),
      ]),
    )
    if (at % 2 === 0)
      readings.push(
        stored(stationB, 'roof', 'text-lines', at / 2, startMs + at * 30_000, [
          { quantity: 'temperature', value: -3.07 },
        ]),
      )
  }
  return readings
}

const registered = (station: string, revokedMs: number | null = null): StationRecord => ({
  station,
  publicKey: new Uint8Array(32).fill(station.charCodeAt(0)),
  registeredMs: nowMs - 86_400_000,
  revokedMs,
})

const refusal = (index: number): RefusedRecord => ({
  index,
  receivedMs: nowMs - 1000 * (300 - index),
  station: stationA,
  seq: index % 3 === 0 ? null : index,
  reason: index % 7 === 0 ? 'future' : 'bad-signature',
  detail: 'made up',
  hash: new Uint8Array(32).fill(index % 256),
  bytes: Uint8Array.of(1, 2, index % 256),
})

/** Resolution 7, around the middle of Vienna. */
export const viennaCell = '871e15b46ffffff'

/** A tells its place as a cell in Vienna; B tells no place. */
export const profiles: Readonly<Record<string, Profile>> = {
  [stationA]: {
    declaredMs: nowMs - 7_200_000,
    licence: 'CC-BY-4.0',
    pricePermille: 1000,
    name: 'Garden',
    cell: viennaCell,
  },
  [stationB]: { declaredMs: nowMs - 7_200_000, licence: 'LicenseRef-ask', pricePermille: 2000 },
}

/** Stands for the evidence where a test asks only for its bookkeeping. */
export const fakeEvidence = (): Evidence => {
  const stations = [registered(stationB), registered(stationA), registered(stationSilent, nowMs - 1000)]
  const refusals = Array.from({ length: 250 }, (_, at) => refusal(250 - at))
  return {
    committed: 40,
    grown: async () => {},
    read: async function* () {},
    get: async () => undefined,
    refs: () => [],
    declarations: () => [],
    span: () => undefined,
    stations: () => stations,
    station: (id) => stations.find(({ station }) => station === id),
    profile: (station) => profiles[station],
    progress: (station) =>
      station === stationA
        ? {
            station,
            kept: [
              [1, 10],
              [14, 24],
            ],
            gaps: [[11, 13]],
            envelopes: 21,
            lastReceivedMs: nowMs - 5000,
          }
        : station === stationB
          ? { station, kept: [[1, 12]], gaps: [], envelopes: 12, lastReceivedMs: nowMs - 60_000 }
          : { station, kept: [], gaps: [], envelopes: 0, lastReceivedMs: null },
    refusals: async (limit, before = Number.POSITIVE_INFINITY) =>
      refusals.filter(({ index }) => index < before).slice(0, limit),
    refusalCounts: () => ({ 'bad-signature': 215, future: 35 }),
  }
}

const hash0x = (digit: string): `0x${string}` => `0x${digit.repeat(64)}`

/** Two batches of station A: seq 1 to 10 is final, 14 to 20 is sent; what follows is in none. */
export const fakeAnchors = (): Anchors => {
  const carrier = {
    chainId: 31337,
    contract: '0x5FbDB2315678afecb367f032d93F642f64180aa3',
    txHash: hash0x('1'),
    blockNumber: 7,
    blockHash: hash0x('2'),
  } as const
  const batchOf = (batch: number, first: number, last: number, previous: Uint8Array): Batch => {
    const root = new Uint8Array(32).fill(batch)
    const size = last - first + 1
    const firstMs = nowMs - 3_600_000
    const statement = encodeStatement({
      network: 'testnet',
      batch,
      size,
      root,
      previous,
      firstMs,
      lastMs: nowMs,
      stations: [{ station: stationA, first, last, count: size }],
    })
    return {
      batch,
      from: first,
      to: last + 1,
      size,
      firstMs,
      lastMs: nowMs,
      closedMs: nowMs,
      root,
      statement,
      status: batch === 1 ? 'final' : 'sent',
      carrier: batch === 1 ? carrier : { ...carrier, blockNumber: null, blockHash: null },
    }
  }
  const one = batchOf(1, 1, 10, new Uint8Array(32))
  const two = batchOf(2, 14, 20, statementHash(one.statement))
  const all = [two, one]
  return {
    batch: (number) => all.find(({ batch }) => batch === number),
    batches: ({ limit, before = Number.POSITIVE_INFINITY }) =>
      all.filter(({ batch }) => batch < before).slice(0, limit),
    batchOf: (station, seq) => {
      if (station !== stationA) return undefined
      return seq <= 10 ? 1 : seq >= 14 && seq <= 20 ? 2 : undefined
    },
    batchOfIndex: () => undefined,
    placeOf: () => undefined,
    leaves: () => undefined,
    anchorOf: (number) => {
      const batch = all.find((known) => known.batch === number)
      if (batch?.carrier == null) return undefined
      const { root, status } = batch
      const proof = [new Uint8Array(32).fill(9)]
      return { ...batch.carrier, root, status, firstBatch: 1, size: 2, index: number - 1, proof }
    },
    status: () => ({
      state: 'working',
      detail: null,
      chain: 'embedded',
      chainId: 31337,
      contract: carrier.contract,
      address: carrier.contract,
      balanceWei: 123_456_789_012_345_678n,
      batches: { queued: 0, sent: 1, mined: 0, final: 1 },
      oldestOpenMs: nowMs,
      pending: { leaves: 4, sinceMs: nowMs - 60_000 },
    }),
  }
}

export type World = AsyncDisposable & {
  readonly deps: MarketDeps
  readonly api: ReturnType<typeof createApi>
  readonly store: Store
  /** Errors that the API called its own mistakes. */
  readonly reported: unknown[]
  readonly parts: PartState[]
}

/** The API over a real store with an hour of readings. `over` replaces parts. */
export const openWorld = async (
  over: Partial<MarketDeps> = {},
  readings: readonly StoredReading[] = anHour(),
): Promise<World> => {
  const directory = mkdtempSync(join(tmpdir(), 'groundtruth-market-'))
  const store = await openEmbeddedStore({ path: join(directory, 'store.sqlite') })
  await store.write(readings)
  await store.setCursor(36)
  const reported: unknown[] = []
  const parts: PartState[] = [{ name: 'broker', kind: 'embedded', ok: true }]
  const deps: MarketDeps = {
    network: 'testnet',
    hubKey: new Uint8Array(32).fill(5),
    version: '0.1.0',
    store,
    evidence: fakeEvidence(),
    anchors: fakeAnchors(),
    nowMs: () => nowMs,
    batchMaxAgeMs: 300_000,
    firstBatchMaxAgeMs: 10_000,
    health: () => parts,
    metrics: new Registry(),
    report: (error) => reported.push(error),
    ...over,
  }
  return {
    deps,
    api: openApi(deps),
    store,
    reported,
    parts,
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
