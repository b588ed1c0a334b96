/** /v1/topup: one payment on the spot for many requests; it gives a session key. */
import { createRoute } from '@hono/zod-openapi'
import { type Api, type MarketDeps, okJson, orFail } from '../api.ts'
import { fault, Problem } from '../problem.ts'
import { sessionKeySchema, topUpSchema } from '../sale-schemas.ts'
import type { Till } from '../till.ts'
import { timeText } from '../time.ts'

const topUpRoute = createRoute({
  method: 'post',
  path: '/v1/topup',
  tags: ['Account'],
  summary: 'A session key for an amount paid on the spot',
  description:
    'Answers 402 with the header PAYMENT-REQUIRED (x402 v2); the same request with the header PAYMENT-SIGNATURE pays. The key reads data, spends that amount at most, and is shown in this answer only. What is left of the credit stays with the wallet.',
  request: { body: { content: { 'application/json': { schema: topUpSchema } }, required: true } },
  responses: { 201: okJson(sessionKeySchema, 'The key', 'Payment-Response'), ...orFail },
})

/** Adds the route to an API with a rail. */
export const addTopUp = (app: Api, { nowMs }: MarketDeps, till: Till): void => {
  const { keys } = till.sales

  /** The key of a payment; a repeated request gets a new one, with what is left, for the one that may be lost. */
  const keyFor = (customer: string, once: string, amount: bigint, lifeS: number) => {
    keys.join(customer, nowMs())
    const label = `top-up ${once.slice(0, 16)}`
    let budget = amount
    for (const key of keys.list(customer))
      if (key.label === label && keys.revoke(customer, key.id, nowMs())) budget = amount - key.spent
    const expiresMs = nowMs() + lifeS * 1000
    return keys.add(customer, { label, scopes: ['read'], budget, alarmPercent: null, expiresMs }, nowMs())
  }

  app.openapi(topUpRoute, async (c) => {
    const { amountMicroUsd, lifeS } = c.req.valid('json')
    const amount = BigInt(amountMicroUsd)
    const made = await till.collect(c, `topup ${amountMicroUsd}`, amount, ({ customer, once, settled }) =>
      // Credit that is there already is no top-up.
      settled ? { customer, key: keyFor(customer, once, amount, lifeS) } : undefined,
    )
    if (made.key === undefined)
      throw new Problem(
        fault(
          'invalid-query',
          'this wallet has as many keys as it may; the amount is its credit all the same',
        ),
      )
    const { key, secret } = made.key
    c.header('cache-control', 'no-store')
    return c.json(
      {
        id: key.id,
        key: secret,
        account: made.customer,
        budgetMicroUsd: Number(key.budget),
        creditMicroUsd: Number(till.balanceOf(made.customer)),
        expires: timeText(key.expiresMs!),
      },
      201,
    )
  })
}
