/** Evidence: the exact signed bytes that were accepted, the system of record. Everything after it is a view. */
import type { Profile } from '../reading/profile.ts'
import type { Range } from '../reading/ranges.ts'
import type { Refusal } from '../reading/refusal.ts'

/**
 * One kept envelope. `index` is its place in the evidence journal (ascending, with holes); `firstMs` and `lastMs`
 * span its readings (UTC ms); `readings` counts them; `withheld` marks position fixes, which are anchored like all
 * but never handed out; `hash` is SHA-256 of `bytes`, which are exactly as received.
 */
export type KeptEnvelope = {
  readonly index: number
  readonly station: string
  readonly seq: number
  readonly receivedMs: number
  readonly firstMs: number
  readonly lastMs: number
  readonly readings: number
  readonly withheld: boolean
  readonly hash: Uint8Array
  readonly bytes: Uint8Array
}

/** Where an envelope is, without its bytes. */
export type KeptRef = Omit<KeptEnvelope, 'bytes' | 'hash'>

/** A registered station: public key (32 raw bytes), when it was registered, and whether its key was revoked. */
export type StationRecord = {
  readonly station: string
  readonly publicKey: Uint8Array
  readonly registeredMs: number
  readonly revokedMs: number | null
}

/** One refused message, kept so that its sender can be told why. `bytes` are cut at 8 KiB. */
export type RefusedRecord = {
  readonly index: number
  readonly receivedMs: number
  readonly station: string
  readonly seq: number | null
  readonly reason: Refusal
  readonly detail: string
  readonly hash: Uint8Array
  readonly bytes: Uint8Array
}

/** What of a station has been kept, and what is missing in between (`gaps`, from seq 1 on). */
export type StationProgress = {
  readonly station: string
  readonly kept: readonly Range[]
  readonly gaps: readonly Range[]
  readonly envelopes: number
  readonly lastReceivedMs: number | null
}

/** Read side of the evidence, as other stages see it. */
export type Evidence = {
  /** Journal index one past the newest kept record: what views count up to. */
  readonly committed: number
  /** Resolves once `committed` is greater than `after`, or when the signal aborts. */
  grown(after: number, signal: AbortSignal): Promise<void>
  /** Kept envelopes from journal index `from` (inclusive) to `to` (exclusive; default: all committed at the call). */
  read(from: number, to?: number): AsyncGenerator<KeptEnvelope>
  /** The envelope at that index; undefined where there is none or it was damaged on disk. */
  get(index: number): Promise<KeptEnvelope | undefined>
  /** References of a station's envelopes with `first` <= seq <= `last`, in seq order, at most `limit`. */
  refs(station: string, first: number, last: number, limit: number): KeptRef[]
  /** The same of those with `after` < seq that hold no readings: declarations of what the station lost. */
  declarations(station: string, after: number, limit: number): KeptRef[]
  /** Least and greatest seq among a station's envelopes that hold readings of `fromMs` <= time < `toMs`. */
  span(station: string, fromMs: number, toMs: number): Range | undefined
  stations(): StationRecord[]
  station(id: string): StationRecord | undefined
  /** What a station's owner says of it, signed by its key; undefined where nothing was said. */
  profile(station: string): Profile | undefined
  progress(station: string): StationProgress
  /** Newest first, before journal index `before` where given. */
  refusals(limit: number, before?: number): Promise<RefusedRecord[]>
  /** How many were refused since the first start, by reason. */
  refusalCounts(): Readonly<Partial<Record<Refusal, number>>>
}
