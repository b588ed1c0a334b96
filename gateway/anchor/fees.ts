/** What to pay for gas: pure rules, wei per gas, EIP-1559. */

/** The two fee fields of a transaction, wei per gas. */
export type Fees = { readonly maxFeeWei: bigint; readonly priorityFeeWei: bigint }

// 12.5 %: what every client takes as a replacement (geth asks for 10, Nethermind and Erigon for 10 to 12.5).
const bumpNumerator = 1125n
const bumpDenominator = 1000n

/** What to pay when the node suggests nothing: 1 gwei. */
export const defaultPriorityFeeWei = 1_000_000_000n

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b)

/**
 * Fees for a first attempt: twice the base fee leaves room for six full blocks in a row (each adds 12.5 %). Undefined
 * when even the next block's price is above the cap: then waiting is cheaper, since roots can share one transaction.
 */
export const firstFees = (baseFeeWei: bigint, priorityFeeWei: bigint, capWei: bigint): Fees | undefined => {
  const priority = max(priorityFeeWei, 1n)
  if (baseFeeWei + priority > capWei) return undefined
  return { maxFeeWei: min(2n * baseFeeWei + priority, capWei), priorityFeeWei: priority }
}

const raised = (wei: bigint): bigint => (wei * bumpNumerator + bumpDenominator - 1n) / bumpDenominator

/**
 * Fees for a replacement: both fields at least 12.5 % above the last attempt, and at least what a first attempt would
 * pay now. Undefined when that is above the cap: then the last attempt stays.
 */
export const bumpedFees = (
  last: Fees,
  baseFeeWei: bigint,
  priorityFeeWei: bigint,
  capWei: bigint,
): Fees | undefined => {
  const least = { maxFeeWei: raised(last.maxFeeWei), priorityFeeWei: raised(last.priorityFeeWei) }
  if (least.maxFeeWei > capWei) return undefined
  const maxFeeWei = max(least.maxFeeWei, min(2n * baseFeeWei + priorityFeeWei, capWei))
  return { maxFeeWei, priorityFeeWei: min(max(least.priorityFeeWei, priorityFeeWei), maxFeeWei) }
}
