/** How much may be spent: asked before anything is paid, and right also where several purchases run at once. */
import { LimitReached } from './errors.ts'

/** Money put aside for one purchase. One of the two is called once. */
export type Hold = {
  /** So much was paid. */
  readonly paid: (microUsd: bigint) => void
  /** Nothing was paid. */
  readonly release: () => void
}

export type Purse = {
  /** What was paid, and what may have been: money put aside for purchases whose end is not known counts. */
  readonly spentMicroUsd: () => bigint
  /** Puts the price aside; throws LimitReached where it is too much. `limit` is that of this purchase alone. */
  readonly hold: (priceMicroUsd: bigint, limit?: bigint) => Hold
  /** Notes what was paid without asking before; whether it is more than all may cost together. */
  readonly spend: (microUsd: bigint) => boolean
}

export type Limits = {
  /** What one purchase may cost. */
  readonly maxMicroUsd: bigint
  /** What all purchases together may cost. */
  readonly maxTotalMicroUsd?: bigint | undefined
}

/** Opens a purse with limits in micro-USD. */
export const openPurse = ({ maxMicroUsd, maxTotalMicroUsd }: Limits): Purse => {
  let spent = 0n
  return {
    spentMicroUsd: () => spent,
    spend: (microUsd) => {
      spent += microUsd
      return maxTotalMicroUsd !== undefined && spent > maxTotalMicroUsd
    },
    hold: (price, limit = maxMicroUsd) => {
      if (price > limit) throw new LimitReached('purchase', price, limit)
      if (maxTotalMicroUsd !== undefined && spent + price > maxTotalMicroUsd)
        throw new LimitReached('total', price, maxTotalMicroUsd - spent)
      spent += price
      return {
        paid: (microUsd) => {
          spent += microUsd - price
        },
        release: () => {
          spent -= price
        },
      }
    },
  }
}
