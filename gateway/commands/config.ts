/** `groundtruth config` */
import { z } from 'zod'
import { configSchema } from '../config.ts'

/** What is used of a JSON Schema. */
export type Node = {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, Node>>
  readonly items?: Node
  readonly anyOf?: readonly Node[]
  readonly const?: unknown
}

/** One setting: its path, what it may be, what it is unless told, and what it means. */
export type Setting = {
  readonly path: string
  readonly kind: string
  readonly usual: string
  readonly meaning: string
}

const kindOf = ({ type, enum: choices, items, anyOf, const: only }: Node): string => {
  if (choices) return choices.join(' or ')
  if (only !== undefined) return String(only)
  if (anyOf) return [...new Set(anyOf.map(kindOf))].join(' or ')
  return type === 'array' ? `list of ${items ? (items.type ?? kindOf(items)) : 'values'}` : (type ?? 'value')
}

/** Every setting of a schema, with its dotted path. */
export const settingsOf = (node: Node, path: string): Setting[] => {
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

// What the sample station has: one sensor by its stable name, one behind a network, one that is not read.
const sampleSensors = [
  ['garden-air', 'plantower-pms', '/dev/serial/by-id/usb-Silicon_Labs_CP2102_0001-if00-port0', ''],
  ['garden-climate', 'text-lines', 'tcp://192.168.1.20:3001', ''],
  ['roof', 'nmea', 'usb:1546:01a8', ', enabled: false'],
] as const

const sampleOf = (name: string, node: Node, indent: string): string[] => {
  const about = node.description === undefined ? [] : [`${indent}# ${node.description}`]
  if (name === 'sensors')
    return [
      ...about,
      `${indent}${name}:`,
      ...sampleSensors.map(
        ([id, model, link, more]) => `${indent}  - { id: ${id}, model: ${model}, link: '${link}'${more} }`,
      ),
    ]
  if (node.properties)
    return [
      ...about,
      `${indent}${name}:`,
      ...Object.entries(node.properties).flatMap(([key, inner]) => sampleOf(key, inner, `${indent}  `)),
    ]
  const value = node.default === undefined ? undefined : JSON.stringify(node.default)
  return [
    ...about,
    value === undefined ? `${indent}# ${name}: (${kindOf(node)})` : `${indent}${name}: ${value}`,
  ]
}

/** A whole configuration with every setting, its meaning and its default. */
export const configSample = (): string =>
  [
    '# Every setting with its default; leave out what you do not change. "groundtruth init" writes a short one.',
    ...Object.entries((jsonSchema() as Node).properties ?? {}).flatMap(([key, node]) =>
      sampleOf(key, node, ''),
    ),
    '',
  ].join('\n')

/** Prints the reference, or the JSON Schema that editors complete from. */
export const config = async (options: { jsonSchema: boolean }): Promise<void> => {
  process.stdout.write(
    options.jsonSchema ? `${JSON.stringify(jsonSchema(), null, 2)}\n` : `${configReference()}\n`,
  )
}

/** Prints an example to start from. */
export const sample = async (): Promise<void> => {
  process.stdout.write(configSample())
}
