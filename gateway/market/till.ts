/** The till: what stands between a query and its answer where data is sold. */
import type { Context } from 'hono'
import type { Delivery } from '../sales/bodies.ts'
import type { CardBook, CardRail } from '../sales/cards.ts'
import type { ApiKey, NewKey } from '../sales/keys.ts'
import type { MicroUsd } from '../sales/money.ts'
import type { Order } from '../sales/orders.ts'
import type { Price, PricedRow, Tally } from '../sales/price.ts'
import type { Due, Paying, Rail, RailRequest, SellTo } from '../sales/rail.ts'
import type { Payer, Sale } from '../sales/sale.ts'
import type { Sales } from '../sales/sales.ts'
import type { Measured, SlaPromises } from '../sales/sla.ts'
import { entityTag, isNotModified } from './api.ts'
import { openCallers } from './callers.ts'
import { idempotencyKeyIn } from './idempotency-key.ts'
import { type Fault, fault, type PaymentDue, Problem } from './problem.ts'
import type { CompletenessDeps } from './sla.ts'
import { tabsOf } from './tab.ts'
import { timeText } from './time.ts'
import { budgetFault, creditFault, due as dueOf } from './unpaid.ts'

/** A card service and the book of its payments. */
export type Cards = { readonly rail: CardRail; readonly book: CardBook }

/** The rooms of the sales that the till works with, handed in: functions of other stages. */
export type TillParts = {
  readonly sales: Sales
  readonly priceOf: (rows: Iterable<PricedRow>, own: ReadonlySet<string>) => Price
  /** A price that grows row by row; rows of these stations cost nothing. */
  readonly openTally: (own: ReadonlySet<string>) => Tally
  readonly usdText: (amount: MicroUsd) => string
  readonly newSaleId: () => string
  readonly saleHash: (text: string | Uint8Array) => Uint8Array
  /** Makes a signed offer for a query (SHA-256). */
  readonly makeOffer: (
    query: Uint8Array,
    most: MicroUsd,
  ) => { readonly jws: string; readonly expiresMs: number }
  /** The maximum of an offer that a buyer brings back and its hash, or what is wrong with it. */
  readonly acceptOffer: (
    jws: string,
    query: Uint8Array,
  ) =>
    | { readonly ok: true; readonly mostMicroUsd: MicroUsd; readonly hash: Uint8Array }
    | { readonly ok: false; readonly reason: string }
  /** A new account with its first key, and what credit it begins with. */
  readonly signUp: (wanted: NewKey) => { readonly key: ApiKey; readonly secret: string }
  /** Whether a claim is that station's word that it belongs to that account. */
  readonly ownsStation: (
    claim: string,
    station: string,
    account: string,
  ) => { readonly ok: true } | { readonly ok: false; readonly detail: string }
  /** How a request without a key is paid on the spot; without it a key is needed. */
  readonly rail?: Rail
  /** The hub's word on a price, for a request as it was asked, for as long as a payment may take; and whether it holds. */
  readonly makeTerms: (asked: string, amount: MicroUsd) => string
  readonly holdTerms: (asked: string, terms: string) => MicroUsd | undefined
  /** Where buyers reach the API, if that is not the address they connect to. */
  readonly publicUrl?: string
  readonly nowMs: () => number
  /** Where cards are taken. */
  readonly cards?: Cards
  /** With what entity tags are made: they are told before anything is paid. The same after a restart. */
  readonly tagSecret: Uint8Array
  readonly sla: SlaPromises
  /** Counts what is expected of sensors in a span, and what is there; what is silent for longer is out of service. */
  readonly completenessOf: CompletenessDeps['completenessOf']
  readonly serviceMs: number
}

/** An answer that has a price, made and not yet given. */
export type Priced = {
  /** What a bundle of the same asks for, as JSON. */
  readonly scope: string
  readonly price: Price
  readonly delivery: Delivery
  /** Looks how well the answer keeps what is promised of it; undefined where nothing can be told. */
  readonly measure?: () => Promise<Measured | undefined>
  /** The entity tag's parts where the answer's span is closed. */
  readonly tag?: Iterable<string>
}

const chunkBytes = 64 * 1024

const exposed = (amount: MicroUsd): string => `${amount}`

/** The till of an API. */
export const openTill = (parts: TillParts) => {
  const { sales, usdText, saleHash, newSaleId, nowMs, rail, publicUrl, tagSecret } = parts
  const callers = openCallers(sales, nowMs)
  const { keyOf, allowed, saleInForce } = callers

  const due = (
    amount: MicroUsd,
    offer?: { readonly jws: string; readonly expiresMs: number },
  ): PaymentDue => ({
    ...dueOf(amount, usdText),
    ...(offer === undefined ? {} : { offer: offer.jws, offerExpires: timeText(offer.expiresMs) }),
  })

  const offerIn = (c: Context, query: Uint8Array): Order['offer'] => {
    const jws = c.req.header('offer')
    if (jws === undefined) return undefined
    const accepted = parts.acceptOffer(jws, query)
    if (!accepted.ok) throw new Problem(fault('offer-invalid', `the offer is ${accepted.reason}`))
    return accepted
  }

  /** A body that tells how much of it was taken. */
  const watched = (body: Uint8Array, sale: Sale): ReadableStream<Uint8Array<ArrayBuffer>> => {
    let at = 0
    return new ReadableStream(
      {
        pull: (controller) => {
          if (at >= body.length) {
            controller.close()
            sales.served(sale, 'all')
            return
          }
          controller.enqueue(new Uint8Array(body.subarray(at, at + chunkBytes)))
          at += chunkBytes
        },
        cancel: () => sales.served(sale, at === 0 ? 'nothing' : 'some'),
      },
      { highWaterMark: 0 },
    )
  }

  const digestOf = (body: Uint8Array): string => `sha-256=:${Buffer.from(saleHash(body)).toString('base64')}:`

  const balanceOf = (customer: string): MicroUsd => sales.ledger.balance(`customer:${customer}`)

  const give = (
    c: Context,
    sold: { readonly sale: Sale; readonly delivery: Delivery; readonly again: boolean },
    payer: Payer,
  ): Response => {
    const { sale, delivery } = sold
    c.header('content-type', delivery.contentType)
    c.header('cache-control', 'private, no-store')
    c.header('content-digest', digestOf(delivery.body))
    c.header('price', exposed(sale.priceMicroUsd))
    c.header('receipt-id', sale.id)
    const outcome = sales.sla.outcome(sale.id)
    const credit = outcome?.creditMicroUsd ?? 0n
    if (outcome !== undefined) {
      c.header('sla-reached', (outcome.reachedPermille / 1000).toFixed(3))
      c.header('sla-credit', exposed(credit))
    }
    c.header('credits-remaining', exposed(balanceOf(payer.customer)))
    if (sold.again) c.header('age', `${Math.max(0, Math.floor((nowMs() - sale.timeMs) / 1000))}`)
    const { key } = payer
    if (key !== undefined && key.budget !== null) {
      // The key was looked up before this was paid, and after what is given again was.
      const spent = key.spent + (sold.again ? 0n : sale.priceMicroUsd - credit)
      const left = key.budget - spent
      c.header('budget-remaining', exposed(left < 0n ? 0n : left))
      const percent = key.budget === 0n ? 100n : (spent * 100n) / key.budget
      if (key.alarmPercent !== null && percent >= BigInt(key.alarmPercent))
        c.header('budget-alarm', `${percent}`)
    }
    return c.body(watched(delivery.body, sale))
  }

  const free = (c: Context, { delivery, tag }: Pick<Priced, 'delivery' | 'tag'>): Response => {
    // A later page, or an owner's own: what is free for one is not for whoever asks a shared cache.
    c.header('cache-control', 'private, no-cache')
    if (tag !== undefined) {
      const etag = entityTag(tag, tagSecret)
      c.header('etag', etag)
      if (isNotModified(c, etag)) return c.body(null, 304)
    }
    c.header('content-type', delivery.contentType)
    c.header('content-digest', digestOf(delivery.body))
    c.header('price', '0')
    return c.body(new Uint8Array(delivery.body))
  }

  const refusalOf = (sold: Extract<ReturnType<Sales['sell']>, { ok: false }>): Fault => {
    switch (sold.reason) {
      case 'conflict':
        return fault('idempotency-conflict', 'it was used for another query before')
      case 'budget':
        return budgetFault(sold.price, usdText)
      case 'insufficient':
        return creditFault(sold.price, sold.balance, usdText)
    }
  }

  const railRequest = (c: Context): RailRequest => {
    const { origin, pathname, search } = new URL(c.req.url)
    return {
      method: c.req.method,
      url: `${publicUrl ?? origin}${pathname}${search}`,
      header: (name) => c.req.header(name),
    }
  }

  const railDue = (asked: string, amount: MicroUsd): Due => ({
    amount,
    terms: parts.makeTerms(asked, amount),
    holds: (terms) => parts.holdTerms(asked, terms),
  })

  /** Sells for a payment in the request; a request without one is told what has to be paid. */
  const collect = async <Sold>(
    c: Context,
    asked: string,
    amount: MicroUsd,
    sell: SellTo<Sold>,
    offer?: Parameters<typeof due>[1],
  ): Promise<Sold> => {
    const request = railRequest(c)
    const payment = due(amount, offer)
    const wanted = railDue(asked, amount)
    if (rail?.carries(request) !== true)
      throw new Problem(
        fault('payment-required', `this costs ${usdText(amount)} USD`, {
          payment,
          ...(rail === undefined ? {} : { headers: rail.due(request, wanted) }),
        }),
      )
    const taken = await rail.take(request, wanted, sell)
    if (!taken.ok) {
      const { slug, detail, headers, retryAfterS } = taken
      const retry = retryAfterS === undefined ? {} : { retryAfterS }
      throw new Problem(fault(slug, detail, { payment, headers, ...retry }))
    }
    for (const [name, value] of Object.entries(taken.headers)) c.header(name, value)
    return taken.sold
  }

  return {
    ...parts,
    ...callers,
    offerIn,
    due,
    collect,
    balanceOf,
    openTab: tabsOf(parts),
    /** SHA-256 of a query's canonical text. */
    queryHash: saleHash,
    /**
     * Sells an answer, or gives it where it costs nothing, was paid with an earlier page, or is owed. `asked` is the same
     * for the same request at any time; `query` has its times resolved, and offers, receipts and later pages are bound to
     * it. `once` names an order whose answer still serves when it is asked for again, without an Idempotency-Key: the
     * same account gets the same bytes for nothing as long as they are kept. `make` reads and prices the answer; its
     * `sale` is what a cursor in it names, and `paid` the earlier sale that pays for it, where there is one.
     */
    serve: async (
      c: Context,
      asked: string,
      {
        query,
        sale: paidBy,
        once: name,
      }: { readonly query: string; readonly sale?: string; readonly once?: string },
      make: (sale: string, own: ReadonlySet<string>, paid: Sale | undefined) => Promise<Priced>,
    ): Promise<Response> => {
      const key = allowed(keyOf(c), 'read')
      const payer: Payer | undefined = key && { customer: key.customer, key, rail: 'credits' }
      const hash = saleHash(query)
      const named = paidBy === undefined ? undefined : saleInForce(c, paidBy)
      const paid = named !== undefined && Buffer.from(named.query).equals(hash) ? named : undefined
      // Noted before the page is made: nobody has a later page and gets the money back because nothing was taken.
      if (paid !== undefined && c.req.method !== 'HEAD') sales.served(paid, 'some')
      const chosen = idempotencyKeyIn(c)
      let idempotencyKey = chosen ?? name
      if (payer !== undefined && paid === undefined) {
        const owed = sales.owed({ payer, asked, ...(idempotencyKey === undefined ? {} : { idempotencyKey }) })
        if (owed === 'conflict' && chosen !== undefined)
          throw new Problem(fault('idempotency-conflict', 'it was used for another query before'))
        // What is not kept any more is a new order.
        if (owed === 'conflict') idempotencyKey = undefined
        else if (owed !== undefined) return give(c, owed, payer)
      }
      const once = idempotencyKey === undefined ? {} : { idempotencyKey }
      const id = paid?.id ?? newSaleId()
      const own = key === undefined ? new Set<string>() : sales.keys.ownStations(key.customer)
      const priced = await make(id, own, paid)
      const amount = priced.price.totalMicroUsd
      if (paid !== undefined || amount === 0n) return free(c, priced)
      // What somebody has already, and a look at the headers, cost nothing.
      if (priced.tag !== undefined) {
        const etag = entityTag(priced.tag, tagSecret)
        c.header('etag', etag)
        if (payer !== undefined && isNotModified(c, etag)) {
          c.header('price', '0')
          return c.body(null, 304)
        }
      }
      if (c.req.method === 'HEAD') {
        c.header('price', exposed(amount))
        return c.body(null)
      }
      const offer = offerIn(c, hash)
      const { price, delivery, scope } = priced
      // Nobody is measured for who does not pay yet.
      const pays = payer !== undefined || rail?.carries(railRequest(c)) === true
      const measured = pays ? await priced.measure?.() : undefined
      const order = {
        ...{ id, asked, query: hash, scope, price, delivery },
        ...(measured === undefined ? {} : { measured }),
      }
      if (payer === undefined) {
        const most = offer !== undefined && offer.mostMicroUsd < amount ? offer.mostMicroUsd : amount
        const sellTo = ({ customer, once, terms }: Paying) => {
          const wallet: Payer = { customer, rail: rail?.name ?? '' }
          const owed = sales.owed({ payer: wallet, asked })
          if (owed !== undefined && owed !== 'conflict') return { sold: owed, wallet }
          const bound =
            terms === undefined ? offer : { mostMicroUsd: terms.mostMicroUsd, hash: saleHash(terms.text) }
          const sold = sales.sell({
            ...order,
            payer: wallet,
            idempotencyKey: once,
            ...(bound === undefined ? {} : { offer: bound }),
          })
          if (sold.ok) return { sold, wallet }
          if (sold.reason === 'insufficient') return undefined
          throw new Problem(refusalOf(sold))
        }
        const { sold, wallet } = await collect(c, asked, most, sellTo, parts.makeOffer(hash, amount))
        return give(c, sold, wallet)
      }
      const sold = sales.sell({ ...order, payer, ...once, ...(offer === undefined ? {} : { offer }) })
      if (!sold.ok) throw new Problem(refusalOf(sold))
      return give(c, sold, payer)
    },
  }
}

export type Till = ReturnType<typeof openTill>
