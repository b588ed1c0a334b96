/** Before and after a purchase: quotes with a signed offer; receipts, and the proof of what was bought. */
import { createRoute, z } from '@hono/zod-openapi'
import { bundleContentType } from '../../reading/bundle.ts'
import { toHex } from '../../reading/bytes.ts'
import { verifySale } from '../../reading/sale.ts'
import type { Sale } from '../../sales/sale.ts'
import { type Api, type MarketDeps, okJson, orFail } from '../api.ts'
import { findStations } from '../area.ts'
import { isSold } from '../entitled.ts'
import { limitUpTo, parameters, queryOf } from '../parameters.ts'
import { fault, orProblem, Problem } from '../problem.ts'
import { planCut, planReadings, queryText, readingsQuery } from '../query.ts'
import { maxPaidRows, type RunPriced } from '../run-priced.ts'
import { quoteSchema, receiptSchema, receiptsSchema } from '../sale-schemas.ts'
import { scopeOf } from '../scope.ts'
import type { Till } from '../till.ts'
import { resolveTime, timeText } from '../time.ts'
import { bundleHeaders, type SendBundle } from './bundle.ts'

const secured = [{ key: [] }]

// What was paid for without a key needs none here either: its id is known to its buyer only.
const keyOrId = [{ key: [] }, {}]

const saleId = z.object({
  id: z
    .string()
    .regex(/^[0-9a-f]{32}$/, 'takes the id of a receipt')
    .openapi({ description: 'As in the header Receipt-Id' }),
})

const quoteRoute = createRoute({
  method: 'post',
  path: '/v1/quotes',
  tags: ['Buying'],
  summary: 'What a query costs, with an offer that binds the hub',
  description:
    'Takes the parameters of /v1/readings. All pages of the query are priced, at what there is now, and a "to" that is still to come means now; with "from" and "to" as fixed times the price can only get lower with the age of the readings. What is too much for one query is priced as an export.',
  request: { query: readingsQuery },
  responses: { 200: okJson(quoteSchema, 'The price, and a signed offer'), ...orFail },
})

const receiptsRoute = createRoute({
  method: 'get',
  path: '/v1/receipts',
  tags: ['Buying'],
  summary: 'What was bought, newest first',
  security: secured,
  request: { query: queryOf({ limit: limitUpTo(1000, 100), before: parameters.before }) },
  responses: { 200: okJson(receiptsSchema, 'Sales of the account'), ...orFail },
})

const receiptRoute = createRoute({
  method: 'get',
  path: '/v1/receipts/{id}',
  tags: ['Buying'],
  summary: 'One sales receipt, signed by the hub',
  security: keyOrId,
  request: { params: saleId },
  responses: { 200: okJson(receiptSchema, 'The receipt'), ...orFail },
})

const bundleRoute = createRoute({
  method: 'get',
  path: '/v1/receipts/{id}/bundle',
  tags: ['Buying', 'Proof'],
  summary: 'The proof of what was bought, and its receipt, for nothing',
  description:
    'What is too large for one bundle is proved in parts: with "from" and "to", of what was bought between them. Each part holds the receipt, which is of all.',
  security: keyOrId,
  request: { params: saleId, query: queryOf({ from: parameters.from, to: parameters.to }) },
  responses: {
    200: {
      description: 'The bundle, as a file',
      headers: bundleHeaders,
      content: { [bundleContentType]: { schema: { type: 'string', format: 'binary' } } },
    },
    ...orFail,
  },
})

const viewOf = ({ id, timeMs, priceMicroUsd, rows, state, query }: Sale, creditMicroUsd: bigint) => ({
  id,
  time: timeText(timeMs),
  priceMicroUsd: Number(priceMicroUsd),
  rows,
  state,
  query: toHex(query),
  slaCreditMicroUsd: Number(creditMicroUsd),
})

/** Adds the routes of an API that sells. */
export const addPurchases = (
  app: Api,
  { nowMs, evidence, exports, store, network, hubKey }: MarketDeps,
  till: Till,
  runPriced: RunPriced,
  sendBundle: SendBundle,
): void => {
  const { sales } = till
  const saleView = (sale: Sale) => viewOf(sale, sales.sla.outcome(sale.id)?.creditMicroUsd ?? 0n)

  app.openapi(quoteRoute, async (c) => {
    const query = c.req.valid('query')
    const planned = orProblem(planReadings(query, nowMs(), () => findStations(query, evidence)))
    const plan = planCut(planned.plan, nowMs())
    const key = till.keyOf(c)
    const own = key === undefined ? new Set<string>() : sales.keys.ownStations(key.customer)
    const most = exports && orProblem(await exports.count(plan, key?.customer ?? ''))
    const isForExport = most !== undefined && most.rows > maxPaidRows
    const { rows, values, totalMicroUsd } = isForExport
      ? { ...most, totalMicroUsd: most.most }
      : (await runPriced(plan, own, till)).price
    const { jws, expiresMs } = till.makeOffer(till.queryHash(queryText(plan)), totalMicroUsd)
    c.header('cache-control', 'no-store')
    return c.json(
      {
        rows,
        values,
        priceMicroUsd: Number(totalMicroUsd),
        priceUsd: till.usdText(totalMicroUsd),
        isForExport,
        offer: jws,
        offerExpires: timeText(expiresMs),
      },
      200,
    )
  })

  app.openapi(receiptsRoute, (c) => {
    const { customer } = till.withScope(c, 'read')
    const { limit = 100, before } = c.req.valid('query')
    const found = sales.list(customer, limit, before)
    c.header('cache-control', 'no-store')
    return c.json(
      { receipts: found.map(saleView), next: found.length === limit ? found.at(-1)!.timeMs : null },
      200,
    )
  })

  app.openapi(receiptRoute, (c) => {
    const found = till.saleFor(c, c.req.valid('param').id)
    c.header('cache-control', 'no-store')
    return c.json(
      { ...saleView(found), jws: found.jws, cose: Buffer.from(found.receipt).toString('base64') },
      200,
    )
  })

  /** How many values its receipt says that a sale has; of our own receipts each can be read. */
  const valuesOf = ({ id, receipt }: Sale): number => {
    const verified = verifySale(receipt, network, hubKey)
    if (!verified.ok) throw new Error(`the receipt of sale ${id} does not hold: ${verified.detail}`)
    return verified.sale.values
  }

  app.openapi(bundleRoute, async (c): Promise<Response> => {
    const found = till.saleFor(c, c.req.valid('param').id)
    if (found.state === 'refunded')
      throw new Problem(fault('not-found', 'this was paid back, as nothing of it was taken'))
    const scope = scopeOf(found)
    if (scope === undefined)
      throw new Problem(
        fault(
          'not-found',
          'the newest readings that were bought are too far apart for one bundle; buy one of these sensors, or a span of /v1/readings',
        ),
      )
    if (!(await isSold(valuesOf(found), scope, store)))
      throw new Problem(
        fault(
          'payment-required',
          'its proof would show many more readings than were bought: buy those that it is made of, and theirs shows that it is right',
        ),
      )
    const { minScore: _, ...sold } = scope
    const { from, to } = c.req.valid('query')
    const fromMs = from === undefined ? sold.fromMs : resolveTime(from, nowMs())
    const toMs = to === undefined ? sold.toMs : resolveTime(to, nowMs())
    if (fromMs < sold.fromMs || toMs > sold.toMs || fromMs >= toMs) {
      const detail = `must be within what was bought, ${timeText(sold.fromMs)} to ${timeText(sold.toMs)}`
      throw new Problem(
        fault('invalid-query', `"from" to "to" ${detail}`, { fields: [{ name: 'from', detail }] }),
      )
    }
    return sendBundle(c, { ...sold, fromMs, toMs }, found.receipt)
  })
}
