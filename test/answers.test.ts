import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, onTestFinished, test } from 'vitest'
import { checkAnswers, checkedFetch, takeFaults } from './answers.ts'
import { openWorld } from './market-world.ts'

type Answer = {
  status?: number
  headers?: Record<string, string>
  body?: string | Uint8Array<ArrayBuffer> | null
}

const json = { 'content-type': 'application/json' }

/** An application that describes itself as the API does, and answers as it is told. */
const openLiar = async (answer: () => Answer) => {
  const world = await openWorld()
  onTestFinished(() => world[Symbol.asyncDispose]())
  const description = await (await world.api.request('/openapi.json')).text()
  const app = {
    fetch: async (request: Request): Promise<Response> => {
      if (request.url.endsWith('/openapi.json')) return new Response(description, { headers: json })
      const { status = 200, headers = json, body = '' } = answer()
      return new Response(body, { status, headers })
    },
  }
  return { app, description }
}

const quantities = '{"quantities":[]}'
const problem = (more: object = {}): string =>
  JSON.stringify({
    type: '/problems/not-found',
    title: 'a',
    status: 404,
    detail: 'b',
    help: 'c',
    ...more,
  })
const asProblem = { 'content-type': 'application/problem+json' }

const wrong: readonly (readonly [what: string, address: string, answer: Answer, fault: string])[] = [
  ['of a member that is not described', '/v1/quantities', { body: '{"quantities":[],"more":1}' }, 'more'],
  ['without a member', '/v1/quantities', { body: '{}' }, 'quantities'],
  ['packed and wrong', '/v1/quantities', { body: new Uint8Array(gzipSync('{}')) }, 'quantities'],
  ['of another media type', '/v1/quantities', { headers: { 'content-type': 'text/csv' } }, 'text/csv'],
  [
    'with a header of its own',
    '/v1/quantities',
    { headers: { ...json, 'set-cookie': 'a=b' }, body: quantities },
    'set-cookie',
  ],
  [
    'with a header of another kind',
    '/v1/latest',
    { headers: { ...json, price: 'free' }, body: '{"readings":[]}' },
    'price',
  ],
  ['with another status', '/v1/quantities', { status: 206, body: quantities }, 'status'],
  [
    'with a status that comes without a body',
    '/v1/quantities',
    { status: 304, body: null, headers: {} },
    'status',
  ],
  [
    'that is a page for people instead of a problem',
    '/v1/quantities',
    { status: 500, headers: { 'content-type': 'text/html' } },
    'text/html',
  ],
  [
    'that is a problem of another status',
    '/v1/quantities',
    { status: 400, headers: asProblem, body: problem() },
    'another status',
  ],
  [
    'that is a problem of an unknown type',
    '/v1/quantities',
    { status: 404, headers: asProblem, body: problem({ type: '/problems/x' }) },
    '/type',
  ],
  ['where nothing is', '/v1/nothing', { body: quantities }, 'no such path'],
]

describe('an answer', () => {
  test.each(wrong)('%s fails the request and the test', async (_, address, answer, fault) => {
    const { app } = await openLiar(() => answer)
    checkAnswers(app)
    const ask = async () => (await app.fetch(new Request(`http://hub${address}`))).text()
    await expect(ask()).rejects.toThrow(fault)
    expect(takeFaults().join()).toContain(fault)
  })

  test('as it is described passes, byte for byte', async () => {
    const { app } = await openLiar(() => ({ body: quantities }))
    checkAnswers(app)
    const ask = async (path: string, method = 'GET') =>
      (await app.fetch(new Request(`http://hub${path}`, { method }))).text()
    expect(await ask('/v1/quantities')).toBe(quantities)
    const refusing = await openLiar(() => ({ status: 404, headers: asProblem, body: problem() }))
    checkAnswers(refusing.app)
    expect(await (await refusing.app.fetch(new Request('http://hub/v1/nothing'))).text()).toBe(problem())
    expect(takeFaults()).toEqual([])
  })

  test('of another program is checked where that is asked', async () => {
    const { description } = await openLiar(() => ({}))
    const server = createServer((request, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(request.url === '/openapi.json' ? description : '{}')
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const ask = checkedFetch(origin, fetch)
    await expect(ask(`${origin}/v1/quantities`).then((one) => one.text())).rejects.toThrow('quantities')
    expect(takeFaults()).toHaveLength(1)
    await expect(checkedFetch('http://other', fetch)(`${origin}/v1/quantities`)).resolves.toBeDefined()
  })
})

test('no test opens the API in a way that leaves its answers unchecked', () => {
  const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
  const opening = files.filter(
    (name) =>
      name.endsWith('.ts') && /\bcreateApi\(/.test(readFileSync(join(import.meta.dirname, name), 'utf8')),
  )
  expect(opening).toEqual(['answers.ts'])
})
