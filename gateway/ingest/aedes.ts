/** The embedded broker: aedes in the hub's process, acknowledging an envelope only after it is evidence on disk. */
import { createServer, type Socket } from 'node:net'
import { Aedes, type Client as AedesClient } from 'aedes'
import { verifyToken } from '../reading/token.ts'
import { hubTopic, parseTopic, topicsOf } from '../reading/topics.ts'
import { type Broker, type BrokerEvents, maxPacketBytes } from './broker.ts'
import { boundedStream, connectionCap } from './limits.ts'
import { type Identity, matches, mayHear, mayPublish, maySubscribe, type Rights } from './rights.ts'

export type EmbeddedBrokerOptions = {
  readonly host: string
  readonly port: number
  readonly network: string
  readonly events: BrokerEvents
  readonly now: () => number
  /** Whether clients without a name are let in, and everybody may read decoded readings. */
  readonly anonymousReaders: boolean
  readonly maxConnectionsPerAddress?: number
}

// Strangers get ten seconds to introduce themselves, and a client no more subscriptions than a flow could need.
const connectTimeoutMs = 10_000
const maxSubscriptions = 50
const maxTopicBytes = 256

// Whoever is sent away gets what was sent before, and then so long to hang up.
const partingMs = 2_000

// aedes takes U+0000 and control characters; MQTT 3.1.1 s1.5.3 forbids the first and discourages the others.
const plainTopic = /^[^\u0000-\u001f\u007f-\u009f\ufff0-\uffff]{1,256}$/u

// Station ids are 32 hex digits: no login looks like one.
const loginPattern = /^sub_[0-9a-f]{16}$/

type Client = { readonly who: Identity; readonly subscriptions: Set<string> }

/** What a client has subscribed to just now, as aedes keeps it. */
const filtersOf = (client: AedesClient): string[] =>
  Object.keys((client as AedesClient & { readonly subscriptions: object }).subscriptions)

/** Starts listening; `port` 0 picks a free one, told in `kind` and `port`. */
export const openEmbeddedBroker = async (
  options: EmbeddedBrokerOptions,
): Promise<Broker & { readonly port: number }> => {
  const { network, events } = options
  const rights: Rights = { network, openReadings: options.anonymousReaders }
  const clients = new WeakMap<object, Client>()
  const buyers = new Map<string, AedesClient>()
  const listening = new Set<string>()

  const aedes = await Aedes.createBroker({
    connectTimeout: connectTimeoutMs,
    maxClientsIdLength: 64,
    preConnect: (_client, packet, done) => {
      const { clientId, username } = packet as { clientId?: string; username?: string }
      const plain = [clientId, username].every((text) => !text || plainTopic.test(text))
      done(plain ? null : new Error('control characters in a name'), plain)
    },
    authenticate: (client, username, password, done) => {
      const enter = (who: Identity) => {
        clients.set(client, { who, subscriptions: new Set() })
        done(null, true)
      }
      const secret = password?.toString('latin1') ?? ''
      if (!username) {
        if (options.anonymousReaders) enter({ kind: 'anybody' })
        else done(null, false)
        return
      }
      if (loginPattern.test(username)) {
        if (events.login?.(username, secret) !== true) {
          done(null, false)
          return
        }
        // What it misses is not kept for it, and it takes nobody's place by the name of a client but its own.
        client.clean = true
        client.id = username
        buyers.get(username)?.close()
        buyers.set(username, client)
        listening.delete(username)
        enter({ kind: 'buyer', login: username })
        return
      }
      const token = verifyToken(secret, network, username, options.now())
      if (!token.ok) {
        done(null, false)
        return
      }
      events.hello(username, token.publicKey).then(
        () => enter({ kind: 'station', station: username }),
        () => done(null, false), // the hub's list does not have it: bad credentials, in MQTT 3.1.1's words
      )
    },
    authorizePublish: (client, packet, done) => {
      if (client === null) {
        done(null)
        return
      }
      const who = clients.get(client)?.who
      const channel = who && plainTopic.test(packet.topic) ? mayPublish(who, packet.topic) : undefined
      if (who?.kind !== 'station' || channel === undefined || (packet.qos as number) > 1) {
        done(new Error(`not allowed to publish ${packet.topic.slice(0, maxTopicBytes)}`))
        return
      }
      if (channel === 'status') {
        done(null)
        return
      }
      if (packet.retain) {
        done(new Error('an envelope is not retained'))
        return
      }
      const bytes = new Uint8Array(Buffer.from(packet.payload))
      events
        .envelope({
          network: parseTopic(packet.topic)!.network,
          station: who.station,
          bytes,
          receivedMs: options.now(),
        })
        .then(() => done(null), done)
    },
    authorizeSubscribe: (client, subscription, done) => {
      const known = clients.get(client)
      const { topic } = subscription
      const isFull = known === undefined || known.subscriptions.size >= maxSubscriptions
      if (isFull || !plainTopic.test(topic) || !maySubscribe(known.who, topic, rights)) {
        done(null, null)
        return
      }
      known.subscriptions.add(topic)
      done(null, subscription)
    },
    authorizeForward: (client, packet) => {
      const known = clients.get(client)
      return known !== undefined && mayHear(known.who, packet.topic, rights) ? packet : null
    },
  })

  // Stations listen to their receipts and to the hub's key alone; whoever listens to anything else may be a reader.
  const readers = new Set<object>()
  aedes.on('clientDisconnect', (client) => {
    readers.delete(client)
    const who = clients.get(client)?.who
    if (who?.kind !== 'buyer' || buyers.get(who.login) !== client) return
    buyers.delete(who.login)
    listening.delete(who.login)
    events.heeded?.(who.login)
  })
  aedes.on('subscribe', (subscriptions, client) => {
    const { who, subscriptions: granted } = clients.get(client)!
    if (who.kind === 'buyer') {
      if (granted.size === 0) return
      listening.add(who.login)
      events.heeded?.(who.login)
      return
    }
    const receipts = who.kind === 'station' ? topicsOf(network, who.station).receipt : undefined
    if (who.kind === 'station' && subscriptions.some(({ topic }) => topic === receipts))
      events.listening(who.station)
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
    logins: {
      isListening: (login) => listening.has(login),
      hears: (login, topic) => {
        const client = buyers.get(login)
        return client !== undefined && filtersOf(client).some((filter) => matches(filter, topic))
      },
      hand: (login, topic, payload) =>
        new Promise((resolve) => {
          const client = buyers.get(login)
          if (client === undefined) {
            resolve()
            return
          }
          client.conn.once('close', resolve)
          aedes.publish(
            { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, retain: false, dup: false },
            () => {
              client.conn.off('close', resolve)
              resolve()
            },
          )
        }),
      dismiss: (login) => {
        const client = buyers.get(login)
        if (client === undefined) return
        buyers.delete(login)
        listening.delete(login)
        client.conn.end()
        setTimeout(() => client.close(), partingMs).unref()
      },
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      await new Promise<void>((resolve) => aedes.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
