/** `groundtruth sim` */
import { join } from 'node:path'
import { lockData } from '../data-lock.ts'
import type { Edge } from '../edge.ts'
import { openKey } from '../keys.ts'
import type { FleetOptions, SharedOptions } from '../main.ts'
import { type OutletKind, simulateStations } from '../simulated.ts'
import { startStation } from '../station.ts'
import { configured, log, stopSignal } from './running.ts'

type SimOptions = SharedOptions & FleetOptions & { broker?: string; outlet: OutletKind; faults: boolean }

// A hundred stations share one disk: theirs are small.
const segmentBytes = 256 * 1024
const reportMs = 60_000

const summary = (edges: readonly Edge[]): string => {
  const statuses = edges.map((edge) => edge.status)
  const sum = (of: (status: Edge['status']) => number) => statuses.reduce((total, one) => total + of(one), 0)
  return [
    `${sum(({ readings }) => readings)} readings`,
    `${sum(({ refused }) => refused)} frames refused`,
    `${sum(({ outbox }) => outbox.accepted)} envelopes receipted`,
    `${sum(({ outbox }) => outbox.pending)} pending`,
    `${statuses.filter(({ relay }) => relay.connected).length} of ${edges.length} connected`,
    `${Math.round(process.memoryUsage.rss() / 1e6)} MB`,
  ].join(', ')
}

/** Runs a fleet against a hub until stopped; keys, sequences and outboxes stay in the data directory. */
export const sim = async (options: SimOptions, version: string): Promise<void> => {
  const config = configured(options)
  const signal = stopSignal()
  const directory = join(config.data, 'sim')
  using _lock = lockData(directory, 'sim')
  const stations = await simulateStations(
    {
      seed: options.seed,
      network: config.network,
      stations: options.stations,
      intervalMs: options.interval * 1000,
      outlet: options.outlet,
      faults: options.faults,
      directory: join(directory, 'dev'),
    },
    signal,
  )
  const edges: Edge[] = []
  for (const { name, devices } of stations)
    edges.push(
      await startStation(
        {
          config: config.edge,
          network: config.network,
          directory: join(directory, name),
          devices,
          signer: openKey(`file:${join(directory, name, 'station.key')}`),
          brokerUrl: options.broker ?? config.edge.broker.url,
          segmentBytes,
          version,
          log: () => undefined,
        },
        signal,
      ),
    )
  log(`${edges.length} stations: ${edges.map(({ station }) => station).join(' ')}`)
  const timer = setInterval(() => log(summary(edges)), reportMs)
  await Promise.all(edges.map(({ done }) => done)).finally(() => clearInterval(timer))
  log(summary(edges))
}
