/** Rows in every format, as /openapi.json describes them. */
import { z } from '@hono/zod-openapi'
import { headers, soldHeaders } from '../headers.ts'
import { readingFeaturesSchema } from '../place-schemas.ts'
import { formats } from './all.ts'

const opaque = (isText: boolean, title: string) =>
  isText
    ? z.string().openapi({ description: title })
    : ({ type: 'string', format: 'binary', description: title } as const)

/** Rows by media type; `schema` is of their JSON. */
export const rowsContent = <T extends z.ZodType>(schema: T) => {
  const described: Readonly<Record<string, z.ZodType>> = { json: schema, geojson: readingFeaturesSchema }
  return Object.fromEntries(
    formats.map(({ name, mediaType, isText, title }) => [
      mediaType,
      { schema: described[name] ?? opaque(isText, title) },
    ]),
  )
}

/** A response with rows. */
export const offered = <T extends z.ZodType>(schema: T, description: string) =>
  ({
    description,
    headers: headers('ETag', 'Link', ...soldHeaders),
    content: rowsContent(schema),
  }) as const
