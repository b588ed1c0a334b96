/** What the commands that keep running share: configuration, the stop signal, the log. */
import { type Config, loadConfig } from '../config.ts'
import type { PortOptions, SharedOptions } from '../main.ts'

/** Configuration from file, environment and command line. */
export const configured = (options: SharedOptions & PortOptions): Config =>
  loadConfig({
    file: options.config,
    env: process.env,
    overrides: [
      [['data'], options.data, '--data'],
      [['network'], options.network, '--network'],
      [['hub', 'http', 'port'], options.httpPort, '--http-port'],
      [['hub', 'broker', 'port'], options.mqttPort, '--mqtt-port'],
      [['hub', 'chain', 'port'], options.rpcPort, '--rpc-port'],
    ],
  })

/** Aborted by Ctrl-C or SIGTERM; a second one ends at once. */
export const stopSignal = (): AbortSignal => {
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(130)
      process.stderr.write('\nStopping ...\n')
      stop.abort()
    })
  return stop.signal
}

/** One line to standard error, with the time. */
export const log = (message: string): void => {
  process.stderr.write(`${new Date().toISOString()} ${message}\n`)
}
