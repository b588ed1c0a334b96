/** What a station tells Prometheus: names after prometheus.io/docs/practices/naming, prefix `groundtruth_edge_`. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { sensorState } from './sensor-state.ts'
import type { StationStatus } from './status.ts'

type Labels = Readonly<Record<string, string>>
type Row = readonly [labels: Labels, value: number]

type Series = {
  readonly name: string
  readonly help: string
  readonly kind: 'counter' | 'gauge'
  readonly labels?: readonly string[]
  readonly rows: (status: StationStatus) => readonly Row[]
}

const one = (of: (status: StationStatus) => number) => (status: StationStatus) => [[{}, of(status)] as const]

/** One row for each sensor; labels are configured ids, so series stay few. */
const each =
  (of: (sensor: StationStatus['sensors'][number]) => number) =>
  ({ sensors }: StationStatus): Row[] =>
    sensors.map((sensor) => [{ sensor: sensor.id, model: sensor.model }, of(sensor)])

const ofSensor = ['sensor', 'model'] as const

const series: readonly Series[] = [
  {
    name: 'sensor_up',
    help: '1 where the sensor gives readings.',
    kind: 'gauge',
    labels: ofSensor,
    rows: each((sensor) => (sensorState(sensor) === 'ok' ? 1 : 0)),
  },
  {
    name: 'readings_total',
    help: 'Readings taken, by sensor.',
    kind: 'counter',
    labels: ofSensor,
    rows: each(({ readings }) => readings),
  },
  {
    name: 'refused_frames_total',
    help: 'Frames refused, by sensor and reason.',
    kind: 'counter',
    labels: [...ofSensor, 'reason'],
    rows: ({ sensors }) =>
      sensors.flatMap(({ id, model, refusals }) =>
        Object.entries(refusals).map(([reason, count]): Row => [{ sensor: id, model, reason }, count]),
      ),
  },
  {
    name: 'link_bytes_total',
    help: 'Bytes received on the sensor’s link.',
    kind: 'counter',
    labels: ofSensor,
    rows: each(({ link }) => link.bytes),
  },
  {
    name: 'link_skipped_bytes_total',
    help: 'Bytes that belonged to no frame: noise, torn frames.',
    kind: 'counter',
    labels: ofSensor,
    rows: each(({ link }) => link.skippedBytes),
  },
  {
    name: 'link_opens_total',
    help: 'Times the sensor’s link was opened.',
    kind: 'counter',
    labels: ofSensor,
    rows: each(({ link }) => link.opens),
  },
  {
    name: 'link_failed_opens_total',
    help: 'Times the sensor’s link could not be opened.',
    kind: 'counter',
    labels: ofSensor,
    rows: each(({ link }) => link.failedOpens),
  },
  {
    name: 'last_reading_timestamp_seconds',
    help: 'When the newest reading came, UTC.',
    kind: 'gauge',
    labels: ofSensor,
    rows: ({ sensors }) =>
      sensors.flatMap(({ id, model, lastReadingMs }) =>
        lastReadingMs === null ? [] : [[{ sensor: id, model }, lastReadingMs / 1000] as const],
      ),
  },
  {
    name: 'outbox_depth',
    help: 'Envelopes without a receipt.',
    kind: 'gauge',
    rows: one(({ outbox }) => outbox.pending),
  },
  {
    name: 'outbox_accepted_total',
    help: 'Envelopes the hub has receipted.',
    kind: 'counter',
    rows: one(({ outbox }) => outbox.accepted),
  },
  {
    name: 'outbox_refused_total',
    help: 'Envelopes the hub has refused for good.',
    kind: 'counter',
    rows: one(({ outbox }) => outbox.refused),
  },
  {
    name: 'outbox_bytes',
    help: 'Disk that the outbox takes.',
    kind: 'gauge',
    rows: one(({ outbox }) => outbox.bytesOnDisk),
  },
  {
    name: 'outbox_dropped_total',
    help: 'Envelopes dropped for want of disk, each declared to the hub.',
    kind: 'counter',
    rows: one(({ outbox }) => outbox.dropped),
  },
  {
    name: 'held_readings',
    help: 'Unsigned readings that wait in memory for the disk.',
    kind: 'gauge',
    rows: one(({ outbox }) => outbox.held),
  },
  {
    name: 'lost_readings_total',
    help: 'Readings that memory had no room for while the disk was away.',
    kind: 'counter',
    rows: one(({ outbox }) => outbox.lost),
  },
  {
    name: 'relay_connected',
    help: '1 while the broker is connected.',
    kind: 'gauge',
    rows: one(({ relay }) => (relay.connected ? 1 : 0)),
  },
  {
    name: 'relay_connects_total',
    help: 'Connections made to the broker.',
    kind: 'counter',
    rows: one(({ relay }) => relay.connects),
  },
  {
    name: 'relay_receipts_total',
    help: 'Receipts of the hub.',
    kind: 'counter',
    rows: one(({ relay }) => relay.receipts),
  },
  {
    name: 'hub_clock_difference_seconds',
    help: 'The hub’s clock less this station’s.',
    kind: 'gauge',
    rows: ({ relay }) => (relay.hubClockMs === null ? [] : [[{}, relay.hubClockMs / 1000]]),
  },
  {
    name: 'time_known',
    help: '1 where the time is known, 0 while readings wait for it.',
    kind: 'gauge',
    rows: one(({ time }) => (time.known ? 1 : 0)),
  },
  {
    name: 'time_source',
    help: 'Always 1; who vouches for the time is a label, none where nobody does.',
    kind: 'gauge',
    labels: ['source'],
    rows: ({ time }) => (time.source === null ? [] : [[{ source: time.source }, 1]]),
  },
  {
    name: 'time_error_seconds',
    help: 'How far the time can be off; not there where nothing is known of it.',
    kind: 'gauge',
    rows: ({ time }) =>
      time.source === null || (time.source === 'none' && time.errorMs === 0)
        ? []
        : [[{}, time.errorMs / 1000]],
  },
  {
    name: 'clock_jumps_total',
    help: 'Times the system’s clock was moved by more than it drifts.',
    kind: 'counter',
    rows: one(({ time }) => time.jumps),
  },
  {
    name: 'untimed_readings',
    help: 'Unsigned readings that wait for their time.',
    kind: 'gauge',
    rows: one(({ time }) => time.waiting),
  },
  {
    name: 'untimed_thinned_total',
    help: 'Readings thinned out for want of room while they waited for their time.',
    kind: 'counter',
    rows: one(({ time }) => time.thinned),
  },
  {
    name: 'untimed_dropped_total',
    help: 'Readings of which nothing tells the time, or that nothing had room for while they waited for it.',
    kind: 'counter',
    rows: one(({ time }) => time.dropped),
  },
  {
    name: 'trouble',
    help: '1 for each trouble there is, by its code.',
    kind: 'gauge',
    labels: ['code'],
    rows: ({ troubles }) => troubles.map(({ code }) => [{ code }, 1] as const),
  },
]

/** A registry that asks `status` at each scrape. */
export const edgeMetrics = (status: () => StationStatus, version: string): Registry => {
  const registry = new Registry()
  const registers = [registry]
  for (const { name, help, kind, labels: labelNames = [], rows } of series) {
    const options = { name: `groundtruth_edge_${name}`, help, labelNames, registers }
    if (kind === 'counter')
      new Counter({
        ...options,
        collect() {
          this.reset()
          for (const [labels, value] of rows(status())) this.inc(labels, value)
        },
      })
    else
      new Gauge({
        ...options,
        collect() {
          this.reset()
          for (const [labels, value] of rows(status())) this.set(labels, value)
        },
      })
  }
  new Gauge({
    name: 'groundtruth_edge_build_info',
    help: 'Always 1; the version is a label.',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1)
  collectDefaultMetrics({ register: registry })
  return registry
}

// A scrape is small and comes every few seconds from one program.
const maxConnections = 16

/** Serves `/metrics` until aborted; resolves with the port once it listens, and `ended` once it no longer does. */
export const serveMetrics = async (
  { registry, host, port }: { readonly registry: Registry; readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<{ readonly port: number; readonly ended: Promise<void> }> => {
  const server = createServer({ requestTimeout: 5_000, maxHeaderSize: 8_192 }, (request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('Metrics are at /metrics.\n')
      return
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      (error: unknown) => response.writeHead(500, { 'content-type': 'text/plain' }).end(`${String(error)}\n`),
    )
  })
  server.maxConnections = maxConnections
  const listening = once(server, 'listening')
  server.listen({ host, port })
  await listening
  const ended = once(server, 'close').then(() => undefined)
  const stop = (): void => {
    server.close()
    server.closeAllConnections()
  }
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  return { port: (server.address() as AddressInfo).port, ended }
}
