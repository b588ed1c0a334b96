/** The hub behind the broker: whether it is there, is the one that this station knows, and agrees about the time. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type mqtt from 'mqtt'
import type { Config } from '../config.ts'
import { fromHex } from '../reading/bytes.ts'
import { stationId } from '../reading/key.ts'
import { verifyReceipt } from '../reading/receipt.ts'
import { hubTopic, topicsOf } from '../reading/topics.ts'
import { type Finding, fail, ok, type Patient, warn } from './doctor.ts'
import { existingSigner } from './key.ts'

// A retained announcement comes with the subscription; a slow line gets a few seconds.
const announceMs = 4_000
// A hub reminds a station that it knows of what it has, as soon as the station listens: with the hub's time.
const reminderMs = 2_000
// The hub refuses readings from more than 5 min in its future; half a minute already spoils a comparison.
const skewWarnMs = 30_000
const skewFailMs = 5 * 60_000

const about = 'hub'

type Message<T> = {
  readonly topic: string
  readonly waitMs: number
  readonly read: (payload: Uint8Array) => T | undefined
}

/** What the first message of a topic says that can be read; undefined where none comes in time. */
const heardOn = async <T>(
  client: mqtt.MqttClient,
  { topic, waitMs, read }: Message<T>,
): Promise<T | undefined> => {
  const heard = Promise.withResolvers<T | undefined>()
  const timer = setTimeout(() => heard.resolve(undefined), waitMs)
  const onMessage = (on: string, payload: Uint8Array): void => {
    const value = on === topic ? read(new Uint8Array(payload)) : undefined
    if (value !== undefined) heard.resolve(value)
  }
  client.on('message', onMessage)
  await client.subscribeAsync(topic).catch(() => heard.resolve(undefined))
  return heard.promise.finally(() => {
    clearTimeout(timer)
    client.off('message', onMessage)
  })
}

const announcedKey = (payload: Uint8Array): string | undefined => {
  try {
    const { publicKey } = JSON.parse(Buffer.from(payload).toString('utf8')) as { publicKey?: unknown }
    return typeof publicKey === 'string' && /^[0-9a-f]{64}$/.test(publicKey) ? publicKey : undefined
  } catch {
    return undefined // not from a hub: the wait goes on
  }
}

const pinnedKey = ({ edge, data }: Config): { readonly hex: string; readonly from: string } | undefined => {
  if (edge.hubKey) return { hex: edge.hubKey, from: 'edge.hubKey' }
  const path = join(data, 'edge', 'hub.pub')
  try {
    return { hex: readFileSync(path, 'utf8').trim(), from: path }
  } catch {
    return undefined // first start
  }
}

const keyFinding = (config: Config, key: string): Finding => {
  const pinned = pinnedKey(config)
  if (!pinned)
    return warn(
      about,
      `it announces the key ${key}, which this station has not kept yet`,
      `It will keep the first one it hears; to be sure, set edge.hubKey: ${key}`,
    )
  return pinned.hex === key
    ? ok(about, `it announces the key that this station knows, ${key.slice(0, 8)}...`)
    : fail(
        about,
        `it announces the key ${key}, but ${pinned.from} says ${pinned.hex}`,
        'Ask its operator. If the hub is new, correct or remove that key; if not, somebody is in between.',
      )
}

/** What a difference of the hub's clock to this one means; positive where the hub is ahead. */
export const skewFinding = (skewMs: number): Finding => {
  const seconds = Math.round(Math.abs(skewMs) / 1000)
  if (Math.abs(skewMs) < skewWarnMs) return ok(about, 'its clock and this one agree')
  const found = `its clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} this one`
  const next = 'Let NTP set both clocks: readings from the future are refused, old ones come out of place.'
  return Math.abs(skewMs) < skewFailMs ? warn(about, found, next) : fail(about, found, next)
}

/** Whether a hub of this network is there, is known, and, where it knows this station, what time it thinks it is. */
export const hubFindings = async (
  client: mqtt.MqttClient,
  config: Config,
  { env, nowMs }: Patient,
): Promise<Finding[]> => {
  const { network } = config
  const key = await heardOn(client, {
    topic: hubTopic(network),
    waitMs: announceMs,
    read: announcedKey,
  })
  if (key === undefined)
    return [
      fail(
        about,
        `no hub of network ${network} has announced itself on this broker`,
        'Start the hub, and check that "network" is the same on both sides.',
      ),
    ]
  const signer = existingSigner(config, env)
  const hubKey = fromHex(key)!
  const issuedMs =
    signer &&
    (await heardOn(client, {
      topic: topicsOf(network, stationId(signer.publicKey)).receipt,
      waitMs: reminderMs,
      read: (payload) => {
        const verified = verifyReceipt(payload, network, hubKey)
        return verified.ok ? verified.receipt.issuedMs : undefined
      },
    }))
  return [keyFinding(config, key), ...(issuedMs === undefined ? [] : [skewFinding(issuedMs - nowMs())])]
}
