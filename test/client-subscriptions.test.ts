import { expect, test } from 'vitest'
import { openClient, verifyWebhook } from '#gateway/client/client.ts'
import { network, newSigner } from '#test/station.ts'
import { startReceiver } from '#test/subscriptions/receiver.ts'
import { type HubWorld, openBrokerHub, openHub } from '#test/subscriptions/world.ts'
import { until } from '#test/until.ts'

type Between = (request: Request, hub: (request: Request) => Promise<Response>) => Promise<Response>

/** A client with credit at a hub with real subscriptions, behind `between`. */
const openBuyer = async (world: HubWorld, between: Between = (request, hub) => hub(request)) => {
  const buyer = await world.signUp(1_000_000n)
  const requests: Request[] = []
  const hub = openClient({
    url: 'http://shop.test',
    key: buyer.key,
    fetch: async (input, init) => {
      const request = new Request(input, init)
      requests.push(request.clone())
      return between(request, async (passed) => world.api.fetch(passed))
    },
  })
  return { buyer, hub, requests }
}

const untilDelivered = (hub: ReturnType<typeof openClient>, id: string, delivered: number) =>
  until(`${delivered} readings`, 10, async () => {
    const shown = await hub.subscription(id)
    return shown.delivered === delivered ? shown : undefined
  })

test('a webhook is subscribed, checks what comes with its secret or the hub’s key, and is told of until it ends', async () => {
  const world = await openHub()
  const { buyer, hub } = await openBuyer(world)
  const receiver = await startReceiver()
  const [one, two] = world.stations.map(({ id }) => id) as [string, string]
  const told = await hub.subscribe({
    ...{ kind: 'webhook', url: receiver.url, batch: 1, station: one, quantity: ['temperature', 'humidity'] },
    minQuality: 0.5,
  })
  expect(told).toMatchObject({
    ...{ kind: 'webhook', state: 'active', url: receiver.url, batch: 1, minQuality: 0.5, key: buyer.id },
    ...{ station: [one], quantity: ['humidity', 'temperature'], delivered: 0, spentMicroUsd: 0n },
  })
  expect(told).not.toHaveProperty('min_quality')
  await world.emit(1, two)
  await world.emit(2, one)
  const shown = await untilDelivered(hub, told.id, 2)
  const { secret, ...kept } = told
  expect(shown).toMatchObject({
    ...kept,
    delivered: 2,
    spentMicroUsd: 1_000_000n - buyer.credit(),
    lastDelivered: expect.any(String),
  })
  expect(buyer.credit()).toBeLessThan(1_000_000n)

  const nowMs = world.clock.nowMs
  const posts = receiver.posts()
  expect(posts).toHaveLength(2)
  for (const trust of [{ secret }, { hubKey: told.publicKey, subscription: told.id }])
    for (const [at, { headers, body }] of posts.entries()) {
      const checked = verifyWebhook(headers, body, trust, { nowMs })
      expect(checked.ok && checked.events).toMatchObject([
        {
          ...{ source: `urn:groundtruth:${network}`, subject: `${one}/garden` },
          data: { station: one, values: { temperature: 21.5, humidity: 45.1 }, proof: { seq: 1 + at } },
        },
      ])
      expect(verifyWebhook(headers, body.replace('21.5', '21.4'), trust, { nowMs })).toMatchObject({
        reason: 'signature',
      })
    }

  expect(await hub.subscriptions()).toEqual([shown])
  await hub.unsubscribe(told.id)
  expect(await hub.subscriptions()).toEqual([])
  await expect(hub.subscription(told.id)).rejects.toMatchObject({ slug: 'not-found' })
  await expect(hub.unsubscribe(told.id)).rejects.toMatchObject({ slug: 'not-found' })
})

test('one that was paused for want of credit goes on when it is resumed, and no reading is missed', async () => {
  const world = await openHub()
  const { hub } = await openBuyer(world)
  const poor = await world.signUp(0n)
  const poorHub = openClient({
    url: 'http://shop.test',
    key: poor.key,
    fetch: async (input, init) => world.api.fetch(new Request(input, init)),
  })
  const receiver = await startReceiver()
  const { id, secret } = await poorHub.subscribe({ kind: 'webhook', url: receiver.url })
  await world.emit(2)
  const paused = await until('paused', 10, async () => {
    const shown = await poorHub.subscription(id)
    return shown.state === 'paused' ? shown : undefined
  })
  expect(paused).toMatchObject({ reason: 'credit', delivered: 0, spentMicroUsd: 0n })
  poor.pay(1_000_000n)
  await expect(hub.resume(id)).rejects.toMatchObject({ slug: 'not-found' })
  expect(await poorHub.resume(id)).toMatchObject({ id, kind: 'webhook', state: 'active' })
  await untilDelivered(poorHub, id, 2)
  const seqs = receiver.posts().flatMap(({ headers, body }) => {
    const checked = verifyWebhook(headers, body, { secret }, { nowMs: world.clock.nowMs })
    return checked.ok ? checked.events.map(({ data }) => data.proof.seq) : expect.fail(checked.detail)
  })
  expect(seqs).toEqual([1, 2])
})

test('a login is subscribed and told with its password, which the broker takes', async () => {
  const world = await openBrokerHub()
  const { hub } = await openBuyer(world)
  const told = await hub.subscribe({ kind: 'mqtt', sensor: 'garden' })
  expect(told).toMatchObject({
    ...{ kind: 'mqtt', sensor: 'garden', topics: `gt/1/${network}/sub/${told.id}/#` },
    login: { broker: world.brokerUrl, username: told.id },
  })
  const { login, ...kept } = told
  expect(world.desk.isLogin(login.username, login.password)).toBe(true)
  expect(await hub.subscriptions()).toEqual([kept])
})

test('an answer that was lost makes no second subscription, and ends one all the same', async () => {
  const lost = new Set(['POST', 'DELETE'])
  const world = await openHub()
  const { hub, buyer, requests } = await openBuyer(world, async (request, next) => {
    const answer = await next(request)
    if (request.url.includes('/v1/subscriptions') && lost.delete(request.method))
      throw new TypeError('fetch failed')
    return answer
  })
  const receiver = await startReceiver()
  const { id } = await hub.subscribe({ kind: 'webhook', url: receiver.url })
  expect((await hub.subscriptions()).map((one) => one.id)).toEqual([id])
  await hub.unsubscribe(id)
  expect(world.till.sales.subscriptions.ofCustomer(buyer.customer)).toEqual([])
  expect(lost.size).toBe(0)
  expect(requests.filter(({ method }) => method === 'DELETE')).toHaveLength(2)
})

test('what the hub refuses is told as it says it', async () => {
  const world = await openHub()
  const { hub } = await openBuyer(world)
  const silent = await startReceiver((_, response) => void response.writeHead(200).end())
  await expect(hub.subscribe({ kind: 'webhook', url: silent.url })).rejects.toMatchObject({
    slug: 'webhook-unwilling',
  })
  await expect(hub.subscribe({ kind: 'mqtt' })).rejects.toMatchObject({ slug: 'logins-unavailable' })
  const nobody = openClient({
    url: 'http://shop.test',
    fetch: async (input, init) => world.api.fetch(new Request(input, init)),
  })
  await expect(nobody.subscriptions()).rejects.toMatchObject({ status: 401 })
  await expect(hub.subscription('../keys')).rejects.toMatchObject({ slug: 'invalid-query' })
})

test('a hub that names another key than its own for the signatures, or tells no secret, is not believed', async () => {
  let change: (said: Record<string, unknown>) => object = (said) => said
  const { hub } = await openBuyer(await openHub(), async (request, next) => {
    const answer = await next(request)
    if (!request.url.includes('/v1/subscriptions')) return answer
    return Response.json(change((await answer.json()) as Record<string, unknown>), answer)
  })
  const receiver = await startReceiver()
  const wanted = { kind: 'webhook', url: receiver.url } as const
  const other = `whpk_${Buffer.from(newSigner().publicKey).toString('base64')}`
  change = (said) => ({ ...said, publicKey: other })
  await expect(hub.subscribe(wanted)).rejects.toThrow('with another key than its own')
  change = ({ secret: _, ...rest }) => rest
  await expect(hub.subscribe(wanted)).rejects.toMatchObject({ name: 'HubDistrusted' })
  change = (said) => ({ ...said, kind: 'mqtt', topics: '#' })
  await expect(hub.subscribe(wanted)).rejects.toMatchObject({ name: 'HubDistrusted' })
  change = (said) => ({ ...said, id: '../keys' })
  await expect(hub.subscribe(wanted)).rejects.toMatchObject({ name: 'HubDistrusted' })
})
