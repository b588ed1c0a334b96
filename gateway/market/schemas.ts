/** Answers as /openapi.json describes them. */
import { z } from '@hono/zod-openapi'
import { absences } from '../reading/reading.ts'
import { type Refusal, refusals } from '../reading/refusal.ts'
import { publicQuantityNames, rollupFunctions } from './parameters.ts'
import { problemSlugs } from './problem.ts'
import { proofStatuses } from './proof.ts'

const time = z.iso.datetime({ precision: 3 }).openapi({
  description: 'RFC 3339, UTC, milliseconds',
  example: '2026-11-21T10:00:00.000Z',
})
const id = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)
const count = z.number().int().min(0)
const hex32 = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .openapi({ description: '32 bytes in lower-case hex' })
const base64 = z.base64().openapi({ description: 'Bytes in base64 (RFC 4648 s4)' })
const quantityName = z.enum(publicQuantityNames as [string, ...string[]])
// Names as a list of members would bury everything else in the description.
const perQuantity = <T extends z.ZodType>(value: T) => z.record(z.string(), value)
const nextCursor = z.string().nullable().openapi({
  description: 'Give it as "cursor" with the same query for the next page; null on the last one.',
})

export const problemSchema = z
  .strictObject({
    type: z.enum(problemSlugs.map((slug) => `/problems/${slug}`) as [string, ...string[]]),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    help: z.string().openapi({ description: 'What to do next' }),
    fields: z.array(z.strictObject({ name: z.string(), detail: z.string() })).optional(),
    retryAfterS: count.optional().openapi({ description: 'As in the Retry-After header, seconds' }),
    payment: z
      .strictObject({
        priceMicroUsd: count.openapi({ description: 'What this costs, in millionths of a US dollar' }),
        priceUsd: z.string(),
        balanceMicroUsd: count.optional().openapi({ description: 'Credit that there is' }),
        offer: z.string().optional().openapi({
          description: 'JWS of the hub that it asks no more than this; send it back in the header Offer',
        }),
        offerExpires: time.optional(),
      })
      .optional(),
  })
  .openapi('Problem', { description: 'RFC 9457' })

const proofStatus = z.enum(proofStatuses).openapi({
  description:
    'pending: in no batch yet; then as the batch: queued, sent, mined (in a block), final (past finality)',
})

const reading = z
  .strictObject({
    station: id,
    sensor: id,
    model: id,
    time,
    values: perQuantity(z.number().nullable()).openapi({
      description: 'By quantity name, in its unit, exact to its last decimal',
    }),
    absent: perQuantity(z.enum(Object.keys(absences) as [string, ...string[]]))
      .optional()
      .openapi({ description: 'Why a value is null' }),
    quality: z.strictObject({
      score: z.number().min(0).max(1),
      flags: z.array(z.string()).openapi({ description: '<quantity>:<code> or <code>' }),
      rules: z.string().openapi({ description: 'Version of the rules that gave score and flags' }),
    }),
    proof: z.strictObject({
      seq: z.number().int().min(1).openapi({ description: 'Sequence number of the signed envelope' }),
      batch: z.number().int().min(1).optional(),
      status: proofStatus,
      place: count.openapi({ description: 'Position of the reading in its envelope, from 0' }),
    }),
  })
  .openapi('Reading')

const bucket = z
  .strictObject({
    station: id,
    sensor: id,
    time: time.openapi({ description: 'Start of the interval' }),
    values: perQuantity(z.number()).openapi({
      description: 'Exact to the quantity’s last decimal; a mean to two more',
    }),
    counts: perQuantity(z.number().int().min(1)).openapi({
      description: 'How many values were taken together',
    }),
  })
  .openapi('Bucket')

/** What a page says beside its rows; `every` and `fn` where they are intervals. */
export const pageMembers = {
  from: time,
  to: time,
  every: z.string(),
  fn: z.enum(rollupFunctions),
  next: nextCursor,
}

const readingsPage = z
  .strictObject({ from: time, to: time, readings: z.array(reading), next: nextCursor })
  .openapi('ReadingsPage')

const bucketsPage = z.strictObject({ ...pageMembers, buckets: z.array(bucket) }).openapi('BucketsPage')

export const readingsSchema = z.union([readingsPage, bucketsPage])

export const latestSchema = z.strictObject({ readings: z.array(reading) }).openapi('Latest')

const range = z.tuple([z.number().int().min(1), z.number().int().min(1)]).openapi({
  type: 'array',
  items: { type: 'integer' },
  description: 'First and last sequence number',
})

const sensorSummary = z
  .strictObject({
    sensor: id,
    model: id,
    quantities: z.array(quantityName),
    first: time,
    last: time,
    readings: count,
  })
  .openapi('Sensor')

const profile = z
  .strictObject({
    declared: time,
    licence: z.string().openapi({ description: 'Licence of the data: SPDX identifier or LicenseRef-...' }),
    pricePermille: count.openapi({ description: 'What the owner asks, in thousandths of the list price' }),
    name: z.string().optional(),
    cell: z.string().optional().openapi({ description: 'H3 cell: all that is told of the place' }),
    resolution: count.optional().openapi({ description: 'H3 resolution of the cell, 5 to 9' }),
    centre: z
      .strictObject({ latitude: z.number(), longitude: z.number() })
      .optional()
      .openapi({ description: 'Centre of the cell, degrees' }),
  })
  .openapi('Profile', { description: 'What the station’s owner says of it, signed by its key' })

export const stationMembers = {
  station: id,
  publicKey: hex32.openapi({ description: 'Ed25519 public key' }),
  registered: time,
  revoked: time.optional(),
  lastSeen: time
    .nullable()
    .openapi({ description: 'When its newest envelope came in; null before the first' }),
  envelopes: count.openapi({ description: 'Signed envelopes kept' }),
  gaps: count.openapi({ description: 'Runs of sequence numbers that have not arrived' }),
  missing: count.openapi({ description: 'Envelopes in these gaps' }),
  profile: profile.optional(),
  sample: z.string().openapi({ description: 'Some of its readings, for nothing' }),
  sensors: z.array(sensorSummary),
}

export const stationSchema = z
  .strictObject({
    ...stationMembers,
    gapRanges: z.array(range).openapi({ description: 'The newest gaps, at most 100' }),
  })
  .openapi('Station')

export const stationsSchema = z
  .strictObject({
    stations: z.array(z.strictObject(stationMembers).openapi('StationSummary')),
    next: id
      .nullable()
      .openapi({ description: 'Give it as "after" for the next page; null on the last one.' }),
  })
  .openapi('Stations')

const refusal = z.enum(Object.keys(refusals) as [Refusal, ...Refusal[]])

export const refusalsSchema = z
  .strictObject({
    refusals: z.array(
      z
        .strictObject({
          index: count,
          received: time,
          station: z.string(),
          seq: count.nullable(),
          reason: refusal,
          detail: z.string(),
          hash: hex32,
          bytes: base64.optional(),
        })
        .openapi('Refusal'),
    ),
    next: count
      .nullable()
      .openapi({ description: 'Give it as "before" for older ones; null when there are none.' }),
  })
  .openapi('Refusals')

const address = z.string().regex(/^0x[0-9a-fA-F]{40}$/)
const hash0x = z.string().regex(/^0x[0-9a-f]{64}$/)

const carrierMembers = {
  chainId: z.number().int(),
  contract: address,
  txHash: hash0x,
  blockNumber: count.nullable().openapi({ description: 'null until it is in a block' }),
  blockHash: hash0x.nullable(),
}

const batchMembers = {
  batch: z.number().int().min(1),
  status: z.enum(['queued', 'sent', 'mined', 'final']),
  size: z.number().int().min(1).openapi({ description: 'Envelopes in it' }),
  root: hex32.openapi({ description: 'Root over its envelopes (RFC 9162 s2.1)' }),
  first: time.openapi({ description: 'Time of its oldest reading' }),
  last: time.openapi({ description: 'Time of its newest reading' }),
  closed: time,
}

export const batchesSchema = z
  .strictObject({
    batches: z.array(
      z
        .strictObject({
          ...batchMembers,
          carrier: z
            .strictObject(carrierMembers)
            .nullable()
            .openapi({ description: 'Transaction with its root; null while queued' }),
        })
        .openapi('BatchSummary'),
    ),
    next: count
      .nullable()
      .openapi({ description: 'Give it as "before" for older ones; null when there are none.' }),
  })
  .openapi('Batches')

export const batchSchema = z
  .strictObject({
    ...batchMembers,
    network: id,
    previous: hex32.openapi({ description: 'SHA-256 of the statement before it; zero for batch 1' }),
    stations: z.array(
      z.strictObject({
        station: id,
        first: z.number().int().min(1),
        last: z.number().int().min(1),
        count: z.number().int().min(1),
      }),
    ),
    statement: base64.openapi({ description: 'The exact bytes that are anchored (CBOR), in base64' }),
    statementHash: hex32.openapi({ description: 'Their SHA-256' }),
    anchor: z
      .strictObject({
        ...carrierMembers,
        root: hex32.openapi({
          description: 'What the contract has: a root over the statements of some batches',
        }),
        firstBatch: z.number().int().min(1).openapi({ description: 'First of these batches' }),
        size: z.number().int().min(1).openapi({ description: 'How many they are' }),
        index: count.openapi({ description: 'Place of this one among them, from 0' }),
        proof: z.array(hex32).openapi({ description: 'Audit path from it to the root (RFC 9162 s2.1.3)' }),
      })
      .nullable(),
  })
  .openapi('Batch')

export const statusSchema = z
  .strictObject({
    name: z.literal('groundtruth'),
    version: z.string(),
    network: id,
    hubKey: hex32.openapi({ description: 'Ed25519 public key that signs receipts' }),
    time,
    started: time,
    uptimeS: count,
    parts: z.array(
      z.strictObject({
        name: z.string(),
        kind: z.string(),
        ok: z.boolean(),
        detail: z.string().optional(),
      }),
    ),
    counts: z.strictObject({
      stations: count,
      sensors: count.nullable(),
      readings: count.nullable(),
      envelopes: count,
      missing: count.openapi({ description: 'Envelopes whose successors came but not they' }),
      refused: z.partialRecord(refusal, count),
    }),
    newest: time.nullable().openapi({ description: 'Time of the newest reading in the store' }),
    store: z.strictObject({
      kind: z.string(),
      cursor: count.nullable().openapi({ description: 'Evidence written to the store, by journal index' }),
      behind: count.nullable().openapi({ description: 'Journal indices of evidence not in the store yet' }),
    }),
    anchor: z.strictObject({
      state: z.enum(['starting', 'working', 'idle', 'waiting', 'unreachable', 'stopped']),
      detail: z.string().nullable(),
      chain: z.string().nullable(),
      chainId: z.number().int().nullable(),
      contract: address.nullable(),
      address: address.nullable().openapi({ description: 'Account that pays for anchors' }),
      balanceWei: z.string().nullable().openapi({ description: 'What it has left, decimal' }),
      batches: z.strictObject({ queued: count, sent: count, mined: count, final: count }),
      pendingEnvelopes: count.openapi({ description: 'In no batch yet' }),
      nextBatch: time.nullable().openapi({ description: 'When these go into one at the latest' }),
    }),
  })
  .openapi('Status')

export const healthSchema = z
  .strictObject({
    status: z.enum(['ok', 'failing']),
    failing: z.array(z.strictObject({ name: z.string(), detail: z.string() })),
  })
  .openapi('Health')

export const indexSchema = z
  .strictObject({
    name: z.literal('groundtruth'),
    version: z.string(),
    network: id,
    docs: z.string(),
    openapi: z.string(),
    doors: z
      .record(z.string(), z.string())
      .openapi({ description: 'Where to begin, by name: addresses of this API' }),
  })
  .openapi('Index')

export const quantitiesSchema = z
  .strictObject({
    quantities: z.array(
      z
        .strictObject({
          name: quantityName,
          title: z.string(),
          unit: z.string().openapi({ description: 'For people; empty for plain numbers' }),
          senml: z.string().openapi({ description: 'Unit by the SenML registry (RFC 8428, RFC 8798)' }),
          decimals: count.openapi({ description: 'Values are exact to so many' }),
          min: z.number().openapi({ description: 'Least plausible value' }),
          max: z.number().openapi({ description: 'Greatest plausible value' }),
        })
        .openapi('Quantity'),
    ),
  })
  .openapi('Quantities')

export const problemHelpSchema = z
  .strictObject({ slug: z.enum(problemSlugs), status: z.number().int(), title: z.string(), help: z.string() })
  .openapi('ProblemHelp')
