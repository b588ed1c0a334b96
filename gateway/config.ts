/** Configuration: the only reader of the configuration file and the environment; answers a checked, frozen value. */
import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseDocument, parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { ConfigError, schemaMistakes, type Told, teller, yamlMistakes } from './mistakes.ts'
import { cellResolutions, isLicence, isStationName, maxPricePermille } from './reading/profile.ts'
import { idPattern } from './reading/reading.ts'

export { ConfigError } from './mistakes.ts'

const id = z.string().regex(idPattern, 'letters, digits, _ and -, at most 64')
const port = z.int().min(0).max(65_535)
const host = z.string().min(1).max(255)
const hexKey = z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits')

const address = z.string().regex(/^0x[0-9a-fA-F]{40}$/, '0x and 40 hex digits')

// A billion dollars are enough for one price.
const microUsd = z.int().min(0).max(1_000_000_000_000_000)

const sensor = z.strictObject({
  id: id.describe('Name of the sensor, unique on this station.'),
  model: id.describe('Driver: `groundtruth sensors` lists them.'),
  link: z
    .string()
    .min(1)
    .max(300)
    .describe('Serial port (better /dev/serial/by-id/... or usb:VID:PID) or tcp://host:port.'),
  enabled: z.boolean().default(true).describe('Whether it is read; false leaves it alone.'),
  baudRate: z
    .int()
    .min(300)
    .max(4_000_000)
    .optional()
    .describe('Bits per second; the driver knows the usual one.'),
  settings: z
    .record(z.string(), z.unknown())
    .default({})
    .describe('What the driver wants to know, by driver.'),
})

/** Sensors that cannot be told apart, or that want the same wire; those that are not read do no harm. */
const ownIdsAndLinks = (
  sensors: readonly z.output<typeof sensor>[],
  context: z.core.$RefinementCtx<readonly z.output<typeof sensor>[]>,
): void => {
  for (const key of ['id', 'link'] as const) {
    const first = new Map<string, number>()
    for (const [at, one] of sensors.entries()) {
      if (!one.enabled) continue
      const before = first.get(one[key])
      if (before === undefined) first.set(one[key], at)
      else
        context.addIssue({
          code: 'custom',
          path: [at, key],
          message: key === 'id' ? 'an id that no other sensor has' : 'a link that no other sensor uses',
          params: { got: `${JSON.stringify(one[key])} as edge.sensors.${before}.${key}` },
          input: one[key],
        })
    }
  }
}

const edge = z.strictObject({
  key: z.string().optional().describe('Station key: file:/path or credential:name. Created on first use.'),
  broker: z
    .strictObject({
      url: z
        .string()
        .default('mqtt://127.0.0.1:1883')
        .describe('mqtt://, mqtts://, ws:// or wss:// of the broker.'),
      caFile: z.string().optional().describe('PEM of a private certificate authority.'),
      retryS: z
        .number()
        .min(0.1)
        .max(3600)
        .default(30)
        .describe('Longest pause between attempts to connect, in seconds.'),
      username: z.string().optional().describe('For brokers with a password file; default: the station id.'),
      passwordFile: z
        .string()
        .optional()
        .describe('File with that password; default: a token signed by the key.'),
    })
    .prefault({}),
  profile: z
    .strictObject({
      licence: z
        .string()
        .refine(isLicence, 'an SPDX identifier such as CC-BY-4.0, or LicenseRef-...')
        .describe('Licence of the data: an SPDX identifier such as CC-BY-4.0.'),
      name: z
        .string()
        .refine(isStationName, '1 to 64 letters, digits and spaces')
        .optional()
        .describe('Name of the station for people.'),
      priceFactor: z
        .number()
        .min(0)
        .max(maxPricePermille / 1000)
        .default(1)
        .describe('What is asked, as a multiple of the hub’s price.'),
      latitude: z.number().min(-90).max(90).optional().describe('Degrees; stays on the station.'),
      longitude: z.number().min(-180).max(180).optional().describe('Degrees; stays on the station.'),
      resolution: z
        .int()
        .min(cellResolutions.coarsest)
        .max(cellResolutions.finest)
        .default(7)
        .describe('H3 resolution at which the place is published: 5 (some 250 km2) to 9 (0.1 km2).'),
    })
    .refine(({ latitude, longitude }) => (latitude === undefined) === (longitude === undefined), {
      message: 'both latitude and longitude, or neither',
    })
    .optional()
    .describe('What the station says of itself, signed; without it nothing.'),
  hubKey: hexKey
    .optional()
    .describe('Public key of the hub. Without it the first one heard is trusted and kept.'),
  envelope: z
    .strictObject({
      maxReadings: z.int().min(1).max(1000).default(50).describe('Readings signed together, at most.'),
      maxAgeS: z
        .number()
        .min(0.1)
        .max(3600)
        .default(5)
        .describe('Seconds a reading waits to be signed, at most.'),
    })
    .prefault({}),
  outbox: z
    .strictObject({
      maxInFlight: z
        .int()
        .min(1)
        .max(1000)
        .default(64)
        .describe('Envelopes sent without a receipt, at most.'),
      receiptTimeoutS: z.number().min(1).max(600).default(20).describe('Seconds until one is sent again.'),
      cursorS: z
        .number()
        .min(0)
        .max(3600)
        .default(300)
        .describe(
          'Seconds between notes on disk of how far receipts reach; what came since is sent again after a crash.',
        ),
      backlogPerS: z
        .number()
        .min(0.1)
        .max(10_000)
        .default(50)
        .describe('Envelopes a second after an outage.'),
      maxMiB: z
        .int()
        .min(16)
        .max(1_048_576)
        .default(96)
        .describe(
          'Disk for envelopes that wait for a receipt, at most, in MiB; 7 days at one reading a second take 36.',
        ),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      host: host.default('127.0.0.1').describe('Address of health checks and metrics.'),
      port: port.optional().describe('Their port; without it nothing listens. 0 picks a free one.'),
    })
    .prefault({}),
  sensors: z
    .array(sensor)
    .max(256)
    .superRefine(ownIdsAndLinks)
    .default([])
    .describe('What hangs on this station.'),
})

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

const hub = z.strictObject({
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
        .default(true)
        .describe('Whether decoded readings can be read without a name.'),
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

/** The whole configuration; every key has a default, unknown keys are mistakes. */
export const configSchema = z.strictObject({
  network: id
    .default('groundtruth-dev')
    .describe('Signed into everything: nothing of one network counts in another.'),
  data: z.string().optional().describe('Directory of all state; default: the user’s state folder.'),
  edge: edge.prefault({}),
  hub: hub.prefault({}),
})

export type Config = z.output<typeof configSchema> & {
  readonly data: string
  /** Tells a mistake that is found in a value later, with its place in the file. */
  readonly told: Told
}
export type EdgeConfig = Config['edge']
export type HubConfig = Config['hub']

/** Where state lives unless told: XDG_STATE_HOME, or ~/.local/state. */
export const defaultData = (env: NodeJS.ProcessEnv): string =>
  join(env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'groundtruth')

type Tree = { [key: string]: unknown }

const setPath = (tree: Tree, path: readonly string[], value: unknown): void => {
  const [key, ...rest] = path as [string, ...string[]]
  if (rest.length === 0) tree[key] = value
  else {
    if (typeof tree[key] !== 'object' || tree[key] === null) tree[key] = {}
    setPath(tree[key] as Tree, rest, value)
  }
}

const unwrapped = (schema: z.ZodType): z.ZodType =>
  schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault ? (schema.unwrap() as z.ZodType) : schema

const schemaKeys = (schema: z.ZodType | undefined): Record<string, z.ZodType> => {
  const inner = schema && unwrapped(schema)
  return inner instanceof z.ZodObject ? (inner.shape as Record<string, z.ZodType>) : {}
}

/** The path that `HUB__HTTP__PORT` means; keys are matched without regard to case. */
const envPath = (name: string): string[] | undefined => {
  const path: string[] = []
  let schema: z.ZodType = configSchema
  for (const part of name.split('__')) {
    const key = Object.keys(schemaKeys(schema)).find((one) => one.toLowerCase() === part.toLowerCase())
    if (key === undefined) return undefined
    path.push(key)
    schema = schemaKeys(schema)[key]!
  }
  return path
}

const envPrefix = 'GROUNDTRUTH_'

// A buyer's API key, which "groundtruth buy" reads; it is no setting.
const keyVariable = `${envPrefix}KEY`

/** The API key of a buyer, where the environment has one. */
export const apiKeyIn = (env: NodeJS.ProcessEnv): string | undefined => env[keyVariable]?.trim() || undefined

/** The settings that there are at a path. */
const settingsAt = (path: readonly PropertyKey[]): string[] => {
  let schema: z.ZodType | undefined = configSchema
  for (const key of path) {
    const inner: z.ZodType | undefined = schema && unwrapped(schema)
    schema = inner instanceof z.ZodArray ? (inner.element as z.ZodType) : schemaKeys(inner)[String(key)]
  }
  return Object.keys(schemaKeys(schema))
}

export type ConfigSources = {
  /** Path of the YAML file; without it only defaults, environment and overrides count. */
  readonly file?: string | undefined
  readonly env: NodeJS.ProcessEnv
  /** From the command line: path, value and the option's name for mistakes; undefined values are left out. */
  readonly overrides?: readonly (readonly [path: readonly string[], value: unknown, option?: string])[]
}

/** Mistakes in a YAML file come all at once; what it holds otherwise. */
const readTree = (file: string): { readonly text: string; readonly tree: Tree } => {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigError(
      `cannot read the configuration ${file}: ${(error as NodeJS.ErrnoException).code}\n` +
        'Check the path after --config; "groundtruth init" writes one.',
    )
  }
  const mistakes = yamlMistakes(file, text)
  if (mistakes.length > 0) throw new ConfigError(mistakes.join('\n'))
  let value: unknown
  try {
    value = parseDocument(text).toJS()
  } catch (error) {
    // Aliases that stand for themselves a thousand times over.
    throw new ConfigError(`${file}:1:1 (YAML): expected plain settings, got ${(error as Error).message}`)
  }
  if (value !== null && (typeof value !== 'object' || Array.isArray(value)))
    throw new ConfigError(
      `${file}:1:1 (top): expected settings by name, got ${Array.isArray(value) ? 'a list' : JSON.stringify(value)}`,
    )
  return { text, tree: (value ?? {}) as Tree }
}

const freeze = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) freeze(inner)
  return Object.freeze(value)
}

/**
 * Reads file, environment (`GROUNDTRUTH_HUB__HTTP__PORT=0`) and command line, the later ones winning. Throws
 * ConfigError with all mistakes at once.
 */
export const loadConfig = ({ file, env, overrides = [] }: ConfigSources): Config => {
  const { text, tree } = file === undefined ? { text: '', tree: {} } : readTree(file)
  const origins = new Map<string, string>()
  const mistakes: string[] = []
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(envPrefix) || name === keyVariable || value === undefined) continue
    const path = envPath(name.slice(envPrefix.length))
    if (path === undefined) {
      mistakes.push(
        `${name} (environment): expected a setting's path such as ${envPrefix}HUB__HTTP__PORT, got a name that is none`,
      )
      continue
    }
    origins.set(path.join('.'), name)
    try {
      setPath(tree, path, parseYaml(value))
    } catch {
      mistakes.push(`${name} ${path.join('.')}: expected a value that YAML can read, got one that it cannot`)
    }
  }
  for (const [path, value, option] of overrides) {
    if (value === undefined) continue
    setPath(tree, path, value)
    origins.set(path.join('.'), option ?? 'command line')
  }
  const told = teller({ file, text, origins })
  const parsed = configSchema.safeParse(tree)
  if (!parsed.success) mistakes.push(...schemaMistakes(parsed.error.issues, tree, told, settingsAt))
  if (mistakes.length > 0 || !parsed.success) throw new ConfigError(mistakes.join('\n'))
  return freeze({ ...parsed.data, data: resolve(parsed.data.data ?? defaultData(env)), told })
}

// What a system manager has put there for this service alone, whatever its mode says.
const managedSecrets = /^\/run\/(credentials|secrets)\//

/**
 * The password in a file, without its line end. A file that others may read is refused; its name, never its content,
 * is in errors.
 */
export const readSecret = (path: string): string => {
  try {
    const { mode } = statSync(path)
    if ((mode & 0o077) !== 0 && !managedSecrets.test(path))
      throw new ConfigError(
        `the secret in ${path} can be read by others (mode ${(mode & 0o777).toString(8)}).\nRun: chmod 600 ${path}`,
      )
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new ConfigError(`cannot read the secret in ${path}: ${(error as NodeJS.ErrnoException).code}`)
  }
}

/** systemd's directory of credentials, where it gave one. */
export const credentialsDirectory = (env: NodeJS.ProcessEnv): string | undefined => env.CREDENTIALS_DIRECTORY
