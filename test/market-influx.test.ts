import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Position, StoredReading } from '#gateway/store/store.ts'
import { anHour, nowMs, openWorld, stationA, stationB, type World } from '#test/market-world.ts'

type Series = {
  readonly name?: string
  readonly tags?: Readonly<Record<string, string>>
  readonly columns: readonly string[]
  readonly values: readonly (readonly (string | number | null)[])[]
}
type Result = { readonly statement_id: number; readonly series?: readonly Series[]; readonly error?: string }
type Asked = {
  readonly status: number
  readonly results: readonly Result[]
  readonly error: string
  readonly text: string
}

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(async () => world[Symbol.asyncDispose]())

/** Sends a request, and reads its answer. */
const send = async (path: string, init: RequestInit = {}): Promise<Asked> => {
  const response = await world.api.request(path, init)
  const text = await response.text()
  const body = JSON.parse(text) as { results?: Result[]; error?: string }
  const { status } = response
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(response.headers.get('x-influxdb-version')).toBe('1.8-groundtruth-0.1.0')
  return { status, results: body.results ?? [], error: body.error ?? '', text }
}

/** As Grafana's InfluxQL data source sends a query (pkg/tsdb/influxdb/influxql: createRequest), by GET and by POST. */
const grafana = async (q: string): Promise<Asked> => {
  const search = new URLSearchParams({ db: 'groundtruth', epoch: 'ms' })
  const got = await send(`/influx/query?${search}&${new URLSearchParams({ q })}`)
  const posted = await send(`/influx/query?${search}`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: `${new URLSearchParams({ q })}`,
  })
  expect(posted).toEqual(got)
  return got
}

const seriesOf = async (q: string): Promise<readonly Series[]> => {
  const { status, results, text } = await grafana(q)
  expect([status, results.map(({ error }) => error)], text).toEqual([200, [undefined]])
  return results[0]!.series ?? []
}

const valuesOf = async (q: string) => (await seriesOf(q))[0]?.values

const startMs = nowMs - 3_600_000

describe('what Grafana sends is answered', () => {
  test('the health check of "Save & test"', async () => {
    expect(await seriesOf('SHOW measurements')).toEqual([
      { name: 'measurements', columns: ['name'], values: [['readings']] },
    ])
  })

  test('the lists of the query builder', async () => {
    expect(await valuesOf('SHOW RETENTION POLICIES on "groundtruth"')).toEqual([
      ['autogen', '0s', '168h0m0s', 1, true],
    ])
    expect(await valuesOf('SHOW MEASUREMENTS LIMIT 100')).toEqual([['readings']])
    expect(await valuesOf('SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)rea/ LIMIT 100')).toEqual([
      ['readings'],
    ])
    expect(await valuesOf(`SHOW MEASUREMENTS WHERE "station" = '${stationB}' LIMIT 100`)).toEqual([
      ['readings'],
    ])
    expect(await valuesOf(`SHOW MEASUREMENTS WHERE "station" = 'nobody' LIMIT 100`)).toBeUndefined()
    for (const from of [
      '"readings"',
      '"autogen"."readings"',
      '"groundtruth"."autogen"."readings"',
      '"groundtruth".."readings"',
    ])
      expect(await valuesOf(`SHOW FIELD KEYS FROM ${from}`)).toEqual([
        ['humidity', 'float'],
        ['pm2_5', 'float'],
        ['score', 'float'],
        ['temperature', 'float'],
      ])
    expect(await valuesOf('SHOW TAG KEYS FROM "readings"')).toEqual([['model'], ['sensor'], ['station']])
    expect(await valuesOf(`SHOW TAG KEYS FROM "readings" WHERE "station"::tag = '${stationB}'`)).toHaveLength(
      3,
    )
    expect(
      await valuesOf(
        `SHOW TAG VALUES FROM "readings" WITH KEY = "sensor" WHERE "station"::tag = '${stationA}'`,
      ),
    ).toEqual([['sensor', 'garden']])
  })

  test('queries of template variables', async () => {
    expect(await valuesOf('SHOW TAG VALUES WITH KEY = "station"')).toEqual([
      ['station', stationA],
      ['station', stationB],
    ])
    expect(
      await valuesOf(
        `SHOW TAG VALUES FROM "readings" WITH KEY = "sensor" WHERE "station" =~ /^(${stationA}|${stationB})$/`,
      ),
    ).toEqual([
      ['sensor', 'garden'],
      ['sensor', 'roof'],
    ])
    expect(
      await valuesOf(
        `SHOW TAG VALUES WITH KEY = "sensor" WHERE "station" =~ /^${stationB}$/ AND time > now() - 1h`,
      ),
    ).toEqual([['sensor', 'roof']])
    expect(await valuesOf('SHOW TAG VALUES WITH KEY = "sensor" WHERE time < 5s')).toBeUndefined()
  })

  test('a panel of the query builder, its time filter and a variable with several values filled in', async () => {
    const series = await seriesOf(
      `SELECT mean("temperature") AS "air", max("temperature") FROM "readings" WHERE ("station"::tag =~ /^(${stationA}|${stationB})$/) AND time >= ${startMs}ms and time <= ${nowMs}ms GROUP BY time(15m), "station"::tag fill(null) ORDER BY time ASC`,
    )
    expect(series.map(({ name, tags, columns }) => [name, tags, columns])).toEqual([
      ['readings', { station: stationA }, ['time', 'air', 'max']],
      ['readings', { station: stationB }, ['time', 'air', 'max']],
    ])
    expect(series[0]!.values).toEqual([
      [startMs, 20.145, 20.29],
      [startMs + 900_000, 20.445, 20.59],
      [startMs + 1_800_000, 20.745, 20.89],
      [startMs + 2_700_000, 21.045, 21.19],
      [nowMs, null, null],
    ])
    expect(series[1]!.values.map(([, air]) => air)).toEqual([-3.07, -3.07, -3.07, -3.07, null])
  })

  test('a stat panel, a table, and what Explore begins with', async () => {
    expect(
      await valuesOf(
        `SELECT last("temperature") FROM "readings" WHERE time >= ${startMs}ms and time <= ${nowMs}ms`,
      ),
    ).toEqual([[nowMs - 30_000, 21.19]])
    expect(
      await seriesOf(
        `SELECT * FROM "readings" WHERE time >= ${startMs}ms and time <= ${nowMs}ms ORDER BY time DESC limit 1 slimit 1`,
      ),
    ).toEqual([
      {
        name: 'readings',
        columns: ['time', 'humidity', 'model', 'pm2_5', 'score', 'sensor', 'station', 'temperature'],
        values: [[nowMs - 30_000, 45.1, 'text-lines', null, 1, 'garden', stationA, 21.19]],
      },
    ])
    expect(
      await valuesOf(
        `SELECT "humidity", "score" FROM "readings" WHERE "sensor" = 'garden' AND time >= ${startMs}ms and time <= ${startMs + 60_000}ms`,
      ),
    ).toEqual([
      [startMs, 45.1, 0.125],
      [startMs + 60_000, 45.1, 1],
    ])
  })
})

test.each(['mean', 'sum', 'count', 'min', 'max'])(
  '%s over intervals is what the query API gives',
  async (fn) => {
    for (const quantity of ['temperature', 'humidity', 'pm2_5'])
      for (const every of ['1m', '7m', '1h', '1d']) {
        const series = await seriesOf(
          `SELECT ${fn}(${quantity}) FROM readings WHERE time >= ${startMs}ms AND time < ${nowMs}ms GROUP BY time(${every}), station, sensor fill(none)`,
        )
        const search = new URLSearchParams({
          quantity,
          every,
          fn,
          from: `${startMs}`,
          to: `${nowMs}`,
          limit: '10000',
        })
        const { buckets } = (await (await world.api.request(`/v1/readings?${search}`)).json()) as {
          buckets: { station: string; sensor: string; time: string; values: Record<string, number> }[]
        }
        const ours = series.flatMap(({ tags, values }) =>
          values.map(([time, value]) => `${tags!.station} ${tags!.sensor} ${time} ${value}`),
        )
        const theirs = buckets.map(
          (one) => `${one.station} ${one.sensor} ${Date.parse(one.time)} ${one.values[quantity]}`,
        )
        expect(ours.sort()).toEqual(theirs.sort())
      }
  },
)

test('without GROUP BY a mean is of all values, not of the means of sensors', async () => {
  const mean = (120 * (20 + 119 / 200) - 60 * 3.07) / 180
  expect(
    await valuesOf(`SELECT mean(temperature), count(temperature) FROM readings WHERE time >= ${startMs}ms`),
  ).toEqual([[startMs, Number(mean.toFixed(4)), 180]])
})

test('last looks behind a newest reading without the value, and first and last keep to what is good enough', async () => {
  const missing: StoredReading = {
    ...anHour()[0]!,
    timeMs: nowMs - 1,
    seq: 999,
    score: 0.5,
    values: [
      { quantity: 1, scaled: null, absent: 'warming-up' },
      { quantity: 2, scaled: 4400 },
    ],
  }
  const elsewhere: StoredReading = {
    ...missing,
    station: stationB,
    sensor: 'cellar',
    values: [{ quantity: 2, scaled: 5000 }],
  }
  await using other = await openWorld({}, [...anHour(), missing, elsewhere])
  const ask = async (q: string) => {
    const response = await other.api.request(
      `/influx/query?${new URLSearchParams({ db: 'groundtruth', epoch: 'ms', q })}`,
    )
    return ((await response.json()) as { results: Result[] }).results[0]!.series?.map(
      ({ values }) => values[0],
    )
  }
  const where = `WHERE sensor = 'garden' AND time >= ${startMs}ms`
  expect(await ask(`SELECT last(temperature) FROM readings ${where}`)).toEqual([[nowMs - 30_000, 21.19]])
  expect(await ask(`SELECT last(humidity) FROM readings ${where}`)).toEqual([[nowMs - 1, 44]])
  expect(await ask(`SELECT last(humidity) FROM readings ${where} AND score >= 0.9`)).toEqual([
    [nowMs - 30_000, 45.1],
  ])
  expect(await ask(`SELECT last(humidity) FROM readings ${where} AND time < ${startMs + 5000}ms`)).toEqual([
    [startMs, 45.1],
  ])
  expect(await ask(`SELECT first(humidity) FROM readings ${where} AND score >= 0.9`)).toEqual([
    [startMs + 60_000, 45.1],
  ])
  expect(
    await ask(`SELECT last(pm2_5) FROM readings WHERE sensor = 'roof' AND time >= ${startMs}ms`),
  ).toBeUndefined()
})

test('what one answer may hold is bounded', async () => {
  const fails = async (q: string) => (await grafana(q)).results[0]!.error
  const year = nowMs - 365 * 86_400_000
  expect(
    await fails(`SELECT mean(temperature) FROM readings WHERE time >= ${year}ms GROUP BY time(1m)`),
  ).toBe('this span has more than 20000 intervals: take a longer one in time(), or a shorter span')
  // An offset is answered by intervals that fit into both.
  expect(
    await fails(`SELECT mean(temperature) FROM readings WHERE time >= ${year}ms GROUP BY time(1h, 1s)`),
  ).toContain(
    'this span has more than 20000 intervals of 1s; take time() of at least 1577s, or move the start (WHERE time >= ...) nearer to the end',
  )
  expect(await fails(`SELECT temperature FROM readings WHERE time >= ${year - 2 * 86_400_000}ms`)).toContain(
    'may span at most 366d',
  )
  expect(
    await fails(`SELECT last(temperature) FROM readings WHERE time >= ${startMs}ms GROUP BY time(1ms)`),
  ).toBe('this span has more than 20000 intervals: take a longer one in time(), or a shorter span')
  expect(await fails('SELECT temperature FROM readings')).toBe('say from when on: WHERE time >= now() - 1h')
  const columns = Array.from({ length: 30 }, (_, at) => `mean(temperature) AS a${at}`).join(', ')
  expect(
    await fails(
      `SELECT ${columns} FROM readings WHERE time >= ${nowMs - 15_000_000}ms GROUP BY time(1s), station`,
    ),
  ).toContain('more than 500000 values')
})

test('for the newest rows no more is read than they are, and what is not good enough is counted', async () => {
  let read = 0
  const { store } = world
  const readings: typeof store.readings = async (...asked) => {
    const page = await store.readings(...asked)
    read += page.length
    return page
  }
  await using counted = await openWorld({ store: { ...store, readings } })
  const cost = async (q: string) => {
    read = 0
    const response = await counted.api.request(
      `/influx/query?${new URLSearchParams({ db: 'groundtruth', q })}`,
    )
    const { results } = (await response.json()) as { results: Result[] }
    return [results[0]!.series!.map(({ values }) => values.length), read]
  }
  const where = `WHERE station = '${stationA}' AND time >= ${startMs}ms`
  expect(await cost(`SELECT temperature FROM readings ${where} ORDER BY time DESC LIMIT 2`)).toEqual([[2], 4])
  expect(await cost(`SELECT temperature FROM readings ${where} LIMIT 2 OFFSET 3`)).toEqual([[2], 7])
  expect(await cost(`SELECT last(temperature) FROM readings ${where}`)).toEqual([[1], 0])
  expect(await cost(`SELECT mean(temperature) FROM readings ${where}`)).toEqual([[1], 0])
  expect(await cost(`SELECT temperature FROM readings ${where}`)).toEqual([[120], 120])
  const [poor] = anHour() as [StoredReading]
  let asked = 0
  const page: typeof store.readings = async (
    _selection,
    limit,
    after = { timeMs: startMs, seq: 0 } as Position,
  ) => {
    asked += limit
    return Array.from({ length: limit }, (_, at) => ({
      ...poor,
      timeMs: after.timeMs + 1 + at,
      seq: after.seq + 1 + at,
    }))
  }
  await using endless = await openWorld({ store: { ...store, readings: page } })
  const q = `SELECT temperature FROM readings WHERE time >= ${startMs}ms AND score >= 0.9 LIMIT 1`
  const response = await endless.api.request(`/influx/query?${new URLSearchParams({ db: 'groundtruth', q })}`)
  const { results } = (await response.json()) as { results: Result[] }
  expect(results[0]!.error).toContain('more than 100000 rows would be read')
  expect(asked).toBeLessThan(120_000)
})

test('many names for one value are as many values', async () => {
  const many = Array.from({ length: 400 }, (_, second): StoredReading => {
    const one = anHour()[0]!
    return { ...one, timeMs: startMs + second, seq: 1000 + second }
  })
  await using other = await openWorld(
    {},
    [...Array(6).keys()].flatMap((n) => many.map((one) => ({ ...one, sensor: `s${n}` }))),
  )
  const ask = async (columns: number) => {
    const names = Array.from({ length: columns }, (_, at) => `temperature AS a${at}`).join(', ')
    const q = `SELECT ${names} FROM readings WHERE time >= ${startMs}ms`
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: `${new URLSearchParams({ db: 'groundtruth', q })}`,
    }
    const response = await other.api.request('/influx/query', init)
    return ((await response.json()) as { results: Result[] }).results[0]!
  }
  expect((await ask(200)).series![0]!.values).toHaveLength(2400)
  expect((await ask(220)).error).toContain('more than 500000 values')
})

test('database, policy and measurement are the ones there are', async () => {
  const value = `SELECT last(temperature) FROM readings WHERE time >= ${startMs}ms`
  const ask = async (search: Record<string, string>) => {
    const { status, results } = await send(`/influx/query?${new URLSearchParams(search)}`)
    return [status, results[0]!.error]
  }
  expect(await ask({ q: value })).toEqual([200, 'database name required'])
  expect(await ask({ q: 'SHOW MEASUREMENTS' })).toEqual([200, 'database name required'])
  expect(await ask({ q: 'SHOW DATABASES' })).toEqual([200, undefined])
  expect(await ask({ q: value, db: 'telegraf' })).toEqual([200, 'database not found: telegraf'])
  expect(await ask({ q: 'SHOW TAG KEYS ON telegraf', db: 'groundtruth' })).toEqual([
    200,
    'database not found: telegraf',
  ])
  expect(await ask({ q: value, db: 'groundtruth', rp: 'week' })).toEqual([
    200,
    'retention policy not found: week',
  ])
  expect(await ask({ q: value, db: 'groundtruth', rp: 'autogen' })).toEqual([200, undefined])
  expect(await ask({ q: value.replace('readings', 'week.readings'), db: 'groundtruth' })).toEqual([
    200,
    'retention policy not found: week',
  ])
  expect(
    await ask({ q: value.replace('readings', '"other"."autogen"."readings"'), db: 'groundtruth' }),
  ).toEqual([200, 'database not found: other'])
  expect(await ask({ q: value.replace('readings', 'cpu'), db: 'groundtruth' })).toEqual([
    200,
    'there is no measurement "cpu"; there is readings',
  ])
})

test('parameters are those of InfluxDB, and one that would be ignored is refused', async () => {
  const q = `SELECT first(temperature) FROM readings WHERE sensor = $s AND time >= ${startMs}ms`
  const ask = (search: Record<string, string>) =>
    send(`/influx/query?${new URLSearchParams({ db: 'groundtruth', q, params: '{"s":"roof"}', ...search })}`)
  expect((await ask({})).results[0]!.series![0]!.values).toEqual([['2026-11-21T11:00:00Z', -3.07]])
  expect((await ask({ epoch: 'ns' })).text).toContain(`[[${startMs}000000,-3.07]]`)
  const odd = `SELECT count(temperature) FROM readings WHERE time >= ${startMs + 123}ms AND time < ${nowMs}ms`
  expect((await ask({ q: odd, epoch: 'ns' })).text).toContain(`[[${startMs + 123}000000,178]]`)
  expect((await ask({ epoch: 'h' })).results[0]!.series![0]!.values).toEqual([[startMs / 3_600_000, -3.07]])
  expect((await ask({ pretty: 'true' })).text).toBe(
    `${JSON.stringify(JSON.parse((await ask({})).text), null, 4)}\n`,
  )
  for (const [search, error] of [
    [{ epoch: 'd' }, 'epoch takes ns, u, ms, s, m or h'],
    [{ epoch: '__proto__' }, 'epoch takes ns, u, ms, s, m or h'],
    [{ epoch: 'constructor' }, 'epoch takes ns, u, ms, s, m or h'],
    [{ chunked: 'true' }, 'answers come whole: leave chunked out'],
    [{ pretty: 'maybe' }, 'pretty takes true or false'],
    [{ chunk_size: '5' }, 'unknown parameter "chunk_size"; there are q, db, rp,'],
    [{ params: '{' }, 'error parsing query parameters: params is no JSON'],
    [{ params: '[]' }, 'error parsing query parameters'],
    [{ params: '{"s":{"regex":".*"}}' }, 'values are texts and numbers here'],
    [{ params: '{}' }, 'error parsing query: missing parameter: s'],
    [{ q: '' }, 'missing required parameter "q"'],
    [{ q: 'DROP DATABASE x' }, 'error parsing query: found DROP, expected SELECT or SHOW'],
  ] as const) {
    const refused = await ask(search)
    expect(refused).toMatchObject({ status: 400, error: expect.stringContaining(error) })
  }
  const twice = await send(`/influx/query?q=SHOW+DATABASES`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: 'q=SHOW+MEASUREMENTS',
  })
  expect(twice).toMatchObject({ status: 400, error: 'parameter "q" is given twice' })
})

test('every failure below /influx is told in the form that its clients show', async () => {
  const post = (body: string, type?: string) => {
    const request = new Request('http://hub/influx/query', { method: 'POST', body })
    request.headers.delete('content-type')
    if (type !== undefined) request.headers.set('content-type', type)
    return world.api.request(request)
  }
  // The influx package sends forms without saying so.
  expect((await post('q=SHOW+DATABASES')).status).toBe(200)
  const failures: readonly [status: number, error: string, response: Response][] = [
    [415, 'a body is application/x-www-form-urlencoded here', await post('{}', 'application/json')],
    [415, 'a body is', await post('--x', 'multipart/form-data; boundary=x')],
    [413, 'at most 16384 bytes are read', await post(`q=${'x'.repeat(20_000)}`)],
    [
      414,
      'at most 4096 characters are read. Send it by POST',
      await world.api.request(`/influx/query?q=${'x'.repeat(5000)}`),
    ],
    [404, 'there is nothing at /influx/api/v2/query', await world.api.request('/influx/api/v2/query')],
    [405, 'PUT does not work here', await world.api.request('/influx/query', { method: 'PUT' })],
  ]
  for (const [status, error, response] of failures) {
    expect(response.status).toBe(status)
    const body = (await response.json()) as { error: string; type: string }
    expect(body).toMatchObject({
      error: expect.stringContaining(error),
      type: expect.stringContaining('/problems/'),
    })
    expect(response.headers.get('content-type')).toBe('application/json')
  }
  await using broken = await openWorld({
    store: {
      ...world.store,
      rollup: async () => {
        throw Object.assign(new Error('away'), { name: 'StoreUnavailable' })
      },
    },
  })
  const q = `SELECT mean(temperature) FROM readings WHERE time >= ${startMs}ms`
  const away = await broken.api.request(`/influx/query?${new URLSearchParams({ db: 'groundtruth', q })}`)
  expect([away.status, away.headers.get('retry-after')]).toEqual([503, '5'])
  expect(((await away.json()) as { error: string }).error).toContain('does not answer')
})

test('whatever is asked is answered or refused, and never a mistake of the hub', async () => {
  const piece = fc.constantFrom(
    ...[
      'mean(temperature)',
      'last(humidity)',
      'first(pm2_5)',
      'count(temperature)',
      'max(temperature)',
      '*',
      'temperature',
    ],
  )
  const clause = fc.constantFrom(
    ...[
      'GROUP BY time(1m)',
      'GROUP BY time(7m, -3m), sensor',
      'GROUP BY *',
      'fill(linear)',
      'fill(0)',
      'ORDER BY time DESC',
      'LIMIT 3',
      'SLIMIT 1',
      'AND score >= 0.5',
      "AND sensor = 'roof'",
      'AND station =~ /^b/',
      'tz(x)',
      ';',
      "OR model = 'x'",
    ],
  )
  const query = fc.record({
    columns: fc.array(piece, { minLength: 1, maxLength: 4 }),
    from: fc.integer({ min: startMs - 600_000, max: nowMs + 600_000 }),
    length: fc.integer({ min: -1000, max: 4_000_000 }),
    clauses: fc.array(clause, { maxLength: 5 }),
    epoch: fc.constantFrom('', 'ms', 'ns', 'x'),
    db: fc.constantFrom('groundtruth', 'groundtruth', 'other'),
  })
  await fc.assert(
    fc.asyncProperty(query, async ({ columns, from, length, clauses, epoch, db }) => {
      const q = `SELECT ${columns.join(', ')} FROM readings WHERE time >= ${from}ms AND time < ${from + length}ms ${clauses.join(' ')}`
      const { status, results } = await send(`/influx/query?${new URLSearchParams({ db, q, epoch })}`)
      expect([200, 400]).toContain(status)
      for (const { series = [] } of results)
        for (const one of series) for (const row of one.values) expect(row).toHaveLength(one.columns.length)
    }),
    { numRuns: 500 },
  )
  expect(world.reported).toEqual([])
})

test('both methods are described with their parameters', async () => {
  const { paths } = (await (await world.api.request('/openapi.json')).json()) as {
    paths: Record<string, Record<string, { parameters?: { name: string }[] }>>
  }
  expect(paths['/influx/query']!.get!.parameters!.map(({ name }) => name)).toEqual([
    'q',
    'db',
    'rp',
    'epoch',
    'pretty',
    'params',
    'u',
    'p',
    'chunked',
  ])
  expect(JSON.stringify(paths['/influx/query']!.post)).toContain('application/x-www-form-urlencoded')
  expect(paths['/influx/ping']!.get).toBeDefined()
})
