/** Sales receipts: who gets what of a sale, and the hub's signed word on it, as COSE and as JWS. */
import { type BundleScope, canonicalScope } from '../reading/bundle.ts'
import { toHex } from '../reading/bytes.ts'
import type { Signer } from '../reading/cose.ts'
import { type SalesReceipt, type Share, signSale } from '../reading/sale.ts'
import { signJws } from './jws.ts'
import type { Entry } from './ledger.ts'
import type { MicroUsd } from './money.ts'
import { type Price, type PriceList, sharesOf } from './price.ts'
import { hubIncome } from './sale.ts'

const jwsOf = (receipt: SalesReceipt, network: string): object => ({
  ...receipt,
  network,
  query: toHex(receipt.query),
  response: toHex(receipt.response),
  ...(receipt.offer === undefined ? {} : { offer: toHex(receipt.offer) }),
})

/** What a receipt says of the scope that its sale is kept with, JSON: nothing where that is null. */
export const soldScope = (text: string): Pick<SalesReceipt, 'scope'> => {
  const scope = JSON.parse(text) as BundleScope | null
  return scope === null ? {} : { scope: canonicalScope(scope) }
}

/** A receipt signed twice: COSE_Sign1, and JWS. */
export type SignedReceipt = { readonly receipt: Uint8Array; readonly jws: string }

/** Signs a receipt in both forms. */
export const signReceipt = (receipt: SalesReceipt, network: string, hub: Signer): SignedReceipt => ({
  receipt: signSale(receipt, network, hub),
  jws: signJws('groundtruth-sale+jwt', jwsOf(receipt, network), hub),
})

/** What owners get of an amount that was paid for a price, by station, without those that get nothing. */
export const ownersOf = (prices: PriceList, price: Price, paid: MicroUsd): Share[] =>
  [...sharesOf(prices, price, paid)]
    .filter(([, share]) => share > 0n)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([station, share]) => ({ station, microUsd: Number(share) }))

/** The entries by which an amount that was paid comes to owners and hub. */
export const incomeOf = (shares: readonly Share[], paid: MicroUsd): Entry[] => {
  const owners = shares.map(
    ({ station, microUsd }): Entry => ({ account: `owner:${station}`, amount: BigInt(microUsd) }),
  )
  const given = owners.reduce((sum, { amount }) => sum + amount, 0n)
  return [...owners, { account: hubIncome, amount: paid - given }]
}
