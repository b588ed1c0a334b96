import { setImmediate } from 'node:timers/promises'
import { decode } from 'cborg'
import fc from 'fast-check'
import { latLngToCell } from 'h3-js'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bodyOf, bytesOf, chunksOf } from '#gateway/market/body.ts'
import { formats } from '#gateway/market/formats/all.ts'
import { cbor } from '#gateway/market/formats/cbor.ts'
import { contextOf } from '#gateway/market/formats/context.ts'
import { parquet } from '#gateway/market/formats/parquet.ts'
import { outlineOf } from '#gateway/market/outline.ts'
import { orProblem } from '#gateway/market/problem.ts'
import { nextPlan, planReadings, run } from '#gateway/market/query.ts'
import type { ReadingRow } from '#gateway/market/row.ts'
import { type Answered, openChecked } from './market-schema.ts'
import {
  anHour,
  fakeEvidence,
  nowMs,
  openWorld,
  stationA,
  stationB,
  viennaCell,
  type World,
} from './market-world.ts'

const closedHour = `from=${nowMs - 3_600_000}&to=${nowMs}`

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

/** Questions of every kind of answer: pages, intervals, one row with a value that is not there, nothing, the newest. */
const questions = [
  `/v1/readings?${closedHour}`,
  `/v1/readings?${closedHour}&limit=7`,
  `/v1/readings?${closedHour}&every=5m&fn=mean`,
  `/v1/readings?from=${nowMs - 3_570_000}&to=${nowMs - 3_569_999}&station=${stationA}`,
  `/v1/readings?${closedHour}&station=nobody`,
  '/v1/latest',
]

const inFormat = (question: string, format: string): string =>
  `${question}${question.includes('?') ? '&' : '?'}format=${format}`

describe('pieces', () => {
  const piece = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.uint8Array({ maxLength: 40 }))

  test('of text and bytes in any order become the same bytes in chunks, whole, and as a body', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { maxLength: 60 }),
        fc.integer({ min: 1, max: 900 }),
        fc.boolean(),
        async (some, times, isSlow) => {
          const pieces = Array.from({ length: times }, () => some).flat()
          const expected = Buffer.concat(pieces.map((one) => Buffer.from(one as string)))
          const given = () => (isSlow ? Array.fromAsync(pieces).then((all) => all.values()) : pieces)
          const chunks = await Array.fromAsync(chunksOf(await given()))
          expect(chunks.slice(0, -1).every(({ length }) => length >= 32 * 1024)).toBe(true)
          expect(Buffer.concat(chunks).equals(expected)).toBe(true)
          expect(expected.equals(await bytesOf(await given()))).toBe(true)
          const response = new Response(await bodyOf(await given()))
          expect(expected.equals(new Uint8Array(await response.arrayBuffer()))).toBe(true)
        },
      ),
      { numRuns: 40 },
    )
  })

  test('are not made before somebody reads, and no more of them than are read', async () => {
    let made = 0
    let isEnded = false
    const pieces = async function* () {
      try {
        for (; made < 1000; made++) yield new Uint8Array(32 * 1024).fill(made)
      } finally {
        isEnded = true
      }
    }
    const body = await bodyOf(pieces())
    if (body instanceof Uint8Array) return expect.fail('that is no stream')
    const reader = body.getReader()
    for (const at of [0, 1, 2, 3]) expect((await reader.read()).value?.[0]).toBe(at)
    await setImmediate()
    expect(made).toBeLessThan(6)
    await reader.cancel()
    expect([made < 6, isEnded]).toEqual([true, true])
  })
})

describe('CBOR', () => {
  test.each(questions)('has the members that JSON has: %s', async (question) => {
    const { json } = await ask(inFormat(question, 'json'))
    const { response, bytes } = await ask(inFormat(question, 'cbor'))
    expect(response.headers.get('content-type')).toBe('application/cbor')
    expect(response.headers.get('vary')).toContain('Accept')
    expect(decode(bytes)).toEqual(json)
    expect(Object.keys(decode(bytes) as object)).toEqual(Object.keys(json as object))
    const byAccept = await ask(question, { headers: { accept: 'application/cbor' } })
    expect(Buffer.from(byAccept.bytes).equals(bytes)).toBe(true)
  })

  test('keeps every number exactly', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.maxSafeInteger())),
        async (numbers) => {
          const values = Object.fromEntries(numbers.map((value, at) => [`q${at}`, value === 0 ? 0 : value]))
          const row = { station: 's', sensor: 's', time: 't', values, counts: {} }
          const answer = {
            kind: 'buckets',
            fromMs: 0,
            toMs: 1,
            everyMs: 1000,
            fn: 'sum',
            next: null,
            rows: [row],
          } as const
          const bytes = await bytesOf(cbor.render([answer]))
          expect((decode(bytes) as { buckets: unknown[] }).buckets).toEqual([row])
        },
      ),
    )
  })
})

type Feature = {
  readonly geometry: unknown
  readonly properties: Readonly<Record<string, string | number | null>>
}

describe('GeoJSON', () => {
  test.each(questions)('has a feature per row, with the fields of CSV: %s', async (question) => {
    const { json } = await ask(inFormat(question, 'json'))
    const { readings, buckets, ...members } = json as { readings?: unknown[]; buckets?: unknown[] }
    const answer = await ask(inFormat(question, 'geojson'))
    expect(answer.response.headers.get('content-type')).toBe('application/geo+json')
    const { type, features, ...rest } = answer.json as { type: string; features: Feature[] }
    expect([type, rest, features.length]).toEqual([
      'FeatureCollection',
      members,
      (readings ?? buckets)!.length,
    ])
    const [header, ...lines] = (await ask(inFormat(question, 'csv'))).text.trimEnd().split('\r\n')
    expect(
      features.map(({ properties }) =>
        header!
          .split(',')
          .map((name) => properties[name] ?? '')
          .join(),
      ),
    ).toEqual(lines)
  })

  test('shows a station in the cell that its owner tells, and nowhere where none is told', async () => {
    const { json } = await ask('/v1/latest', { headers: { accept: 'application/geo+json' } })
    const { features } = json as { features: Feature[] }
    expect(features.map(({ geometry, properties }) => [properties.station, geometry])).toEqual([
      [stationA, outlineOf(viennaCell)],
      [stationB, null],
    ])
    expect(features[0]!.properties).not.toHaveProperty('absent')
    const warming = await ask(inFormat(questions[3]!, 'geojson'))
    expect((warming.json as { features: Feature[] }).features).toMatchObject([
      { properties: { temperature: 20.01, humidity: null, absent: 'humidity:warming-up' } },
    ])
  })

  test('cuts a cell at the antimeridian', async () => {
    const evidence = fakeEvidence()
    const profile = { ...evidence.profile(stationA)!, cell: latLngToCell(-16.9, 179.999, 7) }
    await using there = await openWorld({ evidence: { ...evidence, profile: () => profile } })
    const { json } = await (await openChecked(there.api)).ask('/v1/latest?format=geojson')
    expect((json as { features: Feature[] }).features).toMatchObject([
      { geometry: { type: 'MultiPolygon' } },
      { geometry: { type: 'MultiPolygon' } },
    ])
  })

  test('has another entity tag when a station has moved, and other formats have the same', async () => {
    const evidence = fakeEvidence()
    let cell = viennaCell
    const profile = (station: string) => {
      const told = evidence.profile(station)
      return told?.cell === undefined ? told : { ...told, cell }
    }
    await using moving = await openWorld({ evidence: { ...evidence, profile } })
    const tagOf = async (format: string) =>
      (await moving.api.request(`/v1/readings?${closedHour}&format=${format}`)).headers.get('etag')
    const before = [await tagOf('geojson'), await tagOf('json')]
    cell = latLngToCell(48.3, 16.5, 7)
    expect(await tagOf('geojson')).not.toBe(before[0])
    expect(await tagOf('json')).toBe(before[1])
  })
})

/** A Parquet file as its reader sees it; whole numbers of 64 bits as numbers, and no fields that are null. */
const readParquet = async (bytes: Uint8Array) => {
  const file = new Uint8Array(bytes).buffer
  const metadata = parquetMetadata(file)
  const rows = await parquetReadObjects({ file })
  return {
    rows: rows.map((row) =>
      Object.fromEntries(
        Object.entries(row).flatMap(([name, value]) =>
          value === null ? [] : [[name, typeof value === 'bigint' ? Number(value) : value]],
        ),
      ),
    ),
    schema: metadata.schema
      .slice(1)
      .map((one) => [one.name, one.type, one.repetition_type, one.logical_type]),
    members: Object.fromEntries((metadata.key_value_metadata ?? []).map(({ key, value }) => [key, value])),
    groups: metadata.row_groups,
  }
}

const withoutNull = (fields: object): object =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))

const string = { type: 'STRING' }
const timestamp = { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' }

describe('Parquet', () => {
  test.each(questions)(
    'has the rows of GeoJSON and CSV, typed, and the members of JSON: %s',
    async (question) => {
      const {
        features,
        type: _,
        ...members
      } = (await ask(inFormat(question, 'geojson'))).json as {
        features: Feature[]
        type: string
      }
      const { response, bytes } = await ask(inFormat(question, 'parquet'))
      expect(response.headers.get('content-type')).toBe('application/vnd.apache.parquet')
      const file = await readParquet(bytes)
      expect(file.members).toEqual(withoutNull(members))
      expect(file.rows).toEqual(
        features.map(({ properties }) => ({
          ...withoutNull(properties),
          time: new Date(properties.time as string),
        })),
      )
      const [header] = (await ask(inFormat(question, 'csv'))).text.split('\r\n')
      expect(file.schema.map(([name]) => name)).toEqual(header!.split(','))
    },
  )

  test('says which type each column has, and which may be null', async () => {
    const readings = await readParquet((await ask(inFormat(questions[0]!, 'parquet'))).bytes)
    expect(readings.schema).toEqual([
      ['time', 'INT64', 'REQUIRED', timestamp],
      ['station', 'BYTE_ARRAY', 'REQUIRED', string],
      ['sensor', 'BYTE_ARRAY', 'REQUIRED', string],
      ['model', 'BYTE_ARRAY', 'REQUIRED', string],
      ['temperature', 'DOUBLE', 'OPTIONAL', undefined],
      ['humidity', 'DOUBLE', 'OPTIONAL', undefined],
      ['pm2_5', 'DOUBLE', 'OPTIONAL', undefined],
      ['absent', 'BYTE_ARRAY', 'OPTIONAL', string],
      ['score', 'DOUBLE', 'REQUIRED', undefined],
      ['flags', 'BYTE_ARRAY', 'OPTIONAL', string],
      ['rules', 'BYTE_ARRAY', 'REQUIRED', string],
      ['seq', 'INT64', 'REQUIRED', undefined],
      ['place', 'INT64', 'REQUIRED', undefined],
      ['batch', 'INT64', 'OPTIONAL', undefined],
      ['status', 'BYTE_ARRAY', 'REQUIRED', string],
    ])
    const buckets = await readParquet((await ask(inFormat(questions[2]!, 'parquet'))).bytes)
    expect(buckets.schema.map(([name, type]) => `${name} ${type}`)).toEqual([
      'time INT64',
      'station BYTE_ARRAY',
      'sensor BYTE_ARRAY',
      'temperature DOUBLE',
      'humidity DOUBLE',
      'pm2_5 DOUBLE',
      'temperature_count INT64',
      'humidity_count INT64',
      'pm2_5_count INT64',
    ])
  })

  test('keeps every number and every text exactly', async () => {
    const fields = fc.record({
      values: fc.dictionary(
        fc.constantFrom('temperature', 'humidity'),
        fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })),
      ),
      seq: fc.maxSafeNat(),
      batch: fc.option(fc.maxSafeNat(), { nil: undefined }),
      flags: fc.array(fc.string({ unit: 'grapheme', minLength: 1 }), { maxLength: 2 }),
      timeMs: fc.integer({ min: 0, max: 8.64e15 }),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fields, { maxLength: 50 }),
        fc.integer({ min: 1, max: 200 }),
        async (some, times) => {
          const all = Array.from({ length: times }, () => some).flat()
          const rows = all.map(
            ({ values, seq, batch, flags, timeMs }): ReadingRow => ({
              station: 's',
              sensor: 's',
              model: 'm',
              time: new Date(timeMs).toISOString(),
              values,
              quality: { score: 1, flags, rules: '1' },
              proof: { seq, place: 0, status: 'final', ...(batch === undefined ? {} : { batch }) },
            }),
          )
          const context = { columns: ['temperature', 'humidity'], cellOf: () => undefined }
          const file = await readParquet(await bytesOf(parquet.render([{ kind: 'latest', rows }], context)))
          expect(file.rows).toEqual(
            all.map(({ values, seq, batch, flags, timeMs }) => ({
              time: new Date(timeMs),
              station: 's',
              sensor: 's',
              model: 'm',
              ...withoutNull(values),
              score: 1,
              ...(flags.length > 0 ? { flags: flags.join(' ') } : {}),
              rules: '1',
              seq,
              place: 0,
              ...(batch === undefined ? {} : { batch }),
              status: 'final',
            })),
          )
        },
      ),
      { numRuns: 30 },
    )
  })

  test('of the largest page comes in groups of rows, compressed, with words from a dictionary, and not again by gzip', async () => {
    const [first] = anHour()
    const many = Array.from({ length: 10_001 }, (_, at) => ({
      ...first!,
      timeMs: nowMs - 4_000_000 + at * 300,
      seq: at + 1,
    }))
    await using large = await openWorld({}, many)
    const response = await large.api.request('/v1/readings?from=-2h&format=parquet&limit=10000', {
      headers: { 'accept-encoding': 'gzip' },
    })
    expect(response.headers.get('content-encoding')).toBeNull()
    const { rows, groups, members } = await readParquet(new Uint8Array(await response.arrayBuffer()))
    expect(rows.map(({ seq }) => seq)).toEqual(many.slice(0, 10_000).map(({ seq }) => seq))
    expect(response.headers.get('link')).toContain(encodeURIComponent(members.next!))
    expect(groups.map(({ num_rows }) => num_rows)).toEqual([5000n, 5000n])
    const chunks = groups.flatMap(({ columns }) => columns.map(({ meta_data }) => meta_data!))
    expect(new Set(chunks.map(({ codec }) => codec))).toEqual(new Set(['SNAPPY']))
    for (const word of ['station', 'sensor', 'model', 'status'])
      expect(chunks.find(({ path_in_schema }) => path_in_schema[0] === word)!.encodings).toContain(
        'RLE_DICTIONARY',
      )
  })
})

describe('every format', () => {
  test.each(formats.map((format) => [format.name, format] as const))(
    '%s gives pages that are read one by one as one answer',
    async (_, format) => {
      const { plan } = orProblem(
        planReadings({ from: { ms: nowMs - 3_600_000 }, to: { ms: nowMs } }, nowMs, () => ({
          ok: true,
          stations: undefined,
        })),
      )
      const context = await contextOf(format, { kind: 'latest', rows: [] }, plan.selection, world.deps)
      const whole = await run(plan, world.deps)
      let read = 0
      const pages = async function* () {
        for (let next: typeof plan | undefined = { ...plan, limit: 50 }; next !== undefined; read++) {
          const page = await run(next, world.deps)
          yield page
          next = nextPlan(next, page)
        }
      }
      const bytes = await bytesOf(format.render(pages(), context))
      expect(read).toBe(4)
      expect(Buffer.from(bytes).equals(await bytesOf(format.render([whole], context)))).toBe(true)
    },
  )

  test('keeps to itself what is said of private positions', async () => {
    expect(anHour()[0]!.flags).toContain('latitude:jump')
    for (const { name } of formats)
      for (const question of questions) {
        const { response, bytes } = await ask(inFormat(question, name))
        expect(response.status).toBe(200)
        const plain = Buffer.from(bytes).toString('latin1')
        expect(plain, `${name} of ${question}`).not.toContain('latitude')
      }
  })
})

describe('every format of bytes', () => {
  test.each(formats.filter(({ isText }) => !isText).map(({ name, mediaType }) => [name, mediaType]))(
    '%s has an entity tag of its own, gives 304 for it, and a head without a body',
    async (name, mediaType) => {
      const question = inFormat(`/v1/readings?${closedHour}`, name)
      const { response } = await ask(question)
      const tag = response.headers.get('etag')!
      expect(tag).not.toBe((await ask(`/v1/readings?${closedHour}`)).response.headers.get('etag'))
      const again = await ask(question, { headers: { 'if-none-match': tag } })
      expect([again.response.status, again.bytes.length]).toEqual([304, 0])
      const head = await ask(question, { method: 'HEAD' })
      expect([head.response.status, head.bytes.length]).toEqual([200, 0])
      expect(head.response.headers.get('content-type')).toBe(mediaType)
    },
  )

  test('is streamed where it is long', async () => {
    const many = Array.from({ length: 4000 }, (_, at) => ({
      ...anHour()[0]!,
      timeMs: nowMs - 4_000_000 + at * 1000,
      seq: at + 1,
    }))
    await using large = await openWorld({}, many)
    const response = await large.api.request('/v1/readings?from=-2h&format=cbor&limit=4000')
    const chunks: Uint8Array[] = []
    for await (const chunk of response.body!) chunks.push(chunk)
    expect(chunks.length).toBeGreaterThan(10)
    expect((decode(Buffer.concat(chunks)) as { readings: unknown[] }).readings).toHaveLength(4000)
  })
})
