import { randomBytes } from 'node:crypto'
import { connect as connectTcp, createServer } from 'node:net'
import mqtt from 'mqtt'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { maxPacketBytes } from '#gateway/ingest/broker.ts'
import { boundedStream } from '#gateway/ingest/limits.ts'
import { openOutbox } from '#gateway/outbox/outbox.ts'
import { stationId } from '#gateway/reading/key.ts'
import { signToken } from '#gateway/reading/token.ts'
import { hubTopic, topicsOf } from '#gateway/reading/topics.ts'
import { mqttConnector } from '#gateway/relay/mqtt.ts'
import { createRelay } from '#gateway/relay/relay.ts'
import { journalAt, startHub, startStation } from '#test/relay-world.ts'
import { network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

/** A station of this hub, which knows the hub's key. */
const stationOf = (port: number, hubKey: Uint8Array) =>
  startStation(`mqtt://127.0.0.1:${port}`, async () => hubKey)

const login = (port: number, options: mqtt.IClientOptions) => {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options })
  onTestFinished(() => client.endAsync(true).then(() => undefined))
  return new Promise<mqtt.MqttClient | string>((resolve) => {
    client.once('connect', () => resolve(client))
    client.once('error', (error) => resolve(error.message))
    client.once('close', () => resolve('closed'))
  })
}

describe('relay and embedded broker', () => {
  test('envelopes reach evidence and the receipt empties the outbox', async () => {
    const hub = await startHub()
    const station = await stationOf(hub.broker.port, hub.hub.publicKey)
    await station.emit(100)
    await vi.waitFor(() => expect(station.outbox.status).toMatchObject({ pending: 0, accepted: 100 }), 10_000)
    expect(hub.broker.hasReaders).toBe(false)
    expect(hub.evidence.progress(station.station)).toMatchObject({ kept: [[1, 100]] })
  })

  test('a hub that goes away and comes back gets what it missed', async () => {
    const first = await startHub()
    const { port } = first.broker
    const station = await stationOf(port, first.hub.publicKey)
    await station.emit(5)
    await vi.waitFor(() => expect(station.outbox.status.pending).toBe(0), 10_000)
    await first.close()
    await station.emit(5)
    expect(station.outbox.status.pending).toBe(5)
    const second = await startHub(port, first.directory, first.hub)
    await vi.waitFor(() => expect(station.outbox.status.pending).toBe(0), 15_000)
    expect(second.evidence.progress(station.station)).toMatchObject({ kept: [[1, 10]] })
  })

  test('what was in flight when the connection broke is sent again at once', async () => {
    const first = await startHub(0, temporaryDirectory(), newSigner(), true)
    const { port } = first.broker
    const station = await stationOf(port, first.hub.publicKey)
    await station.emit(5)
    await vi.waitFor(() => expect(station.relay.status.published).toBe(5), 10_000)
    await first.close()
    await startHub(port, temporaryDirectory(), first.hub) // another disk: it has none of them
    await vi.waitFor(() => expect(station.outbox.status.pending).toBe(0), 15_000)
  })

  test('a receipt by another key settles nothing', async () => {
    const hub = await startHub()
    const station = await stationOf(hub.broker.port, newSigner().publicKey)
    await station.emit(1)
    await vi.waitFor(() => expect(station.relay.status.badReceipts).toBeGreaterThan(0), 10_000)
    expect(station.outbox.status.pending).toBe(1)
  })
})

describe('a relay and a broker that does not answer', () => {
  const stationAt = async (port: number, username: string) => {
    const key = newSigner().publicKey
    const station = await startStation(`mqtt://127.0.0.1:${port}`, async () => key, 20_000, { username })
    let hasEnded = false
    void station.running.then(() => {
      hasEnded = true
    })
    const stopped = () => {
      station.stop()
      return vi.waitFor(() => expect(hasEnded).toBe(true), 10_000)
    }
    return { station, stopped }
  }

  test('a connection that ends before the status is acknowledged is made again', async () => {
    const hub = await startHub()
    // Without a name it may read, and is cut off for its status.
    const { station, stopped } = await stationAt(hub.broker.port, '')
    await vi.waitFor(() => expect(station.relay.status.connects).toBeGreaterThan(2), 10_000)
    await stopped()
  })

  test('a relay that waits for an answer ends when it is told to', async () => {
    let asked = 0
    const server = createServer((socket) => {
      // CONNACK (MQTT 3.1.1 s3.2), and nothing after it.
      socket.once('data', () => socket.write(Buffer.from([0x20, 0x02, 0x00, 0x00])))
      socket.on('data', () => asked++)
      socket.on('error', () => undefined)
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    const { stopped } = await stationAt(port, 'a')
    await vi.waitFor(() => expect(asked).toBeGreaterThan(1), 10_000)
    await stopped()
  })
})

test('what a station shows to get in has the time that it knows, wherever the system’s clock stands', async () => {
  const outbox = await openOutbox({ directory: temporaryDirectory(), openJournal: journalAt })
  const nowMs = Date.UTC(2031, 0, 1)
  const stop = new AbortController()
  const asked: number[] = []
  const relay = createRelay({
    network,
    topics: topicsOf(network, stationId(newSigner().publicKey)),
    outbox,
    hubKey: async () => newSigner().publicKey,
    describe: () => ({}),
    now: () => nowMs,
    connect: mqttConnector({
      url: 'mqtt://127.0.0.1:1',
      clientId: 'a',
      username: 'a',
      password: (at) => {
        asked.push(at)
        stop.abort()
        return ''
      },
    }),
  })
  await relay.run(stop.signal)
  await outbox[Symbol.asyncDispose]()
  expect(asked).toEqual([nowMs])
})

describe('embedded broker', () => {
  test('a station logs in with its own token only', async () => {
    const hub = await startHub()
    const signer = newSigner()
    const username = stationId(signer.publicKey)
    const password = signToken(network, signer, Date.now())
    expect(typeof (await login(hub.broker.port, { username, password }))).toBe('object')
    for (const bad of [
      { username, password: 'guess' },
      { username: stationId(newSigner().publicKey), password },
      { username, password: signToken('othernet', signer, Date.now()) },
      { username, password: signToken(network, signer, Date.now() - 48 * 3_600_000) },
    ])
      expect(await login(hub.broker.port, bad)).toMatch(/Not authorized|Bad username|closed/)
  })

  test('a station may write under its own id only, a reader nowhere', async () => {
    const hub = await startHub()
    const signer = newSigner()
    const username = stationId(signer.publicKey)
    const other = topicsOf(network, stationId(newSigner().publicKey))
    const attempts = [other.up, other.status, topicsOf(network, username).receipt, hubTopic(network), 'loose']
    for (const topic of attempts) {
      const client = await login(hub.broker.port, {
        username,
        password: signToken(network, signer, Date.now()),
      })
      if (typeof client === 'string') throw new Error(client)
      const cut = new Promise<void>((resolve) => client.once('close', () => resolve()))
      client.publish(topic, 'x', { qos: 1 })
      await cut
    }
    const reader = await login(hub.broker.port, {})
    if (typeof reader === 'string') throw new Error(reader)
    const cut = new Promise<void>((resolve) => reader.once('close', () => resolve()))
    reader.publish(topicsOf(network, username).up, 'x', { qos: 1 })
    await cut
    expect(hub.ingest.status.received).toBe(0)
  })

  test('envelopes and other stations’ receipts reach no reader', async () => {
    const hub = await startHub()
    const reader = await login(hub.broker.port, {})
    if (typeof reader === 'string') throw new Error(reader)
    const seen: string[] = []
    reader.on('message', (topic) => seen.push(topic))
    await reader.subscribeAsync(['#', 'gt/1/+/+/up', 'gt/1/+/+/receipt'], { qos: 1 })
    const station = await stationOf(hub.broker.port, hub.hub.publicKey)
    await station.emit(3)
    await vi.waitFor(() => expect(station.outbox.status.accepted).toBe(3), 10_000)
    expect(hub.broker.hasReaders).toBe(true)
    hub.broker.publish(topicsOf(network, station.station).reading('garden'), '{}')
    await vi.waitFor(() => expect(seen).toContain(topicsOf(network, station.station).reading('garden')))
    expect(seen.filter((topic) => /\/(up|receipt)$/.test(topic))).toEqual([])
    expect(seen).toContain(topicsOf(network, station.station).status)
  })

  test('a packet that claims more than 64 KiB ends its connection before it is collected', async () => {
    const outcome = Promise.withResolvers<string>()
    const server = createServer((socket) => {
      const bounded = boundedStream(socket, maxPacketBytes)
      let bytes = 0
      bounded.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      bounded.on('error', () => undefined)
      socket.on('close', () => outcome.resolve(`closed after ${bytes} bytes`))
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    const send = (...parts: Buffer[]) => {
      const socket = connectTcp(port, '127.0.0.1')
      onTestFinished(() => void socket.destroy())
      socket.on('error', () => undefined)
      socket.write(Buffer.concat(parts))
    }
    // PUBLISH of 60,000 bytes, which is in bounds, and then one that claims 70,000.
    send(Buffer.from([0x30, 0xe0, 0xd4, 0x03]), randomBytes(60_000), Buffer.from([0x30, 0xf0, 0xa2, 0x04]))
    expect(await outcome.promise).toMatch(/closed after (0|60004) bytes/)
  })

  test('the broker goes on after such a packet', async () => {
    const hub = await startHub()
    const socket = connectTcp(hub.broker.port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    socket.on('error', () => undefined)
    socket.write(Buffer.concat([Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]), randomBytes(1000)]))
    await closed
    expect(typeof (await login(hub.broker.port, {}))).toBe('object')
  })
})
