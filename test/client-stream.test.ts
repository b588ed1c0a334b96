import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type HubClient, LimitReached, openClient, type StreamAccount } from '#gateway/client/client.ts'
import { eventsIn } from '#gateway/client/event-stream.ts'
import { openStreamWorld } from '#test/stream-world.ts'
import { until } from '#test/until.ts'

type World = Awaited<ReturnType<typeof openStreamWorld>>

/** Takes so many readings of a stream while others see to it that they come. */
const take = async (stream: ReturnType<HubClient['stream']>, count: number) => {
  const taken = []
  for await (const one of stream) {
    taken.push(one)
    if (taken.length === count) break
  }
  return taken
}

/** A client with a buyer's key; `changed` stands between it and the hub. */
const clientOf = (
  { url }: World,
  authorization?: string,
  changed: (answer: Response) => Response = (answer) => answer,
  more: { maxMicroUsd?: bigint; maxTotalMicroUsd?: bigint; tries?: number } = {},
) => {
  const requests: Request[] = []
  const hub = openClient({
    url,
    ...(authorization === undefined ? {} : { key: authorization.replace('Bearer ', '') }),
    fetch: async (input, init) => {
      const request = new Request(input, init)
      requests.push(request.clone())
      const answer = await fetch(request)
      return request.url.includes('/v1/stream') ? changed(answer) : answer
    },
    ...more,
  })
  const opened = () => requests.filter((request) => request.url.includes('/v1/stream'))
  return { hub, opened }
}

/** The same answer, whose text goes through `change` piece by piece. */
const rewritten = (answer: Response, change: (text: string, end: () => void) => string): Response =>
  new Response(
    answer.body!.pipeThrough(new TextDecoderStream()).pipeThrough(
      new TransformStream<string, Uint8Array>({
        transform: (text, controller) => {
          let isOver = false
          const kept = change(text, () => {
            isOver = true
          })
          controller.enqueue(new TextEncoder().encode(kept))
          if (isOver) controller.error(new TypeError('terminated'))
        },
      }),
    ),
    { status: answer.status, headers: answer.headers },
  )

test('readings come as they are measured, of the stations that are asked for, until nobody takes them', async () => {
  const world = await openStreamWorld()
  const { hub, opened } = clientOf(world)
  const [of] = world.stations
  let isOver = false
  const taking = take(hub.stream({ station: of! }), 3).finally(() => {
    isOver = true
  })
  // What was there before the stream was opened is not in it, so there is more until it has had enough.
  while (!isOver) {
    await world.emit(1, 1)
    await world.emit(1, 0)
    await sleep(50)
  }
  expect((await taking).map(({ reading }) => reading.station)).toEqual([of, of, of])
  expect(opened()).toHaveLength(1)
})

test('a stream that breaks goes on behind the last reading: none is missed, none comes twice', async () => {
  const world = await openStreamWorld()
  let cuts = 2
  const { hub, opened } = clientOf(
    world,
    undefined,
    (answer) =>
      rewritten(answer, (text, end) => {
        const second = text.indexOf('event: reading', text.indexOf('event: reading') + 1)
        if (cuts > 0 && second > 0) {
          cuts--
          end()
          // Half of an event is none.
          return text.slice(0, second + 30)
        }
        return text
      }),
    // Tries are counted anew with every event.
    { tries: 2 },
  )
  await world.emit(4)
  await until('evidence', 10, async () => (world.evidence.committed >= 4 ? true : undefined))
  // From the beginning of what is there.
  const all = await take(clientOf(world).hub.stream({}, { after: '0-0' }), 11)
  const taken = await take(hub.stream({}, { after: '0-0' }), 11)
  expect(taken).toEqual(all)
  expect(new Set(taken.map(({ id }) => id)).size).toBe(11)
  expect(opened()).toHaveLength(3)
  expect(opened()[1]!.headers.get('last-event-id')).not.toBe('0-0')
  const behind = await take(hub.stream({}, { after: taken[4]!.id }), 1)
  expect(behind).toEqual([taken[5]])
})

test('what comes between the start of a stream and its first reading is not missed where it breaks there', async () => {
  const world = await openStreamWorld()
  let cuts = 1
  const { hub, opened } = clientOf(world, undefined, (answer) =>
    rewritten(answer, (text, end) => {
      if (cuts-- > 0) end()
      return text
    }),
  )
  const taking = take(hub.stream(), 3)
  await until('the stream', 10, async () => (cuts <= 0 ? true : undefined))
  await world.emit(1)
  const readings = (await taking).map(({ reading }) => reading)
  expect(readings.map(({ proof }) => [proof.seq, proof.place])).toEqual([
    [1, 0],
    [1, 1],
    [1, 2],
  ])
  expect(opened().map(({ headers }) => headers.get('last-event-id'))).toEqual([null, '0'])
})

test('each account is told with its receipt, checked against the readings that came, and counts as spent', async () => {
  const world = await openStreamWorld({ sell: true, silenceMs: 50 })
  const buyer = world.signUp(100_000n)
  const { hub } = clientOf(world, buyer.headers.authorization)
  const accounts: StreamAccount[] = []
  await world.emit(2)
  const taking = take(hub.stream({}, { after: '0-0', onAccount: (account) => accounts.push(account) }), 13)
  for (const count of [1, 2]) {
    const had = buyer.credit()
    if (count > 1) await world.emit(2)
    await until('readings to be sent', 10, async () =>
      buyer.credit() < had || count === 1 ? true : undefined,
    )
    await until('an account', 10, async () => {
      world.clock.nowMs += 60_000
      return accounts[count - 1]
    })
  }
  await world.emit(1)
  await taking
  expect(accounts.length).toBeGreaterThan(1)
  for (const { receipt, receiptId, rows } of accounts) expect(receipt).toMatchObject({ id: receiptId, rows })
  expect(hub.spentMicroUsd).toBe(accounts.reduce((sum, { priceMicroUsd }) => sum + priceMicroUsd, 0n))
})

test('readings that were changed on the way are not what their receipt names', async () => {
  const world = await openStreamWorld({ sell: true, silenceMs: 50 })
  const buyer = world.signUp(100_000n)
  const { hub } = clientOf(world, buyer.headers.authorization, (answer) =>
    rewritten(answer, (text) => text.replace('"temperature":20', '"temperature":21')),
  )
  await world.emit(1)
  const taking = take(hub.stream({}, { after: '0-0' }), 100)
  taking.catch(() => undefined)
  await until('readings to be sent', 10, async () => (buyer.credit() < 100_000n ? true : undefined))
  world.clock.nowMs += 60_000
  await expect(taking).rejects.toThrow('the receipt is of other readings')
})

test('a stream ends where its accounts come to more than it may cost', async () => {
  const world = await openStreamWorld({ sell: true, silenceMs: 50 })
  const buyer = world.signUp(100_000n)
  for (const [more, limit] of [
    [{ maxMicroUsd: 1n }, 'purchase'],
    [{ maxTotalMicroUsd: 1n }, 'total'],
  ] as const) {
    const { hub } = clientOf(world, buyer.headers.authorization, undefined, more)
    const had = buyer.credit()
    const from = `${world.evidence.committed}-0`
    const taking = take(hub.stream({}, { after: from }), 1000)
    taking.catch(() => undefined)
    await world.emit(1)
    await until('readings to be sent', 10, async () => (buyer.credit() < had ? true : undefined))
    world.clock.nowMs += 60_000
    const ended = await taking.catch((error: unknown) => error)
    expect(ended).toBeInstanceOf(LimitReached)
    expect(ended).toMatchObject({ limit })
    expect(hub.spentMicroUsd).toBeGreaterThan(1n)
  }
})

test('without a key, without credit, or with an id of nothing, the hub says why and is not asked again', async () => {
  const world = await openStreamWorld({ sell: true, silenceMs: 50 })
  await expect(take(clientOf(world).hub.stream(), 1)).rejects.toMatchObject({ slug: 'key-invalid' })
  const buyer = world.signUp(300n)
  const { hub, opened } = clientOf(world, buyer.headers.authorization)
  await world.emit(10)
  await until('evidence', 10, async () => (world.evidence.committed >= 10 ? true : undefined))
  await expect(take(hub.stream({}, { after: '0-0' }), 1000)).rejects.toMatchObject({
    slug: 'credit-exhausted',
  })
  await expect(take(hub.stream({}, { after: 'nothing' }), 1)).rejects.toMatchObject({ slug: 'invalid-query' })
  expect(opened()).toHaveLength(2)
})

test('whoever listens can stop, and a hub that is gone is told after so many tries', async () => {
  const world = await openStreamWorld()
  const stop = new AbortController()
  const { hub, opened } = clientOf(world)
  const taking = take(hub.stream({}, { signal: stop.signal }), 1)
  taking.catch(() => undefined)
  await until('the stream', 10, async () => (opened().length > 0 ? true : undefined))
  stop.abort(new Error('enough'))
  await expect(taking).rejects.toThrow('enough')
  await world.close()
  const gone = openClient({ url: world.url, tries: 2 })
  await expect(take(gone.stream(), 1)).rejects.toThrow('the stream cannot be opened')
})

test('events are read however they are cut, with each of the three ends of a line', async () => {
  const text =
    'retry: 10\r\n\r\nevent: reading\r\nid: 1-0\r\ndata: {"a":1}\r\n\r\n: hello\nid: 2-0\n\ndata: one\rdata:two\r\revent: lost\ndata: half'
  const whole = [
    { event: 'reading', id: '1-0', data: '{"a":1}' },
    { event: 'message', id: '2-0', data: undefined },
    { event: 'message', id: '2-0', data: 'one\ntwo' },
  ]
  const bytes = new TextEncoder().encode(text)
  for (const size of [1, 2, 3, 7, bytes.length]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
      bytes.slice(at * size, (at + 1) * size),
    )
    expect(
      await Array.fromAsync(eventsIn(ReadableStream.from(pieces) as ReadableStream<Uint8Array>)),
    ).toEqual(whole)
  }
  let isLeft = false
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(bytes),
    cancel: () => {
      isLeft = true
    },
  })
  for await (const { id } of eventsIn(endless)) if (id === '2-0') break
  expect(isLeft).toBe(true)
})
