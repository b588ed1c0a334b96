import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { ReadingRow } from '#gateway/market/row.ts'
import { openSeats } from '#gateway/market/seats.ts'
import { faultAt } from '#gateway/market/stream.ts'
import { listenSlowly, openStreamWorld, startMs } from './stream-world.ts'
import { until } from './until.ts'

const behind = (id: string) => ({ 'last-event-id': id })

test('readings are heard while the answer is open, as /v1/readings gives them', async () => {
  const { listen, emit, url, stations } = await openStreamWorld()
  await emit(2)
  const stream = await listen()
  expect(stream.status).toBe(200)
  expect(stream.headers.get('content-type')).toBe('text/event-stream')
  expect(stream.headers.get('cache-control')).toBe('no-store')
  expect(stream.headers.get('x-accel-buffering')).toBe('no')
  expect(stream.headers.get('content-encoding')).toBeNull()
  // The first bytes come before there is any reading.
  const [start] = await stream.until('start', 1)
  expect(start).toEqual({ event: 'start', id: '4', data: { time: '2026-11-21T10:00:00.000Z' } })
  expect(stream.text()).toMatch(/^retry: 3000\n\nevent: start\nid: 4\ndata: \{.*\}\n\n$/)
  await emit(1)
  const heard = await stream.until('reading', 3)
  expect(heard.map(({ id }) => id)).toEqual(['4-0', '4-1', '4-2'])
  await emit(1, 1)
  await stream.until('reading', 6)
  const response = await fetch(`${url}/v1/readings?from=${startMs - 3_600_000}&limit=1000`)
  const { readings } = (await response.json()) as { readings: { proof: { seq: number }; station: string }[] }
  const later = readings.filter(({ station, proof }) => station === stations[1] || proof.seq === 3)
  expect(stream.readings()).toHaveLength(6)
  expect(new Set(stream.readings().map((row) => JSON.stringify(row)))).toEqual(
    new Set(later.map((row) => JSON.stringify(row))),
  )
})

test('only what is asked for is heard: station, sensor, quantity, quality', async () => {
  const { listen, emit, emitPosition, stations } = await openStreamWorld()
  const streams = await Promise.all(
    [
      `?station=${stations[1]}`,
      '?quantity=humidity,pressure',
      '?sensor=nothing',
      `?station=${stations[0]}&station=${stations[1]}&min_quality=0`,
      '?min_quality=1&h3=851e15b7fffffff',
    ].map((query) => listen(query)),
  )
  await emit(2)
  await emitPosition()
  await emit(1, 1)
  await emit(1)
  await streams[3]!.until('reading', 12)
  await streams[1]!.until('reading', 12)
  await streams[0]!.until('reading', 3)
  expect(streams[0]!.readings().every(({ station }) => station === stations[1])).toBe(true)
  expect(
    streams[1]!.readings().every(({ values }) => Object.keys(values).join() === 'humidity,pressure'),
  ).toBe(true)
  expect(streams.map((stream) => stream.readings().length)).toEqual([3, 12, 0, 12, 0])
  expect(JSON.stringify(streams.map((stream) => stream.text()))).not.toContain('gnss')
})

test('readings below the quality asked for are left out', async () => {
  const { listen, emit, clock } = await openStreamWorld()
  const streams = [await listen(), await listen('?min_quality=0.9')]
  await emit(1)
  clock.nowMs += 60_000
  // Suddenly it is hot.
  await emit(1, 0, 1, 60)
  clock.nowMs += 60_000
  await emit(1)
  const all = (await streams[0]!.until('reading', 7)).map(({ id, data }) => ({ id, row: data as ReadingRow }))
  const good = all.filter(({ row }) => row.quality.score >= 0.9)
  expect(good.length).toBeLessThan(7)
  expect((await streams[1]!.until('reading', good.length)).map(({ id }) => id)).toEqual(
    good.map(({ id }) => id),
  )
})

test('a stream goes on behind any event of it: nothing is lost and nothing comes twice', async () => {
  const { listen, emit, emitPosition } = await openStreamWorld()
  await emit(1)
  const first = await listen()
  await first.until('start', 1)
  await emit(2)
  await emitPosition()
  await emit(2, 1, 1)
  const all = await first.until('reading', 8)
  for (const [at, { id }] of [...all.entries(), [-1, first.named('start')[0]!] as const]) {
    const again = await listen('', behind(id))
    await again.until('reading', all.length - 1 - at)
    expect(again.named('reading')).toEqual(all.slice(at + 1))
    again.close()
  }
  // The parameter stands for the header, and the header is stronger.
  const byParameter = await listen(`?last_event_id=${all[5]!.id}`)
  expect(await byParameter.until('reading', 2)).toEqual(all.slice(6))
  const both = await listen(`?last_event_id=${all[0]!.id}`, behind(all[6]!.id))
  expect(await both.until('reading', 1)).toEqual(all.slice(7))
  await emit(1)
  expect((await both.until('reading', 4)).slice(1)).toEqual(
    await first.until('reading', 11).then((now) => now.slice(8)),
  )
})

test('what was heard is not heard again when the rules change and everything is scored anew', async () => {
  const first = await openStreamWorld()
  await first.emit(3)
  const stream = await first.listen('', behind('0'))
  const heard = await stream.until('reading', 9)
  await first.close()
  const again = await openStreamWorld({
    directory: first.directory,
    signers: first.signers,
    rules: 'test.2',
  })
  const onward = await again.listen('', behind(heard[4]!.id))
  expect((await onward.until('reading', 4)).map(({ id }) => id)).toEqual(heard.slice(5).map(({ id }) => id))
  await sleep(200)
  expect(onward.named('reading')).toHaveLength(4)
})

test('while everything is scored anew, a stream waits until that has come to where it was', async () => {
  const first = await openStreamWorld()
  await first.emit(3)
  await until('the store', 10, async () => (first.tail.reached === 5 ? true : undefined))
  await first.close()
  const gate = Promise.withResolvers<void>()
  const again = await openStreamWorld({
    directory: first.directory,
    signers: first.signers,
    rules: 'test.2',
    storeOver: (store) => ({
      write: async (rows) => {
        await gate.promise
        await store.write(rows)
      },
    }),
  })
  const stream = await again.listen('', behind('3'))
  await stream.until('start', 1)
  await sleep(200)
  expect(stream.named('reading')).toEqual([])
  gate.resolve()
  expect((await stream.until('reading', 6)).map(({ id }) => id)).toEqual([
    '3-0',
    '3-1',
    '3-2',
    '4-0',
    '4-1',
    '4-2',
  ])
})

test.each([
  ['x', 400, 'invalid-query'],
  ['1-2-3', 400, 'invalid-query'],
  ['-1', 400, 'invalid-query'],
  ['9999', 400, 'invalid-query'],
])('Last-Event-ID %j is answered with %d', async (id, status, slug) => {
  const { listen, url } = await openStreamWorld()
  const stream = await listen('', behind(id))
  await stream.ended
  expect(stream.status).toBe(status)
  expect(JSON.parse(stream.text())).toMatchObject({
    type: `/problems/${slug}`,
    fields: [{ name: 'Last-Event-ID' }],
  })
  const parameter = await fetch(`${url}/v1/stream?last_event_id=${id}`)
  expect(await parameter.json()).toMatchObject({ status, type: `/problems/${slug}` })
})

test('an empty Last-Event-ID is none', async () => {
  const { listen, emit } = await openStreamWorld()
  await emit(1)
  const stream = await listen('', behind(''))
  expect((await stream.until('start', 1))[0]!.id).toBe('3')
})

test('who is more than a day behind is told where the readings are', async () => {
  const { listen, emit, clock } = await openStreamWorld()
  await emit(1)
  clock.nowMs += 24 * 3_600_000
  const near = await listen('', behind('0'))
  await near.until('reading', 3)
  clock.nowMs += 1
  const far = await listen('', behind('0'))
  await far.ended
  expect(far.status).toBe(410)
  expect(JSON.parse(far.text())).toMatchObject({
    type: '/problems/stream-behind',
    detail: 'what was received since 2026-11-21T10:00:00.000Z is too much for a stream',
    help: expect.stringContaining('/v1/readings'),
  })
})

test('a stream that has nothing to say says so, with how far it is', async () => {
  const { listen, emit, emitPosition, clock, stations } = await openStreamWorld({ silenceMs: 50 })
  const stream = await listen(`?station=${stations[1]}`)
  await stream.until('start', 1)
  await emit(2)
  // The last thing that is kept is given to nobody, and is passed all the same.
  await emitPosition()
  clock.nowMs += 50
  await until('a heartbeat', 10, async () =>
    stream.text().includes(': still here\nid: 5\n\n') ? true : undefined,
  )
  expect(stream.events).toHaveLength(1)
})

test('a reader that takes nothing costs no memory, and gets all when it does', async () => {
  const { url, emit, tail, untilOpen } = await openStreamWorld()
  const slow = await listenSlowly(`${url}/v1/stream`)
  await untilOpen(1)
  // 7 MB of events: more than lies between two sockets.
  await emit(75, 0, 200)
  await until('the store', 30, async () => (tail.reached === 77 ? true : undefined))
  const text = slow.take()
  await until('all of it', 30, async () =>
    text().split('event: reading').length === 15_001 ? true : undefined,
  )
  const ids = [...text().matchAll(/^event: reading\r?\nid: (.*)$/gm)].map(([, id]) => id)
  expect(new Set(ids).size).toBe(15_000)
}, 60_000)

test('a HEAD request takes no seat, and so many streams are served to one reader', async () => {
  const { listen, url, untilOpen } = await openStreamWorld()
  for (let n = 0; n < 12; n++) {
    const head = await fetch(`${url}/v1/stream`, { method: 'HEAD' })
    expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
  }
  const streams = await Promise.all(Array.from({ length: 10 }, () => listen()))
  expect(streams.map(({ status }) => status)).toEqual(Array(10).fill(200))
  const more = await listen()
  await more.ended
  expect(more.status).toBe(429)
  expect(JSON.parse(more.text())).toMatchObject({ type: '/problems/too-many-streams' })
  // Whoever goes makes room.
  await untilOpen(10)
  streams[0]!.close()
  await untilOpen(9)
  expect((await listen()).status).toBe(200)
})

test('so many streams are served in all, and a seat that is left is free', () => {
  const seats = openSeats(3, 2)
  const taken = ['a', 'a', 'b'].map((reader) => seats.take(reader))
  expect(taken.every(({ ok }) => ok)).toBe(true)
  expect(seats.take('a')).toMatchObject({ slug: 'too-many-streams' })
  expect(seats.take('c')).toMatchObject({ slug: 'busy', retryAfterS: 60 })
  if (taken[0]!.ok) taken[0]!.leave()
  expect(seats.taken).toBe(2)
  expect(seats.take('c').ok).toBe(true)
})

test('who is behind by more envelopes than a stream catches up with is told so', async () => {
  const at = (committed: number) =>
    faultAt(
      {
        evidence: {
          committed,
          read: async function* () {
            yield { ...(await Array.fromAsync(one.evidence.read(0)))[0]! }
          },
        },
        nowMs: () => startMs,
      },
      { index: 10, place: -1 },
    )
  const one = await openStreamWorld()
  await one.emit(1)
  expect(await at(50_010)).toBeUndefined()
  expect(await at(50_011)).toMatchObject({ slug: 'stream-behind' })
})

test('a hub that stops ends its streams with a word, and they go on at the next', async () => {
  const first = await openStreamWorld()
  const stream = await first.listen()
  await stream.until('start', 1)
  await first.emit(1)
  await stream.until('reading', 3)
  await first.close()
  await stream.ended
  const end = stream.events.at(-1)!
  expect(end).toMatchObject({ event: 'end', id: '3', data: { type: '/problems/hub-stopping', status: 503 } })
  const again = await openStreamWorld({ directory: first.directory, signers: first.signers })
  const onward = await again.listen('', behind(end.id))
  await onward.until('start', 1)
  expect(onward.named('reading')).toEqual([])
})

test('a store that cannot answer ends a stream with a problem, where it can go on later', async () => {
  const first = await openStreamWorld()
  await first.emit(2)
  await until('the store', 10, async () => (first.tail.reached === 4 ? true : undefined))
  await first.close()
  class StoreUnavailable extends Error {
    override name = 'StoreUnavailable'
  }
  let away = true
  const again = await openStreamWorld({
    directory: first.directory,
    signers: first.signers,
    storeOver: (store) => ({
      readings: async (...asked) => {
        if (away) throw new StoreUnavailable('gone')
        return store.readings(...asked)
      },
    }),
  })
  const stream = await again.listen('', behind('2-0'))
  await stream.ended
  expect(stream.events.at(-1)).toMatchObject({
    event: 'end',
    id: '2-0',
    data: { type: '/problems/store-unavailable' },
  })
  away = false
  const onward = await again.listen('', behind('2-0'))
  expect((await onward.until('reading', 5)).map(({ id }) => id)).toEqual(['2-1', '2-2', '3-0', '3-1', '3-2'])
  expect(again.reported).toEqual([])
})

test('a page of another origin may send Last-Event-ID', async () => {
  const { url } = await openStreamWorld()
  const response = await fetch(`${url}/v1/stream`, {
    method: 'OPTIONS',
    headers: {
      origin: 'https://example.org',
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'last-event-id',
    },
  })
  expect(response.headers.get('access-control-allow-headers')?.toLowerCase()).toContain('last-event-id')
})

test('the stream is described, and its parameters are checked', async () => {
  const { url, listen } = await openStreamWorld()
  const api = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<
      string,
      { get: { responses: Record<string, { content: object }>; parameters: { name: string }[] } }
    >
  }
  const { get } = api.paths['/v1/stream']!
  expect(Object.keys(get.responses['200']!.content)).toEqual(['text/event-stream'])
  expect(get.parameters.map(({ name }) => name)).toContain('last-event-id')
  const wrong = await listen('?from=-1h&min_quality=2')
  await wrong.ended
  expect(wrong.status).toBe(400)
  expect(
    JSON.parse(wrong.text())
      .fields.map(({ name }: { name: string }) => name)
      .sort(),
  ).toEqual(['from', 'min_quality'])
})
