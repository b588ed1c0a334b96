/** /v1/latest and /v1/readings: what sensors said. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { PricedRow } from '../../sales/price.ts'
import type { Selection } from '../../store/store.ts'
import {
  type Api,
  caching,
  entityTag,
  isNotModified,
  linkTo,
  type MarketDeps,
  okJson,
  orFail,
} from '../api.ts'
import { findStations, type StationsAsked } from '../area.ts'
import { bodyOf, bytesOf } from '../body.ts'
import { formats } from '../formats/all.ts'
import { contextOf, contextText } from '../formats/context.ts'
import { offered } from '../formats/described.ts'
import type { Format, FormatContext, Pieces } from '../formats/format.ts'
import type { Gate } from '../gate.ts'
import { notModified } from '../headers.ts'
import { chooseFormat } from '../negotiate.ts'
import { maxRows, publicQuantities, queryOf } from '../parameters.ts'
import { whereOf } from '../place.ts'
import { pricedRow } from '../priced.ts'
import { orProblem } from '../problem.ts'
import {
  type Answer,
  latestQuery,
  planCut,
  planReadings,
  planUntil,
  queryText,
  readingsQuery,
  run,
  runLatest,
} from '../query.ts'
import { type RunPriced, runPricedWith } from '../run-priced.ts'
import { latestSchema, quantitiesSchema, readingsSchema } from '../schemas.ts'
import { newestScope, scopeOf, scopeText, scoredOf } from '../scope.ts'
import { measureLatest } from '../sla.ts'

const latestRoute = createRoute({
  method: 'get',
  path: '/v1/latest',
  tags: ['Readings'],
  summary: 'The newest reading of each sensor',
  request: { query: latestQuery },
  responses: { 200: offered(latestSchema, 'Newest readings, by station and sensor'), ...orFail },
})

const readingsRoute = createRoute({
  method: 'get',
  path: '/v1/readings',
  tags: ['Readings'],
  summary: 'Readings of a span of time, or one value per interval',
  description:
    'In order of time. Every reading says how good it is and how far its proof has come; /v1/bundle gives the proof itself. Of an area (bbox, h3, near) come the stations whose published cell lies there, on every page those of the first. As GeoJSON each row is a feature, and its geometry the outline of the H3 cell that the station’s owner tells: never a point, and null where none is told. Intervals start at multiples of their length, UTC; the first and the last hold only what is within the span.',
  request: { query: readingsQuery },
  responses: {
    200: offered(readingsSchema, 'A page of readings, or of intervals where "every" is given'),
    ...notModified,
    ...orFail,
  },
})

const quantitiesRoute = createRoute({
  method: 'get',
  path: '/v1/quantities',
  tags: ['Readings'],
  summary: 'What can be measured, in which unit',
  request: { query: queryOf({}) },
  responses: { 200: okJson(quantitiesSchema, 'Every quantity that can be asked for'), ...orFail },
})

/** All that can differ between two answers to one closed query: which rows, what is thought of them, their proof. */
function* tagParts(version: string, format: Format, answer: Answer, context: FormatContext) {
  yield `${version} ${format.name} ${contextText(answer, context)} ${answer.kind === 'latest' ? '' : answer.next}`
  for (const row of answer.rows)
    yield 'proof' in row
      ? `${row.station} ${row.sensor} ${row.proof.place} ${JSON.stringify([row.proof, row.quality])}`
      : JSON.stringify(row)
}

const pricedRows = (answer: Answer, nowMs: number): PricedRow[] =>
  answer.rows.map((row) => pricedRow(row, nowMs))

/** Adds the routes; gives what prices a query. */
export const addReadings = (app: Api, deps: MarketDeps, gate: Gate): RunPriced => {
  const { store, anchors, evidence, nowMs, version, publicUrl, till } = deps
  const sources = { store, anchors }

  const runPriced = runPricedWith(deps, gate)

  /** The stations that an area was found to mean when it was sold: who moves later changes nothing of what was paid. */
  const soldStations = (c: Context, query: StationsAsked, sale: string | undefined) => {
    if (till === undefined || sale === undefined || whereOf(query) === undefined) return undefined
    const sold = till.saleInForce(c, sale)
    return sold && { ok: true as const, stations: scopeOf(sold)?.stations }
  }

  /** An answer rendered, with the parts of its entity tag where its span is closed. */
  const rendered = async (
    c: Context,
    format: Format,
    answer: Answer,
    selection: Partial<Selection>,
    closed: boolean,
  ) => {
    const context = await contextOf(format, answer, selection, deps)
    c.header('vary', 'Accept', { append: true })
    if (answer.kind !== 'latest' && answer.next !== null)
      c.header('link', linkTo(c, publicUrl, 'cursor', answer.next))
    return {
      pieces: format.render([answer], context),
      ...(closed ? { tag: tagParts(version, format, answer, context) } : {}),
    }
  }

  const send = async (...[c, format, answer, selection, closed]: Parameters<typeof rendered>) => {
    const { pieces, tag } = await rendered(c, format, answer, selection, closed)
    c.header('cache-control', closed ? caching.closedSpan : caching.changing)
    if (tag !== undefined) {
      const etag = entityTag(tag)
      c.header('etag', etag)
      if (isNotModified(c, etag)) return c.body(null, 304)
    }
    c.header('content-type', format.contentType)
    return c.body(await bodyOf(pieces))
  }

  const delivery = async ({ contentType }: Format, pieces: Pieces) => ({
    contentType,
    body: await bytesOf(pieces),
  })

  app.openapi(latestRoute, async (c): Promise<Response> => {
    const query = c.req.valid('query')
    const { format } = orProblem(chooseFormat(formats, query.format, c.req.header('accept')))
    const { stations } = orProblem(findStations(query, evidence))
    const latest = async () => orProblem(await gate(() => runLatest(query, stations, sources, maxRows)))
    if (till === undefined) {
      const { answer, selection } = await latest()
      return send(c, format, answer, selection, false)
    }
    const { format: _, ...rest } = query
    const asked = `latest ${format.name} ${JSON.stringify(rest)}`
    const text = `${asked} ${JSON.stringify(stations ?? null)}`
    return till.serve(c, asked, { query: text }, async (_, own) => {
      const { answer, selection } = await latest()
      const { pieces } = await rendered(c, format, answer, selection, false)
      const rows = pricedRows(answer, nowMs())
      const price = till.priceOf(rows, own)
      return {
        price,
        measure: async () => measureLatest(rows, price, (some) => till.priceOf(some, own), till.sla),
        delivery: await delivery(format, pieces),
        scope: scopeText(newestScope(answer, selection), evidence),
      }
    })
  })

  app.openapi(readingsRoute, async (c): Promise<Response> => {
    const query = c.req.valid('query')
    const { format } = orProblem(chooseFormat(formats, query.format, c.req.header('accept')))
    const { plan: asPlanned } = orProblem(
      planReadings(query, nowMs(), (sale) => soldStations(c, query, sale) ?? findStations(query, evidence)),
    )
    // Sold is what there is: nobody gets by an old offer, or in a proof, what is measured later.
    const plan = till === undefined ? asPlanned : planCut(asPlanned, nowMs())
    const { selection, closed } = plan
    if (till === undefined) return send(c, format, await gate(() => run(plan, sources)), selection, closed)
    const asked = `readings ${format.name} ${plan.limit} ${plan.text} ${query.cursor ?? ''}`
    const paidBy = plan.sale === undefined ? {} : { sale: plan.sale }
    return till.serve(c, asked, { query: queryText(plan), ...paidBy }, async (sale, own, paid) => {
      const page = { ...plan, sale }
      const { answer, ...priced } = await runPriced(
        paid === undefined ? page : planUntil(page, paid.timeMs),
        own,
        till,
      )
      const { pieces, tag } = await rendered(c, format, answer, selection, closed)
      return {
        ...priced,
        delivery: await delivery(format, pieces),
        scope: scopeText(scoredOf(plan), evidence),
        ...(tag === undefined ? {} : { tag }),
      }
    })
  })

  app.openapi(quantitiesRoute, (c) => {
    c.header('cache-control', caching.page)
    const quantities = publicQuantities.map(({ name, title, unit, senml, decimals, min, max }) => ({
      name,
      title,
      unit,
      senml,
      decimals,
      min,
      max,
    }))
    return c.json({ quantities }, 200)
  })

  return runPriced
}
