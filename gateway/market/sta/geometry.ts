/**
 * Geometry in degrees, longitude first, on the plane of longitude and latitude, as the standard's own tests count: well-known
 * text in, answers about H3 cells out. Holes in polygons are not looked at; what crosses the antimeridian is two polygons.
 */

export type Point = readonly [longitude: number, latitude: number]

/** `areas` are closed rings, `lines` open ones; a point is a line of one. */
export type Geometry = {
  readonly areas: readonly (readonly Point[])[]
  readonly lines: readonly (readonly Point[])[]
}

// A box has 5, and what a person draws some more; each is compared with each of a cell's.
const mostPoints = 200

const number = /^[+-]?\d{1,3}(\.\d{1,17})?([eE][+-]?\d{1,2})?$/

const pointOf = (text: string): Point | undefined => {
  const [longitude, latitude, height] = text.trim().split(/\s+/)
  const parts = [longitude, latitude, height].filter((part) => part !== undefined)
  if (parts.length < 2 || text.trim().split(/\s+/).length > 3 || !parts.every((part) => number.test(part)))
    return undefined
  const [x, y] = [Number(longitude), Number(latitude)]
  return Math.abs(x) <= 360 && Math.abs(y) <= 90 ? [x, y] : undefined
}

const pointsOf = (text: string): readonly Point[] | undefined => {
  const points = text.split(',').map(pointOf)
  return points.every((point) => point !== undefined) ? points : undefined
}

const kinds = {
  POINT: { depth: 1, least: 1, isArea: false },
  LINESTRING: { depth: 1, least: 2, isArea: false },
  POLYGON: { depth: 2, least: 4, isArea: true },
  MULTIPOLYGON: { depth: 3, least: 4, isArea: true },
} as const

/** Reads POINT, LINESTRING, POLYGON or MULTIPOLYGON, with or without heights, which are left out; undefined for all else. */
export const parseWkt = (text: string): Geometry | undefined => {
  const match = /^\s*(?:SRID=4326;)?\s*(POINT|LINESTRING|POLYGON|MULTIPOLYGON)\s*Z?\s*(\(.*\))\s*$/is.exec(
    text,
  )
  if (match === null) return undefined
  const { depth, least, isArea } = kinds[match[1]!.toUpperCase() as keyof typeof kinds]
  const body = match[2]!
  const open = new RegExp(`^\\s*(?:\\(\\s*){${depth}}[^()]`)
  const close = new RegExp(`[^()](?:\\s*\\)){${depth}}\\s*$`)
  if (!open.test(body) || !close.test(body)) return undefined
  // Rings are what stands between innermost parentheses; a second ring of one polygon would be a hole.
  const rings = [...body.matchAll(/\(([^()]*)\)/g)].map(([, ring]) => pointsOf(ring!))
  const between = body.replaceAll(/\([^()]*\)/g, 'r').replaceAll(/\s/g, '')
  const wanted = { 1: /^r$/, 2: /^\(r\)$/, 3: /^\(\(r\)(,\(r\))*\)$/ }[depth]
  if (!wanted.test(between)) return undefined
  const found = rings.filter((ring) => ring !== undefined)
  if (found.length !== rings.length || found.some((ring) => ring.length < least)) return undefined
  if (match[1]!.toUpperCase() === 'POINT' && found[0]!.length !== 1) return undefined
  if (found.reduce((sum, ring) => sum + ring.length, 0) > mostPoints) return undefined
  return isArea ? { areas: found, lines: [] } : { areas: [], lines: found }
}

type GeoJson = { readonly type: string; readonly coordinates: unknown }

/** The geometry of a GeoJSON Polygon or MultiPolygon, such as a cell's; undefined for anything else. */
export const geometryOf = (json: unknown): Geometry | undefined => {
  if (typeof json !== 'object' || json === null) return undefined
  const { type, coordinates, geometry } = json as GeoJson & { readonly geometry?: unknown }
  if (type === 'Feature') return geometryOf(geometry)
  if (type === 'Polygon') return { areas: [(coordinates as Point[][])[0]!], lines: [] }
  if (type === 'MultiPolygon')
    return { areas: (coordinates as Point[][][]).map(([ring]) => ring!), lines: [] }
  return undefined
}

const isInside = ([x, y]: Point, ring: readonly Point[]): boolean => {
  let inside = false
  for (let at = 0, before = ring.length - 1; at < ring.length; before = at++) {
    const [ax, ay] = ring[at]!
    const [bx, by] = ring[before]!
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside
  }
  return inside
}

type Edge = readonly [Point, Point]

/** Edges one after another; of a single point one that is no longer than it. */
const edgesOf = (points: readonly Point[]): Edge[] =>
  points.length === 1
    ? [[points[0]!, points[0]!]]
    : points.slice(1).map((point, at): Edge => [points[at]!, point])

const closed = (ring: readonly Point[]): readonly Point[] => [...ring, ring[0]!]

const allEdges = ({ areas, lines }: Geometry): Edge[] => [
  ...areas.flatMap((ring) => edgesOf(closed(ring))),
  ...lines.flatMap(edgesOf),
]

const side = ([ax, ay]: Point, [bx, by]: Point, [x, y]: Point): number =>
  Math.sign((bx - ax) * (y - ay) - (by - ay) * (x - ax))

const cross = ([a, b]: Edge, [c, d]: Edge): boolean =>
  side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0

const allPoints = ({ areas, lines }: Geometry): readonly Point[] => [...areas, ...lines].flat()

const covers = ({ areas }: Geometry, point: Point): boolean => areas.some((ring) => isInside(point, ring))

const pointDistance = ([x, y]: Point, [[ax, ay], [bx, by]]: Edge): number => {
  const [dx, dy] = [bx - ax, by - ay]
  const squared = dx * dx + dy * dy
  const along = squared === 0 ? 0 : Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / squared))
  return Math.hypot(x - ax - along * dx, y - ay - along * dy)
}

/** Whether two geometries share any point. */
export const intersects = (a: Geometry, b: Geometry): boolean => distance(a, b) === 0

/** Whether all of `a` lies in `b`. */
export const isWithin = (a: Geometry, b: Geometry): boolean => {
  const [edgesA, edgesB] = [allEdges(a), allEdges(b)]
  return (
    b.areas.length > 0 &&
    allPoints(a).every((point) => covers(b, point)) &&
    !edgesA.some((one) => edgesB.some((other) => cross(one, other)))
  )
}

/** Degrees between the nearest points of two geometries; 0 where they meet. */
export const distance = (a: Geometry, b: Geometry): number => {
  if (allPoints(a).some((point) => covers(b, point)) || allPoints(b).some((point) => covers(a, point)))
    return 0
  const [edgesA, edgesB] = [allEdges(a), allEdges(b)]
  let least = Number.POSITIVE_INFINITY
  for (const one of edgesA)
    for (const other of edgesB) {
      if (cross(one, other)) return 0
      least = Math.min(
        least,
        pointDistance(one[0], other),
        pointDistance(one[1], other),
        pointDistance(other[0], one),
        pointDistance(other[1], one),
      )
    }
  return least
}
