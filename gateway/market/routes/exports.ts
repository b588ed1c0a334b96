/** /v1/exports: answers too large to be sent at once, made as files and kept for a while. */
import { createRoute, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { ApiKey } from '../../sales/keys.ts'
import type { Paying } from '../../sales/rail.ts'
import { type Api, type MarketDeps, okJson, orFail } from '../api.ts'
import { findStations } from '../area.ts'
import { exportSchema, exportsSchema } from '../export-schemas.ts'
import type { Export } from '../exports/book.ts'
import type { Counted, ExportOrder, Exports } from '../exports/exports.ts'
import { formats } from '../formats/all.ts'
import { rowsContent } from '../formats/described.ts'
import { headers, notModified } from '../headers.ts'
import { idempotencyKeyIn } from '../idempotency-key.ts'
import { queryOf } from '../parameters.ts'
import { fault, orProblem, Problem } from '../problem.ts'
import { exportQuery, type Plan, planCut, planReadings, queryText } from '../query.ts'
import { readingsSchema } from '../schemas.ts'
import type { Till } from '../till.ts'
import { timeText } from '../time.ts'
import { noKey } from '../unpaid.ts'
import { addExportDescriptions } from './export-descriptions.ts'
import { sendFile } from './export-file.ts'
import { exportId, keyOrId } from './export-id.ts'

const orderRoute = createRoute({
  method: 'post',
  path: '/v1/exports',
  tags: ['Exports'],
  summary: 'Orders an export: all rows of a query as one file',
  description:
    'Takes the parameters of /v1/readings as members of a JSON object, and format (parquet where none is named). What it can cost at most is held, and what is in the file is charged when it is whole; an offer of POST /v1/quotes for the same query holds here too. The same query is paid once: made again later, also in another format, it costs nothing. Files that cost nothing have half of the hub’s room, and the oldest of them may go before "expires". Send an Idempotency-Key to order once however often you ask.',
  security: keyOrId,
  request: {
    query: queryOf({}),
    body: { required: true, content: { 'application/json': { schema: exportQuery } } },
  },
  responses: {
    202: {
      ...okJson(exportSchema, 'It is taken on'),
      headers: headers('Location', 'Payment-Response', 'Retry-After'),
    },
    ...orFail,
  },
})

const listRoute = createRoute({
  method: 'get',
  path: '/v1/exports',
  tags: ['Exports'],
  summary: 'Exports of the account, the newest hundred',
  security: [{ key: [] }],
  request: { query: queryOf({}) },
  responses: { 200: okJson(exportsSchema, 'Newest first'), ...orFail },
})

const statusRoute = createRoute({
  method: 'get',
  path: '/v1/exports/{id}',
  tags: ['Exports'],
  summary: 'How an export is, and where its file is',
  security: keyOrId,
  request: { query: queryOf({}), params: exportId },
  responses: { 200: okJson(exportSchema, 'How it is', 'Retry-After'), ...orFail },
})

const removeRoute = createRoute({
  method: 'delete',
  path: '/v1/exports/{id}',
  tags: ['Exports'],
  summary: 'Gives an export up, or removes its file',
  description: 'One that is not finished costs nothing then.',
  security: keyOrId,
  request: { query: queryOf({}), params: exportId },
  responses: { 204: { description: 'It is gone' }, ...orFail },
})

const bytes = { schema: { type: 'string', format: 'binary' } } as const

const fileRoute = createRoute({
  method: 'get',
  path: '/v1/exports/{id}/{file}',
  tags: ['Exports'],
  summary: 'The file of an export, whole or in part',
  description: 'Range, If-Range, If-Match and If-None-Match count (RFC 9110); the entity tag is strong.',
  security: keyOrId,
  request: {
    query: queryOf({}),
    params: exportId.extend({
      file: z
        .string()
        .regex(/^[a-z]{1,32}\.[a-z]{1,16}$/, 'takes the name of the file')
        .openapi({ description: 'As in "files"' }),
    }),
  },
  responses: {
    200: {
      description: 'The file',
      headers: headers('Accept-Ranges', 'Content-Disposition', 'ETag', 'Repr-Digest'),
      content: rowsContent(readingsSchema),
    },
    206: {
      description: 'The part that Range asks for',
      headers: headers('Accept-Ranges', 'Content-Disposition', 'Content-Range', 'ETag', 'Repr-Digest'),
      content: Object.fromEntries(formats.map(({ mediaType }) => [mediaType, bytes])),
    },
    ...notModified,
    ...orFail,
  },
})

// Typed and small, and what data sets are kept in.
const usualFormat = 'parquet'

const mostListed = 100

// Written in seconds, mostly.
const lookAgainS = 2

/** A plan of what there is by now: what comes later is for another export. */
const untilNow = (plan: Plan, nowMs: number): Plan => {
  if (plan.selection.fromMs < nowMs) return planCut(plan, nowMs)
  throw new Problem(
    fault('invalid-query', 'from is in the future', {
      fields: [{ name: 'from', detail: 'is in the future; an export is of what was measured' }],
    }),
  )
}

/** Adds the routes. */
export const addExports = (app: Api, deps: MarketDeps, exports: Exports): void => {
  const { nowMs, evidence, till } = deps

  const keyOf = (c: Context): ApiKey | undefined => till?.allowed(till.keyOf(c), 'read')

  /** An export for whoever may see it. */
  const exportFor = (c: Context, id: string): Export => {
    const key = keyOf(c)
    const one = exports.find(id)
    if (one !== undefined && (one.apiKey === undefined || one.owner === key?.customer)) return one
    if (till !== undefined && key === undefined)
      throw new Problem(noKey('this needs the API key that ordered it'))
    throw new Problem(fault('not-found', `there is no export ${id}`))
  }

  const priceOf = ({ id, owner, receipt, state }: Export): number | null => {
    if (state !== 'done' && state !== 'expired') return null
    return receipt === id ? Number(till?.sales.sale(owner, id)?.priceMicroUsd ?? 0) : 0
  }

  const view = (one: Export) => {
    const { id, plan, format, state, file, createdMs, detail } = one
    const { fromMs, toMs } = plan.selection
    const isDone = state === 'done'
    const { rows = 0, percent = 0 } = exports.progress(id) ?? {}
    const { mediaType } = formats.find(({ name }) => name === format)!
    return {
      id,
      state: state === 'written' ? ('working' as const) : state,
      ...(detail === undefined ? {} : { detail }),
      format,
      from: timeText(fromMs),
      to: timeText(toMs),
      created: timeText(createdMs),
      rows: file?.rows ?? rows,
      percent: file === undefined ? percent : 100,
      mostMicroUsd: Number(one.mostMicroUsd),
      priceMicroUsd: priceOf(one),
      receipt: one.receipt ?? null,
      expires: isDone ? timeText(exports.expiresMs(one)) : null,
      files:
        isDone && file !== undefined ? [{ ...file, href: `/v1/exports/${id}/${file.name}`, mediaType }] : [],
      ...(isDone
        ? { croissant: `/v1/exports/${id}/croissant.json`, dcat: `/v1/exports/${id}/dcat.jsonld` }
        : {}),
    }
  }

  const expired = ({ plan: { selection } }: Export): Problem =>
    new Problem(
      fault(
        'export-expired',
        `it was from ${timeText(selection.fromMs)} to ${timeText(selection.toMs)}, and is kept no longer`,
      ),
    )

  /** Takes an order from whoever pays for it on the spot. */
  const collected = (c: Context, seller: Till, order: Omit<ExportOrder, 'owner'>, { most }: Counted) => {
    const hash = seller.queryHash(queryText(order.plan))
    const amount =
      order.offer !== undefined && order.offer.mostMicroUsd < most ? order.offer.mostMicroUsd : most
    const sellTo = ({ customer, once, terms }: Paying): Export | undefined => {
      const offer =
        terms === undefined
          ? order.offer
          : { mostMicroUsd: terms.mostMicroUsd, hash: seller.queryHash(terms.text) }
      const paid = { ...order, owner: customer, once, ...(offer === undefined ? {} : { offer }) }
      const made = exports.order(paid, most)
      if (made.ok) return made.one
      if (made.slug === 'credit-exhausted') return undefined
      throw new Problem(made)
    }
    return seller.collect(c, order.asked, amount, sellTo, seller.makeOffer(hash, most))
  }

  app.openapi(orderRoute, async (c) => {
    const { format = usualFormat, ...query } = c.req.valid('json')
    const planned = orProblem(planReadings(query, nowMs(), () => findStations(query, evidence)))
    const plan = untilNow(planned.plan, nowMs())
    const key = keyOf(c)
    const owner = key?.customer ?? ''
    const once = idempotencyKeyIn(c)
    const offer = till?.offerIn(c, till.queryHash(queryText(plan)))
    const order = {
      plan,
      format,
      asked: `export ${format} ${plan.text}`,
      ...(once === undefined ? {} : { once }),
      ...(offer === undefined ? {} : { offer }),
    }
    const before = exports.before({ ...order, owner })
    const take = async (): Promise<Export> => {
      const counted = orProblem(await exports.count(plan, owner))
      if (till !== undefined && key === undefined && counted.most > 0n)
        return collected(c, till, order, counted)
      const byKey = key === undefined ? {} : { apiKey: key.id }
      return orProblem(exports.order({ ...order, owner, ...byKey }, counted.most)).one
    }
    const one = before === undefined ? await take() : orProblem(before).one
    c.header('location', `/v1/exports/${one.id}`)
    c.header('retry-after', `${lookAgainS}`)
    c.header('cache-control', 'no-store')
    return c.json(view(one), 202)
  })

  if (till !== undefined)
    app.openapi(listRoute, (c) => {
      const { customer } = till.withScope(c, 'read')
      c.header('cache-control', 'no-store')
      return c.json({ exports: exports.list(customer, mostListed).map(view) }, 200)
    })

  app.openapi(statusRoute, (c) => {
    const one = exportFor(c, c.req.valid('param').id)
    if (one.state === 'expired') throw expired(one)
    c.header('cache-control', 'no-store')
    if (one.state !== 'done' && one.state !== 'failed') c.header('retry-after', `${lookAgainS}`)
    return c.json(view(one), 200)
  })

  app.openapi(removeRoute, async (c) => {
    await exports.remove(exportFor(c, c.req.valid('param').id))
    return c.body(null, 204)
  })

  addExportDescriptions(app, deps, exportFor)

  app.openapi(fileRoute, async (c): Promise<Response> => {
    const { id, file: name } = c.req.valid('param')
    const one = exportFor(c, id)
    const { state, file } = one
    if (state === 'expired' || (state === 'done' && !(await exports.exists(id)))) throw expired(one)
    if (state !== 'done' || file === undefined || file.name !== name)
      throw new Problem(fault('not-found', `export ${id} is ${view(one).state} and has no file ${name}`))
    const { contentType } = formats.find(({ name }) => name === one.format)!
    return sendFile(
      c,
      { path: exports.path(id), bytes: file.bytes, sha256: file.sha256, name, contentType },
      one.plan,
    )
  })
}
