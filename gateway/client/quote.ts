/** What something costs: asked before it is bought, and believed only with the hub's signature. */
import { offered, type Seller } from '../verify/purchase.ts'
import { type Answer, type Ask, objectIn, problemOf } from './ask.ts'
import type { Terms } from './buy.ts'
import { HubDistrusted } from './errors.ts'
import { mostPageBytes } from './pages.ts'

/** What a quote says beside its price. */
export type Quoted = {
  readonly rows: number
  readonly values: number
  readonly offerExpires: string | null
  /** Undefined where the hub sells nothing: its readings are free. */
  readonly terms: Terms | undefined
}

const termsOf = (offer: string, price: bigint, seller: Seller): Terms => {
  const said = offered(offer, seller)
  if (said === undefined)
    throw new HubDistrusted('the offer is not signed by this hub for its network; nothing was bought')
  if (said.mostMicroUsd !== price)
    throw new HubDistrusted('the signed offer names another price than the hub; nothing was bought')
  return { mostMicroUsd: price, signed: { offer, query: said.query } }
}

type Said = {
  readonly rows: number
  readonly values: number
  readonly priceMicroUsd: bigint
  readonly offer: string
  readonly offerExpires: string
}

const isSaid = (said: Readonly<Record<string, unknown>>): boolean =>
  Number.isSafeInteger(said.rows) &&
  Number.isSafeInteger(said.values) &&
  typeof said.priceMicroUsd === 'bigint' &&
  said.priceMicroUsd >= 0n &&
  typeof said.offer === 'string' &&
  typeof said.offerExpires === 'string'

/** The price of readings. */
export const quoteOf = async (
  ask: Ask,
  search: URLSearchParams,
  seller: Seller,
  signal?: AbortSignal,
): Promise<Quoted> => {
  const answer = await ask(`/v1/quotes?${search}`, { method: 'POST', signal })
  // A hub that sells nothing quotes nothing.
  if (answer.status === 404) return { rows: 0, values: 0, offerExpires: null, terms: undefined }
  const { rows, values, offer, offerExpires, priceMicroUsd } = objectIn<Said>(answer, isSaid)
  return { rows, values, offerExpires, terms: termsOf(offer, priceMicroUsd, seller) }
}

/** The price that a hub tells somebody without a key, with an offer; throws what else it says. */
export const termsIn = (answer: Answer, seller: Seller): Terms => {
  const problem = problemOf(answer)
  const { priceMicroUsd, offer } = problem.payment ?? {}
  if (problem.slug !== 'payment-required' || priceMicroUsd === undefined || offer === undefined) throw problem
  return termsOf(offer, priceMicroUsd, seller)
}

/** The price of what is behind a path; asked without a key and without paying. Undefined where it is free. */
export const termsAt = async (
  ask: Ask,
  path: string,
  seller: Seller,
  signal?: AbortSignal,
): Promise<Terms | undefined> => {
  const answer = await ask(path, { withKey: false, signal, mostBytes: mostPageBytes })
  return answer.status === 200 ? undefined : termsIn(answer, seller)
}

/** The same for a fetch that pays by itself, and so must not be shown a 402 before its price was looked at. */
export const priceAt = async (ask: Ask, path: string, signal?: AbortSignal): Promise<Terms | undefined> => {
  const answer = await ask(path, { method: 'HEAD', signal })
  if (answer.status !== 200) throw problemOf(answer)
  const price = answer.headers.get('price') ?? '0'
  if (!/^\d{1,16}$/.test(price)) throw new HubDistrusted('the hub names no price that can be read')
  return price === '0' ? undefined : { mostMicroUsd: BigInt(price) }
}
