/** The pages around the data: /, /docs, /openapi.json, and what each problem type means. */
import { readFileSync } from 'node:fs'
import { createRoute, z } from '@hono/zod-openapi'
import { type Api, caching, entityTag, isNotModified, type MarketDeps, okJson, orFail } from '../api.ts'
import { doors } from '../doors/all.ts'
import { addToAll } from '../headers.ts'
import { type ProblemSlug, problemSlugs, problems } from '../problem.ts'
import { indexSchema, problemHelpSchema } from '../schemas.ts'

// Address, file beside this folder, type. No page loads anything from elsewhere.
const pages = [
  ['/docs', 'docs.html', 'text/html; charset=utf-8'],
  ['/docs/docs.css', 'docs.css', 'text/css; charset=utf-8'],
  ['/docs/docs.js', 'docs.js', 'text/javascript; charset=utf-8'],
  ['/docs/icon.svg', 'icon.svg', 'image/svg+xml'],
] as const

const indexRoute = createRoute({
  method: 'get',
  path: '/',
  tags: ['About'],
  summary: 'Where things are',
  responses: {
    200: {
      description: 'Links; a page for browsers',
      content: { 'application/json': { schema: indexSchema }, 'text/html': { schema: z.string() } },
    },
    ...orFail,
  },
})

const problemRoute = createRoute({
  method: 'get',
  path: '/problems/{slug}',
  tags: ['About'],
  summary: 'What a problem type means',
  request: {
    params: z.object({ slug: z.enum(problemSlugs).openapi({ description: 'Last part of "type"' }) }),
  },
  responses: { 200: okJson(problemHelpSchema, 'Its meaning'), ...orFail },
})

const description = `Readings of environmental sensors, each signed where it was measured and anchored on a public chain.
Times are UTC. Numbers are exact to the last decimal of their quantity. Errors are problem+json (RFC 9457).`

const readPage = (file: string): string => readFileSync(new URL(`../docs/${file}`, import.meta.url), 'utf8')

/** Adds the routes; the description covers every route that was added before. */
export const addSite = (app: Api, { network, version, publicUrl, limits }: MarketDeps): void => {
  const open = new Set(
    app.openAPIRegistry.definitions.flatMap((one) => ('route' in one ? one.route.path : [])),
  )
  const shown = doors.filter(({ address }) => open.has(address))
  const items = shown.map(({ address, title, page }) =>
    page ? `<li><a href="${address}">${title}</a></li>` : `<li>${title}: <code>${address}</code></li>`,
  )
  const home = readPage('home.html').replace('<!-- doors -->', items.join('\n'))

  app.openapi(indexRoute, (c): Response => {
    c.header('vary', 'Accept', { append: true })
    if (/\btext\/html\b/.test(c.req.header('accept') ?? '')) return c.html(home)
    return c.json({
      name: 'groundtruth',
      version,
      network,
      docs: '/docs',
      openapi: '/openapi.json',
      doors: Object.fromEntries(shown.map(({ name, address }) => [name, address])),
    })
  })

  app.openapi(problemRoute, (c) => {
    const { slug }: { slug: ProblemSlug } = c.req.valid('param')
    c.header('cache-control', caching.page)
    return c.json({ slug, ...problems[slug] }, 200)
  })

  const unchanging = (path: string, contentType: string, text: string): void => {
    const tag = entityTag([text])
    app.get(path, (c) => {
      c.header('etag', tag)
      c.header('cache-control', caching.page)
      if (isNotModified(c, tag)) return c.body(null, 304)
      c.header('content-type', contentType)
      return c.body(text)
    })
  }
  for (const [path, file, contentType] of pages) unchanging(path, contentType, readPage(file))
  const document = app.getOpenAPI31Document({
    openapi: '3.1.1',
    info: { title: 'Groundtruth', version, description, license: { name: 'MIT' } },
    servers: [{ url: publicUrl ?? '/' }],
    tags: ['Readings', 'Stations', 'SensorThings', 'Buying', 'Exports', 'Proof', 'Operation', 'About'].map(
      (name) => ({
        name,
      }),
    ),
  })
  if (limits !== undefined) addToAll(document.paths ?? {}, ['RateLimit', 'RateLimit-Policy'])
  unchanging('/openapi.json', 'application/json', JSON.stringify(document))
}
