/** /v1/batches: what was anchored, where, and how sure it is. */
import { createRoute, z } from '@hono/zod-openapi'
import type { Anchors, Batch } from '../../anchor/anchor.ts'
import { toHex } from '../../reading/bytes.ts'
import { decodeStatement, statementHash } from '../../reading/statement.ts'
import { type Api, caching, linkTo, type MarketDeps, okJson, orFail } from '../api.ts'
import { limitUpTo, parameters, queryOf } from '../parameters.ts'
import { fault, Problem } from '../problem.ts'
import { batchesSchema, batchSchema } from '../schemas.ts'
import { timeText } from '../time.ts'

const batchesRoute = createRoute({
  method: 'get',
  path: '/v1/batches',
  tags: ['Proof'],
  summary: 'Batches, newest first',
  request: { query: queryOf({ limit: limitUpTo(500, 50), before: parameters.before }) },
  responses: { 200: okJson(batchesSchema, 'Batches without their stations', 'Link'), ...orFail },
})

const batchRoute = createRoute({
  method: 'get',
  path: '/v1/batches/{batch}',
  tags: ['Proof'],
  summary: 'One batch: its statement, and how it hangs on the chain',
  description:
    'The statement’s RFC 9162 leaf hash leads by "anchor.proof" to "anchor.root", which the contract has under the transaction named.',
  request: {
    query: queryOf({}),
    params: z.object({
      batch: z
        .string()
        .regex(/^[1-9][0-9]{0,14}$/, 'takes the number of a batch, from 1')
        .openapi({ type: 'integer', minimum: 1, description: 'Batch number' }),
    }),
  },
  responses: { 200: okJson(batchSchema, 'The batch'), ...orFail },
})

const summaryView = ({ batch, status, size, root, firstMs, lastMs, closedMs, carrier }: Batch) => ({
  batch,
  status,
  size,
  root: toHex(root),
  first: timeText(firstMs),
  last: timeText(lastMs),
  closed: timeText(closedMs),
  carrier,
})

const batchView = (batch: Batch, anchors: Anchors) => {
  const decoded = decodeStatement(batch.statement)
  if (!decoded.ok) throw new Error(`the statement of batch ${batch.batch} is damaged: ${decoded.detail}`)
  const { network, previous, stations } = decoded.statement
  const anchor = anchors.anchorOf(batch.batch)
  const { carrier: _, ...summary } = summaryView(batch)
  return {
    ...summary,
    network,
    previous: toHex(previous),
    stations: [...stations],
    statement: Buffer.from(batch.statement).toString('base64'),
    statementHash: toHex(statementHash(batch.statement)),
    anchor:
      anchor === undefined
        ? null
        : {
            chainId: anchor.chainId,
            contract: anchor.contract,
            txHash: anchor.txHash,
            blockNumber: anchor.blockNumber,
            blockHash: anchor.blockHash,
            root: toHex(anchor.root),
            firstBatch: anchor.firstBatch,
            size: anchor.size,
            index: anchor.index,
            proof: anchor.proof.map(toHex),
          },
  }
}

/** Adds the routes. */
export const addBatches = (app: Api, { anchors, publicUrl }: MarketDeps): void => {
  app.openapi(batchesRoute, (c) => {
    const { limit = 50, before } = c.req.valid('query')
    const found = anchors.batches({ limit, ...(before === undefined ? {} : { before }) })
    const last = found.at(-1)
    const next = last !== undefined && found.length === limit && last.batch > 1 ? last.batch : null
    if (next !== null) c.header('link', linkTo(c, publicUrl, 'before', `${next}`))
    return c.json({ batches: found.map(summaryView), next }, 200)
  })

  app.openapi(batchRoute, (c) => {
    const number = Number(c.req.valid('param').batch)
    const batch = anchors.batch(number)
    if (batch === undefined) throw new Problem(fault('not-found', `there is no batch ${number} yet`))
    if (batch.status === 'final') c.header('cache-control', caching.final)
    return c.json(batchView(batch, anchors), 200)
  })
}
