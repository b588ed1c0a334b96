import { decode } from 'cborg'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bodyOf, bytesOf, chunksOf } from '#gateway/market/body.ts'
import { formats } from '#gateway/market/formats/all.ts'
import { cbor } from '#gateway/market/formats/cbor.ts'
import { orProblem } from '#gateway/market/problem.ts'
import { columnsOf, nextPlan, planReadings, run } from '#gateway/market/query.ts'
import { type Answered, openChecked } from './market-schema.ts'
import { anHour, nowMs, openWorld, stationA, type World } from './market-world.ts'

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

describe('every format of bytes', () => {
  test('has an entity tag of its own, gives 304 for it, and a head without a body', async () => {
    const question = inFormat(`/v1/readings?${closedHour}`, 'cbor')
    const { response } = await ask(question)
    const tag = response.headers.get('etag')!
    expect(tag).not.toBe((await ask(`/v1/readings?${closedHour}`)).response.headers.get('etag'))
    const again = await ask(question, { headers: { 'if-none-match': tag } })
    expect([again.response.status, again.bytes.length]).toEqual([304, 0])
    const head = await ask(question, { method: 'HEAD' })
    expect([head.response.status, head.bytes.length]).toEqual([200, 0])
    expect(head.response.headers.get('content-type')).toBe('application/cbor')
  })

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

describe('every format', () => {
  test.each(formats.map((format) => [format.name, format] as const))(
    '%s gives pages that are read one by one as one answer',
    async (_, format) => {
      const { plan } = orProblem(planReadings({ from: { ms: nowMs - 3_600_000 }, to: { ms: nowMs } }, nowMs))
      const columns = await columnsOf(plan.selection, { kind: 'latest', rows: [] }, world.store)
      const whole = await run(plan, world.deps)
      let read = 0
      const pages = async function* () {
        for (let next: typeof plan | undefined = { ...plan, limit: 50 }; next !== undefined; read++) {
          const page = await run(next, world.deps)
          yield page
          next = nextPlan(next, page)
        }
      }
      const bytes = await bytesOf(format.render(pages(), { columns }))
      expect(read).toBe(4)
      expect(Buffer.from(bytes).equals(await bytesOf(format.render([whole], { columns })))).toBe(true)
    },
  )
})
