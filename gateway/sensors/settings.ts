/** Checks what an owner wrote about a device, and says what is wrong in one sentence. */
import type { z } from 'zod'
import type { Settings } from './sensors.ts'

const shown = (value: unknown): string => {
  if (value === undefined) return 'nothing'
  const text = typeof value === 'function' ? 'a function' : (JSON.stringify(value) ?? String(value))
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
  const issue = result.error.issues[0]!
  if (issue.code === 'unrecognized_keys')
    throw new Error(`${model}: there is no setting "${issue.keys[0]}"; remove it or check its spelling.`)
  const name = issue.path.map(String).join('.')
  throw new Error(`${model}: setting "${name}": ${issue.message}; got ${shown(at(settings, issue.path))}.`)
}
