/** Cards: a page to pay at, and what the card service says afterwards. */
import { createRoute, z } from '@hono/zod-openapi'
import { type Api, type MarketDeps, okJson, orFail } from '../api.ts'
import { fault, Problem } from '../problem.ts'
import { bookedSchema, checkoutSchema, newCheckoutSchema } from '../sale-schemas.ts'
import type { Cards, Till } from '../till.ts'

const checkoutRoute = createRoute({
  method: 'post',
  path: '/v1/checkout',
  tags: ['Account'],
  summary: 'A page where credit is paid for by card',
  description: 'The credit is there when the card service has told that it was paid, some seconds later.',
  security: [{ key: [] }],
  request: { body: { content: { 'application/json': { schema: newCheckoutSchema } }, required: true } },
  responses: { 201: okJson(checkoutSchema, 'Where to pay'), ...orFail },
})

const webhookRoute = createRoute({
  method: 'post',
  path: '/v1/webhooks/stripe',
  tags: ['Account'],
  summary: 'For Stripe: what became of a payment',
  request: { headers: z.object({ 'stripe-signature': z.string().max(2048) }) },
  responses: { 200: okJson(bookedSchema, 'It is in the books'), ...orFail },
})

const earlyRetryS = 60

/** Adds the routes of an API that takes cards. */
export const addCheckout = (app: Api, { nowMs, report }: MarketDeps, till: Till, cards: Cards): void => {
  const { rail, book } = cards

  app.openapi(checkoutRoute, async (c) => {
    const { customer } = till.withScope(c, 'account')
    const { amountUsd } = c.req.valid('json')
    const wanted = {
      order: till.newSaleId(),
      customer,
      amount: BigInt(Math.round(amountUsd * 100)) * 10_000n,
    }
    const opened = await rail.open(wanted)
    if (!opened.ok) {
      report(new Error(opened.detail))
      throw new Problem(fault('checkout-unavailable', opened.detail, { retryAfterS: 30 }))
    }
    book.opened(rail.name, opened.session, wanted)
    c.header('cache-control', 'no-store')
    return c.json({ id: opened.session, url: opened.url }, 201)
  })

  app.openapi(webhookRoute, async (c) => {
    const body = new Uint8Array(await c.req.arrayBuffer())
    const read = rail.read(body, c.req.valid('header')['stripe-signature'], nowMs())
    if (!read.ok) throw new Problem(fault('webhook-invalid', read.detail))
    const booked = book.book(rail.name, read.event)
    c.header('cache-control', 'no-store')
    if (booked.ok) return c.json({ done: booked.done }, 200)
    // Signed, and against our own note: its operator has to look at it.
    if (booked.reason === 'mismatch') report(new Error(`a card payment was not booked: ${booked.detail}`))
    throw new Problem(
      booked.reason === 'mismatch'
        ? fault('webhook-invalid', booked.detail)
        : fault('webhook-early', booked.detail, { retryAfterS: earlyRetryS }),
    )
  })
}
