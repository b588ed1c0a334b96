import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { openAnchorBook } from '#gateway/anchor/anchor.ts'
import { openEvidence } from '#gateway/evidence/keep.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { fromHex, toHex } from '#gateway/reading/bytes.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import { decodeEnvelope, envelopeHash } from '#gateway/reading/envelope.ts'
import { leafHash } from '#gateway/reading/merkle.ts'
import { verifyReceipt } from '#gateway/reading/receipt.ts'
import { openEmbeddedStore } from '#gateway/store/embedded.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { generator } from '#sim/random.ts'
import { type Running, start } from '#test/kill/process.ts'
import { findInDirectory } from '#test/kill/scan.ts'
import { openTap } from '#test/kill/tap.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const network = 'killtest'
const kills = Number(process.env.KILLS ?? 44)
const seed = Number(process.env.SEED ?? Date.now() % 1e9)

type Key = `${string}/${number}`

/** Everything that was in an outbox or promised by a hub, as the disk and the wire showed it. */
const newOracle = () => {
  const written = new Map<Key, string>()
  const promised = new Map<Key, string>()
  const covered = new Map<string, number>()
  return {
    written,
    promised,
    covered,
    /** Notes every envelope found in the outboxes of stopped stations. */
    noteOutboxes: (fleet: string): void => {
      for (const name of readdirSync(fleet).filter((one) => one.startsWith('sim-')))
        for (const bytes of findInDirectory(join(fleet, name, 'outbox', 'envelopes'))) {
          const decoded = decodeEnvelope(bytes)
          if (!decoded.ok) continue
          const key: Key = `${toHex(decoded.envelope.kid)}/${decoded.envelope.seq}`
          written.set(key, toHex(envelopeHash(bytes)))
        }
    },
    notePromise: (message: Uint8Array, hubKey: Uint8Array): void => {
      const verified = verifyReceipt(message, network, hubKey)
      if (!verified.ok) return
      const { station, accepted } = verified.receipt
      for (const { first, last, head } of accepted) {
        promised.set(`${station}/${last}`, toHex(head))
        if (first === 1) covered.set(station, Math.max(covered.get(station) ?? 0, last))
      }
    },
  }
}

/** What the hub's directory holds, read by its own parts after it has stopped. */
const inspect = async (directory: string) => {
  await using evidence = await openEvidence({
    directory: join(directory, 'evidence'),
    openJournal: (path) => openJournal({ directory: path, segmentBytes: 16 << 20 }),
  })
  await using store = await openEmbeddedStore({ path: join(directory, 'store.sqlite') })
  using book = openAnchorBook(join(directory, 'anchor.sqlite'))
  const kept = new Map<Key, string>()
  const readings = new Set<string>()
  const unanchored: Key[] = []
  const seenLeaves = new Map<Key, number>()
  for await (const envelope of evidence.read(0)) {
    const key: Key = `${envelope.station}/${envelope.seq}`
    kept.set(key, toHex(envelope.hash))
    const place = book.placeOf(envelope.station, envelope.seq)
    const batch = place && book.batch(place.batch)
    const leaf = place && book.leaves(place.batch)?.hashes[place.place]
    if (!batch || batch.status === 'queued' || batch.status === 'sent') unanchored.push(key)
    else if (!leaf || toHex(leaf) !== toHex(leafHash(envelope.bytes))) unanchored.push(key)
    seenLeaves.set(key, (seenLeaves.get(key) ?? 0) + 1)
    const decoded = decodeEnvelope(envelope.bytes)
    if (!decoded.ok || envelope.withheld) continue
    const contents = readingsOf(decoded.envelope)
    if (contents.ok) for (let at = 0; at < contents.readings.length; at++) readings.add(`${key}/${at}`)
  }
  const stored: string[] = []
  let after: StoredReading | undefined
  do {
    const page = await store.readings({ fromMs: 0, toMs: 1e14 }, 10_000, after)
    for (const { station, seq, place } of page) stored.push(`${station}/${seq}/${place}`)
    after = page.at(-1)
  } while (after)
  return {
    kept,
    readings,
    stored,
    unanchored,
    twice: [...seenLeaves].filter(([, count]) => count > 1).map(([key]) => key),
    gaps: evidence.stations().flatMap(({ station }) => evidence.progress(station).gaps),
    refusals: evidence.refusalCounts(),
  }
}

const missing = (from: ReadonlyMap<Key, string>, kept: ReadonlyMap<Key, string>): Key[] =>
  [...from].filter(([key, hash]) => kept.get(key) !== hash).map(([key]) => key)

test(`hub and stations killed ${kills} times lose nothing that was written or promised (SEED=${seed})`, {
  timeout: 420_000,
}, async () => {
  const random = generator(seed)
  const data = temporaryDirectory()
  const fleet = join(data, 'sim')
  const oracle = newOracle()
  let hubKey = new Uint8Array(32)
  const tap = await openTap((message) => oracle.notePromise(message, hubKey))
  const env = {
    GROUNDTRUTH_NETWORK: network,
    GROUNDTRUTH_DATA: data,
    GROUNDTRUTH_HUB__ANCHOR__MAXAGES: '1',
    GROUNDTRUTH_EDGE__ENVELOPE__MAXAGES: '0.3',
    GROUNDTRUTH_EDGE__BROKER__RETRYS: '0.2',
    // A station that forgets at once what was receipted cannot make up for a hub that forgot it, too.
    GROUNDTRUTH_EDGE__OUTBOX__CURSORS: '0',
    GROUNDTRUTH_EDGE__OUTBOX__RECEIPTTIMEOUTS: '2',
    GROUNDTRUTH_EDGE__OUTBOX__BACKLOGPERS: '1000',
  }
  const startHub = (): Running => {
    const hub = start(['hub', '--http-port', '0', '--mqtt-port', '0', '--rpc-port', '0'], env)
    hub.firstLine.then(
      (line) => {
        const { mqtt, hubKey: key } = JSON.parse(line) as { mqtt: string; hubKey: string }
        hubKey = new Uint8Array(fromHex(key)!)
        tap.target = Number(new URL(mqtt).port)
      },
      () => undefined, // killed while it started
    )
    return hub
  }
  const startStations = (): Running =>
    start(['sim', '--stations', '3', '--interval', '0.05', '--broker', `mqtt://127.0.0.1:${tap.port}`], env)
  let hub = startHub()
  let stations = startStations()
  onTestFinished(async () => {
    await Promise.all([hub.stop('SIGKILL'), stations.stop('SIGKILL')])
    await tap.close()
  })
  await hub.firstLine

  for (let killed = 0; killed < kills; killed++) {
    await sleep(100 + random() * 2200)
    if (random() < 0.5) {
      await hub.stop('SIGKILL')
      hub = startHub()
    } else {
      await stations.stop('SIGKILL')
      oracle.noteOutboxes(fleet)
      stations = startStations()
    }
  }

  const status = async (): Promise<{ counts: { missing: number }; anchor: Record<string, unknown> }> => {
    const { http } = JSON.parse(await hub.firstLine) as { http: string }
    return (await (await fetch(`${http}/v1/status`)).json()) as Awaited<ReturnType<typeof status>>
  }
  const settle = async (): Promise<void> => {
    await stations.stop('SIGTERM')
    oracle.noteOutboxes(fleet)
    stations = startStations() // sends what the stop left behind
    const heads = () =>
      [...oracle.written.keys()].every((key) => {
        const [station, seq] = key.split('/') as [string, string]
        return (oracle.covered.get(station) ?? 0) >= Number(seq)
      })
    for (let waited = 0; waited < 300 && !heads(); waited++) await sleep(100)
    await stations.stop('SIGTERM')
    for (let waited = 0; waited < 200; waited++) {
      const { anchor, counts } = await status()
      const { queued, sent, mined } = anchor.batches as Record<string, number>
      if (anchor.pendingEnvelopes === 0 && queued === 0 && sent === 0 && mined === 0 && counts.missing === 0)
        break
      await sleep(100)
    }
  }
  await settle()
  expect(await hub.stop('SIGTERM'), hub.said()).toBe(0)

  const found = await inspect(join(data, 'hub'))
  expect(oracle.written.size).toBeGreaterThan(kills)
  expect(oracle.promised.size).toBeGreaterThan(kills / 2)
  expect(missing(oracle.written, found.kept)).toEqual([])
  expect(missing(oracle.promised, found.kept)).toEqual([])
  expect(found.gaps).toEqual([])
  expect(found.twice).toEqual([])
  expect(found.unanchored).toEqual([])
  expect(found.refusals).toEqual({})
  expect(found.stored.length).toBe(new Set(found.stored).size)
  expect(new Set(found.stored)).toEqual(found.readings)

  // The control: an outbox that is lost with its process must show, or all of the above means nothing.
  stations = startStations() // there is no hub: what is signed now stays in the outboxes
  await sleep(4000)
  await stations.stop('SIGKILL')
  oracle.noteOutboxes(fleet)
  for (const name of readdirSync(fleet).filter((one) => one.startsWith('sim-')))
    rmSync(join(fleet, name, 'outbox', 'envelopes'), { recursive: true })
  const control = await inspect(join(data, 'hub'))
  expect(missing(oracle.written, control.kept).length).toBeGreaterThan(0)
})
