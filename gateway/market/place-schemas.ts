/** Answers about places, as /openapi.json describes them: GeoJSON (RFC 7946). */
import { z } from '@hono/zod-openapi'
import { pageMembers, stationMembers } from './schemas.ts'

const position = z.array(z.number()).min(2).max(2)
const rings = z.array(z.array(position))

const outline = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('Polygon'), coordinates: rings }),
    z.strictObject({ type: z.literal('MultiPolygon'), coordinates: z.array(rings) }),
  ])
  .openapi('Outline', {
    description: 'Outline of an H3 cell, longitude first; in two parts where it crosses the antimeridian',
  })

const collection = <T extends z.ZodType>(feature: T) =>
  z.strictObject({ type: z.literal('FeatureCollection'), features: z.array(feature) })

export const stationFeaturesSchema = collection(
  z.strictObject({
    type: z.literal('Feature'),
    id: z.string(),
    geometry: outline,
    properties: z.strictObject(stationMembers),
  }),
).openapi('StationFeatures')

export const coverageSchema = collection(
  z.strictObject({
    type: z.literal('Feature'),
    id: z.string(),
    geometry: outline,
    properties: z.strictObject({
      cell: z.string(),
      stations: z.number().int(),
      quantities: z.array(z.string()),
      last: z.string(),
    }),
  }),
).openapi('Coverage')

const readingFeature = z.strictObject({
  type: z.literal('Feature'),
  geometry: z
    .union([outline, z.null()])
    .openapi({ description: 'The H3 cell of the station; null where its owner tells none' }),
  properties: z
    .object({ station: z.string(), sensor: z.string(), time: z.string() })
    .catchall(z.union([z.number(), z.string(), z.null()]))
    .openapi({ description: 'The columns of CSV, without those that have nothing in this row' }),
})

/** Rows on a map; without the members of a page where they are no page. */
export const readingFeaturesSchema = z
  .strictObject({
    type: z.literal('FeatureCollection'),
    ...z.object(pageMembers).partial().shape,
    features: z.array(readingFeature),
  })
  .openapi('ReadingFeatures')
