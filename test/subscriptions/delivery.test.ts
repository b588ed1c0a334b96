import { createHash, createHmac } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { verifySale } from '#gateway/reading/sale.ts'
import { network } from '#test/station.ts'
import { until } from '#test/until.ts'
import { type Received, type Receiver, startReceiver, willing } from './receiver.ts'
import { newPlace, openHub, subscribe, untilShown } from './world.ts'

type Event = {
  readonly id: string
  readonly subject: string
  readonly data: { readonly station: string; readonly proof: { readonly seq: number } }
}

const eventsIn = ({ body }: Received): Event[] => [JSON.parse(body)].flat() as Event[]
const eventsOf = (receiver: Receiver): Event[] => receiver.posts().flatMap(eventsIn)
const seqsOf = (receiver: Receiver): number[] => eventsOf(receiver).map(({ data }) => data.proof.seq)
const untilEvents = (receiver: Receiver, count: number) =>
  until(`${count} events`, 10, async () => (eventsOf(receiver).length >= count ? true : undefined))

/** Answers OPTIONS as it should, and POST with a status. */
const answering =
  (status: number, headers: Record<string, string> = {}): typeof willing =>
  (received, response) => {
    if (received.method === 'OPTIONS') willing(received, response)
    else response.writeHead(status, headers).end()
  }

// Three values, fresh and of the best tier, at 10 micro-USD each; and 100 once for the subscription.
const [base, rowPrice] = [100n, 30n]

describe('a webhook', () => {
  test('gets each reading as a signed CloudEvent, in order, and pays for what it took', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(1_000_000n)
    await world.emit(2)
    const told = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url })
    expect(receiver.received).toMatchObject([
      { method: 'OPTIONS', headers: { 'webhook-request-origin': `${network}.invalid` } },
    ])
    await world.emit(3)
    await world.emit(2, world.stations[1]!.id)
    await untilEvents(receiver, 5)
    // What was there before it was asked for is not in it.
    expect(seqsOf(receiver)).toEqual([3, 4, 5, 1, 2])
    const now = await untilShown(world, buyer.key, told.id, { delivered: 5 })
    expect(now).toMatchObject({ state: 'active', failures: 0, lastError: null })
    expect(now.spentMicroUsd).toBe(Number(base + 5n * rowPrice))
    expect(buyer.credit()).toBe(1_000_000n - base - 5n * rowPrice)

    const first = receiver.posts()[0]!
    const event = eventsIn(first)[0]!
    expect(first.headers).toMatchObject({
      'content-type': 'application/cloudevents-batch+json; charset=utf-8',
      'user-agent': 'groundtruth/0.1.0',
      'webhook-request-origin': `${network}.invalid`,
    })
    expect(event).toEqual({
      specversion: '1.0',
      id: expect.stringMatching(/^\d+-0$/),
      source: `urn:groundtruth:${network}`,
      type: 'groundtruth.reading.v1',
      subject: `${world.stations[0]!.id}/garden`,
      time: '2026-11-26T12:00:03.000Z',
      datacontenttype: 'application/json',
      data: expect.objectContaining({
        station: world.stations[0]!.id,
        sensor: 'garden',
        values: { temperature: 21.5, humidity: 45.1, pressure: 1013.25 },
        proof: { seq: 3, status: 'pending', place: 0 },
      }),
    })
    // The row is that of /v1/readings.
    const rows = await world.ask(
      '/v1/readings?from=2026-11-26T12:00:03Z&to=2026-11-26T12:00:03.001Z',
      buyer.key,
    )
    expect((rows.json as { readings: unknown[] }).readings).toEqual([event.data])
    // By the text of Standard Webhooks: base64 of HMAC-SHA256 over id, timestamp and body with full stops between them.
    const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature } = first.headers
    const mac = createHmac('sha256', Buffer.from(told.secret!.replace(/^whsec_/, ''), 'base64'))
      .update(`${id}.${timestamp}.${first.body}`)
      .digest('base64')
    expect(String(signature).split(' ')).toContain(`v1,${mac}`)
    expect(Number(timestamp) * 1000).toBeGreaterThanOrEqual(world.clock.nowMs - 10_000)
  })

  test('has a receipt for each message, which binds what was sent, and no message is without', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(1_000_000n)
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url })
    for (const count of [1, 2, 1]) await world.emit(count)
    await untilShown(world, buyer.key, id, { delivered: 4 })
    const { receipts } = (await world.ask('/v1/receipts', buyer.key)).json as { receipts: { id: string }[] }
    const bound = []
    for (const one of receipts) {
      const { cose } = (await world.ask(`/v1/receipts/${one.id}`, buyer.key)).json as { cose: string }
      const verified = verifySale(
        new Uint8Array(Buffer.from(cose, 'base64')),
        network,
        world.place.hub.publicKey,
      )
      if (!verified.ok) return expect.fail(verified.detail)
      bound.push(Buffer.from(verified.sale.response).toString('hex'))
    }
    const sent = receiver.posts().map(({ body }) => createHash('sha256').update(body).digest('hex'))
    expect(bound.sort()).toEqual(sent.sort())
  })

  test('gets only what it asked for', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(1_000_000n)
    const [one, two] = world.stations.map(({ id }) => id)
    await subscribe(world, buyer.key, {
      ...{ kind: 'webhook', url: receiver.url, station: two, sensor: 'garden' },
      ...{ quantity: ['temperature'], min_quality: 0.9, batch: 1 },
    })
    const other = await startReceiver()
    await subscribe(world, buyer.key, { kind: 'webhook', url: other.url, station: [two], sensor: 'roof' })
    await world.emit(2, one)
    await world.emit(2, two)
    await world.emit(1, two, 84) // far from what it was, and scored for it
    await world.emit(3, two)
    await untilEvents(receiver, 4)
    expect(receiver.posts()[0]!.headers['content-type']).toBe('application/cloudevents+json; charset=utf-8')
    expect(eventsOf(receiver).map(({ data }) => data)).toMatchObject(
      [1, 2, 5, 6].map((seq) => ({ station: two, values: { temperature: 21.5 }, proof: { seq } })),
    )
    expect(Object.keys((eventsOf(receiver)[0]!.data as unknown as { values: object }).values)).toEqual([
      'temperature',
    ])
    expect(other.posts()).toEqual([])
  })

  test('gets an envelope of many readings in as many messages as it takes, each reading once', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(1_000_000n)
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url, batch: 2 })
    await world.emitTogether(5)
    await untilShown(world, buyer.key, id, { delivered: 5 })
    const places = receiver.posts().map((post) => eventsIn(post).map((event) => event.id.split('-')[1]))
    expect(places).toEqual([['0'], ['1', '2'], ['3', '4']])
  })

  test('gets no more at once than it has paid before and one: who keeps what he does not acknowledge has little', async () => {
    const world = await openHub()
    const receiver = await startReceiver(answering(500))
    const buyer = await world.signUp(1_000_000n)
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url })
    await world.emitTogether(20)
    await untilShown(world, buyer.key, id, { failures: 1 })
    receiver.reply = willing
    world.clock.nowMs += 6_000
    await untilShown(world, buyer.key, id, { delivered: 20 })
    expect(receiver.posts().map((post) => eventsIn(post).length)).toEqual([1, 1, 2, 4, 8, 5])
  })

  test('of the owner of a station costs nothing', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const owner = await world.signUp(0n)
    world.till.sales.keys.own(owner.customer, world.stations[0]!.id)
    const { id } = await subscribe(world, owner.key, { kind: 'webhook', url: receiver.url })
    await world.emit(2)
    await untilShown(world, owner.key, id, { delivered: 2, spentMicroUsd: 0, state: 'active' })
    // What is another's is not: it stops there, and nothing was sent of it.
    await world.emit(1, world.stations[1]!.id)
    await untilShown(world, owner.key, id, { state: 'paused', reason: 'credit' })
    expect(seqsOf(receiver)).toEqual([1, 2])
  })
})

describe('what a receiver answers', () => {
  test('with anything but 2xx is sent again, in order, and paid once', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(1_000_000n)
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url, batch: 2 })
    await world.emit(1)
    await untilShown(world, buyer.key, id, { delivered: 1 })
    const left = buyer.credit()
    receiver.reply = answering(500)
    await world.emit(1)
    const failing = await untilShown(world, buyer.key, id, { failures: 1, lastError: 'it answered 500' })
    expect(failing).toMatchObject({ state: 'active', delivered: 1 })
    expect(failing.nextTry).toBe(new Date(Date.parse(failing.failingSince!) + 5_000).toISOString())
    expect(buyer.credit()).toBe(left)
    receiver.reply = answering(302, { location: receiver.url })
    await world.emit(2)
    world.clock.nowMs += 6_000
    await untilShown(world, buyer.key, id, { lastError: 'it answered 302; redirects are not followed' })
    receiver.reply = willing
    world.clock.nowMs += 60_000
    await untilShown(world, buyer.key, id, { delivered: 4, failures: 0, lastError: null, failingSince: null })
    const ids = receiver.posts().map((post) => eventsIn(post).map((event) => event.data.proof.seq))
    expect(ids).toEqual([[1], [2], [2, 3], [2, 3], [4]])
    // A message that is sent again is the same message; another one is another.
    const messages = receiver.posts().map(({ headers }) => headers['webhook-id'])
    expect(new Set(messages).size).toBe(4)
    expect(messages[2]).toBe(messages[3])
    expect(buyer.credit()).toBe(1_000_000n - base - 4n * rowPrice)
  })

  test('by hanging up or by silence is the same', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(1_000_000n)
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url })
    receiver.reply = (_, response) => response.socket!.destroy()
    await world.emit(1)
    await untilShown(world, buyer.key, id, { lastError: 'the connection was cut' })
    receiver.reply = () => undefined
    world.clock.nowMs += 6_000
    await untilShown(world, buyer.key, id, { lastError: 'no answer within 0.5 s' })
    expect(buyer.credit()).toBe(1_000_000n)
  })

  test('with Retry-After is kept to, as seconds and as a date', async () => {
    const world = await openHub()
    const receiver = await startReceiver(answering(429, { 'retry-after': '600' }))
    const buyer = await world.signUp(1_000_000n)
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url })
    await world.emit(1)
    const first = await untilShown(world, buyer.key, id, { failures: 1 })
    expect(Date.parse(first.nextTry!)).toBe(world.clock.nowMs + 600_000)
    world.clock.nowMs += 600_000
    const then = new Date(world.clock.nowMs + 1_200_000)
    receiver.reply = answering(503, { 'retry-after': then.toUTCString() })
    const second = await untilShown(world, buyer.key, id, { failures: 2 })
    expect(second.nextTry).toBe(then.toISOString())
  })

  test('with 410 ends it', async () => {
    const world = await openHub()
    const receiver = await startReceiver(answering(410))
    const buyer = await world.signUp(1_000_000n)
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url })
    await world.emit(1)
    await untilShown(world, buyer.key, id, { state: 'ended', reason: 'gone' })
    expect(await (await world.api.request('/metrics')).text()).toContain(
      'groundtruth_subscriptions{kind="webhook",state="ended"} 1',
    )
    await world.emit(1)
    expect(receiver.posts()).toHaveLength(1)
    expect(buyer.credit()).toBe(1_000_000n)
  })

  test('with failures for three days pauses it, and its owner lets it go on where it was', async () => {
    const world = await openHub()
    const receiver = await startReceiver(answering(500))
    const buyer = await world.signUp(1_000_000n)
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url })
    await world.emit(2)
    await untilShown(world, buyer.key, id, { failures: 1 })
    world.clock.nowMs += 3 * 86_400_000
    await untilShown(world, buyer.key, id, { state: 'paused', reason: 'unreachable', failures: 2 })
    receiver.reply = (_, response) => void response.writeHead(200).end()
    const refused = await world.ask(`/v1/subscriptions/${id}/resume`, buyer.key, 'POST')
    expect(refused.json).toMatchObject({ type: '/problems/webhook-unwilling' })
    receiver.reply = willing
    const resumed = await world.ask(`/v1/subscriptions/${id}/resume`, buyer.key, 'POST')
    expect([resumed.response.status, resumed.json]).toMatchObject([200, { state: 'active' }])
    await untilShown(world, buyer.key, id, { delivered: 2 })
    expect(seqsOf(receiver).slice(-2)).toEqual([1, 2])
  })

  test('as its rate is how often it is called', async () => {
    const world = await openHub()
    const receiver = await startReceiver((received, response) => {
      if (received.method === 'OPTIONS') response.setHeader('webhook-allowed-rate', '6')
      willing(received, response)
    })
    const buyer = await world.signUp(1_000_000n)
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url, batch: 1 })
    await world.emit(3)
    await untilShown(world, buyer.key, id, { delivered: 1 })
    for (const delivered of [2, 3]) {
      world.clock.nowMs += 10_000
      await untilShown(world, buyer.key, id, { delivered })
    }
    expect(seqsOf(receiver)).toEqual([1, 2, 3])
  })
})

describe('money', () => {
  test('that ends pauses it with the reason, nothing is sent unpaid, and more lets it go on', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(base + 2n * rowPrice)
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url, batch: 1 })
    await world.emit(3)
    await untilShown(world, buyer.key, id, { state: 'paused', reason: 'credit', delivered: 2 })
    expect([seqsOf(receiver), buyer.credit()]).toEqual([[1, 2], 0n])
    buyer.pay(1_000n)
    await world.ask(`/v1/subscriptions/${id}/resume`, buyer.key, 'POST')
    await untilShown(world, buyer.key, id, { state: 'active', delivered: 3 })
    expect(seqsOf(receiver)).toEqual([1, 2, 3])
  })

  test('for one that waits for its answer is not kept from the others', async () => {
    const world = await openHub(newPlace(), { webhook: { privateAddresses: true } })
    const [slow, quick] = [await startReceiver(), await startReceiver()]
    const buyer = await world.signUp(2n * (base + rowPrice))
    const first = await subscribe(world, buyer.key, { kind: 'webhook', url: slow.url })
    const second = await subscribe(world, buyer.key, { kind: 'webhook', url: quick.url })
    const answers: (() => void)[] = []
    slow.reply = (received, response) => void answers.push(() => willing(received, response))
    await world.emit(1)
    await untilEvents(slow, 1)
    await untilShown(world, buyer.key, second.id, { state: 'active', delivered: 1 })
    for (const answer of answers) answer()
    await untilShown(world, buyer.key, first.id, { state: 'active', delivered: 1 })
    expect(buyer.credit()).toBe(0n)
  })

  test('of a key’s budget, and a revoked key, pause it too; another key of the account takes it on', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(1_000_000n, { budgetMicroUsd: 130 })
    const more = await world.ask('/v1/keys', buyer.key, 'POST', { scopes: ['read'] })
    const { id: secondId, key: second } = more.json as { id: string; key: string }
    const { id } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url, batch: 1 })
    await world.emit(2)
    await untilShown(world, buyer.key, id, { state: 'paused', reason: 'budget', delivered: 1 })
    await world.ask(`/v1/subscriptions/${id}/resume`, second, 'POST')
    await untilShown(world, buyer.key, id, { state: 'active', delivered: 2 })
    await world.ask(`/v1/keys/${secondId}`, buyer.key, 'DELETE')
    await world.emit(1)
    await untilShown(world, buyer.key, id, { state: 'paused', reason: 'key' })
    expect(seqsOf(receiver)).toEqual([1, 2])
  })
})

describe('a hub that was away', () => {
  test('goes on where it was: what was not acknowledged comes again, what was kept meanwhile follows', async () => {
    const place = newPlace()
    const receiver = await startReceiver()
    const first = await openHub(place)
    const buyer = await first.signUp(1_000_000n)
    const { id } = await subscribe(first, buyer.key, { kind: 'webhook', url: receiver.url })
    await first.emit(2)
    await untilShown(first, buyer.key, id, { delivered: 2 })
    // The receiver has it, and the hub does not know: it must come again, and not be paid twice.
    receiver.reply = () => undefined
    await first.emit(2)
    await untilEvents(receiver, 3)
    await first.close()

    receiver.reply = willing
    const second = await openHub(place)
    await untilShown(second, buyer.key, id, { delivered: 4, spentMicroUsd: Number(base + 4n * rowPrice) })
    const ids = new Set(eventsOf(receiver).map((event) => event.id))
    expect([ids.size, new Set(seqsOf(receiver))]).toEqual([4, new Set([1, 2, 3, 4])])
    const found = second.till.sales.ledger.balance(`customer:${buyer.customer}`)
    expect(found).toBe(1_000_000n - base - 4n * rowPrice)
    expect(second.till.sales.ledger.balance('held:queries')).toBe(0n)
  })

  test('tells how much was too old when its turn came, and how to get it', async () => {
    const world = await openHub()
    const receiver = await startReceiver(answering(500))
    const buyer = await world.signUp(1_000_000n)
    const { id } = await subscribe(world, buyer.key, {
      ...{ kind: 'webhook', url: receiver.url, station: world.stations[0]!.id, quantity: ['temperature'] },
    })
    await world.emit(2)
    await untilShown(world, buyer.key, id, { failures: 1 })
    world.clock.nowMs += 8 * 86_400_000
    receiver.reply = willing
    await world.emit(2)
    const now = await untilShown(world, buyer.key, id, { delivered: 2 })
    expect(seqsOf(receiver).slice(-2)).toEqual([3, 4])
    expect(now.skipped).toEqual({
      readings: 2,
      from: '2026-11-26T12:00:01.000Z',
      to: '2026-11-26T12:00:02.001Z',
      get: `/v1/readings?from=2026-11-26T12%3A00%3A01.000Z&to=2026-11-26T12%3A00%3A02.001Z&station=${world.stations[0]!.id}&quantity=temperature`,
    })
    const got = await world.ask(now.skipped!.get, buyer.key)
    expect((got.json as { readings: unknown[] }).readings).toHaveLength(2)
  })
})

describe('the address', () => {
  test('must agree first: nothing is made where it does not', async () => {
    const world = await openHub()
    const victim = await startReceiver((_, response) => void response.writeHead(200).end())
    const buyer = await world.signUp(1_000n)
    const made = await world.ask('/v1/subscriptions', buyer.key, 'POST', { kind: 'webhook', url: victim.url })
    expect([made.response.status, made.json]).toMatchObject([
      422,
      { type: '/problems/webhook-unwilling', fields: [{ name: 'url' }] },
    ])
    const list = await world.ask('/v1/subscriptions', buyer.key)
    expect([list.json, victim.received.length]).toEqual([{ subscriptions: [] }, 1])
  })

  test('is not private, unless its operator says so', async () => {
    const world = await openHub(newPlace(), { webhook: { privateAddresses: false } })
    const buyer = await world.signUp(1_000n)
    for (const url of [
      'http://127.0.0.1:1/',
      'https://127.0.0.1:1/',
      'https://localhost/',
      'https://[::1]/',
    ]) {
      const made = await world.ask('/v1/subscriptions', buyer.key, 'POST', { kind: 'webhook', url })
      expect([url, made.response.status]).toEqual([url, 422])
    }
  })

  test('of many is asked for an account so often an hour', async () => {
    const world = await openHub()
    const receiver = await startReceiver((_, response) => void response.writeHead(200).end())
    const buyer = await world.signUp(1_000n)
    const statuses = []
    for (let n = 0; n < 62; n++)
      statuses.push(
        (await world.ask('/v1/subscriptions', buyer.key, 'POST', { kind: 'webhook', url: receiver.url }))
          .response.status,
      )
    expect(statuses.slice(58)).toEqual([422, 422, 429, 429])
    expect(receiver.received).toHaveLength(60)
  })
})

describe('an account', () => {
  test('makes one once for one Idempotency-Key, and is told the same again', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(1_000n)
    const once = { 'idempotency-key': 'subscribe-1' }
    const body = { kind: 'webhook', url: receiver.url }
    const first = await subscribe(world, buyer.key, body, once)
    expect(await subscribe(world, buyer.key, body, once)).toEqual(first)
    expect(receiver.received).toHaveLength(1)
    const other = await world.ask('/v1/subscriptions', buyer.key, 'POST', { ...body, batch: 5 }, once)
    expect(other.response.status).toBe(409)
    const another = await world.signUp(1_000n)
    expect((await subscribe(world, another.key, body, once)).id).not.toBe(first.id)
  })

  test('sees, resumes and ends its own alone', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const [buyer, other] = [await world.signUp(1_000n), await world.signUp(1_000n)]
    const { id, secret } = await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url })
    for (const [path, method] of [
      [`/v1/subscriptions/${id}`, 'GET'],
      [`/v1/subscriptions/${id}`, 'DELETE'],
      [`/v1/subscriptions/${id}/resume`, 'POST'],
    ] as const)
      expect((await world.ask(path, other.key, method)).response.status).toBe(404)
    expect((await world.ask('/v1/subscriptions', other.key)).json).toEqual({ subscriptions: [] })
    expect((await world.api.request('/v1/subscriptions')).status).toBe(401)
    const one = await world.ask(`/v1/subscriptions/${id}`, buyer.key)
    expect(one.text).not.toContain(secret)
    expect((await world.ask(`/v1/subscriptions/${id}`, buyer.key, 'DELETE')).response.status).toBe(204)
    expect((await world.ask(`/v1/subscriptions/${id}`, buyer.key)).response.status).toBe(404)
    await world.emit(2)
    expect(receiver.posts()).toEqual([])
  })

  test('has its secrets in files that nobody else can read', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(1_000n)
    await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url })
    const files = readdirSync(world.place.directory).filter((name) => name.startsWith('sales.sqlite'))
    expect(files).toEqual(['sales.sqlite', 'sales.sqlite-shm', 'sales.sqlite-wal'])
    for (const file of files)
      expect(statSync(join(world.place.directory, file)).mode & 0o777, file).toBe(0o600)
  })

  test('has so many at most', async () => {
    const world = await openHub()
    const receiver = await startReceiver()
    const buyer = await world.signUp(1_000n)
    for (let n = 0; n < 20; n++) await subscribe(world, buyer.key, { kind: 'webhook', url: receiver.url })
    const more = await world.ask('/v1/subscriptions', buyer.key, 'POST', {
      kind: 'webhook',
      url: receiver.url,
    })
    expect(more.json).toMatchObject({ type: '/problems/too-many-subscriptions', status: 409 })
  })

  test('is told what is wrong with what it asks for', async () => {
    const world = await openHub()
    const buyer = await world.signUp(1_000n)
    const url = 'https://hook.example/'
    for (const body of [
      {},
      { kind: 'post' },
      { kind: 'webhook' },
      { kind: 'webhook', url, batch: 0 },
      { kind: 'webhook', url, batch: 101 },
      { kind: 'webhook', url, station: ['#'] },
      { kind: 'webhook', url, quantity: ['latitude'] },
      { kind: 'webhook', url, min_quality: 2 },
      { kind: 'webhook', url, more: 1 },
      { kind: 'mqtt', url },
    ]) {
      const made = await world.ask('/v1/subscriptions', buyer.key, 'POST', body)
      expect([body, made.json]).toMatchObject([body, { type: '/problems/invalid-query', status: 400 }])
    }
  })

  test('gets no login where the broker is not the hub’s own', async () => {
    const world = await openHub()
    const buyer = await world.signUp(1_000n)
    const made = await world.ask('/v1/subscriptions', buyer.key, 'POST', { kind: 'mqtt' })
    expect(made.json).toMatchObject({ type: '/problems/logins-unavailable', status: 501 })
  })
})
