import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openJournal } from '#gateway/journal/open.ts'
import { type Outbox, openOutbox } from '#gateway/outbox/outbox.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { decodeEnvelope, envelopeHash } from '#gateway/reading/envelope.ts'
import { stationId } from '#gateway/reading/key.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import type { Receipt } from '#gateway/reading/receipt.ts'
import { createSealer } from '#gateway/sign/sign.ts'
import { aReading, envelopeChain, network, newSigner, steadyClock } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const signer = newSigner()
const station = stationId(signer.publicKey)

/** An outbox with a clock of its own; `advance` moves it. */
const outboxAt = async (directory: string, options: { maxInFlight?: number; backlogPerS?: number } = {}) => {
  let nowMs = 1_000_000
  const outbox = await openOutbox({
    directory,
    openJournal: (path) => openJournal({ directory: path, segmentBytes: 1 << 17 }),
    receiptTimeoutMs: 10_000,
    backlogPerS: Number.POSITIVE_INFINITY,
    ...options,
    now: () => nowMs,
  })
  let closed = false
  const close = async () => {
    if (!closed) await outbox[Symbol.asyncDispose]()
    closed = true
  }
  onTestFinished(close)
  return { outbox, close, advance: (ms: number) => (nowMs += ms) }
}

const aPosition = (timeMs: number): Reading => ({
  sensor: 'gps',
  model: 'nmea',
  timeMs,
  values: [{ quantity: 35, scaled: 481_173_000 }],
})

const put = async (
  outbox: Outbox,
  next: (readings: ReturnType<typeof aReading>[]) => Uint8Array,
  count: number,
) => {
  for (let n = 0; n < count; n++) outbox.append(next([aReading(1000 + n)]))
  await outbox.commit()
}

const nextSeq = async (outbox: Outbox): Promise<number> => (await outbox.next(AbortSignal.timeout(2000))).seq

const nothingNext = async (outbox: Outbox): Promise<boolean> =>
  outbox.next(AbortSignal.timeout(50)).then(
    () => false,
    () => true,
  )

const receiptOf = (envelopes: Uint8Array[], refused: Receipt['refused'] = []): Receipt => ({
  station,
  issuedMs: 0,
  refused,
  accepted: envelopes.map((bytes) => {
    const decoded = decodeEnvelope(bytes)
    if (!decoded.ok) throw new Error(decoded.detail)
    const { seq, withheld } = decoded.envelope
    return { first: seq, last: seq, head: envelopeHash(bytes), withheld }
  }),
})

describe('outbox', () => {
  test('an entry is offered once, and leaves only on a receipt', async () => {
    const { outbox, advance } = await outboxAt(temporaryDirectory())
    await put(outbox, envelopeChain(signer), 2)
    const first = await outbox.next(AbortSignal.timeout(2000))
    expect(first.seq).toBe(1)
    expect(await nextSeq(outbox)).toBe(2)
    expect(await nothingNext(outbox)).toBe(true)
    await outbox.settle(receiptOf([first.bytes]))
    expect(outbox.status).toMatchObject({ pending: 1, inFlight: 1, accepted: 1 })
    advance(10_001)
    expect(await nextSeq(outbox)).toBe(2) // no receipt came: sent again
  })

  test('what is not committed is not offered', async () => {
    const { outbox } = await outboxAt(temporaryDirectory())
    outbox.append(envelopeChain(signer)([aReading(1)]))
    expect(await nothingNext(outbox)).toBe(true)
  })

  test('what was appended behind a commit waits for the next one', async () => {
    const gate = Promise.withResolvers<void>()
    const flushed = Promise.withResolvers<void>()
    const outbox = await openOutbox({
      directory: temporaryDirectory(),
      openJournal: async (path) => {
        const journal = await openJournal({ directory: path, segmentBytes: 1 << 17 })
        const commit = async () => {
          await journal.commit()
          flushed.resolve()
          await gate.promise
        }
        return Object.create(journal, { commit: { value: commit } }) as typeof journal
      },
    })
    onTestFinished(() => outbox[Symbol.asyncDispose]())
    const next = envelopeChain(signer)
    outbox.append(next([aReading(1)]))
    const committed = outbox.commit()
    await flushed.promise
    outbox.append(next([aReading(2)]))
    gate.resolve()
    await committed
    expect(await nextSeq(outbox)).toBe(1)
    expect(await nothingNext(outbox)).toBe(true)
    await outbox.commit()
    expect(await nextSeq(outbox)).toBe(2)
  })

  test('fresh envelopes go before the backlog', async () => {
    const directory = temporaryDirectory()
    const next = envelopeChain(signer)
    const before = await outboxAt(directory)
    await put(before.outbox, next, 3)
    await before.close()
    const { outbox } = await outboxAt(directory)
    await put(outbox, next, 1)
    const order = [await outbox.next(AbortSignal.timeout(2000)), await outbox.next(AbortSignal.timeout(2000))]
    expect(order.map(({ seq, backlog }) => [seq, backlog])).toEqual([
      [4, false],
      [1, true],
    ])
  })

  test('no more than the limit is in flight', async () => {
    const { outbox } = await outboxAt(temporaryDirectory(), { maxInFlight: 2 })
    await put(outbox, envelopeChain(signer), 3)
    await nextSeq(outbox)
    const second = await outbox.next(AbortSignal.timeout(2000))
    expect(await nothingNext(outbox)).toBe(true)
    await outbox.settle(receiptOf([second.bytes]))
    expect(await nextSeq(outbox)).toBe(3)
  })

  test('the backlog is drained at its pace, fresh envelopes are not held back by it', async () => {
    const directory = temporaryDirectory()
    const next = envelopeChain(signer)
    const before = await outboxAt(directory)
    await put(before.outbox, next, 3)
    await before.close()
    const { outbox, advance } = await outboxAt(directory, { backlogPerS: 1 })
    expect(await nextSeq(outbox)).toBe(1)
    expect(await nothingNext(outbox)).toBe(true)
    await put(outbox, next, 1)
    expect(await nextSeq(outbox)).toBe(4)
    advance(1001)
    expect(await nextSeq(outbox)).toBe(2)
  })

  test('a lost connection makes everything without a receipt backlog, oldest first', async () => {
    const { outbox } = await outboxAt(temporaryDirectory())
    await put(outbox, envelopeChain(signer), 3)
    await nextSeq(outbox)
    await nextSeq(outbox)
    outbox.requeue()
    expect([await nextSeq(outbox), await nextSeq(outbox), await nextSeq(outbox)]).toEqual([1, 2, 3])
  })

  test('the chain goes on after a restart, also when all was receipted', async () => {
    const directory = temporaryDirectory()
    const next = envelopeChain(signer)
    const before = await outboxAt(directory)
    await put(before.outbox, next, 2)
    const sent = [
      await before.outbox.next(AbortSignal.timeout(2000)),
      await before.outbox.next(AbortSignal.timeout(2000)),
    ]
    await before.outbox.settle(receiptOf(sent.map(({ bytes }) => bytes)))
    const { head } = before.outbox
    await before.close()
    const { outbox } = await outboxAt(directory)
    expect([outbox.head.seq, toHex(outbox.head.hash)]).toEqual([2, toHex(head.hash)])
    expect(outbox.head.withheld).toBe(0)
    expect(outbox.status.pending).toBe(0)
    outbox.append(next([aReading(3)]))
  })

  test('a refusal counts only with the hash of the very envelope, is kept, and a temporary one is tried again', async () => {
    const { outbox, advance } = await outboxAt(temporaryDirectory())
    await put(outbox, envelopeChain(signer), 1)
    const { bytes } = await outbox.next(AbortSignal.timeout(2000))
    const hash = envelopeHash(bytes)
    await outbox.settle(receiptOf([], [{ seq: 1, reason: 'bad-signature', hash: new Uint8Array(32) }]))
    expect(outbox.status).toMatchObject({ pending: 1, refused: 0 })
    await outbox.settle(receiptOf([], [{ seq: 1, reason: 'unknown-station', hash }]))
    expect(outbox.status).toMatchObject({
      pending: 1,
      refused: 0,
      lastRefusal: { reason: 'unknown-station' },
    })
    advance(10_001)
    expect(await nextSeq(outbox)).toBe(1)
    await outbox.settle(receiptOf([], [{ seq: 1, reason: 'bad-signature', hash }]))
    expect(outbox.status).toMatchObject({ pending: 0, refused: 1 })
  })

  test('a receipt for other bytes under our number settles nothing and is reported', async () => {
    const { outbox } = await outboxAt(temporaryDirectory())
    await put(outbox, envelopeChain(signer), 1)
    const twin = envelopeChain(signer)([aReading(999_999)])
    await outbox.settle(receiptOf([twin]))
    expect(outbox.status).toMatchObject({ pending: 1, conflict: 1 })
  })

  test('after a disk restored from an old copy, numbers the hub has seen are not used again', async () => {
    const { outbox } = await outboxAt(temporaryDirectory())
    const lost = envelopeChain(signer)
    const fix: Reading = { ...aReading(2), values: [{ quantity: 35, scaled: 481_173_000 }] }
    const known = [lost([aReading(1)]), lost([fix])]
    await outbox.settle(receiptOf(known))
    expect(outbox.head).toMatchObject({ seq: 2, withheld: 1 })
    outbox.append(lost([aReading(3)]))
  })

  test('the count of envelopes with positions goes on after a restart, whether they wait or are receipted', async () => {
    const directory = temporaryDirectory()
    const next = envelopeChain(signer)
    const before = await outboxAt(directory)
    const sent = [next([aPosition(1)]), next([aReading(2)]), next([aPosition(3)])]
    for (const bytes of sent) before.outbox.append(bytes)
    await before.outbox.commit()
    await before.close()
    const waiting = await outboxAt(directory)
    expect(waiting.outbox.head).toMatchObject({ seq: 3, withheld: 2 })
    await waiting.outbox.settle(receiptOf(sent))
    await waiting.close()
    const { outbox, close } = await outboxAt(directory)
    expect(outbox.status.pending).toBe(0)
    expect(outbox.head).toMatchObject({ seq: 3, withheld: 2 })
    await close()
    // With the cursor alone, as after a trim; and with one from before there was a count.
    rmSync(join(directory, 'envelopes'), { recursive: true })
    const path = join(directory, 'cursor.json')
    const { withheld, ...old } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
    expect(withheld).toBe(2)
    const trimmed = await outboxAt(directory)
    expect(trimmed.outbox.head).toMatchObject({ seq: 3, withheld: 2 })
    await trimmed.close()
    rmSync(join(directory, 'envelopes'), { recursive: true })
    writeFileSync(path, JSON.stringify(old))
    expect((await outboxAt(directory)).outbox.head).toMatchObject({ seq: 3, withheld: 0 })
  })

  test('the count of positions goes on from the hub’s receipt, too', async () => {
    const { outbox } = await outboxAt(temporaryDirectory())
    const lost = envelopeChain(signer)
    const known = [lost([aPosition(1)]), lost([aPosition(2)]), lost([aReading(3)])]
    outbox.append(known[0]!)
    await outbox.commit()
    await outbox.settle(receiptOf(known))
    expect(outbox.head).toMatchObject({ seq: 3, withheld: 2 })
  })
})

describe('sealer', () => {
  const sealerFor = (outbox: Outbox, limits?: { maxReadings: number; maxAgeMs: number }) => {
    const timers: { ms: number; run: () => void }[] = []
    const sealer = createSealer({
      signer,
      network,
      chain: outbox,
      clock: () => steadyClock,
      ...(limits ? { limits } : {}),
      after: (ms, run) => {
        const timer = { ms, run }
        timers.push(timer)
        return () => timers.splice(timers.indexOf(timer), 1)
      },
      failed: (error) => {
        throw error
      },
    })
    return { sealer, timers }
  }

  test('fifty readings, or five seconds, make an envelope', async () => {
    const { outbox } = await outboxAt(temporaryDirectory())
    const { sealer, timers } = sealerFor(outbox)
    for (let n = 0; n < 50; n++) await sealer.add(aReading(1000 + n))
    expect(outbox.head.seq).toBe(1)
    expect(timers).toEqual([])
    await sealer.add(aReading(2000))
    expect(outbox.head.seq).toBe(1)
    expect(timers.map(({ ms }) => ms)).toEqual([5000])
    timers[0]!.run()
    expect(outbox.head.seq).toBe(2)
  })

  test('positions go into envelopes of their own', async () => {
    const { outbox } = await outboxAt(temporaryDirectory())
    const { sealer } = sealerFor(outbox)
    await sealer.add(aReading(1))
    await sealer.add(aPosition(2))
    await sealer.add(aReading(3))
    await sealer.flush()
    expect(outbox.head.seq).toBe(2)
  })

  test('envelopes with positions are counted, and every envelope says how many there were', async () => {
    const { outbox } = await outboxAt(temporaryDirectory())
    const { sealer } = sealerFor(outbox, { maxReadings: 1, maxAgeMs: 5000 })
    const readings = [aReading(1), aPosition(2), aReading(3), aPosition(4), aPosition(5), aReading(6)]
    for (const reading of readings) await sealer.add(reading)
    const counts: number[] = []
    for (let n = 0; n < readings.length; n++) {
      const decoded = decodeEnvelope((await outbox.next(AbortSignal.timeout(2000))).bytes)
      counts.push(decoded.ok ? decoded.envelope.withheld : Number.NaN)
    }
    expect(counts).toEqual([0, 1, 1, 2, 3, 3])
  })

  test('readings that do not fit one envelope, or lie too far apart, become several', async () => {
    const { outbox } = await outboxAt(temporaryDirectory())
    const { sealer } = sealerFor(outbox, { maxReadings: 900, maxAgeMs: 5000 })
    for (let n = 0; n < 900; n++)
      await sealer.add({
        ...aReading(1000 * n),
        values: [1, 2, 3, 4, 5].map((quantity) => ({ quantity, scaled: (n * 2_654_435_761) | 0 })),
      })
    expect(outbox.head.seq).toBeGreaterThan(1)
    const { seq } = outbox.head
    await sealer.add(aReading(0))
    await sealer.add(aReading(Date.parse('2026-11-21')))
    await sealer.flush()
    expect(outbox.head.seq).toBe(seq + 2)
  })
})
