import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run } from '#gateway/market/serve.ts'
import { openWorld, type World } from './market-world.ts'

let world: World
const stop = new AbortController()
let running: Promise<void>
let port: number

const start = (signal: AbortSignal, wanted = 0): { bound: Promise<number>; ended: Promise<void> } => {
  const { promise: bound, resolve } = Promise.withResolvers<number>()
  const ended = run({ app: world.api, host: '127.0.0.1', port: wanted, listening: resolve }, signal)
  return { bound, ended }
}

beforeAll(async () => {
  world = await openWorld()
  const { bound, ended } = start(stop.signal)
  running = ended
  port = await bound
})

afterAll(async () => {
  stop.abort()
  await running
  await world[Symbol.asyncDispose]()
})

/** Sends bytes as they are and gives everything that comes back until the other side closes. */
const raw = async (bytes: string): Promise<string> => {
  const socket: Socket = connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  // A server that has seen enough may close while this end is still writing.
  socket.on('error', () => {})
  socket.write(bytes)
  await once(socket, 'close')
  return text
}

test('the API answers on the port that was reported', async () => {
  const response = await fetch(`http://127.0.0.1:${port}/v1/readings?limit=3`)
  expect(response.status).toBe(200)
  const { readings, next } = (await response.json()) as { readings: unknown[]; next: string }
  expect(readings).toHaveLength(3)
  const link = /<([^>]+)>/.exec(response.headers.get('link')!)![1]!
  expect(new URL(link).port).toBe(`${port}`)
  expect(new URL(link).searchParams.get('cursor')).toBe(next)
})

test('HEAD over a socket has headers and no body', async () => {
  const text = await raw('HEAD /v1/readings HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n')
  expect(text).toMatch(/^HTTP\/1\.1 200 /)
  expect(text.split('\r\n\r\n')[1]).toBe('')
})

test.each([
  ['bytes that are no HTTP', 'nonsense\r\n\r\n', 400],
  ['headers beyond 16 KiB', `GET / HTTP/1.1\r\nHost: hub\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ['a malformed Host', 'GET /v1/status HTTP/1.1\r\nHost: a b/c\r\nConnection: close\r\n\r\n', 400],
  [
    'an address that is too long',
    `GET /v1/status?${'x'.repeat(5000)} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n`,
    414,
  ],
  [
    'a body to a method that does not work',
    'POST /v1/status HTTP/1.1\r\nHost: hub\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{x',
    405,
  ],
])('%s get a problem', async (_, bytes, status) => {
  const text = await raw(bytes)
  expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  expect(text.toLowerCase()).toContain('content-type: application/problem+json')
  const body = text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1)
  expect(JSON.parse(body).status).toBe(status)
})

test('a reader that goes away in the middle does not disturb others', async () => {
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /v1/readings?format=ndjson HTTP/1.1\r\nHost: hub\r\n\r\n')
  await once(socket, 'data')
  socket.destroy()
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200)
  expect(world.reported).toEqual([])
})

test('a port that is taken is an error with the next step', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const taken = (other.address() as { port: number }).port
  await expect(start(new AbortController().signal, taken).ended).rejects.toThrow(
    `port ${taken} on 127.0.0.1 is taken by another program; stop it, or choose another HTTP port`,
  )
  other.close()
})

test('serving ends when it is told to, also with a connection open', async () => {
  const ending = new AbortController()
  const { bound, ended } = start(ending.signal)
  const agentPort = await bound
  const socket = connect(agentPort, '127.0.0.1')
  socket.write('GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n')
  await once(socket, 'data')
  ending.abort()
  await ended
  socket.destroy()
  await expect(fetch(`http://127.0.0.1:${agentPort}/healthz`)).rejects.toThrow()
})
