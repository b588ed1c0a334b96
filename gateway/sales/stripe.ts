/**
 * Cards through Stripe Checkout. A session is opened with the library; events come by webhook, signed
 * (docs.stripe.com/webhooks/signature), and are the only thing that moves money.
 */
import type Stripe from 'stripe'
import type { CardEvent, CardRail } from './cards.ts'
import type { MicroUsd } from './money.ts'

const microUsdPerCent = 10_000n

/** How old a signature may be: a recording of an event is worth nothing afterwards. */
const toleranceS = 300

// Somebody waits for the page, and may press again: the order's name makes a repetition the same session.
const answerMs = 8_000
const retries = 1

const orderName = 'groundtruth_order'

export type StripeOptions = {
  readonly secretKey: string
  readonly webhookSecret: string
  readonly successUrl: string
  readonly cancelUrl: string
  readonly apiUrl: string
}

const named = (one: string | { readonly id: string } | null | undefined): string | null =>
  typeof one === 'string' ? one : (one?.id ?? null)

/** Amounts of another currency than dollars have other parts; such an event is refused by its currency. */
const cents = (amount: number | null): MicroUsd =>
  Number.isSafeInteger(amount) ? BigInt(amount!) * microUsdPerCent : 0n

/** The few events that mean something here. */
const eventOf = (event: Stripe.Event): CardEvent => {
  switch (event.type) {
    case 'checkout.session.completed':
    case 'checkout.session.async_payment_succeeded': {
      const session = event.data.object
      // Bank debits complete a session days before they are paid.
      if (session.payment_status !== 'paid') return { kind: 'other', name: 'unpaid' }
      return {
        kind: 'paid',
        session: session.id,
        customers: [session.client_reference_id, session.metadata?.customer ?? null],
        amount: cents(session.amount_total),
        currency: session.currency ?? '',
        intent: named(session.payment_intent),
      }
    }
    case 'charge.refunded': {
      const charge = event.data.object
      return {
        kind: 'refunded',
        intent: named(charge.payment_intent),
        order: charge.metadata?.[orderName] ?? null,
        total: cents(charge.amount_refunded),
      }
    }
    case 'charge.dispute.created':
    case 'charge.dispute.funds_withdrawn':
    case 'charge.dispute.funds_reinstated':
    case 'charge.dispute.closed': {
      const dispute = event.data.object
      const back =
        event.type === 'charge.dispute.funds_reinstated' ||
        (event.type === 'charge.dispute.closed' && dispute.status === 'won')
      // A question of the card's bank is no dispute yet, and one that was lost was taken back when it began.
      if (!back && (event.type === 'charge.dispute.closed' || dispute.status.startsWith('warning_')))
        return { kind: 'other', name: event.type }
      return {
        kind: back ? 'dispute-won' : 'disputed',
        dispute: dispute.id,
        intent: named(dispute.payment_intent),
        amount: cents(dispute.amount),
      }
    }
    default:
      return { kind: 'other', name: event.type }
  }
}

/** Loads the library, and no sooner: a hub without cards does without it. */
export const openStripe = async (options: StripeOptions): Promise<CardRail> => {
  const { default: Library } = await import('stripe')
  const { protocol, hostname, port } = new URL(options.apiUrl)
  const client = new Library(options.secretKey, {
    protocol: protocol === 'http:' ? 'http' : 'https',
    host: hostname,
    ...(port === '' ? {} : { port }),
    timeout: answerMs,
    maxNetworkRetries: retries,
    telemetry: false,
  })
  /** What may be told of an error: messages of the service quote parts of the key. */
  const kindOf = (error: unknown): string => {
    const { type, code, statusCode } = error as { type?: string; code?: string; statusCode?: number }
    return [type, code, statusCode].filter((one) => one !== undefined).join(' ') || 'no answer'
  }
  return {
    name: 'stripe',
    open: async ({ order, customer, amount }) => {
      const metadata = { customer, [orderName]: order }
      try {
        const { id, url } = await client.checkout.sessions.create(
          {
            mode: 'payment',
            client_reference_id: customer,
            metadata,
            payment_intent_data: { metadata },
            success_url: options.successUrl,
            cancel_url: options.cancelUrl,
            line_items: [
              {
                quantity: 1,
                price_data: {
                  currency: 'usd',
                  unit_amount: Number(amount / microUsdPerCent),
                  product_data: { name: 'Credit for sensor data' },
                },
              },
            ],
          },
          { idempotencyKey: order },
        )
        if (typeof id !== 'string' || typeof url !== 'string')
          return { ok: false, detail: 'the card service answered without a page to pay at' }
        return { ok: true, session: id, url }
      } catch (error) {
        return { ok: false, detail: `the card service did not open a session (${kindOf(error)})` }
      }
    },
    read: (body, signature, nowMs) => {
      let event: Stripe.Event
      try {
        event = client.webhooks.constructEvent(
          Buffer.from(body),
          signature,
          options.webhookSecret,
          toleranceS,
          undefined,
          nowMs,
        )
      } catch {
        return { ok: false, detail: `not signed with this hub’s secret in the last ${toleranceS} s` }
      }
      try {
        return { ok: true, event: eventOf(event) }
      } catch {
        return { ok: false, detail: 'an event that cannot be read' }
      }
    },
  }
}
