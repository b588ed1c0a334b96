/** What the payload of a radio node means, the same for every modem that heard it. */
import { Script } from 'node:vm'
import { z } from 'zod'
import { decodeReadings } from '../reading/payload.ts'
import { fromScaled, type QuantityName, quantityCoded } from '../reading/quantity.ts'
import type { Measurement } from '../reading/reading.ts'
import { cayenneLpp } from './cayenne-lpp.ts'
import { maxScriptBytes, type ScriptRunner, scriptDecoder, scriptRunner } from './script.ts'
import type { Outcome, Radio, Settings, Surroundings, Uplink } from './sensors.ts'
import { checked } from './settings.ts'
import { isSignedFrame, signedNodeReader, signedSetting } from './signed-node.ts'
import { textDecoder, textSettings } from './text-lines.ts'

const compiles = (code: string): boolean => {
  try {
    new Script(code, { filename: 'script' })
    return true
  } catch {
    return false
  }
}

const payload = z.enum(
  ['auto', 'text', 'cbor', 'cayenne-lpp', 'script'],
  'expected auto, text, cbor, cayenne-lpp or script',
)
const script = z
  .string('expected the text of a decoder')
  .max(maxScriptBytes, `expected at most ${maxScriptBytes} characters`)
  // What a decoder could import is outside of its sandbox; the word cannot be spelled in another way.
  .refine((code) => !/\bimport\b/.test(code), 'expected a decoder without the word import, in comments too')
  .refine(compiles, 'expected JavaScript that can be read')
const variables = z.record(z.string().max(64), z.string().max(1024), 'expected an object of names and texts')

/** Settings of a node's payload; those of a single node win over those for all. */
export const nodePayloadSettings = {
  payload: payload.optional().describe('What its payload is, where it differs from the others.'),
  text: textSettings.optional().describe('How its text is to be read.'),
  script: script.optional().describe('Source of decodeUplink, as for ChirpStack and The Things Stack.'),
  variables: variables.optional().describe('What the script finds as variables: names and texts.'),
}

/** Settings that every radio driver has beside its own: `z.strictObject({ ...uplinkSettings, ... })`. */
export const uplinkSettings = {
  ...nodePayloadSettings,
  nodes: z
    .array(z.string().max(64), 'expected a list of node names')
    .max(1000)
    .optional()
    .describe('Nodes that are listened to, by the names their readings have; all, where it is not set.'),
  payload: payload.default('auto').describe('What payloads are; auto tells text from encoded readings.'),
  text: textSettings.prefault({}).describe('How text is to be read.'),
  signed: signedSetting,
}

const schema = z
  .object(uplinkSettings)
  .refine((one) => one.payload !== 'script' || one.script !== undefined, {
    path: ['script'],
    message: 'expected the text of a decoder, for payload is "script"',
  })

type PayloadSettings = z.output<typeof schema>

// No text begins with such a byte: CBOR arrays, maps and tags all do.
const firstOfCbor = 0x80

/** Readings that a node encoded itself, in the payload format of envelopes. */
const decodeNodeReadings = (payload: Uint8Array): readonly Outcome[] => {
  const decoded = decodeReadings(payload)
  if (!decoded.ok) return [{ kind: 'refused', reason: 'layout', detail: decoded.detail }]
  return decoded.readings.map(({ sensor, timeMs, values }) => ({
    kind: 'reading',
    node: sensor,
    timeMs,
    // It encodes readings with their times so that it can keep them while nobody hears it.
    backlog: true,
    measurements: values.map((value): Measurement => {
      const row = quantityCoded(value.quantity)!
      const name = row.name as QuantityName
      return value.scaled === null
        ? { quantity: name, value: null, absent: value.absent }
        : { quantity: name, value: fromScaled(row, value.scaled) }
    }),
  }))
}

/** What outcomes are, at once or, where something outside of this process is asked, later. */
export type Outcomes = readonly Outcome[] | Promise<readonly Outcome[]>

type PayloadReader = (uplink: Uplink) => Outcomes

/** Each kind of payload, and what reads it. Another kind is one line here and its name in the schema. */
const payloadKinds: Readonly<
  Record<PayloadSettings['payload'], (settings: PayloadSettings, runner: ScriptRunner) => PayloadReader>
> = {
  auto: ({ text }) => {
    const decodeText = textDecoder(text)
    return ({ payload }) =>
      (payload[0] ?? 0) >= firstOfCbor ? decodeNodeReadings(payload) : decodeText(payload)
  },
  text: ({ text }) => {
    const decodeText = textDecoder(text)
    return ({ payload }) => decodeText(payload)
  },
  cbor:
    () =>
    ({ payload }) =>
      decodeNodeReadings(payload),
  'cayenne-lpp':
    () =>
    ({ payload }) =>
      cayenneLpp(payload),
  script: ({ script = '', variables = {}, text }, runner) =>
    scriptDecoder({ code: script, variables, names: new Map(Object.entries(text.names ?? {})) }, runner),
}

/** How a transmission was heard, as measurements. */
export const radioMeasurements = ({ rssi, snr, frequency, spreadingFactor }: Radio): Measurement[] => [
  ...(rssi === undefined ? [] : [{ quantity: 'rssi' as const, value: rssi }]),
  ...(snr === undefined ? [] : [{ quantity: 'snr' as const, value: snr }]),
  ...(frequency === undefined ? [] : [{ quantity: 'frequency' as const, value: frequency }]),
  ...(spreadingFactor === undefined
    ? []
    : [{ quantity: 'spreading_factor' as const, value: spreadingFactor }]),
]

const isPrivate = (outcome: Outcome): boolean =>
  outcome.kind === 'reading' && outcome.measurements.some(({ quantity }) => quantity === 'latitude')

/** One message was heard once: its last reading, the newest, carries the signal, or a reading of its own does. */
const withRadio = (node: string, said: readonly Outcome[], radio: Radio): readonly Outcome[] => {
  const heard = radioMeasurements(radio)
  const radioNames = new Set<string>(heard.map(({ quantity }) => quantity))
  const content = said.map((outcome) =>
    outcome.kind === 'reading'
      ? { ...outcome, node: outcome.node === undefined ? node : `${node}-${outcome.node}` }
      : outcome,
  )
  // A position is never sold, and would take the signal with it.
  const newest =
    content.findLast((outcome) => outcome.kind === 'reading' && !isPrivate(outcome)) ??
    content.findLast(({ kind }) => kind === 'reading')
  if (newest?.kind !== 'reading') return [...content, { kind: 'reading', node, measurements: heard }]
  return content.map((outcome) =>
    outcome === newest
      ? {
          ...newest,
          measurements: [
            ...newest.measurements.filter(({ quantity }) => !radioNames.has(quantity)),
            ...heard,
          ],
        }
      : outcome,
  )
}

/** From an uplink to what it says; never throws, never rejects. */
export type UplinkReader = (uplink: Uplink) => Outcomes

/**
 * A reader for settings of `model` that hold `uplinkSettings` (others are left alone); `nodeSettings` are those of
 * single nodes that have their own. Each node is a sensor of its own. Throws an Error for settings that cannot be used.
 */
export const uplinkReader = (
  model: string,
  settings: Settings,
  surroundings: Surroundings,
  nodeSettings: ReadonlyMap<string, Settings> = new Map(),
): UplinkReader => {
  const runner = scriptRunner()
  const { nodes, signed } = checked(model, schema, settings)
  const readSigned = signedNodeReader(signed, surroundings)
  const readerOf = (whose: string, own: Settings): PayloadReader => {
    const known = checked(whose, schema, { ...settings, ...own })
    return payloadKinds[known.payload](known, runner)
  }
  const allowed = nodes && new Set(nodes)
  const common = readerOf(model, {})
  const readers = new Map(
    [...nodeSettings].map(([node, own]) => [node, readerOf(`${model}: node ${node}`, own)] as const),
  )

  return (uplink) => {
    const { node, payload, radio } = uplink
    if (allowed && !allowed.has(node))
      return [{ kind: 'refused', reason: 'not-configured', detail: `node ${node} is not in setting "nodes"` }]
    if (signed.length > 0 && isSignedFrame(payload)) return [readSigned(uplink)]
    const said = (readers.get(node) ?? common)(uplink)
    return said instanceof Promise
      ? said.then((outcomes) => withRadio(node, outcomes, radio))
      : withRadio(node, said, radio)
  }
}
