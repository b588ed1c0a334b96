/** Configuration: the only reader of the configuration file and the environment; answers a checked, frozen value. */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { isMap, isScalar, isSeq, LineCounter, parseDocument, parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { idPattern } from './reading/reading.ts'

/** Bad configuration, one line per mistake as `file:line:column path: what is wrong`. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

const id = z.string().regex(idPattern, 'letters, digits, _ and -, at most 64')
const port = z.int().min(0).max(65_535)
const host = z.string().min(1).max(255)
const hexKey = z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits')

const sensor = z.strictObject({
  id: id.describe('Name of the sensor, unique on this station.'),
  model: id.describe('Driver: `groundtruth sensors` lists them.'),
  link: z.string().min(1).max(300).describe('Serial port (better /dev/serial/by-id/...) or tcp://host:port.'),
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
        .default(10)
        .describe(
          'Seconds between notes on disk of how far receipts reach; what came since is sent again after a crash.',
        ),
      backlogPerS: z
        .number()
        .min(0.1)
        .max(10_000)
        .default(50)
        .describe('Envelopes a second after an outage.'),
    })
    .prefault({}),
  sensors: z.array(sensor).max(256).default([]).describe('What hangs on this station.'),
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
      contract: z
        .string()
        .regex(/^0x[0-9a-fA-F]{40}$/)
        .optional()
        .describe('Anchor contract; without it one is deployed by the key.'),
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

export type Config = z.output<typeof configSchema> & { readonly data: string }
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

const schemaKeys = (schema: z.ZodType): Record<string, z.ZodType> => {
  const inner = schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault ? schema.unwrap() : schema
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

/** Where in the file a path stands, as `line:column`; of its nearest parent where it is missing. */
const placeOf = (source: string, path: readonly PropertyKey[]): string => {
  const counter = new LineCounter()
  const document = parseDocument(source, { lineCounter: counter })
  let offset = 0
  let node: unknown = document.contents
  for (const key of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === key)
      if (!pair) break
      offset = (isScalar(pair.key) ? pair.key.range?.[0] : undefined) ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(key)]
      const range = (node as { range?: [number, number, number] } | undefined)?.range
      offset = range?.[0] ?? offset
    } else break
  }
  const { line, col } = counter.linePos(offset)
  return `${line}:${col}`
}

export type ConfigSources = {
  /** Path of the YAML file; without it only defaults, environment and overrides count. */
  readonly file?: string | undefined
  readonly env: NodeJS.ProcessEnv
  /** From the command line: path and value; undefined values are left out. */
  readonly overrides?: readonly (readonly [path: readonly string[], value: unknown])[]
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
  let source = ''
  let tree: Tree = {}
  if (file !== undefined) {
    try {
      source = readFileSync(file, 'utf8')
    } catch (error) {
      throw new ConfigError(`cannot read the configuration ${file}: ${(error as Error).message}`)
    }
    const document = parseDocument(source)
    if (document.errors.length > 0)
      throw new ConfigError(document.errors.map((error) => `${file}: ${error.message}`).join('\n'))
    const value: unknown = document.toJS()
    if (value !== null && (typeof value !== 'object' || Array.isArray(value)))
      throw new ConfigError(`${file}:1:1 expected keys and values`)
    tree = (value ?? {}) as Tree
  }
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith(envPrefix) || text === undefined) continue
    const path = envPath(name.slice(envPrefix.length))
    if (path === undefined) throw new ConfigError(`the environment variable ${name} names no setting`)
    setPath(tree, path, parseYaml(text))
  }
  for (const [path, value] of overrides) if (value !== undefined) setPath(tree, path, value)
  const parsed = configSchema.safeParse(tree)
  if (!parsed.success)
    throw new ConfigError(
      parsed.error.issues
        .map(({ path, message }) => {
          const where = file === undefined ? 'configuration' : `${file}:${placeOf(source, path)}`
          return `${where} ${path.join('.') || '(top)'}: ${message}`
        })
        .join('\n'),
    )
  return freeze({ ...parsed.data, data: resolve(parsed.data.data ?? defaultData(env)) })
}

/** The password in a file, without its line end; the file's name, never its content, is in errors. */
export const readSecret = (path: string): string => {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw new ConfigError(`cannot read the secret in ${path}: ${(error as NodeJS.ErrnoException).code}`)
  }
}

/** systemd's directory of credentials, where it gave one. */
export const credentialsDirectory = (env: NodeJS.ProcessEnv): string | undefined => env.CREDENTIALS_DIRECTORY
