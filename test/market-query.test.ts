import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { nearestName } from '#gateway/market/parameters.ts'
import { parseDuration, parseTime } from '#gateway/market/time.ts'
import { StoreUnavailable } from '#gateway/store/store.ts'
import { openChecked } from './market-schema.ts'
import { nowMs, openWorld, stationA, type World } from './market-world.ts'

type Problem = {
  readonly type: string
  readonly detail: string
  readonly fields?: readonly { readonly name: string; readonly detail: string }[]
}

let world: World
let ask: Awaited<ReturnType<typeof openChecked>>['ask']

beforeAll(async () => {
  world = await openWorld()
  ask = (await openChecked(world.api)).ask
})

afterAll(() => world[Symbol.asyncDispose]())

const problem = async (address: string): Promise<Problem & { status: number }> => {
  const { response, json } = await ask(address)
  return { ...(json as Problem), status: response.status }
}

describe('a query that cannot be used', () => {
  test.each([
    ['station=a/b', 'station', 'takes ids of stations'],
    ['station=', 'station', 'takes ids of stations'],
    ['station=a&station=b,', 'station', 'takes ids of stations'],
    ['sensor=a&sensor=b', 'sensor', 'only once'],
    [`sensor=${'x'.repeat(65)}`, 'sensor', '1 to 64'],
    ['quantity=temprature', 'quantity', 'did you mean "temperature"?'],
    ['quantity=pm2.5', 'quantity', 'did you mean "pm2_5"?'],
    ['quantity=latitude', 'quantity', 'private'],
    ['quantity=temperature,altitude', 'quantity', 'private'],
    ['from=yesterday', 'from', 'takes a time such as'],
    ['from=1700000000', 'from', 'looks like seconds'],
    ['from=2026-02-30T00:00:00Z', 'from', 'takes a time such as'],
    ['from=2026-11-21T10:00:00', 'from', 'takes a time such as'],
    ['from=-1y', 'from', 'takes a time such as'],
    ['from=-1h&to=-2h', 'from', 'not before "to"'],
    ['to=99999999999999999', 'to', 'takes a time such as'],
    ['every=5', 'every', 'takes a length'],
    ['every=10ms', 'every', 'takes a length'],
    ['every=0s', 'every', 'takes a length'],
    ['every=1h&fn=average', 'fn', 'takes one of mean'],
    ['fn=max', 'fn', 'needs "every"'],
    ['limit=0', 'limit', 'from 1 to 10000'],
    ['limit=10001', 'limit', 'from 1 to 10000'],
    ['limit=1e3', 'limit', 'from 1 to 10000'],
    ['format=xml', 'format', 'takes one of json, csv, ndjson'],
    ['cursor=nonsense', 'cursor', 'belongs to another query'],
    ['statoin=a', 'statoin', 'did you mean "station"?'],
    ['__proto__=a', '__proto__', 'no parameter of this address'],
    ['constructor=a', 'constructor', 'no parameter of this address'],
  ])('%s names the parameter and says what it takes', async (query, name, detail) => {
    const { status, type, fields } = await problem(`/v1/readings?${query}`)
    expect([status, type]).toEqual([400, '/problems/invalid-query'])
    expect(fields).toHaveLength(1)
    expect(fields![0]!.name).toBe(name)
    expect(fields![0]!.detail).toContain(detail)
  })

  test('names every wrong parameter at once', async () => {
    const { fields } = await problem('/v1/readings?limit=x&every=x&form=csv&too=now')
    expect(fields!.map(({ name }) => name).sort()).toEqual(['every', 'form', 'limit', 'too'])
    expect(fields!.find(({ name }) => name === 'form')!.detail).toMatch(/did you mean "(from|format)"/)
  })

  test('is refused at addresses that take no parameters too', async () => {
    expect((await problem('/v1/status?verbose=1')).type).toBe('/problems/invalid-query')
    expect((await problem('/v1/batches/1?x=1')).type).toBe('/problems/invalid-query')
  })

  test('is echoed only in part', async () => {
    const { fields } = await problem(`/v1/readings?${'x'.repeat(2000)}=1`)
    expect(fields![0]!.name.length).toBeLessThan(400)
  })
})

describe('a query that would cost too much', () => {
  test('over more than a year says which parameter to change', async () => {
    const { status, type, fields } = await problem('/v1/readings?from=2020-01-01T00:00:00Z')
    expect([status, type]).toEqual([413, '/problems/query-too-large'])
    expect(fields![0]).toMatchObject({ name: 'from' })
  })

  test('of too many intervals says which length would do, and that length does', async () => {
    const { type, fields } = await problem('/v1/readings?from=-100d&every=1m')
    expect(type).toBe('/problems/query-too-large')
    expect(fields![0]!.name).toBe('every')
    const least = /"every" of at least (\w+)/.exec(fields![0]!.detail)![1]!
    expect((await ask(`/v1/readings?from=-100d&every=${least}`)).response.status).toBe(200)
  })

  test('of a longer address than is read gets 414', async () => {
    expect((await problem(`/v1/readings?station=${'a'.repeat(5000)}`)).status).toBe(414)
  })
})

describe('a cursor', () => {
  const next = async (query: string) =>
    ((await ask(`/v1/readings?${query}`)).json as { next: string | null }).next!

  test('belongs to its query', async () => {
    const cursor = await next('limit=5')
    expect((await ask(`/v1/readings?limit=9&format=csv&cursor=${cursor}`)).response.status).toBe(200)
    const others = [
      `station=${stationA}`,
      'sensor=roof',
      'quantity=humidity',
      'from=-2h',
      'to=now',
      'every=1m',
    ]
    for (const other of others)
      expect((await problem(`/v1/readings?${other}&cursor=${cursor}`)).fields![0]!.name, other).toBe('cursor')
  })

  test('of intervals is bound to length and function', async () => {
    const cursor = await next('every=1m&limit=5')
    expect((await ask(`/v1/readings?every=1m&fn=mean&cursor=${cursor}`)).response.status).toBe(200)
    for (const other of ['every=2m', 'every=1m&fn=max', 'limit=5'])
      expect((await problem(`/v1/readings?${other}&cursor=${cursor}`)).fields![0]!.name).toBe('cursor')
  })

  test('that was changed anywhere is refused', async () => {
    const cursor = await next('limit=5')
    const fields = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    for (const at of fields.keys()) {
      const value = fields[at]
      const changed = fields.with(at, typeof value === 'number' ? value + 1 : `${value}x`)
      const text = Buffer.from(JSON.stringify(changed)).toString('base64url')
      expect((await problem(`/v1/readings?limit=5&cursor=${text}`)).fields![0]!.name).toBe('cursor')
    }
  })
})

describe('when something fails', () => {
  test('a store that is away is a 503 that says when to come again', async () => {
    const away = async () => {
      throw new StoreUnavailable('connection refused')
    }
    await using broken = await openWorld()
    const store = { ...broken.store, readings: away, rollup: away, latest: away, sensors: away, cursor: away }
    await using down = await openWorld({ store })
    const checked = await openChecked(down.api)
    for (const address of ['/v1/readings', '/v1/readings?every=1m', '/v1/latest', '/v1/stations']) {
      const { response, json } = await checked.ask(address)
      expect(response.status).toBe(503)
      expect(response.headers.get('retry-after')).toBe('5')
      expect((json as Problem).type).toBe('/problems/store-unavailable')
    }
    const { response, json } = await checked.ask('/v1/status')
    expect(response.status).toBe(200)
    expect(json).toMatchObject({ counts: { readings: null }, newest: null, store: { behind: null } })
  })

  test('our own mistake is a 500 that tells the log, and the client nothing of it', async () => {
    const secret = new Error('secret of the hub')
    await using sound = await openWorld()
    await using broken = await openWorld({ store: { ...sound.store, latest: () => Promise.reject(secret) } })
    const { response, text } = await (await openChecked(broken.api)).ask('/v1/latest')
    expect(response.status).toBe(500)
    expect(text).not.toMatch(/secret|\.ts|stack/)
    expect(broken.reported).toEqual([secret])
  })

  test('more large queries than fit are told to come again, and the others are answered', async () => {
    await using sound = await openWorld()
    const released = Promise.withResolvers<void>()
    const latest = async () => {
      await released.promise
      return []
    }
    await using slow = await openWorld({ store: { ...sound.store, latest } })
    const asked = Array.from({ length: 75 }, async () => (await slow.api.request('/v1/latest')).status)
    const busy = await Promise.race(asked)
    released.resolve()
    const statuses = await Promise.all(asked)
    expect(busy).toBe(503)
    expect(statuses.filter((status) => status === 200)).toHaveLength(72)
    expect(statuses.filter((status) => status === 503)).toHaveLength(3)
    expect((await slow.api.request('/v1/latest')).status).toBe(200)
  })
})

describe('addresses and methods', () => {
  test('that are not there are problems', async () => {
    for (const address of ['/nothing', '/v1/', '/v1/stations/', '/docs/../market.ts', '/docs/docs.html'])
      expect((await problem(address)).type).toBe('/problems/not-found')
  })

  test('a method that does not work is told which do', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'BREW']) {
      const { response, text } = await ask('/v1/readings', { method })
      expect(response.status).toBe(405)
      expect(response.headers.get('allow')).toBe('GET, HEAD')
      expect(JSON.parse(text).type).toBe('/problems/method-not-allowed')
    }
  })

  test('HEAD answers what GET would, without the body', async () => {
    for (const address of ['/v1/readings?limit=5', '/v1/stations', '/docs', '/v1/batches/9']) {
      const head = await ask(address, { method: 'HEAD' })
      const get = await ask(address)
      expect(head.text).toBe('')
      expect(head.response.status).toBe(get.response.status)
      for (const name of ['content-type', 'link', 'cache-control'])
        expect(head.response.headers.get(name)).toBe(get.response.headers.get(name))
    }
  })

  test('every answer may be read by other pages and framed by none', async () => {
    for (const address of ['/v1/latest', '/nothing', '/docs', '/v1/readings?limit=x']) {
      const { headers } = (await ask(address, { headers: { origin: 'https://buyer.example' } })).response
      expect(headers.get('access-control-allow-origin'), address).toBe('*')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('content-security-policy')).toContain("default-src 'self'")
      expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
    }
    const preflight = await world.api.request('/v1/readings', {
      method: 'OPTIONS',
      headers: { origin: 'https://buyer.example', 'access-control-request-method': 'GET' },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-methods')).toContain('GET')
  })

  test('each problem type leads to what it means', async () => {
    const { type } = await problem('/v1/readings?limit=x')
    expect((await ask(type)).json).toMatchObject({ slug: 'invalid-query', status: 400 })
    expect((await ask('/problems/none')).response.status).toBe(400)
  })
})

describe('pages', () => {
  test('load nothing from elsewhere and have no script or style of their own', async () => {
    for (const address of ['/docs', '/']) {
      const { text } = await ask(address, { headers: { accept: 'text/html' } })
      expect(text).toContain('<!doctype html>')
      expect(text).not.toMatch(/https?:\/\/|<script>|<style|style=|\son\w+=/)
      for (const [, link] of text.matchAll(/(?:href|src)="([^"]+)"/g))
        expect((await ask(link!)).response.status, link).toBe(200)
    }
    for (const address of ['/docs/docs.js', '/docs/docs.css'])
      expect((await ask(address)).text).not.toMatch(/https?:\/\/|innerHTML|@import/)
  })

  test('the description names every address, says what each parameter takes and is version 3.1', async () => {
    const { document } = await openChecked(world.api)
    expect(document.openapi).toMatch(/^3\.1\./)
    const got = new Set(world.api.routes.filter(({ method }) => method === 'GET').map(({ path }) => path))
    for (const path of Object.keys(document.paths)) got.delete(path.replaceAll(/\{(\w+)\}/g, ':$1'))
    for (const open of [...got].filter((path) => path.endsWith('/*')))
      if (document.paths[open.replace('*', '{resource}')] !== undefined) got.delete(open)
    expect([...got].filter((path) => !path.startsWith('/docs'))).toEqual(['/openapi.json'])
    expect(document.paths['/v1/readings']!.get.parameters!.map(({ name }) => name)).toEqual([
      'station',
      'bbox',
      'h3',
      'near',
      'sensor',
      'quantity',
      'from',
      'to',
      'every',
      'fn',
      'min_quality',
      'limit',
      'cursor',
      'format',
    ])
  })

  test('programs get links at the root', async () => {
    expect((await ask('/')).json).toMatchObject({
      docs: '/docs',
      doors: { sample: '/v1/sample', status: '/v1/status' },
    })
  })

  test('links name the public address where there is one', async () => {
    await using behind = await openWorld({ publicUrl: 'https://data.example' })
    const response = await behind.api.request('http://10.0.0.1/v1/readings?limit=1')
    expect(response.headers.get('link')).toMatch(/^<https:\/\/data\.example\/v1\/readings\?limit=1&cursor=/)
  })
})

describe('times and names', () => {
  test('a time is RFC 3339, milliseconds, now, or back from now', () => {
    const read = (text: string) => parseTime(text)
    expect(read('2026-11-21T12:00:00Z')).toEqual({ ok: true, time: { ms: nowMs } })
    expect(read('2026-11-21t13:30:00.000+01:30')).toEqual({ ok: true, time: { ms: nowMs } })
    expect(read('2026-11-21T13:30:00 01:30')).toEqual({ ok: true, time: { ms: nowMs } })
    expect(read('2026-11-21 12:00:00.123456Z')).toEqual({ ok: true, time: { ms: nowMs + 123 } })
    expect(read(`${nowMs}`)).toEqual({ ok: true, time: { ms: nowMs } })
    expect(read('now')).toEqual({ ok: true, time: { agoMs: 0 } })
    expect(read('-90m')).toEqual({ ok: true, time: { agoMs: 5_400_000 } })
    for (const text of [
      '',
      '-',
      '+1h',
      '2026-11-21',
      '2026-13-01T00:00:00Z',
      '1969-12-31T23:59:59Z',
      'NaN',
      '1e12',
    ])
      expect(read(text).ok, text).toBe(false)
  })

  test('a duration is a number and a unit', () => {
    expect(['500ms', '30s', '5m', '1h', '1d', '2w'].map(parseDuration)).toEqual([
      500, 30_000, 300_000, 3_600_000, 86_400_000, 1_209_600_000,
    ])
    for (const text of ['', '5', 'm', '0s', '1.5h', '-1h', '1h30m', '1 h', '1H'])
      expect(parseDuration(text)).toBeUndefined()
  })

  test('a name is suggested only when it is near', () => {
    const names = ['station', 'sensor', 'from', 'to']
    expect(nearestName('Station', names)).toBe('station')
    expect(nearestName('statoin', names)).toBe('station')
    expect(nearestName('form', names)).toBe('from')
    expect(nearestName('x', names)).toBeUndefined()
    expect(nearestName('temperature', names)).toBeUndefined()
    expect(nearestName('s'.repeat(100_000), names)).toBeUndefined()
  })
})
