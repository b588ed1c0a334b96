/** What an export is: as Croissant for programs that load data sets, and as DCAT for catalogues. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { type Api, baseOf, type MarketDeps, orFail } from '../api.ts'
import { exportSetOf } from '../dcat.ts'
import type { Export } from '../exports/book.ts'
import { croissantOf, type Described } from '../exports/croissant.ts'
import { formats } from '../formats/all.ts'
import { jsonLdSchema, jsonLdType } from '../json-ld.ts'
import { queryOf } from '../parameters.ts'
import { fault, Problem } from '../problem.ts'
import { exportId, keyOrId } from './export-id.ts'

const described = { content: { [jsonLdType]: { schema: jsonLdSchema } } } as const

const croissantRoute = createRoute({
  method: 'get',
  path: '/v1/exports/{id}/croissant.json',
  tags: ['Exports'],
  summary: 'What an export is, as Croissant 1.0',
  description: 'Columns, stations with their licences, file and hash, as machine learning tools load them.',
  security: keyOrId,
  request: { query: queryOf({}), params: exportId },
  responses: { 200: { description: 'Croissant, JSON-LD', ...described }, ...orFail },
})

const dcatRoute = createRoute({
  method: 'get',
  path: '/v1/exports/{id}/dcat.jsonld',
  tags: ['Exports'],
  summary: 'What an export is, as DCAT',
  security: keyOrId,
  request: { query: queryOf({}), params: exportId },
  responses: { 200: { description: 'A data set, JSON-LD', ...described }, ...orFail },
})

/** Adds the routes; `exportFor` gives an export to whoever may see it. */
export const addExportDescriptions = (
  app: Api,
  { network, publicUrl, till }: MarketDeps,
  exportFor: (c: Context, id: string) => Export,
): void => {
  const describe = (c: Context, id: string): Described => {
    const { plan, format, file, about, doneMs, state } = exportFor(c, id)
    if (state !== 'done' || file === undefined || about === undefined || doneMs === undefined)
      throw new Problem(fault('not-found', `export ${id} is ${state}: there is no file to describe`))
    return {
      base: baseOf(c, publicUrl),
      network,
      id,
      plan,
      format: formats.find(({ name }) => name === format)!,
      file,
      about,
      doneMs,
    }
  }

  app.openapi(croissantRoute, (c) => {
    const one = describe(c, c.req.valid('param').id)
    return c.json(croissantOf(one), 200, { 'content-type': jsonLdType, 'cache-control': 'private, no-cache' })
  })

  app.openapi(dcatRoute, (c) => {
    const one = describe(c, c.req.valid('param').id)
    const set = exportSetOf(one, till !== undefined)
    return c.json(set, 200, { 'content-type': jsonLdType, 'cache-control': 'private, no-cache' })
  })
}
