/** What a buyer is told where something cannot be paid: by a key that does not count, or for want of credit or budget. */
import type { KeyFault } from '../sales/keys.ts'
import type { MicroUsd } from '../sales/money.ts'
import { type Fault, fault, type PaymentDue } from './problem.ts'

/** Says an amount in dollars. */
export type UsdText = (amount: MicroUsd) => string

const keyFaults = {
  unknown: 'there is no such key',
  expired: 'this key has expired',
  revoked: 'this key was revoked',
} as const satisfies Record<KeyFault, string>

/** A key that is missing or does not count, by the words for it. */
export const noKey = (detail: string): Fault =>
  fault('key-invalid', detail, { headers: { 'www-authenticate': 'Bearer realm="groundtruth"' } })

/** A key that does not count. */
export const keyFault = (reason: KeyFault): Fault => noKey(keyFaults[reason])

/** A price as a problem carries it. */
export const due = (price: MicroUsd, usdText: UsdText): PaymentDue => ({
  priceMicroUsd: Number(price),
  priceUsd: usdText(price),
})

/** A price above what is left of the account's credit. */
export const creditFault = (price: MicroUsd, balance: MicroUsd, usdText: UsdText): Fault =>
  fault('credit-exhausted', `this costs ${usdText(price)} USD, and there are ${usdText(balance)}`, {
    payment: { ...due(price, usdText), balanceMicroUsd: Number(balance) },
  })

/** A price above what is left of the key's budget. */
export const budgetFault = (price: MicroUsd, usdText: UsdText): Fault =>
  fault('budget-exhausted', `this costs ${usdText(price)} USD`, { payment: due(price, usdText) })
