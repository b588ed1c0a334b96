/** /v1/catalogue.jsonld: the stations as data sets, for catalogues of data. */
import { createRoute } from '@hono/zod-openapi'
import { type Api, baseOf, caching, linkTo, type MarketDeps, orFail } from '../api.ts'
import { catalogueOf } from '../dcat.ts'
import { formats } from '../formats/all.ts'
import { headers } from '../headers.ts'
import { jsonLdSchema, jsonLdType } from '../json-ld.ts'
import { limitUpTo, parameters, queryOf } from '../parameters.ts'

// Each has a distribution for every format.
const mostStations = 1000
const usualStations = 100

const catalogueRoute = createRoute({
  method: 'get',
  path: '/v1/catalogue.jsonld',
  tags: ['Stations'],
  summary: 'The catalogue of stations as data sets (DCAT)',
  description: 'In order of station id. Licences are the stations’ own; places are H3 cells.',
  request: {
    query: queryOf({ limit: limitUpTo(mostStations, usualStations), after: parameters.after }),
  },
  responses: {
    200: {
      description: 'A dcat:Catalog, JSON-LD',
      headers: headers('Link'),
      content: { [jsonLdType]: { schema: jsonLdSchema } },
    },
    ...orFail,
  },
})

/** Adds the route. */
export const addCatalogue = (app: Api, deps: MarketDeps): void => {
  const { evidence, store, network, publicUrl, till } = deps
  app.openapi(catalogueRoute, async (c) => {
    const { limit = usualStations, after = '' } = c.req.valid('query')
    const ids = evidence
      .stations()
      .map(({ station }) => station)
      .filter((station) => station > after)
      .sort()
    const page = ids.slice(0, limit)
    const sensors = Map.groupBy(await store.sensors(), ({ station }) => station)
    if (ids.length > limit) c.header('link', linkTo(c, publicUrl, 'after', page.at(-1)!))
    const catalogue = catalogueOf(
      { base: baseOf(c, publicUrl), network, sells: till !== undefined, formats },
      page.map((station) => ({
        station,
        profile: evidence.profile(station),
        sensors: sensors.get(station) ?? [],
      })),
    )
    return c.json(catalogue, 200, { 'content-type': jsonLdType, 'cache-control': caching.page })
  })
}
