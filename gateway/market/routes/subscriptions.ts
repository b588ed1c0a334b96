/** /v1/subscriptions: readings as they come, by webhook or by an MQTT login. */
import { createRoute, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { toHex } from '../../reading/bytes.ts'
import { buyerBase } from '../../reading/topics.ts'
import type { Subscription } from '../../sales/subscriptions.ts'
import { type Api, okJson, orFail } from '../api.ts'
import { idempotencyKeyIn } from '../idempotency-key.ts'
import { fault, orProblem, Problem } from '../problem.ts'
import {
  type NewSubscriptionBody,
  newSubscriptionSchema,
  subscriptionSchema,
  subscriptionsSchema,
  toldSubscriptionSchema,
} from '../subscription-schemas.ts'
import type { Selection } from '../subscriptions/selection.ts'
import { publicKeyText } from '../subscriptions/signature.ts'
import type { SubscriptionDesk, Wanted } from '../subscriptions/subscriptions.ts'
import type { Till } from '../till.ts'
import { timeText } from '../time.ts'

const subscriptionId = z.object({
  id: z
    .string()
    .regex(/^sub_[0-9a-f]{16}$/, 'takes the id of a subscription')
    .openapi({ description: 'As in its Location' }),
})

const secured = [{ key: [] }]
const tags = ['Subscriptions']

const createdRoute = createRoute({
  method: 'post',
  path: '/v1/subscriptions',
  tags,
  summary: 'Readings as they come: by webhook, or by an MQTT login',
  description:
    'A webhook is first asked by OPTIONS whether it wants events. It then gets CloudEvents 1.0, signed as by Standard Webhooks, in order, each again until it answers with 2xx: only then is it paid. An MQTT login hears its own topics and nothing else, from when it subscribes to them; messages are paid as its connection takes them. The price is that of fresh readings, the base once for each subscription. The secret is in this answer only; the same Idempotency-Key gives the same subscription, and a login another password.',
  security: secured,
  request: {
    headers: z.object({
      'idempotency-key': z.string().optional().openapi({
        description: 'Names this order, so that it is made once: 8 to 128 visible ASCII characters',
      }),
    }),
    body: { content: { 'application/json': { schema: newSubscriptionSchema } }, required: true },
  },
  responses: {
    201: {
      ...okJson(toldSubscriptionSchema, 'The subscription, and what is told once'),
      headers: { Location: { description: 'Where it is', schema: { type: 'string' } } },
    },
    ...orFail,
  },
})

const listRoute = createRoute({
  method: 'get',
  path: '/v1/subscriptions',
  tags,
  summary: 'The subscriptions of the account',
  security: secured,
  responses: { 200: okJson(subscriptionsSchema, 'All of them'), ...orFail },
})

const oneRoute = createRoute({
  method: 'get',
  path: '/v1/subscriptions/{id}',
  tags,
  summary: 'How far one has come, and what is in its way',
  security: secured,
  request: { params: subscriptionId },
  responses: { 200: okJson(subscriptionSchema, 'The subscription'), ...orFail },
})

const endRoute = createRoute({
  method: 'delete',
  path: '/v1/subscriptions/{id}',
  tags,
  summary: 'Ends one for good',
  security: secured,
  request: { params: subscriptionId },
  responses: { 204: { description: 'Nothing of it is left' }, ...orFail },
})

const resumeRoute = createRoute({
  method: 'post',
  path: '/v1/subscriptions/{id}/resume',
  tags,
  summary: 'Lets one go on where it stopped, paid by the key of this request',
  description:
    'A webhook is asked anew whether it wants events. What waited for longer than a week is left out, and told as "skipped".',
  security: secured,
  request: { params: subscriptionId },
  responses: { 200: okJson(subscriptionSchema, 'The subscription'), ...orFail },
})

const timeOrNull = (ms: number | null): string | null => (ms === null ? null : timeText(ms))

/** Where what was skipped can be had. */
const queryFor = ({ station, sensor, quantity, min_quality }: Selection, fromMs: number, lastMs: number) => {
  const query = new URLSearchParams({ from: timeText(fromMs), to: timeText(lastMs + 1) })
  if (station !== undefined) query.set('station', station.join(','))
  if (sensor !== undefined) query.set('sensor', sensor)
  if (quantity !== undefined) query.set('quantity', quantity.join(','))
  if (min_quality !== undefined) query.set('min_quality', `${min_quality}`)
  return `/v1/readings?${query}`
}

const wantedIn = (body: NewSubscriptionBody): Wanted => {
  const { station, sensor, quantity, min_quality } = body
  const selection: Selection = {
    ...(station === undefined ? {} : { station: [...new Set(station)].sort() }),
    ...(sensor === undefined ? {} : { sensor }),
    ...(quantity === undefined ? {} : { quantity: [...new Set(quantity)].sort() }),
    ...(min_quality === undefined ? {} : { min_quality }),
  }
  return body.kind === 'webhook'
    ? { kind: 'webhook', url: body.url, batch: body.batch, selection }
    : { kind: 'mqtt', url: null, batch: 1, selection }
}

/** Adds the routes. */
export const addSubscriptions = (app: Api, till: Till, desk: SubscriptionDesk): void => {
  const { book } = desk
  const publicKey = publicKeyText(desk.hubKey)

  const view = (one: Subscription) => {
    const selection = JSON.parse(one.selection) as Selection
    const { station, sensor, quantity, min_quality } = selection
    const { skipped } = one
    return {
      id: one.id,
      kind: one.kind,
      state: one.state,
      ...(one.reason === null ? {} : { reason: one.reason }),
      key: one.apiKey,
      ...(station === undefined ? {} : { station: [...station] }),
      ...(sensor === undefined ? {} : { sensor }),
      ...(quantity === undefined ? {} : { quantity: [...quantity] }),
      ...(min_quality === undefined ? {} : { min_quality }),
      ...(one.url === null
        ? { topics: `${buyerBase(desk.network, one.id)}#` }
        : { url: one.url, batch: one.batch, publicKey }),
      created: timeText(one.createdMs),
      delivered: one.delivered,
      spentMicroUsd: Number(one.spent),
      lastDelivered: timeOrNull(one.deliveredMs),
      ...(skipped === null
        ? {}
        : {
            skipped: {
              readings: skipped.readings,
              from: timeText(skipped.fromMs),
              to: timeText(skipped.lastMs + 1),
              get: queryFor(selection, skipped.fromMs, skipped.lastMs),
            },
          }),
      failures: one.failures,
      failingSince: timeOrNull(one.failingMs),
      nextTry: one.state === 'active' && one.failures > 0 ? timeText(one.nextTryMs) : null,
      lastError: one.lastError,
    }
  }

  const ownOne = (c: Context, id: string) => {
    const key = till.withScope(c, 'read')
    const one = book.find(id)
    if (one?.customer !== key.customer)
      throw new Problem(fault('not-found', `this account has no subscription ${id}`))
    return { key, one }
  }

  app.openapi(createdRoute, async (c) => {
    const key = till.withScope(c, 'read')
    const once = idempotencyKeyIn(c)
    const request =
      once === undefined
        ? till.newSaleId()
        : toHex(till.queryHash(JSON.stringify(['subscription', key.customer, once])))
    const wanted = wantedIn(c.req.valid('json'))
    const { subscription, secret } = orProblem(await desk.create(key, wanted, request))
    const { id, kind } = subscription
    c.header('location', `/v1/subscriptions/${id}`)
    c.header('cache-control', 'no-store')
    const login = { broker: desk.mqttUrl ?? '', username: id, password: secret }
    return c.json({ ...view(subscription), ...(kind === 'webhook' ? { secret } : { login }) }, 201)
  })

  app.openapi(listRoute, (c) => {
    const { customer } = till.withScope(c, 'read')
    c.header('cache-control', 'no-store')
    return c.json({ subscriptions: book.ofCustomer(customer).map(view) }, 200)
  })

  app.openapi(oneRoute, (c) => {
    const { one } = ownOne(c, c.req.valid('param').id)
    c.header('cache-control', 'no-store')
    return c.json(view(one), 200)
  })

  app.openapi(endRoute, (c) => {
    const { key, one } = ownOne(c, c.req.valid('param').id)
    desk.remove(key.customer, one.id)
    return c.body(null, 204)
  })

  app.openapi(resumeRoute, async (c) => {
    const { key, one } = ownOne(c, c.req.valid('param').id)
    const { subscription } = orProblem(await desk.resume(key, one))
    c.header('cache-control', 'no-store')
    return c.json(view(subscription), 200)
  })
}
