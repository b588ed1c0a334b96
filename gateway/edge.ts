/** The Pi half: sensor -> link -> sensors -> sign -> outbox -> relay, in the order a reading travels. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openJournal } from './journal/open.ts'
import type { Opener } from './link/link.ts'
import { type LinkStatus, supervise } from './link/supervise.ts'
import { type OutboxStatus, openOutbox } from './outbox/outbox.ts'
import { toHex } from './reading/bytes.ts'
import type { Signer } from './reading/cose.ts'
import type { Clock } from './reading/envelope.ts'
import { stationId } from './reading/key.ts'
import { decodeReadings } from './reading/payload.ts'
import { fromScaled, type QuantityName, quantityCoded } from './reading/quantity.ts'
import type { Measurement } from './reading/reading.ts'
import { topicsOf } from './reading/topics.ts'
import { type Connect, createRelay, type RelayStatus } from './relay/relay.ts'
import { driverOf } from './sensors/all.ts'
import { type Refusal, toReadings } from './sensors/read.ts'
import type { Driver, Outcome, Settings } from './sensors/sensors.ts'
import { createSealer, type SealLimits } from './sign/sign.ts'

/** One configured device. */
export type Device = {
  readonly id: string
  readonly model: string
  readonly settings: Settings
  readonly opener: Opener
}

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
  readonly version: string
  readonly log: (message: string) => void
  /** A second look at each reading, in order, before it is signed; for oracles that count. */
  readonly emitted?: (sensor: string, timeMs: number) => void
}

export type EdgeStatus = {
  readonly station: string
  readonly links: readonly LinkStatus[]
  readonly outbox: OutboxStatus
  readonly relay: RelayStatus
  readonly readings: number
  readonly refused: number
  readonly lastRefusal: Refusal | null
}

export type Edge = {
  readonly station: string
  readonly status: EdgeStatus
  /** Resolves when the edge has stopped; rejects when its own disk fails it. */
  readonly done: Promise<void>
}

/** Readings that a LoRa node encoded itself, in the payload format of envelopes, as its modem's driver wants them. */
const decodeNodePayload = (payload: Uint8Array): readonly Outcome[] => {
  const decoded = decodeReadings(payload)
  if (!decoded.ok) return [{ kind: 'refused', reason: 'layout', detail: decoded.detail }]
  return decoded.readings.map(({ timeMs, values }) => ({
    kind: 'reading',
    timeMs,
    measurements: values.map((value): Measurement => {
      const row = quantityCoded(value.quantity)!
      const name = row.name as QuantityName
      return value.scaled === null
        ? { quantity: name, value: null, absent: value.absent }
        : { quantity: name, value: fromScaled(row, value.scaled) }
    }),
  }))
}

// Only a driver that carries other devices' payloads knows this setting; the others refuse what they do not know.
const settingsOf = (driver: Driver, settings: Settings): Settings =>
  driver.model === 'reyax-rylr' ? { decodePayload: decodeNodePayload, ...settings } : settings

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

  let readings = 0
  let refused = 0
  let lastRefusal: Refusal | null = null
  const links = options.devices.map((device) => {
    const driver = driverOf(device.model)
    const decoder = driver.configure(settingsOf(driver, device.settings))
    const link = supervise({
      opener: device.opener,
      framing: driver.framing,
      greeting: driver.greeting(device.settings),
      silenceMs: driver.silenceS * 1000,
    })
    const read = async (): Promise<void> => {
      for await (const { bytes, receivedMs } of link.frames(running)) {
        const said = toReadings(driver.model, device.id, decoder.decode(bytes), receivedMs)
        for (const refusal of said.refusals) {
          refused++
          lastRefusal = refusal
        }
        for (const reading of said.readings) {
          readings++
          options.emitted?.(reading.sensor, reading.timeMs)
          await sealer.add(reading)
        }
      }
    }
    return { status: link.status, read }
  })

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
      readings,
      refused,
      links: links.map(({ status: { name, open, frames, lastError } }) => ({
        name,
        open,
        frames,
        lastError,
      })),
    }),
  })

  log(`station ${station} with ${links.length} device${links.length === 1 ? '' : 's'}`)
  const parts = [relay.run(running), ...links.map((link) => link.read())]
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
        links: links.map((link) => link.status),
        outbox: outbox.status,
        relay: relay.status,
        readings,
        refused,
        lastRefusal,
      }
    },
    done,
  }
}
