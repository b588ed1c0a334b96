/** Any MQTT broker as the hub's: mosquitto, EMQX and others, through MQTT.js. Stations are acknowledged by receipt alone. */
import mqtt from 'mqtt'
import { fromHex } from '../reading/bytes.ts'
import { stationId } from '../reading/key.ts'
import { hubFilters, parseTopic } from '../reading/topics.ts'
import { type Broker, type BrokerEvents, maxPacketBytes } from './broker.ts'

export type ExternalBrokerOptions = {
  readonly url: string
  readonly username?: string
  readonly password?: string
  /** PEM of a private certificate authority. */
  readonly ca?: string
  readonly events: BrokerEvents
  readonly now: () => number
  readonly warn: (message: string) => void
  /** Called at every connection after the first: a broker that was restarted may have forgotten what was retained. */
  readonly reconnected: () => void
}

const reconnectMs = 2_000

/** The public key in a station's status, where it is there and is the station's own. */
const keyIn = (status: Uint8Array, station: string): Uint8Array | undefined => {
  try {
    const { publicKey } = JSON.parse(Buffer.from(status).toString('utf8')) as { publicKey?: unknown }
    const key = typeof publicKey === 'string' && publicKey.length === 64 ? fromHex(publicKey) : undefined
    return key !== undefined && stationId(key) === station ? key : undefined
  } catch {
    return undefined // anybody may write a status; one that is no JSON says nothing
  }
}

/** Connects and stays connected; resolves after the first connection. The id is its own proof: it is the key's hash. */
export const openExternalBroker = async (options: ExternalBrokerOptions): Promise<Broker> => {
  const { events } = options
  const client = await mqtt.connectAsync(options.url, {
    clientId: `groundtruth-hub-${process.pid}`,
    clean: true,
    reconnectPeriod: reconnectMs,
    resubscribe: true,
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.password === undefined ? {} : { password: options.password }),
    ...(options.ca === undefined ? {} : { ca: options.ca }),
  })
  client.on('error', (error) => options.warn(`broker ${options.url}: ${error.message}`))
  client.on('message', (topic, payload) => {
    const parsed = parseTopic(topic)
    if (parsed === undefined || payload.length > maxPacketBytes) return
    const bytes = new Uint8Array(payload)
    const { network, station } = parsed
    const said = (error: Error) => options.warn(error.message)
    if (parsed.channel === 'up')
      events.envelope({ network, station, bytes, receivedMs: options.now() }).catch(said)
    else {
      const key = keyIn(bytes, station)
      if (key) events.hello(station, key).then(() => events.listening(station), said)
    }
  })
  client.on('connect', options.reconnected)
  await client.subscribeAsync([...hubFilters], { qos: 1 })
  const { host } = new URL(options.url)
  return {
    kind: `broker at ${host}`,
    hasReaders: true,
    get connected() {
      return client.connected
    },
    publish: (topic, payload, { retain = false } = {}) => {
      // Unsent messages must not pile up in memory while the broker is away; receipts are cumulative.
      if (client.connected) client.publish(topic, Buffer.from(payload as Uint8Array), { qos: 1, retain })
    },
    [Symbol.asyncDispose]: async () => {
      await client.endAsync()
    },
  }
}
