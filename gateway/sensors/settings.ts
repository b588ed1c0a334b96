/** Checks what an owner wrote about a device, and says what is wrong in one sentence. */
import type { z } from 'zod'
import type { Settings } from './sensors.ts'

/**
 * A setting that a driver cannot use: its path inside the settings, and what was expected there in words; `expected`
 * is undefined where there is no such setting. `schema` is what all of the driver's settings must be.
 */
export class SettingError extends Error {
  override name = 'SettingError'
  readonly path: readonly PropertyKey[]
  readonly expected: string | undefined
  readonly schema: z.ZodType
  constructor(
    message: string,
    path: readonly PropertyKey[],
    expected: string | undefined,
    schema: z.ZodType,
  ) {
    super(message)
    this.path = path
    this.expected = expected
    this.schema = schema
  }
}

// Radio keys and passwords stand among settings; an error may be logged.
const secretName = /password|passphrase|secret|token|pin$|key$/i

const shown = (value: unknown, path: readonly PropertyKey[]): string => {
  if (value === undefined) return 'nothing'
  if (secretName.test(String(path.at(-1)))) return 'something that is not shown'
  const hidden = (name: string, inner: unknown): unknown => (secretName.test(name) ? '(not shown)' : inner)
  const text = typeof value === 'function' ? 'a function' : (JSON.stringify(value, hidden) ?? String(value))
  return text.length > 80 ? `${text.slice(0, 80)}...` : text
}

const at = (settings: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    settings,
  )

/** The settings as `schema` reads them. Throws an Error naming the setting, what was expected and what came. */
export const checked = <Schema extends z.ZodType>(
  model: string,
  schema: Schema,
  settings: Settings,
): z.output<Schema> => {
  const result = schema.safeParse(settings)
  if (result.success) return result.data
  // A misspelt name explains why the right one is missing.
  const { issues } = result.error
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!
  if (issue.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys
    throw new SettingError(
      `${model}: there is no setting "${key}"; remove it or check its spelling.`,
      [...issue.path, key],
      undefined,
      schema,
    )
  }
  const name = issue.path.map(String).join('.')
  throw new SettingError(
    `${model}: setting "${name}": ${issue.message}; got ${shown(at(settings, issue.path), issue.path)}.`,
    issue.path,
    issue.message,
    schema,
  )
}
