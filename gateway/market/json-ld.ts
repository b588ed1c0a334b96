/** JSON-LD 1.1 documents (www.w3.org/TR/json-ld11). */
import { z } from '@hono/zod-openapi'

export const jsonLdType = 'application/ld+json'

export const jsonLdSchema = z
  .looseObject({ '@context': z.looseObject({}), '@type': z.string() })
  .openapi('JsonLd', { description: 'JSON-LD; its context names the documents that say what it means' })

/** A document that carries its context. */
export type JsonLd = z.output<typeof jsonLdSchema>
