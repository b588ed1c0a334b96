/**
 * The rail x402 (v2, scheme `exact`, EIP-3009): a signed transfer in the header of the request pays for it. The money is
 * in the ledger before anything is served, under a name that the chain makes unique; so whatever stops in between, it is
 * the wallet's credit and pays its next try.
 *
 * A settled authorization is public calldata: showing it proves nothing. What it bought is given again only to who shows
 * a secret that never goes on the chain: the id of the extension payment-identifier, or an Idempotency-Key.
 */
import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { encodePaymentRequiredHeader, encodePaymentResponseHeader } from '@x402/core/http'
import { type Hex, isAddressEqual } from 'viem'
import { usdText } from './money.ts'
import type { Credit, Due, Rail, RailRequest, SellTo, Taken } from './rail.ts'
import { headerNames, type Payment, readPayment } from './x402-header.ts'
import { type KeptPayment, openPayments, type Payments } from './x402-payments.ts'
import { type Outcome, openSettler, type SettlerOptions, validS } from './x402-settle.ts'

export type X402Options = Omit<SettlerOptions, 'payments' | 'waitMs' | 'pollMs' | 'chainMs'> & {
  /** Path of the SQLite file with payments. */
  readonly path: string
  readonly credit: Credit
  readonly log: (message: string) => void
  /** How long a request waits for its block; 8 s unless told, below what an answer may take. */
  readonly waitMs?: number
  /** Between looks at a payment under way; 200 ms unless told. */
  readonly pollMs?: number
  /** How long the chain may take for a check and for sending each; 4 s unless told. */
  readonly chainMs?: number
  /** Between rounds over payments that nobody waits for; 3 s unless told. */
  readonly roundMs?: number
}

/** How often, and how long, what was bought is given again to who shows the secret. */
export const mostServed = 10
export const servedForMs = 24 * 3_600_000

// Below this a secret can be guessed.
const secretLength = 16

// A thousand dollars: no request costs more, and nobody tops up more at once.
const mostValue = 1_000_000_000n

// Requests with a payment that are looked at at once; each asks the chain a dozen times.
const mostAtOnce = 64

// Payments looked after in one round.
const mostInRound = 100

// A client's clock may be ahead of ours.
const slackS = 120

const pendingRetryS = 2
const awayRetryS = 10

/** The customer that a wallet is. */
export const customerOf = (payer: Hex): string => `x402-${payer.toLowerCase()}`

const secretOf = (payment: Payment, request: RailRequest): string | undefined =>
  [payment.identifier, request.header('idempotency-key')].find(
    (secret) => secret !== undefined && secret.length >= secretLength,
  )

/** Names a payment with its secret and the address it was made for. Without a secret no second request has the same. */
const keyOf = ({ from, nonce, signature }: Payment, secret: string, { method, url }: RailRequest): string =>
  createHash('sha256')
    .update(JSON.stringify([from, nonce, signature, secret, method, url]))
    .digest('hex')

type Refusal = Extract<Taken<never>, { ok: false }>

/** What the buyer may do with a payment that is under way. */
const retryAdvice = (hasSecret: boolean): string =>
  hasSecret
    ? 'send the same request with the same signature again; never sign anew'
    : 'when it has landed it is credit of the wallet, and the next request signed by the wallet is paid from it'

/** Opens the rail. */
export const openX402 = (options: X402Options): Rail & Disposable => {
  const { asset, payTo, chainId, credit, log } = options
  const { waitMs = 8000, pollMs = 200, roundMs = 3000, chainMs = 4000 } = options
  const payments: Payments = openPayments(options.path, `${chainId}:${asset.toLowerCase()}`)
  const settler = openSettler({ ...options, payments, waitMs, pollMs, chainMs })
  const network = `eip155:${chainId}` as const
  let trouble: string | undefined
  const underWay = new Set<string>()
  const nameOf = ({ payer, nonce }: Pick<KeptPayment, 'payer' | 'nonce'>): string => `${payer} ${nonce}`

  const due: Rail['due'] = ({ url }, { amount, terms }) => ({
    [headerNames.required]: encodePaymentRequiredHeader({
      x402Version: 2,
      error: 'payment required',
      resource: { url },
      accepts: [settler.requirementsOf(amount, terms)],
      extensions: {
        'payment-identifier': {
          info: { required: false },
          schema: {
            type: 'object',
            properties: {
              required: { type: 'boolean' },
              id: { type: 'string', minLength: secretLength, maxLength: 128 },
            },
          },
        },
      },
    }),
  })

  const response = (success: boolean, payer: Hex, transaction: Hex | null, errorReason?: string) => ({
    [headerNames.response]: encodePaymentResponseHeader({
      success,
      payer,
      transaction: transaction ?? '',
      network,
      ...(errorReason === undefined ? {} : { errorReason }),
    }),
  })

  /** Puts the money of a payment that has landed into the ledger; twice is once. */
  const book = (kept: KeptPayment, transaction: Hex): void => {
    const { payer, nonce, value } = kept
    const name = `x402:${chainId}:${asset.toLowerCase()}:${payer.toLowerCase()}:${nonce}`
    credit(name, 'x402', customerOf(payer), value, `${network} ${transaction}`)
    payments.set(kept, 'settled', transaction)
  }

  /** Looks at a payment under way, and notes what became of it. */
  const conclude = async (kept: KeptPayment): Promise<Outcome> => {
    const outcome = await settler.look(kept)
    if (outcome.state === 'settled') book(kept, outcome.transaction)
    if (outcome.state === 'failed') payments.drop(kept)
    return outcome
  }

  /** What is wrong with a payment that can be seen without asking anybody. */
  const faultOf = (payment: Payment, least: bigint): string | undefined => {
    const { from, to, value, amount, validBeforeS } = payment
    if (payment.network !== network) return `it is for ${payment.network}, and ${network} is asked for`
    if (!isAddressEqual(payment.asset, asset)) return `it is in another token than ${asset}`
    if (!isAddressEqual(payment.payTo, payTo) || !isAddressEqual(to, payTo))
      return `it does not go to ${payTo}`
    if (isAddressEqual(from, payTo)) return 'it comes from whom it goes to'
    if (value !== amount) return `${usdText(value)} are signed, and ${usdText(amount)} were accepted`
    if (value < least) return `it is ${usdText(value)} USD, and ${usdText(least)} are asked for`
    if (value > mostValue) return `more than ${usdText(mostValue)} USD are not taken at once`
    if (validBeforeS > BigInt(Math.floor(Date.now() / 1000) + validS + slackS))
      return `it is good for longer than ${validS} s`
    return undefined
  }

  const take = async <Sold>(request: RailRequest, asked: Due, sell: SellTo<Sold>): Promise<Taken<Sold>> => {
    const invalid = (detail: string): Refusal => ({
      ok: false,
      slug: 'payment-invalid',
      detail,
      headers: due(request, asked),
    })
    const payment = readPayment(request.header(headerNames.signature) ?? '')
    if (payment === undefined)
      return invalid('the header PAYMENT-SIGNATURE holds no payment of x402 v2, "exact", with EIP-3009')
    const held = payment.terms === '' ? undefined : asked.holds(payment.terms)
    const least = held !== undefined && held < asked.amount ? held : asked.amount
    const fault = faultOf(payment, least)
    if (fault !== undefined) return invalid(fault)

    const { from: payer, nonce, value } = payment
    const customer = customerOf(payer)
    const secret = secretOf(payment, request)
    const key = keyOf(payment, secret ?? randomBytes(16).toString('hex'), request)
    const name = nameOf({ payer, nonce })
    const pending = (detail: string, transaction: Hex | null): Refusal => ({
      ok: false,
      slug: 'settlement-pending',
      detail: `${detail}: ${retryAdvice(secret !== undefined)}`,
      retryAfterS: pendingRetryS,
      headers: response(false, payer, transaction, 'settlement_pending'),
    })
    const failed = (detail: string, transaction: Hex | null): Refusal => ({
      ok: false,
      slug: 'payment-failed',
      detail,
      headers: { ...due(request, asked), ...response(false, payer, transaction, 'payment_failed') },
    })
    const unavailable = (why: string): Refusal => {
      // For the operator, once: it may name a node, or an account without money.
      if (why !== trouble) log(`payments cannot be settled: ${why}`)
      trouble = why
      return {
        ok: false,
        slug: 'settlement-unavailable',
        detail: 'the payment was not taken, the same signature works later',
        retryAfterS: awayRetryS,
        headers: {},
      }
    }
    const sellTo = (settled: boolean): Sold | undefined =>
      sell({
        customer,
        once: key,
        settled,
        ...(held === undefined ? {} : { terms: { text: payment.terms, mostMicroUsd: held } }),
      })
    const sold = (what: Sold, transaction: Hex | null): Taken<Sold> => {
      payments.served({ payer, nonce })
      return { ok: true, sold: what, headers: response(true, payer, transaction) }
    }
    /** The money is in the ledger: it buys, or stays. */
    const sellSettled = (transaction: Hex | null): Taken<Sold> => {
      const what = sellTo(true)
      return what === undefined
        ? failed('its money is in the wallet’s credit, and that is not enough for this', transaction)
        : sold(what, transaction)
    }

    /** A payment of before, shown again. */
    const again = async (kept: KeptPayment): Promise<Taken<Sold> | undefined> => {
      if (kept.key !== key) {
        if (kept.state === 'sent' && (await conclude(kept)).state === 'pending')
          return pending('this payment is not in a block yet', kept.transaction)
        return invalid(
          'this authorization was used before, or for another address. Sign a new one: what it paid and did not buy is credit of the wallet, and pays first',
        )
      }
      if (kept.state === 'taken') return undefined
      if (kept.state === 'sent') {
        const outcome = await settler.landed(kept)
        return ended(kept, outcome)
      }
      if (kept.served >= mostServed || Date.now() - kept.createdMs > servedForMs)
        return invalid('what this payment bought was given often enough, or is long ago')
      const what = sellTo(kept.state === 'settled')
      return what === undefined
        ? failed('what it paid was spent on something else', kept.transaction)
        : sold(what, kept.transaction)
    }

    const ended = (kept: KeptPayment, outcome: Outcome): Taken<Sold> => {
      switch (outcome.state) {
        case 'settled':
          trouble = undefined
          book(kept, outcome.transaction)
          return sellSettled(outcome.transaction)
        case 'pending':
          return pending('the transaction is not in a block yet', outcome.transaction)
        case 'failed':
          payments.drop(kept)
          return failed(`nothing was paid: ${outcome.detail}`, outcome.transaction)
        case 'away':
          payments.drop(kept)
          return unavailable(outcome.detail)
      }
    }

    /** An earlier payment of the wallet that nobody waits for: it must not have to pay twice because a chain was slow. */
    const earlier = async (): Promise<Refusal | undefined> => {
      for (const kept of payments.openOf(payer, mostAtOnce)) {
        if (kept.nonce === nonce || kept.state !== 'sent' || underWay.has(nameOf(kept))) continue
        if ((await conclude(kept)).state === 'pending')
          return pending('an earlier payment of this wallet is not in a block yet', kept.transaction)
      }
      return undefined
    }

    const decide = async (): Promise<Taken<Sold>> => {
      const before = payments.find({ payer, nonce })
      const said = before && (await again(before))
      if (said !== undefined) return said
      const verified = await settler.verify(payment)
      if (!verified.ok && verified.reason === 'away') return unavailable(verified.detail)
      if (!verified.ok && verified.reason === 'invalid') return invalid(`it is not good: ${verified.detail}`)
      const waiting = await earlier()
      if (waiting !== undefined) return waiting
      if (before === undefined)
        payments.take({
          payer,
          nonce,
          key,
          value,
          validBeforeS: Number(payment.validBeforeS),
          fromBlock: 'fromBlock' in verified ? verified.fromBlock : 0,
          createdMs: Date.now(),
        })
      const kept = payments.find({ payer, nonce })!
      let what: Sold | undefined
      try {
        what = sellTo(false)
      } catch (error) {
        payments.drop(kept)
        throw error
      }
      if (what !== undefined) {
        payments.set(kept, 'credit')
        return sold(what, null)
      }
      if (!verified.ok) {
        payments.drop(kept)
        return failed('nothing was paid: the wallet has too little', null)
      }
      return ended(kept, await settler.settle(payment, kept))
    }

    // Before anything is awaited: of a hundred requests with one payment only one gets any further.
    if (underWay.has(name)) return pending('this payment is being looked at', null)
    if (underWay.size >= mostAtOnce) return unavailable('too many payments are being looked at')
    underWay.add(name)
    try {
      return await decide()
    } finally {
      underWay.delete(name)
    }
  }

  const round = async (): Promise<void> => {
    payments.forget(Date.now() - servedForMs, Math.floor(Date.now() / 1000))
    for (const kept of payments.open(mostInRound)) {
      const name = nameOf(kept)
      if (underWay.has(name)) continue
      underWay.add(name)
      try {
        const outcome = await conclude(kept)
        if (outcome.state === 'pending') await settler.resend(kept)
        if (outcome.state === 'away') return
      } finally {
        underWay.delete(name)
      }
    }
  }

  return {
    name: 'x402',
    due,
    carries: (request) => request.header(headerNames.signature) !== undefined,
    take,
    run: async (signal) => {
      while (!signal.aborted) {
        await round().catch((error) => log(`looking after payments failed: ${String(error)}`))
        await sleep(roundMs, undefined, { signal }).catch(() => undefined)
      }
    },
    [Symbol.dispose]: () => payments[Symbol.dispose](),
  }
}
