/** /v1/sla: what is promised of each product, and how well it was kept. */
import { createRoute } from '@hono/zod-openapi'
import type { SlaCounts } from '../../sales/sla-book.ts'
import { type Api, caching, type MarketDeps, okJson, orFail } from '../api.ts'
import { queryOf } from '../parameters.ts'
import { slaSchema } from '../sale-schemas.ts'
import type { Till } from '../till.ts'
import { timeText } from '../time.ts'

const slaRoute = createRoute({
  method: 'get',
  path: '/v1/sla',
  tags: ['Buying'],
  summary: 'What is promised, how often it was kept, and what was credited',
  description:
    'Every paid query of /v1/latest and /v1/readings is measured when it is sold; what falls short is credited at once, and said in the headers SLA-Reached and SLA-Credit. Sensors of /v1/readings count by what was paid for each; owners and hub bear a credit alike. Free answers are not measured, nor what is a buyer’s own. Counts are in steps of five minutes.',
  request: { query: queryOf({}) },
  responses: { 200: okJson(slaSchema, 'Promises, and counts of what was sold'), ...orFail },
})

/** Adds the route to an API that sells. */
export const addSla = (app: Api, { nowMs }: MarketDeps, { sales, sla, usdText }: Till): void => {
  const countsView = ({ period, measured, met, creditedMicroUsd }: SlaCounts) => ({
    period,
    measured,
    met,
    share: measured === 0 ? null : Math.floor((met * 1e4) / measured) / 1e4,
    creditedMicroUsd: Number(creditedMicroUsd),
    creditedUsd: usdText(creditedMicroUsd),
  })

  app.openapi(slaRoute, (c) => {
    const now = nowMs()
    const counts = sales.sla.counts(now)
    const of = (product: SlaCounts['product']) =>
      counts.filter((one) => one.product === product).map(countsView)
    c.header('cache-control', caching.changing)
    return c.json(
      {
        time: timeText(now),
        mostCredit: sla.mostCreditPermille / 1000,
        latest: { maxAgeS: sla.latestMaxAgeMs / 1000, periods: of('latest') },
        readings: { completeness: sla.completenessPermille / 1000, periods: of('readings') },
      },
      200,
    )
  })
}
