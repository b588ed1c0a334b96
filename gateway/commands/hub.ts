/** `groundtruth hub` */
import { join } from 'node:path'
import { credentialsDirectory } from '../config.ts'
import { lockData } from '../data-lock.ts'
import { startHub } from '../hub.ts'
import { openKey } from '../keys.ts'
import type { PortOptions, SharedOptions } from '../main.ts'
import { showSteps } from '../progress.ts'
import { toHex } from '../reading/bytes.ts'
import { configured, log, stopSignal } from './running.ts'

/** Runs until stopped. The last line of starting is one JSON object, for programs that start a hub. */
export const hub = async (options: SharedOptions & PortOptions, version: string): Promise<void> => {
  const config = configured(options)
  const signal = stopSignal()
  const directory = join(config.data, 'hub')
  using _lock = lockData(directory, 'hub')
  const running = await startHub(
    {
      config: config.hub,
      network: config.network,
      directory,
      signer: openKey(
        config.hub.key ?? `file:${join(directory, 'hub.key')}`,
        credentialsDirectory(process.env),
      ),
      version,
      log,
      step: showSteps(process.stderr),
    },
    signal,
  )
  const { httpUrl, mqttUrl, rpcUrl, publicKey } = running
  process.stdout.write(
    `${JSON.stringify({ http: httpUrl, mqtt: mqttUrl, rpc: rpcUrl, hubKey: toHex(publicKey), data: config.data })}\n`,
  )
  await running.done
}
