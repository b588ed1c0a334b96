/** Rows in every format, as /openapi.json describes them. */
import { z } from '@hono/zod-openapi'
import { headers, soldHeaders } from '../headers.ts'
import { readingFeaturesSchema } from '../place-schemas.ts'
import { formats } from './all.ts'

const opaque = (isText: boolean, title: string) =>
  isText
    ? z.string().openapi({ description: title })
    : ({ type: 'string', format: 'binary', description: title } as const)

/** A response with rows, by media type; `schema` is of its JSON. */
export const offered = <T extends z.ZodType>(schema: T, description: string) => {
  const described: Readonly<Record<string, z.ZodType>> = { json: schema, geojson: readingFeaturesSchema }
  return {
    description,
    headers: headers('ETag', 'Link', ...soldHeaders),
    content: Object.fromEntries(
      formats.map(({ name, mediaType, isText, title }) => [
        mediaType,
        { schema: described[name] ?? opaque(isText, title) },
      ]),
    ),
  } as const
}
