/** The LoRaWAN devices that an owner lists, with the keys of their sessions. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Settings, Surroundings } from './sensors.ts'
import { nodePayloadSettings } from './uplink.ts'

const digits = (count: number, expected: string) =>
  z
    .string(expected)
    .regex(new RegExp(`^[0-9a-fA-F]{${count}}$`), expected)
    .transform((text) => text.toLowerCase())

const key = digits(32, 'expected a key of 32 hexadecimal digits')

/**
 * One device. `nwkSKey` and `appSKey` are those of its session: of an ABP device as they were set, of one that joins as
 * its network server shows them, because a station that only listens cannot answer a join. With `devEui` and `appKey`
 * alone, its join requests are checked and told. `keyFile` holds any of the keys as a JSON object, for its owner's eyes.
 */
const device = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,40}$/, 'expected a name of at most 40 letters, digits, _ and -')
      .optional()
      .describe('Its name, in place of its EUI or address.'),
    devAddr: digits(8, 'expected an address of 8 hexadecimal digits')
      .optional()
      .describe('Address of its session, 8 hexadecimal digits.'),
    devEui: digits(16, 'expected an EUI of 16 hexadecimal digits')
      .optional()
      .describe('Its EUI, 16 hexadecimal digits.'),
    nwkSKey: key.optional().describe('Network key of its session, 32 hexadecimal digits.'),
    appSKey: key.optional().describe('Application key of its session, 32 hexadecimal digits.'),
    appKey: key.optional().describe('Key with which it joins, to check its requests; 32 hexadecimal digits.'),
    keyFile: z
      .string('expected the path of a file')
      .min(1)
      .max(300)
      .optional()
      .describe('File that only its owner may read, with the keys as a JSON object.'),
    counterEpoch: z
      .int('expected a whole number')
      .min(0)
      .max(1_000_000)
      .default(0)
      .describe('Raise it by one when the device counts its frames anew; what was counted is forgotten.'),
    counterFrom: z
      .int('expected a whole number')
      .min(0)
      .max(0xffff_ffff)
      .default(0)
      .describe('Frames that it had counted when it was first heard here, where they were over a million.'),
    ...nodePayloadSettings,
  })
  .refine(
    ({ devAddr, devEui }) => devAddr !== undefined || devEui !== undefined,
    'expected devAddr or devEui',
  )

/** The list of devices; a station that hears a busy band knows a few hundred of its own at most. */
export const deviceList = z
  .array(device, 'expected a list of devices')
  .max(1000, 'expected at most 1000 devices')
  .default([])
  .describe('The devices that may be heard, with the keys of their sessions.')

const keysInFile = z.strictObject({
  nwkSKey: key.optional(),
  appSKey: key.optional(),
  appKey: key.optional(),
})

/** A device whose uplinks can be read. `counter` is the name under which its frames are counted. */
export type Session = {
  readonly node: string
  readonly devAddr: string
  readonly nwkSKey: Buffer
  readonly appSKey: Buffer
  readonly counter: string
  /** No frame before this one is looked for while none has been counted. */
  readonly counterFrom: number
}

/** A device whose join requests can be checked. */
export type Joiner = { readonly node: string; readonly devEui: string; readonly appKey: Buffer }

export type Devices = {
  /** By address in hex; several devices may have the same one, their keys tell them apart. */
  readonly sessions: ReadonlyMap<string, readonly Session[]>
  readonly joiners: ReadonlyMap<string, Joiner>
  /** What a device's entry says about its payload, as it was written; none where it says nothing. */
  readonly nodeSettings: ReadonlyMap<string, Settings>
}

const readKeys = (path: string, place: string, { secret }: Surroundings) => {
  const text = secret(path)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    value = undefined
  }
  const keys = keysInFile.safeParse(value)
  // What is in the file is nobody's business, not even where it is wrong.
  if (!keys.success)
    throw new Error(
      `${place}: ${path} does not hold keys.\n` +
        'Write {"nwkSKey": "...", "appSKey": "..."} with 32 hexadecimal digits each.',
    )
  return keys.data
}

const payloadNames = Object.keys(nodePayloadSettings)

/**
 * The devices of a list that was checked and of the same list as it was written, with the keys from their files.
 * Throws an Error that names the device, and no key.
 */
export const devicesOf = (
  model: string,
  list: z.output<typeof deviceList>,
  written: unknown,
  surroundings: Surroundings,
): Devices => {
  const sessions = new Map<string, Session[]>()
  const joiners = new Map<string, Joiner>()
  const nodes = new Set<string>()
  const nodeSettings = new Map<string, Settings>()
  for (const [at, { name, devAddr, devEui, keyFile, counterEpoch, counterFrom, ...rest }] of list.entries()) {
    const node = name ?? devEui ?? devAddr!
    const place = `${model}: setting "devices.${at}"`
    if (nodes.has(node)) throw new Error(`${place}: there is another device called ${node}.\nRename one.`)
    nodes.add(node)
    const { nwkSKey, appSKey, appKey } = {
      ...rest,
      ...(keyFile === undefined ? {} : readKeys(keyFile, place, surroundings)),
    }
    const own = Object.entries((written as readonly Settings[])[at]!).filter(([name]) =>
      payloadNames.includes(name),
    )
    if (own.length > 0) nodeSettings.set(node, Object.fromEntries(own))
    if (devEui !== undefined && appKey !== undefined)
      joiners.set(devEui, { node, devEui, appKey: Buffer.from(appKey, 'hex') })
    if (devAddr !== undefined && nwkSKey !== undefined && appSKey !== undefined) {
      // Another session counts anew; whose it is can be told from its key without showing it.
      const session = createHash('sha256').update(`${devAddr} ${nwkSKey}`).digest('hex').slice(0, 16)
      const one: Session = {
        node,
        devAddr,
        nwkSKey: Buffer.from(nwkSKey, 'hex'),
        appSKey: Buffer.from(appSKey, 'hex'),
        counter: `lorawan-${devAddr}-${session}-${counterEpoch}`,
        counterFrom,
      }
      sessions.set(devAddr, [...(sessions.get(devAddr) ?? []), one])
    } else if (devEui === undefined || appKey === undefined)
      throw new Error(
        `${place}: ${node} can neither be read nor recognised.\n` +
          'Set devAddr, nwkSKey and appSKey of its session, or devEui and appKey to be told of its joins.',
      )
  }
  return { sessions, joiners, nodeSettings }
}
