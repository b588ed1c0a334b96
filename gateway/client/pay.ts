/** Payments on the spot (x402 v2): one signature for one purchase, and none above what it may cost. */
import { fromBase64 } from '../reading/base64.ts'
import { type Fetch, isObject, jsonOf } from './ask.ts'
import { HubDistrusted } from './errors.ts'

/**
 * Puts payments in front of a fetch, as `wrapFetchWithPayment` of @x402/fetch does: the fetch that comes back answers a
 * 402 by asking again with the header PAYMENT-SIGNATURE.
 */
export type Pay = (fetch: Fetch) => Fetch

const signatureHeader = 'payment-signature'

// Three kilobytes are usual.
const longestRequired = 64 * 1024

/** What a 402 asks for at most, in millionths: test and real dollars alike have six decimals. */
const mostAsked = (header: string | null): bigint => {
  const bytes = header === null || header.length > longestRequired ? undefined : fromBase64(header)
  const said = bytes === undefined ? undefined : jsonOf(bytes)
  const accepts = isObject(said) && Array.isArray(said.accepts) ? said.accepts : []
  const amounts = accepts.map((one) => (isObject(one) ? one.amount : undefined))
  if (amounts.length === 0 || !amounts.every((one) => typeof one === 'string' && /^\d{1,30}$/.test(one)))
    throw new HubDistrusted('the hub asks for a payment and does not say of how much; nothing was paid')
  return amounts.map((one) => BigInt(one as string)).sort((a, b) => (a < b ? 1 : -1))[0]!
}

/**
 * A fetch for one purchase. `mayCost` is asked before anything is signed, and throws where it is too much. What was
 * signed once is sent again, never signed anew: that would be another payment.
 */
export const payingFetch = (plain: Fetch, pay: Pay, mayCost: (microUsd: bigint) => void): Fetch => {
  let signed: string | undefined
  const paying = pay(async (input, init) => {
    const request = new Request(input, init)
    signed = request.headers.get(signatureHeader) ?? signed
    const response = await plain(request)
    if (response.status === 402 && signed === undefined)
      mayCost(mostAsked(response.headers.get('payment-required')))
    return response
  })
  return (input, init) => {
    if (signed === undefined) return paying(input, init)
    const headers = new Headers(init?.headers)
    headers.set(signatureHeader, signed)
    return plain(input, { ...init, headers })
  }
}
