/** A purchase: priced, within its limit, paid once, and checked against the hub's signed receipt. */
import type { SalesReceipt } from '../reading/sale.ts'
import { type Bought, checkReceipt, digestFits, responseOf, type Seller } from '../verify/purchase.ts'
import type { KeptReceipt } from './answers.ts'
import { type Answer, type Ask, type Asked, type Fetch, objectIn, problemOf } from './ask.ts'
import { HubDistrusted, HubProblem, LimitReached } from './errors.ts'
import { type Pay, payingFetch } from './pay.ts'
import type { Hold, Purse } from './purse.ts'

/** What purchases need of the client. */
export type Counter = {
  readonly ask: Ask
  readonly fetch: Fetch
  readonly purse: Purse
  readonly hasKey: () => boolean
  /** Whether a 402 may be paid behind the client's back, so that a price has to be asked for first. */
  readonly mayPayByItself: () => boolean
  readonly pay: Pay | undefined
  readonly seller: (signal?: AbortSignal) => Promise<Seller>
}

/** What something costs at most; `signed` is the hub's offer (JWS) of that price, for a query (SHA-256, hex). */
export type Terms = {
  readonly mostMicroUsd: bigint
  readonly signed?: { readonly offer: string; readonly query: string }
}

/** What came: `receiptId` and `receipt` are null where nothing was paid; the receipt also where there was no signed offer. */
export type Delivered = {
  readonly answer: Answer
  readonly priceMicroUsd: bigint
  readonly receiptId: string | null
  readonly receipt: SalesReceipt | null
}

/** 128 random bits in hex; randomUUID is missing on pages that came without TLS. */
export const newIdempotencyKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join(
    '',
  )

// Refused before a payment was looked at: a fetch that pays by itself may sign anew after these.
const unpaid = new Set(['rate-limited', 'busy', 'store-unavailable'])
// The hub has, or may have, the money all the same.
const perhapsPaid = new Set(['payment-failed', 'settlement-pending', 'unknown'])

const priceOf = ({ headers }: Answer): bigint => {
  // A hub that sells nothing names no price.
  const text = headers.get('price') ?? '0'
  if (!/^\d{1,16}$/.test(text)) throw new HubDistrusted('the hub names no price that can be read')
  return BigInt(text)
}

/** The receipt of a sale, where both its forms hold and say what was bought; throws HubDistrusted otherwise. */
export const receiptOf = async (
  { ask, seller }: Counter,
  sale: Bought,
  signal: AbortSignal | undefined,
): Promise<SalesReceipt> => {
  const isKept = ({ cose, jws }: Readonly<Record<string, unknown>>): boolean =>
    typeof cose === 'string' && typeof jws === 'string'
  const { id } = sale
  const kept = objectIn<KeptReceipt>(await ask(`/v1/receipts/${id}`, { signal }), isKept)
  const checked = checkReceipt(kept, await seller(signal), sale)
  if (!checked.ok) throw new HubDistrusted(checked.detail, { receiptId: id })
  return checked.sale
}

export type OrderOptions = {
  /** What this purchase may cost, where not what every purchase may. */
  readonly maxMicroUsd?: bigint | undefined
  readonly signal?: AbortSignal | undefined
}

/** What the hub took on, and the money that is put aside for it. `onTheSpot`: paid without a key. */
export type Ordered = { readonly answer: Answer; readonly hold: Hold; readonly onTheSpot: boolean }

/**
 * Orders what is behind a path, under one name however often it has to be asked for. Throws LimitReached before anything
 * is paid, and HubProblem for an answer that is not `status`.
 */
export const orderAt = async (
  { ask, purse, hasKey, pay, fetch }: Counter,
  path: string,
  asked: Pick<Asked, 'method' | 'json' | 'mostBytes'> & { readonly status: number },
  terms: Terms | undefined,
  { maxMicroUsd, signal }: OrderOptions,
): Promise<Ordered> => {
  const price = terms?.mostMicroUsd ?? 0n
  const hold = purse.hold(price, maxMicroUsd)
  const onTheSpot = !hasKey() && price > 0n
  const mayCost = (microUsd: bigint): void => {
    if (microUsd > price) throw new LimitReached('purchase', microUsd, price)
  }
  const { status, ...request } = asked
  try {
    const answer = await ask(path, {
      ...request,
      headers: {
        'idempotency-key': newIdempotencyKey(),
        ...(terms?.signed === undefined ? {} : { offer: terms.signed.offer }),
      },
      signal,
      ...(!onTheSpot
        ? {}
        : pay !== undefined
          ? { fetch: payingFetch(fetch, pay, mayCost) }
          : { mayRepeat: (said) => said !== undefined && unpaid.has(problemOf(said).slug) }),
    })
    if (answer.status !== status) throw problemOf(answer)
    return { answer, hold, onTheSpot }
  } catch (error) {
    if (error instanceof LimitReached || (error instanceof HubProblem && !perhapsPaid.has(error.slug)))
      hold.release()
    throw error
  }
}

/** Buys what is behind a path. Throws LimitReached before anything is paid, HubDistrusted for what is not as it was sold. */
export const buyAt = async (
  counter: Counter,
  path: string,
  mostBytes: number,
  terms: Terms | undefined,
  options: OrderOptions,
): Promise<Delivered> => {
  const ordered = await orderAt(counter, path, { mostBytes, status: 200 }, terms, options)
  const { answer, hold, onTheSpot } = ordered
  const { body, headers } = answer
  const price = terms?.mostMicroUsd ?? 0n
  const paid = priceOf(answer)
  hold.paid(paid)
  const receiptId = /^[0-9a-f]{32}$/.exec(headers.get('receipt-id') ?? '')?.[0] ?? null
  const distrust = (message: string): HubDistrusted =>
    new HubDistrusted(message, { ...(receiptId === null ? {} : { receiptId }), body })
  // A hub that sells nothing sends no digest.
  if ((terms !== undefined || headers.has('content-digest')) && !digestFits(answer))
    throw distrust('the body is not what its Content-Digest says')
  if (paid > price) throw distrust(`the hub took ${paid} micro-USD, more than the ${price} it offered`)
  if (paid === 0n) return { answer, priceMicroUsd: 0n, receiptId: null, receipt: null }
  if (receiptId === null) throw distrust('the hub took money and gave no receipt')
  const signed = terms?.signed
  if (signed === undefined) return { answer, priceMicroUsd: paid, receiptId, receipt: null }
  const offer = onTheSpot ? undefined : signed.offer
  const sale = { id: receiptId, priceMicroUsd: paid, response: responseOf(body), offer, query: signed.query }
  const receipt = await receiptOf(counter, sale, options.signal).catch((error: unknown) => {
    // What came is the buyer's all the same.
    throw error instanceof HubDistrusted ? distrust(error.message) : error
  })
  return { answer, priceMicroUsd: paid, receiptId, receipt }
}
