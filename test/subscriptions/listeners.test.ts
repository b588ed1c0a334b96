import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { expect, onTestFinished, test } from 'vitest'
import { network } from '#test/station.ts'
import { until } from '#test/until.ts'
import { openBrokerHub, type Shown, shown, subscribe, untilShown } from './world.ts'

const [base, rowPrice] = [100n, 30n]

const connect = async ({ login, topics }: Shown, filter = topics!) => {
  const { broker, username, password } = login!
  const client = await mqtt.connectAsync(broker, { username, password, reconnectPeriod: 0 })
  onTestFinished(() => void client.end(true))
  client.on('error', () => undefined)
  const heard: { readonly topic: string; readonly row: { readonly proof: { readonly seq: number } } }[] = []
  client.on('message', (topic, payload) => heard.push({ topic, row: JSON.parse(payload.toString()) }))
  const gone = new Promise<void>((resolve) => client.once('close', () => resolve()))
  await client.subscribeAsync(filter, { qos: 1 })
  const hears = (count: number) =>
    until(`${count} messages`, 10, async () => (heard.length >= count ? true : undefined))
  return { client, heard, gone, hears, seqs: () => heard.map(({ row }) => row.proof.seq) }
}

test('a login gets what it asked for from when it listens, and pays for what its connection took', async () => {
  const world = await openBrokerHub()
  const buyer = await world.signUp(1_000_000n)
  const [one, two] = world.stations.map(({ id }) => id)
  const told = await subscribe(world, buyer.key, { kind: 'mqtt', station: one })
  expect(told).toMatchObject({ topics: `gt/1/${network}/sub/${told.id}/#`, login: { username: told.id } })
  expect(told.secret).toBeUndefined()
  await world.emit(1, one)
  const listener = await connect(told)
  await world.emit(2, one)
  await world.emit(1, two)
  await world.emit(1, one)
  await listener.hears(3)
  expect(listener.seqs()).toEqual([2, 3, 4])
  expect(listener.heard[0]).toMatchObject({
    topic: `gt/1/${network}/sub/${told.id}/reading/${one}/garden`,
    row: { station: one, sensor: 'garden', values: { temperature: 21.5 }, proof: { seq: 2, place: 0 } },
  })
  await listener.client.endAsync()
  await untilShown(world, buyer.key, told.id, { delivered: 3, spentMicroUsd: Number(base + 3n * rowPrice) })
  expect(buyer.credit()).toBe(1_000_000n - base - 3n * rowPrice)
  // What comes while nobody listens is neither kept for it nor paid; nor is the base a second time.
  await world.emit(2, one)
  const again = await connect(told)
  await world.emit(1, one)
  await again.hears(1)
  expect(again.seqs()).toEqual([7])
  await again.client.endAsync()
  await untilShown(world, buyer.key, told.id, { delivered: 4, spentMicroUsd: Number(base + 4n * rowPrice) })
})

test('what it has not subscribed to it does not pay', async () => {
  const world = await openBrokerHub()
  const buyer = await world.signUp(1_000_000n)
  const [one, two] = world.stations.map(({ id }) => id)
  const told = await subscribe(world, buyer.key, { kind: 'mqtt' })
  const listener = await connect(told, `gt/1/${network}/sub/${told.id}/reading/${two}/+`)
  await world.emit(2, one)
  await world.emit(1, two)
  await listener.hears(1)
  await listener.client.endAsync()
  await untilShown(world, buyer.key, told.id, { delivered: 1, spentMicroUsd: Number(base + rowPrice) })
  expect(listener.heard).toMatchObject([{ row: { station: two } }])
})

test('without credit it is paused and disconnected, and let in again when it goes on', async () => {
  const world = await openBrokerHub()
  const buyer = await world.signUp(base + rowPrice)
  const told = await subscribe(world, buyer.key, { kind: 'mqtt' })
  const listener = await connect(told)
  await world.emit(3)
  await listener.gone
  expect(listener.seqs()).toEqual([1])
  await untilShown(world, buyer.key, told.id, { state: 'paused', reason: 'credit', delivered: 1 })
  await expect(connect(told)).rejects.toThrow(/not authorized/i)
  buyer.pay(1_000n)
  await world.ask(`/v1/subscriptions/${told.id}/resume`, buyer.key, 'POST')
  const again = await connect(told)
  await world.emit(1)
  await again.hears(1)
  expect(again.seqs()).toEqual([4])
})

test('a key that is revoked, and an end, disconnect it', async () => {
  const world = await openBrokerHub()
  const buyer = await world.signUp(1_000_000n)
  const more = await world.ask('/v1/keys', buyer.key, 'POST', {})
  const second = more.json as { id: string; key: string }
  const told = await subscribe(world, second.key, { kind: 'mqtt' })
  const listener = await connect(told)
  await world.ask(`/v1/keys/${second.id}`, buyer.key, 'DELETE')
  await listener.gone
  expect(listener.heard).toEqual([])
  await untilShown(world, buyer.key, told.id, { state: 'paused', reason: 'key' })
  await expect(connect(told)).rejects.toThrow(/not authorized/i)

  const other = await subscribe(world, buyer.key, { kind: 'mqtt' })
  const listening = await connect(other)
  await world.ask(`/v1/subscriptions/${other.id}`, buyer.key, 'DELETE')
  await listening.gone
  await expect(connect(other)).rejects.toThrow(/not authorized/i)
})

test('the same order gives the same login with another password, and no password is told again', async () => {
  const world = await openBrokerHub()
  const buyer = await world.signUp(1_000_000n)
  const once = { 'idempotency-key': 'a-login-1' }
  const first = await subscribe(world, buyer.key, { kind: 'mqtt' }, once)
  const second = await subscribe(world, buyer.key, { kind: 'mqtt' }, once)
  expect(second.id).toBe(first.id)
  await expect(connect(first)).rejects.toThrow(/not authorized/i)
  await connect(second)
  expect(JSON.stringify(await shown(world, buyer.key, first.id))).not.toContain('assword')
  const kept = world.till.sales.subscriptions.find(first.id)!
  expect(Buffer.from(kept.secret).toString('base64url')).not.toBe(second.login!.password)
})

test('a hub stops though a login does not read what it is given', async () => {
  const world = await openBrokerHub()
  const buyer = await world.signUp(1_000_000n)
  const told = await subscribe(world, buyer.key, { kind: 'mqtt' })
  const { client } = await connect(told)
  client.stream.pause()
  const { logins } = world.broker
  // Until its connection takes no more.
  for (let isTaken = true; isTaken; ) {
    const handed = logins!.hand(told.id, `gt/1/${network}/sub/${told.id}/x`, 'x'.repeat(60_000))
    isTaken = await Promise.race([handed.then(() => true), sleep(300).then(() => false)])
  }
  await world.emit(1)
  await sleep(300)
  await world.close()
})

test('only the password that was told lets a login in', async () => {
  const world = await openBrokerHub()
  const buyer = await world.signUp(1_000_000n)
  const told = await subscribe(world, buyer.key, { kind: 'mqtt' })
  expect(world.desk.isLogin(told.id, told.login!.password)).toBe(true)
  expect(world.desk.isLogin(told.id, '')).toBe(false)
  expect(world.desk.isLogin(told.id, `${told.login!.password}x`)).toBe(false)
  expect(world.desk.isLogin('sub_0000000000000000', told.login!.password)).toBe(false)
})
