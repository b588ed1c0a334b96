/**
 * The outline of an H3 cell as GeoJSON (RFC 7946): rings closed, counterclockwise, longitude first. A cell across the
 * antimeridian is cut there (s3.1.9); one around a pole reaches from west to east along the pole.
 */
import { cellToBoundary } from 'h3-js'

/** Longitude, latitude; degrees, WGS 84. */
export type Position = [longitude: number, latitude: number]

export type Outline =
  | { readonly type: 'Polygon'; readonly coordinates: Position[][] }
  | { readonly type: 'MultiPolygon'; readonly coordinates: Position[][][] }

// A tenth of a metre (RFC 7946 s11.2); more digits would only make answers longer.
const decimals = 6

const rounded = (ring: readonly Position[]): Position[] =>
  ring.map(([longitude, latitude]) => [
    Number(longitude.toFixed(decimals)),
    Number(latitude.toFixed(decimals)),
  ])

/**
 * The corners, the first one again at the end, with longitudes that go on beyond 180 degrees: no edge goes around the
 * world. An outline around a pole ends a whole turn away from where it began.
 */
const unrolled = (cell: string): Position[] => {
  const corners: Position[] = []
  for (const [longitude, latitude] of cellToBoundary(cell, true) as Position[]) {
    const before = corners.at(-1)?.[0] ?? longitude
    corners.push([longitude - 360 * Math.round((longitude - before) / 360), latitude])
  }
  return corners
}

/** Where an edge meets a meridian. */
const crossing = ([fromX, fromY]: Position, [toX, toY]: Position, meridian: number): Position => [
  meridian,
  fromY + ((toY - fromY) * (meridian - fromX)) / (toX - fromX),
]

/** The part of a ring on one side of a meridian, open (Sutherland and Hodgman, 1974). */
const clipped = (ring: readonly Position[], meridian: number, side: 'west' | 'east'): Position[] => {
  const isInside = ([longitude]: Position): boolean =>
    side === 'west' ? longitude <= meridian : longitude >= meridian
  return ring.flatMap((corner, at): Position[] => {
    const before = ring.at(at - 1)!
    const meets = isInside(before) === isInside(corner) ? [] : [crossing(before, corner, meridian)]
    return isInside(corner) ? [...meets, corner] : meets
  })
}

const closed = (ring: readonly Position[]): Position[] => [...ring, ring[0]!]

const turnedBy = (ring: readonly Position[], degrees: number): Position[] =>
  ring.map(([longitude, latitude]) => [longitude + degrees, latitude])

/** An outline that goes once around a pole, begun where it crosses the antimeridian, and led along the pole. */
const polarRing = (corners: readonly Position[]): Position[] => {
  // Counterclockwise is eastward around the north pole, and westward around the south pole.
  const isNorth = corners.at(-1)![0] > corners[0]![0]
  const end = isNorth ? 180 : -180
  const at = corners.findIndex(
    ([longitude], place) => place > 0 && (isNorth ? longitude >= end : longitude <= end),
  )
  const [, latitude] = crossing(corners[at - 1]!, corners[at]!, end)
  return [
    [-end, latitude],
    ...turnedBy(corners.slice(at, -1), -2 * end),
    ...corners.slice(0, at),
    [end, latitude],
    [end, isNorth ? 90 : -90],
    [-end, isNorth ? 90 : -90],
  ]
}

/** The outline of a cell. */
export const outlineOf = (cell: string): Outline => {
  const corners = unrolled(cell)
  const turn = corners.at(-1)![0] - corners[0]![0]
  if (Math.abs(turn) > 180) return { type: 'Polygon', coordinates: [rounded(closed(polarRing(corners)))] }
  const ring = corners.slice(0, -1)
  const longitudes = ring.map(([longitude]) => longitude)
  const meridian = Math.max(...longitudes) > 180 ? 180 : Math.min(...longitudes) < -180 ? -180 : undefined
  if (meridian === undefined) return { type: 'Polygon', coordinates: [rounded(closed(ring))] }
  const [west, east] = [clipped(ring, meridian, 'west'), clipped(ring, meridian, 'east')]
  return {
    type: 'MultiPolygon',
    coordinates: [turnedBy(west, 180 - meridian), turnedBy(east, -180 - meridian)].map((part) => [
      rounded(closed(part)),
    ]),
  }
}
