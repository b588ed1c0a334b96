/** `groundtruth edge` */
import { join } from 'node:path'
import { ConfigError, credentialsDirectory } from '../config.ts'
import { lockData } from '../data-lock.ts'
import { openKey } from '../keys.ts'
import type { SharedOptions } from '../main.ts'
import { configuredDevices, startStation } from '../station.ts'
import { configured, log, stopSignal } from './running.ts'

/** Runs the configured station until stopped. */
export const edge = async (options: SharedOptions & { broker?: string }, version: string): Promise<void> => {
  const config = configured(options)
  const devices = configuredDevices(config.edge, config.told)
  if (devices.length === 0)
    throw new ConfigError(
      'no sensors are configured: list them under edge.sensors in the file given with --config.\n' +
        '"groundtruth sensors" lists the drivers, "groundtruth config" all settings.',
    )
  const signal = stopSignal()
  const directory = join(config.data, 'edge')
  using _lock = lockData(directory, 'edge')
  const station = await startStation(
    {
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
    },
    signal,
  )
  await station.done
}
