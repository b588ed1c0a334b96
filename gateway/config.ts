/** Configuration: the only reader of the configuration file and the environment; answers a checked, frozen value. */
import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseDocument, parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { ConfigError, schemaMistakes, type Told, teller, yamlMistakes } from './mistakes.ts'
import { id } from './setting-forms.ts'
import { edge } from './settings-edge.ts'
import { hub } from './settings-hub.ts'

export { ConfigError } from './mistakes.ts'

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
