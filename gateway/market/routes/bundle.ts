/** /v1/bundle: everything needed to check a query's readings offline, as one CBOR file. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { bundleContentType } from '../../reading/bundle.ts'
import type { Selection } from '../../store/store.ts'
import { type Api, type MarketDeps, orFail } from '../api.ts'
import { findStations } from '../area.ts'
import { type BuiltBundle, buildBundle } from '../bundle.ts'
import { proofRetryS } from '../due.ts'
import type { Gate } from '../gate.ts'
import { headers } from '../headers.ts'
import { type Fault, fault, orProblem, Problem } from '../problem.ts'
import { planScope, scopeQuery } from '../query.ts'
import { stampText, timeText } from '../time.ts'

/** Headers of a bundle. */
export const bundleHeaders = headers('Anchored-Until', 'Content-Disposition')

const bundleRoute = createRoute({
  method: 'get',
  path: '/v1/bundle',
  tags: ['Proof'],
  summary: 'The proof of a query’s readings',
  description:
    'Signed envelopes, keys, batch statements, inclusion proofs and transactions of what is anchored. "groundtruth verify FILE" checks it, trusting nobody.',
  request: { query: scopeQuery },
  responses: {
    200: {
      description: 'The bundle, as a file',
      headers: bundleHeaders,
      content: { [bundleContentType]: { schema: { type: 'string', format: 'binary' } } },
    },
    ...orFail,
  },
})

type Unbuilt = Extract<BuiltBundle, { readonly ok: false }>

const faultOf = ({ reason, detail }: Unbuilt, retryAfterS: number): Fault => {
  switch (reason) {
    case 'unknown-station':
    case 'no-evidence':
      return fault('not-found', detail)
    case 'not-anchored':
      return fault('not-anchored-yet', detail, { retryAfterS })
    case 'too-large':
      return fault('query-too-large', detail, {
        fields: [{ name: 'from', detail: 'move it nearer to "to"' }],
      })
    case 'damaged':
      return fault('evidence-damaged', detail)
  }
}

/** Answers with the bundle of a selection, and in it the receipt (COSE) of the sale that it was bought by. */
export type SendBundle = (c: Context, selection: Selection, receipt?: Uint8Array) => Promise<Response>

/** Adds the route; gives what answers with a bundle. */
export const addBundle = (app: Api, deps: MarketDeps, gate: Gate): SendBundle => {
  const { nowMs, anchors, evidence, report, till, hubKey } = deps
  const send: SendBundle = async (c, selection, receipt) => {
    const sale = receipt && { hubKey, receipt }
    const built = await gate(() => buildBundle(deps, selection, sale))
    if (!built.ok) {
      if (built.reason === 'damaged') report(new Error(built.detail))
      throw new Problem(faultOf(built, proofRetryS(anchors.status(), deps)))
    }
    const name = `groundtruth-${stampText(selection.fromMs)}-${stampText(selection.toMs)}.cbor`
    c.header('content-type', bundleContentType)
    c.header('content-disposition', `attachment; filename="${name}"`)
    if (built.anchoredToMs !== null) c.header('anchored-until', timeText(built.anchoredToMs))
    return c.body(new Uint8Array(built.bytes))
  }
  app.openapi(bundleRoute, (c): Promise<Response> => {
    const query = c.req.valid('query')
    const { stations } = orProblem(findStations(query, evidence))
    const { selection } = orProblem(planScope(query, nowMs(), stations))
    if (till !== undefined) {
      // It holds the readings: where they are sold it belongs to a purchase, or to the station's owner.
      const own = till.sales.keys.ownStations(till.withScope(c, 'read').customer)
      if (stations === undefined || !stations.every((station) => own.has(station)))
        throw new Problem(
          fault(
            'payment-required',
            'buy the readings; their proof is at /v1/receipts/{id}/bundle, for nothing',
          ),
        )
    }
    return send(c, selection)
  })
  return send
}
