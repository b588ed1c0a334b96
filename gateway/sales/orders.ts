/**
 * Orders: each is sold once, and given again for as long as it may not have come whole. Payment, receipt and the body
 * that is owed are one transaction, on disk before a byte is served.
 */
import { toHex } from '../reading/bytes.ts'
import type { Signer } from '../reading/cose.ts'
import type { Bodies, Delivery } from './bodies.ts'
import type { Keys } from './keys.ts'
import type { Ledger } from './ledger.ts'
import type { MicroUsd } from './money.ts'
import type { Price, PriceList } from './price.ts'
import { incomeOf, ownersOf, signReceipt, soldScope } from './receipt.ts'
import type { Refunds } from './refunds.ts'
import { creditOf, hubIncome, type Payer, type Sale, type SaleTable, saleHash } from './sale.ts'
import { creditFor, type Measured } from './sla.ts'
import type { SlaBook } from './sla-book.ts'

export type Order = {
  /** What the sale will be called: `newSaleId()`. */
  readonly id: string
  readonly payer: Payer
  /** Idempotency-Key of the buyer; without one every order is another. */
  readonly idempotencyKey?: string
  /** SHA-256 of the canonical text of the query, its resolved times included. */
  readonly query: Uint8Array
  /** What an Idempotency-Key is bound to: the query as it was asked, before its times were resolved. */
  readonly asked: string
  readonly scope: string
  readonly price: Price
  /** Most that may be asked, by an offer, and its hash. */
  readonly offer?: { readonly mostMicroUsd: MicroUsd; readonly hash: Uint8Array }
  readonly delivery: Delivery
  /** How well the answer keeps what is promised of it; undefined where nothing is. */
  readonly measured?: Measured
}

export type Sold =
  | { readonly ok: true; readonly sale: Sale; readonly delivery: Delivery; readonly again: boolean }
  | {
      readonly ok: false
      readonly reason: 'insufficient'
      readonly price: MicroUsd
      readonly balance: MicroUsd
    }
  | { readonly ok: false; readonly reason: 'budget'; readonly price: MicroUsd }
  | { readonly ok: false; readonly reason: 'conflict' }

// How long an order like one that did not arrive whole gets that one again, without an Idempotency-Key.
const againMs = 15 * 60_000
// When the buyer of a body of which nothing was taken is paid back: long after any connection has ended.
const givenUpMs = againMs + 5 * 60_000

const requestOf = (customer: string, idempotencyKey: string): string =>
  toHex(saleHash(JSON.stringify([customer, idempotencyKey])))

export type OrderDeps = {
  readonly ledger: Ledger
  readonly keys: Keys
  readonly table: SaleTable
  readonly bodies: Bodies
  readonly refunds: Refunds
  readonly network: string
  readonly hub: Signer
  readonly prices: PriceList
  readonly slaBook: SlaBook
  readonly mostCreditPermille: number
  readonly nowMs: () => number
}

/** Sells orders. */
export const openOrders = (deps: OrderDeps) => {
  const { ledger, keys, table, bodies, refunds, network, hub, prices, slaBook, nowMs } = deps

  /** A sale made before to this order's buyer that answers it: by its Idempotency-Key, or one that never arrived. */
  const owed = ({
    payer,
    idempotencyKey,
    asked,
  }: Pick<Order, 'payer' | 'idempotencyKey' | 'asked'>):
    | Extract<Sold, { ok: true }>
    | 'conflict'
    | undefined => {
    if (idempotencyKey === undefined) {
      const id = bodies.undelivered(payer.customer, asked, nowMs() - againMs)
      if (id === undefined) return undefined
      const sale = table.find(id, payer.customer)!
      return { ok: true, sale, delivery: bodies.of(id)!, again: true }
    }
    const sale = table.byRequest(requestOf(payer.customer, idempotencyKey))
    if (sale === undefined) return undefined
    const delivery = sale.asked === asked ? bodies.of(sale.id) : undefined
    // What was served and is not kept any more cannot be given again, and is not sold twice under one name.
    return delivery === undefined ? 'conflict' : { ok: true, sale, delivery, again: true }
  }

  const sell = (order: Order): Sold => {
    const { id, payer, price, delivery, offer, measured } = order
    refunds.refundUnserved(nowMs() - givenUpMs, 'nobody took it')
    const before = owed(order)
    if (before === 'conflict') return { ok: false, reason: 'conflict' }
    if (before !== undefined) return before
    const timeMs = nowMs()
    let amount = price.totalMicroUsd
    if (offer !== undefined && offer.mostMicroUsd < amount) amount = offer.mostMicroUsd
    const credit = measured === undefined ? 0n : creditFor(amount, measured, deps.mostCreditPermille)
    // Of what stays paid: who buys of his own station, as a stranger, what falls short must not earn by it.
    const shares = ownersOf(prices, price, amount - credit)
    const signed = signReceipt(
      {
        id,
        issuedMs: timeMs,
        query: order.query,
        response: saleHash(delivery.body),
        rows: price.rows,
        values: price.values,
        priceMicroUsd: Number(amount),
        rail: payer.rail,
        shares,
        ...(offer === undefined ? {} : { offer: offer.hash }),
        ...soldScope(order.scope),
        ...(credit === 0n ? {} : { creditMicroUsd: Number(credit) }),
      },
      network,
      hub,
    )
    const packed = bodies.pack(delivery)
    const sale: Sale = {
      id,
      customer: payer.customer,
      query: order.query,
      scope: order.scope,
      timeMs,
      priceMicroUsd: amount,
      rows: price.rows,
      state: 'open',
      ...signed,
    }
    const request = order.idempotencyKey === undefined ? id : requestOf(payer.customer, order.idempotencyKey)
    let overBudget = false
    const record = (): boolean => {
      overBudget = payer.key !== undefined && amount > 0n && !keys.spend(payer.key.id, amount)
      if (overBudget) return false
      if (payer.key !== undefined && credit > 0n) keys.spend(payer.key.id, -credit)
      if (measured !== undefined) slaBook.note(id, measured, credit, timeMs)
      // A sale that was paid back, or whose body is gone, answers this no more: the order is another from here on.
      table.freeRequest(request)
      table.insert({ ...sale, request, apiKey: payer.key?.id ?? null, asked: order.asked })
      bodies.keep(id, timeMs, delivery.contentType, packed)
      return true
    }
    const account = creditOf(payer.customer)
    const posted = ledger.together((post) => {
      post({
        request: `sale:${id}`,
        kind: 'sale',
        timeMs,
        memo: payer.rail,
        entries: [{ account, amount: -amount }, ...incomeOf(shares, amount)],
      })
      if (credit > 0n)
        post({
          request: `sla:${id}`,
          kind: 'sla',
          timeMs,
          memo: `less than was promised of ${measured!.product}`,
          entries: [
            { account: hubIncome, amount: -credit },
            { account, amount: credit },
          ],
        })
      return record()
    })
    if (!posted.ok && posted.reason === 'insufficient')
      return { ok: false, reason: 'insufficient', price: amount, balance: posted.balance }
    if (!posted.ok && overBudget) return { ok: false, reason: 'budget', price: amount }
    if (!posted.ok) throw new Error(`sale ${id} is in the books already`)
    bodies.makeRoom(packed)
    return { ok: true, sale, delivery, again: false }
  }

  return { owed, sell }
}

export type Orders = ReturnType<typeof openOrders>
