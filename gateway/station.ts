/** A station from its configuration: what `edge`, `up` and `sim` have in common. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from './clock.ts'
import { ConfigError, type EdgeConfig, readSecret } from './config.ts'
import type { Device } from './device.ts'
import { type Edge, type EdgeOptions, startEdge } from './edge.ts'
import { linkForms, linkNamed } from './link/named.ts'
import { shown, type Told, teller } from './mistakes.ts'
import type { Signer } from './reading/cose.ts'
import { stationId } from './reading/key.ts'
import { signToken } from './reading/token.ts'
import { hubKeyOf } from './relay/hub-key.ts'
import { mqttConnector } from './relay/mqtt.ts'
import { drivers } from './sensors/all.ts'
import { settingMistake } from './setting-mistake.ts'
import type { OwnerProfile } from './sign/announce.ts'
import { checkingSurroundings, surroundingsIn } from './surroundings.ts'

export type StationOptions = Pick<
  EdgeOptions,
  'network' | 'signer' | 'directory' | 'devices' | 'version' | 'log'
> & {
  readonly config: EdgeConfig
  readonly brokerUrl: string
  /** Hub key in hex where it is known; otherwise the first one heard is kept. */
  readonly hubKey?: string | undefined
  readonly segmentBytes?: number
}

/**
 * The devices that a configuration names and that are enabled. Throws ConfigError with all mistakes of which no driver
 * or link can be made; `told` puts their place in the file before them.
 */
export const configuredDevices = (
  config: EdgeConfig,
  told: Told = teller({ text: '', origins: new Map() }),
): Device[] => {
  const mistakes: string[] = []
  const devices = config.sensors.flatMap((sensor, at): Device[] => {
    if (!sensor.enabled) return []
    const { id, model, link, baudRate, settings } = sensor
    const here = ['edge', 'sensors', at] as const
    const driver = drivers.find((one) => one.model === model)
    if (driver === undefined)
      mistakes.push(
        told([...here, 'model'], `one of ${drivers.map((one) => one.model).join(', ')}`, shown(model)),
      )
    try {
      driver?.configure(settings, checkingSurroundings)
    } catch (error) {
      mistakes.push(settingMistake(error, settings, [...here, 'settings'], told))
    }
    try {
      const bitsPerS = baudRate ?? driver?.baudRate ?? 9600
      return [{ id, model, settings, baudRate: bitsPerS, opener: linkNamed(link, { baudRate: bitsPerS }) }]
    } catch {
      mistakes.push(told([...here, 'link'], linkForms, shown(link)))
      return []
    }
  })
  if (mistakes.length > 0) throw new ConfigError(mistakes.join('\n'))
  return devices
}

const password = (config: EdgeConfig, network: string, signer: Signer): ((nowMs: number) => string) => {
  const { passwordFile } = config.broker
  return passwordFile === undefined
    ? (nowMs) => signToken(network, signer, nowMs)
    : () => readSecret(passwordFile)
}

/** What the owner says of the station. Of the place only the H3 cell is told, at the resolution that the owner chose. */
const profileOf = async ({ profile }: EdgeConfig): Promise<OwnerProfile | undefined> => {
  const { licence, name, priceFactor, latitude, longitude, resolution } = profile
  if (licence === undefined) return undefined
  // Loaded by those who tell their place: it takes 5 MB.
  const cell =
    latitude === undefined || longitude === undefined
      ? undefined
      : (await import('h3-js')).latLngToCell(latitude, longitude, resolution)
  return {
    licence,
    pricePermille: Math.round(priceFactor * 1000),
    ...(name === undefined ? {} : { name }),
    ...(cell === undefined ? {} : { cell }),
  }
}

/** Starts the station; it runs until the signal aborts. */
export const startStation = async (options: StationOptions, signal: AbortSignal): Promise<Edge> => {
  const { config, network, signer, directory } = options
  const station = stationId(signer.publicKey)
  const pinnedPath = join(directory, 'hub.pub')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const profile = await profileOf(config)
  return startEdge(
    {
      ...options,
      limits: { maxReadings: config.envelope.maxReadings, maxAgeMs: config.envelope.maxAgeS * 1000 },
      outbox: {
        maxInFlight: config.outbox.maxInFlight,
        receiptTimeoutMs: config.outbox.receiptTimeoutS * 1000,
        backlogPerS: config.outbox.backlogPerS,
        cursorIntervalMs: config.outbox.cursorS * 1000,
        maxBytes: config.outbox.maxMiB * 2 ** 20,
        ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
      },
      ...(profile === undefined ? {} : { profile }),
      clock: systemClock,
      surroundings: surroundingsIn(directory, network),
      longestBackoffMs: config.broker.retryS * 1000,
      hubKey: hubKeyOf(network, options.hubKey ?? config.hubKey, {
        read: () => (existsSync(pinnedPath) ? readFileSync(pinnedPath, 'utf8').trim() : undefined),
        write: (hex) => writeFileSync(pinnedPath, `${hex}\n`, { mode: 0o600 }),
      }),
      connect: mqttConnector({
        url: options.brokerUrl,
        clientId: station,
        username: config.broker.username ?? station,
        password: password(config, network, signer),
        ...(config.broker.caFile === undefined ? {} : { ca: readFileSync(config.broker.caFile, 'utf8') }),
      }),
    },
    signal,
  )
}
