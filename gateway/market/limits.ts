/** How often somebody may ask, and how much may be sent: for keys, and for addresses without one. */
import { isIPv6 } from 'node:net'
import type { Context, MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { matchedRoutes } from 'hono/route'
import { fault, Problem } from './problem.ts'

/** Limits as they are configured; `trustProxy`: whether X-Forwarded-For is by a proxy of the hub's own. */
export type RateLimits = {
  readonly perMinuteAddress: number
  readonly perMinuteKey: number
  readonly signUpsPerHour: number
  readonly trustProxy: boolean
}

// What JSON here takes; an event of the card service may have more in it.
const bodyBytes = 16 * 1024
const webhookBytes = 64 * 1024
const webhooks = '/v1/webhooks/'

// Some hundred bytes each. Whoever has more addresses than this is not held back by counting them.
const mostBuckets = 20_000

/** One bucket's answer: whether there was a token, how many there are, and seconds until one, and until all are back. */
export type Taken = {
  readonly ok: boolean
  readonly left: number
  readonly nextS: number
  readonly fullS: number
}

/** A token bucket for each name: `quota` at once, and as many in `windowS`. The least recent go when there are too many. */
export const openBuckets = (quota: number, windowS: number, most: number = mostBuckets) => {
  // Counted in parts of a token, so that all numbers are whole: `quota` parts come back each millisecond.
  const token = windowS * 1000
  const full = quota * token
  const buckets = new Map<string, { parts: number; atMs: number }>()
  return {
    quota,
    windowS,
    take: (name: string, nowMs: number): Taken => {
      const before = buckets.get(name)
      // A clock that is set back gives nothing, and takes nothing.
      const passedMs = Math.max(0, nowMs - (before?.atMs ?? nowMs))
      const parts = Math.min(full, (before?.parts ?? full) + passedMs * quota)
      const ok = parts >= token
      const left = ok ? parts - token : parts
      buckets.delete(name)
      buckets.set(name, { parts: left, atMs: nowMs })
      if (buckets.size > most) buckets.delete(buckets.keys().next().value!)
      const secondsTo = (wanted: number): number => Math.max(0, Math.ceil((wanted - left) / quota / 1000))
      return { ok, left: Math.floor(left / token), nextS: secondsTo(token), fullS: secondsTo(full) }
    },
    size: (): number => buckets.size,
  }
}

type Buckets = ReturnType<typeof openBuckets>

/** One name for whoever has an address: of IPv6 the first 64 bits, as the rest is free to choose for one customer. */
export const addressName = (address: string): string => {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '')
  if (!isIPv6(plain)) return plain
  const [head = '', tail] = plain.toLowerCase().split('::')
  const groups = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros =
    tail === undefined ? [] : new Array<string>(Math.max(0, 8 - groups.length - after.length)).fill('0')
  return [...groups, ...zeros, ...after]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
}

/** Where a request comes from; its last hop where a proxy of ours tells it. One name for all where there is no socket. */
export const addressOf = (c: Context, trustProxy: boolean): string => {
  const env = c.env as { incoming?: { socket?: { remoteAddress?: string } } } | undefined
  const forwarded = trustProxy ? c.req.header('x-forwarded-for')?.split(',').at(-1)?.trim() : undefined
  return addressName((forwarded || env?.incoming?.socket?.remoteAddress || 'none').slice(0, 64))
}

/**
 * Counts requests, by the key where one counts and by the address otherwise; answers carry RateLimit and
 * RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10 s3, s4). `keyOf` gives the id of a request's key.
 */
export const limitRates = (
  limits: RateLimits,
  nowMs: () => number,
  keyOf: (c: Context) => string | undefined,
): MiddlewareHandler => {
  const addresses = openBuckets(limits.perMinuteAddress, 60)
  const keys = openBuckets(limits.perMinuteKey, 60)
  const signUps = openBuckets(limits.signUpsPerHour, 3600)
  return async (c, next) => {
    const key = keyOf(c)
    const address = addressOf(c, limits.trustProxy)
    const counted: [name: string, buckets: Buckets, taken: Taken][] = []
    const count = (name: string, buckets: Buckets, of: string): boolean => {
      const taken = buckets.take(of, nowMs())
      counted.push([name, buckets, taken])
      return taken.ok
    }
    const isSignUp = key === undefined && c.req.method === 'POST' && c.req.path === '/v1/keys'
    const ok =
      (key === undefined ? count('address', addresses, address) : count('key', keys, key)) &&
      (!isSignUp || count('sign-up', signUps, address))
    const headers = {
      'ratelimit-policy': counted
        .map(([name, { quota, windowS }]) => `"${name}";q=${quota};w=${windowS}`)
        .join(', '),
      ratelimit: counted.map(([name, , { left, fullS }]) => `"${name}";r=${left};t=${fullS}`).join(', '),
    }
    if (!ok) {
      const [name, { quota, windowS }, { nextS }] = counted.at(-1)!
      throw new Problem(
        fault('rate-limited', `${quota} in ${windowS} s by "${name}" are answered`, {
          retryAfterS: Math.max(1, nextS),
          headers,
        }),
      )
    }
    await next()
    for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value)
  }
}

const hasBody = (c: Context): boolean => {
  if (c.req.header('transfer-encoding') !== undefined) return true
  const length = c.req.header('content-length')
  if (length !== undefined) return length !== '0'
  // Without both there is none in HTTP/1.1 (RFC 9112 s6.3), whatever is made of it: so DELETE comes from most clients.
  const env = c.env as { incoming?: { httpVersionMajor?: number } } | undefined
  return env?.incoming?.httpVersionMajor !== 1 && c.req.raw.body !== null
}

const isJson = (type: string | undefined): boolean => /^application\/json *(;|$)/i.test(type ?? '')

// Clients of InfluxDB send a form, and some of them without saying so.
const forms = '/influx/'
const isForm = (type: string | undefined): boolean =>
  type === undefined || /^application\/x-www-form-urlencoded *(;|$)/i.test(type)

/** Refuses bodies that are too long, before they are read, and such as are not of the kind that is read there. */
export const limitBodies = (): MiddlewareHandler => {
  const limited = (maxSize: number): MiddlewareHandler =>
    bodyLimit({
      maxSize,
      onError: () => {
        throw new Problem(fault('body-too-large', `at most ${maxSize} bytes are read`))
      },
    })
  const [usual, webhook] = [limited(bodyBytes), limited(webhookBytes)]
  return async (c, next) => {
    const { method, path } = c.req
    // Middleware stands under ALL. What no route takes is never read, and answered with its own problem.
    const isTaken = method !== 'GET' && matchedRoutes(c).some((route) => route.method === method)
    if (!isTaken || !hasBody(c)) return next()
    const type = c.req.header('content-type')
    const isRead = path.startsWith(forms) ? isForm(type) : isJson(type)
    if (!isRead)
      throw new Problem(
        fault(
          'unsupported-media-type',
          `a body is ${path.startsWith(forms) ? 'application/x-www-form-urlencoded' : 'application/json'} here`,
        ),
      )
    return (path.startsWith(webhooks) ? webhook : usual)(c, next)
  }
}
