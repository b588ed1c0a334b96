/** What a buyer checks: the offer before paying; digest and receipt afterwards. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { equalBytes, toHex } from '../reading/bytes.ts'
import { type SalesReceipt, verifySale } from '../reading/sale.ts'
import { verifyJws } from '../sales/jws.ts'
import { offerHash } from '../sales/offer.ts'
import type { Report } from '../verify/report.ts'
import { type Answer, BuyingError } from './asking.ts'

/** Whose word counts: the hub's key, and the network that its signatures are for. */
export type Seller = { readonly network: string; readonly hubKey: Uint8Array }

const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest())

const offerForm = z.object({
  network: z.string(),
  query: z.string().regex(/^[0-9a-f]{64}$/),
  mostMicroUsd: z.int().min(0),
})

/** What the hub binds itself to with an offer: a price in micro-USD, for a query (SHA-256, hex). */
export const offered = (jws: string, { network, hubKey }: Seller): z.output<typeof offerForm> => {
  const read = offerForm.safeParse(verifyJws('groundtruth-offer+jwt', jws, hubKey))
  if (!read.success || read.data.network !== network)
    throw new BuyingError('the offer is not signed by this hub for its network; nothing was bought')
  return read.data
}

/** Whether a body is what Content-Digest (RFC 9530) says. */
export const digestFits = ({ headers, body }: Answer): boolean =>
  headers.get('content-digest') === `sha-256=:${Buffer.from(sha256(body)).toString('base64')}:`

// 10,000 shares of some 60 characters, and half as much again as base64url.
const longestReceipt = 1024 * 1024

const sortedText = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )

/** What a receipt must say. `offer` is the JWS that was sent, `query` the hash that it names. */
export type Bought = {
  readonly id: string
  readonly priceMicroUsd: number
  readonly body: Uint8Array
  readonly offer: string
  readonly query: string
}

/** The receipt of a purchase, where both its forms are signed by the hub and say what was bought; or what is wrong. */
export const checkReceipt = (
  { cose, jws }: { readonly cose: string; readonly jws: string },
  { network, hubKey }: Seller,
  bought: Bought,
): { readonly ok: true; readonly sale: SalesReceipt } | { readonly ok: false; readonly detail: string } => {
  const wrong = (detail: string) => ({ ok: false, detail }) as const
  const verified = verifySale(new Uint8Array(Buffer.from(cose, 'base64')), network, hubKey)
  if (!verified.ok) return wrong(`the receipt does not hold: ${verified.detail}`)
  const { sale } = verified
  if (sale.id !== bought.id) return wrong('the receipt is of another sale')
  if (!equalBytes(sale.response, sha256(bought.body))) return wrong('the receipt is of other readings')
  if (sale.priceMicroUsd !== bought.priceMicroUsd) return wrong('the receipt names another price')
  if (toHex(sale.query) !== bought.query) return wrong('the receipt is of another query than the offer')
  if (sale.offer === undefined || !equalBytes(sale.offer, offerHash(bought.offer)))
    return wrong('the receipt is for another offer')
  const said = verifyJws('groundtruth-sale+jwt', jws, hubKey, longestReceipt)
  if (said === undefined) return wrong('the receipt as JWS is not signed by this hub')
  const { query, response, offer, ...rest } = sale
  const same = { ...rest, network, query: toHex(query), response: toHex(response), offer: toHex(offer!) }
  if (sortedText(said) !== sortedText(same)) return wrong('the two forms of the receipt differ')
  return { ok: true, sale }
}

/** Why a proof is not of what was bought, whatever it proves; undefined where it is, or says nothing of it. */
export const foreignProof = (
  { network, scope, sale, ok }: Pick<Report, 'network' | 'scope' | 'sale' | 'ok'>,
  seller: Seller,
  query: URLSearchParams,
  receipt: string,
): string | undefined => {
  if (network === null || scope === null) return undefined
  if (network !== seller.network) return 'the proof is of another network'
  const wanted = ['station', 'sensor', 'from', 'to'].map((name) => query.get(name) ?? '')
  const given = [scope.stations?.join() ?? '', scope.sensor ?? '', `${scope.fromMs}`, `${scope.toMs}`]
  if (given.join() !== wanted.join()) return 'the proof is of other readings'
  const isSame = sale?.id === receipt && sale.hubKey === toHex(seller.hubKey)
  // One that does not hold says nothing of a sale; its verification tells why.
  return isSame || !ok ? undefined : 'the proof is of another sale'
}
