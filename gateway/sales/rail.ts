/** The port to a pay-per-call rail: how a request without an account is paid, on the spot. */
import type { MicroUsd } from './money.ts'

/** A request as a rail sees it; `url` is absolute and the one that buyers know. */
export type RailRequest = {
  readonly method: string
  readonly url: string
  readonly header: (name: string) => string | undefined
}

/**
 * What has to be paid. `terms` is the hub's word on it, which the payment brings back: prices change while a payment is
 * on its way. `holds` gives the amount of terms that still count for this request.
 */
export type Due = {
  readonly amount: MicroUsd
  readonly terms: string
  readonly holds: (terms: string) => MicroUsd | undefined
}

/** A customer that has shown to be one; `once` names this payment, for an order that may be made only once. */
export type Paying = {
  readonly customer: string
  readonly once: string
  /** Whether the money of this payment is in the ledger; before that it may be paid from credit that is there. */
  readonly settled: boolean
  /** The terms that the buyer brought back, where they still hold, and the amount that they hold the hub to. */
  readonly terms?: { readonly text: string; readonly mostMicroUsd: MicroUsd }
}

/** Makes the sale, at once and without waiting; undefined where the customer's credit is not enough. */
export type SellTo<Sold> = (paying: Paying) => Sold | undefined

export type Taken<Sold> =
  | { readonly ok: true; readonly sold: Sold; readonly headers: Readonly<Record<string, string>> }
  | {
      readonly ok: false
      readonly slug: 'payment-invalid' | 'payment-failed' | 'settlement-pending' | 'settlement-unavailable'
      readonly detail: string
      readonly retryAfterS?: number
      readonly headers: Readonly<Record<string, string>>
    }

export type Rail = {
  /** As in receipts: `x402`. */
  readonly name: string
  /** Headers of a 402 answer that say what has to be paid, in the rail's own words. */
  due(request: RailRequest, due: Due): Readonly<Record<string, string>>
  /** Whether a request carries a payment of this rail. */
  carries(request: RailRequest): boolean
  /**
   * Takes the payment of a request. `sell` is asked before any money moves, as credit of an earlier payment may be
   * there, and again when the money is in the ledger. One payment sells once; its buyer may have the same again by
   * showing a secret that never was public.
   */
  take<Sold>(request: RailRequest, due: Due, sell: SellTo<Sold>): Promise<Taken<Sold>>
  /** Looks after payments under way until the signal aborts: what lands is credited, whoever waits for it. */
  run(signal: AbortSignal): Promise<void>
}

/** Adds money that came by a rail to a customer's credit; false where this request was credited before. */
export type Credit = (
  request: string,
  rail: string,
  customer: string,
  amount: MicroUsd,
  memo: string,
) => boolean
