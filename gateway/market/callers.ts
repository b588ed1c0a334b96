/** Who asks: the API key of a request, what it may do, and which sales it may see. */
import type { Context } from 'hono'
import type { ApiKey, Scope } from '../sales/keys.ts'
import type { Sale } from '../sales/sale.ts'
import type { Sales } from '../sales/sales.ts'
import { fault, Problem } from './problem.ts'
import { keyFault, noKey } from './unpaid.ts'

// Of a text that is no key, no more than this is looked at.
const maxAuthorization = 512

const bearer = /^Bearer +(\S+)$/i
const token = /^Token +(?:[^ :]*:)?(\S+)$/i
const basic = /^Basic +([A-Za-z0-9+/=]+)$/i

/** Notes a key that a request has in a place of its own, such as a parameter; it goes before those in headers. */
export const setKey = (c: Context, text: string): void => c.set('key', text.slice(0, maxAuthorization))

/**
 * The key in a request: as bearer token (RFC 6750), as password of Basic (RFC 7617), as InfluxDB's "Token user:password",
 * or in X-API-Key.
 */
const keyIn = (c: Context): string | undefined => {
  const set: string | undefined = c.get('key')
  if (set !== undefined) return set
  const authorization = c.req.header('authorization')?.slice(0, maxAuthorization)
  const alone = (bearer.exec(authorization ?? '') ?? token.exec(authorization ?? ''))?.[1]
  if (alone !== undefined) return alone
  const pair = basic.exec(authorization ?? '')?.[1]
  if (pair !== undefined) return Buffer.from(pair, 'base64').toString('utf8').split(':').slice(1).join(':')
  return authorization ?? c.req.header('x-api-key')?.slice(0, maxAuthorization)
}

/** The callers of an API that sells; `nowMs` is UTC. */
export const openCallers = (sales: Pick<Sales, 'keys' | 'sale' | 'keyless'>, nowMs: () => number) => {
  /** Whose request this is; undefined without a key. A key that does not count is a problem. */
  const keyOf = (c: Context): ApiKey | undefined => {
    const text = keyIn(c)
    if (text === undefined) return undefined
    const found = sales.keys.find(text, nowMs())
    if (!found.ok) throw new Problem(keyFault(found.reason))
    return found.key
  }

  /** The id of the key of a request; undefined without one that counts. */
  const keyIdOf = (c: Context): string | undefined => {
    const text = keyIn(c)
    const found = text === undefined ? undefined : sales.keys.find(text, nowMs())
    return found?.ok ? found.key.id : undefined
  }

  /** The same key, where there is one; one that may not do that is a problem. */
  const allowed = (key: ApiKey | undefined, scope: Scope): ApiKey | undefined => {
    if (key !== undefined && !key.scopes.includes(scope))
      throw new Problem(fault('key-scope', `this needs a key with scope "${scope}"`))
    return key
  }

  const withScope = (c: Context, scope: Scope): ApiKey => {
    const key = allowed(keyOf(c), scope)
    if (key === undefined) throw new Problem(noKey('this needs an API key'))
    return key
  }

  /**
   * A sale for whoever may see it: a key of its account or, where it was paid without a key, whoever knows its id, which
   * nobody but its buyer was ever told.
   */
  const seen = (key: ApiKey | undefined, id: string): Sale | undefined =>
    (key && sales.sale(key.customer, id)) ?? sales.keyless(id)

  /** The same; throws what is told to who may not see it. */
  const saleFor = (c: Context, id: string): Sale => {
    const key = allowed(keyOf(c), 'read')
    const found = seen(key, id)
    if (found !== undefined) return found
    if (key === undefined) throw new Problem(noKey('this needs the API key that paid'))
    throw new Problem(fault('not-found', `this account has no receipt ${id}`))
  }

  /** The sale that a cursor names, where whoever asks may see it and its money was not given back. */
  const saleInForce = (c: Context, id: string): Sale | undefined => {
    const found = seen(allowed(keyOf(c), 'read'), id)
    return found?.state === 'refunded' ? undefined : found
  }

  return { keyOf, keyIdOf, allowed, withScope, saleFor, saleInForce }
}
