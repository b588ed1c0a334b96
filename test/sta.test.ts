/** SensorThings 1.1 by requirement class (OGC 18-088), as its abstract tests ask, on a hub that gives everything. */
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { unitOfMeasurement } from '#gateway/market/sta/units.ts'
import { quantities } from '#gateway/reading/quantity.ts'
import { type Store, StoreUnavailable } from '#gateway/store/store.ts'
import { openApi } from '#test/answers.ts'
import { type Answered, openChecked } from '#test/market-schema.ts'
import { anHour, nowMs, openWorld, stationA, stationB, type World } from '#test/market-world.ts'
import { asking, entitySets, idsOf, type Json, root, setOf } from '#test/sta-world.ts'

let world: World
let checked: (address: string, init?: RequestInit) => Promise<Answered>
let at: ReturnType<typeof asking>

beforeAll(async () => {
  world = await openWorld()
  checked = (await openChecked(world.api)).ask
  at = asking(world)
})

afterAll(async () => {
  expect(world.reported).toEqual([])
  await world[Symbol.asyncDispose]()
})

const sets = Object.keys(entitySets)
const isMany = (link: string) => setOf[link] === undefined
const setBehind = (link: string) => setOf[link] ?? link
const streamOf = (station: string, sensor: string, quantity: string) => `${station}~${sensor}~${quantity}`
const garden = streamOf(stationA, 'garden', 'temperature')
const someEntity = async (set: string): Promise<Json> =>
  ((await at.get(`/${set}`, { $top: '1' })).value as Json[])[0]!

describe('the data model', () => {
  test('the service root names every entity set with its address, and the requirements that are met', async () => {
    const { json } = await checked(root)
    const { value, serverSettings } = json as {
      value: { name: string; url: string }[]
      serverSettings: { conformance: string[] }
    }
    expect(value.map(({ name }) => name).sort()).toEqual(sets.toSorted())
    for (const { url } of value) expect((await world.api.request(url)).status).toBe(200)
    expect(serverSettings.conformance).toContain('http://www.opengis.net/spec/iot_sensing/1.1/req/datamodel')
    for (const uri of serverSettings.conformance) expect(uri).not.toMatch(/create|update|orderby|functions/)
    expect((await at.ask('/')).status).toBe(200)
  })

  test.each(sets)(
    '%s have ids, addresses, every mandatory property and a link to each neighbour',
    async (set) => {
      const { properties, links } = entitySets[set]!
      const { json } = await checked(`${root}/${set}`)
      const entities = (json as Json).value as Json[]
      expect(entities.length).toBeGreaterThan(0)
      for (const entity of entities) {
        const self = entity['@iot.selfLink'] as string
        expect(self).toBe(`http://localhost${root}/${set}('${entity['@iot.id']}')`)
        for (const name of properties) expect(entity, `${set} ${name}`).toHaveProperty([name])
        for (const link of links) expect(entity[`${link}@iot.navigationLink`]).toBe(`${self}/${link}`)
      }
      const [first] = entities
      expect(await at.get(first!['@iot.selfLink'] as string)).toEqual(first)
    },
  )

  test('a Location is the cell that is published, and a station without one has none', async () => {
    const { value } = await at.get('/Locations')
    expect(value).toHaveLength(1)
    expect((value as Json[])[0]).toMatchObject({
      '@iot.id': stationA,
      name: 'Garden',
      encodingType: 'application/geo+json',
      location: { type: 'Polygon' },
    })
    expect((await at.get(`/Things('${stationB}')/Locations`)).value).toEqual([])
    expect(await at.get(`/FeaturesOfInterest('${stationB}')/feature`)).toEqual({
      feature: { type: 'Feature', geometry: null, properties: {} },
    })
    expect((await at.get(`/HistoricalLocations`)).value).toMatchObject([{ time: '2026-11-21T10:00:00.000Z' }])
  })

  test('a Datastream tells its unit, its area and from when to when it has been read', async () => {
    const stream = await at.get(`/Datastreams('${garden}')`)
    expect(stream).toMatchObject({
      unitOfMeasurement: { name: 'degree Celsius', symbol: '°C', definition: 'ucum:Cel' },
      observationType: 'http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement',
      observedArea: { type: 'Polygon' },
      phenomenonTime: '2026-11-21T11:00:00.000Z/2026-11-21T11:59:30.000Z',
    })
    for (const { unit } of quantities) expect(unitOfMeasurement(unit).name).not.toBe('')
  })

  test('an absent value is an Observation without a result, with its reason', async () => {
    const { value } = await at.get(
      `/Datastreams('${streamOf(stationA, 'garden', 'humidity')}')/Observations`,
      {
        $filter: 'result eq null',
      },
    )
    expect(value).toMatchObject([{ result: null, resultQuality: { score: 1, absent: 'warming-up' } }])
  })

  test('what is said of another quantity of the same reading, or of a place, is not told', async () => {
    const [first] = (await at.get(`/Datastreams('${garden}')/Observations`, { $top: '1' })).value as Json[]
    expect(first!.resultQuality).toMatchObject({ flags: ['temperature:spike', 'late'] })
    const humid = streamOf(stationA, 'garden', 'humidity')
    const [other] = (await at.get(`/Datastreams('${humid}')/Observations`, { $top: '1' })).value as Json[]
    expect(other!.resultQuality).toMatchObject({ flags: ['late'] })
  })
})

describe('resource paths', () => {
  test.each(sets)('an entity that is not there is not found: %s', async (set) => {
    for (const id of [
      "'nobody'",
      '1',
      '-1',
      "''",
      "'a~b~c'",
      "'9'",
      'abc',
      `'${'x'.repeat(600)}'`,
      "'a'')('",
    ])
      expect((await at.problem(`/${set}(${id})`)).status, id).toBe(404)
  })

  test.each(sets)('each property of %s can be asked for, and its value', async (set) => {
    const entity = await someEntity(set)
    const self = entity['@iot.selfLink'] as string
    for (const name of entitySets[set]!.properties) {
      const { json } = await checked(new URL(`${self}/${name}`).pathname)
      expect(json).toEqual({ [name]: entity[name] })
      const response = await at.ask(`${self}/${name}/$value`)
      expect(response.status).toBe(200)
      const text = await response.text()
      const value = entity[name]
      expect(text).toBe(typeof value === 'object' ? JSON.stringify(value) : String(value))
    }
    expect((await at.problem(`${self}/nothing`)).status).toBe(404)
    expect((await at.problem(`${self}/${entitySets[set]!.properties[0]}/$value/more`)).status).toBe(404)
  })

  test('members of properties have addresses too', async () => {
    expect(await at.get(`/Things('${stationA}')/properties/licence`)).toEqual({ licence: 'CC-BY-4.0' })
    const value = await at.ask(`/Datastreams('${garden}')/unitOfMeasurement/symbol/$value`)
    expect(await value.text()).toBe('°C')
    expect((await at.problem(`/Things('${stationA}')/properties/toString`)).status).toBe(404)
    expect((await at.problem(`/Things('${stationA}')/properties/__proto__`)).status).toBe(404)
  })

  const walk = async (path: string, set: string, depth: number): Promise<number> => {
    let visited = 0
    for (const link of entitySets[set]!.links) {
      const there = `${path}/${link}`
      const answer = await at.get(there, isMany(link) ? { $top: '2' } : {})
      visited++
      if (!isMany(link)) {
        if (depth > 1) visited += await walk(there, setBehind(link), depth - 1)
        continue
      }
      const refs = await at.get(`${there}/$ref`, { $top: '2' })
      const links = (answer.value as Json[]).map((entity) => ({ '@iot.selfLink': entity['@iot.selfLink'] }))
      expect(refs.value).toEqual(links)
      const [id] = idsOf(answer)
      if (id !== undefined && depth > 1)
        visited += await walk(`${there}('${id}')`, setBehind(link), depth - 1)
    }
    return visited
  }

  test('every link leads on, four deep, and every collection can be asked for its links alone', async () => {
    let visited = 0
    for (const set of sets) {
      const entity = await someEntity(set)
      visited += await walk(`/${set}('${entity['@iot.id']}')`, set, 3)
    }
    expect(visited).toBeGreaterThan(100)
  })

  test('links go both ways', async () => {
    for (const set of sets) {
      const entity = await someEntity(set)
      for (const link of entitySets[set]!.links) {
        const answer = await at.get(`/${set}('${entity['@iot.id']}')/${link}`)
        const [there] = isMany(link) ? (answer.value as Json[]) : [answer]
        if (there === undefined) continue
        const back = entitySets[setBehind(link)]!.links.find((one) => setBehind(one) === set)
        if (back === undefined) continue
        const address = there[`${back}@iot.navigationLink`] as string
        if (isMany(back))
          expect((await at.pages(address)).map((one) => one['@iot.id'])).toContain(entity['@iot.id'])
        else expect((await at.get(address))['@iot.id']).toBe(entity['@iot.id'])
      }
    }
  })

  test('a path that leads nowhere is told, and so is one of many where one is meant', async () => {
    for (const path of [
      '/Nothing',
      `/Things('${stationA}')/Observations`,
      '/Things/Datastreams',
      `/Things('${stationA}'`,
      '/Things/$value',
      `/Things('${stationA}')/$ref`,
      '/Things/$count',
      `/Datastreams('${garden}')/Thing('${stationA}')`,
      `/Datastreams('${garden}')/Observations('${nowMs - 3_600_000}~${stationB}~roof~1~0~temperature')`,
      `/${"Things('x')/Datastreams/".repeat(8)}`,
      '/Things%',
    ])
      expect((await at.problem(path)).status, path).toBe(404)
  })

  test('only reading is offered', async () => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
      for (const path of ['', '/Things', `/Things('${stationA}')`]) {
        const response = await at.ask(path, method)
        expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
      }
    const head = await at.ask('/Observations', 'HEAD')
    expect([head.status, await head.text()]).toEqual([200, ''])
  })
})

describe('options', () => {
  test.each(sets)('$select gives what was named and nothing else: %s', async (set) => {
    const { properties, links } = entitySets[set]!
    for (const name of properties) {
      const { value } = await at.get(`/${set}`, { $select: name, $top: '3' })
      for (const entity of value as Json[]) expect(Object.keys(entity)).toEqual([name])
    }
    for (const link of links) {
      const { value } = await at.get(`/${set}`, { $select: `id,${link}`, $top: '3' })
      for (const entity of value as Json[])
        expect(Object.keys(entity)).toEqual(['@iot.id', `${link}@iot.navigationLink`])
    }
    const one = await someEntity(set)
    expect(await at.get(`/${set}('${one['@iot.id']}')`, { $select: properties[0]! })).toEqual({
      [properties[0]!]: one[properties[0]!],
    })
    expect(await at.problem(`/${set}`, { $select: 'nothing' })).toMatchObject({ status: 400 })
  })

  test.each(sets)('$expand puts what is behind a link in its place, two deep: %s', async (set) => {
    const one = await someEntity(set)
    for (const link of entitySets[set]!.links) {
      const path = `/${set}('${one['@iot.id']}')`
      const expanded = await at.get(path, { $expand: link })
      const there = await at.get(`${path}/${link}`)
      expect(expanded[link]).toEqual(isMany(link) ? there.value : there)
      expect(expanded).not.toHaveProperty([`${link}@iot.navigationLink`])
      for (const further of entitySets[setBehind(link)]!.links) {
        const both = await at.get(path, { $expand: `${link}/${further}` })
        const nested = await at.get(path, { $expand: `${link}($expand=${further})` })
        expect(both[link]).toEqual(nested[link])
        const [inner] = isMany(link) ? (nested[link] as Json[]) : [nested[link] as Json]
        if (inner !== undefined) expect(inner).toHaveProperty([further])
      }
    }
  })

  test('options inside $expand count for what is expanded, large $top too, with a link to the rest', async () => {
    const stream = await at.get(`/Datastreams('${garden}')`, {
      $expand:
        'Observations($top=3;$skip=1;$orderby=phenomenonTime desc;$select=result;$count=true),Thing($select=name)',
    })
    expect(stream.Observations).toEqual([{ result: 21.18 }, { result: 21.17 }, { result: 21.16 }])
    expect(stream).toMatchObject({ 'Observations@iot.count': 120, Thing: { name: 'Garden' } })
    const rest = await at.pages(stream['Observations@iot.nextLink'] as string)
    expect(rest).toHaveLength(116)
    expect(rest[0]).toEqual({ result: 21.15 })
    const some = await at.get(`/Things('${stationA}')`, {
      $expand: 'Datastreams($top=2;$count=true;$select=id)',
    })
    expect(some).toMatchObject({ 'Datastreams@iot.count': 3, Datastreams: [{}, {}] })
    const others = await at.get(some['Datastreams@iot.nextLink'] as string)
    expect(idsOf(others)).toEqual([garden])
    const all = await at.get(`/Things('${stationA}')`, {
      $expand: "Datastreams($filter=ObservedProperty/id eq 'humidity';$expand=Observations($top=1000))",
    })
    const [humidity] = all.Datastreams as Json[]
    expect(humidity!.Observations).toHaveLength(120)
    const unasked = await at.get(`/Things('${stationA}')`, { $expand: 'Datastreams/Observations' })
    const counts = (unasked.Datastreams as Json[]).map((one) => (one.Observations as Json[]).length)
    expect(counts).toEqual([100, 60, 100])
  })

  test('options that a GIS gives to a link to one do no harm, and a filter there leaves it out', async () => {
    const path = `/Datastreams('${garden}')`
    const asked = { $expand: "Thing($orderby=id asc;$top=100;$count=false),Sensor($filter=name eq 'garden')" }
    expect(await at.get(path, asked)).toMatchObject({ Thing: { name: 'Garden' }, Sensor: { name: 'garden' } })
    expect((await at.get(path, { $expand: "Thing($filter=name ne 'Garden')" })).Thing).toBeNull()
    expect((await at.problem(path, { $expand: 'Thing($filter=nothing eq 1)' })).status).toBe(400)
  })

  test('two expansions along one link are one', async () => {
    const thing = await at.get(`/Things('${stationA}')`, {
      $expand: 'Datastreams/Sensor,Datastreams/ObservedProperty',
    })
    for (const stream of thing.Datastreams as Json[])
      expect(stream).toMatchObject({
        Sensor: { name: 'garden' },
        ObservedProperty: { '@iot.id': expect.any(String) },
      })
    expect((await at.problem('/Things', { $expand: 'Datastreams($top=1),Datastreams($top=2)' })).status).toBe(
      400,
    )
  })

  test.each(sets)(
    '$top, $skip and $count cut and count, and no link is left behind the last page: %s',
    async (set) => {
      const all = await at.pages(`/${set}`, { $top: '10000' })
      const counted = await at.get(`/${set}`, { $count: 'true', $top: '1', $skip: '1' })
      expect(counted['@iot.count']).toBe(all.length)
      expect(counted.value).toEqual(all.slice(1, 2))
      expect(await at.get(`/${set}`, { $count: 'true', $top: '0' })).toEqual({
        '@iot.count': all.length,
        value: [],
      })
      expect(await at.get(`/${set}`, { $skip: `${all.length}` })).toEqual({ value: [] })
      expect(await at.get(`/${set}`, { $top: '10000', $count: 'false' })).toEqual({ value: all })
    },
  )

  test.each(sets)('pages put together are the whole, each entity once: %s', async (set) => {
    const all = await at.pages(`/${set}`, { $top: '10000' })
    const ids = all.map((entity) => entity['@iot.id'])
    expect(new Set(ids).size).toBe(ids.length)
    for (const size of [1, 7, 59]) {
      if (all.length / size > 120) continue
      expect(await at.pages(`/${set}`, { $top: `${size}` })).toEqual(all)
    }
    if (set === 'Observations') return
    const backwards = await at.pages(`/${set}`, { $top: '2', $orderby: 'id desc' })
    expect(backwards.map((entity) => entity['@iot.id'])).toEqual(ids.toReversed())
  })

  test('$orderby orders by any property of each entity, and by a chain of them', async () => {
    for (const set of sets.filter((one) => one !== 'Observations'))
      for (const name of entitySets[set]!.properties) {
        const { value } = await at.get(`/${set}`, { $orderby: `${name} desc,id` })
        const texts = (value as Json[]).map((entity) => entity[name])
        if (texts.every((text) => typeof text === 'string')) expect(texts).toEqual(texts.toSorted().reverse())
      }
    const { value } = await at.get('/Datastreams', { $orderby: 'ObservedProperty/name desc,Thing/name' })
    expect((value as Json[]).map((one) => one['@iot.id'])).toEqual([
      streamOf(stationA, 'garden', 'humidity'),
      streamOf(stationA, 'garden', 'pm2_5'),
      garden,
      streamOf(stationB, 'roof', 'temperature'),
    ])
    expect((await at.problem('/Things', { $orderby: 'Datastreams/name' })).status).toBe(400)
    expect((await at.problem('/Observations', { $orderby: 'result' })).status).toBe(501)
  })

  test('the newest observation is the first one backwards', async () => {
    for (const $orderby of [
      'phenomenonTime desc',
      'resultTime desc',
      'id desc',
      'phenomenonTime desc,id desc',
    ]) {
      const { value } = await at.get(`/Datastreams('${garden}')/Observations`, { $top: '1', $orderby })
      expect(value).toMatchObject([{ result: 21.19, phenomenonTime: '2026-11-21T11:59:30.000Z' }])
    }
    const forwards = await at.pages('/Observations', { $top: '100' })
    const backwards = await at.pages('/Observations', { $top: '100', $orderby: 'phenomenonTime desc' })
    expect(backwards).toEqual(forwards.toReversed())
  })

  test('observations as arrays are the same observations', async () => {
    const plain = (await at.get('/Observations', { $top: '50' })).value as Json[]
    const { value } = await at.get('/Observations', {
      $top: '50',
      $resultFormat: 'dataArray',
      $count: 'true',
    })
    const rows = (value as Json[]).flatMap((group) => {
      const { components, dataArray } = group as { components: string[]; dataArray: unknown[][] }
      expect(group['dataArray@iot.count']).toBe(dataArray.length)
      return dataArray.map(
        (row): Json => Object.fromEntries(components.map((name, place) => [name, row[place]])),
      )
    })
    expect(rows).toHaveLength(50)
    for (const { '@iot.id': id, phenomenonTime, result, resultQuality, parameters } of plain)
      expect(rows).toContainEqual(
        expect.objectContaining({ id, phenomenonTime, result, resultQuality, parameters }),
      )
    expect((await at.problem('/Things', { $resultFormat: 'dataArray' })).status).toBe(501)
  })

  test('an option that is none, or not for this, or out of bounds, is told by its name', async () => {
    const wrong: [string, Record<string, string>, string][] = [
      ['/Things', { $tpo: '1' }, 'did you mean "$top"'],
      ['/Things', { top: '1' }, 'did you mean "$top"'],
      ['/Things', { $top: '-1' }, '$top'],
      ['/Things', { $top: '1e3' }, '$top'],
      ['/Things', { $skip: '100001' }, '$skip'],
      ['/Things', { $count: 'yes' }, '$count'],
      ['/Things', { $expand: 'Sensor' }, '$expand'],
      ['/Things', { $expand: 'Datastreams($top)' }, '$expand'],
      ['/Things', { $expand: 'Datastreams($foo=1)' }, '$foo'],
      ['/Things', { $skiptoken: 'x', $orderby: 'name' }, '$skiptoken'],
      ['/Things', { $expand: 'Datastreams($skiptoken=x)' }, '$skiptoken'],
      ['/Observations', { $skiptoken: 'nonsense' }, '$skiptoken'],
      ['/Things', { $orderby: 'name sideways' }, '$orderby'],
      [`/Things('${stationA}')`, { $top: '1' }, '$top'],
      [`/Things('${stationA}')`, { $filter: 'true' }, '$filter'],
      [`/Things('${stationA}')/name`, { $select: 'name' }, '$select'],
    ]
    for (const [path, options, detail] of wrong) {
      const said = await at.problem(path, options)
      expect([said.status, said.detail], JSON.stringify(options)).toEqual([
        400,
        expect.stringContaining(detail),
      ])
    }
    expect((await at.problem('?$top=1')).status).toBe(400)
    expect((await at.problem('/Things?$top=1&$top=2')).detail).toContain('only once')
  })
})

describe('what is asked for and what there is', () => {
  test('observations are the values that /v1/readings gives', async () => {
    const answer = await world.api.request(`/v1/readings?from=${nowMs - 3_600_000}&to=${nowMs}&limit=10000`)
    const { readings } = (await answer.json()) as {
      readings: {
        station: string
        sensor: string
        time: string
        values: Record<string, number | null>
        absent?: Record<string, string>
        quality: { score: number }
        proof: { seq: number; place: number; batch?: number; status: string }
      }[]
    }
    const expected = readings.flatMap(({ station, sensor, time, values, absent, quality, proof }) =>
      Object.entries(values).map(([name, result]) => ({
        id: `${Date.parse(time)}~${station}~${sensor}~${proof.seq}~${proof.place}~${name}`,
        time,
        result,
        score: quality.score,
        absent: absent?.[name],
        batch: proof.batch,
        status: proof.status,
      })),
    )
    expect(expected).toHaveLength(360)
    const found = (await at.pages('/Observations', { $top: '77' })).map((one) => {
      const { score, absent } = one.resultQuality as Json
      const { batch, status } = one.parameters as Json
      return {
        id: one['@iot.id'],
        time: one.phenomenonTime,
        result: one.result,
        score,
        absent,
        batch,
        status,
      }
    })
    expect(found).toEqual(expected)
  })

  test('pages that were begun end, complete and without a double, while more comes in', async () => {
    const clock = { nowMs }
    await using busy = await openWorld({ nowMs: () => clock.nowMs })
    const { get } = asking(busy)
    const before = (await asking(busy).pages('/Observations', { $top: '10000' })).map((one) => one['@iot.id'])
    for (const $orderby of ['phenomenonTime', 'phenomenonTime desc']) {
      const ids: unknown[] = []
      let page = await get('/Observations', { $top: '40', $orderby })
      for (let added = 0; ; added++) {
        ids.push(...idsOf(page))
        const next = page['@iot.nextLink'] as string | undefined
        if (next === undefined) break
        clock.nowMs += 60_000
        const newest = anHour().at(-1)!
        await busy.store.write([
          { ...newest, timeMs: clock.nowMs - 1, seq: 1000 + added + clock.nowMs, place: 0 },
        ])
        page = await get(next)
      }
      const old = ids.filter((id) => before.includes(id as string))
      expect(old.toSorted()).toEqual(before.toSorted())
      expect(new Set(ids).size).toBe(ids.length)
    }
  })

  test('what there is is looked up once a second, and again at once where the store was away', async () => {
    const clock = { nowMs }
    await using busy = await openWorld()
    let asked = 0
    let isAway = true
    const store: Store = {
      ...busy.store,
      sensors: async (station) => {
        asked++
        if (isAway) throw new StoreUnavailable('away')
        return busy.store.sensors(station)
      },
    }
    const { get, problem } = asking({
      api: openApi({ ...busy.deps, metrics: new Registry(), store, nowMs: () => clock.nowMs }),
    })
    expect((await problem('/Datastreams')).status).toBe(503)
    isAway = false
    const count = async () => (await get('/Datastreams', { $count: 'true', $top: '0' }))['@iot.count']
    expect(await count()).toBe(4)
    await busy.store.write([{ ...anHour()[0]!, sensor: 'attic', seq: 500 }])
    clock.nowMs += 999
    expect([await count(), asked]).toEqual([4, 2])
    // Its observations are there before it is.
    const sensors = {
      $expand: 'Datastream($select=id)',
      $filter: 'phenomenonTime lt 2026-11-21T11:00:01Z',
      $top: '9',
    }
    const { value } = await get('/Observations', sensors)
    expect((value as Json[]).filter(({ Datastream }) => Datastream === null)).toHaveLength(3)
    clock.nowMs += 1
    expect([await count(), asked]).toEqual([7, 3])
  })

  test('addresses in what there is are those that it was asked at', async () => {
    for (const host of ['one.example', 'other.example']) {
      const response = await world.api.request(`http://${host}${root}/ObservedProperties('temperature')`)
      expect(await response.json()).toMatchObject({
        '@iot.selfLink': `http://${host}${root}/ObservedProperties('temperature')`,
        definition: `http://${host}/v1/quantities#temperature`,
      })
    }
  })

  test('no address and no answer of this door is undescribed', async () => {
    for (const address of [
      '/Things',
      `/Things('${stationA}')`,
      `/Things('${stationA}')/Datastreams`,
      '/Nothing',
    ])
      await checked(`${root}${address}`)
    for (const options of [
      '$count=true&$top=1',
      '$filter=st_touches(a,b)',
      '$filter=x',
      '$resultFormat=dataArray',
    ])
      await checked(`${root}/Observations?${options}`)
  })
})
