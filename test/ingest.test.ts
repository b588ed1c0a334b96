import { setTimeout as sleep } from 'node:timers/promises'
import { verify as zip215 } from '@noble/ed25519'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type EvidenceKeeper, openEvidence } from '#gateway/evidence/keep.ts'
import { createIngest } from '#gateway/ingest/ingest.ts'
import { verifierFault } from '#gateway/ingest/verifier.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import * as portable from '#gateway/reading/ed25519.browser.ts'
import { verify } from '#gateway/reading/ed25519.node.ts'
import { envelopeHash, signEnvelope } from '#gateway/reading/envelope.ts'
import { stationId } from '#gateway/reading/key.ts'
import { encodeReadings } from '#gateway/reading/payload.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { type Receipt, verifyReceipt } from '#gateway/reading/receipt.ts'
import { aReading, envelopeChain, network, newSigner, steadyClock } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const nowMs = Date.parse('2026-11-21T12:00:00Z')

const openAt = (directory: string) =>
  openEvidence({ directory, openJournal: (path) => openJournal({ directory: path, segmentBytes: 1 << 18 }) })

const hubWith = async (directory = temporaryDirectory()) => {
  const evidence: EvidenceKeeper = await openAt(directory)
  const hub = newSigner()
  const receipts: Receipt[] = []
  const ingest = createIngest({
    network,
    hub,
    evidence,
    now: () => nowMs,
    sendReceipt: (_station, bytes) => {
      const verified = verifyReceipt(bytes, network, hub.publicKey)
      if (!verified.ok) throw new Error(verified.detail)
      receipts.push(verified.receipt)
    },
    failed: (error) => {
      throw error
    },
  })
  const station = newSigner()
  const id = stationId(station.publicKey)
  await ingest.register(station.publicKey, nowMs)
  const send = (bytes: Uint8Array, to = id, net = network) =>
    ingest.offer({ network: net, station: to, bytes, receivedMs: nowMs })
  let closed = false
  const close = async () => {
    if (!closed) await evidence[Symbol.asyncDispose]()
    closed = true
  }
  onTestFinished(close)
  return { evidence, ingest, hub, station, id, receipts, send, directory, close }
}

const lastReason = async ({ evidence }: { evidence: EvidenceKeeper }) =>
  (await evidence.refusals(1))[0]?.reason

describe('verifier self-test', () => {
  test('passes for what the hub verifies with, and sees a verifier that takes small-order keys', () => {
    expect(verifierFault(verify)).toBeUndefined()
    expect(verifierFault(portable.verify)).toBeUndefined()
    expect(verifierFault((signature, message, key) => zip215(signature, message, key))).toMatch(
      /small order.*accepted/,
    )
    expect(verifierFault(() => false)).toMatch(/refused/)
  })
})

describe('ingest', () => {
  test('an envelope is kept byte for byte, receipted, and found by station, sequence and time', async () => {
    const hub = await hubWith()
    const next = envelopeChain(hub.station)
    const bytes = next([aReading(nowMs - 5000), aReading(nowMs - 4000)])
    await hub.send(bytes)
    const [ref] = hub.evidence.refs(hub.id, 1, 10, 10)
    expect(ref).toMatchObject({
      station: hub.id,
      seq: 1,
      readings: 2,
      firstMs: nowMs - 5000,
      lastMs: nowMs - 4000,
    })
    expect(toHex((await hub.evidence.get(ref!.index))!.bytes)).toBe(toHex(bytes))
    expect(hub.evidence.span(hub.id, nowMs - 4500, nowMs)).toEqual([1, 1])
    expect(hub.evidence.span(hub.id, nowMs - 3999, nowMs)).toBeUndefined()
    expect(hub.receipts.at(-1)).toMatchObject({
      station: hub.id,
      accepted: [{ first: 1, last: 1 }],
      refused: [],
    })
  })

  test('readings further ahead of their receipt than their clock header allows are kept, and counted', async () => {
    const hub = await hubWith()
    const next = envelopeChain(hub.station) // its clock says 5 ms
    await hub.send(next([aReading(nowMs + 900)]))
    expect(hub.ingest.status.ahead).toBe(0)
    const late = next([aReading(nowMs + 1100)])
    await hub.send(late)
    await hub.send(late)
    expect(hub.ingest.status).toMatchObject({ kept: 2, ahead: 1 })
  })

  test('an envelope sent twice is stored once and acknowledged twice', async () => {
    const hub = await hubWith()
    const bytes = envelopeChain(hub.station)([aReading(nowMs)])
    await Promise.all([hub.send(bytes), hub.send(bytes)])
    await hub.send(bytes)
    expect(hub.ingest.status).toMatchObject({ received: 3, kept: 1, known: 2, refused: 0 })
    expect(hub.evidence.refs(hub.id, 1, 10, 10)).toHaveLength(1)
    expect(hub.receipts.at(-1)!.accepted).toMatchObject([{ first: 1, last: 1 }])
  })

  test('a key of small or mixed order is not registered', async () => {
    const { ingest, evidence } = await hubWith()
    const identity = new Uint8Array(32).with(0, 1)
    await expect(ingest.register(identity, nowMs)).rejects.toThrow('small-order')
    expect(evidence.stations()).toHaveLength(1)
  })

  test('a revoked key is refused, also after a restart; what was kept stays', async () => {
    const hub = await hubWith()
    const next = envelopeChain(hub.station)
    await hub.send(next([aReading(nowMs)]))
    await hub.ingest.revoke(hub.station.publicKey, nowMs)
    await hub.send(next([aReading(nowMs + 1)]))
    expect(await lastReason(hub)).toBe('revoked')
    expect(hub.evidence.progress(hub.id).kept).toEqual([[1, 1]])
    await hub.close()
    const again = await openAt(hub.directory)
    onTestFinished(() => again[Symbol.asyncDispose]())
    expect(again.station(hub.id)?.revokedMs).toBe(nowMs)
  })

  test('a gap is recorded and filled when the backlog arrives', async () => {
    const hub = await hubWith()
    const next = envelopeChain(hub.station)
    const [one, two, three, four] = [0, 1, 2, 3].map((n) => next([aReading(nowMs - n)])) as Uint8Array[]
    await hub.send(one!)
    await hub.send(four!)
    expect(hub.evidence.progress(hub.id)).toMatchObject({
      kept: [
        [1, 1],
        [4, 4],
      ],
      gaps: [[2, 3]],
    })
    expect(hub.receipts.at(-1)!.accepted).toMatchObject([
      { first: 1, last: 1 },
      { first: 4, last: 4 },
    ])
    await hub.send(three!)
    await hub.send(two!)
    expect(hub.evidence.progress(hub.id)).toMatchObject({ kept: [[1, 4]], gaps: [] })
  })

  test('each kind of bad envelope is refused with its reason, kept, counted and told to its sender', async () => {
    const hub = await hubWith()
    const next = envelopeChain(hub.station)
    const good = next([aReading(nowMs)])
    const flipped = good.slice()
    flipped[flipped.length - 1]! ^= 1
    const stranger = newSigner()
    const strangersId = stationId(stranger.publicKey)
    const attempts: [string, () => Promise<void>][] = [
      ['malformed', () => hub.send(good.subarray(0, 40))],
      ['too-large', () => hub.send(new Uint8Array(9000).fill(0xd2))],
      ['bad-signature', () => hub.send(flipped)],
      ['bad-signature', () => hub.send(envelopeChain(hub.station, 'othernet')([aReading(nowMs)]))],
      ['wrong-network', () => hub.send(good, hub.id, 'othernet')],
      ['wrong-topic', () => hub.send(good, strangersId)],
      ['unknown-station', () => hub.send(envelopeChain(stranger)([aReading(nowMs)]), strangersId)],
      ['future', () => hub.send(envelopeChain(hub.station)([aReading(nowMs + 6 * 60_000)]))],
      [
        'bad-payload',
        () =>
          hub.send(
            signEnvelope(
              { seq: 1, prev: new Uint8Array(32), clock: steadyClock },
              new Uint8Array([0xa0]),
              network,
              hub.station,
            ),
          ),
      ],
      [
        'unsupported-content',
        () =>
          hub.send(
            signEnvelope(
              { seq: 1, prev: new Uint8Array(32), clock: steadyClock, contentType: 'text/plain' },
              new Uint8Array([0]),
              network,
              hub.station,
            ),
          ),
      ],
    ]
    for (const [reason, attempt] of attempts) {
      await attempt()
      expect(await lastReason(hub)).toBe(reason)
    }
    expect(hub.ingest.status).toMatchObject({ kept: 0, refused: attempts.length })
    expect(hub.evidence.refusalCounts()['bad-signature']).toBe(2)
    await hub.send(good)
    expect(hub.ingest.status.kept).toBe(1) // the same run takes what is honest
  })

  test('other bytes under a used number are refused, and so is a link that does not fit the chain', async () => {
    const hub = await hubWith()
    const next = envelopeChain(hub.station)
    const fork = envelopeChain(hub.station)
    await hub.send(next([aReading(nowMs)]))
    await hub.send(fork([aReading(nowMs - 1)]))
    expect(await lastReason(hub)).toBe('replayed')
    await hub.send(fork([aReading(nowMs - 2)])) // seq 2, but follows the fork's seq 1
    expect(await lastReason(hub)).toBe('broken-chain')
    expect(hub.receipts.at(-1)!.refused).toMatchObject([{ seq: 2, reason: 'broken-chain' }])
  })

  test('a chain that breaks at its late end is refused too', async () => {
    const hub = await hubWith()
    const next = envelopeChain(hub.station)
    const fork = envelopeChain(hub.station)
    const one = next([aReading(nowMs)])
    const two = next([aReading(nowMs + 1)])
    fork([aReading(nowMs)])
    await hub.send(two)
    await hub.send(envelopeChain(hub.station)([aReading(nowMs - 77)])) // a seq 1 that two does not follow
    expect(await lastReason(hub)).toBe('broken-chain')
    await hub.send(one)
    expect(hub.evidence.progress(hub.id).gaps).toEqual([])
  })

  test('a count of envelopes with positions that does not fit is refused, from either side', async () => {
    const hub = await hubWith()
    const position = (timeMs: number): Reading => ({
      sensor: 'gnss',
      model: 'nmea',
      timeMs,
      values: [{ quantity: 35, scaled: 481_173_000 }],
    })
    const sign = (seq: number, prev: Uint8Array, withheld: number, readings: readonly Reading[]) =>
      signEnvelope(
        { seq, prev, clock: steadyClock, withheld },
        encodeReadings(readings),
        network,
        hub.station,
      )
    const zero = new Uint8Array(32)
    await hub.send(sign(1, zero, 0, [position(nowMs)]))
    expect(await lastReason(hub)).toBe('bad-payload')
    await hub.send(sign(1, zero, 1, [aReading(nowMs)]))
    expect(await lastReason(hub)).toBe('broken-chain')
    expect(hub.ingest.status).toMatchObject({ kept: 0, refused: 2 })
    const one = sign(1, zero, 1, [position(nowMs)])
    await hub.send(one)
    const refusedTwos: [number, Reading][] = [
      [0, aReading(nowMs)],
      [2, aReading(nowMs)],
      [1, position(nowMs)],
    ]
    for (const [withheld, reading] of refusedTwos) {
      await hub.send(sign(2, envelopeHash(one), withheld, [reading]))
      expect(await lastReason(hub)).toBe('broken-chain')
    }
    expect(hub.ingest.status).toMatchObject({ kept: 1, refused: 5 })
    // The later one first: then the earlier has to fit it.
    const two = sign(2, envelopeHash(one), 2, [position(nowMs)])
    const lying = sign(3, envelopeHash(two), 3, [aReading(nowMs)])
    await hub.send(lying)
    await hub.send(two)
    expect(await lastReason(hub)).toBe('broken-chain')
    expect(hub.evidence.progress(hub.id).gaps).toEqual([[2, 2]])
  })

  test('what was kept, registered and promised is the same after a restart, also without the catalogue', async () => {
    const hub = await hubWith()
    const next = envelopeChain(hub.station)
    for (let n = 0; n < 20; n++) await hub.send(next([aReading(nowMs + n)]))
    const before = { promised: hub.evidence.promised(hub.id, 9), refs: hub.evidence.refs(hub.id, 1, 99, 99) }
    await hub.close()
    const { rmSync } = await import('node:fs')
    for (const suffix of ['', '-wal', '-shm'])
      rmSync(`${hub.directory}/catalogue.sqlite${suffix}`, { force: true })
    const again = await openAt(hub.directory)
    expect(again.station(hub.id)?.publicKey).toEqual(hub.station.publicKey)
    expect({ promised: again.promised(hub.id, 9), refs: again.refs(hub.id, 1, 99, 99) }).toEqual(before)
    await again[Symbol.asyncDispose]()
    const third = await openAt(hub.directory)
    onTestFinished(() => third[Symbol.asyncDispose]())
    expect(third.station(hub.id)?.publicKey).toEqual(hub.station.publicKey)
  })

  test('views are woken when evidence grows, and read exactly what was committed', async () => {
    const hub = await hubWith()
    const from = hub.evidence.committed
    const grown = hub.evidence.grown(from, AbortSignal.timeout(5000))
    await sleep(1)
    const bytes = envelopeChain(hub.station)([aReading(nowMs)])
    await hub.send(bytes)
    await grown
    const kept = await Array.fromAsync(hub.evidence.read(from))
    expect(kept.map((one) => toHex(one.bytes))).toEqual([toHex(bytes)])
  })
})
