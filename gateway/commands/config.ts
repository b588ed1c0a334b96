/** `groundtruth config` */
import { z } from 'zod'
import { configSchema } from '../config.ts'

type Node = {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, Node>>
  readonly items?: Node
}

/** One setting: its path, what it may be, what it is unless told, and what it means. */
type Setting = {
  readonly path: string
  readonly kind: string
  readonly usual: string
  readonly meaning: string
}

const kindOf = ({ type, enum: choices, items }: Node): string => {
  if (choices) return choices.join(' or ')
  return type === 'array' ? `list of ${items?.type ?? 'values'}` : (type ?? 'value')
}

const settingsOf = (node: Node, path: string): Setting[] => {
  const inner = node.type === 'array' ? node.items : node
  const own: Setting[] =
    node.properties || path === ''
      ? []
      : [
          {
            path,
            kind: kindOf(node),
            usual: node.default === undefined ? '' : JSON.stringify(node.default),
            meaning: node.description ?? '',
          },
        ]
  const below = Object.entries(inner?.properties ?? {}).flatMap(([key, value]) =>
    settingsOf(value, path === '' ? key : `${path}${node.type === 'array' ? '[]' : ''}.${key}`),
  )
  return [...own, ...below]
}

const jsonSchema = () => z.toJSONSchema(configSchema, { io: 'input' })

/** The reference that stands in the README, as a Markdown table. */
export const configReference = (): string =>
  [
    '| setting | value | default | meaning |',
    '|---|---|---|---|',
    ...settingsOf(jsonSchema() as Node, '').map(
      ({ path, kind, usual, meaning }) =>
        `| \`${path}\` | ${kind} | ${usual && `\`${usual}\``} | ${meaning} |`,
    ),
  ].join('\n')

/** Prints the reference, or the JSON Schema that editors complete from. */
export const config = async (options: { jsonSchema: boolean }): Promise<void> => {
  process.stdout.write(
    options.jsonSchema ? `${JSON.stringify(jsonSchema(), null, 2)}\n` : `${configReference()}\n`,
  )
}
