/** /mcp: the same API as tools of the Model Context Protocol. */
import { z } from '@hono/zod-openapi'
import { type Api, type MarketDeps, okJson, orFail } from '../api.ts'
import type { Gate } from '../gate.ts'

// Whose request it is, for the API as for this door.
const carried = ['authorization', 'x-api-key', 'x-forwarded-for'] as const

const message = z.looseObject({ jsonrpc: z.literal('2.0') }).openapi('McpMessage', {
  description: 'A message of JSON-RPC 2.0',
  example: { jsonrpc: '2.0', id: 1, method: 'tools/list' },
})

/** Adds the route to an API that sells. What it needs is loaded when somebody comes. */
export const addMcp = (
  app: Api,
  { version, nowMs }: MarketDeps,
  verifyBundle: NonNullable<MarketDeps['verifyBundle']>,
  gate: Gate,
): void => {
  // Described here and read by the door itself, which answers mistakes in the protocol's own words.
  app.openAPIRegistry.registerPath({
    method: 'post',
    path: '/mcp',
    tags: ['Buying'],
    summary: 'The same as tools for language models',
    description:
      'Model Context Protocol, revision 2025-11-25, streamable HTTP without sessions. Tools: find_stations, sample, quote, query_readings, verify_bundle, budget. The API key stands in the Authorization header.',
    security: [{ key: [] }],
    request: { body: { content: { 'application/json': { schema: message } } } },
    responses: {
      200: okJson(z.union([message, z.array(message)]), 'The answer to the message, or to each of them'),
      202: { description: 'Taken: a notification has no answer' },
      // Of the protocol, or of what stands in front of it: a key, a limit, the body.
      '4XX': {
        description: 'What is wrong with the message, in the words of JSON-RPC; or a problem (RFC 9457)',
        headers: orFail.default.headers,
        content: { ...okJson(message, '').content, ...orFail.default.content },
      },
      ...orFail,
    },
  })
  app.post('/mcp', async (c): Promise<Response> => {
    const own = Object.fromEntries(
      carried.flatMap((name) => {
        const value = c.req.header(name)
        return value === undefined ? [] : [[name, value] as const]
      }),
    )
    const { origin } = new URL(c.req.url)
    const ask = async (path: string, { method = 'GET', headers = {} } = {}): Promise<Response> =>
      app.request(`${origin}${path}`, { method, headers: { ...headers, ...own } }, c.env)
    c.header('cache-control', 'no-store')
    const { answerMcp } = await import('../doors/mcp.ts')
    return answerMcp(c.req.raw, { version, nowMs, ask, verifyBundle, gate })
  })
}
