/**
 * Card payments as a rail: what a card service is asked for and tells, and what its payments do to the books. An event
 * counts only for a session that was opened here, for the same customer and the same amount.
 */
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import type { AccountName, Ledger } from './ledger.ts'
import { type MicroUsd, usdText } from './money.ts'

/** What a card service says, checked to come from it. `intent` is its name of the payment that refunds refer to. */
export type CardEvent =
  | {
      readonly kind: 'paid'
      readonly session: string
      readonly customers: readonly (string | null)[]
      readonly amount: MicroUsd
      readonly currency: string
      readonly intent: string | null
    }
  /** `total` is all that was refunded of the payment until then. */
  | {
      readonly kind: 'refunded'
      readonly intent: string | null
      readonly order: string | null
      readonly total: MicroUsd
    }
  | {
      readonly kind: 'disputed' | 'dispute-won'
      readonly dispute: string
      readonly intent: string | null
      readonly amount: MicroUsd
    }
  | { readonly kind: 'other'; readonly name: string }

/** A card service. `details` never hold a secret. */
export type CardRail = {
  /** Name of its account in the ledger. */
  readonly name: string
  /** Opens a page where that amount can be paid. `order` makes a repetition the same session. */
  open(wanted: {
    readonly order: string
    readonly customer: string
    readonly amount: MicroUsd
  }): Promise<
    | { readonly ok: true; readonly session: string; readonly url: string }
    | { readonly ok: false; readonly detail: string }
  >
  /** Reads an event from the bytes of a request and its signature; refuses what the service did not sign lately. */
  read(
    body: Uint8Array,
    signature: string,
    nowMs: number,
  ): { readonly ok: true; readonly event: CardEvent } | { readonly ok: false; readonly detail: string }
}

/**
 * What became of an event. `early`: its payment has not been told yet, so that it must come again; `mismatch`: it is
 * about a session of ours, and says other things of it.
 */
export type Booked =
  | { readonly ok: true; readonly done: 'credited' | 'taken-back' | 'given-again' | 'already' | 'ignored' }
  | { readonly ok: false; readonly reason: 'mismatch' | 'early'; readonly detail: string }

const schema = `
  CREATE TABLE IF NOT EXISTS checkout (
    session TEXT PRIMARY KEY,
    order_id TEXT NOT NULL UNIQUE,
    rail TEXT NOT NULL,
    customer TEXT NOT NULL REFERENCES customer (id),
    amount INTEGER NOT NULL CHECK (amount > 0),
    created_ms INTEGER NOT NULL,
    paid_ms INTEGER,
    intent TEXT,
    refunded INTEGER NOT NULL DEFAULT 0,
    disputed INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS checkout_intent ON checkout (intent) WHERE intent IS NOT NULL;
`

type Checkout = {
  readonly session: string
  readonly customer: string
  readonly amount: MicroUsd
  readonly paid: boolean
  readonly refunded: MicroUsd
  readonly disputed: MicroUsd
}

const asCheckout = (row: Record<string, SQLOutputValue>): Checkout => ({
  session: row.session as string,
  customer: row.customer as string,
  amount: row.amount as bigint,
  paid: row.paid_ms !== null,
  refunded: row.refunded as bigint,
  disputed: row.disputed as bigint,
})

const lesser = (one: MicroUsd, other: MicroUsd): MicroUsd => {
  if (one < other) return one
  return other
}

// The hub bears what a customer has spent before the card's owner got it back.
const loss: AccountName = 'hub:card-loss'

/** The book of card payments in the database of the sales. */
export const openCardBook = (database: DatabaseSync, ledger: Ledger, nowMs: () => number) => {
  database.exec(schema)
  const add = database.prepare(
    'INSERT OR IGNORE INTO checkout (session, order_id, rail, customer, amount, created_ms) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const bySession = database.prepare('SELECT * FROM checkout WHERE session = ? AND rail = ?')
  const byIntent = database.prepare('SELECT * FROM checkout WHERE intent = ? AND rail = ?')
  const byOrder = database.prepare('SELECT * FROM checkout WHERE order_id = ? AND rail = ?')
  const notePaid = database.prepare('UPDATE checkout SET paid_ms = ?, intent = ? WHERE session = ?')
  const noteDisputed = database.prepare('UPDATE checkout SET disputed = disputed + ? WHERE session = ?')
  const noteRefunded = database.prepare('UPDATE checkout SET refunded = ? WHERE session = ?')

  const credited = (rail: string, event: Extract<CardEvent, { kind: 'paid' }>): Booked => {
    const row = bySession.get(event.session, rail)
    // Other things may be sold through the same account of the card service.
    if (row === undefined) return { ok: true, done: 'ignored' }
    const { session, customer, amount } = asCheckout(row)
    if (event.customers.some((one) => one !== customer))
      return { ok: false, reason: 'mismatch', detail: 'the session was opened for another customer' }
    if (event.currency !== 'usd' || event.amount !== amount)
      return {
        ok: false,
        reason: 'mismatch',
        detail: `the session was opened for ${usdText(amount)} USD, and another amount was paid`,
      }
    const posted = ledger.post(
      {
        request: `${rail}:${session}`,
        kind: 'credit',
        timeMs: nowMs(),
        memo: `card payment ${session}`,
        entries: [
          { account: `world:${rail}`, amount: -amount },
          { account: `customer:${customer}`, amount },
        ],
      },
      () => Number(notePaid.run(nowMs(), event.intent, session).changes) > 0,
    )
    return { ok: true, done: posted.ok ? 'credited' : 'already' }
  }

  /** Takes credit back as far as there is, and posts the rest as the hub's loss. */
  const takeBack = (
    rail: string,
    { customer }: Checkout,
    amount: MicroUsd,
    request: string,
    memo: string,
    also?: () => boolean,
  ): Booked => {
    for (;;) {
      const there = ledger.balance(`customer:${customer}`)
      const taken = lesser(there, amount)
      const posted = ledger.post(
        {
          request,
          kind: 'chargeback',
          timeMs: nowMs(),
          memo,
          entries: [
            { account: `customer:${customer}`, amount: -taken },
            { account: loss, amount: taken - amount },
            { account: `world:${rail}`, amount },
          ],
        },
        also,
      )
      if (posted.ok) return { ok: true, done: 'taken-back' }
      // Another process has spent it meanwhile: what is left is taken.
      if (posted.reason !== 'insufficient') return { ok: true, done: 'already' }
    }
  }

  const refunded = (rail: string, event: Extract<CardEvent, { kind: 'refunded' }>): Booked => {
    const row =
      (event.intent === null ? undefined : byIntent.get(event.intent, rail)) ??
      (event.order === null ? undefined : byOrder.get(event.order, rail))
    if (row === undefined) return { ok: true, done: 'ignored' }
    const checkout = asCheckout(row)
    if (!checkout.paid)
      return { ok: false, reason: 'early', detail: 'the payment of this refund has not been told yet' }
    // What a dispute has taken is not taken again.
    const total = lesser(event.total, checkout.amount - checkout.disputed)
    // Totals may come in any order: only what is more than before is taken.
    if (total <= checkout.refunded) return { ok: true, done: 'already' }
    return takeBack(
      rail,
      checkout,
      total - checkout.refunded,
      `${rail}-refund:${checkout.session}:${total}`,
      `card payment ${checkout.session} was refunded`,
      () => Number(noteRefunded.run(total, checkout.session).changes) > 0,
    )
  }

  const disputed = (rail: string, event: Extract<CardEvent, { dispute: string }>): Booked => {
    const row = event.intent === null ? undefined : byIntent.get(event.intent, rail)
    if (row === undefined) return { ok: true, done: 'ignored' }
    const checkout = asCheckout(row)
    const request = `${rail}-dispute:${event.dispute}`
    if (event.kind === 'disputed') {
      const left = checkout.amount - checkout.refunded - checkout.disputed
      const amount = lesser(event.amount, left)
      if (amount <= 0n) return { ok: true, done: 'already' }
      const memo = `card payment ${checkout.session} is disputed`
      return takeBack(
        rail,
        checkout,
        amount,
        request,
        memo,
        () => Number(noteDisputed.run(amount, checkout.session).changes) > 0,
      )
    }
    const taken = ledger.entriesOfRequest(request)
    if (taken.length === 0)
      return { ok: false, reason: 'early', detail: 'this dispute has not been told yet' }
    const back = taken.find(({ account }) => account === `world:${rail}`)!.amount
    const posted = ledger.post(
      {
        request: `${request}:won`,
        kind: 'credit',
        timeMs: nowMs(),
        memo: `the dispute of card payment ${checkout.session} was won`,
        entries: taken.map(({ account, amount }) => ({ account, amount: -amount })),
      },
      () => Number(noteDisputed.run(-back, checkout.session).changes) > 0,
    )
    return { ok: true, done: posted.ok ? 'given-again' : 'already' }
  }

  return {
    /** Notes a session that was opened, before anybody is told where to pay. */
    opened: (
      rail: string,
      session: string,
      {
        order,
        customer,
        amount,
      }: { readonly order: string; readonly customer: string; readonly amount: MicroUsd },
    ): void => void add.run(session, order, rail, customer, amount, nowMs()),
    /** Books an event; the same twice counts once. */
    book: (rail: string, event: CardEvent): Booked => {
      switch (event.kind) {
        case 'paid':
          return credited(rail, event)
        case 'refunded':
          return refunded(rail, event)
        case 'disputed':
        case 'dispute-won':
          return disputed(rail, event)
        case 'other':
          return { ok: true, done: 'ignored' }
      }
    },
  }
}

export type CardBook = ReturnType<typeof openCardBook>
