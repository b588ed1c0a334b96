/** Who sells: asked once, and whose clock fixes the times of queries. */
import { fromHex } from '../reading/bytes.ts'
import type { Seller } from '../verify/purchase.ts'
import type { Status } from './answers.ts'
import { type Ask, objectIn } from './ask.ts'
import { HubDistrusted } from './errors.ts'

export type SellerBook = {
  readonly status: (signal?: AbortSignal) => Promise<Status>
  readonly seller: (signal?: AbortSignal) => Promise<Seller>
  /** UTC ms by the hub's clock, as far as the network lets it be known. */
  readonly nowMs: (signal?: AbortSignal) => Promise<number>
}

const isStatus = ({ name, network, hubKey, time }: Readonly<Record<string, unknown>>): boolean =>
  name === 'groundtruth' &&
  typeof network === 'string' &&
  typeof hubKey === 'string' &&
  /^[0-9a-f]{64}$/.test(hubKey) &&
  typeof time === 'string' &&
  !Number.isNaN(Date.parse(time))

/** `pinned` is the hub's key (hex) where the buyer knows it; without it the first answer is believed. */
export const openSellerBook = (ask: Ask, pinned: string | undefined): SellerBook => {
  let known: { readonly seller: Seller; readonly key: string; readonly aheadMs: number } | undefined
  const status: SellerBook['status'] = async (signal) => {
    const said = objectIn<Status>(await ask('/v1/status', { signal }), isStatus)
    const { network, hubKey } = said
    const expected = known?.key ?? pinned?.toLowerCase()
    if (expected !== undefined && expected !== hubKey)
      throw new HubDistrusted(`the hub has the key ${hubKey}, not ${expected}: it is another hub`)
    known = {
      seller: { network, hubKey: fromHex(hubKey)! },
      key: hubKey,
      aheadMs: Date.parse(said.time) - Date.now(),
    }
    return said
  }
  const asked = async (signal?: AbortSignal) => {
    if (known === undefined) await status(signal)
    return known!
  }
  return {
    status,
    seller: async (signal) => (await asked(signal)).seller,
    nowMs: async (signal) => Date.now() + (await asked(signal)).aheadMs,
  }
}
