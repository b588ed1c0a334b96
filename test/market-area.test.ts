import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openChecked } from './market-schema.ts'
import {
  anHour,
  fakeEvidence,
  nowMs,
  openWorld,
  profiles,
  stationA,
  stationB,
  stationSilent,
  viennaCell,
  type World,
} from './market-world.ts'

const vienna = 'bbox=16,48,17,49'
const nowhere = 'bbox=17,48,18,49'

type Page = { readonly readings: { readonly station: string }[]; readonly next: string | null }

const stationsIn = (page: Partial<Record<'readings' | 'buckets', Page['readings']>>) =>
  [...new Set((page.readings ?? page.buckets)!.map(({ station }) => station))].sort()

describe('readings of an area', () => {
  let world: World
  let ask: (url: string) => Promise<{ response: Response; json: unknown }>
  beforeAll(async () => {
    world = await openWorld()
    ask = (await openChecked(world.api)).ask as typeof ask
  })
  afterAll(() => world[Symbol.asyncDispose]())

  test.each([
    [vienna, [stationA]],
    ['h3=851e15b7fffffff', [stationA]],
    ['near=48.2,16.37', [stationA]],
    [`${vienna}&station=${stationA},${stationB}`, [stationA]],
    [`${vienna}&station=${stationB}`, []],
    [nowhere, []],
    [`${vienna}&${nowhere.replace('bbox', 'near').replace('17,48,18,49', '48.2,17.37')}`, []],
    [`station=${stationB}&station=${stationA}`, [stationA, stationB]],
    [`station=${stationB},${stationB},nobody`, [stationB]],
    [`station=${stationSilent}`, []],
    ['', [stationA, stationB]],
  ])('%s are those of the stations that lie there', async (where, expected) => {
    for (const path of ['/v1/latest?', '/v1/readings?', '/v1/readings?every=5m&']) {
      const { response, json } = await ask(`${path}${where}`)
      expect(response.status).toBe(200)
      expect(stationsIn(json as Page)).toEqual(expected)
    }
  })

  test('where nobody is are none, in every format', async () => {
    for (const format of ['csv', 'ndjson']) {
      const text = await (await world.api.request(`/v1/readings?${nowhere}&format=${format}`)).text()
      expect(text).not.toContain(stationA)
      expect(text).not.toContain(stationB)
    }
  })

  test('that is wrong is told as for stations', async () => {
    for (const wrong of ['bbox=1,2,3', 'h3=x', 'near=48.2', 'near=48.2,16.37&near=1,1']) {
      const { response } = await ask(`/v1/latest?${wrong}`)
      expect(response.status).toBe(400)
    }
  })
})

test('of more stations than are answered at once nothing is read, and the next step is told', async () => {
  const crowd = Array.from({ length: 101 }, (_, at) => ({
    ...fakeEvidence().station(stationA)!,
    station: `${at}`.padStart(32, 'f'),
  }))
  const evidence = { ...fakeEvidence(), stations: () => crowd, profile: () => profiles[stationA] }
  await using world = await openWorld({ evidence })
  const { ask } = await openChecked(world.api)
  const ids = crowd.map(({ station }) => station)
  for (const [where, name] of [
    [vienna, 'bbox'],
    [`station=${ids.join()}`, 'station'],
  ])
    for (const path of ['/v1/latest', '/v1/readings', '/v1/bundle']) {
      const { response, json } = await ask(`${path}?${where}`)
      expect(response.status).toBe(413)
      expect(json).toMatchObject({
        type: '/problems/query-too-large',
        fields: [
          { name, detail: expect.stringMatching(/at most 100( stations)? are answered at once; ask for/) },
        ],
      })
    }
  const { response } = await ask(`/v1/readings?station=${ids.slice(1).join()}`)
  expect(response.status).toBe(200)
})

test('a station that moves in between ends the pages, rather than to change what they are of', async () => {
  const places: Record<string, string> = { [stationA]: viennaCell }
  const profile = (station: string) =>
    places[station] === undefined ? undefined : { ...profiles[stationA]!, cell: places[station] }
  await using world = await openWorld({ evidence: { ...fakeEvidence(), profile } }, anHour())
  const { ask } = await openChecked(world.api)
  const first = `/v1/readings?${vienna}&from=${nowMs - 3_600_000}&to=${nowMs}&limit=50`
  const { next } = (await ask(first)).json as Page
  expect(stationsIn((await ask(`${first}&cursor=${next}`)).json as Page)).toEqual([stationA])
  places[stationB] = viennaCell
  const { response, json } = await ask(`${first}&cursor=${next}`)
  expect(response.status).toBe(400)
  expect(json).toMatchObject({
    fields: [{ name: 'cursor', detail: expect.stringContaining('other stations lie there by now') }],
  })
})
