/** /mcp: the same API as tools of the Model Context Protocol. */
import type { Api, MarketDeps } from '../api.ts'
import type { Gate } from '../gate.ts'

// Whose request it is, for the API as for this door.
const carried = ['authorization', 'x-api-key', 'x-forwarded-for'] as const

/** Adds the route to an API that sells. What it needs is loaded when somebody comes. */
export const addMcp = (
  app: Api,
  { version, nowMs }: MarketDeps,
  verifyBundle: NonNullable<MarketDeps['verifyBundle']>,
  gate: Gate,
): void => {
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
