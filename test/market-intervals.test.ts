import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openChecked } from './market-schema.ts'
import { anHour, nowMs, openWorld, stationA, stationB, type World } from './market-world.ts'

type Row = {
  readonly time: string
  readonly station: string
  readonly values: Record<string, number | null>
  readonly counts: Record<string, number>
  readonly quality: { readonly score: number }
}
type Page = { readonly readings: Row[]; readonly buckets: Row[]; readonly next: string | null }

const span = `from=${nowMs - 3_600_000}&to=${nowMs}`

/** Every third reading is poor, and all of B's last half hour. */
const mixed = () =>
  anHour().map((reading, at) => ({
    ...reading,
    score: at % 3 === 0 || (reading.station === stationB && reading.timeMs >= nowMs - 1_800_000) ? 0.4 : 0.95,
  }))

describe('intervals of what is good enough', () => {
  let world: World
  let ask: (url: string) => Promise<{ response: Response; json: Page }>
  beforeAll(async () => {
    world = await openWorld({}, mixed())
    ask = (await openChecked(world.api)).ask as never
  })
  afterAll(() => world[Symbol.asyncDispose]())

  test.each(['mean', 'min', 'max', 'count'])('have the %s of those readings and of no other', async (fn) => {
    const { json: good } = await ask(`/v1/readings?${span}&min_quality=0.9&quantity=temperature&limit=1000`)
    expect(good.readings.length).toBeGreaterThan(60)
    const groups = Map.groupBy(good.readings, ({ station, time }) => {
      const ms = Date.parse(time)
      return `${new Date(ms - (ms % 300_000)).toISOString()} ${station}`
    })
    const expected = [...groups].map(([name, rows]) => {
      const values = rows.map(({ values }) => values.temperature!)
      const value = {
        mean: values.reduce((sum, one) => sum + one, 0) / values.length,
        min: Math.min(...values),
        max: Math.max(...values),
        count: values.length,
      }[fn]!
      return [name, value.toFixed(6), values.length]
    })
    const found: unknown[] = []
    for (let cursor = ''; ; ) {
      const query = `${span}&every=5m&fn=${fn}&min_quality=0.9&quantity=temperature&limit=5`
      const { json } = await ask(`/v1/readings?${query}${cursor}`)
      for (const { time, station, values, counts } of json.buckets)
        found.push([`${time} ${station}`, values.temperature!.toFixed(6), counts.temperature])
      if (json.next === null) break
      cursor = `&cursor=${json.next}`
    }
    expect(found).toEqual(expected.sort(([a], [b]) => (`${a}` < `${b}` ? -1 : 1)))
    // B has six intervals without a good reading, and no rows for them.
    expect(found).toHaveLength(12 + 6)
  })

  test('are bound to the score that was asked for, and none means every reading', async () => {
    const one = (await ask(`/v1/readings?${span}&every=5m&min_quality=0.9&limit=2`)).json
    const other = await ask(`/v1/readings?${span}&every=5m&min_quality=0.8&limit=2&cursor=${one.next}`)
    expect(other.response.status).toBe(400)
    const whole = (await ask(`/v1/readings?${span}&every=1h&fn=count&quantity=temperature`)).json
    const any = (await ask(`/v1/readings?${span}&every=1h&fn=count&quantity=temperature&min_quality=0`)).json
    expect(any.buckets).toEqual(whole.buckets)
    expect(whole.buckets.map(({ station, values }) => [station, values.temperature])).toEqual([
      [stationA, 120],
      [stationB, 60],
    ])
  })

  test('that would look at too much say so, and those without a score are kept sums all the same', async () => {
    const store: World['store'] = {
      ...world.store,
      rollup: async (...asked) =>
        (await world.store.rollup(...asked)).map((bucket) => ({ ...bucket, count: 2_000_000 })),
    }
    await using vast = await openWorld({ store }, [])
    const { ask: askVast } = await openChecked(vast.api)
    const { response, json } = await askVast(`/v1/readings?${span}&every=1h&min_quality=0.9`)
    expect(response.status).toBe(413)
    expect(json).toMatchObject({
      type: '/problems/query-too-large',
      fields: [
        { name: 'min_quality', detail: expect.stringMatching(/5000000 .* 8000000; move "from" nearer/) },
      ],
    })
    expect((await askVast(`/v1/readings?${span}&every=1h`)).response.status).toBe(200)
    const narrow = `/v1/readings?${span}&every=1h&min_quality=0.9&station=${stationB}`
    expect((await askVast(narrow)).response.status).toBe(200)
  })
})
