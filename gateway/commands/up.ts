/** `groundtruth up`: what `npm start` runs. */
import { join } from 'node:path'
import { credentialsDirectory } from '../config.ts'
import { lockData } from '../data-lock.ts'
import { type Hub, startHub } from '../hub.ts'
import { openKey } from '../keys.ts'
import type { FleetOptions, PortOptions, SharedOptions } from '../main.ts'
import { type Step, showSteps } from '../progress.ts'
import { toHex } from '../reading/bytes.ts'
import { type SimulatedStation, simulateStations } from '../simulated.ts'
import { configuredDevices, startStation } from '../station.ts'
import { configured, log, stopSignal } from './running.ts'

const firstReadingMs = 15_000

/** Waits until the first verified reading can be read; says nothing where it takes too long, it will come. */
const firstReading = async (httpUrl: string, signal: AbortSignal): Promise<void> => {
  const until = Date.now() + firstReadingMs
  while (!signal.aborted && Date.now() < until) {
    const response = await fetch(`${httpUrl}/v1/latest`, { signal }).catch(() => undefined)
    // Where data is sold, there is something as soon as it has a price.
    if (response?.status === 402) return
    const body = (await response?.json().catch(() => undefined)) as { readings?: unknown[] } | undefined
    if (body?.readings?.length) return
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

/** What somebody can do now, as shell commands. */
const suggestions = (url: string, station: string, rpc: string, sells: boolean): string =>
  sells
    ? `Three things to try:

  1. Get an API key, and see what was measured and what that costs:
       curl -X POST -H 'content-type: application/json' -d '{}' ${url}/v1/keys
       curl -i -H 'Authorization: Bearer gt_...' '${url}/v1/latest'
  2. Take the proof of a purchase along, by its Receipt-Id, once the first batch is anchored, and check it:
       curl -H 'Authorization: Bearer gt_...' '${url}/v1/readings?from=-10m' -i
       curl -H 'Authorization: Bearer gt_...' -o proof.cbor ${url}/v1/receipts/RECEIPT-ID/bundle
       npx groundtruth verify proof.cbor${rpc}
  3. Open ${url}/docs in a browser.`
    : `Three things to try:

  1. See what was measured:
       curl '${url}/v1/latest'
  2. Take a proof along, once the first batch is anchored (within a minute), and check it:
       curl -o proof.cbor '${url}/v1/bundle?station=${station}&from=-10m'
       npx groundtruth verify proof.cbor${rpc}
  3. Open ${url}/docs in a browser.`

const welcome = (
  hub: Hub,
  data: string,
  stations: readonly string[],
  links: readonly string[],
  sells: boolean,
): string => {
  const [station = ''] = stations
  const rpc = hub.rpcUrl === null ? '' : ` --rpc ${hub.rpcUrl}`
  return `
Groundtruth is running.

  query API   ${hub.httpUrl}  (docs: ${hub.httpUrl}/docs)
  broker      ${hub.mqttUrl}
  chain       ${hub.rpcUrl ?? 'as configured'}
  station${stations.length === 1 ? '     ' : 's    '}${stations.join('\n              ')}
  devices     ${links.join('\n              ')}
  state       ${data}

${suggestions(hub.httpUrl, station, rpc, sells)}

Ctrl-C stops it; the next start goes on where this one stopped.
`
}

type UpOptions = SharedOptions & PortOptions & FleetOptions

/** Runs everything in this process until stopped. */
export const up = async (options: UpOptions, version: string): Promise<void> => {
  const config = configured(options)
  const signal = stopSignal()
  const step: Step = showSteps(process.stderr)
  const credentials = credentialsDirectory(process.env)
  const hubDirectory = join(config.data, 'hub')
  const edgeDirectory = join(config.data, 'edge')
  using _hubLock = lockData(hubDirectory, 'hub')
  using _edgeLock = lockData(edgeDirectory, 'edge')
  const everything = new AbortController()
  const running = AbortSignal.any([signal, everything.signal])

  const hub = await startHub(
    {
      config: config.hub,
      network: config.network,
      directory: hubDirectory,
      signer: openKey(config.hub.key ?? `file:${join(hubDirectory, 'hub.key')}`, credentials),
      version,
      log,
      step,
    },
    running,
  )
  const parts = [hub.done]
  try {
    const real = configuredDevices(config.edge, config.told)
    const stations: readonly SimulatedStation[] = await step('Devices', async () =>
      real.length > 0
        ? [{ name: '', devices: real }]
        : simulateStations(
            {
              seed: options.seed,
              network: config.network,
              stations: options.stations,
              intervalMs: options.interval * 1000,
              outlet: 'auto',
              faults: false,
              directory: join(edgeDirectory, 'dev'),
            },
            running,
          ),
    )
    const edges = await step('Stations', () =>
      Promise.all(
        stations.map(({ devices }, index) => {
          const directory = index === 0 ? edgeDirectory : join(edgeDirectory, `station-${index + 1}`)
          const key = index === 0 ? config.edge.key : undefined
          return startStation(
            {
              config: config.edge,
              network: config.network,
              directory,
              devices,
              signer: openKey(key ?? `file:${join(directory, 'station.key')}`, credentials),
              brokerUrl: hub.mqttUrl,
              hubKey: toHex(hub.publicKey),
              version,
              log: () => undefined,
            },
            running,
          )
        }),
      ),
    )
    for (const edge of edges) parts.push(edge.done)
    for (const part of parts) part.catch((error) => everything.abort(error))
    await step('First reading', () => firstReading(hub.httpUrl, running))
    if (!running.aborted)
      process.stdout.write(
        welcome(
          hub,
          config.data,
          edges.map(({ station }) => station),
          stations.flatMap(({ devices }) => devices.map(({ model, opener }) => `${model} at ${opener.name}`)),
          config.hub.market.sell,
        ),
      )
    await Promise.all(parts)
  } catch (error) {
    everything.abort(error)
    await Promise.allSettled(parts)
    throw error
  }
}
