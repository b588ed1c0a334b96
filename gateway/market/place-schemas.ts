/** Answers about places, as /openapi.json describes them: GeoJSON (RFC 7946). */
import { z } from '@hono/zod-openapi'
import { stationMembers } from './schemas.ts'

const polygon = z
  .strictObject({
    type: z.literal('Polygon'),
    coordinates: z.array(z.array(z.array(z.number()).min(2).max(2))),
  })
  .openapi('Polygon', { description: 'Outline of an H3 cell; longitude first' })

const collection = <T extends z.ZodType>(feature: T) =>
  z.strictObject({ type: z.literal('FeatureCollection'), features: z.array(feature) })

export const stationFeaturesSchema = collection(
  z.strictObject({
    type: z.literal('Feature'),
    id: z.string(),
    geometry: polygon,
    properties: z.strictObject(stationMembers),
  }),
).openapi('StationFeatures')

export const coverageSchema = collection(
  z.strictObject({
    type: z.literal('Feature'),
    id: z.string(),
    geometry: polygon,
    properties: z.strictObject({
      cell: z.string(),
      stations: z.number().int(),
      quantities: z.array(z.string()),
      last: z.string(),
    }),
  }),
).openapi('Coverage')
