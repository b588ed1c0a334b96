import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Evidence, KeptEnvelope } from '#gateway/evidence/evidence.ts'
import { openTail } from '#gateway/market/tail.ts'
import { stationId } from '#gateway/reading/key.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { openEmbeddedStore } from '#gateway/store/embedded.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { aReading, envelopeChain, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const startMs = Date.UTC(2026, 10, 26)

/** Envelopes of a station with holes between their indexes, each third withheld; and a store with what is in the others. */
const openWorld = async (count: number) => {
  const signer = newSigner()
  const station = stationId(signer.publicKey)
  const next = envelopeChain(signer)
  const kept: KeptEnvelope[] = []
  const rows: StoredReading[] = []
  for (let n = 0; n < count; n++) {
    const timeMs = startMs + n * 1000
    const readings: Reading[] = [aReading(timeMs), { ...aReading(timeMs + 500), sensor: 'roof' }]
    const withheld = n % 3 === 2
    kept.push({
      ...{
        index: 10 + n * 7,
        station,
        seq: n + 1,
        receivedMs: timeMs,
        firstMs: timeMs,
        lastMs: timeMs + 500,
      },
      ...{ readings: 2, withheld, hash: new Uint8Array(32), bytes: next(readings) },
    })
    if (withheld) continue
    for (const [place, reading] of readings.entries())
      rows.push({ ...reading, station, seq: n + 1, place, score: 1, flags: [], rules: '1' })
  }
  const store = await openEmbeddedStore({ path: join(temporaryDirectory(), 'store.sqlite') })
  onTestFinished(() => store[Symbol.asyncDispose]())
  await store.write(rows)
  let read = 0
  let asked = 0
  const evidence: Pick<Evidence, 'read'> = {
    read: async function* (from, to = Number.POSITIVE_INFINITY) {
      for (const one of kept) {
        if (one.index < from || one.index >= to) continue
        read++
        yield one
      }
    },
  }
  const tail = openTail(
    {
      evidence,
      store: {
        readings: (...args) => {
          asked++
          return store.readings(...args)
        },
      },
    },
    0,
  )
  const seqs = async (from: number) => (await Array.fromAsync(tail.read(from))).map(({ seq }) => seq)
  return { kept, rows, tail, seqs, read: () => read, asked: () => asked }
}

test('the tail gives what may be handed out, from any index to where the store has come', async () => {
  const { kept, tail, seqs } = await openWorld(40)
  expect(await seqs(0)).toEqual([])
  for (const reached of [kept[9]!.index, kept[20]!.index + 3, kept[39]!.index + 1]) {
    tail.stored([], reached)
    for (let from = 0; from < reached + 10; from += 5) {
      const wanted = kept.filter(({ index, withheld }) => !withheld && index >= from && index < reached)
      expect(await seqs(from)).toEqual(wanted.map(({ seq }) => seq))
    }
  }
})

test('whoever follows closely is told from memory, whoever comes late from disk and store, and both hear the same', async () => {
  const { kept, rows, tail, seqs, read, asked } = await openWorld(2000)
  const end = kept.at(-1)!.index + 1
  tail.stored([], kept[0]!.index)
  let from = kept[0]!.index
  const heard: number[] = []
  for (let n = 0; n < kept.length; n += 100) {
    const [first, last] = [kept[n]!, kept[n + 99]!]
    tail.stored(
      rows.filter(({ seq }) => seq >= first.seq && seq <= last.seq),
      last.index + 1,
    )
    // Many at once cost as much as one.
    const [one, two] = await Promise.all([seqs(from), seqs(from)])
    expect(two).toEqual(one)
    heard.push(...one)
    from = last.index + 1
  }
  expect(read()).toBe(2000)
  const all = await seqs(0)
  expect([heard, read()]).toEqual([all, 4000])
  expect(await seqs(kept[0]!.index)).toEqual(all)
  // The newest are at hand with their readings; the oldest are looked up.
  const [late] = await Array.fromAsync(tail.read(end - 10))
  const near = await late!.rows()
  expect([near.map(({ seq, place }) => [seq, place]), asked()]).toEqual([
    [
      [late!.seq, 0],
      [late!.seq, 1],
    ],
    0,
  ])
  const [early] = await Array.fromAsync(tail.read(0))
  expect(await early!.rows()).toEqual(rows.slice(0, 2))
  expect(asked()).toBeGreaterThan(0)
})

test('a store that is made again is followed from its start', async () => {
  const { kept, tail, seqs } = await openWorld(30)
  tail.stored([], kept[29]!.index + 1)
  const all = await seqs(0)
  tail.stored([], 0)
  expect(await seqs(0)).toEqual([])
  tail.stored([], kept[10]!.index)
  expect(await seqs(0)).toEqual(all.filter((seq) => seq <= 10))
  tail.stored([], kept[29]!.index + 1)
  expect(await seqs(kept[5]!.index)).toEqual(all.filter((seq) => seq >= 6))
})
