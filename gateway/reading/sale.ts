/**
 * The sales receipt: the hub's signed statement of what was sold for how much, and to whose benefit. As COSE_Sign1 for
 * proof bundles, and with the same members as a JWS (RFC 7515, EdDSA of RFC 8037) for programs that know JSON.
 */
import { verify } from '#ed25519'
import { type BundleScope, writeScope } from './bundle.ts'
import { decodeScope } from './bundle-decode.ts'
import { equalBytes, fromHex, toHex } from './bytes.ts'
import { type CborBounds, CborWriter, decodeCbor, envelopeBounds, isHash, isUint } from './cbor.ts'
import { decodeSign1, headerLabels, plainHeader, type Signer, signSign1, toBeSigned } from './cose.ts'
import { keyId } from './key.ts'
import { type Refused, refused } from './refusal.ts'

export const saleContentType = 'application/vnd.groundtruth.sale+cbor'

/** What the owner of a station gets of a sale, in micro-USD. */
export type Share = { readonly station: string; readonly microUsd: number }

/**
 * A sale. `query` and `response` are SHA-256 (32 bytes): of the query's canonical text, and of the delivered body before
 * any content coding; of a stream, of the data of its readings between two accounts, each with a line feed behind it.
 * `rows` and `values` count what was delivered, `priceMicroUsd` is what was paid by `rail`. `offer` is SHA-256 of the
 * signed offer where there was one. Shares ascend by station. `scope` says which readings were sold, in the form of a
 * bundle's, so that a proof of others is told from the proof of these; absent where no bundle can be made.
 * `creditMicroUsd`, above zero, was credited with the sale because less was delivered than is promised.
 */
export type SalesReceipt = {
  readonly id: string
  readonly issuedMs: number
  readonly query: Uint8Array
  readonly response: Uint8Array
  readonly rows: number
  readonly values: number
  readonly priceMicroUsd: number
  readonly rail: string
  readonly shares: readonly Share[]
  readonly offer?: Uint8Array
  readonly scope?: BundleScope
  readonly creditMicroUsd?: number
}

/** Stations with a share in one sale, at most: a query that touches more is split by its buyer. */
export const maxShares = 10_000

// Each share has 16 bytes of id, at most 9 of amount, and their heads.
const saleBounds: CborBounds = { ...envelopeBounds, maxBytes: 512 * 1024, maxItems: 4 * maxShares }

/** The receipt as COSE_Sign1 by the hub's key; the layout is `sales-receipt` in bundle.cddl. */
export const signSale = (sale: SalesReceipt, network: string, hub: Signer): Uint8Array => {
  if (sale.shares.length > maxShares)
    throw new RangeError(`${sale.shares.length} shares, at most ${maxShares}`)
  const optional = [sale.offer, sale.scope, sale.creditMicroUsd].filter((part) => part !== undefined)
  const writer = new CborWriter().map(10 + optional.length)
  writer.int(0).int(1).int(1).text(sale.id).int(2).int(sale.issuedMs)
  writer.int(3).bytes(sale.query).int(4).bytes(sale.response)
  writer.int(5).int(sale.rows).int(6).int(sale.values).int(7).int(sale.priceMicroUsd)
  writer.int(8).text(sale.rail).int(9).array(sale.shares.length)
  for (const { station, microUsd } of sale.shares) writer.array(2).bytes(fromHex(station)!).int(microUsd)
  if (sale.offer !== undefined) writer.int(10).bytes(sale.offer)
  if (sale.scope !== undefined) writeScope(writer.int(11), sale.scope)
  if (sale.creditMicroUsd !== undefined) writer.int(12).int(sale.creditMicroUsd)
  return signSign1(plainHeader(saleContentType, keyId(hub.publicKey)), writer.finish(), network, hub)
}

const railPattern = /^[a-z0-9-]{1,32}$/
const salePattern = /^[0-9a-f]{32}$/

/** Reads a receipt's payload; bad bytes are an answer. */
const readSale = (payload: Uint8Array): SalesReceipt | undefined => {
  const decoded = decodeCbor(payload, saleBounds)
  if (!decoded.ok || !(decoded.value instanceof Map)) return undefined
  const body = decoded.value
  const [id, query, response, rail, items, offer] = [1, 3, 4, 8, 9, 10].map((key) => body.get(key))
  const [version, issuedMs, rows, values, priceMicroUsd, credit] = [0, 2, 5, 6, 7, 12].map((key) =>
    body.get(key),
  )
  if (version !== 1 || body.size !== 10 + [10, 11, 12].filter((key) => body.has(key)).length) return undefined
  const scope = decodeScope(body.get(11))
  if (body.has(11) && scope === undefined) return undefined
  if (typeof id !== 'string' || !salePattern.test(id) || typeof rail !== 'string' || !railPattern.test(rail))
    return undefined
  if (!isUint(issuedMs) || !isUint(rows) || !isUint(values) || !isUint(priceMicroUsd)) return undefined
  if (!isHash(query) || !isHash(response) || !(offer === undefined || isHash(offer))) return undefined
  if (!(credit === undefined || (isUint(credit) && credit > 0 && credit <= priceMicroUsd))) return undefined
  if (!Array.isArray(items) || items.length > maxShares) return undefined
  const shares: Share[] = []
  for (const item of items) {
    if (!Array.isArray(item) || item.length !== 2) return undefined
    const [station, microUsd] = item
    if (!(station instanceof Uint8Array) || station.length !== 16 || !isUint(microUsd)) return undefined
    const name = toHex(station)
    if (name <= (shares.at(-1)?.station ?? '')) return undefined
    shares.push({ station: name, microUsd })
  }
  return {
    id,
    issuedMs,
    query: query.slice(),
    response: response.slice(),
    rows,
    values,
    priceMicroUsd,
    rail,
    shares,
    ...(offer === undefined ? {} : { offer: offer.slice() }),
    ...(scope === undefined ? {} : { scope }),
    ...(credit === undefined ? {} : { creditMicroUsd: credit }),
  }
}

/** Checks form and signature of a receipt from outside. */
export const verifySale = (
  bytes: Uint8Array,
  network: string,
  hubKey: Uint8Array,
): { readonly ok: true; readonly sale: SalesReceipt } | Refused => {
  const decoded = decodeSign1(bytes, saleBounds)
  if (!decoded.ok) return decoded
  const { header, protectedBytes, payload, signature } = decoded.sign1
  if (header.get(headerLabels.contentType) !== saleContentType)
    return refused('unsupported-content', 'no sales receipt by its content type')
  const kid = header.get(headerLabels.kid)
  if (!(kid instanceof Uint8Array) || !equalBytes(kid, keyId(hubKey)))
    return refused('bad-signature', 'signed by another key than this hub’s')
  if (!verify(signature, toBeSigned(protectedBytes, payload, network), hubKey))
    return refused('bad-signature', 'the signature does not fit')
  const sale = readSale(payload)
  return sale === undefined ? refused('malformed', 'no sales receipt by its form') : { ok: true, sale }
}
