import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { expect, onTestFinished, test } from 'vitest'
import { openEmbeddedBroker } from '#gateway/ingest/aedes.ts'
import { matches, mayHear } from '#gateway/ingest/rights.ts'
import { stationId } from '#gateway/reading/key.ts'
import { signToken } from '#gateway/reading/token.ts'
import { buyerBase, buyerTopic, hubTopic, topicsOf } from '#gateway/reading/topics.ts'
import { network, newSigner } from '#test/station.ts'
import { until } from '#test/until.ts'

const [login, other] = ['sub_0123456789abcdef', 'sub_fedcba9876543210']
const password = 'what was told once'
const station = 'a'.repeat(32)
const topic = buyerTopic(network, login, station, 'garden')

const openBroker = async (anonymousReaders = false) => {
  const envelopes: unknown[] = []
  const heeded: string[] = []
  const broker = await openEmbeddedBroker({
    host: '127.0.0.1',
    port: 0,
    network,
    now: Date.now,
    anonymousReaders,
    events: {
      envelope: async (arrival) => void envelopes.push(arrival),
      hello: async () => undefined,
      listening: () => undefined,
      login: (name, given) => (name === login || name === other) && given === password,
      heeded: (name) => heeded.push(name),
    },
  })
  onTestFinished(() => broker[Symbol.asyncDispose]())

  const connect = async (options: IClientOptions) => {
    const client: MqttClient = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`, {
      reconnectPeriod: 0,
      ...options,
    })
    onTestFinished(() => void client.end(true))
    client.on('error', () => undefined)
    const heard: string[] = []
    client.on('message', (topic, payload) => heard.push(`${topic} ${payload}`))
    const gone = new Promise<void>((resolve) => client.once('close', () => resolve()))
    return { client, heard, gone }
  }
  const buyer = (name = login, options: IClientOptions = {}) =>
    connect({ username: name, password, ...options })
  const stationClient = async (options: IClientOptions = {}) => {
    const signer = newSigner()
    const id = stationId(signer.publicKey)
    const token = signToken(network, signer, Date.now())
    return { id, ...(await connect({ username: id, password: token, ...options })) }
  }
  return { broker, envelopes, heeded, connect, buyer, stationClient }
}

/** Whether a subscription is granted; the client says what was refused by throwing. */
const isGranted = async (client: MqttClient, filter: string) =>
  client.subscribeAsync(filter, { qos: 1 }).then(
    ([granted]) => granted!.qos !== 128,
    () => false,
  )

/** Something that everybody may hear has come, so what was sent before it has come or never will. */
const settled = async (
  { broker }: Awaited<ReturnType<typeof openBroker>>,
  { heard }: { heard: string[] },
  at: string,
) => {
  await broker.logins!.hand(login, at, 'the last')
  await until('the last', 5, async () => heard.find((one) => one.endsWith('the last')))
}

test.each([0, 1] as const)('a login hears what is handed to it, QoS %i', async (qos) => {
  const world = await openBroker()
  const { logins } = world.broker
  expect(logins!.hears(login, topic)).toBe(false)
  await logins!.hand(login, topic, 'nobody is there')
  const { client, heard } = await world.buyer()
  expect(logins!.hears(login, topic)).toBe(false)
  expect([logins!.isListening(login), world.heeded]).toEqual([false, []])
  await client.subscribeAsync(`${buyerBase(network, login)}reading/#`, { qos })
  expect([logins!.isListening(login), world.heeded]).toEqual([true, [login]])
  expect(logins!.hears(login, topic)).toBe(true)
  expect(logins!.hears(login, `${buyerBase(network, login)}other`)).toBe(false)
  await logins!.hand(login, topic, 'one')
  await settled(world, { heard }, topic)
  expect(heard).toEqual([`${topic} one`, `${topic} the last`])
  await client.unsubscribeAsync(`${buyerBase(network, login)}reading/#`)
  expect(logins!.hears(login, topic)).toBe(false)
  await client.endAsync()
  await until('gone', 5, async () => (logins!.isListening(login) ? undefined : true))
})

test('a login with a wrong password, or of no subscription, is not let in', async () => {
  const { connect } = await openBroker()
  await expect(connect({ username: login, password: 'wrong' })).rejects.toThrow(/not authorized/i)
  await expect(connect({ username: login })).rejects.toThrow(/not authorized/i)
  await expect(connect({ username: 'sub_0000000000000000', password })).rejects.toThrow(/not authorized/i)
  await expect(connect({})).rejects.toThrow(/not authorized/i)
})

test('a login reaches nothing beyond its own topics: not by wildcards, not by names, not by what is retained', async () => {
  const world = await openBroker()
  const { broker } = world
  broker.publish(hubTopic(network), 'retained', { retain: true })
  broker.publish(topicsOf(network, station).status, 'retained', { retain: true })
  const { client, heard } = await world.buyer()
  const second = await world.buyer(other)
  expect(await isGranted(second.client, `${buyerBase(network, other)}#`)).toBe(true)
  const base = buyerBase(network, login)
  for (const filter of [
    ...['#', '+/#', 'gt/#', `gt/1/${network}/#`, `gt/1/${network}/sub/#`, `gt/1/${network}/sub/+/#`],
    ...[`gt/1/${network}/+/${login}/#`, `${buyerBase(network, other)}#`, hubTopic(network)],
    ...[topicsOf(network, station).reading('garden'), `gt/1/${network}/+/reading/+`, '$SYS/#'],
    ...[
      `$share/group/${base}#`,
      `$share/group/gt/#`,
      base.slice(0, -1),
      `gt/1/+/sub/${login}/#`,
      'homeassistant/#',
    ],
  ])
    expect([filter, await isGranted(client, filter)]).toEqual([filter, false])
  expect(await isGranted(client, `${base}#`)).toBe(true)
  broker.publish(topicsOf(network, station).reading('garden'), 'of everybody')
  await broker.logins!.hand(other, buyerTopic(network, other, station, 'garden'), 'of another')
  await settled(world, { heard }, topic)
  expect(heard).toEqual([`${topic} the last`])
})

test('a login publishes nothing, and is cut off when it tries; its will is dropped', async () => {
  const world = await openBroker()
  const listener = await world.buyer(other)
  await listener.client.subscribeAsync(`${buyerBase(network, other)}#`)
  const reader = await world.stationClient()
  await reader.client.subscribeAsync(`gt/1/${network}/${reader.id}/#`)
  for (const to of [
    topic,
    topicsOf(network, reader.id).status,
    topicsOf(network, reader.id).up,
    topicsOf(network, station).up,
    buyerTopic(network, other, station, 'garden'),
    hubTopic(network),
  ]) {
    const { client, gone } = await world.buyer(login, { will: { topic: to, payload: Buffer.from('will') } })
    client.publish(to, 'mine', { qos: 1, retain: true })
    await gone
  }
  expect(world.envelopes).toEqual([])
  await world.broker.logins!.hand(other, buyerTopic(network, other, station, 'garden'), 'the last')
  await until('the last', 5, async () => listener.heard.find((one) => one.endsWith('the last')))
  expect([listener.heard.length, reader.heard]).toEqual([1, []])
})

test('a station publishes under its own id alone', async () => {
  const world = await openBroker()
  const { client, gone } = await world.stationClient()
  client.publish(topicsOf(network, station).up, 'of another', { qos: 1 })
  await gone
  expect(world.envelopes).toEqual([])
})

test('what is sold is heard by no station but the one that said it, and by nobody without a login', async () => {
  const world = await openBroker()
  const { client, heard, id } = await world.stationClient()
  for (const filter of [
    '#',
    `gt/1/${network}/#`,
    `gt/1/${network}/sub/#`,
    topicsOf(network, station).reading('+'),
  ])
    expect([filter, await isGranted(client, filter)]).toEqual([filter, false])
  expect(await isGranted(client, `gt/1/${network}/${id}/#`)).toBe(true)
  expect(await isGranted(client, hubTopic(network))).toBe(true)
  world.broker.publish(topicsOf(network, station).reading('garden'), 'of another')
  world.broker.publish(topicsOf(network, id).reading('garden'), 'its own')
  await until('its own', 5, async () => heard.find((one) => one.endsWith('its own')))
  expect(heard).toHaveLength(1)
})

test('where readings are for everybody, what is handed to a login is still for that login alone', async () => {
  const world = await openBroker(true)
  const anybody = await world.connect({})
  const somebody = await world.stationClient()
  for (const { client } of [anybody, somebody]) await client.subscribeAsync(['#', `gt/1/${network}/sub/#`])
  const buyer = await world.buyer()
  await buyer.client.subscribeAsync(`${buyerBase(network, login)}#`)
  await world.broker.logins!.hand(login, topic, 'sold')
  world.broker.publish(topicsOf(network, station).reading('garden'), 'free')
  for (const { heard } of [anybody, somebody])
    await until('free', 5, async () => heard.find((one) => one.endsWith('free')))
  await until('sold', 5, async () => buyer.heard.find((one) => one.endsWith('sold')))
  expect([anybody.heard.length, somebody.heard.length]).toEqual([1, 1])
})

test.each([
  ['a/#', 'a/b/c', true],
  ['a/#', 'a', true],
  ['a/+/c', 'a/b/c', true],
  ['a/b/c', 'a/b/c', true],
  ['a/+', 'a/b/c', false],
  ['a/b/c/d', 'a/b/c', false],
  ['a/b', 'a/b/c', false],
  ['+/b/+', 'a/b/', true],
  ['a/b', 'a/c', false],
])('the filter %s and the topic %s: %s', (filter, topic, isMatch) => {
  expect(matches(filter, topic)).toBe(isMatch)
})

test('a login has one connection, under a name of its own, and nothing waits for it', async () => {
  const world = await openBroker()
  const reader = await world.stationClient({ clientId: 'relay' })
  const first = await world.buyer(login, { clientId: 'relay', clean: false })
  await first.client.subscribeAsync(`${buyerBase(network, login)}#`, { qos: 1 })
  expect(reader.client.connected).toBe(true)
  const second = await world.buyer(login, { clientId: 'another', clean: false })
  await first.gone
  await world.broker.logins!.hand(login, topic, 'while it does not listen')
  await second.client.subscribeAsync(`${buyerBase(network, login)}#`, { qos: 1 })
  await settled(world, second, topic)
  expect(second.heard).toEqual([`${topic} the last`])
  expect(reader.client.connected).toBe(true)
})

test('what nobody may hear is not forwarded to them, whatever they have subscribed to', () => {
  const anybody = { kind: 'anybody' } as const
  const itself = { kind: 'station', station } as const
  const other = { kind: 'station', station: 'b'.repeat(32) } as const
  const buyer = { kind: 'buyer', login } as const
  const topics = topicsOf(network, station)
  const hears = (who: Parameters<typeof mayHear>[0], openReadings: boolean) =>
    [
      topics.reading('garden'),
      topics.status,
      topics.receipt,
      topics.up,
      hubTopic(network),
      topic,
      '$SYS/x/new',
      'homeassistant/x',
    ]
      .map((one) => (mayHear(who, one, { network, openReadings }) ? 'y' : '-'))
      .join('')
  expect(hears(anybody, true)).toBe('yy--y--y')
  expect(hears(other, true)).toBe('yy--y--y')
  expect(hears(other, false)).toBe('-y--y--y')
  expect(hears(itself, false)).toBe('yyy-y--y')
  expect(hears(buyer, true)).toBe('-----y--')
  expect(hears({ ...buyer, login: 'sub_ffffffffffffffff' }, true)).toBe('--------')
})

test('a login that is dismissed gets what was handed to it before', async () => {
  const world = await openBroker()
  const { logins } = world.broker
  const { client, heard, gone } = await world.buyer()
  await client.subscribeAsync(`${buyerBase(network, login)}#`, { qos: 1 })
  const handed = Array.from({ length: 300 }, (_, n) => logins!.hand(login, topic, `${n}`))
  await handed[0]
  await handed.at(-1)
  logins!.dismiss(login)
  await gone
  expect(heard).toHaveLength(300)
})

test('a login that is dismissed is disconnected', async () => {
  const world = await openBroker()
  const { client, gone } = await world.buyer()
  await client.subscribeAsync(`${buyerBase(network, login)}#`)
  world.broker.logins!.dismiss(login)
  await gone
  await until('gone', 5, async () => (world.broker.logins!.isListening(login) ? undefined : true))
})
