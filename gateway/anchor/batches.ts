/** Batches as the database keeps them: which evidence, in which order, under which root. */
import type { DatabaseSync } from 'node:sqlite'
import { atomically } from '../journal/sqlite.ts'
import { leafHash, treeRoot } from '../reading/merkle.ts'
import { decodeStatement, encodeStatement, type StationSpan, statementHash } from '../reading/statement.ts'

/** One leaf: an envelope by station and sequence number, and its index in the evidence. */
export type LeafRef = { readonly station: string; readonly seq: number; readonly index: number }

/** A leaf on its way into a batch: `hash` is the RFC 9162 leaf hash, the times span its readings (UTC ms). */
export type Leaf = LeafRef & {
  readonly hash: Uint8Array
  readonly firstMs: number
  readonly lastMs: number
}

/** A batch without what became of it. Evidence indexes: `from` inclusive, `to` exclusive; times UTC ms. */
export type ClosedBatch = {
  readonly batch: number
  readonly from: number
  readonly to: number
  readonly size: number
  readonly firstMs: number
  readonly lastMs: number
  readonly closedMs: number
  readonly root: Uint8Array
  readonly statement: Uint8Array
}

// Per leaf in `leaf_places`, in tree order, big endian: u64 seq, u64 evidence index.
const placeBytes = 16

/** Tree order: by station id, then by seq, so that what one station sent in a row has one short proof. */
export const inTreeOrder = (a: LeafRef, b: LeafRef): number => {
  if (a.station !== b.station) return a.station < b.station ? -1 : 1
  return a.seq - b.seq
}

const spansOf = (leaves: readonly LeafRef[]): StationSpan[] => {
  const spans: { station: string; first: number; last: number; count: number }[] = []
  for (const { station, seq } of leaves) {
    const span = spans.at(-1)
    if (span?.station !== station) spans.push({ station, first: seq, last: seq, count: 1 })
    else {
      // Two envelopes with one seq would be a hole in the evidence's own bookkeeping, and no verifier takes them.
      if (seq === span.last) throw new Error(`evidence holds ${station} seq ${seq} twice`)
      span.last = seq
      span.count += 1
    }
  }
  return spans
}

const viewOf = (blob: unknown): DataView => {
  const { buffer, byteOffset, byteLength } = blob as Uint8Array
  return new DataView(buffer, byteOffset, byteLength)
}

/** Place of a seq among one station's leaves, which ascend by seq; -1 where it is not there. */
const findSeq = (places: DataView, seq: number): number => {
  let low = 0
  let high = places.byteLength / placeBytes
  while (low < high) {
    const middle = (low + high) >>> 1
    const found = Number(places.getBigUint64(middle * placeBytes))
    if (found === seq) return middle
    if (found < seq) low = middle + 1
    else high = middle
  }
  return -1
}

type SpanRow = Readonly<Record<'first' | 'last' | 'batch' | 'place' | 'count', number>>

/** A leaf's batch and its place in that batch's tree, from 0. */
export type LeafPlace = { readonly batch: number; readonly place: number }

/** Rows of `batches`. Every change is on disk when its call returns. */
export const batchesOf = (database: DatabaseSync) => {
  const newest = database.prepare(
    'SELECT batch, to_index, statement FROM batches ORDER BY batch DESC LIMIT 1',
  )
  const insert = database.prepare(
    `INSERT INTO batches (batch, from_index, to_index, size, first_ms, last_ms, closed_ms, root, statement,
       statement_leaf, leaf_hashes, leaf_places) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const insertStation = database.prepare('INSERT INTO batch_stations VALUES (?, ?, ?, ?, ?, ?)')
  const leavesRow = database.prepare(
    'SELECT statement, leaf_hashes, leaf_places FROM batches WHERE batch = ?',
  )
  const containing = database.prepare(
    'SELECT batch, to_index, leaf_places FROM batches WHERE from_index <= ? ORDER BY from_index DESC LIMIT 1',
  )
  // A backlog arrives beside fresh readings, so the spans of several batches may contain a seq.
  const withSpan = database.prepare(
    `SELECT first, last, batch, place, count FROM batch_stations
     WHERE station = ? AND first <= ? AND last >= ? ORDER BY batch DESC`,
  )
  const placesOf = database.prepare('SELECT substr(leaf_places, ?, ?) AS places FROM batches WHERE batch = ?')

  const leaves = (batch: number): { refs: LeafRef[]; hashes: Uint8Array[] } | undefined => {
    const row = leavesRow.get(batch)
    if (row === undefined) return undefined
    const decoded = decodeStatement(row.statement as Uint8Array)
    if (!decoded.ok)
      throw new Error(`statement ${batch} in the anchor database is damaged: ${decoded.detail}`)
    const hashes = row.leaf_hashes as Uint8Array
    const view = viewOf(row.leaf_places)
    const stations = decoded.statement.stations.flatMap(({ station, count }) =>
      Array.from({ length: count }, () => station),
    )
    return {
      refs: stations.map((station, at) => ({
        station,
        seq: Number(view.getBigUint64(at * placeBytes)),
        index: Number(view.getBigUint64(at * placeBytes + 8)),
      })),
      hashes: stations.map((_, at) => hashes.subarray(at * 32, (at + 1) * 32)),
    }
  }

  return {
    leaves,
    /** The evidence index that the next batch begins with. */
    cursor: (): number => (newest.get()?.to_index as number | undefined) ?? 0,
    /** Number of the newest batch; 0 before the first. */
    count: (): number => (newest.get()?.batch as number | undefined) ?? 0,
    /** Closes a batch over evidence up to `to` (exclusive); its leaves may come in any order. */
    add: (network: string, unordered: readonly Leaf[], to: number, nowMs: number): ClosedBatch => {
      const ordered = unordered.toSorted(inTreeOrder)
      const before = newest.get()
      const batch = ((before?.batch as number | undefined) ?? 0) + 1
      const from = (before?.to_index as number | undefined) ?? 0
      const stations = spansOf(ordered)
      const root = treeRoot(ordered.map(({ hash }) => hash))
      const firstMs = ordered.reduce((least, leaf) => Math.min(least, leaf.firstMs), Number.MAX_SAFE_INTEGER)
      const lastMs = ordered.reduce((most, leaf) => Math.max(most, leaf.lastMs), 0)
      const size = ordered.length
      const previous =
        before === undefined ? new Uint8Array(32) : statementHash(before.statement as Uint8Array)
      const statement = encodeStatement({
        network,
        batch,
        size,
        root,
        previous,
        firstMs,
        lastMs,
        stations,
      })
      const hashes = Buffer.concat(ordered.map(({ hash }) => hash))
      const places = Buffer.alloc(size * placeBytes)
      for (const [at, { seq, index }] of ordered.entries()) {
        places.writeBigUInt64BE(BigInt(seq), at * placeBytes)
        places.writeBigUInt64BE(BigInt(index), at * placeBytes + 8)
      }
      atomically(database, () => {
        insert.run(
          ...[batch, from, to, size, firstMs, lastMs, nowMs],
          ...[root, statement, leafHash(statement), hashes, places],
        )
        let place = 0
        for (const { station, first, last, count } of stations) {
          insertStation.run(station, first, last, batch, place, count)
          place += count
        }
      })
      return { batch, from, to, size, firstMs, lastMs, closedMs: nowMs, root, statement }
    },
    /** Where the envelope with an evidence index is; undefined while it is in no batch. */
    placeOfIndex: (index: number): LeafPlace | undefined => {
      const row = containing.get(index)
      if (row === undefined || (row.to_index as number) <= index) return undefined
      const places = viewOf(row.leaf_places)
      for (let at = 0; at < places.byteLength; at += placeBytes)
        if (Number(places.getBigUint64(at + 8)) === index)
          return { batch: row.batch as number, place: at / placeBytes }
      return undefined
    },
    /** Where an envelope is; undefined while it is in no batch. */
    placeOfSeq: (station: string, seq: number): LeafPlace | undefined => {
      for (const row of withSpan.all(station, seq, seq)) {
        const { first, last, batch, place, count } = row as Record<string, number> as SpanRow
        if (count === last - first + 1) return { batch, place: place + seq - first }
        const blob = placesOf.get(1 + place * placeBytes, count * placeBytes, batch)!.places
        const found = findSeq(viewOf(blob), seq)
        if (found >= 0) return { batch, place: place + found }
      }
      return undefined
    },
  }
}

export type BatchRows = ReturnType<typeof batchesOf>
