/** The Pi half: sensor -> link -> sensors -> sign -> outbox -> relay, in the order a reading travels. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Device, type DeviceStatus, readDevice } from './device.ts'
import { openJournal } from './journal/open.ts'
import { type OutboxStatus, openOutbox } from './outbox/outbox.ts'
import { toHex } from './reading/bytes.ts'
import type { Signer } from './reading/cose.ts'
import type { Clock } from './reading/envelope.ts'
import { stationId } from './reading/key.ts'
import { topicsOf } from './reading/topics.ts'
import { type Connect, createRelay, type RelayStatus } from './relay/relay.ts'
import type { Surroundings } from './sensors/sensors.ts'
import { createSealer, type SealLimits } from './sign/sign.ts'

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
  }
  readonly connect: Connect
  /** Longest pause between attempts to connect. */
  readonly longestBackoffMs: number
  readonly hubKey: Parameters<typeof createRelay>[0]['hubKey']
  /** What is known about this machine's clock. */
  readonly clock: () => Clock
  /** What drivers are handed beside their settings. */
  readonly surroundings: Surroundings
  readonly version: string
  readonly log: (message: string) => void
  /** A second look at each reading, in order, before it is signed; for oracles that count. */
  readonly emitted?: (sensor: string, timeMs: number) => void
}

export type EdgeStatus = {
  readonly station: string
  readonly devices: readonly DeviceStatus[]
  readonly outbox: OutboxStatus
  readonly relay: RelayStatus
  readonly readings: number
  readonly refused: number
}

export type Edge = {
  readonly station: string
  readonly status: EdgeStatus
  /** Resolves when the edge has stopped; rejects when its own disk fails it. */
  readonly done: Promise<void>
}

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
  const { segmentBytes } = options.outbox
  const outbox = await openOutbox({
    ...options.outbox,
    directory: join(options.directory, 'outbox'),
    openJournal: (directory) => openJournal({ directory, ...(segmentBytes ? { segmentBytes } : {}) }),
  })
  const sealer = createSealer({
    signer,
    network,
    chain: outbox,
    clock: options.clock,
    limits: options.limits,
    failed: fail,
  })

  const devices = options.devices.map((device) =>
    readDevice({
      device,
      surroundings: options.surroundings,
      take: async (reading) => {
        options.emitted?.(reading.sensor, reading.timeMs)
        await sealer.add(reading)
      },
    }),
  )
  const sum = (of: (status: DeviceStatus) => number): number =>
    devices.reduce((total, { status }) => total + of(status), 0)

  const relay = createRelay({
    network,
    topics: topicsOf(network, station),
    outbox,
    connect: options.connect,
    longestBackoffMs: options.longestBackoffMs,
    hubKey: options.hubKey,
    describe: () => ({
      station,
      publicKey: toHex(signer.publicKey),
      version: options.version,
      timeMs: Date.now(),
      outbox: outbox.status,
      readings: sum(({ readings }) => readings),
      refused: sum(({ refused }) => refused),
      links: devices.map(({ status: { link } }) => ({
        name: link.name,
        open: link.open,
        frames: link.frames,
        lastError: link.lastError,
      })),
    }),
  })

  log(`station ${station} with ${devices.length} device${devices.length === 1 ? '' : 's'}`)
  const parts = [relay.run(running), ...devices.map((device) => device.run(running))]
  for (const part of parts) part.catch(fail)
  const done = Promise.allSettled(parts).then(async () => {
    if (failure === undefined) await sealer.flush()
    await outbox[Symbol.asyncDispose]()
    if (failure !== undefined) throw failure
  })
  return {
    station,
    get status() {
      return {
        station,
        devices: devices.map((device) => device.status),
        outbox: outbox.status,
        relay: relay.status,
        readings: sum(({ readings }) => readings),
        refused: sum(({ refused }) => refused),
      }
    },
    done,
  }
}
