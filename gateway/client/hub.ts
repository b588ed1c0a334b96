/** What a client of a hub is made of, and what can be asked of it. */
import type {
  Account,
  Budget,
  CellFeatures,
  CoveredCell,
  KeptReceipt,
  Quantity,
  ReadingRow,
  SessionKey,
  Station,
  Status,
} from './answers.ts'
import type { Fetch } from './ask.ts'
import type { ExportedFile, ExportProgress } from './export.ts'
import type { Format, RowOf } from './pages.ts'
import type { Pay } from './pay.ts'
import type { Verified, VerifyOptions } from './proof.ts'
import type { Download, Purchase, WaitOptions } from './purchase.ts'
import type { AnyQuery, CoverageQuery, PlacesQuery, SensorsQuery } from './query.ts'
import type { StreamedReading, StreamOptions } from './stream.ts'
import type { NewSubscription, Subscription, ToldSubscription } from './subscriptions.ts'

export type ClientOptions = {
  /** Address of the hub's API, such as `https://hub.example`. */
  readonly url: string
  /** An API key, from POST /v1/keys. */
  readonly key?: string
  /** Instead of the platform's own fetch. One that pays by itself works, but cannot be held to one signature: see `pay`. */
  readonly fetch?: Fetch
  /**
   * Pays on the spot (x402), where there is no key: `(fetch) => wrapFetchWithPayment(fetch, wallet)`. Nothing is signed
   * above what a purchase may cost, and nothing is signed twice.
   */
  readonly pay?: Pay
  /** What one purchase may cost, in micro-USD (millionths of a dollar); one cent unless told. */
  readonly maxMicroUsd?: bigint
  /** What everything bought with this client may cost together. */
  readonly maxTotalMicroUsd?: bigint
  /** The hub's public key (64 hex digits); without it, that of the hub's first answer. */
  readonly hubKey?: string
  /** How often something is asked for before it counts as failed, the first time included; 7 unless told. */
  readonly tries?: number
}

export type CallOptions = { readonly signal?: AbortSignal }

export type BuyOptions = CallOptions & {
  /** What this purchase may cost, instead of what every one may. */
  readonly maxMicroUsd?: bigint
}

export type ExportOptions = BuyOptions & {
  /** Told how far it is, every few seconds. */
  readonly progress?: (how: ExportProgress) => void
}

/** A price for a query, signed by the hub: it asks no more for it until `offerExpires`. */
export type Quote<Row> = {
  readonly rows: number
  readonly values: number
  /** Zero where the hub sells nothing: its readings are free. */
  readonly priceMicroUsd: bigint
  readonly offerExpires: string | null
  /** Buys exactly this for at most this price. */
  buy(options?: BuyOptions): Promise<Purchase<Row>>
  /** The same in another format, as it comes. */
  download(format: Format, options?: BuyOptions): Promise<Download>
}

/** The newest reading of each sensor, and what they cost. */
export type Latest = {
  readonly readings: readonly ReadingRow[]
  readonly priceMicroUsd: bigint
  readonly receiptId: string | null
}

export type HubClient = {
  /** Name, version, network, key and time of the hub. */
  status(options?: CallOptions): Promise<Status>
  /** What can be measured, in which unit. */
  quantities(options?: CallOptions): Promise<readonly Quantity[]>
  /** Every station, or those at a place, in order of id. */
  stations(query?: PlacesQuery, options?: CallOptions): AsyncGenerator<Station, void, void>
  /** One station; throws HubProblem `not-found` where there is none. */
  station(id: string, options?: CallOptions): Promise<Station>
  /** Stations that tell their place, as GeoJSON. */
  stationFeatures(query?: PlacesQuery, options?: CallOptions): Promise<CellFeatures<Station>>
  /** Where there is data, as GeoJSON. */
  coverage(query?: CoverageQuery, options?: CallOptions): Promise<CellFeatures<CoveredCell>>
  /** Some real readings of each sensor, or of those of one station, for nothing. */
  sample(query?: { readonly station?: string }, options?: CallOptions): Promise<readonly ReadingRow[]>
  /** The newest reading of each sensor. */
  latest(query?: SensorsQuery, options?: BuyOptions): Promise<Latest>
  /** What a query costs. */
  quote<Query extends AnyQuery>(query: Query, options?: CallOptions): Promise<Quote<RowOf<Query>>>
  /** Quotes and buys; throws LimitReached where it would cost too much, and then nothing was paid. */
  buy<Query extends AnyQuery>(query: Query, options?: BuyOptions): Promise<Purchase<RowOf<Query>>>
  /** Quotes and buys in a format of the hub's, such as csv or parquet. */
  download(query: AnyQuery, format: Format, options?: BuyOptions): Promise<Download>
  /** The rows of a query: bought when the first is asked for, page after page. */
  readings<Query extends AnyQuery>(
    query: Query,
    options?: BuyOptions,
  ): AsyncGenerator<RowOf<Query>, void, void>
  /**
   * Readings as they come, for as long as it is iterated over; connects again by itself and misses none. Each is paid when
   * it is sent, and accounted for about once a minute: then the limits are looked at, and it ends with LimitReached where
   * they are passed. A key with a budget is a limit that the hub itself keeps.
   */
  stream(
    query?: SensorsQuery & { readonly minQuality?: number },
    options?: StreamOptions,
  ): AsyncGenerator<StreamedReading, void, void>
  /**
   * Has readings sent as they come, to a webhook (`verifyWebhook` checks them) or through the hub's broker, until
   * `unsubscribe`. They are paid by the key of this client when they are taken, whatever its limits: give that key a budget.
   */
  subscribe<Wanted extends NewSubscription>(
    wanted: Wanted,
    options?: CallOptions,
  ): Promise<Extract<ToldSubscription, { readonly kind: Wanted['kind'] }>>
  /** All of the account. */
  subscriptions(options?: CallOptions): Promise<readonly Subscription[]>
  /** How far one has come, and what is in its way. */
  subscription(id: string, options?: CallOptions): Promise<Subscription>
  /** Lets one go on where it stopped, paid by the key of this client. */
  resume(id: string, options?: CallOptions): Promise<Subscription>
  /** Ends one for good. */
  unsubscribe(id: string, options?: CallOptions): Promise<void>
  /**
   * Orders a file of a query of any size, waits until it is made, and gives it. What it can cost at most counts against
   * the limits while it is made; what is in it is paid.
   */
  export(query: AnyQuery, format?: Format, options?: ExportOptions): Promise<ExportedFile>
  /** Puts money on the wallet's account by one payment on the spot; this client goes on with the session key for it. */
  topUp(
    order: { readonly amountMicroUsd: bigint; readonly lifeS?: number },
    options?: CallOptions,
  ): Promise<SessionKey>
  /** What the key may still spend. */
  budget(options?: CallOptions): Promise<Budget>
  /** Credit and own stations; needs a key of scope `account`. */
  account(options?: CallOptions): Promise<Account>
  /** A sale of this account as the hub keeps it. */
  receipt(id: string, options?: CallOptions): Promise<KeptReceipt>
  /** The proof of a sale, for nothing. */
  bundle(receiptId: string, options?: WaitOptions): Promise<Uint8Array>
  /** Verifies a proof, trusting nobody. */
  verify(bundle: Uint8Array, options?: VerifyOptions): Promise<Verified>
  /** What was spent with this client, in micro-USD; what may have been spent counts. */
  readonly spentMicroUsd: bigint
}
