/** Offers: a price that the hub is bound to, for one query, until a moment. */
import { createHash, randomBytes } from 'node:crypto'
import { z } from 'zod'
import { fromHex, toHex } from '../reading/bytes.ts'
import type { Signer } from '../reading/cose.ts'
import { verifyJws } from '../reading/jws.ts'
import { signJws } from './jws.ts'
import type { MicroUsd } from './money.ts'

const type = 'groundtruth-offer+jwt'

/** For `query` (SHA-256 of its canonical text) not more than `mostMicroUsd` is asked until `expiresMs`. */
export type Offer = {
  readonly id: string
  readonly network: string
  readonly query: Uint8Array
  readonly mostMicroUsd: MicroUsd
  readonly expiresMs: number
}

/** How long an offer holds. */
export const offerLifeMs = 15 * 60_000

const form = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{32}$/),
  network: z.string().max(64),
  query: z.string().regex(/^[0-9a-f]{64}$/),
  mostMicroUsd: z.int().min(0),
  exp: z.int().min(0),
})

/** A new offer and its JWS. `exp` in it is in seconds (RFC 7519 s4.1.4). */
export const makeOffer = (
  network: string,
  query: Uint8Array,
  mostMicroUsd: MicroUsd,
  nowMs: number,
  hub: Signer,
): { readonly offer: Offer; readonly jws: string } => {
  const exp = Math.floor((nowMs + offerLifeMs) / 1000)
  const id = randomBytes(16).toString('hex')
  const payload = { id, network, query: toHex(query), mostMicroUsd: Number(mostMicroUsd), exp }
  return {
    offer: { id, network, query, mostMicroUsd, expiresMs: exp * 1000 },
    jws: signJws(type, payload, hub),
  }
}

export type OfferFault = 'unknown' | 'expired' | 'other-query'

/** An offer that a buyer brings back: ours, for this query, and still good; or why not. */
export const acceptOffer = (
  jws: string,
  network: string,
  query: Uint8Array,
  nowMs: number,
  hubKey: Uint8Array,
): { readonly ok: true; readonly offer: Offer } | { readonly ok: false; readonly reason: OfferFault } => {
  const read = form.safeParse(verifyJws(type, jws, hubKey))
  if (!read.success || read.data.network !== network) return { ok: false, reason: 'unknown' }
  const { id, exp, mostMicroUsd } = read.data
  if (read.data.query !== toHex(query)) return { ok: false, reason: 'other-query' }
  if (exp * 1000 <= nowMs) return { ok: false, reason: 'expired' }
  return {
    ok: true,
    offer: {
      id,
      network,
      query: fromHex(read.data.query)!,
      mostMicroUsd: BigInt(mostMicroUsd),
      expiresMs: exp * 1000,
    },
  }
}

/** What a sales receipt names an offer by. */
export const offerHash = (jws: string): Uint8Array =>
  new Uint8Array(createHash('sha256').update(jws).digest())
