/** SensorThings on a hub that sells: what is free, what is paid and once, and what nobody learns for nothing. */
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { anHour, nowMs, openWorld, stationA, stationB } from '#test/market-world.ts'
import { startSellingHub } from '#test/sales/whole-hub.ts'
import { asking, type Json, search } from '#test/sta-world.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

const openShop = async (readings: readonly StoredReading[] = anHour(), publicUrl?: string) => {
  const hub = newSigner()
  const clock = { nowMs }
  const selling = openSelling({
    path: join(temporaryDirectory(), 'sales.sqlite'),
    network: 'testnet',
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 0n,
    nowMs: () => clock.nowMs,
  })
  const { till } = selling
  const world = await openWorld(
    {
      till,
      nowMs: () => clock.nowMs,
      hubKey: hub.publicKey,
      ...(publicUrl === undefined ? {} : { publicUrl }),
    },
    readings,
  )
  onTestFinished(async () => {
    expect(world.reported).toEqual([])
    expect(till.sales.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
    selling[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  })
  const signUp = (credit: bigint, scopes: ('read' | 'account')[] = ['read']) => {
    const { key, secret } = till.signUp({
      label: '',
      scopes,
      budget: null,
      alarmPercent: null,
      expiresMs: null,
    })
    if (credit > 0n) till.sales.credit(`test:${key.customer}`, 'manual', key.customer, credit, 'a test')
    const basic = `Basic ${Buffer.from(`anybody:${secret}`).toString('base64')}`
    return {
      ...asking(world, { authorization: basic }),
      customer: key.customer,
      secret,
      credit: () => till.sales.ledger.balance(`customer:${key.customer}`),
    }
  }
  return { world, till, clock, signUp, anybody: asking(world) }
}

const roof = `/Datastreams('${stationB}~roof~temperature')`
const roofHour = `${roof}/Observations${search({ $top: '1000' })}`
// As selling.test.ts counts it: the base, 15 fresh values, 44 older ones; the first is scored below any tier.
const roofPrice = 100n + 15n * 10n + 44n * 5n

const priceOf = (response: Response): bigint => BigInt(response.headers.get('price') ?? '-1')

test('what there is costs nothing, and says no value', async () => {
  const { anybody, signUp } = await openShop()
  const buyer = signUp(0n)
  for (const { get } of [anybody, buyer])
    for (const path of [
      '',
      '/Things?$expand=Locations,Datastreams($expand=ObservedProperty,Sensor)',
      '/Locations',
      '/HistoricalLocations',
      '/Datastreams?$filter=ObservedProperty/id eq %27temperature%27',
      '/Sensors',
      '/ObservedProperties',
      '/FeaturesOfInterest',
      `${roof}/Thing/Locations`,
      `/Observations('${nowMs - 3_600_000}~${stationB}~roof~1~0~temperature')/Datastream`,
    ])
      expect(JSON.stringify(await get(path))).not.toMatch(/-3\.07|"result":|resultQuality/)
})

test('every way to an observation asks for a key, in the way that a GIS understands, and tells nothing', async () => {
  const { anybody } = await openShop()
  const one = `/Observations('${nowMs - 3_600_000}~${stationB}~roof~1~0~temperature')`
  for (const path of [
    '/Observations',
    '/Observations?$top=0&$count=true&$filter=result lt 0',
    '/Observations?$resultFormat=dataArray',
    '/Observations/$ref',
    one,
    `${one}/result`,
    `${one}/result/$value`,
    `${one}/resultQuality/score`,
    `${one}?$select=id`,
    roofHour,
    `${roof}?$expand=Observations($top=1)`,
    '/Things?$expand=Datastreams($expand=Observations($top=1))',
    '/Things?$expand=Datastreams/Observations',
    `/FeaturesOfInterest('${stationB}')/Observations`,
    '/FeaturesOfInterest?$expand=Observations',
  ])
    for (const method of ['GET', 'HEAD']) {
      const response = await anybody.ask(path, method)
      expect([response.status, response.headers.get('www-authenticate')], path).toEqual([
        401,
        'Basic realm="groundtruth", charset="UTF-8"',
      ])
      expect(response.headers.get('price')).toBeNull()
      if (method === 'GET') expect(await response.text()).not.toMatch(/-3\.07|iot\.count/)
    }
})

test('no question about other entities looks into observations', async () => {
  const { anybody } = await openShop()
  for (const [path, options] of [
    ['/Things', { $filter: 'Datastreams/Observations/result lt 0' }],
    ['/Datastreams', { $filter: 'Observations/result lt 0' }],
    ['/Datastreams', { $filter: 'Observations/resultQuality/score lt 1', $count: 'true', $top: '0' }],
    ['/FeaturesOfInterest', { $filter: 'Observations/id ne null' }],
    ['/Things', { $expand: 'Datastreams($filter=Observations/result lt 0)' }],
    ['/Datastreams', { $orderby: 'Observations/result' }],
  ] as const)
    expect((await anybody.problem(path, options)).status).toBe(501)
})

test('observations cost what the same readings cost, once, and come with a receipt', async () => {
  const { signUp, till } = await openShop()
  const buyer = signUp(10_000n)
  const head = await buyer.ask(roofHour, 'HEAD')
  expect([head.status, priceOf(head)]).toEqual([200, roofPrice])
  expect(buyer.credit()).toBe(10_000n)
  const response = await buyer.ask(roofHour)
  const { value } = (await response.json()) as { value: Json[] }
  expect(value).toHaveLength(60)
  expect(priceOf(response)).toBe(roofPrice)
  expect(response.headers.get('credits-remaining')).toBe(`${10_000n - roofPrice}`)
  expect(buyer.credit()).toBe(10_000n - roofPrice)
  const sale = till.sales.sale(buyer.customer, response.headers.get('receipt-id')!)!
  expect([sale.rows, JSON.parse(sale.scope)]).toEqual([
    60,
    {
      stations: [stationB],
      sensor: 'roof',
      quantities: [1],
      fromMs: nowMs - 3_600_000,
      toMs: nowMs - 60_000 + 1,
    },
  ])
  const poor = await signUp(roofPrice - 1n).ask(roofHour)
  expect([poor.status, JSON.stringify(await poor.json())]).toEqual([
    402,
    expect.not.stringContaining('-3.07'),
  ])
  expect(await signUp(10_000n, ['account']).problem('/Observations')).toMatchObject({ status: 403 })
})

test('each page is paid for itself, and a token of one sale opens no other page', async () => {
  const { signUp } = await openShop()
  const buyer = signUp(100_000n)
  const address = `${roof}/Observations${search({ $top: '20' })}`
  let next: string | undefined = address
  let paid = 0n
  let pages = 0
  let receipt = ''
  let second = ''
  while (next !== undefined) {
    const response: Response = await buyer.ask(next)
    paid += priceOf(response)
    receipt ||= response.headers.get('receipt-id')!
    next = ((await response.json()) as Record<string, string>)['@iot.nextLink']
    second ||= next!
    pages++
  }
  expect([pages, paid]).toEqual([3, roofPrice + 200n])
  expect(buyer.credit()).toBe(100_000n - paid)
  const token = new URL(second).searchParams.get('$skiptoken')!
  const fields = JSON.parse(Buffer.from(token, 'base64url').toString()) as unknown[]
  fields[1] = receipt
  const forged = Buffer.from(JSON.stringify(fields)).toString('base64url')
  const again = await buyer.ask(`${roof}/Observations${search({ $top: '20', $skiptoken: forged })}`)
  expect(priceOf(again)).toBeGreaterThan(0n)
})

test('expanded observations are paid like those asked for, and one that is given twice is paid once', async () => {
  const { signUp } = await openShop()
  const buyer = signUp(100_000n)
  const latest = `/Datastreams${search({ $expand: 'Observations($orderby=phenomenonTime desc;$top=1)' })}`
  const response = await buyer.ask(latest)
  const { value } = (await response.json()) as { value: Json[] }
  expect(value.map((stream) => (stream.Observations as Json[]).length)).toEqual([1, 1, 1, 1])
  expect(priceOf(response)).toBe(100n + 4n * 10n)
  const twice = `${roof}${search({ $expand: 'Observations($top=1;$orderby=phenomenonTime desc;$expand=FeatureOfInterest($expand=Observations($top=1;$orderby=phenomenonTime desc)))' })}`
  expect(priceOf(await buyer.ask(twice))).toBe(100n + 10n)
  expect(priceOf(await buyer.ask(`${roof}${search({ $expand: 'Thing' })}`))).toBe(-1n)
})

test('one observation costs what its value costs, however it is addressed', async () => {
  const { signUp } = await openShop()
  const buyer = signUp(10_000n)
  const one = `/Observations('${nowMs - 60_000}~${stationB}~roof~12~4~temperature')`
  for (const path of [
    one,
    `${one}/result`,
    `${one}/result/$value`,
    `${one}/resultQuality/score`,
    `${one}?$select=id`,
  ]) {
    const response = await buyer.ask(path)
    expect([response.status, priceOf(response)], path).toEqual([200, 110n])
  }
  expect(await (await buyer.ask(`${one}/result/$value`)).text()).toBe('-3.07')
})

test('an observation with no value, of poor quality, or one’s own costs nothing', async () => {
  const { signUp, till } = await openShop()
  const buyer = signUp(1000n)
  const id = (station: string, sensor: string, rest: string, timeMs: number) =>
    `/Observations('${timeMs}~${station}~${sensor}~${rest}')`
  for (const path of [
    id(stationB, 'roof', '1~0~temperature', nowMs - 3_600_000),
    id(stationA, 'garden', '1~1~humidity', nowMs - 3_570_000),
    `${roof}/Observations?$top=0&$count=true`,
    `${roof}/Observations${search({ $filter: 'phenomenonTime lt 2020-01-01T00:00:00Z' })}`,
  ])
    expect(priceOf(await buyer.ask(path)), path).toBe(0n)
  till.sales.keys.own(buyer.customer, stationB)
  expect(priceOf(await buyer.ask(roofHour))).toBe(0n)
  expect(buyer.credit()).toBe(1000n)
})

/** Ten readings of one sensor, one a minute, with these temperatures. */
const minutes = (values: readonly number[]): StoredReading[] =>
  values.map((value, at) => ({
    ...anHour()[0]!,
    timeMs: nowMs - (values.length - at) * 60_000,
    seq: at + 1,
    place: 0,
    score: 1,
    flags: [],
    values: [{ quantity: 1, scaled: value * 100 }],
  }))

const cold = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
const warm = [31, 2, 33, 34, 5, 36, 37, 38, 39, 40]

test('a question about values is paid for all that it looks at, so that its price tells nothing of the answer', async () => {
  for (const options of [
    { $filter: 'result gt 30' },
    { $filter: 'result gt 30', $top: '1' },
    { $filter: 'result gt 30', $top: '1', $orderby: 'phenomenonTime desc' },
    { $filter: 'result gt 30', $top: '0', $count: 'true' },
    { $filter: 'result gt 30', $top: '1', $count: 'true', $skip: '2' },
    { $filter: "not (result le 30) and Datastream/ObservedProperty/id eq 'temperature'" },
    { $filter: 'resultQuality/score ge 0.5 and result gt 30', $select: 'id' },
    { $filter: 'result gt 30', $top: '2', $expand: 'Datastream($expand=Thing)' },
    { $filter: 'result gt 30', $resultFormat: 'dataArray' },
  ]) {
    const seen: string[] = []
    for (const values of [cold, warm]) {
      const { signUp } = await openShop(minutes(values))
      const buyer = signUp(199n)
      const path = `/Observations${search(options)}`
      const head = await buyer.ask(path, 'HEAD')
      const refused = await buyer.ask(path)
      const { detail, payment } = (await refused.json()) as { detail: string; payment: Json }
      seen.push(
        JSON.stringify([
          head.status,
          head.headers.get('price'),
          refused.status,
          detail,
          payment.priceMicroUsd,
        ]),
      )
      expect(priceOf(head)).toBe(100n + 10n * 10n)
      expect(refused.status).toBe(402)
    }
    expect(seen[0], JSON.stringify(options)).toBe(seen[1])
  }
})

/** Sixty more sensors of the same station, so that links lead around among many. */
const crowd = (): StoredReading[] =>
  Array.from({ length: 60 }, (_, at) => ({
    ...anHour()[0]!,
    sensor: `n${at}`,
    seq: 500 + at,
    values: [{ quantity: 2, scaled: 100 }],
  }))

// For each observation some two hundred thousand entities are looked at.
const costly = 'Datastream/Thing/Datastreams/Thing/Datastreams/Thing/Datastreams/id eq null'

test('a refusal that costs nothing is the same whatever the values are', async () => {
  for (const [path, options] of [
    [
      '/Datastreams',
      { $expand: 'Observations($filter=result gt 30;$top=10000;$expand=Datastream($expand=Thing,Sensor))' },
    ],
    ['/Datastreams', { $expand: 'Observations($filter=result gt 30;$top=6000)' }],
    ['/Observations', { $filter: 'result gt 30', $expand: 'Datastream($expand=Observations)' }],
    [
      '/Observations',
      { $filter: 'result gt 30', $top: '10000', $expand: 'Datastream($expand=Thing,Sensor)' },
    ],
    ['/Observations', { $filter: `result gt 30 and (${costly} or result eq null)` }],
    ['/Observations', { $filter: `(result gt 30 and ${costly}) or result eq null` }],
  ] as const) {
    const seen: unknown[] = []
    for (const values of [cold, warm]) {
      const { signUp } = await openShop([...minutes(values), ...crowd()])
      seen.push(await signUp(100_000n).problem(path, options))
    }
    expect(seen[0]).toEqual(seen[1])
    expect([400, 413, 501]).toContain((seen[0] as { status: number }).status)
  }
})

test('pages of a question about values are paid with the first, for its buyer alone', async () => {
  const { signUp, clock } = await openShop(minutes(warm))
  const buyer = signUp(100_000n)
  const first = await buyer.ask(
    `/Observations${search({ $filter: 'result gt 30', $top: '3', $count: 'true' })}`,
  )
  const page = (await first.json()) as Record<string, unknown>
  expect([priceOf(first), page['@iot.count']]).toEqual([200n, 8])
  const next = page['@iot.nextLink'] as string
  clock.nowMs += 5000
  const second = await buyer.ask(next)
  const rest = (await second.json()) as { value: Json[] }
  expect([priceOf(second), rest.value.map(({ result }) => result)]).toEqual([0n, [36, 37, 38]])
  expect(buyer.credit()).toBe(100_000n - 200n)
  const thief = signUp(100_000n)
  expect(priceOf(await thief.ask(next))).toBeGreaterThan(100n)
  const wider = next.replace('30', '0')
  expect(priceOf(await buyer.ask(wider))).toBeGreaterThan(100n)
})

test('what came after a sale is not paid by it, whatever span was asked for', async () => {
  const { signUp, clock, world } = await openShop(minutes(warm))
  const buyer = signUp(100_000n)
  const $filter = 'result gt 30 and phenomenonTime lt 2030-01-01T00:00:00Z'
  const first = await buyer.ask(`/Observations${search({ $filter, $top: '6' })}`)
  const next = ((await first.json()) as Record<string, string>)['@iot.nextLink']!
  clock.nowMs += 3_600_000
  await world.store.write([{ ...minutes([77])[0]!, timeMs: clock.nowMs - 1000, seq: 99 }])
  const second = await buyer.ask(next)
  const { value } = (await second.json()) as { value: Json[] }
  expect([priceOf(second), value.map(({ result }) => result)]).toEqual([0n, [39, 40]])
  const anew = await buyer.ask(`/Observations${search({ $filter: 'result gt 70' })}`)
  expect(((await anew.json()) as { value: Json[] }).value).toMatchObject([{ result: 77 }])
})

test('a key that does not count is told with the first request, and the key goes in each way that the API knows', async () => {
  const { world, anybody, signUp } = await openShop()
  const wrong = asking(world, { authorization: `Basic ${Buffer.from('me:gt_nothing').toString('base64')}` })
  for (const path of ['', '/Things', '/Observations']) {
    const response = await wrong.ask(path)
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([
      401,
      'Basic realm="groundtruth", charset="UTF-8"',
    ])
  }
  expect((await anybody.ask('/Things')).status).toBe(200)
  const { secret } = signUp(10_000n)
  for (const headers of [{ authorization: `Bearer ${secret}` }, { 'x-api-key': secret }])
    expect((await asking(world, headers).ask(roofHour)).status).toBe(200)
})

test('an order with a name is given again, byte for byte, and not paid again', async () => {
  const { world, signUp } = await openShop()
  const buyer = signUp(10_000n)
  const named = asking(world, { authorization: `Bearer ${buyer.secret}`, 'idempotency-key': 'order-0001' })
  const first = await (await named.ask(roofHour)).text()
  expect(await (await named.ask(roofHour)).text()).toBe(first)
  expect(buyer.credit()).toBe(10_000n - roofPrice)
  expect((await named.ask('/Observations')).status).toBe(409)
})

test('links lead to where buyers reach the hub', async () => {
  const { anybody } = await openShop(anHour(), 'https://data.example/hub')
  const { value } = await anybody.get('')
  expect((value as Json[])[0]).toEqual({ name: 'Things', url: 'https://data.example/hub/sta/v1.1/Things' })
  const page = await anybody.get('/Things', { $top: '1' })
  expect(page['@iot.nextLink']).toMatch(/^https:\/\/data\.example\/hub\/sta\/v1\.1\/Things\?/)
})

test('a GIS finds the stations on its map for nothing, and pays for the readings it shows', async () => {
  const { signUp } = await openShop()
  const gis = signUp(10_000n)
  // As QGIS 3.40 builds them (qgssensorthingsutils.cpp, qgssensorthingsshareddata.cpp): spaces encoded, nothing else.
  const asked = async (address: string) => {
    const response = await gis.ask(address.replaceAll(' ', '%20'))
    expect(response.status, address).toBe(200)
    return { json: (await response.json()) as Record<string, unknown>, price: priceOf(response) }
  }
  const { json: service } = await asked('')
  const { url } = (service.value as { name: string; url: string }[]).find(({ name }) => name === 'Locations')!
  for (const [type, count] of [
    ['Point', 0],
    ['LineString', 0],
    ['Polygon', 1],
  ] as const) {
    const filter = `location/type eq '${type}' or location/geometry/type eq '${type}'`
    const { json, price } = await asked(`${url}?$top=0&$count=true&$filter=${filter}`)
    expect([json['@iot.count'], price]).toEqual([count, -1n])
  }
  const extent = '(16 48, 16 49, 17 49, 17 48, 16 48)'
  const seen = `(location/type eq 'Polygon' or location/geometry/type eq 'Polygon') and (geo.intersects(location, geography'POLYGON(${extent})'))`
  const map = await asked(`${url}?$top=200&$count=false&$filter=${seen}`)
  expect([map.json.value, map.price]).toEqual([[expect.objectContaining({ '@iot.id': stationA })], -1n])
  const inside = 'Observations($orderby=phenomenonTime desc;$top=3)'
  const streams = `Datastreams($orderby=id asc;$top=100;$expand=${inside})`
  const expanded = await asked(
    `${url}?$top=200&$count=false&$expand=Things($orderby=id asc;$top=100;$expand=${streams})&$filter=${seen}`,
  )
  const [place] = expanded.json.value as [{ Things: [{ Datastreams: { Observations: unknown[] }[] }] }]
  expect(place.Things[0].Datastreams.map(({ Observations }) => Observations.length)).toEqual([3, 3, 3])
  expect(expanded.price).toBe(100n + 9n * 10n)
})

test('a whole hub sells to what a GIS asks for, and the proof of it holds', {
  timeout: 120_000,
}, async () => {
  const { http, key } = await startSellingHub()
  const authorization = `Basic ${Buffer.from(`qgis:${key}`).toString('base64')}`
  const ask = (path: string) =>
    fetch(path.startsWith('http') ? path : `${http}/sta/v1.1${path}`, { headers: { authorization } })
  const json = async (path: string) => {
    const response = await ask(path)
    const body = (await response.json()) as Record<string, unknown>
    expect(response.status, JSON.stringify(body)).toBe(200)
    return body
  }
  const stream = await until('a stream that was read', 60, async () => {
    const { value } = await json('/Datastreams?$top=1&$expand=Thing')
    return (value as Json[])[0]
  })
  const bought = await ask(
    `${stream['@iot.selfLink']}?$expand=Observations($orderby=phenomenonTime desc;$top=5)`,
  )
  const body = (await bought.json()) as { Observations: Json[] }
  expect([bought.status, body.Observations.length > 0]).toEqual([200, true])
  expect(Number(bought.headers.get('price'))).toBeGreaterThan(0)
  const [newest] = body.Observations
  const { quantity, station, sensor } = stream.properties as Record<string, string>
  const time = Date.parse(newest!.phenomenonTime as string)
  const same = await fetch(
    `${http}/v1/readings?station=${station}&sensor=${sensor}&quantity=${quantity}&from=${time}&to=${time + 1}`,
    { headers: { authorization } },
  )
  const { readings } = (await same.json()) as { readings: { values: Record<string, number> }[] }
  expect(readings.map(({ values }) => values[quantity!])).toContain(newest!.result)
  const bundle = await until('the proof', 60, async () => {
    const response = await fetch(`${http}/v1/receipts/${bought.headers.get('receipt-id')}/bundle`, {
      headers: { authorization },
    })
    return response.ok ? response : undefined
  })
  expect((await bundle.arrayBuffer()).byteLength).toBeGreaterThan(1000)
})

test('a whole hub that gives everything is paged through while its station goes on measuring', {
  timeout: 120_000,
}, async () => {
  const { http } = await startSellingHub({ GROUNDTRUTH_HUB__MARKET__SELL: 'false' })
  const json = async (address: string) => {
    const response = await fetch(address)
    expect(response.status, address).toBe(200)
    return (await response.json()) as Record<string, unknown>
  }
  const counted = `${http}/sta/v1.1/Observations?$top=0&$count=true`
  await until('observations of some seconds', 60, async () => {
    const count = Number((await json(counted))['@iot.count'])
    return count > 1500 ? count : undefined
  })
  const idsNow = async (): Promise<Set<string>> => {
    const { readings } = (await json(`${http}/v1/readings?from=-1d&limit=10000`)) as {
      readings: {
        time: string
        station: string
        sensor: string
        values: object
        proof: { seq: number; place: number }
      }[]
    }
    return new Set(
      readings.flatMap(({ time, station, sensor, values, proof: { seq, place } }) =>
        Object.keys(values).map((name) => `${Date.parse(time)}~${station}~${sensor}~${seq}~${place}~${name}`),
      ),
    )
  }
  const before = await idsNow()
  const found: Json[] = []
  let next: string | undefined = `${http}/sta/v1.1/Observations?$top=50`
  while (next !== undefined) {
    const page: Record<string, unknown> = await json(next)
    found.push(...(page.value as Json[]))
    next = page['@iot.nextLink'] as string | undefined
  }
  const after = await idsNow()
  const ids = new Set(found.map((one) => one['@iot.id'] as string))
  // What came in while the pages were read may be among them; what was there before must be, and nothing else.
  expect(before.size).toBeGreaterThan(1000)
  expect(before.difference(ids)).toEqual(new Set())
  expect(ids.difference(after)).toEqual(new Set())
  const times = found.map((one) => one.phenomenonTime as string)
  expect(times).toEqual(times.toSorted())
  expect(ids.size).toBe(found.length)
})
