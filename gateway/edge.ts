/** The Pi half: sensor -> link -> sensors -> sign -> outbox -> relay, in the order a reading travels. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Device } from './device.ts'
import { runDevices } from './device-set.ts'
import { publishedStatus } from './health/published.ts'
import type { SensorStatus, StationStatus } from './health/status.ts'
import { troubles } from './health/trouble.ts'
import type { JournalFiles } from './journal/files.ts'
import { openJournal } from './journal/open.ts'
import { openLasting } from './outbox/lasting.ts'
import { defaultMaxBytes, openOutbox } from './outbox/outbox.ts'
import { toHex } from './reading/bytes.ts'
import type { Signer } from './reading/cose.ts'
import { signEnvelope } from './reading/envelope.ts'
import { stationId } from './reading/key.ts'
import { openedFrame } from './reading/lane.ts'
import { topicsOf } from './reading/topics.ts'
import { type Connect, createRelay } from './relay/relay.ts'
import { nothingTold } from './sensors/read.ts'
import type { Surroundings } from './sensors/sensors.ts'
import { type OwnerProfile, profileAnnouncer } from './sign/announce.ts'
import { createSealer, type SealLimits } from './sign/sign.ts'
import type { Machine } from './time/system.ts'
import { createTimed, type TimedStatus } from './time/timed.ts'
import { openTimekeeper } from './time/timekeeper.ts'
import { openUntimed } from './time/untimed.ts'

export type EdgeOptions = {
  readonly network: string
  readonly signer: Signer
  /** Where the outbox lives. */
  readonly directory: string
  readonly devices: readonly Device[]
  readonly limits: SealLimits
  readonly outbox: {
    readonly maxInFlight: number
    readonly receiptTimeoutMs: number
    readonly backlogPerS: number
    readonly cursorIntervalMs: number
    readonly segmentBytes?: number
    /** Disk the waiting envelopes may take, in bytes; 96 MiB unless told. */
    readonly maxBytes?: number
    /** Longest pause between attempts to use a disk that failed; 60 s unless told. */
    readonly longestDiskBackoffMs?: number
    /** What the journals lie on; the machine's own disk unless told. */
    readonly files?: JournalFiles
  }
  readonly connect: Connect
  /** Longest pause between attempts to connect. */
  readonly longestBackoffMs: number
  readonly hubKey: Parameters<typeof createRelay>[0]['hubKey']
  /** This machine's clocks, and who vouches for them. */
  readonly clock: Machine
  /** What drivers are handed beside their settings. */
  readonly surroundings: Surroundings
  /** What the owner says of the station, where anything. */
  readonly profile?: OwnerProfile
  readonly version: string
  readonly log: (message: string) => void
  /**
   * A second look at each reading that is signed, in order but for those of nodes that sign; for oracles that count. `ageMs`
   * is how old it was, by its node's word, when it was heard.
   */
  readonly emitted?: (sensor: string, timeMs: number, ageMs: number) => void
}

export type Edge = {
  readonly station: string
  readonly status: StationStatus
  /** What is known of the time, and what waits for it. */
  readonly time: TimedStatus
  /** False where readings are not taken any more though the process runs: a disk that never answers, a mistake of ours. */
  readonly healthy: boolean
  /** Exchanges the devices while everything else goes on; see `DeviceSet.apply`. */
  reload(devices: readonly Device[]): ReturnType<ReturnType<typeof runDevices>['apply']>
  /** Resolves when the edge has stopped; rejects when its own disk fails it. */
  readonly done: Promise<void>
}

// Readings that wait for their time: a million of them, eleven days at one a second.
const untimedBytes = 16 * 2 ** 20
const untimedSizes = { segmentBytes: 2 ** 18, maxRecordBytes: 2 ** 14 } as const

// A commit to a worn SD card takes seconds at times; a minute is no commit any more.
const stuckMs = 60_000

/** Starts a station and returns at once; it runs until the signal aborts, then signs and keeps what it still holds. */
export const startEdge = async (options: EdgeOptions, signal: AbortSignal): Promise<Edge> => {
  const { network, signer, log } = options
  const station = stationId(signer.publicKey)
  const stop = new AbortController()
  const running = AbortSignal.any([signal, stop.signal])
  let failure: unknown
  const fail = (error: unknown): void => {
    failure ??= error
    stop.abort()
  }

  mkdirSync(options.directory, { recursive: true, mode: 0o700 })
  const { segmentBytes, files } = options.outbox
  const disk = files === undefined ? {} : { files }
  const timekeeper = await openTimekeeper({ directory: options.directory, machine: options.clock, log })
  const outbox = await openOutbox({
    ...options.outbox,
    maxBytes: options.outbox.maxBytes ?? defaultMaxBytes,
    declare: (head, payload) =>
      signEnvelope({ ...head, clock: timekeeper.clock() }, payload, network, signer),
    utc: timekeeper.utcMs,
    directory: join(options.directory, 'outbox'),
    openJournal: (directory) =>
      openJournal({ directory, ...disk, ...(segmentBytes ? { segmentBytes } : {}) }),
  })
  const sealer = createSealer({
    signer,
    network,
    chain: outbox,
    clock: (items) => timed.clock(items),
    limits: options.limits,
    utc: timekeeper.utcMs,
    failed: fail,
  })
  const untimed = await openUntimed({
    directory: join(options.directory, 'untimed'),
    openLog: (directory) => openLasting({ open: () => openJournal({ directory, ...disk, ...untimedSizes }) }),
    maxBytes: untimedBytes,
    chain: outbox,
    log,
  })
  const timed = createTimed({
    timekeeper,
    untimed,
    seal: {
      ...sealer,
      add: (reading) => {
        options.emitted?.(reading.sensor, reading.timeMs, 0)
        return sealer.add(reading)
      },
      addHeard: async (frame) => {
        const isTaken = await sealer.addHeard(frame)
        if (!isTaken) log(`a frame of ${frame.sensor} came behind a newer one, and is left out`)
        else
          for (const { sensor, timeMs } of openedFrame(frame).readings)
            options.emitted?.(sensor, timeMs, frame.receivedMs - timeMs)
        return isTaken
      },
    },
    writable: () => outbox.writable,
    limits: options.limits,
    log,
    failed: fail,
  })

  if (options.profile !== undefined) {
    const path = join(options.directory, 'profile.json')
    const announce = profileAnnouncer({ profile: options.profile, path, sealer, utc: timekeeper.utcMs })
    const say = (): void => {
      if (timekeeper.status.known) announce().catch(fail)
    }
    timekeeper.whenKnown(say)
    outbox.whenWritable(say)
  }

  const devices = runDevices(
    options.devices,
    {
      surroundings: options.surroundings,
      take: (reading, atMs, told) =>
        timed.take(told === nothingTold ? { reading, atMs } : { reading, atMs, ...told }, told.isFix),
      clock: {
        utcMs: timekeeper.utcMs,
        steadyMs: timekeeper.steadyMs,
        sleep: (ms, over) => sleep(ms, undefined, { signal: over }),
      },
      takeFrame: timed.takeFrame,
      changed: () => relay.changed(),
      failed: fail,
    },
    running,
  )

  const startedMs = performance.now()
  const sum = (of: (status: SensorStatus) => number): number =>
    devices.statuses.reduce((total, status) => total + of(status), 0)
  const status = (): StationStatus => ({
    station,
    sensors: devices.statuses,
    outbox: outbox.status,
    relay: relay.status,
    time: timed.status,
    troubles: troubles(relay.status, outbox.status, timed.status),
    readings: sum(({ readings }) => readings),
    refused: sum(({ refused }) => refused),
  })

  const relay = createRelay({
    network,
    topics: topicsOf(network, station),
    outbox,
    connect: options.connect,
    longestBackoffMs: options.longestBackoffMs,
    hubKey: options.hubKey,
    now: timekeeper.utcMs,
    describe: () =>
      publishedStatus(status(), {
        publicKey: toHex(signer.publicKey),
        version: options.version,
        timeMs: timekeeper.utcMs(),
        uptimeS: Math.floor((performance.now() - startedMs) / 1000),
      }),
  })

  const count = options.devices.length
  log(`station ${station} with ${count} device${count === 1 ? '' : 's'}`)
  const parts = [relay.run(running), devices.done]
  for (const part of parts) part.catch(fail)
  const done = Promise.allSettled(parts).then(async () => {
    if (failure === undefined) await timed.close()
    if (failure === undefined) await sealer.flush()
    await untimed[Symbol.asyncDispose]()
    await timekeeper[Symbol.asyncDispose]()
    await outbox[Symbol.asyncDispose]()
    if (failure !== undefined) throw failure
  })
  return {
    station,
    get status() {
      return status()
    },
    get time() {
      return timed.status
    },
    get healthy() {
      return devices.takingMs < stuckMs
    },
    reload: devices.apply,
    done,
  }
}
