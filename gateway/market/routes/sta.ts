/** /sta/v1.1: the same readings by OGC SensorThings 1.1 (18-088), for reading. Metadata is free, Observations have a price. */
import { z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { Selection } from '../../store/store.ts'
import { type Api, caching, type MarketDeps, okJson, orFail } from '../api.ts'
import { maxStations } from '../area.ts'
import type { Gate } from '../gate.ts'
import { headers, soldHeaders } from '../headers.ts'
import { Problem } from '../problem.ts'
import { scopeText } from '../scope.ts'
import { answerTo, type Made, mostEntities, type Office } from '../sta/answer.ts'
import { openCatalogue } from '../sta/catalogue.ts'
import { openWork } from '../sta/evaluate.ts'
import { type Desk, mostQuestions, mostReadings } from '../sta/observation-pages.ts'
import { asksAboutValues } from '../sta/observation-query.ts'
import { expandsObservations, maxTop, type Options, parseOptions } from '../sta/options.ts'
import { invalidOption } from '../sta/refusals.ts'
import { parseResource, type Resource } from '../sta/resource.ts'
import { serviceDocument, serviceRoot } from '../sta/service.ts'
import { decodeToken } from '../sta/token.ts'
import { optionsSchema, resourceSchema, serviceSchema } from '../sta-schemas.ts'
import type { Till } from '../till.ts'

// A second of work, more or less.
const mostSteps = 1_000_000

// Clients such as QGIS ask for a name and a password by themselves, and send them with everything from then on.
const challenge = 'Basic realm="groundtruth", charset="UTF-8"'

/** What does not count as a key is told in the way that a GIS understands. */
const challenged = async <T>(work: () => T | Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Problem) || error.fault.slug !== 'key-invalid') throw error
    const headers = { ...error.fault.headers, 'www-authenticate': challenge }
    throw new Problem({
      ...error.fault,
      detail: `${error.fault.detail}; send the key as password, with any name`,
      headers,
    })
  }
}

// What a single entity, and a property of one, can be asked with.
const ofOne = new Set(['$select', '$expand'])

const refuseMisplaced = ({ many, property }: Resource, { text, skip, after }: Options): void => {
  if (many) return
  const given = [
    ...text.map(([name]) => name),
    ...(skip > 0 ? ['$skip'] : []),
    ...(after ? ['$skiptoken'] : []),
  ]
  const wrong = given.find((name) => property !== undefined || !ofOne.has(name))
  if (wrong !== undefined)
    throw invalidOption(wrong, `does not go with ${property ? 'a property' : 'one entity'}`)
}

/** What later pages of the same question have in common with the first. */
const questionOf = (resource: string, { text }: Options): string =>
  JSON.stringify([resource, ...text.filter(([name]) => name !== '$count')])

/** What a bundle has to hold that proves what was sold; null where it is of too many stations for one. */
const scopeOf = ({ sold }: Desk): Selection | null => {
  const rows = [...sold.values()]
  const stations = new Set(rows.map(({ station }) => station))
  if (stations.size === 0 || stations.size > maxStations) return null
  const sensors = new Set(rows.map(({ sensor }) => sensor))
  const [sensor] = sensors
  const times = rows.map(({ timeMs }) => timeMs)
  return {
    stations: [...stations].sort(),
    ...(sensors.size === 1 ? { sensor: sensor! } : {}),
    quantities: [...new Set(rows.map(({ quantity }) => quantity.code))].sort((one, other) => one - other),
    fromMs: times.reduce((first, one) => Math.min(first, one)),
    toMs: times.reduce((last, one) => Math.max(last, one)) + 1,
  }
}

/** Adds the routes. */
export const addSta = (app: Api, deps: MarketDeps, gate: Gate): void => {
  const { store, evidence, anchors, nowMs, publicUrl, till } = deps
  const catalogueOf = openCatalogue({ evidence, store }, nowMs)
  const describe = (path: string, summary: string, params: Record<string, string>) =>
    app.openAPIRegistry.registerPath({
      method: 'get',
      path,
      tags: ['SensorThings'],
      summary,
      request: {
        params: z.object(
          Object.fromEntries(
            Object.entries(params).map(([name, description]) => [name, z.string().openapi({ description })]),
          ),
        ),
        query: optionsSchema,
      },
      responses: {
        200: {
          description: 'A page of entities, an entity, or a property',
          headers: headers(...soldHeaders),
          content: {
            'application/json': { schema: resourceSchema },
            'text/plain': { schema: z.string() },
          },
        },
        ...orFail,
      },
    })
  // Many write the address of a service with a slash at its end.
  for (const path of [serviceRoot, `${serviceRoot}/`])
    app.openAPIRegistry.registerPath({
      method: 'get',
      path,
      tags: ['SensorThings'],
      summary: 'SensorThings 1.1: the entity sets, and which requirements are met',
      description:
        'OGC 18-088 for reading. Things are stations, Locations their H3 cells, Datastreams a quantity of a sensor of a station. Where data is sold, Observations cost what the same readings cost at /v1/readings, asked for or expanded, each page for itself; a $filter on result or resultQuality costs all that it looks at, with all its pages. They need an API key: as password of Basic, with any name, or as bearer token.',
      responses: { 200: okJson(serviceSchema, 'The service'), ...orFail },
    })
  const resource = "An entity set, or an entity of it: Things, Things('id')"
  const link = 'A link of the entity, an entity behind it, a property, or $ref'
  describe(`${serviceRoot}/{resource}`, 'Entities, or one of them', { resource })
  describe(`${serviceRoot}/{resource}/{link}`, 'What an entity links to, or a property of it', {
    resource,
    link,
  })
  describe(`${serviceRoot}/{resource}/{link}/{further}`, 'The same, further on', {
    resource,
    link,
    further: 'A further link, a member of a property, $value or $ref; and so on',
  })

  const hubUrlOf = (c: Context): string => publicUrl ?? new URL(c.req.url).origin

  const officeFor = async (
    c: Context,
    atMs: number,
    sale?: string,
    mustLookAtAll = false,
  ): Promise<Office> => {
    const hubUrl = hubUrlOf(c)
    const desk: Desk = {
      ...{ store, anchors, gate, mustLookAtAll },
      catalogue: await catalogueOf(hubUrl),
      nowMs: atMs,
      readings: mostReadings,
      questions: mostQuestions,
      sold: new Map(),
    }
    return {
      desk,
      work: openWork(mostSteps),
      root: `${hubUrl}${serviceRoot}`,
      ...(sale === undefined ? {} : { sale }),
      room: mostEntities,
      observationRoom: maxTop,
    }
  }

  const send = (c: Context, { contentType, text }: Made): Response => {
    c.header('content-type', contentType)
    return c.body(text)
  }

  /** An answer that has observations in it, for their price. */
  const sold = (c: Context, till: Till, path: string, resource: Resource, options: Options) => {
    till.withScope(c, 'read')
    // Whoever asks about values pays for all of them with the first page; without that each page is a sale of its own.
    const isAboutValues = resource.set === 'Observations' && resource.many && asksAboutValues(options)
    const token = options.after === undefined ? undefined : decodeToken(options.after)
    const paidBy = isAboutValues ? token?.sale : undefined
    const question = questionOf(path, options)
    const atMs = nowMs()
    const query = isAboutValues
      ? `sta ${question} ${token?.askedMs ?? atMs}`
      : `sta ${question} ${options.after ?? ''} ${atMs}`
    const asked = `sta ${question} ${JSON.stringify([options.after, options.skip, options.count])}`
    return till.serve(
      c,
      asked,
      { query, ...(paidBy === undefined ? {} : { sale: paidBy }) },
      async (sale, own, paid) => {
        const office = await officeFor(c, atMs, sale, paid === undefined)
        const { contentType, text } = await answerTo(office, resource, options, path)
        return {
          price: till.priceOf(office.desk.sold.values(), own),
          delivery: { contentType, body: new Uint8Array(Buffer.from(text)) },
          scope: scopeText(scopeOf(office.desk), evidence),
        }
      },
    )
  }

  const answer = async (c: Context): Promise<Response> => {
    const { pathname, search } = new URL(c.req.url)
    const path = pathname.slice(serviceRoot.length).replace(/^\/+|\/+$/g, '')
    // A key that does not count is told with the first request, not only where one is needed.
    await challenged(() => till?.keyOf(c))
    c.header('cache-control', caching.changing)
    if (path === '') {
      if (search.length > 1) throw invalidOption(search.slice(1, 40), 'does not go with the service root')
      return c.json(serviceDocument(`${hubUrlOf(c)}${serviceRoot}`))
    }
    const resource = parseResource(path)
    const options = parseOptions(search, resource.set)
    refuseMisplaced(resource, options)
    const isSold = resource.set === 'Observations' || expandsObservations(options)
    if (till !== undefined && isSold) return challenged(() => sold(c, till, path, resource, options))
    return send(c, await answerTo(await officeFor(c, nowMs()), resource, options, path))
  }

  app.get(serviceRoot, answer)
  app.get(`${serviceRoot}/*`, answer)
}
