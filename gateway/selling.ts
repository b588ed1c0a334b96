/** Puts the sales and the market's till together. */
import type { TillParts } from './market/till.ts'
import { openTill, type Till } from './market/till.ts'
import type { Signer } from './reading/cose.ts'
import { verifyOwner } from './reading/owner.ts'
import type { CardRail } from './sales/cards.ts'
import { completenessOf, serviceMs } from './sales/completeness.ts'
import { type MicroUsd, usdText } from './sales/money.ts'
import { acceptOffer, makeOffer, offerHash, offerLifeMs } from './sales/offer.ts'
import { type OwnerFactor, openTally, type PriceList, priceOf } from './sales/price.ts'
import type { Credit, Rail } from './sales/rail.ts'
import { newSaleId, saleHash } from './sales/sale.ts'
import { openSales } from './sales/sales.ts'
import { defaultSla, type SlaPromises } from './sales/sla.ts'

export type SellingOptions = {
  /** Path of the SQLite file with accounts, sales and ledger. */
  readonly path: string
  readonly network: string
  readonly hub: Signer
  readonly prices: PriceList
  readonly factor: OwnerFactor
  /** What is promised of answers; without it the usual. */
  readonly sla?: SlaPromises
  /** Credit of a new account, given by the hub. */
  readonly starterMicroUsd: MicroUsd
  /** Opens the rail that requests without a key are paid by; it is told how credit is added. */
  readonly openRail?: (credit: Credit) => Rail & Disposable
  /** Where buyers reach the API, if that is not the address they connect to. */
  readonly publicUrl?: string
  readonly nowMs: () => number
  /** Where cards are taken. */
  readonly cards?: CardRail
}

// A payment that takes longer than this is for a price that may have changed.
const termsLifeMs = 2 * 60_000

const offerFaults = {
  unknown: 'not one of this hub',
  expired: 'out of date',
  'other-query': 'for another query',
} as const

/** Opens the books, and the till in front of them. */
export const openSelling = (options: SellingOptions): { readonly till: Till } & Disposable => {
  const { network, hub, prices, factor, starterMicroUsd, nowMs } = options
  const sla = options.sla ?? defaultSla
  const sales = openSales({ ...options, sla })
  const rail = options.openRail?.(sales.credit)
  const termsHash = (asked: string): Uint8Array => saleHash(`terms ${asked}`)
  const parts: TillParts = {
    sales,
    priceOf: (rows, own) => priceOf(prices, rows, factor, own),
    openTally: (own) => openTally(prices, factor, own),
    usdText,
    // A signature of Ed25519 is the same each time (RFC 8032 s5.1.6), and nobody else makes it.
    tagSecret: saleHash(hub.sign(new TextEncoder().encode('groundtruth entity tags'))),
    sla,
    completenessOf,
    serviceMs,
    newSaleId,
    saleHash,
    makeOffer: (query, most) => {
      const { offer, jws } = makeOffer(network, query, most, nowMs(), hub)
      return { jws, expiresMs: offer.expiresMs }
    },
    acceptOffer: (jws, query) => {
      const accepted = acceptOffer(jws, network, query, nowMs(), hub.publicKey)
      return accepted.ok
        ? { ok: true, mostMicroUsd: accepted.offer.mostMicroUsd, hash: offerHash(jws) }
        : { ok: false, reason: offerFaults[accepted.reason] }
    },
    signUp: (wanted) => {
      const made = sales.keys.signUp(wanted, nowMs())
      const { customer } = made.key
      if (starterMicroUsd > 0n)
        sales.credit(`starter:${customer}`, 'starter', customer, starterMicroUsd, 'to begin with')
      return made
    },
    ownsStation: (claim, station, account) => {
      const verified = verifyOwner(claim, network, station, account, nowMs())
      return verified.ok ? { ok: true } : { ok: false, detail: verified.detail }
    },
    ...(rail === undefined ? {} : { rail }),
    ...(options.publicUrl === undefined ? {} : { publicUrl: options.publicUrl }),
    makeTerms: (asked, amount) => makeOffer(network, termsHash(asked), amount, nowMs(), hub).jws,
    holdTerms: (asked, terms) => {
      const accepted = acceptOffer(terms, network, termsHash(asked), nowMs(), hub.publicKey)
      if (!accepted.ok) return undefined
      const { expiresMs, mostMicroUsd } = accepted.offer
      return nowMs() > expiresMs - offerLifeMs + termsLifeMs ? undefined : mostMicroUsd
    },
    nowMs,
    ...(options.cards === undefined ? {} : { cards: { rail: options.cards, book: sales.cards } }),
  }
  return {
    till: openTill(parts),
    [Symbol.dispose]: () => {
      rail?.[Symbol.dispose]()
      sales[Symbol.dispose]()
    },
  }
}
