import fc from 'fast-check'
import {
  cellArea,
  cellToBoundary,
  cellToChildren,
  cellToLatLng,
  getRes0Cells,
  gridDisk,
  latLngToCell,
} from 'h3-js'
import { describe, expect, test } from 'vitest'
import { type Outline, outlineOf, type Position } from '#gateway/market/outline.ts'

const ringsOf = ({ type, coordinates }: Outline): Position[][] =>
  type === 'Polygon' ? coordinates : coordinates.flat()

const edgesOf = (ring: readonly Position[]): [Position, Position][] =>
  ring.slice(1).map((to, at) => [ring[at]!, to])

/** Positive where the ring is counterclockwise on a map. */
const planeArea = (ring: readonly Position[]): number =>
  edgesOf(ring).reduce((sum, [[x1, y1], [x2, y2]]) => sum + (x1 * y2 - x2 * y1) / 2, 0)

const radians = Math.PI / 180

/** On a sphere of radius 1, for edges short enough to be straight. */
const sphereArea = (ring: readonly Position[]): number =>
  edgesOf(ring).reduce(
    (sum, [[x1, y1], [x2, y2]]) =>
      sum - (((x2 - x1) * radians) / 2) * (Math.sin(y1 * radians) + Math.sin(y2 * radians)),
    0,
  )

/** Rings around a point, by counting edges above it. */
const holding = (outline: Outline, [x, y]: Position): number =>
  ringsOf(outline).filter(
    (ring) =>
      edgesOf(ring).filter(
        ([[x1, y1], [x2, y2]]) => x1 <= x !== x2 <= x && y1 + ((y2 - y1) * (x - x1)) / (x2 - x1) > y,
      ).length % 2,
  ).length

const centreOf = (cell: string): Position => {
  const [latitude, longitude] = cellToLatLng(cell)
  return [longitude, latitude]
}

/** Where the straight line from a cell's centre to a corner is half of the way, on the globe. */
const halfWays = (cell: string): Position[] => {
  const vector = ([longitude, latitude]: Position) => [
    Math.cos(latitude * radians) * Math.cos(longitude * radians),
    Math.cos(latitude * radians) * Math.sin(longitude * radians),
    Math.sin(latitude * radians),
  ]
  const centre = vector(centreOf(cell))
  return (cellToBoundary(cell, true) as Position[]).map((corner) => {
    const [x, y, z] = vector(corner).map((part, at) => part + centre[at]!) as [number, number, number]
    return [Math.atan2(y, x) / radians, Math.atan2(z, Math.hypot(x, y)) / radians]
  })
}

const expectWellFormed = (cell: string, outline: Outline) => {
  for (const ring of ringsOf(outline)) {
    expect(ring.length, cell).toBeGreaterThanOrEqual(4)
    expect(ring.at(-1), cell).toEqual(ring[0])
    expect(planeArea(ring), cell).toBeGreaterThan(0)
    for (const [[x1, y1], [x2, y2]] of edgesOf(ring)) {
      expect(Math.abs(x1) <= 180 && Math.abs(y1) <= 90, cell).toBe(true)
      // Only along a pole does an edge go around the world.
      if (Math.abs(y1) < 90 || Math.abs(y2) < 90) expect(Math.abs(x1 - x2), cell).toBeLessThan(180)
    }
    // No part lies along the antimeridian more than once on a side: that would be two parts in one ring.
    const along = (meridian: number) =>
      edgesOf(ring).filter(([a, b]) => a[0] === meridian && b[0] === meridian)
    expect([along(180).length < 2, along(-180).length < 2], cell).toEqual([true, true])
  }
}

const isCut = (outline: Outline): boolean => outline.type === 'MultiPolygon'
const isPolar = (outline: Outline): boolean =>
  ringsOf(outline)
    .flat()
    .some(([, y]) => Math.abs(y) === 90)

describe('the outline of a cell', () => {
  test('is well formed for every cell of the four coarsest resolutions, and holds the cell', () => {
    const counts = { cut: 0, polar: 0, whole: 0 }
    for (const base of getRes0Cells())
      for (const resolution of [0, 1, 2, 3])
        for (const cell of cellToChildren(base, resolution)) {
          const outline = outlineOf(cell)
          const kind = isCut(outline) ? 'cut' : isPolar(outline) ? 'polar' : 'whole'
          counts[kind]++
          // Of those that are neither, every 50th is enough.
          if (kind === 'whole' && counts.whole % 50 !== 0) continue
          expectWellFormed(cell, outline)
          expect(holding(outline, centreOf(cell)), cell).toBe(1)
        }
    expect(counts).toEqual({ cut: 345, polar: 8, whole: 48_008 - 345 - 8 })
  })

  test('holds what lies within the cell and not its neighbours, at the antimeridian and the poles', () => {
    const place = fc.record({
      latitude: fc.oneof(
        fc.double({ min: -89.9, max: 89.9, noNaN: true }),
        fc.constantFrom(90, -90, 89.95, -89.95),
      ),
      longitude: fc.oneof(
        fc.double({ min: 179.9, max: 180, noNaN: true }),
        fc.double({ min: -180, max: -179.9, noNaN: true }),
        fc.double({ min: -180, max: 180, noNaN: true }),
      ),
      resolution: fc.integer({ min: 3, max: 9 }),
    })
    fc.assert(
      fc.property(place, ({ latitude, longitude, resolution }) => {
        const cell = latLngToCell(latitude, longitude, resolution)
        const outline = outlineOf(cell)
        expectWellFormed(cell, outline)
        for (const inside of [centreOf(cell), ...halfWays(cell)]) expect(holding(outline, inside)).toBe(1)
        for (const other of gridDisk(cell, 1).filter((one) => one !== cell))
          expect(holding(outline, centreOf(other))).toBe(0)
      }),
      { numRuns: 400 },
    )
  })

  test('is as large as the cell', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -75, max: 75, noNaN: true }),
        fc.double({ min: -1, max: 1, noNaN: true }),
        fc.integer({ min: 4, max: 7 }),
        (latitude, off, resolution) => {
          const cell = latLngToCell(latitude, off < 0 ? -180 - off : 180 - off, resolution)
          const area = ringsOf(outlineOf(cell)).reduce((sum, ring) => sum + sphereArea(ring), 0)
          expect(area / cellArea(cell, 'rads2')).toBeCloseTo(1, 2)
        },
      ),
    )
  })

  test('around a pole reaches from west to east along it', () => {
    for (const latitude of [90, -90])
      for (const resolution of [5, 7, 9]) {
        const outline = outlineOf(latLngToCell(latitude, 0, resolution))
        expect(outline.type).toBe('Polygon')
        const positions = ringsOf(outline).flat()
        expect(positions).toContainEqual([180, latitude])
        expect(positions).toContainEqual([-180, latitude])
      }
  })
})
