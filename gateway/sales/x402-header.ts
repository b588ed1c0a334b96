/** What a PAYMENT-SIGNATURE header holds (x402 v2, scheme `exact` on EVM chains with EIP-3009), read with care. */
import { getAddress, type Hex } from 'viem'
import { z } from 'zod'

/** Names of the headers (x402 v2, transports/http). */
export const headerNames = {
  required: 'payment-required',
  signature: 'payment-signature',
  response: 'payment-response',
} as const

// A payment with our own terms in it has 2 kB; a smart wallet's signature can have some more.
const maxHeaderLength = 12 * 1024
const maxSignatureDigits = 2 * 1024

const address = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/)
  .transform((text) => getAddress(text.toLowerCase()))
// Token units and UTC seconds; the longest are far above anything that exists.
const amount = z.string().regex(/^(0|[1-9]\d{0,15})$/)
const seconds = z.string().regex(/^(0|[1-9]\d{0,11})$/)

const form = z.object({
  x402Version: z.literal(2),
  accepted: z.object({
    scheme: z.literal('exact'),
    network: z.string().max(64),
    asset: address,
    amount,
    payTo: address,
    extra: z.object({ terms: z.string().max(4096).optional() }).optional(),
  }),
  payload: z.object({
    signature: z
      .string()
      .regex(/^0x([0-9a-fA-F]{2})+$/)
      .max(2 + maxSignatureDigits),
    authorization: z.object({
      from: address,
      to: address,
      value: amount,
      validAfter: seconds,
      validBefore: seconds,
      nonce: z.string().regex(/^0x[0-9a-fA-F]{64}$/),
    }),
  }),
  extensions: z
    .object({
      'payment-identifier': z
        .object({ info: z.object({ id: z.string().max(128) }).optional() })
        .optional()
        .catch(undefined),
    })
    .optional()
    .catch(undefined),
})

/** One payment as its buyer sent it; addresses are checksummed, `nonce` is in lower case. */
export type Payment = {
  readonly network: string
  readonly asset: Hex
  readonly payTo: Hex
  readonly amount: bigint
  readonly terms: string
  readonly signature: Hex
  readonly from: Hex
  readonly to: Hex
  readonly value: bigint
  readonly validAfterS: bigint
  readonly validBeforeS: bigint
  readonly nonce: Hex
  /** The extension payment-identifier's id: known to the buyer and the hub, never to the chain. */
  readonly identifier: string | undefined
}

/** The payment in a header; undefined for anything else. Never throws. */
export const readPayment = (header: string): Payment | undefined => {
  if (header.length > maxHeaderLength) return undefined
  let said: unknown
  try {
    said = JSON.parse(Buffer.from(header, 'base64').toString('utf8'))
  } catch {
    return undefined
  }
  const read = form.safeParse(said)
  if (!read.success) return undefined
  const { accepted, payload, extensions } = read.data
  const { authorization } = payload
  return {
    network: accepted.network,
    asset: accepted.asset,
    payTo: accepted.payTo,
    amount: BigInt(accepted.amount),
    terms: accepted.extra?.terms ?? '',
    signature: payload.signature.toLowerCase() as Hex,
    from: authorization.from,
    to: authorization.to,
    value: BigInt(authorization.value),
    validAfterS: BigInt(authorization.validAfter),
    validBeforeS: BigInt(authorization.validBefore),
    nonce: authorization.nonce.toLowerCase() as Hex,
    identifier: extensions?.['payment-identifier']?.info?.id,
  }
}
