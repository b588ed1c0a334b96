/** What can go wrong between a buyer and a hub, each its own class. */
import type { ProblemSlug } from '../market/problem.ts'

/** What has to be paid, as a problem says it: in micro-USD, and a signed offer of that price. */
export type PaymentDue = {
  readonly priceMicroUsd: bigint
  readonly priceUsd: string
  readonly balanceMicroUsd?: bigint
  readonly offer?: string
  readonly offerExpires?: string
}

/** The members of a problem (RFC 9457) as a hub sends it. */
export type ProblemMembers = {
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly help: string
  readonly fields?: readonly { readonly name: string; readonly detail: string }[]
  readonly retryAfterS?: number
  readonly payment?: PaymentDue
}

/**
 * The hub refused. `slug` is the last part of the problem's type and never changes its meaning; `help` says what to do
 * next. Where the answer was no problem, `slug` is `unknown`.
 */
export class HubProblem extends Error {
  override name = 'HubProblem'
  readonly slug: ProblemSlug | 'unknown' | (string & {})
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly help: string
  /** Parameters that were wrong, and how. */
  readonly fields: readonly { readonly name: string; readonly detail: string }[]
  readonly retryAfterS: number | undefined
  readonly payment: PaymentDue | undefined
  constructor(slug: string, members: ProblemMembers) {
    const { title, status, detail, help, fields = [], retryAfterS, payment } = members
    const lines = [`${title}: ${detail}`, ...fields.map((field) => `${field.name} ${field.detail}`), help]
    super(lines.filter((line) => line !== '').join('\n'))
    this.slug = slug
    this.status = status
    this.title = title
    this.detail = detail
    this.help = help
    this.fields = fields
    this.retryAfterS = retryAfterS
    this.payment = payment
  }
}

/** It would cost more than may be spent; nothing was paid. */
export class LimitReached extends Error {
  override name = 'LimitReached'
  /** `purchase`: of this one. `total`: of everything that this client buys. */
  readonly limit: 'purchase' | 'total'
  readonly priceMicroUsd: bigint
  /** What may still be spent under that limit. */
  readonly leftMicroUsd: bigint
  constructor(limit: 'purchase' | 'total', priceMicroUsd: bigint, leftMicroUsd: bigint) {
    const option = limit === 'purchase' ? 'maxMicroUsd' : 'maxTotalMicroUsd'
    super(
      `this costs ${priceMicroUsd} micro-USD and ${leftMicroUsd} may be spent: nothing was bought. Raise ${option}, or ask for less`,
    )
    this.limit = limit
    this.priceMicroUsd = priceMicroUsd
    this.leftMicroUsd = leftMicroUsd
  }
}

/** No answer came, however often it was asked for. */
export class HubUnreachable extends Error {
  override name = 'HubUnreachable'
}

/**
 * An answer that is not what it has to be: no hub's, too large, or of other bytes than its digest or its receipt says.
 * `receiptId` names the sale where one was made, and `body` is what came for it.
 */
export class HubDistrusted extends Error {
  override name = 'HubDistrusted'
  readonly receiptId: string | undefined
  readonly body: Uint8Array | undefined
  constructor(message: string, came: { readonly receiptId?: string; readonly body?: Uint8Array } = {}) {
    super(message)
    this.receiptId = came.receiptId
    this.body = came.body
  }
}
