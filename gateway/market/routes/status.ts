/** /v1/status for people, /healthz for supervisors, /metrics for Prometheus. */
import { createRoute, z } from '@hono/zod-openapi'
import { toHex } from '../../reading/bytes.ts'
import type { SensorSummary } from '../../store/store.ts'
import { type Api, type MarketDeps, okJson, orFail } from '../api.ts'
import { batchDueMs } from '../due.ts'
import { queryOf } from '../parameters.ts'
import { healthSchema, statusSchema } from '../schemas.ts'
import { timeText } from '../time.ts'

const statusRoute = createRoute({
  method: 'get',
  path: '/v1/status',
  tags: ['Operation'],
  summary: 'How the hub is doing',
  request: { query: queryOf({}) },
  responses: { 200: okJson(statusSchema, 'Parts, counts, and where the roots go'), ...orFail },
})

const healthRoute = createRoute({
  method: 'get',
  path: '/healthz',
  tags: ['Operation'],
  summary: 'Whether every part works',
  responses: {
    200: okJson(healthSchema, 'Everything works'),
    503: { description: 'Something does not', content: { 'application/json': { schema: healthSchema } } },
  },
})

const metricsRoute = createRoute({
  method: 'get',
  path: '/metrics',
  tags: ['Operation'],
  summary: 'Metrics in Prometheus’ text format',
  responses: { 200: { description: 'Metrics', content: { 'text/plain': { schema: z.string() } } } },
})

/** What the store says of itself; a status page is wanted most when it says nothing. */
const askStore = async ({ store, evidence }: MarketDeps) => {
  try {
    const [summaries, cursor] = await Promise.all([store.sensors(), store.cursor()])
    return { summaries, cursor, behind: Math.max(0, evidence.committed - cursor) }
  } catch (error) {
    if ((error as Error).name !== 'StoreUnavailable') throw error
    return { summaries: null, cursor: null, behind: null }
  }
}

const newestOf = (summaries: readonly SensorSummary[]): string | null =>
  summaries.length === 0
    ? null
    : timeText(summaries.reduce((newest, { lastMs }) => Math.max(newest, lastMs), 0))

/** Adds the routes. */
export const addStatus = (app: Api, deps: MarketDeps): void => {
  const { network, version, hubKey, store, evidence, anchors, nowMs, health, metrics } = deps
  const startedMs = nowMs()

  app.openapi(statusRoute, async (c) => {
    const records = evidence.stations()
    const progress = records.map(({ station }) => evidence.progress(station))
    const { summaries, cursor, behind } = await askStore(deps)
    const anchor = anchors.status()
    const time = nowMs()
    const dueMs = batchDueMs(anchor, deps)
    return c.json(
      {
        name: 'groundtruth' as const,
        version,
        network,
        hubKey: toHex(hubKey),
        time: timeText(time),
        started: timeText(startedMs),
        uptimeS: Math.max(0, Math.floor((time - startedMs) / 1000)),
        parts: [...health()],
        counts: {
          stations: records.length,
          sensors: summaries?.length ?? null,
          readings: summaries?.reduce((sum, { readings }) => sum + readings, 0) ?? null,
          envelopes: progress.reduce((sum, { envelopes }) => sum + envelopes, 0),
          missing: progress
            .flatMap(({ gaps }) => gaps)
            .reduce((sum, [first, last]) => sum + last - first + 1, 0),
          refused: evidence.refusalCounts(),
        },
        newest: summaries === null ? null : newestOf(summaries),
        store: { kind: store.kind, cursor, behind },
        anchor: {
          state: anchor.state,
          detail: anchor.detail,
          chain: anchor.chain,
          chainId: anchor.chainId,
          contract: anchor.contract,
          address: anchor.address,
          balanceWei: anchor.balanceWei === null ? null : `${anchor.balanceWei}`,
          batches: anchor.batches,
          pendingEnvelopes: anchor.pending.leaves,
          nextBatch: dueMs === undefined ? null : timeText(dueMs),
        },
      },
      200,
    )
  })

  app.openapi(healthRoute, (c) => {
    const failing = health()
      .filter(({ ok }) => !ok)
      .map(({ name, detail = 'does not work' }) => ({ name, detail }))
    return failing.length === 0
      ? c.json({ status: 'ok' as const, failing }, 200)
      : c.json({ status: 'failing' as const, failing }, 503)
  })

  app.openapi(metricsRoute, async (c) =>
    c.text(await metrics.metrics(), 200, { 'content-type': metrics.contentType }),
  )
}
