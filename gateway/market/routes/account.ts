/** A buyer's account: keys, credit, what was spent, and stations of one's own. */
import { createRoute, z } from '@hono/zod-openapi'
import type { ApiKey } from '../../sales/keys.ts'
import { type Api, type MarketDeps, okJson, orFail } from '../api.ts'
import { limitUpTo, parameters, queryOf } from '../parameters.ts'
import { fault, Problem } from '../problem.ts'
import {
  accountSchema,
  budgetSchema,
  keySchema,
  keysSchema,
  newKeySchema,
  statementSchema,
} from '../sale-schemas.ts'
import type { Till } from '../till.ts'
import { timeText } from '../time.ts'

const keyId = z.object({
  id: z
    .string()
    .regex(/^[0-9a-f]{16}$/, 'takes a key id')
    .openapi({ description: 'Id of a key' }),
})

const secured = [{ key: [] }]

const body = <T extends z.ZodType>(schema: T) =>
  ({ content: { 'application/json': { schema } }, required: true }) as const

const signUpRoute = createRoute({
  method: 'post',
  path: '/v1/keys',
  tags: ['Account'],
  summary: 'A new API key',
  description:
    'Without a key this opens an account; with a key of scope "account" it adds a key to that account. The key itself is shown in this answer only.',
  request: { body: body(newKeySchema) },
  responses: { 201: okJson(keySchema, 'The key'), ...orFail },
})

const keysRoute = createRoute({
  method: 'get',
  path: '/v1/keys',
  tags: ['Account'],
  summary: 'The keys of the account',
  security: secured,
  responses: { 200: okJson(keysSchema, 'Keys, without their secrets'), ...orFail },
})

const revokeRoute = createRoute({
  method: 'delete',
  path: '/v1/keys/{id}',
  tags: ['Account'],
  summary: 'Revokes a key for good',
  security: secured,
  request: { params: keyId },
  responses: { 204: { description: 'It does not count any more' }, ...orFail },
})

const accountRoute = createRoute({
  method: 'get',
  path: '/v1/account',
  tags: ['Account'],
  summary: 'Credit, and stations of one’s own',
  security: secured,
  responses: { 200: okJson(accountSchema, 'The account'), ...orFail },
})

const budgetRoute = createRoute({
  method: 'get',
  path: '/v1/budget',
  tags: ['Account'],
  summary: 'What the key of this request may still spend',
  security: secured,
  responses: { 200: okJson(budgetSchema, 'The key, and what is left for it'), ...orFail },
})

const stationRoute = createRoute({
  method: 'post',
  path: '/v1/account/stations',
  tags: ['Account'],
  summary: 'Shows that a station is one’s own: its readings are free for this account',
  description:
    'On the station, "groundtruth key --account ID" prints its claim for this account; it is good for a day.',
  security: secured,
  request: {
    body: body(
      z.strictObject({
        station: parameters.station.unwrap().openapi({ description: 'Station id' }),
        claim: z.string().max(1024),
      }),
    ),
  },
  responses: { 200: okJson(accountSchema, 'The account'), ...orFail },
})

const usageRoute = createRoute({
  method: 'get',
  path: '/v1/usage',
  tags: ['Account'],
  summary: 'What came and went, newest first',
  security: secured,
  request: { query: queryOf({ limit: limitUpTo(1000, 100), before: parameters.before }) },
  responses: { 200: okJson(statementSchema, 'Entries of the account'), ...orFail },
})

const keyView = (key: ApiKey) => ({
  id: key.id,
  label: key.label,
  scopes: [...key.scopes],
  budgetMicroUsd: key.budget === null ? null : Number(key.budget),
  spentMicroUsd: Number(key.spent),
  alarmPercent: key.alarmPercent,
  created: timeText(key.createdMs),
  expires: key.expiresMs === null ? null : timeText(key.expiresMs),
  revoked: key.revokedMs === null ? null : timeText(key.revokedMs),
})

/** Adds the routes of an API that sells. */
export const addAccount = (app: Api, { nowMs }: MarketDeps, till: Till): void => {
  const { sales } = till
  const { keys, ledger } = sales

  app.openapi(signUpRoute, (c) => {
    const { label, scopes, budgetMicroUsd, alarmPercent, expires } = c.req.valid('json')
    const expiresMs = expires === null ? null : Date.parse(expires)
    if (expiresMs !== null && expiresMs <= nowMs())
      throw new Problem(
        fault('invalid-query', 'expires is in the past', {
          fields: [{ name: 'expires', detail: 'takes a time to come' }],
        }),
      )
    const wanted = {
      label,
      scopes,
      budget: budgetMicroUsd === null ? null : BigInt(budgetMicroUsd),
      alarmPercent,
      expiresMs,
    }
    const present = till.keyOf(c)
    if (present !== undefined) till.withScope(c, 'account')
    const made = present === undefined ? till.signUp(wanted) : keys.add(present.customer, wanted, nowMs())
    if (made === undefined)
      throw new Problem(fault('invalid-query', 'this account has as many keys as it may; revoke one'))
    c.header('cache-control', 'no-store')
    return c.json({ ...keyView(made.key), key: made.secret }, 201)
  })

  app.openapi(keysRoute, (c) => {
    const { customer } = till.withScope(c, 'account')
    c.header('cache-control', 'no-store')
    return c.json({ keys: keys.list(customer).map(keyView) }, 200)
  })

  app.openapi(revokeRoute, (c) => {
    const { customer } = till.withScope(c, 'account')
    const { id } = c.req.valid('param')
    if (!keys.revoke(customer, id, nowMs()))
      throw new Problem(fault('not-found', `this account has no key ${id} that counts`))
    return c.body(null, 204)
  })

  const accountView = (customer: string) => ({
    account: customer,
    creditMicroUsd: Number(till.balanceOf(customer)),
    creditUsd: till.usdText(till.balanceOf(customer)),
    stations: [...keys.ownStations(customer)],
  })

  app.openapi(accountRoute, (c) => {
    const { customer } = till.withScope(c, 'account')
    c.header('cache-control', 'no-store')
    return c.json(accountView(customer), 200)
  })

  app.openapi(budgetRoute, (c) => {
    const key = till.withScope(c, 'read')
    const credit = till.balanceOf(key.customer)
    let left = credit
    if (key.budget !== null && key.budget - key.spent < left) left = key.budget - key.spent
    if (left < 0n) left = 0n
    const { created: _, revoked: __, ...view } = keyView(key)
    c.header('cache-control', 'no-store')
    return c.json(
      { ...view, creditMicroUsd: Number(credit), leftMicroUsd: Number(left), leftUsd: till.usdText(left) },
      200,
    )
  })

  app.openapi(stationRoute, (c) => {
    const { customer } = till.withScope(c, 'account')
    const { station, claim } = c.req.valid('json')
    const shown = till.ownsStation(claim, station, customer)
    if (!shown.ok)
      throw new Problem(
        fault('invalid-query', shown.detail, { fields: [{ name: 'claim', detail: shown.detail }] }),
      )
    keys.own(customer, station)
    c.header('cache-control', 'no-store')
    return c.json(accountView(customer), 200)
  })

  app.openapi(usageRoute, (c) => {
    const { customer } = till.withScope(c, 'account')
    const { limit = 100, before } = c.req.valid('query')
    const lines = ledger.entriesOf(`customer:${customer}`, limit, before)
    c.header('cache-control', 'no-store')
    return c.json(
      {
        entries: lines.map(({ posting, request, kind, timeMs, memo, amount }) => ({
          entry: posting,
          time: timeText(timeMs),
          kind,
          amountMicroUsd: Number(amount),
          memo,
          ...(/^(sale|capture|refund):/.test(request)
            ? { receipt: request.slice(request.indexOf(':') + 1) }
            : {}),
        })),
        next: lines.length === limit ? lines.at(-1)!.posting : null,
      },
      200,
    )
  })
}
