/**
 * The door for language models: tools of the Model Context Protocol (revision 2025-11-25, streamable HTTP, no sessions).
 * Each tool is a request to the API itself, with the caller's own key: prices, limits and books are the API's.
 */
import { createHash } from 'node:crypto'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js'
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js'
import { z } from 'zod'
import type { Report } from '../../verify/report.ts'
import type { Gate } from '../gate.ts'
import { fault, Problem, problemResponse } from '../problem.ts'
import { parseTime, resolveTime } from '../time.ts'

/** What the tools work with. `ask` answers as the API does, for whoever sent the request that is being served. */
export type McpDoor = {
  readonly version: string
  readonly nowMs: () => number
  readonly ask: (
    path: string,
    init?: { readonly method?: string; readonly headers?: Record<string, string> },
  ) => Promise<Response>
  readonly verifyBundle: (bytes: Uint8Array) => Promise<Report>
  /** Verifying keeps a core busy. */
  readonly gate: Gate
}

// A second or so of work; a larger one is for the buyer's own machine.
const mostBundleBytes = 8 * 1024 * 1024

// What a model reads in one go; the rest follows by the cursor.
const usualRows = 100

const text = (description: string) => z.string().max(1024).describe(description).optional()

const area = {
  near: text('Only stations so near: latitude,longitude,distance, such as 48.2,16.37,25km'),
  bbox: text('Only stations in this box of degrees: west,south,east,north'),
  h3: text('Only stations within this H3 cell'),
}

const place = {
  ...area,
  limit: z.int().min(1).max(1000).default(usualRows).describe('Most stations in one answer'),
  after: text('Goes on after the station with this id'),
}

const query = {
  station: z
    .string()
    .max(4096)
    .optional()
    .describe('Only the station with this id, or those with these ids, commas between them'),
  ...area,
  sensor: text('Only the sensor with this id'),
  quantity: z
    .array(z.string().max(64))
    .max(64)
    .optional()
    .describe('Only these quantities, such as temperature or pm2_5; GET /v1/quantities lists them'),
  from: text('Start, inclusive: RFC 3339, milliseconds since 1970, or back from now as -1h (the default)'),
  to: text('End, exclusive; same forms; default now'),
  every: text('One value per interval of this length, such as 5m, instead of single readings'),
  fn: z
    .enum(['mean', 'min', 'max', 'sum', 'count'])
    .optional()
    .describe('How values of an interval become one'),
  min_quality: z.number().min(0).max(1).optional().describe('Only readings with at least this score'),
}

type Query = z.output<z.ZodObject<typeof query>>

const searchOf = (values: Readonly<Record<string, unknown>>): string => {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(values))
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== undefined) search.append(name, typeof one === 'number' ? plainNumber(one) : String(one))
  return `${search}`
}

/** Without an exponent, as the API reads scores. */
const plainNumber = (value: number): string =>
  Number.isInteger(value) ? `${value}` : value.toFixed(6).replace(/0+$/, '')

const told = (...texts: readonly string[]): CallToolResult => ({
  content: texts.map((one) => ({ type: 'text', text: one })),
})

/** The problem of an answer, as the tool's error. */
const refused = async (response: Response): Promise<CallToolResult> => ({
  ...told(await response.text()),
  isError: true,
})

const microUsd = (response: Response, name: string): number | null => {
  const value = response.headers.get(name)
  return value === null ? null : Number(value)
}

const serverOf = ({ version, nowMs, ask, verifyBundle, gate }: McpDoor): McpServer => {
  const server = new McpServer(
    { name: 'groundtruth', version },
    {
      instructions:
        'Signed readings of environmental sensors. find_stations, sample and quote are free. query_readings costs what quote says and needs an API key in the Authorization header of this connection (Bearer); give it the offer, from and to of the quote to be sure of the price. The first page pays for all of its pages.',
    },
  )
  const free = { readOnlyHint: true, openWorldHint: false } as const

  const passed = async (response: Response): Promise<CallToolResult> =>
    response.ok ? told(await response.text()) : refused(response)

  server.registerTool(
    'find_stations',
    {
      description: 'Stations with their place, sensors and quantities. Costs nothing.',
      inputSchema: z.strictObject(place),
      annotations: free,
    },
    async (asked) => passed(await ask(`/v1/stations?${searchOf(asked)}`)),
  )

  server.registerTool(
    'sample',
    {
      description:
        'Some real readings of a station, or of the network, to look at before buying. Costs nothing.',
      inputSchema: z.strictObject({ station: query.station }),
      annotations: free,
    },
    async (asked) => passed(await ask(`/v1/sample?${searchOf({ ...asked, format: 'json' })}`)),
  )

  /** A query's times as numbers, so that an offer made for it holds for it later. */
  const fixed = (asked: Query): Query => {
    const ms = (name: 'from' | 'to'): string | undefined => {
      const given = asked[name]
      const parsed = given === undefined ? undefined : parseTime(given)
      // What cannot be read is told by the API.
      return parsed?.ok ? `${resolveTime(parsed.time, nowMs())}` : given
    }
    const to = ms('to') ?? `${nowMs()}`
    const start = ms('from')
    const from = start ?? (/^\d+$/.test(to) ? `${Math.max(0, Number(to) - 3_600_000)}` : undefined)
    return { ...asked, from, to }
  }

  server.registerTool(
    'quote',
    {
      description:
        'What a query costs, and an offer that binds the hub to that price for 15 minutes. Costs nothing. Give offer, from and to of the answer to query_readings.',
      inputSchema: z.strictObject(query),
      annotations: free,
    },
    async (asked) => {
      const { from, to, ...rest } = fixed(asked)
      const response = await ask(`/v1/quotes?${searchOf({ ...rest, from, to })}`, { method: 'POST' })
      if (!response.ok) return refused(response)
      return told(JSON.stringify({ ...((await response.json()) as object), from, to }))
    },
  )

  server.registerTool(
    'query_readings',
    {
      description:
        'Readings, for the price that quote says; it is taken from the credit of the API key. The first part of the answer says what was paid and the id of the signed receipt, the second has the readings and "next", the cursor of the next page, which costs nothing more.',
      inputSchema: z.strictObject({
        ...query,
        limit: z.int().min(1).max(1000).default(usualRows).describe('Most rows in one answer'),
        cursor: text('Goes on where a page ended; keep every other parameter as it was'),
        offer: z
          .string()
          .regex(/^[\w.-]{1,4096}$/)
          .optional()
          .describe('The offer of a quote for exactly this query'),
        order: z
          .string()
          .regex(/^[\x21-\x7e]{8,128}$/)
          .optional()
          .describe('A name for this order: the same order again gives the same answer and costs nothing'),
      }),
      annotations: {
        readOnlyHint: false,
        destructiveHint: false,
        idempotentHint: false,
        openWorldHint: false,
      },
    },
    async ({ offer, order, ...asked }) => {
      const headers: Record<string, string> = {
        ...(offer === undefined ? {} : { offer }),
        ...(order === undefined ? {} : { 'idempotency-key': order }),
      }
      const response = await ask(`/v1/readings?${searchOf({ ...asked, format: 'json' })}`, { headers })
      if (!response.ok) return refused(response)
      const sale = {
        priceMicroUsd: microUsd(response, 'price'),
        slaCreditMicroUsd: microUsd(response, 'sla-credit'),
        receipt: response.headers.get('receipt-id'),
        creditMicroUsd: microUsd(response, 'credits-remaining'),
        budgetMicroUsd: microUsd(response, 'budget-remaining'),
        contentDigest: response.headers.get('content-digest'),
      }
      return told(JSON.stringify(sale), await response.text())
    },
  )

  server.registerTool(
    'verify_bundle',
    {
      description:
        'Checks the proof of what was bought: signatures, inclusion in batches, order, and that nothing is left out. The hub itself checks here; whoever trusts nobody runs "groundtruth verify" on GET /v1/receipts/{id}/bundle. Costs nothing.',
      inputSchema: z.strictObject({
        receipt: z
          .string()
          .regex(/^[0-9a-f]{32}$/)
          .describe('Id of a receipt, as query_readings gives it'),
      }),
      annotations: free,
    },
    async ({ receipt }) => {
      const response = await ask(`/v1/receipts/${receipt}/bundle`)
      if (!response.ok) return refused(response)
      const bytes = new Uint8Array(await response.arrayBuffer())
      if (bytes.length > mostBundleBytes)
        return refused(
          problemResponse(
            fault(
              'query-too-large',
              `the bundle has ${bytes.length} bytes; up to ${mostBundleBytes} are verified here`,
            ),
          ),
        )
      let report: Report
      try {
        report = await gate(() => verifyBundle(bytes))
      } catch (error) {
        if (error instanceof Problem) return refused(problemResponse(error.fault))
        throw error
      }
      const { ok, complete, failure, steps, network, scope, anchors, readings } = report
      const outcome = {
        verified: ok,
        complete,
        failure,
        readings: ok ? readings.length : 0,
        network,
        scope,
        steps: steps.map(({ name, state, text }) => ({ name, state, text })),
        anchors,
        bytes: bytes.length,
        sha256: createHash('sha256').update(bytes).digest('hex'),
      }
      return { ...told(JSON.stringify(outcome)), isError: !ok }
    },
  )

  server.registerTool(
    'budget',
    {
      description: 'What the API key of this connection may still spend. Costs nothing.',
      inputSchema: z.strictObject({}),
      annotations: free,
    },
    async () => passed(await ask('/v1/budget')),
  )
  return server
}

/** Answers one request of the protocol. */
export const answerMcp = async (request: Request, door: McpDoor): Promise<Response> => {
  const server = serverOf(door)
  const transport = new WebStandardStreamableHTTPServerTransport({ enableJsonResponse: true })
  await server.connect(transport)
  try {
    return await transport.handleRequest(request)
  } finally {
    await server.close()
  }
}
