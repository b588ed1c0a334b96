/** What the API tells Prometheus: names after prometheus.io/docs/practices/naming, prefix `groundtruth_`. */
import type { MiddlewareHandler } from 'hono'
import { routePath } from 'hono/route'
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Evidence } from '../evidence/evidence.ts'
import type { Subscriptions } from '../sales/subscriptions.ts'

// From a look-up in memory to a page of 10,000 readings on a Pi.
const buckets = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10]

/** Registers the API's metrics and answers the middleware that counts. Routes are patterns, so series stay few. */
export const meterRequests = (metrics: Registry, version: string, evidence: Evidence): MiddlewareHandler => {
  const registers = [metrics]
  const requests = new Counter({
    name: 'groundtruth_http_requests_total',
    help: 'Requests answered, by route, method and status.',
    labelNames: ['route', 'method', 'status'] as const,
    registers,
  })
  const duration = new Histogram({
    name: 'groundtruth_http_request_duration_seconds',
    help: 'Time until the answer starts, by route.',
    labelNames: ['route'] as const,
    buckets,
    registers,
  })
  new Gauge({
    name: 'groundtruth_build_info',
    help: 'Always 1; the version is a label.',
    labelNames: ['version'] as const,
    registers,
  }).set({ version }, 1)
  new Gauge({
    name: 'groundtruth_stations',
    help: 'Stations registered.',
    registers,
    collect() {
      this.set(evidence.stations().length)
    },
  })
  const methods = new Set(['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE'])
  return async (c, next) => {
    const end = duration.startTimer()
    await next()
    const path = routePath(c, -1)
    const route = path === '' || path.endsWith('*') ? 'none' : path
    end({ route })
    const method = methods.has(c.req.method) ? c.req.method : 'other'
    requests.inc({ route, method, status: `${c.res.status}` })
  }
}

/** Registers how many streams of readings are open. */
export const meterStreams = (metrics: Registry, open: () => number): void =>
  void new Gauge({
    name: 'groundtruth_streams',
    help: 'Streams of readings that are open.',
    registers: [metrics],
    collect() {
      this.set(open())
    },
  })

/** Registers how many subscriptions there are. */
export const meterSubscriptions = (metrics: Registry, book: Pick<Subscriptions, 'counts'>): void => {
  new Gauge({
    name: 'groundtruth_subscriptions',
    help: 'Subscriptions, by kind and state; paused ones wait for their owners.',
    labelNames: ['kind', 'state'] as const,
    registers: [metrics],
    collect() {
      this.reset()
      for (const { kind, state, count } of book.counts()) this.set({ kind, state }, count)
    },
  })
}
