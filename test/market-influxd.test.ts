import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fromScaled, quantityCoded } from '#gateway/reading/quantity.ts'
import { type Measurement, toValues } from '#gateway/reading/reading.ts'
import { openInfluxStore } from '#gateway/store/influx.ts'
import type { Store, StoredReading } from '#gateway/store/store.ts'
import { type Influxd, influxdHint, influxdPath, startInfluxd } from '#test/influxd.ts'
import { nowMs, openWorld, type World } from '#test/market-world.ts'

// The same points in the hub's store and in a real InfluxDB, and the same questions to both.

const startMs = nowMs - 2 * 3_600_000
const spanS = 5400

type Sensor = {
  readonly station: string
  readonly sensor: string
  readonly model: string
  readonly everyS: number
}

// Never two at one time: which of them comes first InfluxDB does not say.
const sensors: readonly Sensor[] = [
  { station: 'a'.repeat(32), sensor: 'garden', model: 'm1', everyS: 32 },
  { station: 'a'.repeat(32), sensor: 'roof', model: 'm2', everyS: 44 },
  { station: 'b'.repeat(32), sensor: 'roof', model: 'm3', everyS: 60 },
  { station: 'c'.repeat(32), sensor: 'cellar', model: 'm4', everyS: 76 },
]

// Nothing is measured in these seconds, by anybody.
const isGap = (s: number): boolean => (s >= 1200 && s < 2300) || (s >= 4000 && s < 4100)

const measured = (s: number, which: number): Measurement[] => {
  const wave = Math.round(Math.sin(s / 300 + which) * 1000) / 100
  const temperature = { quantity: 'temperature', value: 20 + wave + which } as const
  const humidity = { quantity: 'humidity', value: 50 - wave } as const
  const pm = { quantity: 'pm2_5', value: Math.round((7 + wave / 2) * 10) / 10 } as const
  if (which === 3) return [humidity]
  if (which === 2) return s % 7 === 0 ? [] : [temperature]
  return s % 3 === 0 ? [temperature, humidity, pm] : [temperature, humidity]
}

const readings: StoredReading[] = sensors.flatMap(({ station, sensor, model, everyS }, which) => {
  const made: StoredReading[] = []
  for (let s = which; s < spanS; s += everyS) {
    const values = toValues(measured(s, which))
    if (isGap(s) || values.length === 0) continue
    const seq = made.length + 1 + which * 10_000
    const score = [1, 0.9, 0.45, 0.125][made.length % 4]!
    made.push({
      station,
      sensor,
      model,
      timeMs: startMs + s * 1000,
      values,
      seq,
      place: 0,
      score,
      flags: [],
      rules: '1',
    })
  }
  return made
})

const lineOf = ({ station, sensor, model, timeMs, values, score }: StoredReading): string => {
  const fields = values.flatMap(({ quantity, scaled }) => {
    const known = quantityCoded(quantity)!
    return scaled === null ? [] : [`${known.name}=${fromScaled(known, scaled)}`]
  })
  return `readings,model=${model},sensor=${sensor},station=${station} ${[...fields, `score=${score}`].join(',')} ${timeMs}`
}

const refuseQuarantine = (_: StoredReading, error: Error) => {
  throw error
}

type Series = {
  readonly name?: string
  readonly tags?: object
  readonly columns: string[]
  readonly values: unknown[][]
}
type Body = {
  readonly results?: { readonly series?: Series[]; readonly error?: string }[]
  readonly error?: string
}

const stores = ['embedded', 'influx'] as const

describe.skipIf(!influxdPath).each(stores)(`a real InfluxDB and the hub, %s store${influxdHint}`, (kind) => {
  let influxd: Influxd
  let store: Store | undefined
  let world: World
  beforeAll(async () => {
    influxd = await startInfluxd()
    await fetch(`${influxd.url}/query?q=${encodeURIComponent('CREATE DATABASE "groundtruth"')}`, {
      method: 'POST',
    })
    const body = readings.map(lineOf).join('\n')
    const written = await fetch(`${influxd.url}/write?db=groundtruth&precision=ms`, { method: 'POST', body })
    expect(written.status).toBe(204)
    if (kind === 'influx') {
      store = await openInfluxStore({ url: influxd.url, database: 'store', onQuarantine: refuseQuarantine })
      await store.write(readings)
    }
    world = await openWorld(store === undefined ? {} : { store }, readings)
  })
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]()
    await store?.[Symbol.asyncDispose]()
    await influxd?.[Symbol.asyncDispose]()
  })

  const askBoth = async (q: string, epoch = 'ms'): Promise<readonly [theirs: Body, ours: Body]> => {
    const search = new URLSearchParams({ db: 'groundtruth', q, ...(epoch === '' ? {} : { epoch }) })
    const theirs = await fetch(`${influxd.url}/query?${search}`)
    const ours = await world.api.request(`/influx/query?${search}`)
    return [(await theirs.json()) as Body, (await ours.json()) as Body]
  }

  /** Means are shown to two decimals more than their quantity has. */
  const near = (theirs: unknown, ours: unknown): boolean =>
    typeof theirs === 'number' && typeof ours === 'number'
      ? Math.abs(theirs - ours) < 0.000_51
      : theirs === ours

  /**
   * A column that was filled because nothing was measured. InfluxDB fills it or leaves it, by whether its files have
   * something later than what was asked for.
   */
  const isNothing = (theirs: unknown[][], ours: unknown[][], column: number): boolean =>
    theirs.every((row) => row[column] === null) &&
    ours.every((row) => row[column] === ours[0]![column] && [0, -2, -2.5].includes(row[column] as number))

  const expectSame = (q: string, [theirs, ours]: readonly [Body, Body]) => {
    const shape = (body: Body) =>
      body.results?.map(({ series = [], error }) => [
        error,
        series.map(({ name, tags, columns, values }) => [name, tags, columns, values.length]),
      ])
    expect(shape(ours), `${q}\n${JSON.stringify(ours).slice(0, 600)}`).toEqual(shape(theirs))
    for (const [at, result] of theirs.results!.entries())
      for (const [place, series] of (result.series ?? []).entries())
        for (const [row, cells] of series.values.entries()) {
          const mine = ours.results![at]!.series![place]!.values
          const own = mine[row]!
          const same =
            own.length === cells.length &&
            own.every((cell, column) => near(cells[column], cell) || isNothing(series.values, mine, column))
          expect(same, `${q}\nrow ${row}: ${JSON.stringify(cells)}, ours ${JSON.stringify(own)}`).toBe(true)
        }
  }

  const from = `${startMs}ms`
  const span = `time >= ${from} AND time < ${startMs + spanS * 1000}ms`

  test.each([
    `SELECT temperature FROM readings WHERE ${span}`,
    `SELECT * FROM readings WHERE ${span}`,
    `SELECT * FROM readings WHERE ${span} GROUP BY station ORDER BY time DESC LIMIT 7 OFFSET 2`,
    `SELECT *, temperature AS again FROM readings WHERE ${span} GROUP BY * LIMIT 3 SLIMIT 2 SOFFSET 1`,
    `SELECT time AS t, humidity, temperature, temperature, station FROM readings WHERE ${span} LIMIT 20`,
    `SELECT mean(temperature), mean(temperature), max(temperature) AS mean FROM readings WHERE ${span}`,
    `SELECT max(temperature) FROM readings WHERE ${span}`,
    `SELECT min(temperature) FROM readings WHERE ${span} GROUP BY station, sensor`,
    `SELECT last(humidity) FROM readings WHERE ${span} GROUP BY sensor`,
    `SELECT last(pm2_5) FROM readings WHERE ${span}`,
    `SELECT first(humidity), last(temperature) FROM readings WHERE ${span}`,
    `SELECT count(pm2_5) FROM readings WHERE ${span} GROUP BY time(7m, 2m), sensor fill(linear)`,
    `SELECT mean(humidity) FROM readings WHERE ${span} GROUP BY time(5m), station::tag fill(previous) ORDER BY time DESC`,
    `SELECT mean("temperature"::field) FROM "groundtruth"."autogen"."readings" WHERE (("station"::tag = '${'a'.repeat(32)}')) AND ${span} GROUP BY time(30m)`,
    `SELECT mean(temperature) FROM readings WHERE ${span} AND (sensor = 'roof' AND station != '${'a'.repeat(32)}' OR model = 'm1') GROUP BY *`,
    `SELECT mean(temperature) FROM readings WHERE ${span} AND sensor =~ /^(garden|cellar)$/ GROUP BY sensor`,
    `SELECT mean(temperature) FROM readings WHERE ${span} AND sensor !~ /(?i)ROO/ GROUP BY sensor`,
    `SELECT temperature FROM readings WHERE time = ${startMs + 64_000}ms`,
    `SELECT temperature FROM readings WHERE time > '2026-11-21 10:00:30.5' AND time <= '2026-11-21T10:02:00Z'`,
    `SELECT temperature FROM readings WHERE time >= '2026-11-21' + 10h AND time < '2026-11-21' + 10h5m`,
    `SELECT temperature FROM readings WHERE ${span} AND time < 0`,
    `SELECT temperature FROM readings WHERE ${span} AND station = 'nobody'`,
    `SELECT mean(co2), mean(temperature) FROM readings WHERE ${span} GROUP BY time(1h)`,
    `SELECT mean(co2) FROM readings WHERE ${span} GROUP BY time(1h)`,
    `SELECT sum(temperature) FROM readings WHERE ${span} GROUP BY time(1h) tz('UTC'); SELECT count(humidity) FROM readings WHERE ${span}`,
    'SHOW RETENTION POLICIES ON "groundtruth"',
    'SHOW measurements',
    'SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)READ/ LIMIT 100',
    'SHOW MEASUREMENTS WITH MEASUREMENT =~ /nothing/ LIMIT 100',
    'SHOW TAG KEYS',
    'SHOW TAG KEYS FROM "readings" LIMIT 2 OFFSET 1',
    'SHOW TAG KEYS FROM "else"',
    'SHOW TAG VALUES FROM "readings" WITH KEY = "station"',
    'SHOW TAG VALUES WITH KEY IN ("sensor", station)',
    `SHOW TAG VALUES FROM "autogen"."readings" WITH KEY =~ /^(sensor|model)$/ WHERE "station" = '${'a'.repeat(32)}'`,
    'SHOW TAG VALUES WITH KEY != "station" LIMIT 3',
    'SHOW FIELD KEYS FROM "readings"',
    'SHOW SERIES',
    "SHOW SERIES WHERE sensor = 'roof'",
    'SHOW TAG KEYS ON "other"',
  ])('answers alike: %s', async (q) => {
    expectSame(q, await askBoth(q))
  })

  const pickOf = <T extends string>(...names: readonly T[]) => fc.constantFrom(...names)
  const functions = pickOf('mean', 'sum', 'count', 'min', 'max', 'first', 'last')
  // A field that nobody has ever measured gets nothing from fill() with some functions, and its value with others.
  const fields = pickOf('temperature', 'humidity', 'pm2_5')
  const calls = fc
    .array(fc.tuple(functions, fields, fc.option(pickOf('"x y"', 'mean', 'count_1'))), {
      minLength: 1,
      maxLength: 4,
    })
    .map((list) =>
      list.map(([fn, field, name]) => `${fn}(${field})${name === null ? '' : ` AS ${name}`}`).join(', '),
    )
  const plain = fc
    .subarray(['temperature', 'humidity', 'pm2_5'], { minLength: 1 })
    .map((list) => list.join(', '))
  const tagList = fc.subarray(['station', 'sensor', 'model'])
  const instant = fc.integer({ min: -600, max: spanS + 600 }).map((s) => startMs + s * 1000)
  const condition = fc.option(
    pickOf(
      `station = '${'a'.repeat(32)}'`,
      "sensor != 'roof'",
      'score >= 0.9',
      "score::field >= .45 AND model != 'm1'",
      "(sensor = 'roof' OR model = 'm4')",
      `station =~ /^(${'a'.repeat(32)}|${'c'.repeat(32)})$/`,
      'sensor !~ /oo/',
      "model =~ /^m/ AND station = 'nobody'",
    ),
  )
  const bounds = fc.record({
    limit: fc.option(fc.integer({ min: 1, max: 9 })),
    offset: fc.option(fc.integer({ min: 0, max: 9 })),
    slimit: fc.option(fc.integer({ min: 1, max: 3 })),
    soffset: fc.option(fc.integer({ min: 0, max: 2 })),
  })
  const interval = fc.option(
    fc.record({
      every: pickOf('30s', '1m', '7m', '10m', '1h', '90000ms', '1h30m', '1d', '1w'),
      offset: fc.option(pickOf('10s', '-20s', '3m', '1h')),
      fill: fc.option(pickOf('null', 'none', 'previous', 'linear', '0', '-2.5')),
    }),
  )
  const question = fc
    .record({
      calls: fc.option(calls),
      plain,
      tags: tagList,
      from: instant,
      length: fc.integer({ min: 1, max: 7000 }),
    })
    .chain((what) => fc.record({ what: fc.constant(what), condition, bounds, interval, desc: fc.boolean() }))
    .map(({ what, condition: tags, bounds: { limit, offset, slimit, soffset }, interval: every, desc }) => {
      const isCalls = what.calls !== null
      const groups = [
        ...(isCalls && every !== null
          ? [`time(${every.every}${every.offset === null ? '' : `, ${every.offset}`})`]
          : []),
        ...what.tags,
      ]
      // LIMIT leaves as many values of each function, which makes more rows where these have gaps of their own.
      const isOdd = isCalls && what.calls!.includes(',') && every?.fill === 'none'
      const fill = isCalls && every !== null && every.fill !== null ? ` fill(${every.fill})` : ''
      const clause = (name: string, value: number | null) => (value === null ? '' : ` ${name} ${value}`)
      return [
        `SELECT ${what.calls ?? what.plain} FROM readings`,
        ` WHERE time >= ${what.from}ms AND time <= ${what.from + what.length * 1000}ms`,
        tags === null ? '' : ` AND ${tags}`,
        groups.length === 0 ? '' : ` GROUP BY ${groups.join(', ')}`,
        fill,
        desc ? ' ORDER BY time DESC' : '',
        isOdd ? '' : clause('LIMIT', limit ?? (offset === null ? null : 4)),
        isOdd ? '' : clause('OFFSET', offset),
        clause('SLIMIT', slimit ?? (soffset === null ? null : 2)),
        clause('SOFFSET', soffset),
      ].join('')
    })

  test('whatever is asked in what both understand, shape and values are the same', {
    timeout: 60_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(question, async (q) => expectSame(q, await askBoth(q))),
      { numRuns: kind === 'embedded' ? 300 : 100 },
    )
  })

  test.each(['', 'ns', 'u', 'ms', 's', 'm', 'h'])(
    'times in epoch "%s" are the same, digit by digit',
    async (epoch) => {
      const q = `SELECT last(temperature) FROM readings WHERE ${span} GROUP BY sensor; SELECT count(humidity) FROM readings WHERE ${span} GROUP BY time(1m)`
      const search = new URLSearchParams({ db: 'groundtruth', q, epoch })
      const theirs = await fetch(`${influxd.url}/query?${search}`)
      const ours = await world.api.request(`/influx/query?${search}`)
      expect(await ours.text()).toBe(await theirs.text())
    },
  )
})
