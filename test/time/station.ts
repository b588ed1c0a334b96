/** Everything of a station between its devices and the broker, on the clocks of a simulated machine. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished } from 'vitest'
import { openJournal } from '#gateway/journal/open.ts'
import { openLasting } from '#gateway/outbox/lasting.ts'
import { openOutbox } from '#gateway/outbox/outbox.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import { type Clock, decodeEnvelope, signEnvelope } from '#gateway/reading/envelope.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { createSealer } from '#gateway/sign/sign.ts'
import type { Machine } from '#gateway/time/system.ts'
import type { Seen } from '#gateway/time/time.ts'
import { createTimed } from '#gateway/time/timed.ts'
import { openTimekeeper } from '#gateway/time/timekeeper.ts'
import { openUntimed } from '#gateway/time/untimed.ts'
import { aReading, network, newSigner } from '#test/station.ts'
import type { SimulatedMachine } from '#test/time/world.ts'
import { until } from '#test/until.ts'

export const signer = newSigner()
export const journalAt = (directory: string, segmentBytes = 1 << 18) =>
  openJournal({ directory, segmentBytes, maxRecordBytes: 1 << 14 })

/** Everything between the devices and the broker, on the clocks of a machine; `kill` leaves it as a power cut does. */
export const stationOn = async (
  directory: string,
  machine: Machine,
  {
    maxBytes = 1 << 24,
    signing = (_seq: number): void => undefined,
    /** An envelope has just got to disk, and nobody knows it yet. */
    committed = (): void => undefined,
    committing = (): void => undefined,
    openLog = journalAt,
    maxReadings = 50,
    outboxBytes = 1 << 26,
  } = {},
) => {
  const logged: string[] = []
  let failure: unknown
  const failed = (error: unknown): void => {
    failure = error
  }
  const timekeeper = await openTimekeeper({
    directory,
    machine,
    log: (line) => logged.push(line),
    every: () => () => undefined,
  })
  const outbox = await openOutbox({
    directory: join(directory, 'outbox'),
    openJournal: async (path) => {
      const journal = await journalAt(path, 1 << 15)
      const commit = journal.commit.bind(journal)
      return Object.assign(journal, {
        commit: async () => {
          if (path.endsWith('envelopes')) committing()
          await commit()
          if (path.endsWith('envelopes')) committed()
        },
      })
    },
    maxInFlight: 1e6,
    backlogPerS: Number.POSITIVE_INFINITY,
    cursorIntervalMs: 0,
    maxBytes: outboxBytes,
    declare: (head, payload) =>
      signEnvelope({ ...head, clock: timekeeper.clock() }, payload, network, signer),
  })
  const limits = { maxReadings, maxAgeMs: 5000 }
  const timers = new Set<() => void>()
  const after = (_ms: number, run: () => void) => {
    timers.add(run)
    return () => timers.delete(run)
  }
  const sealer = createSealer({
    signer,
    network,
    chain: outbox,
    clock: (items) => timed.clock(items),
    limits,
    after,
    failed,
  })
  const untimed = await openUntimed({
    directory: join(directory, 'untimed'),
    openLog: (path) => openLasting({ open: () => openLog(path, 1 << 15), longestBackoffMs: 20 }),
    maxBytes,
    chain: outbox,
    log: (line) => logged.push(line),
  })
  const timed = createTimed({
    timekeeper,
    untimed,
    seal: sealer,
    writable: () => {
      signing(outbox.head.seq)
      return outbox.writable
    },
    limits,
    log: (line) => logged.push(line),
    failed,
    after,
  })
  /** Five seconds are over. */
  const fire = async () => {
    for (const run of [...timers]) {
      timers.delete(run)
      run()
    }
    await sleep(50)
  }
  let open = true
  const close = async () => {
    if (!open) return
    open = false
    await timed.close()
    await sealer.flush()
    await untimed[Symbol.asyncDispose]()
    await timekeeper[Symbol.asyncDispose]()
    await outbox[Symbol.asyncDispose]()
    if (failure) throw failure
  }
  onTestFinished(close)
  let n = 0
  return {
    timed,
    timekeeper,
    outbox,
    untimed,
    logged,
    fire,
    close,
    failed: () => failure,
    /** A reading received now; its temperature counts, and so names it. */
    take: (world: SimulatedMachine, more: Partial<Seen> = {}, name = n++) => {
      timekeeper.look()
      return timed.take({ reading: aReading(0, name / 100), atMs: world.atMs, ...more })
    },
  }
}

export type Signed = {
  readonly seq: number
  readonly name: number
  readonly timeMs: number
  readonly clock: Clock
}

/** Every reading that was signed, in the order of the chain. */
export const signedIn = async (directory: string): Promise<Signed[]> => {
  await using journal = await journalAt(join(directory, 'outbox/envelopes'))
  const all: Signed[] = []
  for await (const { record } of journal.read(0)) {
    const decoded = decodeEnvelope(record)
    if (!decoded.ok) throw new Error(decoded.detail)
    const { seq, clock } = decoded.envelope
    const contents = readingsOf(decoded.envelope)
    if (!contents.ok) throw new Error(contents.detail)
    for (const { timeMs, values } of contents.readings as readonly Reading[])
      all.push({ seq, name: values[0]!.scaled!, timeMs, clock })
  }
  return all
}

export const inOrder = (signed: readonly Signed[], count: number): void => {
  expect(signed.map(({ name }) => name)).toEqual(Array.from({ length: count }, (_, at) => at))
  for (let at = 1; at < signed.length; at++)
    expect(signed[at]!.timeMs).toBeGreaterThan(signed[at - 1]!.timeMs)
}

export const drained = (station: Awaited<ReturnType<typeof stationOn>>) =>
  until('nothing waits', 10, async () => (station.timed.status.waiting === 0 ? true : undefined))
