/** Answers of an API that sells, as /openapi.json describes them. */
import { z } from '@hono/zod-openapi'

const time = z.iso.datetime({ precision: 3 }).openapi({ description: 'RFC 3339, UTC, milliseconds' })
const microUsd = z.number().int().openapi({ description: 'Millionths of a US dollar' })
const hash = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .openapi({ description: 'SHA-256 in lower-case hex' })
const saleId = z.string().regex(/^[0-9a-f]{32}$/)
const mostMicroUsd = 2 ** 53 - 1

const scope = z.enum(['read', 'account']).openapi({
  description: 'read: ask for data. account: see and change the account and its keys.',
})

/** What a new key is asked for with; all of it has a default. */
export const newKeySchema = z
  .strictObject({
    label: z.string().max(100).default('').openapi({ description: 'For the list of keys' }),
    scopes: z.array(scope).min(1).max(2).default(['read', 'account']),
    budgetMicroUsd: z.int().min(0).max(mostMicroUsd).nullable().default(null).openapi({
      description: 'What may be spent with this key in all; null for no limit but the credit',
    }),
    alarmPercent: z.int().min(1).max(100).nullable().default(null).openapi({
      description: 'From this part of the budget on, answers carry the header Budget-Alarm',
    }),
    expires: z.iso.datetime({ offset: true }).nullable().default(null),
  })
  .openapi('NewKey')

const key = z.strictObject({
  id: z.string(),
  label: z.string(),
  scopes: z.array(z.string()),
  budgetMicroUsd: microUsd.nullable(),
  spentMicroUsd: microUsd,
  alarmPercent: z.number().int().nullable(),
  created: time,
  expires: time.nullable(),
  revoked: time.nullable(),
})

export const keySchema = key
  .extend({ key: z.string().openapi({ description: 'The key, shown in this answer only' }) })
  .openapi('Key')

export const keysSchema = z.strictObject({ keys: z.array(key) }).openapi('Keys')

export const budgetSchema = key
  .omit({ created: true, revoked: true })
  .extend({
    creditMicroUsd: microUsd,
    leftMicroUsd: microUsd.openapi({ description: 'The smaller of credit and what is left of the budget' }),
    leftUsd: z.string(),
  })
  .openapi('Budget')

export const accountSchema = z
  .strictObject({
    account: z.string(),
    creditMicroUsd: microUsd,
    creditUsd: z.string(),
    stations: z.array(z.string()).openapi({ description: 'Stations whose readings are free for it' }),
  })
  .openapi('Account')

export const statementSchema = z
  .strictObject({
    entries: z.array(
      z.strictObject({
        entry: z.number().int(),
        time,
        kind: z.string(),
        amountMicroUsd: microUsd,
        memo: z.string(),
        receipt: saleId.optional(),
      }),
    ),
    next: z.number().int().nullable().openapi({ description: 'Give it as "before" for the next page' }),
  })
  .openapi('Statement')

export const quoteSchema = z
  .strictObject({
    rows: z.number().int(),
    values: z.number().int(),
    priceMicroUsd: microUsd,
    priceUsd: z.string(),
    isForExport: z.boolean().openapi({
      description:
        'true: these are more rows than a query gives. The price is the most that POST /v1/exports asks, "values" are at most and "rows" at least so many.',
    }),
    offer: z
      .string()
      .openapi({ description: 'Send it back in the header Offer: no more than this is asked' }),
    offerExpires: time,
  })
  .openapi('Quote')

// What a card service takes at least, and as much as one payment should be.
const [leastUsd, mostUsd] = [1, 10_000]

export const newCheckoutSchema = z
  .strictObject({
    amountUsd: z
      .number()
      .min(leastUsd)
      .max(mostUsd)
      .refine((amount) => Math.abs(amount * 100 - Math.round(amount * 100)) < 1e-6, 'takes whole cents')
      .openapi({ description: 'US dollars, in whole cents' }),
  })
  .openapi('NewCheckout')

export const checkoutSchema = z.strictObject({ id: z.string(), url: z.string() }).openapi('Checkout')

export const bookedSchema = z
  .strictObject({ done: z.enum(['credited', 'taken-back', 'given-again', 'already', 'ignored']) })
  .openapi('Booked')

const sale = z.strictObject({
  id: saleId,
  time,
  priceMicroUsd: microUsd,
  rows: z.number().int(),
  state: z.enum(['open', 'partial', 'delivered', 'refunded']),
  query: hash,
  slaCreditMicroUsd: microUsd.openapi({
    description: 'Of the price, credited with the sale because less came than is promised',
  }),
})

export const receiptSchema = sale
  .extend({
    jws: z.string().openapi({ description: 'The receipt as JWS (RFC 7515), signed by the hub' }),
    cose: z.base64().openapi({ description: 'The same as COSE_Sign1 (RFC 9052), base64' }),
  })
  .openapi('SalesReceipt')

export const receiptsSchema = z
  .strictObject({ receipts: z.array(sale), next: z.number().int().nullable() })
  .openapi('SalesReceipts')

const slaPeriod = z.strictObject({
  period: z.enum(['1h', '24h', '30d']),
  measured: z.number().int(),
  met: z.number().int(),
  share: z
    .number()
    .nullable()
    .openapi({ description: 'Met of measured, 0 to 1; null where none was measured' }),
  creditedMicroUsd: microUsd,
  creditedUsd: z.string(),
})

export const slaSchema = z
  .strictObject({
    time,
    mostCredit: z.number().openapi({ description: 'Part of a price (0 to 1) that is credited at most' }),
    latest: z.strictObject({
      maxAgeS: z.number().openapi({
        description: 'No newest reading that is paid for is older; what an older one cost is credited',
      }),
      periods: z.array(slaPeriod),
    }),
    readings: z.strictObject({
      completeness: z.number().openapi({
        description:
          'Part (0 to 1) of the expected readings that is there; of what is missing to it, the same part of the price is credited',
      }),
      periods: z.array(slaPeriod),
    }),
  })
  .openapi('ServiceLevel')

/** What a top-up is asked for with. */
export const topUpSchema = z
  .strictObject({
    amountMicroUsd: z
      .int()
      .min(10_000)
      .max(100_000_000)
      .openapi({ description: 'From one cent to 100 dollars' }),
    lifeS: z.int().min(60).max(2_592_000).default(86_400).openapi({
      description: 'How long the key counts, in seconds: a day, up to 30 days',
    }),
  })
  .openapi('TopUp')

export const sessionKeySchema = z
  .strictObject({
    id: z.string(),
    key: z.string().openapi({ description: 'The key, shown in this answer only' }),
    account: z.string(),
    budgetMicroUsd: microUsd,
    creditMicroUsd: microUsd,
    expires: time,
  })
  .openapi('SessionKey')
