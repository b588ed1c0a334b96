/** What a buyer checks: the offer before paying; digest, receipt and whose proof it is afterwards. */
import { sha256 } from '#sha256'
import { fromBase64, toBase64 } from '../reading/base64.ts'
import { equalBytes, toHex } from '../reading/bytes.ts'
import { verifyJws } from '../reading/jws.ts'
import { type SalesReceipt, verifySale } from '../reading/sale.ts'
import type { Report } from './report.ts'

/** Whose word counts: the hub's key, and the network that its signatures are for. */
export type Seller = { readonly network: string; readonly hubKey: Uint8Array }

/** What the hub binds itself to with an offer: a price in micro-USD, for a query (SHA-256, hex). */
export type Offered = { readonly query: string; readonly mostMicroUsd: bigint }

type Loose = Readonly<Record<string, unknown>>

/** The content of an offer; undefined where it is not signed by this hub for its network. */
export const offered = (jws: string, { network, hubKey }: Seller): Offered | undefined => {
  const said = verifyJws('groundtruth-offer+jwt', jws, hubKey) as Loose | null | undefined
  const { query, mostMicroUsd: most } = said ?? {}
  if (said?.network !== network || typeof query !== 'string' || !/^[0-9a-f]{64}$/.test(query))
    return undefined
  return typeof most === 'number' && Number.isSafeInteger(most) && most >= 0
    ? { query, mostMicroUsd: BigInt(most) }
    : undefined
}

/** What a receipt names a body by: its SHA-256. */
export const responseOf = (body: Uint8Array): Uint8Array => sha256(body)

/** Whether a body is what its header Content-Digest (RFC 9530) says. */
export const digestFits = ({
  headers,
  body,
}: {
  readonly headers: Headers
  readonly body: Uint8Array
}): boolean => headers.get('content-digest') === `sha-256=:${toBase64(sha256(body))}:`

// 10,000 shares of some 60 characters, and half as much again as base64url.
const longestReceipt = 1024 * 1024

const sortedText = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )

/**
 * What a receipt must say. `query` is the hash that the offer names; undefined where there was none, as for a stream.
 * `offer` is the JWS itself; undefined also where it was paid on the spot, as then the payment's own terms count.
 */
export type Bought = {
  readonly id: string
  readonly priceMicroUsd: bigint
  /** As from `responseOf`. */
  readonly response: Uint8Array
  readonly offer: string | undefined
  readonly query: string | undefined
}

/** The receipt of a purchase, where both its forms are signed by the hub and say what was bought; or what is wrong. */
export const checkReceipt = (
  { cose, jws }: { readonly cose: string; readonly jws: string },
  { network, hubKey }: Seller,
  bought: Bought,
): { readonly ok: true; readonly sale: SalesReceipt } | { readonly ok: false; readonly detail: string } => {
  const wrong = (detail: string) => ({ ok: false, detail }) as const
  const verified = verifySale(fromBase64(cose) ?? new Uint8Array(0), network, hubKey)
  if (!verified.ok) return wrong(`the receipt does not hold: ${verified.detail}`)
  const { sale } = verified
  if (sale.id !== bought.id) return wrong('the receipt is of another sale')
  if (!equalBytes(sale.response, bought.response)) return wrong('the receipt is of other readings')
  if (BigInt(sale.priceMicroUsd) !== bought.priceMicroUsd) return wrong('the receipt names another price')
  if (bought.query !== undefined && toHex(sale.query) !== bought.query)
    return wrong('the receipt is of another query than the offer')
  const offerHash = bought.offer === undefined ? undefined : sha256(new TextEncoder().encode(bought.offer))
  if (offerHash !== undefined && !(sale.offer !== undefined && equalBytes(sale.offer, offerHash)))
    return wrong('the receipt is for another offer')
  const said = verifyJws('groundtruth-sale+jwt', jws, hubKey, longestReceipt)
  if (said === undefined) return wrong('the receipt as JWS is not signed by this hub')
  const { query, response, offer, ...rest } = sale
  const same = {
    ...{ ...rest, network, query: toHex(query), response: toHex(response) },
    ...(offer === undefined ? {} : { offer: toHex(offer) }),
  }
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
  const wanted = ['sensor', 'from', 'to'].map((name) => query.get(name) ?? '')
  const given = [scope.sensor ?? '', `${scope.fromMs}`, `${scope.toMs}`]
  // Which stations an area means, the hub alone can tell.
  if (!['bbox', 'h3', 'near'].some((name) => query.has(name))) {
    wanted.push((query.get('station') ?? '').split(',').sort().join())
    given.push(scope.stations?.toSorted().join() ?? '')
  }
  if (given.join(' ') !== wanted.join(' ')) return 'the proof is of other readings'
  const isSame = sale?.id === receipt && sale.hubKey === toHex(seller.hubKey)
  // One that does not hold says nothing of a sale; its verification tells why.
  return isSame || !ok ? undefined : 'the proof is of another sale'
}
