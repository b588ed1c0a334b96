import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { JournalFiles } from '#gateway/journal/files.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { openOutbox } from '#gateway/outbox/outbox.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import { type Dropped, decodeDropped, droppedContentType } from '#gateway/reading/dropped.ts'
import { decodeEnvelope, envelopeHash } from '#gateway/reading/envelope.ts'
import { stationId } from '#gateway/reading/key.ts'
import { createSealer } from '#gateway/sign/sign.ts'
import { type Fault, memoryDisk, systemError } from '#test/journal-disk.ts'
import { aReading, network, newSigner, steadyClock } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const reached = (holds: () => boolean): Promise<void> =>
  vi.waitFor(() => expect(holds()).toBe(true), { timeout: 5000, interval: 5 })

const signer = newSigner()
const station = stationId(signer.publicKey)

/** A station's sealer and outbox on a disk that can be made to fail, with an oracle that counts readings. */
const stationOn = async (options: { disk?: ReturnType<typeof memoryDisk>; maxHeld?: number } = {}) => {
  const disk = options.disk ?? memoryDisk()
  const aside = memoryDisk()
  const files = (path: string): JournalFiles => (path.endsWith('refused') ? aside : disk)
  const outbox = await openOutbox({
    directory: temporaryDirectory(),
    openJournal: (path) =>
      openJournal({ directory: path, segmentBytes: 1 << 13, maxRecordBytes: 4096, files: files(path) }),
    backlogPerS: Number.POSITIVE_INFINITY,
    cursorIntervalMs: 0,
    longestDiskBackoffMs: 20,
  })
  const failures: unknown[] = []
  const sealer = createSealer({
    signer,
    network,
    chain: outbox,
    clock: () => steadyClock,
    limits: { maxReadings: 5, maxAgeMs: 60_000 },
    ...(options.maxHeld === undefined ? {} : { maxHeld: options.maxHeld }),
    failed: (error) => failures.push(error),
  })
  let closed = false
  const close = async () => {
    if (!closed) await outbox[Symbol.asyncDispose]()
    closed = true
  }
  onTestFinished(close)
  let emitted = 0
  const measure = async (count: number) => {
    for (let n = 0; n < count; n++) await sealer.add(aReading(1_700_000_000_000 + 1000 * ++emitted))
  }
  /** By time of reading, how often it was delivered; by seq, the hashes that were sent under it. */
  const delivered = new Map<number, number>()
  const bySeq = new Map<number, Set<string>>()
  const declared: { seq: number; dropped: Dropped }[] = []
  const drain = async () => {
    await sealer.flush()
    while (outbox.status.pending > 0) {
      const { seq, bytes } = await outbox.next(AbortSignal.timeout(5000))
      const decoded = decodeEnvelope(bytes)
      if (!decoded.ok) throw new Error(decoded.detail)
      const contents = readingsOf(decoded.envelope)
      if (!contents.ok) throw new Error(contents.detail)
      const { contentType, payload } = decoded.envelope
      const lost = contentType === droppedContentType ? decodeDropped(payload, seq) : undefined
      if (lost?.ok) declared.push({ seq, dropped: lost.dropped })
      for (const { timeMs } of contents.readings) delivered.set(timeMs, (delivered.get(timeMs) ?? 0) + 1)
      const head = envelopeHash(bytes)
      bySeq.set(seq, (bySeq.get(seq) ?? new Set()).add(Buffer.from(head).toString('hex')))
      const accepted = [{ first: seq, last: seq, head, withheld: decoded.envelope.withheld }]
      await outbox.settle({ station, issuedMs: 0, refused: [], accepted })
    }
  }
  const check = () => {
    expect(failures).toEqual([])
    expect([...delivered.values()].every((times) => times === 1)).toBe(true)
    expect([...bySeq.values()].every((hashes) => hashes.size === 1)).toBe(true)
    expect([...bySeq.keys()].toSorted((a, b) => a - b)).toEqual([...bySeq.keys()].map((_, at) => at + 1))
    expect(delivered.size + outbox.status.lost).toBe(emitted)
    expect(declared.reduce((sum, { dropped }) => sum + dropped.unsigned, 0)).toBe(outbox.status.lost)
  }
  return { disk, outbox, sealer, measure, drain, check, delivered, declared, close, count: () => emitted }
}

const failing =
  (code: string, of: readonly string[]): Fault =>
  ({ what }) => {
    if (of.includes(what)) throw systemError(code)
    return undefined
  }

const writes = ['write', 'datasync', 'sync', 'truncate', 'rename', 'remove', 'syncDirectory']

const back = (outbox: {
  readonly status: { readonly disk: { readonly state: string }; readonly held: number }
}) => reached(() => outbox.status.disk.state === 'ok' && outbox.status.held === 0)

describe('an outbox on a disk that fails', () => {
  test.each([
    ['full', 'ENOSPC', ['write']],
    ['read-only', 'EROFS', [...writes, 'open']],
    ['failing', 'EIO', ['write', 'datasync']],
    ['failing', 'EIO', ['datasync']],
  ] as const)(
    'goes on when its disk was %s (%s at %j): every reading comes once',
    async (state, code, of) => {
      const { disk, outbox, measure, drain, check } = await stationOn()
      await measure(42)
      disk.fault = failing(code, of)
      await measure(60)
      await reached(() => outbox.status.disk.state === state)
      await measure(60)
      expect(outbox.status.held).toBeGreaterThan(0)
      expect(outbox.status.disk.detail).toContain(code)
      await sleep(60) // some attempts that fail
      expect(outbox.status.disk.state).toBe(state)
      disk.fault = () => undefined
      await back(outbox)
      await measure(40)
      await drain()
      check()
      expect(outbox.status).toMatchObject({ lost: 0, pending: 0, conflict: null })
    },
  )

  test('a disk that tears its last write is filled up with the same bytes under the same numbers', async () => {
    const { disk, outbox, measure, drain, check } = await stationOn()
    await measure(20)
    let torn = 0
    disk.fault = ({ what, bytes }) => {
      if (what !== 'write') return undefined
      if (torn++ === 0) return bytes >> 1
      throw systemError('EIO')
    }
    await measure(30)
    await reached(() => outbox.status.disk.state === 'failing')
    disk.fault = () => undefined
    await back(outbox)
    await drain()
    check()
    expect(outbox.status.lost).toBe(0)
  })

  test('a station starts on a disk that cannot be opened, holds its readings and signs them when it can', async () => {
    const disk = memoryDisk()
    disk.fault = failing('EACCES', [...writes, 'open', 'read'])
    const { outbox, measure, drain, check } = await stationOn({ disk })
    expect(outbox.status.disk.state).toBe('read-only')
    await measure(33)
    expect(outbox.head.seq).toBe(0)
    disk.fault = () => undefined
    await reached(() => outbox.status.disk.state === 'ok')
    await drain()
    await back(outbox)
    await drain()
    check()
  })

  test('a station that starts late on its disk goes on where its chain ended', async () => {
    const disk = memoryDisk()
    const before = await stationOn({ disk })
    await before.measure(20)
    await before.sealer.flush()
    await before.close()
    disk.fault = failing('EIO', ['open', 'read'])
    const after = await stationOn({ disk })
    await after.measure(10)
    disk.fault = () => undefined
    await back(after.outbox)
    await after.sealer.flush()
    expect(after.outbox.head.seq).toBe(6)
    expect(after.outbox.status.pending).toBe(6)
  })

  test('memory is bounded while the disk is away: the past gets coarser, and what is lost is counted', async () => {
    const { disk, outbox, measure, drain, check, delivered, declared } = await stationOn({ maxHeld: 100 })
    disk.fault = failing('ENOSPC', ['write'])
    await measure(1000)
    expect(outbox.status.held).toBeLessThanOrEqual(100)
    expect(outbox.status.lost).toBeGreaterThan(800)
    disk.fault = () => undefined
    await back(outbox)
    await drain()
    check()
    // The control: had nothing been counted, the oracle would not add up.
    expect(delivered.size).toBeLessThan(1000)
    const times = [...delivered.keys()].toSorted((a, b) => a - b)
    expect(times.at(-1)).toBe(1_700_000_000_000 + 1000 * 1000)
    // Every reading is delivered or declared, and the declaration stands ahead of what was held.
    expect(declared).toHaveLength(1)
    const [{ seq, dropped }] = declared as [(typeof declared)[number]]
    expect(dropped).toMatchObject({ reason: 'unsigned', unsigned: 1000 - delivered.size, envelopes: [] })
    const gone = Array.from({ length: 1000 }, (_, at) => 1_700_000_000_000 + 1000 * (at + 1)).filter(
      (timeMs) => !delivered.has(timeMs),
    )
    expect([dropped.fromMs, dropped.toMs]).toEqual([gone[0], gone.at(-1)])
    expect(seq).toBeLessThanOrEqual(4)
  })

  test('a disk that cannot be read for a while delays envelopes and loses none', async () => {
    const { disk, outbox, measure, drain, check } = await stationOn()
    await measure(50)
    disk.fault = failing('EIO', ['read'])
    // What goes out at once is still in memory; what is backlog is not.
    expect((await outbox.next(AbortSignal.timeout(5000))).seq).toBe(1)
    outbox.requeue()
    await expect(outbox.next(AbortSignal.timeout(100))).rejects.toThrow()
    disk.fault = () => undefined
    await drain()
    check()
  })
})
