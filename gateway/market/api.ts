/** What routes share: the application's type, what it is given, and how answers are sent. */
import { createHash, createHmac } from 'node:crypto'
import type { OpenAPIHono, z } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { Registry } from 'prom-client'
import type { Anchors } from '../anchor/anchor.ts'
import type { Evidence } from '../evidence/evidence.ts'
import type { SensorPace } from '../quality/quality.ts'
import type { Store } from '../store/store.ts'
import type { Report } from '../verify/report.ts'
import type { BatchAges } from './due.ts'
import type { Exports } from './exports/exports.ts'
import { type HeaderName, headers } from './headers.ts'
import type { RateLimits } from './limits.ts'
import { problemContentType } from './problem.ts'
import { problemSchema } from './schemas.ts'
import type { SubscriptionDesk } from './subscriptions/subscriptions.ts'
import type { Tail } from './tail.ts'
import type { Till } from './till.ts'

/** State of one part of the hub, such as broker, store or chain; `detail` says what is wrong when it is not `ok`. */
export type PartState = {
  readonly name: string
  readonly kind: string
  readonly ok: boolean
  readonly detail?: string
}

/**
 * What the API is made of. `nowMs` is UTC; `publicUrl` (no slash at the end) is where buyers reach the API if that is
 * not the address they connect to; `report` is told of our own mistakes, which a client only sees as a 500.
 */
export type MarketDeps = BatchAges & {
  readonly network: string
  readonly hubKey: Uint8Array
  readonly version: string
  readonly store: Store
  readonly evidence: Evidence
  readonly anchors: Anchors
  readonly nowMs: () => number
  readonly health: () => readonly PartState[]
  readonly metrics: Registry
  readonly report: (error: unknown) => void
  readonly publicUrl?: string
  /** Where data is sold; without it everything is free. */
  readonly till?: Till
  /** Where subscriptions are made, with a till. */
  readonly desk?: SubscriptionDesk
  /** The sensors of a station and how often each speaks, where it is known: what is missing is told by it. */
  readonly paces?: (station: string) => readonly SensorPace[]
  /** Checks a proof bundle for whoever asks by the Model Context Protocol; with it an API that sells has that door. */
  readonly verifyBundle?: (bytes: Uint8Array) => Promise<Report>
  /** Where exports are made and kept; without it there are none. */
  readonly exports?: Exports
  /** What is stored as it comes, and when the hub stops; with it there are streams. */
  readonly live?: { readonly tail: Tail; readonly stopping: AbortSignal; readonly silenceMs?: number }
  /** How often somebody may ask; without it as often as they like. */
  readonly limits?: RateLimits
}

export type Api = OpenAPIHono

/** Where the API is, as buyers know it; no slash at the end. */
export const baseOf = (c: Context, publicUrl: string | undefined): string =>
  publicUrl ?? new URL(c.req.url).origin

export const okJson = <T extends z.ZodType>(
  schema: T,
  description: string,
  ...names: readonly HeaderName[]
) => ({ description, headers: headers(...names), content: { 'application/json': { schema } } }) as const

/** Every route can fail; what a failure looks like is the same everywhere. */
export const orFail = {
  default: {
    description: 'A problem (RFC 9457)',
    headers: headers(
      'Allow',
      'Content-Range',
      'Payment-Required',
      'Payment-Response',
      'Retry-After',
      'WWW-Authenticate',
    ),
    content: { [problemContentType]: { schema: problemSchema } },
  },
} as const

/** Caching by what may still change. Finality makes an answer unchangeable; a late backlog may fill a closed span. */
export const caching = {
  changing: 'no-cache',
  closedSpan: 'public, max-age=60',
  final: 'public, max-age=86400, immutable',
  page: 'public, max-age=300',
} as const

/**
 * A strong entity tag over the parts of an answer that can differ. With a secret nobody finds out by it which answer it is
 * of: a plain hash of a few numbers is one of few, and these are soon tried.
 */
export const entityTag = (parts: Iterable<string>, secret?: Uint8Array): string => {
  const hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret)
  for (const part of parts) hash.update(part).update('\0')
  return `"${hash.digest('base64url').slice(0, 24)}"`
}

/** Whether If-None-Match names the tag (RFC 9110 s13.1.2, weak comparison). */
export const isNotModified = (c: Context, tag: string): boolean => {
  const given = c.req.header('if-none-match')
  if (given === undefined) return false
  return given.trim() === '*' || given.split(',').some((one) => one.trim().replace(/^W\//, '') === tag)
}

/** The address of the request with one parameter changed, for links. */
export const linkTo = (c: Context, publicUrl: string | undefined, name: string, value: string): string => {
  const url = new URL(c.req.url)
  url.searchParams.set(name, value)
  return `<${publicUrl ?? url.origin}${url.pathname}${url.search}>; rel="next"`
}
