/** Builds the proof bundle of a query from evidence and anchored batches. */
import type { Anchor, Anchors, Leaves } from '../anchor/anchor.ts'
import type { Evidence, KeptRef } from '../evidence/evidence.ts'
import {
  type BundleBatch,
  type BundleLeaf,
  type BundleSale,
  type BundleScope,
  type BundleStation,
  bundleBounds,
  canonicalScope,
  encodeBundle,
  type Hole,
  type Run,
} from '../reading/bundle.ts'
import { fromHex } from '../reading/bytes.ts'
import { rangeProof } from '../reading/merkle.ts'
import type { Range } from '../reading/ranges.ts'
import { declarationsFor } from './declarations.ts'

/** Envelopes in one bundle, withheld ones counted: at 50 readings each, a buyer verifies them in seconds. */
export const maxEnvelopes = 10_000

// Room for statements, proofs and heads beside the envelopes.
const maxEnvelopeBytes = bundleBounds.maxBytes / 2

// References are read this many at a time.
const page = 1000

export type BundleDeps = {
  readonly evidence: Pick<Evidence, 'span' | 'refs' | 'declarations' | 'get' | 'stations' | 'station'>
  readonly anchors: Pick<Anchors, 'batch' | 'batches' | 'placeOf' | 'leaves' | 'anchorOf'>
  readonly network: string
}

/**
 * `anchoredToMs`: until when (UTC ms) anchored evidence reaches among the stations asked for, at least as late as any
 * reading in the bundle; null where there is none.
 */
export type BuiltBundle =
  | { readonly ok: true; readonly bytes: Uint8Array; readonly anchoredToMs: number | null }
  | {
      readonly ok: false
      readonly reason: 'unknown-station' | 'no-evidence' | 'not-anchored' | 'too-large' | 'damaged'
      readonly detail: string
      readonly anchoredToMs: number | null
    }

type Anchored = Anchor & { readonly blockNumber: number; readonly blockHash: `0x${string}` }

/** Batches that count: mined when first asked for and not closed since the build began, so that one view holds. */
const openBook = (anchors: BundleDeps['anchors']) => {
  const newest = anchors.batches({ limit: 1 })[0]?.batch ?? 0
  const known = new Map<number, Anchored | null>()
  const leaves = new Map<number, Leaves>()
  const anchored = (batch: number): Anchored | null => {
    let anchor = known.get(batch)
    if (anchor === undefined) {
      const found = batch <= newest ? anchors.anchorOf(batch) : undefined
      anchor =
        found !== undefined &&
        found.blockNumber !== null &&
        found.blockHash !== null &&
        (found.status === 'mined' || found.status === 'final')
          ? (found as Anchored)
          : null
      known.set(batch, anchor)
    }
    return anchor
  }
  return {
    anchored,
    /** Place of an envelope in an anchored batch; undefined while there is none. */
    placeOf: ({ station, seq }: KeptRef) => {
      const place = anchors.placeOf(station, seq)
      return place !== undefined && anchored(place.batch) !== null ? place : undefined
    },
    hashes: (batch: number): readonly Uint8Array[] => {
      let found = leaves.get(batch)
      if (found === undefined) {
        found = anchors.leaves(batch)
        if (found === undefined) throw new Error(`batch ${batch} is anchored and has no leaves`)
        leaves.set(batch, found)
      }
      return found.hashes
    },
  }
}

type Book = ReturnType<typeof openBook>

/**
 * The seqs that prove a station's range: from the nearest envelope that ends before it to the nearest that begins
 * behind it, by which a buyer sees that nothing of the range is left out. Such an envelope is anchored and not
 * withheld, because only a shown one tells its times and how many before it were withheld; where there is none,
 * everything on that side belongs to the proof, and its report says that this end is open.
 */
const reachOf = (
  evidence: BundleDeps['evidence'],
  book: Book,
  station: string,
  { fromMs, toMs }: BundleScope,
): readonly [first: number, last: number] | undefined => {
  const inside = evidence.span(station, fromMs, toMs)
  const before = evidence.span(station, 0, fromMs)?.[1]
  const behind = evidence.span(station, toMs, Number.MAX_SAFE_INTEGER)?.[0]
  const [least, most] = inside ?? [before ?? behind, behind ?? before]
  if (least === undefined || most === undefined) return undefined
  // One without readings declares what was lost, and may stand behind what is older.
  const shown = (ref: KeptRef): boolean =>
    !ref.withheld && ref.readings > 0 && book.placeOf(ref) !== undefined
  let [first, last] = [Math.min(least, most), Math.max(least, most)]
  for (let to = first, walked = 0; to >= 1 && walked <= maxEnvelopes; to -= page, walked += page) {
    const refs = evidence.refs(station, Math.max(1, to - page + 1), to, page)
    const open = refs.findLast((ref) => ref.lastMs < fromMs && shown(ref))
    first = open?.seq ?? refs[0]?.seq ?? first
    if (open !== undefined) break
  }
  for (let from = last, walked = 0; walked <= maxEnvelopes; from = last + 1, walked += page) {
    const refs = evidence.refs(station, from, Number.MAX_SAFE_INTEGER, page)
    const open = refs.find((ref) => ref.firstMs >= toMs && shown(ref))
    last = open?.seq ?? refs.at(-1)?.seq ?? last
    if (open !== undefined || refs.length < page) break
  }
  return [first, last]
}

type Placed = { readonly ref: KeptRef; readonly batch: number; readonly place: number }

/** Anchored envelopes from the first to the last of them, and what is not there in between. */
const placedOf = (station: string, refs: readonly KeptRef[], book: Book) => {
  const placed: Placed[] = []
  const missing: Hole[] = []
  const pending: Hole[] = []
  let waiting: { first: number; last: number }[] = []
  let lost: Hole[] = []
  let next: number | undefined
  for (const ref of refs) {
    if (next !== undefined && ref.seq > next) lost.push({ station, first: next, last: ref.seq - 1 })
    next = ref.seq + 1
    const place = book.placeOf(ref)
    if (place === undefined) {
      const last = waiting.at(-1)
      if (last?.last === ref.seq - 1) last.last = ref.seq
      else waiting.push({ first: ref.seq, last: ref.seq })
      continue
    }
    // Holes count only between two envelopes of the bundle.
    if (placed.length > 0) {
      missing.push(...lost)
      pending.push(...waiting.map((hole) => ({ station, ...hole })))
    }
    lost = []
    waiting = []
    placed.push({ ref, ...place })
  }
  return { placed, missing, pending }
}

const asBytes = (hex: string): Uint8Array => {
  const bytes = fromHex(hex.slice(2))
  if (bytes === undefined) throw new Error(`no hex: ${hex}`)
  return bytes
}

/**
 * The bundle of a query: every envelope of the stations asked for that may hold readings of the time asked, their
 * neighbours, and proofs; `sale` is the receipt of who bought them. Only what is anchored goes in: mined or final. Bad luck
 * is an answer with its reason.
 */
export const buildBundle = async (
  { evidence, anchors, network }: BundleDeps,
  query: BundleScope,
  sale?: BundleSale,
): Promise<BuiltBundle> => {
  const known = query.stations?.filter((station) => evidence.station(station) !== undefined)
  const scope = canonicalScope(known === undefined ? query : { ...query, stations: known })
  let anchoredToMs: number | null = null
  const no = (reason: Extract<BuiltBundle, { ok: false }>['reason'], detail: string): BuiltBundle => ({
    ok: false,
    reason,
    detail,
    anchoredToMs,
  })
  const asked =
    scope.stations === undefined
      ? evidence.stations()
      : scope.stations.map((station) => evidence.station(station)!)
  if (asked.length === 0)
    return no(
      'unknown-station',
      query.stations?.length === 0
        ? 'no station lies there'
        : `no station ${query.stations?.join(', ') ?? ''} is registered here`,
    )
  const book = openBook(anchors)
  const placed: Placed[] = []
  const missing: Hole[] = []
  const pending: Hole[] = []
  const stations: BundleStation[] = []
  let evident = false
  for (const { station, publicKey } of asked.toSorted((a, b) => (a.station < b.station ? -1 : 1))) {
    const reach = reachOf(evidence, book, station, scope)
    if (reach === undefined) continue
    evident = true
    const room = maxEnvelopes - placed.length
    const refs = evidence.refs(station, ...reach, room + 1)
    if (refs.length > room)
      return no('too-large', `more than ${maxEnvelopes} envelopes; ask for a shorter time or one station`)
    const found = placedOf(station, refs, book)
    if (found.placed.length === 0) continue
    const holes = found.missing.map(({ first, last }): Range => [first, last])
    const own = found.placed.map(({ ref }) => ref)
    const declarations = await declarationsFor(evidence, station, holes, own)
    stations.push({ station, publicKey, declarations })
    for (const one of found.placed) {
      placed.push(one)
      anchoredToMs = Math.max(anchoredToMs ?? 0, one.ref.lastMs)
    }
    missing.push(...found.missing)
    pending.push(...found.pending)
  }
  if (!evident) return no('no-evidence', 'nothing was ever received that could prove this query')
  if (!placed.some(({ ref }) => ref.lastMs >= scope.fromMs || ref.firstMs >= scope.toMs))
    return no(
      'not-anchored',
      anchoredToMs === null
        ? 'nothing of this is anchored yet; ask again in a minute'
        : `anchored evidence reaches until ${new Date(anchoredToMs).toISOString()}; ask again in a minute`,
    )

  const batches: BundleBatch[] = []
  let bytesInAll = 0
  const byBatch = Map.groupBy(placed, ({ batch }) => batch)
  for (const batch of [...byBatch.keys()].sort((a, b) => a - b)) {
    const hashes = book.hashes(batch)
    const runs: Run[] = []
    const byStation = Map.groupBy(byBatch.get(batch)!, ({ ref }) => ref.station)
    for (const [station, members] of byStation) {
      const first = members[0]!.place
      const leaves: BundleLeaf[] = []
      for (const [at, { ref, place }] of members.entries()) {
        if (place !== first + at)
          throw new Error(`batch ${batch} holds envelopes of station ${station} that evidence does not list`)
        if (ref.withheld) {
          leaves.push({ seq: ref.seq, hash: hashes[place]! })
          continue
        }
        const kept = await evidence.get(ref.index)
        if (kept === undefined)
          return no('damaged', `envelope ${ref.seq} of station ${station} was damaged on the hub's disk`)
        bytesInAll += kept.bytes.length
        if (bytesInAll > maxEnvelopeBytes)
          return no('too-large', `more than ${maxEnvelopeBytes} bytes of envelopes; ask for a shorter time`)
        leaves.push({ bytes: kept.bytes })
      }
      runs.push({ station, first, leaves, proof: rangeProof(hashes, first, leaves.length) })
    }
    const anchor = book.anchored(batch)!
    const { chainId, blockNumber, root, size, index, proof } = anchor
    batches.push({
      statement: anchors.batch(batch)!.statement,
      anchor: {
        chainId,
        contract: asBytes(anchor.contract),
        txHash: asBytes(anchor.txHash),
        blockNumber,
        blockHash: asBytes(anchor.blockHash),
        root,
        size,
        index,
        proof,
      },
      runs: runs.sort((a, b) => a.first - b.first),
    })
  }
  const bytes = encodeBundle({
    network,
    scope,
    stations,
    batches,
    missing,
    pending,
    ...(sale === undefined ? {} : { sale }),
  })
  return { ok: true, bytes, anchoredToMs }
}
