import fc from 'fast-check'
import { cellToLatLng, latLngToCell } from 'h3-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { centreOf, coarser, isThere, parseBox, parseNear } from '#gateway/market/place.ts'
import { decodeProfile, encodeProfile, type Profile } from '#gateway/reading/profile.ts'
import { openChecked } from '#test/market-schema.ts'
import { fakeEvidence, openWorld, stationA, viennaCell, type World } from '#test/market-world.ts'

const anyCell = (resolution: number) =>
  fc
    .record({
      latitude: fc.double({ min: -89, max: 89, noNaN: true }),
      longitude: fc.double({ min: -180, max: 180, noNaN: true }),
    })
    .map(({ latitude, longitude }) => latLngToCell(latitude, longitude, resolution))

describe('a profile', () => {
  const profile: Profile = {
    declaredMs: 1_795_000_000_000,
    licence: 'CC-BY-4.0',
    pricePermille: 1500,
    name: 'Süd Garten 2',
    cell: viennaCell,
  }

  test('is read back as it was written, whichever parts it has', () => {
    const { name: _, ...unnamed } = profile
    const { cell: __, ...nowhere } = profile
    for (const one of [profile, unnamed, nowhere])
      expect(decodeProfile(encodeProfile(one))).toEqual({ ok: true, profile: one })
  })

  test.each([
    ['a place finer than an owner may tell', { cell: latLngToCell(48.2, 16.37, 10) }],
    ['a place coarser than is of use', { cell: latLngToCell(48.2, 16.37, 4) }],
    ['what is no cell', { cell: '0'.repeat(15) }],
    ['a price beyond the bounds', { pricePermille: 10_001 }],
    ['a licence that is a sentence', { licence: 'ask me' }],
    ['a name that turns text around', { name: 'a\u202eb' }],
  ])('with %s is not written', (_, wrong) => {
    expect(() => encodeProfile({ ...profile, ...wrong })).toThrow(RangeError)
  })

  test('of damaged bytes is an answer, never an exception', () => {
    const bytes = encodeProfile(profile)
    for (let at = 0; at < bytes.length; at++)
      for (const flip of [1, 0x20, 0x80]) {
        const changed = bytes.slice()
        changed[at]! ^= flip
        const decoded = decodeProfile(changed)
        if (decoded.ok) expect(decodeProfile(encodeProfile(decoded.profile))).toEqual(decoded)
      }
  })
})

describe('places', () => {
  test('a box holds what is in it, across the antimeridian too', () => {
    fc.assert(
      fc.property(anyCell(7), (cell) => {
        const { latitude, longitude } = centreOf(cell)
        const around = (by: number): number => ((longitude + by + 540) % 360) - 180
        const [south, north] = [Math.max(-90, latitude - 1), Math.min(90, latitude + 1)]
        expect(isThere(cell, { bbox: [around(-1), south, around(1), north] })).toBe(true)
        expect(isThere(cell, { bbox: [around(1), south, around(-1), north] })).toBe(false)
      }),
    )
  })

  test('a cell is in each cell that it lies in, and in no other; a coarse place is in no finer cell', () => {
    fc.assert(
      fc.property(anyCell(8), fc.integer({ min: 0, max: 8 }), (cell, resolution) => {
        expect(isThere(cell, { h3: coarser(cell, resolution) })).toBe(true)
        const [latitude, longitude] = cellToLatLng(cell)
        expect(isThere(cell, { h3: latLngToCell(-latitude, ((longitude + 360) % 360) - 180, 9) })).toBe(false)
      }),
    )
  })

  test('near counts the way on the globe', () => {
    const near = { latitude: 48.2, longitude: 16.37 }
    expect(isThere(viennaCell, { near: { ...near, km: 5 } })).toBe(true)
    expect(isThere(viennaCell, { near: { latitude: 48.15, longitude: 17.1, km: 50 } })).toBe(false)
    expect(isThere(viennaCell, { near: { latitude: 48.15, longitude: 17.1, km: 60 } })).toBe(true)
  })

  test.each(['', '1,2,3', '1,2,3,4,5', '181,0,0,1', '0,10,1,5', '1e2,0,1,1'])('%j is no box', (text) => {
    expect(parseBox(text)).toBeUndefined()
  })

  test('nearness is read with and without a distance', () => {
    expect(parseNear('48.2,16.37,25km')).toEqual({ latitude: 48.2, longitude: 16.37, km: 25 })
    expect(parseNear('48.2, 16.37')).toEqual({ latitude: 48.2, longitude: 16.37, km: 10 })
    for (const wrong of ['', '91,0', '0,0,0km', '48.2,16.37,25', '48.2'])
      expect(parseNear(wrong)).toBeUndefined()
  })
})

describe('the catalogue', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world[Symbol.asyncDispose]())
  const ask = async (url: string, headers: Record<string, string> = {}) => {
    const response = await world.api.request(url, { headers })
    const type = response.headers.get('content-type')
    return { status: response.status, type, json: (await response.json()) as Record<string, never> }
  }

  test('gives stations that tell their place as GeoJSON, and no point', async () => {
    for (const answer of [
      await ask('/v1/stations?format=geojson'),
      await ask('/v1/stations', { accept: 'application/geo+json' }),
    ]) {
      expect(answer).toMatchObject({
        status: 200,
        type: 'application/geo+json',
        json: {
          type: 'FeatureCollection',
          features: [
            { id: stationA, geometry: { type: 'Polygon' }, properties: { profile: { name: 'Garden' } } },
          ],
        },
      })
    }
  })

  test.each([
    ['bbox=16,48,17,49', 1],
    ['bbox=17,48,16,49', 0],
    ['h3=851e15b7fffffff', 1],
    ['h3=851e15a3fffffff', 0],
    ['near=48.2,16.37', 1],
    ['near=48.2,17.37', 0],
    ['bbox=16,48,17,49&near=48.2,17.37', 0],
  ])('finds by %s', async (where, count) => {
    const { json } = await ask(`/v1/stations?${where}`)
    expect(json.stations).toHaveLength(count)
  })

  test('cuts a station and its coverage at the antimeridian', async () => {
    const cell = latLngToCell(-16.9, 179.999, 7)
    const evidence = fakeEvidence()
    const profile = { ...evidence.profile(stationA)!, cell }
    await using there = await openWorld({ evidence: { ...evidence, profile: () => profile } })
    const { ask } = await openChecked(there.api)
    for (const url of ['/v1/stations?format=geojson', '/v1/coverage']) {
      const { features } = (await ask(url)).json as { features: { geometry: { coordinates: unknown[] } }[] }
      expect(
        features.map(({ geometry }) => geometry),
        url,
      ).toMatchObject(features.map(() => ({ type: 'MultiPolygon' })))
      expect(features[0]!.geometry.coordinates).toHaveLength(2)
    }
  })

  test('counts stations by cells', async () => {
    const { json } = await ask('/v1/coverage?quantity=pm2_5')
    expect(json).toMatchObject({
      features: [
        {
          id: '851e15b7fffffff',
          properties: { stations: 1, quantities: ['humidity', 'pm2_5', 'temperature'] },
        },
      ],
    })
    expect((await ask('/v1/coverage?quantity=co2')).json.features).toEqual([])
    expect((await ask('/v1/coverage?resolution=9')).json.features).toMatchObject([{ id: viennaCell }])
  })

  test('says what is wrong with a place', async () => {
    for (const wrong of ['bbox=1,2,3', 'h3=851e15b7ffffff', 'h3=ffffffffffffffff', 'near=x'])
      expect((await ask(`/v1/stations?${wrong}`)).status).toBe(400)
  })
})
