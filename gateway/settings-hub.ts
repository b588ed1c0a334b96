/** What can be set of a hub: names, forms, defaults, and what each is for. */
import { z } from 'zod'
import { address, hexKey, host, id, microUsd, port } from './setting-forms.ts'

const perMinute = z.int().min(1).max(1_000_000)

const stripeNeeds = ['secretKeyFile', 'webhookSecretFile', 'successUrl', 'cancelUrl'] as const

const stripe = z
  .strictObject({
    secretKeyFile: z
      .string()
      .optional()
      .describe('File (0600) with the secret key of a Stripe account; with it, credit is sold by card.'),
    webhookSecretFile: z
      .string()
      .optional()
      .describe('File (0600) with the signing secret of the webhook at /v1/webhooks/stripe.'),
    successUrl: z.url().optional().describe('Where a buyer is sent who has paid.'),
    cancelUrl: z.url().optional().describe('Where a buyer is sent who has not.'),
    apiUrl: z.url().default('https://api.stripe.com').describe('Address of Stripe’s API.'),
  })
  .superRefine((settings, context) => {
    if (stripeNeeds.every((name) => settings[name] === undefined)) return
    for (const name of stripeNeeds)
      if (settings[name] === undefined)
        context.addIssue({
          code: 'custom',
          path: [name],
          message: `a value, as ${stripeNeeds.join(', ')} belong together`,
          params: { got: 'nothing' },
          input: settings,
        })
  })

/** Settings of a hub. */
export const hub = z.strictObject({
  key: z.string().optional().describe('Hub key: file:/path or credential:name. Created on first use.'),
  registration: z
    .enum(['open', 'list'])
    .default('open')
    .describe('open: any station with a sound key; list: those under `stations` only.'),
  maxStations: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe('With open registration: stations let in, at most.'),
  stations: z.array(hexKey).max(100_000).default([]).describe('Public keys of stations registered by hand.'),
  revoked: z
    .array(hexKey)
    .max(100_000)
    .default([])
    .describe('Public keys that are refused from now on; this cannot be taken back.'),
  broker: z
    .strictObject({
      url: z.string().optional().describe('External broker; without it the hub runs its own.'),
      username: z.string().optional().describe('The hub’s login at an external broker.'),
      passwordFile: z.string().optional().describe('File with its password.'),
      caFile: z.string().optional().describe('PEM of a private certificate authority.'),
      host: host.default('127.0.0.1').describe('Address the embedded broker listens on.'),
      port: port.default(1883).describe('Its port; 0 picks a free one.'),
      anonymousReaders: z
        .boolean()
        .optional()
        .describe('Whether decoded readings can be read without a name; default: unless data is sold.'),
    })
    .prefault({}),
  http: z
    .strictObject({
      host: host.default('127.0.0.1').describe('Address of the query API.'),
      port: port.default(8080).describe('Its port; 0 picks a free one.'),
      publicUrl: z
        .url({ protocol: /^https?$/ })
        .transform((url) => url.replace(/\/+$/, ''))
        .optional()
        .describe('Where buyers reach it, if that is not the address they connect to.'),
      perMinuteAddress: perMinute
        .default(600)
        .describe('Requests a minute that an address has without a key, at most.'),
      perMinuteKey: perMinute.default(3000).describe('Requests a minute that a key has, at most.'),
      signUpsPerHour: perMinute.default(20).describe('Accounts that an address opens in an hour, at most.'),
      trustProxy: z
        .boolean()
        .default(false)
        .describe(
          'Whether the last hop in X-Forwarded-For counts as the address: only behind a proxy that sets it.',
        ),
    })
    .prefault({}),
  exports: z
    .strictObject({
      maxRows: z.int().min(1000).max(100_000_000).default(5_000_000).describe('Rows of one export, at most.'),
      maxMegabytes: z
        .int()
        .min(1)
        .max(10_000_000)
        .default(2_000)
        .describe('Room on disk for the files of all exports together, in MB (10^6 bytes).'),
      keepDays: z.int().min(1).max(366).default(7).describe('Days that the file of an export is kept.'),
    })
    .prefault({}),
  market: z
    .strictObject({
      sell: z
        .boolean()
        .default(false)
        .describe('Whether data has a price; false gives everything to everybody.'),
      baseMicroUsd: microUsd
        .default(100)
        .describe('Price of a query that delivers anything, in millionths of a US dollar.'),
      valueMicroUsd: microUsd
        .default(10)
        .describe('Price of one fresh value of the best quality, in millionths of a US dollar.'),
      ownerPermille: z
        .int()
        .min(0)
        .max(1000)
        .default(850)
        .describe('Thousandths of the price of a value that its station’s owner earns.'),
      starterMicroUsd: microUsd
        .default(0)
        .describe('Credit that a new account begins with, in millionths of a US dollar.'),
      sla: z
        .strictObject({
          latestMaxAgeS: z
            .int()
            .min(1)
            .max(86_400)
            .default(900)
            .describe('Promise: seconds that the newest reading of a sensor is old at most.'),
          completenessPermille: z
            .int()
            .min(0)
            .max(1000)
            .default(900)
            .describe('Promise: of a thousand expected readings so many are there; 0 for none.'),
          mostCreditPermille: z
            .int()
            .min(0)
            .max(1000)
            .default(1000)
            .describe('Thousandths of a price that are credited at most where a promise is not kept.'),
        })
        .prefault({}),
      x402: z
        .strictObject({
          enabled: z
            .boolean()
            .default(false)
            .describe('Whether a request can be paid on the spot, by x402; selling must be on.'),
          asset: address
            .optional()
            .describe(
              'Dollar token with EIP-3009 and 6 decimals; without it a test token on the embedded chain.',
            ),
          name: z.string().min(1).max(64).optional().describe('Name in the token’s EIP-712 domain.'),
          version: z.string().min(1).max(16).optional().describe('Version in the token’s EIP-712 domain.'),
          chainId: z
            .int()
            .min(1)
            .max(Number.MAX_SAFE_INTEGER)
            .optional()
            .describe('Chain that the token is on; needed with `asset`.'),
          payTo: address.optional().describe('Who is paid; without it the account of the key.'),
          keyFile: z
            .string()
            .optional()
            .describe('File (0600) with the secp256k1 key that settles payments; used for nothing else.'),
          rpcUrl: z
            .string()
            .optional()
            .describe('JSON-RPC of the chain payments are on; without it that of `hub.chain`.'),
        })
        .prefault({}),
      stripe: stripe.prefault({}),
      webhooks: z
        .strictObject({
          privateAddresses: z
            .boolean()
            .default(false)
            .describe(
              'Whether webhooks may go to private addresses and by plain http: in a network of one’s own.',
            ),
          caFile: z
            .string()
            .optional()
            .describe('PEM of a private certificate authority that webhooks are checked with instead.'),
        })
        .prefault({}),
    })
    .prefault({}),
  store: z
    .strictObject({
      influxUrl: z
        .string()
        .optional()
        .describe('InfluxDB 1.x, as http://host:8086; without it an embedded store.'),
      database: id.default('groundtruth').describe('Database in InfluxDB; created when it is not there.'),
      username: z.string().optional().describe('Login at InfluxDB.'),
      passwordFile: z.string().optional().describe('File with its password.'),
    })
    .prefault({}),
  chain: z
    .strictObject({
      rpcUrl: z.string().optional().describe('JSON-RPC of an EVM chain; without it an embedded chain.'),
      host: host.default('127.0.0.1').describe('Address of the embedded chain’s JSON-RPC.'),
      port: port.default(8545).describe('Its port; 0 picks a free one.'),
      keyFile: z
        .string()
        .optional()
        .describe('File (0600) with the secp256k1 key that pays for anchors, 64 hex digits.'),
      contract: address.optional().describe('Anchor contract; without it one is deployed by the key.'),
      confirmations: z
        .int()
        .min(1)
        .max(10_000)
        .default(12)
        .describe('Blocks until final, where a chain has no finality tag.'),
      maxFeeGwei: z.number().min(0.001).max(100_000).default(100).describe('Above this fee nothing is sent.'),
    })
    .prefault({}),
  anchor: z
    .strictObject({
      maxAgeS: z.number().min(1).max(86_400).default(300).describe('Seconds until a batch is closed.'),
      maxLeaves: z.int().min(1).max(65_536).default(4096).describe('Envelopes in a batch, at most.'),
      firstAgeS: z
        .number()
        .min(0.1)
        .max(86_400)
        .default(10)
        .describe('The same for the first batch of a chain.'),
    })
    .prefault({}),
})
