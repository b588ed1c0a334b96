/** Subscriptions as /openapi.json describes them. */
import { z } from '@hono/zod-openapi'
import { idPattern } from '../reading/reading.ts'
import type { PauseReason, SubscriptionState } from '../sales/subscriptions.ts'
import { publicQuantityNames } from './parameters.ts'

const time = z.iso.datetime({ precision: 3 }).openapi({ description: 'RFC 3339, UTC, milliseconds' })
const count = z.number().int().min(0)
const microUsd = count.openapi({ description: 'Millionths of a US dollar' })
const id = z.string().regex(idPattern, 'takes 1 to 64 of A-Z a-z 0-9 _ -')

const states = ['active', 'paused', 'ended'] as const satisfies readonly SubscriptionState[]
const reasons = ['key', 'credit', 'budget', 'unreachable', 'gone'] as const satisfies readonly PauseReason[]

// So that a selection stays something that can be shown, and looked through for each reading.
const mostStations = 100

const oneOrMore = <T extends z.ZodType>(item: T, most: number) =>
  z.union([item.transform((one) => [one]), z.array(item).min(1).max(most)])

/** What is wanted, by the names that the parameters of /v1/readings have. */
const selection = {
  station: oneOrMore(id, mostStations)
    .optional()
    .openapi({
      type: 'array',
      items: { type: 'string', pattern: idPattern.source },
      description: `Only these stations, one or up to ${mostStations}; without it all there are`,
    }),
  sensor: id.optional().openapi({ description: 'Only sensors with this id' }),
  quantity: oneOrMore(z.enum(publicQuantityNames as [string, ...string[]]), publicQuantityNames.length)
    .optional()
    .openapi({
      type: 'array',
      items: { type: 'string', enum: [...publicQuantityNames] },
      description: 'Only these quantities, by name',
    }),
  min_quality: z.number().min(0).max(1).optional().openapi({
    description: 'Only readings with at least this score; the others are neither given nor paid',
  }),
}

export const newSubscriptionSchema = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('webhook'),
      url: z.string().max(1024).openapi({ description: 'https:// address that takes CloudEvents' }),
      batch: z.int().min(1).max(100).default(100).openapi({
        description:
          'Readings in one request at most, and no more than were taken before, and one. 1 sends application/cloudevents+json, more application/cloudevents-batch+json',
      }),
      ...selection,
    }),
    z.strictObject({ kind: z.literal('mqtt'), ...selection }),
  ])
  .openapi('NewSubscription')

const subscription = z.strictObject({
  id: z.string(),
  kind: z.enum(['webhook', 'mqtt']),
  state: z.enum(states).openapi({
    description: 'active, paused (POST .../resume lets it go on), or ended (its receiver answered 410)',
  }),
  reason: z.enum(reasons).optional().openapi({
    description: 'Why it does not go on: key, credit, budget, unreachable (for three days), gone',
  }),
  key: z.string().openapi({ description: 'Id of the key that pays' }),
  station: z.array(z.string()).optional(),
  sensor: z.string().optional(),
  quantity: z.array(z.string()).optional(),
  min_quality: z.number().optional(),
  url: z.string().optional(),
  batch: count.optional(),
  publicKey: z.string().optional().openapi({
    description: 'whpk_..., the hub’s Ed25519 key: checks the signatures that begin with v1a',
  }),
  topics: z.string().optional().openapi({ description: 'All topics of an MQTT login' }),
  created: time,
  delivered: count.openapi({ description: 'Readings that were taken' }),
  spentMicroUsd: microUsd,
  lastDelivered: time.nullable(),
  skipped: z.strictObject({ readings: count, from: time, to: time, get: z.string() }).optional().openapi({
    description:
      'Readings, so many at most, that waited for longer than a week and were left out; "get" fetches them',
  }),
  failures: count.openapi({ description: 'Since it last took anything' }),
  failingSince: time.nullable(),
  nextTry: time.nullable(),
  lastError: z.string().nullable(),
})

export const subscriptionSchema = subscription.openapi('Subscription')

export const subscriptionsSchema = z
  .strictObject({ subscriptions: z.array(subscription) })
  .openapi('Subscriptions')

export const toldSubscriptionSchema = subscription
  .extend({
    secret: z.string().optional().openapi({
      description: 'whsec_..., what a webhook is signed with (Standard Webhooks, v1); in this answer only',
    }),
    login: z
      .strictObject({ broker: z.string(), username: z.string(), password: z.string() })
      .optional()
      .openapi({ description: 'An MQTT login (3.1.1), its password in this answer only' }),
  })
  .openapi('ToldSubscription')

export type NewSubscriptionBody = z.output<typeof newSubscriptionSchema>
