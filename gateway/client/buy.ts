/** A purchase: priced, within its limit, paid once, and checked against the hub's signed receipt. */
import type { SalesReceipt } from '../reading/sale.ts'
import { type Bought, checkReceipt, digestFits, type Seller } from '../verify/purchase.ts'
import type { KeptReceipt } from './answers.ts'
import { type Answer, type Ask, type Fetch, objectIn, problemOf } from './ask.ts'
import { HubDistrusted, HubProblem, LimitReached } from './errors.ts'
import { type Pay, payingFetch } from './pay.ts'
import type { Purse } from './purse.ts'

/** What purchases need of the client. */
export type Counter = {
  readonly ask: Ask
  readonly fetch: Fetch
  readonly purse: Purse
  readonly hasKey: () => boolean
  readonly pay: Pay | undefined
  readonly seller: (signal?: AbortSignal) => Promise<Seller>
}

/** What something costs at most; `signed` is the hub's offer (JWS) of that price, for a query (SHA-256, hex). */
export type Terms = {
  readonly mostMicroUsd: bigint
  readonly signed?: { readonly offer: string; readonly query: string }
}

export type Order = {
  readonly path: string
  /** Undefined where nothing has a price. */
  readonly terms: Terms | undefined
  /** What this purchase may cost, where not what every purchase may. */
  readonly maxMicroUsd?: bigint | undefined
  readonly mostBytes: number
  readonly signal?: AbortSignal | undefined
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
const receiptOf = async (
  { ask, seller }: Counter,
  sale: Bought,
  signal: AbortSignal | undefined,
): Promise<SalesReceipt> => {
  const isKept = ({ cose, jws }: Readonly<Record<string, unknown>>): boolean =>
    typeof cose === 'string' && typeof jws === 'string'
  const { id, body } = sale
  const kept = objectIn<KeptReceipt>(await ask(`/v1/receipts/${id}`, { signal }), isKept)
  const checked = checkReceipt(kept, await seller(signal), sale)
  if (!checked.ok) throw new HubDistrusted(checked.detail, { receiptId: id, body })
  return checked.sale
}

/** Buys what is behind a path. Throws LimitReached before anything is paid, HubDistrusted for what is not as it was sold. */
export const buyAt = async (counter: Counter, order: Order): Promise<Delivered> => {
  const { ask, purse, hasKey, pay, fetch } = counter
  const { path, terms, maxMicroUsd, mostBytes, signal } = order
  const price = terms?.mostMicroUsd ?? 0n
  const hold = purse.hold(price, maxMicroUsd)
  const onTheSpot = !hasKey() && price > 0n
  const mayCost = (asked: bigint): void => {
    if (asked > price) throw new LimitReached('purchase', asked, price)
  }
  let answer: Answer
  try {
    answer = await ask(path, {
      headers: {
        'idempotency-key': newIdempotencyKey(),
        ...(terms?.signed === undefined ? {} : { offer: terms.signed.offer }),
      },
      mostBytes,
      signal,
      ...(!onTheSpot
        ? {}
        : pay !== undefined
          ? { fetch: payingFetch(fetch, pay, mayCost) }
          : { mayRepeat: (said) => said !== undefined && unpaid.has(problemOf(said).slug) }),
    })
    if (answer.status !== 200) throw problemOf(answer)
  } catch (error) {
    if (error instanceof LimitReached || (error instanceof HubProblem && !perhapsPaid.has(error.slug)))
      hold.release()
    throw error
  }
  const { body, headers } = answer
  const paid = priceOf(answer)
  hold.paid(paid)
  const receiptId = /^[0-9a-f]{32}$/.exec(headers.get('receipt-id') ?? '')?.[0] ?? null
  const came = { ...(receiptId === null ? {} : { receiptId }), body }
  // A hub that sells nothing sends no digest.
  if ((terms !== undefined || headers.has('content-digest')) && !digestFits(answer))
    throw new HubDistrusted('the body is not what its Content-Digest says', came)
  if (paid > price)
    throw new HubDistrusted(`the hub took ${paid} micro-USD, more than the ${price} it offered`, came)
  if (paid === 0n) return { answer, priceMicroUsd: 0n, receiptId: null, receipt: null }
  if (receiptId === null) throw new HubDistrusted('the hub took money and gave no receipt', came)
  const signed = terms?.signed
  if (signed === undefined) return { answer, priceMicroUsd: paid, receiptId, receipt: null }
  const offer = onTheSpot ? undefined : signed.offer
  const bought = { id: receiptId, priceMicroUsd: paid, body, offer, query: signed.query }
  return { answer, priceMicroUsd: paid, receiptId, receipt: await receiptOf(counter, bought, signal) }
}
