/** The embedded broker: aedes in the hub's process, acknowledging an envelope only after it is evidence on disk. */
import { createServer, type Socket } from 'node:net'
import { Aedes } from 'aedes'
import { verifyToken } from '../reading/token.ts'
import { hubTopic, parseTopic, topicsOf } from '../reading/topics.ts'
import { type Broker, type BrokerEvents, maxPacketBytes } from './broker.ts'
import { boundedStream, connectionCap } from './limits.ts'

export type EmbeddedBrokerOptions = {
  readonly host: string
  readonly port: number
  readonly network: string
  readonly events: BrokerEvents
  readonly now: () => number
  /** Whether clients without a name may read decoded readings and statuses. */
  readonly anonymousReaders: boolean
  readonly maxConnectionsPerAddress?: number
}

// Strangers get ten seconds to introduce themselves, and a client no more subscriptions than a flow could need.
const connectTimeoutMs = 10_000
const maxSubscriptions = 50
const maxTopicBytes = 256

// aedes takes U+0000 and control characters; MQTT 3.1.1 s1.5.3 forbids the first and discourages the others.
const plainTopic = /^[^\u0000-\u001f\u007f-\u009f\ufff0-\uffff]{1,256}$/u

type Reader = { readonly subscriptions: Set<string>; readonly station: string | null }

/** Starts listening; `port` 0 picks a free one, told in `kind` and `port`. */
export const openEmbeddedBroker = async (
  options: EmbeddedBrokerOptions,
): Promise<Broker & { readonly port: number }> => {
  const { network, events } = options
  const who = new WeakMap<object, Reader>()
  const stationOf = (client: object | null): string | null => (client && who.get(client)?.station) ?? null

  const mayRead = (topic: string, client: object): boolean => {
    const parsed = parseTopic(topic)
    if (parsed === undefined) return !topic.startsWith('$')
    if (parsed.channel === 'up') return false // envelopes hold private positions too: they go to the hub alone
    if (parsed.channel === 'receipt') return parsed.station === stationOf(client)
    return true
  }

  const aedes = await Aedes.createBroker({
    connectTimeout: connectTimeoutMs,
    maxClientsIdLength: 64,
    preConnect: (_client, packet, done) => {
      const { clientId, username } = packet as { clientId?: string; username?: string }
      const plain = [clientId, username].every((text) => !text || plainTopic.test(text))
      done(plain ? null : new Error('control characters in a name'), plain)
    },
    authenticate: (client, username, password, done) => {
      const enter = (station: string | null) => {
        who.set(client, { station, subscriptions: new Set() })
        done(null, true)
      }
      if (!username) {
        if (options.anonymousReaders) enter(null)
        else done(null, false)
        return
      }
      const token = verifyToken(password?.toString('latin1') ?? '', network, username, options.now())
      if (!token.ok) {
        done(null, false)
        return
      }
      events.hello(username, token.publicKey).then(
        () => enter(username),
        () => done(null, false), // the hub's list does not have it: bad credentials, in MQTT 3.1.1's words
      )
    },
    authorizePublish: (client, packet, done) => {
      if (client === null) {
        done(null)
        return
      }
      const parsed = plainTopic.test(packet.topic) ? parseTopic(packet.topic) : undefined
      const station = stationOf(client)
      const own = parsed !== undefined && parsed.station === station
      if (!own || (parsed.channel !== 'up' && parsed.channel !== 'status') || (packet.qos as number) > 1) {
        done(new Error(`not allowed to publish ${packet.topic.slice(0, maxTopicBytes)}`))
        return
      }
      if (parsed.channel === 'status') {
        done(null)
        return
      }
      if (packet.retain) {
        done(new Error('an envelope is not retained'))
        return
      }
      const bytes = new Uint8Array(Buffer.from(packet.payload))
      events
        .envelope({ network: parsed.network, station: parsed.station, bytes, receivedMs: options.now() })
        .then(() => done(null), done)
    },
    authorizeSubscribe: (client, subscription, done) => {
      const reader = who.get(client)
      const { topic } = subscription
      if (!reader || !plainTopic.test(topic) || reader.subscriptions.size >= maxSubscriptions) {
        done(null, null)
        return
      }
      reader.subscriptions.add(topic)
      done(null, subscription)
    },
    authorizeForward: (client, packet) => (mayRead(packet.topic, client) ? packet : null),
  })

  // Stations listen to their receipts and to the hub's key alone; whoever listens to anything else may be a reader.
  const readers = new Set<object>()
  aedes.on('clientDisconnect', (client) => readers.delete(client))
  aedes.on('subscribe', (subscriptions, client) => {
    const station = stationOf(client)
    const receipts = station && topicsOf(network, station).receipt
    if (station && subscriptions.some(({ topic }) => topic === receipts)) events.listening(station)
    if (subscriptions.some(({ topic }) => topic !== receipts && topic !== hubTopic(network)))
      readers.add(client)
  })

  const admit = connectionCap(options.maxConnectionsPerAddress ?? 4096)
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    if (!admit(socket)) {
      socket.destroy()
      return
    }
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.setNoDelay(true)
    aedes.handle(boundedStream(socket, maxPacketBytes))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      aedes.close() // its timers would keep the process alive
      reject(error)
    })
    server.listen(options.port, options.host, resolve)
  })
  const address = server.address() as { port: number }

  return {
    kind: `embedded aedes on mqtt://${options.host}:${address.port}`,
    port: address.port,
    connected: true,
    get hasReaders() {
      return readers.size > 0
    },
    publish: (topic, payload, { retain = false } = {}) =>
      aedes.publish(
        { cmd: 'publish', topic, payload: Buffer.from(payload as Uint8Array), qos: 1, retain, dup: false },
        () => undefined,
      ),
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      await new Promise<void>((resolve) => aedes.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
