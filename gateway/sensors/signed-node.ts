/** Radio nodes that sign their own readings: a frame is verified here, and goes on as the node signed it. */
import { z } from 'zod'
import { fromHex, toHex } from '../reading/bytes.ts'
import { keyFault, keyId } from '../reading/key.ts'
import {
  claims,
  decodeNodeFrame,
  decodeNodeMessage,
  expandNodeFrame,
  nodeFrameType,
} from '../reading/node-frame.ts'
import type { Outcome, Settings, Surroundings, Uplink } from './sensors.ts'

const publicKey = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'expected a public key of 64 lower-case hexadecimal digits')
  .refine((hex) => keyFault(fromHex(hex)!) === undefined, 'expected a key that may be used: this one is weak')

// Of a key's id: enough to tell nodes apart, short enough for a sensor's name.
const nameDigits = 12

const nameOf = (node: { readonly publicKey: string; readonly name?: string | undefined }): string =>
  node.name ?? `node-${toHex(keyId(fromHex(node.publicKey)!)).slice(0, nameDigits)}`

const areUnique = (values: readonly string[]): boolean => new Set(values).size === values.length

/** Setting of every radio driver: the nodes that sign, by their public keys; `name` in place of their key's id. */
export const signedSetting = z
  .array(
    z.strictObject({
      publicKey: publicKey.describe('Its Ed25519 public key, 64 hexadecimal digits.'),
      name: z
        .string()
        .regex(/^[A-Za-z0-9_-]{1,40}$/, 'expected letters, digits, _ and -')
        .optional()
        .describe('Its name, in place of the first digits of its key.'),
    }),
    'expected a list of public keys',
  )
  .max(1000)
  .refine((nodes) => areUnique(nodes.map(({ publicKey: key }) => key)), 'expected each public key once')
  .refine((nodes) => areUnique(nodes.map(nameOf)), 'expected another name for each node')
  .default([])
  .describe('Nodes that sign their readings, by public key.')

/**
 * Ids of the sensors that are nodes which sign, by the settings of the device `sensorId`: a reading of that id is signed,
 * or it is not one. None where the settings cannot be used.
 */
export const signedSensors = (sensorId: string, { signed }: Settings): string[] => {
  const nodes = signedSetting.safeParse(signed)
  return nodes.success ? nodes.data.map((node) => `${sensorId}-${nameOf(node)}`) : []
}

/** Whether a payload says that it is a signed frame. */
export const isSignedFrame = (payload: Uint8Array): boolean => payload[0] === nodeFrameType

const refused = (reason: 'layout' | 'signature' | 'replay' | 'not-configured', detail: string): Outcome => ({
  kind: 'refused',
  reason,
  detail,
})

/** A reader of signed frames for these nodes; the newest number of each is kept on disk, an older one is refused. */
export const signedNodeReader = (
  nodes: z.output<typeof signedSetting>,
  { network, counters }: Pick<Surroundings, 'network' | 'counters'>,
): ((uplink: Uplink) => Outcome) => {
  const known = nodes.map((node) => {
    const key = fromHex(node.publicKey)!
    return { key, id: toHex(keyId(key)), name: nameOf(node) }
  })
  return ({ payload, radio }) => {
    const decoded = decodeNodeFrame(payload)
    if (!decoded.ok) return refused('layout', decoded.detail)
    const { frame } = decoded
    const claimed = known.filter(({ key }) => claims(frame, key))
    if (claimed.length === 0)
      return refused(
        'not-configured',
        `no node in setting "signed" has a key id that begins ${toHex(frame.prefix)}`,
      )
    for (const { key, id, name } of claimed) {
      const sign1 = expandNodeFrame(frame, key, network)
      if (sign1 === undefined) continue
      const message = decodeNodeMessage(sign1)
      if (!message.ok) return refused('layout', message.detail)
      const counter = `node-${id}`
      const newest = counters.get(counter) ?? 0
      if (frame.seq <= newest)
        return refused('replay', `frame ${frame.seq} of ${name}, which has sent ${newest} already`)
      counters.set(counter, frame.seq)
      return { kind: 'signed', node: name, publicKey: key, sign1, radio }
    }
    return refused(
      'signature',
      `a frame said to be by ${claimed.map(({ name }) => name).join(' or ')} is not signed by it`,
    )
  }
}
