/**
 * A station on a file system that gets full: signs and keeps readings in the directory that is told, fills what is left
 * of it, makes room again, and says on standard output what became of everything.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openJournal } from '#gateway/journal/open.ts'
import { openOutbox } from '#gateway/outbox/outbox.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import { decodeEnvelope, envelopeHash } from '#gateway/reading/envelope.ts'
import { stationId } from '#gateway/reading/key.ts'
import { createSealer } from '#gateway/sign/sign.ts'
import { aReading, network, newSigner, steadyClock } from '#test/station.ts'

const directory = process.argv[2]!
const ballast = join(directory, 'ballast')

const fillUp = (): void => {
  const file = openSync(ballast, 'w')
  try {
    for (;;) if (writeSync(file, Buffer.alloc(4096, 1)) < 4096) return
  } catch {
    return // full: that is what is wanted
  } finally {
    closeSync(file)
  }
}

const signer = newSigner()
const outbox = await openOutbox({
  directory: join(directory, 'outbox'),
  openJournal: (path) => openJournal({ directory: path, segmentBytes: 1 << 14, maxRecordBytes: 4096 }),
  backlogPerS: Number.POSITIVE_INFINITY,
  cursorIntervalMs: 0,
  longestDiskBackoffMs: 50,
})
const failures: string[] = []
const sealer = createSealer({
  signer,
  network,
  chain: outbox,
  clock: () => steadyClock,
  limits: { maxReadings: 5, maxAgeMs: 60_000 },
  failed: (error) => failures.push(String(error)),
})

let emitted = 0
const measure = async (count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await sealer.add(aReading(1_700_000_000_000 + 1000 * ++emitted))
}

const delivered: number[] = []
const hashes = new Map<number, string>()
let twice = 0
const drain = async (): Promise<void> => {
  while (outbox.status.pending > 0) {
    const { seq, bytes } = await outbox.next(AbortSignal.timeout(10_000))
    const decoded = decodeEnvelope(bytes)
    const contents = decoded.ok ? readingsOf(decoded.envelope) : decoded
    if (!decoded.ok || !contents.ok) throw new Error(`envelope ${seq} cannot be read`)
    for (const { timeMs } of contents.readings) delivered.push((timeMs - 1_700_000_000_000) / 1000)
    const head = envelopeHash(bytes)
    if (hashes.has(seq)) twice++
    hashes.set(seq, Buffer.from(head).toString('hex'))
    const accepted = [{ first: seq, last: seq, head, withheld: decoded.envelope.withheld }]
    await outbox.settle({ station: stationId(signer.publicKey), issuedMs: 0, refused: [], accepted })
  }
}

const becomes = async (state: string): Promise<void> => {
  for (let tries = 0; tries < 500; tries++) {
    if (outbox.status.disk.state === state && (state !== 'ok' || outbox.status.held === 0)) return
    await sleep(20)
  }
  throw new Error(`the disk is ${JSON.stringify(outbox.status.disk)}, not ${state}`)
}

const fullAt: object[] = []
for (let round = 0; round < 3; round++) {
  await measure(60)
  fillUp()
  // As many as the room that was set aside takes, and then some.
  for (let n = 0; n < 60 && outbox.status.disk.state === 'ok'; n++) await measure(25)
  await becomes('full')
  await measure(200)
  const { disk, held } = outbox.status
  fullAt.push({ state: disk.state, detail: disk.detail, held })
  rmSync(ballast)
  await becomes('ok')
}
await measure(20)
await sealer.flush()
await drain()
const { lost, conflict, refused } = outbox.status
await outbox[Symbol.asyncDispose]()
process.stdout.write(
  JSON.stringify({ emitted, delivered, twice, fullAt, lost, conflict, refused, failures, last: hashes.size }),
)
