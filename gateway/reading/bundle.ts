/** The proof bundle: everything needed to check the readings of a query offline. Layout: bundle.cddl. */
import { sha256 } from '#sha256'
import { concatBytes, fromHex } from './bytes.ts'
import { type CborBounds, CborWriter } from './cbor.ts'

export const bundleContentType = 'application/vnd.groundtruth.bundle+cbor'

/** What was asked: readings with `fromMs` <= time < `toMs` (UTC ms). */
export type BundleScope = {
  /** Ascending, one at least; all stations where absent. */
  readonly stations?: readonly string[]
  readonly sensor?: string
  /** Codes, ascending. */
  readonly quantities?: readonly number[]
  readonly fromMs: number
  readonly toMs: number
}

/**
 * A station and its key. `declarations` are exact envelopes in which it declares lost what the bundle lacks, ascending by
 * seq: those from behind the numbers that the bundle reaches, which need no place in a batch, because nobody but the
 * station could have signed them.
 */
export type BundleStation = {
  readonly station: string
  readonly publicKey: Uint8Array
  readonly declarations: readonly Uint8Array[]
}

/** Where a root is said to be on a chain, and the audit path of this batch's statement under it. */
export type BundleAnchor = {
  readonly chainId: number
  /** 20 bytes. */
  readonly contract: Uint8Array
  /** 32 bytes, as are `blockHash` and `root`. */
  readonly txHash: Uint8Array
  readonly blockNumber: number
  readonly blockHash: Uint8Array
  readonly root: Uint8Array
  readonly size: number
  readonly index: number
  readonly proof: readonly Uint8Array[]
}

/**
 * The exact envelope, or of a private one (position fixes) its sequence number and leaf hash. That it is private is
 * the hub's word, which the count of withheld ones in the shown envelopes on both sides confirms or refutes.
 */
export type BundleLeaf = { readonly bytes: Uint8Array } | { readonly seq: number; readonly hash: Uint8Array }

/** Neighbouring leaves of one station from place `first` of the batch's tree on, and their range proof. */
export type Run = {
  readonly station: string
  readonly first: number
  readonly leaves: readonly BundleLeaf[]
  readonly proof: readonly Uint8Array[]
}

export type BundleBatch = {
  /** Exact bytes. */
  readonly statement: Uint8Array
  readonly anchor: BundleAnchor
  readonly runs: readonly Run[]
}

/** Sequence numbers `first` to `last` of a station that the bundle does not hold, and says so. */
export type Hole = { readonly station: string; readonly first: number; readonly last: number }

/** The signed receipt of the sale that the bundle belongs to (COSE_Sign1, sale.ts), and the key (32 bytes) it is signed by. */
export type BundleSale = { readonly hubKey: Uint8Array; readonly receipt: Uint8Array }

/**
 * `missing` never reached the hub, by its own word; `pending` did, and is in no anchored batch yet. `sale` is there where
 * the readings were sold.
 */
export type Bundle = {
  readonly network: string
  readonly scope: BundleScope
  readonly stations: readonly BundleStation[]
  readonly batches: readonly BundleBatch[]
  readonly missing: readonly Hole[]
  readonly pending: readonly Hole[]
  readonly sale?: BundleSale
}

export const bundleVersion = 2

// 10,000 envelopes of 50 readings have 5 MB; the largest envelopes are 8 KiB each.
export const bundleBounds: CborBounds = {
  maxBytes: 64 << 20,
  maxDepth: 8,
  maxItems: 4_000_000,
  floats: false,
}

/** Bytes at the end that are the SHA-256 of all before them. */
export const digestBytes = 32

const idBytes = (station: string): Uint8Array => {
  const id = fromHex(station)
  if (id?.length !== 16) throw new RangeError(`a station id has 32 hex digits: ${station}`)
  return id
}

/** A scope in the one form that there is for it: no time before 1970; stations and quantities ascending and each once. */
export const canonicalScope = ({ fromMs, toMs, quantities, stations, sensor }: BundleScope): BundleScope => ({
  toMs,
  ...(sensor === undefined ? {} : { sensor }),
  ...(stations === undefined ? {} : { stations: [...new Set(stations)].sort() }),
  fromMs: Math.max(0, fromMs),
  ...(quantities === undefined || quantities.length === 0
    ? {}
    : { quantities: [...new Set(quantities)].sort((a, b) => a - b) }),
})

/** Writes a canonical scope, as bundles and sales receipts have it. */
export const writeScope = (
  writer: CborWriter,
  { fromMs, toMs, stations, sensor, quantities }: BundleScope,
): void => {
  if (stations?.length === 0) throw new RangeError('a bundle is about one station at least')
  const optional = [stations, sensor, quantities].filter((part) => part !== undefined).length
  writer
    .map(2 + optional)
    .int(0)
    .int(fromMs)
    .int(1)
    .int(toMs)
  if (stations !== undefined) {
    writer.int(2)
    if (stations.length > 1) writer.array(stations.length)
    for (const station of stations) writer.bytes(idBytes(station))
  }
  if (sensor !== undefined) writer.int(3).text(sensor)
  if (quantities !== undefined) {
    writer.int(4).array(quantities.length)
    for (const code of quantities) writer.int(code)
  }
}

const writeHashes = (writer: CborWriter, hashes: readonly Uint8Array[]): void => {
  writer.array(hashes.length)
  for (const hash of hashes) writer.bytes(hash)
}

const writeBatch = (writer: CborWriter, { statement, anchor, runs }: BundleBatch): void => {
  writer.array(3).bytes(statement)
  writer.array(9).int(anchor.chainId).bytes(anchor.contract).bytes(anchor.txHash)
  writer.int(anchor.blockNumber).bytes(anchor.blockHash).bytes(anchor.root)
  writer.int(anchor.size).int(anchor.index)
  writeHashes(writer, anchor.proof)
  writer.array(runs.length)
  for (const { station, first, leaves, proof } of runs) {
    writer.array(4).bytes(idBytes(station)).int(first).array(leaves.length)
    for (const leaf of leaves)
      if ('bytes' in leaf) writer.bytes(leaf.bytes)
      else writer.array(2).int(leaf.seq).bytes(leaf.hash)
    writeHashes(writer, proof)
  }
}

const writeHoles = (writer: CborWriter, holes: readonly Hole[]): void => {
  writer.array(holes.length)
  for (const { station, first, last } of holes) writer.array(3).bytes(idBytes(station)).int(first).int(last)
}

/** The bundle as one file. Lists must be in the order that bundle.cddl asks for. */
export const encodeBundle = (bundle: Bundle): Uint8Array => {
  const { sale } = bundle
  const writer = new CborWriter()
    .map(sale === undefined ? 8 : 9)
    .int(0)
    .int(bundleVersion)
    .int(1)
    .text(bundle.network)
    .int(2)
  writeScope(writer, bundle.scope)
  writer.int(3).array(bundle.stations.length)
  for (const { station, publicKey, declarations } of bundle.stations) {
    writer
      .array(declarations.length > 0 ? 3 : 2)
      .bytes(idBytes(station))
      .bytes(publicKey)
    if (declarations.length === 0) continue
    writer.array(declarations.length)
    for (const bytes of declarations) writer.bytes(bytes)
  }
  writer.int(4).array(bundle.batches.length)
  for (const batch of bundle.batches) writeBatch(writer, batch)
  writeHoles(writer.int(5), bundle.missing)
  writeHoles(writer.int(6), bundle.pending)
  if (sale !== undefined) writer.int(7).array(2).bytes(sale.hubKey).bytes(sale.receipt)
  // The head of the digest itself is covered by it: a byte string of 32.
  const before = writer.int(8).raw(Uint8Array.of(0x58, digestBytes)).finish()
  return concatBytes(before, sha256(before))
}
