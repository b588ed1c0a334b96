/** /v1/stream: readings as they come, as server-sent events. */
import { createRoute, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { toHex } from '../../reading/bytes.ts'
import type { ApiKey } from '../../sales/keys.ts'
import { type Api, type MarketDeps, orFail } from '../api.ts'
import { findStations } from '../area.ts'
import { eventStreamType, pulledBy } from '../event-stream.ts'
import { faultOf } from '../failure.ts'
import { addressOf } from '../limits.ts'
import { before, isAfter, type Mark, parseMark } from '../mark.ts'
import { meterStreams } from '../metrics.ts'
import { whereOf } from '../place.ts'
import { fault, orProblem, Problem } from '../problem.ts'
import { proofsOf } from '../proof.ts'
import { type StreamQuery, streamQuery } from '../query.ts'
import { segmentScope } from '../scope.ts'
import { openSeats } from '../seats.ts'
import { faultAt, heartbeatMs, type PaidSpan, type Purse, type Subject, streamEvents } from '../stream.ts'
import type { Till } from '../till.ts'
import { noKey } from '../unpaid.ts'

// A socket each, of the 512 that are served: the rest is for queries.
const mostStreams = 200
const mostStreamsEach = 10

const streamRoute = createRoute({
  method: 'get',
  path: '/v1/stream',
  tags: ['Readings'],
  summary: 'Readings as they come, as server-sent events',
  description: [
    'An event stream (WHATWG HTML, section 9.2) for EventSource or curl -N. It begins with an event "start"; each "reading" has a row of /v1/readings as its data; at its end "end" has a problem as its data that says why.',
    'Without Last-Event-ID it is of what is received from now on; with it, it goes on behind that event, for at most a day. The stations of an area are those that lie there when the stream is opened.',
    'Where data is sold, each reading is paid from the credit of the key when it is sent, and the base price once for the same question by the same key. About once a minute an event "account" tells the receipt of the readings since the last one, what they cost and what is left. The receipt’s "response" is SHA-256 over the data of these readings, a line feed behind each. Readings that were sent and not received come again for nothing, before an account without a receipt.',
  ].join('\n\n'),
  request: {
    query: streamQuery,
    headers: z.object({
      'last-event-id': z
        .string()
        .max(64)
        .optional()
        .openapi({ description: 'Goes on behind the event with this id' }),
    }),
  },
  responses: {
    200: {
      description: 'Events until one side ends it',
      content: { [eventStreamType]: { schema: z.string() } },
    },
    ...orFail,
  },
})

/** What was asked, in one string: the same for the same question, whatever is received. */
const askedText = (query: StreamQuery, stations: readonly string[] | undefined): string =>
  `stream ${JSON.stringify([whereOf(query) ?? null, stations ?? null, query.sensor ?? null, query.quantity ?? null, query.min_quality ?? null])}`

/** Adds the route. */
export const addStream = (app: Api, deps: MarketDeps, live: NonNullable<MarketDeps['live']>): void => {
  const { evidence, anchors, nowMs, till, limits, report, metrics } = deps
  const seats = openSeats(mostStreams, mostStreamsEach)
  meterStreams(metrics, () => seats.taken)
  const streamDeps = {
    ...live,
    evidence,
    nowMs,
    faultOf: (error: Error) => faultOf(error, report),
    silenceMs: live.silenceMs ?? heartbeatMs,
    proofOf: (station: string, seq: number) => proofsOf(anchors)(station, seq),
  }

  const markOf = async (c: Context, query: StreamQuery): Promise<Mark> => {
    const header = c.req.header('last-event-id')
    // An EventSource that has heard nothing yet may send an empty one.
    const text = header === '' ? undefined : header
    const mark = text === undefined ? query.last_event_id : parseMark(text)
    if (mark === undefined && text === undefined) return before(evidence.committed)
    if (mark === undefined) {
      const detail = 'takes the id of an event of this stream, such as 4711-3'
      throw new Problem(
        fault('invalid-query', `Last-Event-ID ${detail}`, { fields: [{ name: 'Last-Event-ID', detail }] }),
      )
    }
    const wrong = await faultAt(streamDeps, mark)
    if (wrong !== undefined) throw new Problem(wrong)
    return mark
  }

  /** Opens the tab that a stream is paid by; it is known again by its key and its question. */
  const purseOf = (till: Till, key: ApiKey, asked: string, from: Mark, subject: Subject): Purse => {
    const { tabs, keys } = till.sales
    const name = `stream:${key.id}:${toHex(till.saleHash(asked))}`
    const noted = tabs.noteOf(name)
    const before = noted === undefined ? undefined : (JSON.parse(noted) as PaidSpan)
    // Only what follows on what was paid before is one span with it.
    const span = before && !isAfter(before.from, from) && !isAfter(from, before.to) ? before : undefined
    const paid = { from: span?.from ?? from, to: span?.to ?? from }
    const own = keys.ownStations(key.customer)
    const { stations } = subject
    const opened = till.openTab({
      name,
      apiKey: key.id,
      asked,
      afford: stations === undefined || stations.some((station) => !own.has(station)),
      settled: () => tabs.note(name, JSON.stringify(paid satisfies PaidSpan)),
      scopeOf: (span) => JSON.stringify(segmentScope(span, subject)),
    })
    if (!opened.ok) throw new Problem(opened.fault)
    return {
      tab: opened.tab,
      paidTo: span?.to,
      delivered: (mark) => {
        paid.to = mark
      },
    }
  }

  app.openapi(streamRoute, async (c): Promise<Response> => {
    const query = c.req.valid('query')
    const { stations } = orProblem(findStations(query, evidence))
    const subject: Subject = {
      ...(stations === undefined ? {} : { stations }),
      ...(query.sensor === undefined ? {} : { sensor: query.sensor }),
      ...(query.quantity === undefined ? {} : { quantities: query.quantity }),
      ...(query.min_quality === undefined ? {} : { minScore: query.min_quality }),
    }
    if (till !== undefined && till.keyOf(c) === undefined)
      throw new Problem(
        noKey(
          'a stream is paid from the credit of an API key; POST /v1/keys gives one, or, for a payment by x402, POST /v1/topup',
        ),
      )
    const key = till?.withScope(c, 'read')
    const from = await markOf(c, query)
    c.header('content-type', eventStreamType)
    c.header('cache-control', 'no-store')
    // nginx would keep events to itself until it has a few kilobytes of them.
    c.header('x-accel-buffering', 'no')
    if (c.req.method === 'HEAD') return c.body(null)
    const seat = orProblem(seats.take(key?.customer ?? addressOf(c, limits?.trustProxy === true)))
    let purse: Purse | undefined
    try {
      if (till !== undefined && key !== undefined)
        purse = purseOf(till, key, askedText(query, stations), from, subject)
    } catch (error) {
      seat.leave()
      throw error
    }
    const cancelled = new AbortController()
    const events = streamEvents(streamDeps, subject, from, purse, cancelled.signal)
    return c.body(
      pulledBy(events, cancelled, () => {
        purse?.tab.close()
        seat.leave()
      }),
    )
  })
}
