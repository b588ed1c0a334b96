import { describe, expect, onTestFinished, test } from 'vitest'
import { openJournal } from '#gateway/journal/open.ts'
import { defaultMaxBytes, openOutbox } from '#gateway/outbox/outbox.ts'
import { type Dropped, decodeDropped, droppedContentType, droppedDigest } from '#gateway/reading/dropped.ts'
import { decodeEnvelope, envelopeHash, noPrevious, signEnvelope } from '#gateway/reading/envelope.ts'
import { stationId } from '#gateway/reading/key.ts'
import { encodeReadings } from '#gateway/reading/payload.ts'
import { type MemoryDisk, memoryDisk } from '#test/journal-disk.ts'
import { aReading, network, newSigner, steadyClock } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const signer = newSigner()
const station = stationId(signer.publicKey)
const segmentBytes = 1 << 13
const maxBytes = 64 * segmentBytes

const outboxOn = async (
  disk: MemoryDisk,
  policy: { off?: boolean; maxBytes?: number; signed?: (envelope: Uint8Array) => void } = {},
) => {
  const aside = memoryDisk()
  const outbox = await openOutbox({
    directory: temporaryDirectory(),
    openJournal: (path) =>
      openJournal({
        directory: path,
        segmentBytes,
        maxRecordBytes: 2048,
        files: path.endsWith('refused') ? aside : disk,
      }),
    backlogPerS: Number.POSITIVE_INFINITY,
    cursorIntervalMs: 0,
    maxBytes: policy.maxBytes ?? maxBytes,
    utc: () => 1_700_000_000_000,
    ...(policy.off
      ? {}
      : {
          declare: (head, payload) => {
            const envelope = signEnvelope({ ...head, clock: steadyClock }, payload, network, signer)
            policy.signed?.(envelope)
            return envelope
          },
        }),
  })
  onTestFinished(() => outbox[Symbol.asyncDispose]())
  return outbox
}

type Outbox = Awaited<ReturnType<typeof outboxOn>>

/** Puts envelopes of five readings; answers the hash of each by its number. */
const fill = async (outbox: Outbox, count: number, each: () => void = () => {}) => {
  const hashes = new Map<number, Uint8Array>()
  for (let n = 0; n < count; n++) {
    const { seq, hash, withheld } = outbox.head
    const readings = [0, 1, 2, 3, 4].map((at) => aReading(1_600_000_000_000 + 5000 * seq + 1000 * at))
    const head = { seq: seq + 1, prev: seq === 0 ? noPrevious : hash, withheld, clock: steadyClock }
    const envelope = signEnvelope(head, encodeReadings(readings), network, signer)
    outbox.append(envelope)
    hashes.set(seq + 1, envelopeHash(envelope))
    await outbox.commit()
    each()
  }
  return hashes
}

const declarationIn = (bytes: Uint8Array): { readonly seq: number; readonly dropped: Dropped } => {
  const decoded = decodeEnvelope(bytes)
  if (!decoded.ok) throw new Error(decoded.detail)
  const { seq, payload } = decoded.envelope
  const list = decodeDropped(payload, seq)
  if (!list.ok) throw new Error(list.detail)
  return { seq, dropped: list.dropped }
}

type Envelope = { readonly seq: number; readonly bytes: Uint8Array }

/** Sends all; answers what was delivered and what was declared lost, by number. */
const drain = async (outbox: Outbox, known: ReadonlyMap<number, Uint8Array>) => {
  const delivered = new Set<number>()
  const declared = new Set<number>()
  const declarations: Envelope[] = []
  let readings = 0
  while (outbox.status.pending > 0) {
    const { seq, bytes } = await outbox.next(AbortSignal.timeout(5000))
    const decoded = decodeEnvelope(bytes)
    if (!decoded.ok) throw new Error(decoded.detail)
    const { contentType, withheld } = decoded.envelope
    if (contentType === droppedContentType) {
      declarations.push({ seq, bytes })
      const { envelopes, merged, digest } = declarationIn(bytes).dropped
      for (const one of envelopes) {
        if (!merged) expect(one).toMatchObject({ count: 1, readings: 5 })
        readings += one.readings
        for (let each = one.seq; each < one.seq + one.count; each++) {
          expect(declared.has(each)).toBe(false)
          declared.add(each)
        }
      }
      if (!merged && envelopes.every((one) => known.has(one.seq)))
        expect(digest).toEqual(droppedDigest(envelopes.map((one) => known.get(one.seq)!)))
    } else delivered.add(seq)
    await outbox.settle({
      station,
      issuedMs: 0,
      refused: [],
      accepted: [{ first: seq, last: seq, head: envelopeHash(bytes), withheld }],
    })
  }
  return { delivered, declared, declarations, readings }
}

const accountedFor = (
  { delivered, declared, declarations }: Awaited<ReturnType<typeof drain>>,
  last: number,
): number[] => {
  const missing: number[] = []
  const said = new Set(declarations.map(({ seq }) => seq))
  for (let seq = 1; seq <= last; seq++)
    if (!delivered.has(seq) && !declared.has(seq) && !said.has(seq)) missing.push(seq)
  return missing
}

/** Numbers from 0 to 1, the same in every run. */
const random = (seed: number) => (): number => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
  return seed / 2 ** 32
}

describe('an outbox with a disk budget', () => {
  test('stays within it: the past gets coarser, the newest stays whole, and all that goes is declared', async () => {
    const outbox = await outboxOn(memoryDisk())
    let most = 0
    const hashes = await fill(outbox, 3000, () => {
      most = Math.max(most, outbox.status.bytesOnDisk)
    })
    await outbox.commit()
    expect(most).toBeLessThanOrEqual(1.125 * maxBytes + 16 * segmentBytes)
    expect(outbox.status.dropped).toBeGreaterThan(800)
    const { seq: last } = outbox.head
    const drained = await drain(outbox, hashes)
    expect(accountedFor(drained, last)).toEqual([])
    expect([...drained.declared].filter((seq) => drained.delivered.has(seq))).toEqual([])
    const kept = [...drained.delivered].sort((a, b) => a - b)
    const share = (from: number, to: number): number =>
      kept.filter((seq) => seq > from * last && seq <= to * last).length
    expect(share(0.95, 1)).toBeGreaterThan(share(0.5, 0.55))
    expect(Math.max(...drained.declared)).toBeLessThan(last - 30)
  })

  test.each([
    ['', maxBytes],
    [', nor while declarations are made one', 16 * segmentBytes],
  ])(
    'a power cut at any moment loses nothing that is not declared, and reuses no number%s',
    async (_, budget) => {
      const chance = random(7)
      const disk = memoryDisk()
      const outbox = await outboxOn(disk, { maxBytes: budget })
      let promised = 0
      const cuts: { after: MemoryDisk; promised: number }[] = []
      disk.fault = () => {
        if (promised > 1200 && chance() < 0.005 && cuts.length < 10)
          cuts.push({ after: disk.afterPowerCut(chance), promised })
        return undefined
      }
      const hashes = await fill(outbox, 2200, () => {
        promised = outbox.head.seq
      })
      expect(cuts.length).toBe(10)
      expect(outbox.status.dropped).toBeGreaterThan(300)
      for (const cut of cuts) {
        const again = await outboxOn(cut.after, { off: true })
        const { seq } = again.head
        expect(seq).toBeGreaterThanOrEqual(cut.promised)
        expect(accountedFor(await drain(again, hashes), cut.promised)).toEqual([])
      }
    },
  )

  test('a year without a hub does not fill the disk with declarations: they are made one, and lose nothing', async () => {
    const small = 16 * segmentBytes
    const disk = memoryDisk()
    const outbox = await outboxOn(disk, { maxBytes: small })
    let most = 0
    const hashes = await fill(outbox, 9000, () => {
      most = Math.max(most, outbox.status.bytesOnDisk)
    })
    expect(outbox.status.dropped).toBeGreaterThan(8000)
    expect(most).toBeLessThanOrEqual(1.125 * small + 8 * segmentBytes)
    const { seq: last } = outbox.head
    // What is on disk is as good: a station that starts again knows of the same.
    const again = await outboxOn(disk.afterKill(), { off: true })
    for (const one of [outbox, again]) {
      const drained = await drain(one, hashes)
      expect(accountedFor(drained, last)).toEqual([])
      expect([...drained.declared].filter((seq) => drained.delivered.has(seq))).toEqual([])
      expect(drained.delivered.size).toBeGreaterThan(150)
      const bytes = drained.declarations.reduce((sum, declaration) => sum + declaration.bytes.length, 0)
      expect(drained.declarations.length).toBeLessThan(30)
      expect(bytes).toBeLessThan(0.15 * small)
      expect(drained.readings + 5 * drained.delivered.size).toBe(5 * 9000)
    }
  })

  test('a declaration that takes the place of others lists them and names their bytes by its digest', async () => {
    const signed = new Map<number, { hash: Uint8Array; dropped: Dropped }>()
    const outbox = await outboxOn(memoryDisk(), {
      maxBytes: 16 * segmentBytes,
      signed: (envelope) => {
        const { seq, dropped } = declarationIn(envelope)
        signed.set(seq, { hash: envelopeHash(envelope), dropped })
      },
    })
    await fill(outbox, 1500)
    const lists = ({ envelopes }: Dropped, seq: number): boolean =>
      envelopes.some((one) => one.seq <= seq && seq < one.seq + one.count)
    const merged = [...signed.values()].filter(({ dropped }) => dropped.merged)
    expect(merged.length).toBeGreaterThan(2)
    expect(merged.some(({ dropped }) => dropped.envelopes.some(({ count }) => count > 3))).toBe(true)
    for (const { dropped } of merged) {
      const listed = [...signed].filter(([seq]) => lists(dropped, seq))
      // Of those that were themselves in the place of others, the others are listed too, and not in the digest.
      const direct = listed.filter(([seq]) => !listed.some(([, other]) => lists(other.dropped, seq)))
      expect(direct.length).toBeGreaterThan(1)
      expect(dropped.digest).toEqual(droppedDigest(direct.map(([, { hash }]) => hash)))
    }
  })

  test('without the policy nothing is dropped and the disk fills: the control', async () => {
    const outbox = await outboxOn(memoryDisk(), { off: true })
    await fill(outbox, 3000)
    expect(outbox.status.dropped).toBe(0)
    expect(outbox.status.bytesOnDisk).toBeGreaterThan(1.125 * maxBytes + 16 * segmentBytes)
  })

  test('seven days at a reading a second fit the default budget with ease', async () => {
    const outbox = await outboxOn(memoryDisk(), { off: true })
    const envelopes = (7 * 86_400) / 5
    const before = 20
    await fill(outbox, before)
    const measured = 200
    const start = outbox.status.bytesOnDisk
    await fill(outbox, measured)
    const each = (outbox.status.bytesOnDisk - start + segmentBytes) / measured
    expect(envelopes).toBe(120_960)
    expect(each * envelopes).toBeLessThan(0.7 * defaultMaxBytes)
  })
})
