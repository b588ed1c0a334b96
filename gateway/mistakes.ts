/** How a mistake in the configuration is told: `file:line:column path: expected ..., got ...`. */
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'

/** Bad configuration, one line per mistake: where it stands, which setting, what was expected and what came. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** What the configuration was read from, for the place of a mistake. */
export type Sources = {
  readonly file?: string | undefined
  readonly text: string
  /** By dotted path: the environment variable or option that set it, which wins over the file. */
  readonly origins: ReadonlyMap<string, string>
}

/** A mistake as a line: the path of the setting, what was expected, what came; told of its value or of its name. */
export type Told = (
  path: readonly PropertyKey[],
  expected: string,
  got: string,
  of?: 'value' | 'name',
) => string

// Nobody's password belongs into a log, and drivers have passwords and radio keys among their settings.
const secretName = /password|passphrase|secret|token|pin$|key$/i
const longestShown = 80

/** A value as it is shown in a mistake: JSON, cut short; what may be a secret is not shown. */
export const shown = (value: unknown, path: readonly PropertyKey[] = []): string => {
  if (value === undefined) return 'nothing'
  if (path.includes('settings') && secretName.test(String(path.at(-1)))) return 'something that is not shown'
  const hidden = (name: string, inner: unknown): unknown => (secretName.test(name) ? '(not shown)' : inner)
  const text = JSON.stringify(value, hidden) ?? String(value)
  return text.length > longestShown ? `${text.slice(0, longestShown)}...` : text
}

/** The value at a path of a tree; undefined where there is none. */
export const valueAt = (tree: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    tree,
  )

const rangeStart = (node: unknown): number | undefined =>
  (node as { range?: readonly [number, number, number] | null } | null | undefined)?.range?.[0]

/** Where in a YAML text a path stands, as `line:column`: its value or its name, or the nearest parent that is there. */
export const placeOf = (
  text: string,
  path: readonly PropertyKey[],
  of: 'value' | 'name' = 'value',
): string => {
  const counter = new LineCounter()
  let node: unknown = parseDocument(text, { lineCounter: counter }).contents
  let offset = rangeStart(node) ?? 0
  for (const [depth, key] of path.entries()) {
    const isLast = depth === path.length - 1
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key))
      if (!pair) break
      offset = rangeStart(pair.key) ?? offset
      node = pair.value
      if (isLast && of === 'value' && isScalar(node) && node.value !== null)
        offset = rangeStart(node) ?? offset
    } else if (isSeq(node)) {
      node = node.items[Number(key)]
      offset = rangeStart(node) ?? offset
    } else break
  }
  const { line, col } = counter.linePos(offset)
  return `${line}:${col}`
}

/** Tells mistakes of a configuration that was read from there. */
export const teller =
  ({ file, text, origins }: Sources): Told =>
  (path, expected, got, of) => {
    const names = path.map(String)
    const origin = names
      .map((_, depth) => origins.get(names.slice(0, names.length - depth).join('.')))
      .find((one) => one !== undefined)
    const where = origin ?? (file === undefined ? 'configuration' : `${file}:${placeOf(text, path, of)}`)
    return `${where} ${names.join('.') || '(top)'}: expected ${expected}, got ${got}`
  }

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'settings by name',
  record: 'settings by name',
}

/** What Zod says by itself was expected, without what came, in the words used here. */
export const inWords = (message: string): string => {
  const expected = message
    .replace(/^(Invalid (input|option)|Too (small|big)): /, '')
    .replace(/^expected /, '')
    .replace(/, received .*$/, '')
    .replaceAll('"|"', '", "')
  return typeNames[expected] ?? expected
}

const choices = (values: readonly unknown[]): string => {
  const words = values.map(String)
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

const bound = (
  side: 'least' | 'most',
  limit: number | bigint,
  origin: string,
  inclusive: boolean,
): string => {
  if (origin === 'string') return `text of at ${side} ${limit} characters`
  if (origin === 'array') return `a list of at ${side} ${limit}`
  if (inclusive) return `a number of at ${side} ${limit}`
  return `a number ${side === 'least' ? 'above' : 'below'} ${limit}`
}

/** What a schema expected, in words; a message that a schema sets itself is taken as it is. */
const expectation = (issue: z.core.$ZodIssue): string => {
  switch (issue.code) {
    case 'invalid_type':
      return issue.message.startsWith('Invalid input')
        ? (typeNames[issue.expected] ?? issue.expected)
        : issue.message
    case 'invalid_value':
      return issue.message.startsWith('Invalid') ? choices(issue.values) : issue.message
    case 'too_small':
      return issue.message.startsWith('Too')
        ? bound('least', issue.minimum, issue.origin, issue.inclusive !== false)
        : issue.message
    case 'too_big':
      return issue.message.startsWith('Too')
        ? bound('most', issue.maximum, issue.origin, issue.inclusive !== false)
        : issue.message
    default:
      return issue.message
  }
}

/** All that a schema found wrong with `value`, one line each; `known` names the settings there are at a path. */
export const schemaMistakes = (
  issues: readonly z.core.$ZodIssue[],
  value: unknown,
  told: Told,
  known: (path: readonly PropertyKey[]) => readonly string[],
): string[] =>
  issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) =>
        told(
          [...issue.path, key],
          `one of the settings ${known(issue.path).join(', ')}`,
          `the name ${JSON.stringify(key)}`,
          'name',
        ),
      )
    const expected = expectation(issue).replace(/^expected /, '')
    // A refinement says itself what came.
    if (issue.code === 'custom' && issue.params?.got !== undefined)
      return [told(issue.path, expected, String(issue.params.got))]
    return [told(issue.path, expected, shown(valueAt(value, issue.path), issue.path))]
  })

/** What YAML could not make of a text, one line each. */
export const yamlMistakes = (file: string, text: string): string[] => {
  const counter = new LineCounter()
  const { errors } = parseDocument(text, { lineCounter: counter, prettyErrors: false })
  return errors.map(({ message, pos }) => {
    const { line, col } = counter.linePos(pos[0])
    return `${file}:${line}:${col} (YAML): expected text that YAML can read, got a mistake: ${message}`
  })
}
