/**
 * Buys sensor readings from a Groundtruth hub and verifies their proof. Needs fetch and nothing else of its platform:
 * Node and browsers alike.
 */
import type { KeptReceipt, Quantity, ReadingRow, SessionKey } from './answers.ts'
import {
  type Answer,
  type Asked,
  askerOf,
  type Fetch,
  hubRoot,
  objectIn,
  problemOf,
  senderOf,
} from './ask.ts'
import { buyAt, type Counter, newIdempotencyKey } from './buy.ts'
import { HubDistrusted } from './errors.ts'
import { exportOf } from './export.ts'
import type { CallOptions, ClientOptions, HubClient } from './hub.ts'
import { mostPageBytes, type RowOf, rowsIn } from './pages.ts'
import { payingFetch } from './pay.ts'
import { verify } from './proof.ts'
import { bundleOf, downloadOf, purchaseOf } from './purchase.ts'
import { openPurse } from './purse.ts'
import { fixedSearch, searchOf } from './query.ts'
import { priceAt, quoteOf, termsAt } from './quote.ts'
import { openSellerBook } from './seller.ts'
import { coverageOf, stationFeaturesOf, stationsOf } from './stations.ts'
import { streamOf } from './stream.ts'
import { type NewSubscription, openSubscriptions, type ToldSubscription } from './subscriptions.ts'

export type { SalesReceipt } from '../reading/sale.ts'
export type { ConfirmedAnchor } from '../verify/chain.ts'
export type { Failure, ProvenReading, Report, StationReport, Step } from '../verify/report.ts'
export { rowsOf } from '../verify/rows.ts'
export { NodeError } from '../verify/rpc.ts'
export type * from './answers.ts'
export type { Fetch } from './ask.ts'
export * from './errors.ts'
export type { ExportedFile } from './export.ts'
export type * from './hub.ts'
export type { Format, RowOf } from './pages.ts'
export type { Pay } from './pay.ts'
export { type Verified, type VerifyOptions, verify } from './proof.ts'
export type { Download, Proof, Purchase, WaitOptions } from './purchase.ts'
export type * from './query.ts'
export type { StreamAccount, StreamedReading, StreamOptions } from './stream.ts'
export type {
  MqttSubscription,
  NewSubscription,
  Subscription,
  SubscriptionQuery,
  ToldSubscription,
  WebhookSubscription,
} from './subscriptions.ts'
export {
  type CheckedWebhook,
  type ReadingEvent,
  verifyWebhook,
  type WebhookHeaders,
  type WebhookTrust,
} from './webhook.ts'

const usualTries = 7
const usualMaxMicroUsd = 10_000n

/** A client of the hub at `url`; nothing is asked for yet. Throws a TypeError for options that cannot work. */
export const openClient = (options: ClientOptions): HubClient => {
  const { url, pay, maxMicroUsd = usualMaxMicroUsd, maxTotalMicroUsd, hubKey, tries = usualTries } = options
  if (options.key !== undefined && !/^[\x21-\x7e]{1,256}$/.test(options.key))
    throw new TypeError('key is no API key: POST /v1/keys makes one')
  let key = options.key
  // A browser's fetch is only itself when called by its name.
  const fetch: Fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init))
  const send = senderOf({ root: hubRoot(url), fetch, key: () => key })
  const ask = askerOf(send, tries)
  const purse = openPurse({ maxMicroUsd, maxTotalMicroUsd })
  const { status, seller, nowMs } = openSellerBook(ask, hubKey)
  const hasKey = () => key !== undefined
  const subscriptions = openSubscriptions(ask, seller)
  const mayPayByItself = () => options.fetch !== undefined && pay === undefined && !hasKey()
  const counter: Counter = { ask, fetch, purse, hasKey, mayPayByItself, pay, seller }

  const objectAt = async <T>(path: string, member: string, asked: Asked = {}): Promise<T> =>
    objectIn<T>(await ask(path, asked), (said) => said[member] !== undefined)

  const okAt = async (path: string, signal: AbortSignal | undefined): Promise<Answer> => {
    const answer = await ask(path, { signal })
    if (answer.status !== 200) throw problemOf(answer)
    return answer
  }

  const quote: HubClient['quote'] = async (query, { signal } = {}) => {
    const search = fixedSearch(query, await nowMs(signal))
    const { terms, ...quoted } = await quoteOf(ask, search, await seller(signal), signal)
    return {
      ...quoted,
      priceMicroUsd: terms?.mostMicroUsd ?? 0n,
      buy: (wanted = {}) =>
        purchaseOf<RowOf<typeof query>>(counter, search, 'json', terms, { signal, ...wanted }),
      download: (format, wanted = {}) => downloadOf(counter, search, format, terms, { signal, ...wanted }),
    }
  }

  const buy: HubClient['buy'] = async (query, wanted = {}) => (await quote(query, wanted)).buy(wanted)

  return {
    status: ({ signal } = {}) => status(signal),
    quantities: async (wanted) =>
      (await objectAt<{ quantities: Quantity[] }>('/v1/quantities', 'quantities', wanted)).quantities,
    stations: (query = {}, wanted = {}) => stationsOf(ask, query, wanted),
    station: (id, wanted) => objectAt(`/v1/stations/${encodeURIComponent(id)}`, 'station', wanted),
    stationFeatures: (query = {}, wanted = {}) => stationFeaturesOf(ask, query, wanted),
    coverage: (query = {}, wanted = {}) => coverageOf(ask, query, wanted),
    sample: async ({ station } = {}, { signal } = {}) =>
      rowsIn<ReadingRow>((await okAt(`/v1/sample?${searchOf({ station, format: 'json' })}`, signal)).body),
    latest: async (query = {}, wanted = {}) => {
      const path = `/v1/latest?${searchOf({ ...query, format: 'json' })}`
      const { signal } = wanted
      const terms = mayPayByItself()
        ? await priceAt(ask, path, signal)
        : await termsAt(ask, path, await seller(signal), signal)
      const bought = await buyAt(counter, path, mostPageBytes, terms, wanted)
      const { answer, priceMicroUsd, receiptId } = bought
      return { readings: rowsIn<ReadingRow>(answer.body), priceMicroUsd, receiptId }
    },
    export: async (query, format = 'parquet', wanted = {}) => {
      if (mayPayByItself())
        throw new TypeError(
          'an export is paid with a key, or by "pay": a fetch that pays by itself tells no price first',
        )
      return exportOf(counter, fixedSearch(query, await nowMs(wanted.signal)), format, wanted)
    },
    stream: (query = {}, wanted = {}) => {
      const { minQuality, ...rest } = query
      const search = searchOf({ ...rest, min_quality: minQuality?.toFixed(6) })
      return streamOf({ ...counter, send, tries, maxMicroUsd }, search, wanted)
    },
    subscribe: async <Wanted extends NewSubscription>(wanted: Wanted, { signal }: CallOptions = {}) =>
      (await subscriptions.subscribe(wanted, signal)) as Extract<
        ToldSubscription,
        { readonly kind: Wanted['kind'] }
      >,
    subscriptions: ({ signal } = {}) => subscriptions.list(signal),
    subscription: (id, { signal } = {}) => subscriptions.one(id, signal),
    resume: (id, { signal } = {}) => subscriptions.resume(id, signal),
    unsubscribe: (id, { signal } = {}) => subscriptions.unsubscribe(id, signal),
    quote,
    buy,
    download: async (query, format, wanted = {}) => (await quote(query, wanted)).download(format, wanted),
    readings: async function* (query, wanted) {
      yield* await buy(query, wanted)
    },
    topUp: async ({ amountMicroUsd, lifeS }, { signal } = {}) => {
      if (pay === undefined) throw new TypeError('topUp() pays on the spot: open the client with "pay"')
      const mayCost = (asked: bigint): void => {
        if (asked > amountMicroUsd)
          throw new HubDistrusted(
            `the hub asks for ${asked} micro-USD, not ${amountMicroUsd}; nothing was paid`,
          )
      }
      const answer = await ask('/v1/topup', {
        method: 'POST',
        headers: { 'idempotency-key': newIdempotencyKey() },
        json: { amountMicroUsd: Number(amountMicroUsd), ...(lifeS === undefined ? {} : { lifeS }) },
        fetch: payingFetch(fetch, pay, mayCost),
        withKey: false,
        signal,
      })
      const made = objectIn<SessionKey>(answer, (said) => typeof said.key === 'string')
      key = made.key
      return made
    },
    budget: (wanted) => objectAt('/v1/budget', 'leftMicroUsd', wanted),
    account: (wanted) => objectAt('/v1/account', 'account', wanted),
    receipt: (id, wanted) => objectAt<KeptReceipt>(`/v1/receipts/${encodeURIComponent(id)}`, 'cose', wanted),
    bundle: (receiptId, wanted) => bundleOf(ask, receiptId, wanted),
    verify,
    get spentMicroUsd() {
      return purse.spentMicroUsd()
    },
  }
}
