/** The market's door for programs and people: one HTTP API over what the hub knows. Pure of sockets. */
import { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { compress } from 'hono/compress'
import { cors } from 'hono/cors'
import { HTTPException } from 'hono/http-exception'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { secureHeaders } from 'hono/secure-headers'
import { timeout } from 'hono/timeout'
import { type Api, caching, type MarketDeps } from './api.ts'
import { answerMs, faultOf } from './failure.ts'
import { openGate } from './gate.ts'
import { limitBodies, limitRates } from './limits.ts'
import { meterRequests, meterSubscriptions } from './metrics.ts'
import { fieldFaults } from './parameters.ts'
import { type Fault, fault, Problem, problemResponse } from './problem.ts'
import { addAccount } from './routes/account.ts'
import { addBatches } from './routes/batches.ts'
import { addBundle } from './routes/bundle.ts'
import { addCatalogue } from './routes/catalogue.ts'
import { addCheckout } from './routes/checkout.ts'
import { addExports } from './routes/exports.ts'
import { addInflux, influxFault, influxRoot, noteInfluxKey } from './routes/influx.ts'
import { addMcp } from './routes/mcp.ts'
import { addPurchases } from './routes/purchases.ts'
import { addReadings } from './routes/readings.ts'
import { addRefusals } from './routes/refusals.ts'
import { addSample } from './routes/sample.ts'
import { addSite } from './routes/site.ts'
import { addSla } from './routes/sla.ts'
import { addSta } from './routes/sta.ts'
import { addStations } from './routes/stations.ts'
import { addStatus } from './routes/status.ts'
import { addStream } from './routes/stream.ts'
import { addSubscriptions } from './routes/subscriptions.ts'
import { addTopUp } from './routes/topup.ts'

export type { MarketDeps, PartState } from './api.ts'

// Far above any honest query: 64 quantity names and a cursor.
const maxAddressLength = 4096

// Answers are made in memory, 10,000 rows at most: so many at once fit beside the rest of a hub on a Pi.
const mostQueries = 8
const mostWaiting = 64

// A bundle can have 64 MB, and making one keeps a core busy.
const mostBundles = 2
const mostBundlesWaiting = 16

// Verifying keeps the whole process busy, bundle by bundle.
const mostVerified = 1
const mostVerifiedWaiting = 8

// Headers that are about the answer that was being made, and wrong of a problem.
const ofTheAnswer = ['accept-ranges', 'content-disposition', 'etag', 'link', 'price', 'repr-digest']

/** The application; `app.request('/v1/...')` answers without a socket, `serve.ts` puts it on one. */
export const createApi = (deps: MarketDeps): Api => {
  const app: Api = new OpenAPIHono({
    defaultHook: (result) => {
      if (result.success) return
      throw new Problem(
        fault('invalid-query', 'the request has parameters that cannot be used', {
          fields: fieldFaults(result.error),
        }),
      )
    },
  })
  const answerFault = (c: Context, wrong: Fault): Response =>
    c.req.path.startsWith(influxRoot) ? influxFault(c, wrong, deps) : problemResponse(wrong)
  app.onError((error, c) => {
    // What was said already of the answer that did not come about.
    for (const name of ofTheAnswer) c.res.headers.delete(name)
    return answerFault(c, faultOf(error, deps.report))
  })
  app.notFound((c) => answerFault(c, fault('not-found', `there is nothing at ${c.req.path}`)))

  app.use(meterRequests(deps.metrics, deps.version, deps.evidence))
  app.use(
    compress({
      contentTypeFilter: /^(text\/(?!event-stream)|application\/((.*\+)?json|x-ndjson|cbor))/,
    }),
  )
  app.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
        objectSrc: ["'none'"],
      },
      // Data is for every page of the web; whether the hub is behind TLS is its proxy's to say.
      crossOriginResourcePolicy: 'cross-origin',
      strictTransportSecurity: false,
      xFrameOptions: 'DENY',
    }),
  )
  app.use(
    cors({
      origin: '*',
      allowMethods: ['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS'],
      allowHeaders: [
        'Authorization',
        'Content-Type',
        'Idempotency-Key',
        'If-Match',
        'If-None-Match',
        'If-Range',
        'Last-Event-ID',
        'MCP-Protocol-Version',
        'Offer',
        'Payment-Signature',
        'Range',
        'X-API-Key',
      ],
      exposeHeaders: [
        'ETag',
        'Link',
        'Retry-After',
        'Content-Disposition',
        'Content-Range',
        'Accept-Ranges',
        'Location',
        'Repr-Digest',
        'Anchored-Until',
        'Price',
        'Receipt-Id',
        'SLA-Credit',
        'SLA-Reached',
        'Credits-Remaining',
        'Budget-Remaining',
        'Budget-Alarm',
        'RateLimit',
        'RateLimit-Policy',
        'Content-Digest',
        'Payment-Required',
        'Payment-Response',
      ],
      maxAge: 86_400,
    }),
  )
  app.use('/influx/*', noteInfluxKey)
  if (deps.limits !== undefined) app.use(limitRates(deps.limits, deps.nowMs, (c) => deps.till?.keyIdOf(c)))
  app.use(limitBodies())
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) =>
        answerFault(
          c,
          fault('method-not-allowed', `${c.req.method} does not work here`, {
            headers: { allow: methods.join(', ') },
          }),
        ),
    }),
  )
  app.use(async (c, next) => {
    if (c.req.url.length > maxAddressLength)
      throw new Problem(fault('uri-too-long', `at most ${maxAddressLength} characters are read`))
    await next()
    if (!c.res.headers.has('cache-control')) c.header('cache-control', caching.changing)
  })
  for (const path of ['/v1/*', '/sta/*', '/influx/*'])
    app.use(path, timeout(answerMs, new HTTPException(504)))

  const gate = openGate(mostQueries, mostWaiting)
  addStations(app, deps)
  const runPriced = addReadings(app, deps, gate)
  addSample(app, deps, gate)
  addCatalogue(app, deps)
  addSta(app, deps, gate)
  const sendBundle = addBundle(app, deps, openGate(mostBundles, mostBundlesWaiting))
  if (deps.exports !== undefined) addExports(app, deps, deps.exports)
  if (deps.live !== undefined) addStream(app, deps, deps.live)
  if (deps.till !== undefined) {
    addAccount(app, deps, deps.till)
    if (deps.till.rail !== undefined) addTopUp(app, deps, deps.till)
    addSla(app, deps, deps.till)
    addPurchases(app, deps, deps.till, runPriced, sendBundle)
    if (deps.desk !== undefined) {
      addSubscriptions(app, deps.till, deps.desk)
      meterSubscriptions(deps.metrics, deps.desk.book)
    }
    if (deps.till.cards !== undefined) addCheckout(app, deps, deps.till, deps.till.cards)
    if (deps.verifyBundle !== undefined)
      addMcp(app, deps, deps.verifyBundle, openGate(mostVerified, mostVerifiedWaiting))
    app.openAPIRegistry.registerComponent('securitySchemes', 'key', {
      type: 'http',
      scheme: 'bearer',
      description: 'An API key, from POST /v1/keys',
    })
  }
  addInflux(app, deps, gate)
  addBatches(app, deps)
  addRefusals(app, deps)
  addStatus(app, deps)
  addSite(app, deps)
  return app
}
