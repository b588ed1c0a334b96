/** The sales receipt in a bundle: signed by the key it names, and for nobody's benefit but the stations sold. */
import type { Bundle, BundleScope } from '../reading/bundle.ts'
import { toHex } from '../reading/bytes.ts'
import { keyFault } from '../reading/key.ts'
import { quantityCoded } from '../reading/quantity.ts'
import { type SalesReceipt, verifySale } from '../reading/sale.ts'
import { type Checked, counted, failed, when } from './report.ts'

/** What the hub that sold signed, and its public key (hex). Whose key that is, the bundle cannot say. */
export type SaleReport = SalesReceipt & { readonly hubKey: string }

const usd = (microUsd: number): string => `${(microUsd / 1e6).toFixed(6)} USD`

/** What the bundle is about that was not sold, in words; what it lacks of what was sold is told apart. */
const difference = (sold: BundleScope, scope: BundleScope): string | undefined => {
  if (scope.fromMs < sold.fromMs || scope.toMs > sold.toMs)
    return `${when(sold.fromMs)} to ${when(sold.toMs)}`
  if (sold.sensor !== scope.sensor) return `of ${sold.sensor ?? 'every'} sensor`
  if (sold.quantities?.join() !== scope.quantities?.join())
    return `with ${sold.quantities?.map((code) => quantityCoded(code)?.name).join(', ') ?? 'every quantity'}`
  if (sold.stations === undefined) return scope.stations === undefined ? undefined : 'of every station'
  const isSold = scope.stations?.every((station) => sold.stations?.includes(station))
  return isSold ? undefined : `of ${counted(sold.stations.length, 'station')}`
}

/** Checks the receipt. */
export const checkSale = (
  { hubKey, receipt }: NonNullable<Bundle['sale']>,
  { network, scope }: Pick<Bundle, 'network' | 'scope'>,
): { readonly checked: Checked; readonly sale?: SaleReport } => {
  const weak = keyFault(hubKey)
  if (weak !== undefined)
    return { checked: failed(`the key that the sales receipt is said to be signed by is unfit: ${weak}`) }
  const verified = verifySale(receipt, network, hubKey)
  if (!verified.ok) return { checked: failed(`the sales receipt does not hold: ${verified.detail}`) }
  const { sale } = verified
  const other = sale.scope && difference(sale.scope, scope)
  if (other !== undefined)
    return { checked: failed(`the sales receipt is for other readings: ${other}, and the bundle is not`) }
  const unproven =
    sale.scope?.stations?.filter((station) => scope.stations?.includes(station) === false) ?? []
  const isPart =
    sale.scope !== undefined && (sale.scope.fromMs < scope.fromMs || sale.scope.toMs > scope.toMs)
  const sold = sale.scope === undefined ? scope.stations : sale.scope.stations
  const stranger = sale.shares.find(({ station }) => sold?.includes(station) === false)
  if (stranger !== undefined)
    return {
      checked: failed(
        `the sales receipt gives a share to station ${stranger.station}, and readings of ${sold?.length === 1 ? sold[0] : `${sold?.length} other stations`} were sold`,
        { station: stranger.station },
      ),
    }
  const paid = sale.shares.reduce((sum, { microUsd }) => sum + microUsd, 0)
  if (paid > sale.priceMicroUsd)
    return { checked: failed('the shares of the sales receipt are more than its price') }
  return {
    sale: { ...sale, hubKey: toHex(hubKey) },
    checked: {
      ok: true,
      text: `receipt ${sale.id}: ${counted(sale.rows, 'row')} with ${counted(sale.values, 'value')} for ${usd(sale.priceMicroUsd)}, paid by ${sale.rail}`,
      warned: isPart || unproven.length > 0,
      details: [
        `signed ${when(sale.issuedMs)} by the key ${toHex(hubKey)}: compare it with hubKey in the hub's /v1/status`,
        `${usd(paid)} of it for ${counted(sale.shares.length, 'station')}, the rest for the hub`,
        ...(isPart
          ? [`a part of what was sold, which is ${when(sale.scope!.fromMs)} to ${when(sale.scope!.toMs)}`]
          : []),
        ...(sale.scope === undefined ? ['which readings were sold it does not say'] : []),
        ...unproven.map((station) => `station ${station} was sold too, and the bundle is not about it`),
        ...(sale.creditMicroUsd === undefined
          ? []
          : [`${usd(sale.creditMicroUsd)} of it credited: less was delivered than is promised`]),
      ],
    },
  }
}
