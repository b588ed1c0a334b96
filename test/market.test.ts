import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answered, openChecked } from './market-schema.ts'
import {
  anHour,
  nowMs,
  openWorld,
  stationA,
  stationB,
  stationSilent,
  viennaCell,
  type World,
} from './market-world.ts'

type Row = {
  readonly station: string
  readonly sensor: string
  readonly time: string
  readonly values: Readonly<Record<string, number | null>>
  readonly proof: { readonly seq: number; readonly status: string }
}

/** Members of all answers together; the schemas say which answer has which. */
type Body = {
  readonly from: string
  readonly to: string
  readonly every: string
  readonly fn: string
  readonly status: string
  readonly next: string | null
  readonly readings: readonly Row[]
  readonly buckets: readonly Row[]
  readonly stations: readonly { readonly station: string }[]
  readonly batches: readonly unknown[]
  readonly quantities: readonly { readonly name: string }[]
  readonly refusals: readonly { readonly index: number; readonly bytes?: string }[]
  readonly gapRanges: unknown
  readonly previous: string
  readonly statementHash: string
}

let world: World
let ask: (address: string, init?: RequestInit) => Promise<Answered>

beforeAll(async () => {
  world = await openWorld()
  ask = (await openChecked(world.api)).ask
})

afterAll(async () => {
  expect(world.reported).toEqual([])
  await world[Symbol.asyncDispose]()
})

const json = async (address: string): Promise<Body> => {
  const { response, json } = await ask(address)
  expect(response.status, JSON.stringify(json)).toBe(200)
  return json as Body
}

const closedHour = 'from=2026-11-21T11:00:00Z&to=2026-11-21T12:00:00Z'

describe('readings', () => {
  test('are the last hour in order of time unless told otherwise', async () => {
    const { from, to, readings, next } = await json('/v1/readings')
    expect([from, to, next]).toEqual(['2026-11-21T11:00:00.000Z', '2026-11-21T12:00:00.000Z', null])
    expect(readings).toHaveLength(180)
    expect(readings.slice(0, 3).map((row) => `${row.time} ${row.station}`)).toEqual([
      `2026-11-21T11:00:00.000Z ${stationA}`,
      `2026-11-21T11:00:00.000Z ${stationB}`,
      `2026-11-21T11:00:30.000Z ${stationA}`,
    ])
  })

  test('say what was measured, how good it is and how far its proof has come', async () => {
    const { readings } = await json('/v1/readings?sensor=garden&limit=2')
    expect(readings).toEqual([
      {
        station: stationA,
        sensor: 'garden',
        model: 'text-lines',
        time: '2026-11-21T11:00:00.000Z',
        values: { temperature: 20, humidity: 45.1, pm2_5: 7.3 },
        quality: { score: 0.125, flags: ['temperature:spike', 'late'], rules: '1' },
        proof: { seq: 1, batch: 1, status: 'final', place: 0 },
      },
      {
        station: stationA,
        sensor: 'garden',
        model: 'text-lines',
        time: '2026-11-21T11:00:30.000Z',
        values: { temperature: 20.01, humidity: null },
        absent: { humidity: 'warming-up' },
        quality: { score: 1, flags: [], rules: '1' },
        proof: { seq: 1, batch: 1, status: 'final', place: 1 },
      },
    ])
  })

  test('have the status of their batch, or are pending without one', async () => {
    const { readings } = await json(`/v1/readings?station=${stationA}`)
    const statuses = new Map(readings.map((row) => [row.proof.seq, row.proof.status]))
    expect([1, 10, 14, 20, 21].map((seq) => statuses.get(seq))).toEqual([
      'final',
      'final',
      'sent',
      'sent',
      'pending',
    ])
  })

  test('are written exactly to the last decimal of their quantity', async () => {
    const { text } = await ask(`/v1/readings?station=${stationA}&quantity=temperature`)
    const written = [...text.matchAll(/"temperature":([^,}]+)/g)].map(([, number]) => number)
    expect(written).toEqual(Array.from({ length: 120 }, (_, at) => `${Number((20 + at / 100).toFixed(2))}`))
  })

  test('hold only the quantities asked for, named once, twice or with commas', async () => {
    for (const wanted of ['quantity=pm2_5&quantity=humidity', 'quantity=humidity,pm2_5']) {
      const { readings } = await json(`/v1/readings?${wanted}`)
      expect(readings).toHaveLength(120)
      expect(Object.keys(readings[0]!.values)).toEqual(['humidity', 'pm2_5'])
      expect(Object.keys(readings[1]!.values)).toEqual(['humidity'])
    }
  })

  test('can be asked for by time in three spellings', async () => {
    const spellings = [
      'from=2026-11-21T11:59:00Z',
      'from=2026-11-21T12:59:00+01:00',
      `from=${nowMs - 60_000}`,
      'from=-1m&to=now',
      'from=-60s',
    ]
    for (const spelling of spellings)
      expect((await json(`/v1/readings?${spelling}`)).readings, spelling).toHaveLength(3)
  })

  test('come in pages that join without gap or repetition', async () => {
    const all = (await json('/v1/readings')).readings
    for (const limit of [1, 7, 60, 179, 180]) {
      const rows: Row[] = []
      let address: string | undefined = `/v1/readings?limit=${limit}`
      for (let pages = 0; address !== undefined && pages < 200; pages++) {
        const { response, json } = await ask(address)
        const page = json as Body
        expect(page.readings.length).toBeLessThanOrEqual(limit)
        rows.push(...page.readings)
        const link = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1]
        expect(link === undefined).toBe(page.next === null)
        if (link !== undefined) expect(new URL(link).searchParams.get('cursor')).toBe(page.next)
        address = link
      }
      expect(rows).toEqual(all)
    }
  })

  test('on a later page are of the first page’s span, however late it is asked for', async () => {
    let laterMs = 0
    await using later = await openWorld({ nowMs: () => nowMs + laterMs })
    const page = async (address: string) => (await (await later.api.request(address)).json()) as Body
    const first = await page('/v1/readings?from=-1h&limit=100')
    laterMs = 1_800_000
    const second = await page(`/v1/readings?from=-1h&limit=100&cursor=${first.next}`)
    expect([second.from, second.to]).toEqual([first.from, first.to])
    expect(first.readings.length + second.readings.length).toBe(180)
  })

  test('of private quantities do not come out, even if a store had them', async () => {
    const leak = anHour().slice(0, 2)
    leak[0] = {
      ...leak[0]!,
      values: [
        { quantity: 1, scaled: 2000 },
        { quantity: 35, scaled: 525_000_000 },
      ],
    }
    leak[1] = { ...leak[1]!, values: [{ quantity: 36, scaled: 134_000_000 }] }
    await using leaky = await openWorld()
    const store = { ...leaky.store, readings: async () => leak, latest: async () => leak }
    await using guarded = await openWorld({ store })
    for (const address of [
      '/v1/readings',
      '/v1/latest',
      '/v1/readings?format=csv',
      '/v1/readings?format=ndjson',
    ]) {
      const { text } = await (await openChecked(guarded.api)).ask(address)
      expect(text).toContain('20')
      expect(text).not.toMatch(/latitude|longitude|52\.5|13\.4/)
    }
  })
})

describe('intervals', () => {
  test('give one value per sensor and quantity, and how many went into it', async () => {
    const { every, fn, buckets, next } = await json(
      `/v1/readings?${closedHour}&every=30m&station=${stationA}`,
    )
    expect([every, fn, next]).toEqual(['30m', 'mean', null])
    expect(buckets).toEqual([
      {
        station: stationA,
        sensor: 'garden',
        time: '2026-11-21T11:00:00.000Z',
        values: { temperature: 20.295, humidity: 45.1, pm2_5: 7.3 },
        counts: { temperature: 60, humidity: 59, pm2_5: 30 },
      },
      {
        station: stationA,
        sensor: 'garden',
        time: '2026-11-21T11:30:00.000Z',
        values: { temperature: 20.895, humidity: 45.1, pm2_5: 7.3 },
        counts: { temperature: 60, humidity: 60, pm2_5: 30 },
      },
    ])
  })

  test('take the function asked for, without digits that nobody measured', async () => {
    const value = async (fn: string) =>
      (await json(`/v1/readings?${closedHour}&every=1h&fn=${fn}&sensor=garden&quantity=pm2_5,temperature`))
        .buckets[0]!.values
    expect(await value('min')).toEqual({ temperature: 20, pm2_5: 7.3 })
    expect(await value('max')).toEqual({ temperature: 21.19, pm2_5: 7.3 })
    expect(await value('sum')).toEqual({ temperature: 2471.4, pm2_5: 438 })
    expect(await value('count')).toEqual({ temperature: 120, pm2_5: 60 })
    expect(await value('mean')).toEqual({ temperature: 20.595, pm2_5: 7.3 })
  })

  test('come in pages that join without gap or repetition', async () => {
    const query = `/v1/readings?${closedHour}&every=5m`
    const all = (await json(query)).buckets
    expect(all).toHaveLength(24)
    for (const limit of [1, 5, 23, 24]) {
      const rows: Row[] = []
      let cursor: string | null = ''
      for (let pages = 0; cursor !== null && pages < 30; pages++) {
        const page: Body = await json(`${query}&limit=${limit}${cursor && `&cursor=${cursor}`}`)
        rows.push(...page.buckets)
        cursor = page.next
      }
      expect(rows).toEqual(all)
    }
  })
})

describe('formats', () => {
  test('CSV has a line per reading and the same columns on every page', async () => {
    const { response, text } = await ask(`/v1/readings?${closedHour}&format=csv&limit=2`)
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present')
    expect(text.split('\r\n')).toEqual([
      'time,station,sensor,model,temperature,humidity,pm2_5,absent,score,flags,rules,seq,place,batch,status',
      `2026-11-21T11:00:00.000Z,${stationA},garden,text-lines,20,45.1,7.3,,0.125,temperature:spike late,1,1,0,1,final`,
      `2026-11-21T11:00:00.000Z,${stationB},roof,text-lines,-3.07,,,,0.125,temperature:spike late,1,1,0,,pending`,
      '',
    ])
    expect(response.headers.get('link')).toContain('rel="next"')
  })

  test('CSV of intervals has a value and a count per quantity', async () => {
    const { text } = await ask(`/v1/readings?${closedHour}&format=csv&every=1h&quantity=temperature&fn=max`)
    expect(text).toBe(
      'time,station,sensor,temperature,temperature_count\r\n' +
        `2026-11-21T11:00:00.000Z,${stationA},garden,21.19,120\r\n` +
        `2026-11-21T11:00:00.000Z,${stationB},roof,-3.07,60\r\n`,
    )
  })

  test('NDJSON has the rows of JSON, one a line', async () => {
    const { readings } = await json('/v1/readings')
    const { response, text } = await ask('/v1/readings', { headers: { accept: 'application/x-ndjson' } })
    expect(response.headers.get('content-type')).toBe('application/x-ndjson')
    expect(
      text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(readings)
  })

  test('are chosen by weight in Accept, and by format= before that', async () => {
    const type = async (accept: string, query = '') =>
      (await ask(`/v1/latest${query}`, { headers: { accept } })).response.headers.get('content-type')
    expect(await type('text/csv;q=0.5, application/json;q=0.2')).toContain('text/csv')
    expect(await type('text/*, application/json;q=0.9')).toContain('text/csv')
    expect(await type('text/html,application/xhtml+xml,*/*;q=0.8')).toBe('application/json')
    expect(await type('application/json;q=0, */*')).toContain('text/csv')
    expect(await type('text/csv', '?format=ndjson')).toBe('application/x-ndjson')
    expect(await type('image/png')).toBe('application/problem+json')
  })

  test('a long answer is streamed while it is read, not made at once', async () => {
    const many = Array.from({ length: 4000 }, (_, at) => ({
      ...anHour()[0]!,
      timeMs: nowMs - 4_000_000 + at * 1000,
      seq: at + 1,
    }))
    await using large = await openWorld({}, many)
    const response = await large.api.request('/v1/readings?from=-2h&format=ndjson&limit=4000')
    expect(response.headers.get('content-length')).toBeNull()
    const chunks: Uint8Array[] = []
    for await (const chunk of response.body!) chunks.push(chunk)
    expect(chunks.length).toBeGreaterThan(10)
    expect(Math.max(...chunks.map(({ length }) => length))).toBeLessThan(40_000)
    expect(Buffer.concat(chunks).toString().trimEnd().split('\n')).toHaveLength(4000)
  })

  test('a client that takes gzip gets it, with the same content', async () => {
    const plain = await ask('/v1/readings?format=csv')
    const response = await world.api.request('/v1/readings?format=csv', {
      headers: { 'accept-encoding': 'gzip' },
    })
    expect(response.headers.get('content-encoding')).toBe('gzip')
    expect(gunzipSync(Buffer.from(await response.arrayBuffer())).toString()).toBe(plain.text)
  })
})

describe('quantities', () => {
  test('are listed with their units, the private ones left out', async () => {
    const { quantities } = await json('/v1/quantities')
    expect(quantities).toContainEqual({
      name: 'pm2_5',
      title: 'PM2.5',
      unit: 'µg/m³',
      senml: 'ug/m3',
      decimals: 1,
      min: 0,
      max: 1000,
    })
    expect(quantities.map(({ name }) => name)).not.toContain('latitude')
  })
})

describe('latest', () => {
  test('is the newest reading of each sensor', async () => {
    const { readings } = await json('/v1/latest')
    expect(readings.map((row) => [row.sensor, row.time])).toEqual([
      ['garden', '2026-11-21T11:59:30.000Z'],
      ['roof', '2026-11-21T11:59:00.000Z'],
    ])
    expect((await json('/v1/latest?sensor=roof&quantity=temperature')).readings).toHaveLength(1)
    expect((await ask('/v1/latest?quantity=pm2_5&format=csv')).text).toMatch(
      /^time,station,sensor,model,pm2_5,absent,.*\r\n2026-11-21T11:59:00.000Z,/,
    )
  })
})

describe('stations', () => {
  test('are listed by id with what they measure and what of it arrived', async () => {
    const { stations, next } = await json('/v1/stations')
    expect(next).toBeNull()
    expect(stations.map((one) => one.station)).toEqual([stationA, stationB, stationSilent])
    expect(stations[0]).toEqual({
      station: stationA,
      publicKey: '61'.repeat(32),
      sample: `/v1/sample?station=${stationA}`,
      registered: '2026-11-20T12:00:00.000Z',
      lastSeen: '2026-11-21T11:59:55.000Z',
      envelopes: 21,
      gaps: 1,
      missing: 3,
      profile: {
        declared: '2026-11-21T10:00:00.000Z',
        licence: 'CC-BY-4.0',
        pricePermille: 1000,
        name: 'Garden',
        cell: viennaCell,
        resolution: 7,
        centre: { latitude: expect.closeTo(48.2, 1), longitude: expect.closeTo(16.4, 1) },
      },
      sensors: [
        {
          sensor: 'garden',
          model: 'text-lines',
          quantities: ['temperature', 'humidity', 'pm2_5'],
          first: '2026-11-21T11:00:00.000Z',
          last: '2026-11-21T11:59:30.000Z',
          readings: 120,
        },
      ],
    })
    expect(stations[2]).toMatchObject({ lastSeen: null, sensors: [], revoked: '2026-11-21T11:59:59.000Z' })
  })

  test('come in pages', async () => {
    const { stations, next } = await json('/v1/stations?limit=2')
    expect(stations).toHaveLength(2)
    expect((await json(`/v1/stations?limit=2&after=${next}`)).stations).toMatchObject([
      { station: stationSilent },
    ])
  })

  test('one by one also say which envelopes are missing', async () => {
    expect((await json(`/v1/stations/${stationA}`)).gapRanges).toEqual([[11, 13]])
    expect((await ask(`/v1/stations/${'d'.repeat(32)}`)).response.status).toBe(404)
    expect((await ask('/v1/stations/a%20b')).response.status).toBe(400)
  })
})

describe('batches', () => {
  test('are listed newest first, in pages', async () => {
    const { batches, next } = await json('/v1/batches?limit=1')
    expect(batches).toMatchObject([{ batch: 2, status: 'sent', size: 7, carrier: { blockNumber: null } }])
    expect(await json(`/v1/batches?limit=1&before=${next}`)).toMatchObject({
      batches: [{ batch: 1, status: 'final' }],
      next: null,
    })
  })

  test('one by one give the statement and the way to the chain', async () => {
    const batch = await json('/v1/batches/1')
    expect(batch).toMatchObject({
      network: 'testnet',
      stations: [{ station: stationA, first: 1, last: 10, count: 10 }],
      anchor: { chainId: 31337, firstBatch: 1, size: 2, index: 0, proof: ['09'.repeat(32)] },
    })
    expect((await json('/v1/batches/2')).previous).toBe(batch.statementHash)
    expect((await ask('/v1/batches/3')).response.status).toBe(404)
    expect((await ask('/v1/batches/0')).response.status).toBe(400)
  })
})

describe('refusals', () => {
  test('are listed newest first, by reason if wanted, and lead on to older ones', async () => {
    const seen: number[] = []
    let before: string | null = null
    do {
      const page = await json(
        `/v1/refusals?reason=future&limit=10${before === null ? '' : `&before=${before}`}`,
      )
      seen.push(...page.refusals.map((one) => one.index))
      before = page.next
    } while (before !== null)
    expect(seen).toEqual(Array.from({ length: 35 }, (_, at) => 245 - 7 * at))
  })

  test('give the refused bytes only when asked', async () => {
    expect((await json('/v1/refusals?limit=1')).refusals[0]).not.toHaveProperty('bytes')
    expect((await json('/v1/refusals?limit=1&bytes=true')).refusals[0]!.bytes).toBe('AQL6')
  })
})

describe('status', () => {
  test('says how the hub is doing', async () => {
    expect(await json('/v1/status')).toMatchObject({
      version: '0.1.0',
      network: 'testnet',
      hubKey: '05'.repeat(32),
      counts: { stations: 3, sensors: 2, readings: 180, envelopes: 33, missing: 3, refused: { future: 35 } },
      newest: '2026-11-21T11:59:30.000Z',
      store: { cursor: 36, behind: 4 },
      anchor: {
        chainId: 31337,
        balanceWei: '123456789012345678',
        batches: { sent: 1, final: 1 },
        pendingEnvelopes: 4,
        nextBatch: '2026-11-21T12:04:00.000Z',
      },
    })
  })

  test('a part that fails makes /healthz say which', async () => {
    expect((await json('/healthz')).status).toBe('ok')
    world.parts.push({ name: 'chain', kind: 'embedded', ok: false, detail: 'no answer' })
    const { response, json: failing } = await ask('/healthz')
    world.parts.pop()
    expect(response.status).toBe(503)
    expect(failing).toEqual({ status: 'failing', failing: [{ name: 'chain', detail: 'no answer' }] })
  })

  test('metrics count requests by route pattern', async () => {
    await ask('/v1/stations/nobody')
    await ask('/nowhere/at/all')
    const { text } = await ask('/metrics')
    expect(text).toMatch(
      /^groundtruth_http_requests_total\{route="\/v1\/stations\/:id",method="GET",status="404"\} \d+$/m,
    )
    expect(text).toMatch(/^groundtruth_http_requests_total\{route="none",method="GET",status="404"\} \d+$/m)
    expect(text).toMatch(/^groundtruth_stations 3$/m)
    expect(text).not.toContain('nowhere')
  })
})

describe('caching', () => {
  test('a closed span has a strong tag, and is not sent again while nothing of it changed', async () => {
    const first = await ask(`/v1/readings?${closedHour}`)
    const tag = first.response.headers.get('etag')!
    expect(tag).toMatch(/^"[\w-]+"$/)
    expect(first.response.headers.get('cache-control')).toContain('max-age')
    const again = await ask(`/v1/readings?${closedHour}`, { headers: { 'if-none-match': `"x", W/${tag}` } })
    expect([again.response.status, again.text]).toEqual([304, ''])
    const csv = await ask(`/v1/readings?${closedHour}&format=csv`, { headers: { 'if-none-match': tag } })
    expect(csv.response.status).toBe(200)
  })

  test('a new score or a further proof changes the tag', async () => {
    const tagOf = async (over: Parameters<typeof openWorld>[0], readings = anHour()) => {
      await using other = await openWorld(over, readings)
      return (await other.api.request(`/v1/readings?${closedHour}`)).headers.get('etag')
    }
    const { anchors } = world.deps
    const tags = [
      await tagOf({}),
      await tagOf({}, anHour().with(5, { ...anHour()[5]!, score: 0.5 })),
      await tagOf({ anchors: { ...anchors, batchOf: () => 1 } }),
    ]
    expect(new Set(tags).size).toBe(3)
  })

  test('what may still change is asked for again', async () => {
    for (const address of ['/v1/readings', '/v1/latest', '/v1/stations', '/v1/status', '/v1/batches/2'])
      expect((await ask(address)).response.headers.get('cache-control')).toBe('no-cache')
    expect((await ask('/v1/batches/1')).response.headers.get('cache-control')).toContain('immutable')
  })
})
