/** What a check found, in words and in values. */
import type { BundleScope } from '../reading/bundle.ts'
import type { Range } from '../reading/ranges.ts'
import type { Reading } from '../reading/reading.ts'
import type { SaleReport } from './sale.ts'

/** The checks, in their order; the last three ask for an answer's file and a chain. */
export const stepNames = [
  'file',
  'keys',
  'statements',
  'envelopes',
  'signatures',
  'frames',
  'inclusion',
  'order',
  'batches',
  'sequence',
  'anchors',
  'sale',
  'checksum',
  'answer',
  'chain',
  'contract',
] as const

export type StepName = (typeof stepNames)[number]

/** One check. `warned`: it holds, and there is something the reader must know. `details` are further lines. */
export type Step = {
  readonly name: StepName
  readonly state: 'passed' | 'warned' | 'failed'
  readonly text: string
  readonly details?: readonly string[]
}

/** The first thing that does not hold: in words, and where as far as it is known. */
export type Failure = {
  readonly step: StepName
  readonly text: string
  readonly batch?: number
  readonly leaf?: number
  readonly station?: string
  readonly seq?: number
}

/**
 * A node's own signature under a reading: its public key (hex), the number of its frame, and the codes of the quantities
 * that it signed. How it was heard, and when, is the station's word.
 */
export type SignedBy = {
  readonly publicKey: string
  readonly frame: number
  readonly quantities: readonly number[]
}

/**
 * A reading whose whole proof holds. `seq` and `place` (in its envelope, from 0) name it within its station. `node` says
 * which radio node signed it before the station did; null where the station measured it, or took a node's word for it.
 */
export type ProvenReading = Reading & {
  readonly station: string
  readonly seq: number
  readonly place: number
  readonly node: SignedBy | null
}

/**
 * A radio node that signs, as heard by one station: its public key (hex), the sensor ids that the station gave it, how
 * many of its frames the bundle reaches, neighbours of the range included, from which number to which, and how many of
 * their readings are among the proven ones. A number that is not there was not heard by this station, or is withheld or
 * missing with its envelope.
 */
export type NodeReport = {
  readonly station: string
  readonly publicKey: string
  readonly sensors: readonly string[]
  readonly frames: number
  readonly first: number
  readonly last: number
  readonly readings: number
}

/**
 * What is proven of one station. Within `fromMs` <= time < `toMs`, inside the time asked, it has no readings but those
 * here: except `unsigned`, and in `missing` (never received, says the hub), `pending` (not anchored yet) and `withheld` (position
 * fixes: as many as the station signed, but for those in `unconfirmed`, which are the hub's word). `jumps` are pairs
 * of shown envelopes whose signed counts of position fixes cannot both be right. `first` and `last` are the seqs that
 * the bundle reaches, neighbours of the range included.
 */
export type StationReport = {
  readonly station: string
  readonly first: number
  readonly last: number
  readonly envelopes: number
  readonly readings: number
  readonly withheld: readonly Range[]
  readonly unconfirmed: readonly Range[]
  readonly jumps: readonly Range[]
  readonly missing: readonly Range[]
  /** Those of `missing` that the station itself declares lost, in a signed envelope of the bundle. */
  readonly declared: readonly Range[]
  /** How many readings those held at most, as the station signed; exactly so many in nearly all cases. */
  readonly declaredReadings: number
  /** Readings of the time asked that the station declares lost before they were signed. */
  readonly unsigned: number
  readonly pending: readonly Range[]
  readonly fromMs: number
  readonly toMs: number
  /** The whole time asked is covered, and nothing is missing, pending, unconfirmed or lost unsigned. */
  readonly complete: boolean
}

/** Where a root is said to be; `0x` hex. `batches` are those of the bundle under it. */
export type AnchorClaim = {
  readonly chainId: number
  readonly contract: string
  readonly txHash: string
  readonly blockNumber: number
  readonly blockHash: string
  readonly root: string
  readonly firstBatch: number
  readonly size: number
  readonly batches: readonly number[]
}

/**
 * The outcome. `ok`: every check holds; then, and only then, are `readings` proven. `complete`: besides, nothing is
 * left open about what the stations measured in the time asked.
 */
export type Report = {
  readonly ok: boolean
  readonly complete: boolean
  readonly failure: Failure | null
  readonly steps: readonly Step[]
  readonly network: string | null
  readonly scope: BundleScope | null
  readonly stations: readonly StationReport[]
  /** Nodes that signed readings themselves; without them the list is empty. */
  readonly nodes: readonly NodeReport[]
  readonly anchors: readonly AnchorClaim[]
  /** The receipt of who bought this; null where the bundle has none. */
  readonly sale: SaleReport | null
  readonly readings: readonly ProvenReading[]
}

/** The outcome of one check: words, or the failure. */
export type Checked =
  | {
      readonly ok: true
      readonly text: string
      readonly warned?: boolean
      readonly details?: readonly string[]
    }
  | ({ readonly ok: false } & Omit<Failure, 'step'>)

export const passed = (text: string): Checked => ({ ok: true, text })

export const failed = (text: string, where: Omit<Failure, 'step' | 'text'> = {}): Checked => ({
  ok: false,
  text,
  ...where,
})

export type Fault = Extract<Checked, { ok: false }>

/** A check of many things that found one wrong. */
export const fault = (text: string, where: Omit<Failure, 'step' | 'text'>): Fault => ({
  ok: false,
  text,
  ...where,
})

/** UTC, ISO 8601; plain milliseconds where no calendar reaches. */
export const when = (ms: number): string => (ms <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`)

/** `1 envelope`, `2 envelopes`. */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString('en')} ${count === 1 ? one : many}`

/** `3`, `5-9`, at most ten of them. */
export const rangesText = (ranges: readonly Range[]): string => {
  const shown = ranges.slice(0, 10).map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`))
  return shown.join(', ') + (ranges.length > 10 ? ` and ${ranges.length - 10} more` : '')
}
