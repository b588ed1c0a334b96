/**
 * Where stations are, as far as their owners tell: by H3 cell (h3geo.org), never by a point. A cell lies where its centre
 * lies.
 */
import { cellToLatLng, cellToParent, getResolution, greatCircleDistance, isValidCell } from 'h3-js'

/** Degrees, WGS 84. */
export type LatLon = { readonly latitude: number; readonly longitude: number }

/** West, south, east, north in degrees (RFC 7946 s5); one whose west is greater than its east crosses the antimeridian. */
export type Box = readonly [west: number, south: number, east: number, north: number]

export type Circle = LatLon & { readonly km: number }

/** Which places are meant; a station must fit all that are given. */
export type Where = { readonly bbox?: Box; readonly h3?: string; readonly near?: Circle }

/** Those of the places that were given; undefined where none was. */
export const whereOf = ({
  bbox,
  h3,
  near,
}: { [Name in keyof Where]: Where[Name] | undefined }): Where | undefined =>
  bbox === undefined && h3 === undefined && near === undefined
    ? undefined
    : {
        ...(bbox === undefined ? {} : { bbox }),
        ...(h3 === undefined ? {} : { h3 }),
        ...(near === undefined ? {} : { near }),
      }

const number = /^-?\d{1,3}(\.\d{1,10})?$/

const numbersOf = (text: string, count: number): number[] | undefined => {
  const parts = text.split(',').map((part) => part.trim())
  return parts.length === count && parts.every((part) => number.test(part)) ? parts.map(Number) : undefined
}

const isLatitude = (value: number): boolean => value >= -90 && value <= 90
const isLongitude = (value: number): boolean => value >= -180 && value <= 180

export const parseBox = (text: string): Box | undefined => {
  const parts = numbersOf(text, 4)
  if (parts === undefined) return undefined
  const [west, south, east, north] = parts as [number, number, number, number]
  return isLongitude(west) && isLongitude(east) && isLatitude(south) && isLatitude(north) && south <= north
    ? [west, south, east, north]
    : undefined
}

// Half of the way around: everywhere.
const farthestKm = 20_100

/** Reads `48.2,16.37,25km`, or without a distance 10 km. */
export const parseNear = (text: string): Circle | undefined => {
  const match = /^(.+?)(?:,\s*(\d{1,5}(?:\.\d{1,3})?)km)?$/.exec(text)
  const parts = match === null ? undefined : numbersOf(match[1]!, 2)
  if (parts === undefined) return undefined
  const [latitude, longitude] = parts as [number, number]
  const km = Number(match![2] ?? '10')
  return isLatitude(latitude) && isLongitude(longitude) && km > 0 && km <= farthestKm
    ? { latitude, longitude, km }
    : undefined
}

/** An H3 cell in its usual spelling; undefined for anything else. */
export const parseCell = (text: string): string | undefined => {
  const cell = text.toLowerCase()
  return /^8[0-9a-f]{14}$/.test(cell) && isValidCell(cell) ? cell : undefined
}

export const centreOf = (cell: string): LatLon => {
  const [latitude, longitude] = cellToLatLng(cell)
  return { latitude, longitude }
}

/** Whether a cell is where it is asked for. One that is coarser than the cell asked for may lie outside, and does not count. */
export const isThere = (cell: string, { bbox, h3, near }: Where): boolean => {
  if (h3 !== undefined) {
    const resolution = getResolution(h3)
    if (getResolution(cell) < resolution || cellToParent(cell, resolution) !== h3) return false
  }
  const { latitude, longitude } = centreOf(cell)
  if (bbox !== undefined) {
    const [west, south, east, north] = bbox
    if (latitude < south || latitude > north) return false
    if (west <= east ? longitude < west || longitude > east : longitude < west && longitude > east)
      return false
  }
  return (
    near === undefined ||
    greatCircleDistance([latitude, longitude], [near.latitude, near.longitude], 'km') <= near.km
  )
}

/** The cell that a cell lies in, at a coarser resolution; itself where it is as coarse already. */
export const coarser = (cell: string, resolution: number): string =>
  getResolution(cell) <= resolution ? cell : cellToParent(cell, resolution)
