/** `groundtruth run`, also known as `groundtruth edge` */
import { join } from 'node:path'
import { type Config, ConfigError, credentialsDirectory } from '../config.ts'
import { lockData } from '../data-lock.ts'
import { openKey } from '../keys.ts'
import type { SharedOptions } from '../main.ts'
import { configuredDevices, startStation } from '../station.ts'
import { runOnce } from './once.ts'
import { configured, log, stopSignal } from './running.ts'
import { tend } from './tending.ts'
import { runTest } from './test.ts'

export type RunOptions = SharedOptions & {
  readonly broker?: string
  readonly test: boolean
  readonly once: boolean
  readonly for?: number
  readonly json: boolean
}

/** Runs the configured station until stopped, or for one round, or only to show what its sensors say. */
export const edge = async (options: RunOptions, version: string): Promise<void> => {
  if (options.test && options.once) throw new ConfigError('--once: expected --test or --once, got both')
  const config = configured(options)
  const devices = configuredDevices(config.edge, config.told)
  if (devices.length === 0)
    throw new ConfigError(
      'no sensors are configured: list them under edge.sensors in the file given with --config.\n' +
        '"groundtruth init" finds what is plugged in, "groundtruth sensors" lists the drivers.',
    )
  const signal = stopSignal()
  if (options.test) return runTest(devices, options, config.network, signal)
  const directory = join(config.data, 'edge')
  using _lock = lockData(directory, 'edge')
  const station = {
    config: config.edge,
    network: config.network,
    directory,
    devices,
    signer: openKey(
      config.edge.key ?? `file:${join(directory, 'station.key')}`,
      credentialsDirectory(process.env),
    ),
    brokerUrl: options.broker ?? config.edge.broker.url,
    version,
    log,
  }
  if (options.once) return runOnce(station, options, signal)
  const running = await startStation(station, signal)
  const reread = (): Config => configured(options)
  const tended = tend({ edge: running, config: config.edge, reread, version, log }, signal)
  await Promise.all([running.done, tended])
}
