/** The catalogue: where in the evidence journal each envelope is. A view in SQLite, made again from the journal. */
import { rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { atomically } from '../journal/sqlite.ts'
import type { FrameId, FrameSpan, Summary } from '../reading/contents.ts'
import type { Profile } from '../reading/profile.ts'
import type { Range } from '../reading/ranges.ts'
import type { KeptRef, StationRecord } from './evidence.ts'

// Raised with the tables below: a catalogue of another version is made again from the journal.
const version = 4

// The journal is the record; after a power cut a catalogue that lost its last transactions is caught up from it.
const schema = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS station (
    station TEXT PRIMARY KEY, publicKey BLOB NOT NULL, registeredMs INTEGER NOT NULL, revokedMs INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS envelope (
    idx INTEGER PRIMARY KEY, station TEXT NOT NULL, seq INTEGER NOT NULL, receivedMs INTEGER NOT NULL,
    firstMs INTEGER NOT NULL, lastMs INTEGER NOT NULL, readings INTEGER NOT NULL, withheld INTEGER NOT NULL,
    declaredWithheld INTEGER NOT NULL, hash BLOB NOT NULL, prev BLOB NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX IF NOT EXISTS envelopeBySeq ON envelope (station, seq);
  CREATE INDEX IF NOT EXISTS envelopeEmpty ON envelope (station, seq) WHERE readings = 0;
  CREATE INDEX IF NOT EXISTS envelopeByTime ON envelope (station, lastMs);
  CREATE TABLE IF NOT EXISTS frame (
    station TEXT NOT NULL, node TEXT NOT NULL, withheld INTEGER NOT NULL, seq INTEGER NOT NULL,
    envelope INTEGER NOT NULL, PRIMARY KEY (station, node, withheld, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS profile (
    station TEXT PRIMARY KEY, seq INTEGER NOT NULL, profile TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS refusal (reason TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`

type EnvelopeRow = {
  idx: number
  station: string
  seq: number
  receivedMs: number
  firstMs: number
  lastMs: number
  readings: number
  withheld: number
}

type StationRow = {
  station: string
  publicKey: Uint8Array
  registeredMs: number
  revokedMs: number | null
}

const toRef = ({ idx, withheld, ...row }: EnvelopeRow): KeptRef => ({
  ...row,
  index: idx,
  withheld: withheld === 1,
})

const toRecord = (row: StationRow): StationRecord => ({ ...row, publicKey: new Uint8Array(row.publicKey) })

/** What an envelope must fit to be its neighbour: hashes, and the signer's count of withheld ones. */
export type Link = Pick<Summary, 'hash' | 'prev' | 'withheld' | 'declaredWithheld'>

type LinkRow = Omit<Link, 'withheld'> & { seq: number; withheld: number }

/** A node's frame, and the envelope that it is in. */
type FrameRow = { seq: number; envelope: number }

/** Opens or creates the catalogue file. */
export const openCatalogue = (path: string) => {
  let database = new DatabaseSync(path)
  const found = (database.prepare('PRAGMA user_version').get() as { user_version: number }).user_version
  if (found !== version && found !== 0) {
    database.close()
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
    database = new DatabaseSync(path)
  }
  database.exec(`${schema} PRAGMA user_version = ${version};`)
  const columns = 'idx, station, seq, receivedMs, firstMs, lastMs, readings, withheld'
  const insert = database.prepare('INSERT OR IGNORE INTO envelope VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  const addFrame = database.prepare('INSERT OR IGNORE INTO frame VALUES (?, ?, ?, ?, ?)')
  const frame = database.prepare(
    'SELECT 1 FROM frame WHERE station = ? AND node = ? AND withheld IN (0, 1) AND seq = ?',
  )
  const inLane = 'SELECT seq, envelope FROM frame WHERE station = ? AND node = ? AND withheld = ?'
  const frameBefore = database.prepare(`${inLane} AND seq < ? ORDER BY seq DESC LIMIT 1`)
  const frameFrom = database.prepare(`${inLane} AND seq >= ? ORDER BY seq LIMIT 1`)
  const links = database.prepare(
    'SELECT seq, hash, prev, withheld, declaredWithheld FROM envelope WHERE station = ? AND seq IN (?, ?, ?)',
  )
  const refs = database.prepare(
    `SELECT ${columns} FROM envelope WHERE station = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?`,
  )
  const declarations = database.prepare(
    `SELECT ${columns} FROM envelope WHERE station = ? AND seq > ? AND readings = 0 ORDER BY seq LIMIT ?`,
  )
  const among = database.prepare(`SELECT ${columns}, hash FROM envelope WHERE idx >= ? AND idx < ?`)
  const span = database.prepare(
    'SELECT min(seq) AS first, max(seq) AS last FROM envelope WHERE station = ? AND lastMs >= ? AND firstMs < ?',
  )
  const seqs = database.prepare('SELECT seq FROM envelope WHERE station = ? ORDER BY seq')
  const headOf = database.prepare('SELECT hash, declaredWithheld FROM envelope WHERE station = ? AND seq = ?')
  const newest = database.prepare('SELECT max(receivedMs) AS ms FROM envelope WHERE station = ?')
  const stations = database.prepare('SELECT * FROM station ORDER BY registeredMs, station')
  const addStation = database.prepare('INSERT OR IGNORE INTO station VALUES (?, ?, ?, NULL)')
  const revoke = database.prepare('UPDATE station SET revokedMs = ? WHERE station = ? AND revokedMs IS NULL')
  const count = database.prepare(
    'INSERT INTO refusal VALUES (?, 1) ON CONFLICT (reason) DO UPDATE SET count = count + 1',
  )
  const counts = database.prepare('SELECT reason, count FROM refusal')
  const setProfile = database.prepare(
    `INSERT INTO profile VALUES (?, ?, ?)
     ON CONFLICT (station) DO UPDATE SET seq = excluded.seq, profile = excluded.profile WHERE excluded.seq > seq`,
  )
  const getProfile = database.prepare('SELECT profile FROM profile WHERE station = ?')
  const getMark = database.prepare('SELECT value FROM mark WHERE name = ?')
  const setMark = database.prepare(
    'INSERT INTO mark VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
  )

  return {
    /** Runs `work` in one transaction. */
    transaction: (work: () => void): void => atomically(database, work),
    addEnvelope: (index: number, receivedMs: number, summary: Summary): void => {
      const { station, seq, firstMs, lastMs, readings, withheld, declaredWithheld, hash, prev } = summary
      const times = [receivedMs, firstMs, lastMs] as const
      const counts = [readings, withheld ? 1 : 0, declaredWithheld] as const
      insert.run(index, station, seq, ...times, ...counts, hash, prev)
      for (const { node, seq: number } of summary.frames)
        addFrame.run(station, node, withheld ? 1 : 0, number, seq)
      if (summary.profile !== undefined) setProfile.run(station, seq, JSON.stringify(summary.profile))
    },
    /** What a station said of itself last, by its numbers. */
    profile: (station: string): Profile | undefined => {
      const row = getProfile.get(station) as { profile: string } | undefined
      return row && (JSON.parse(row.profile) as Profile)
    },
    /** Whether a frame of a node is in an envelope of that station. */
    hasFrame: (station: string, { node, seq }: FrameId): boolean =>
      frame.get(station, node, seq) !== undefined,
    /**
     * Whether the numbers of a node in envelope `envelope` ascend among those that are kept of it in envelopes of the
     * same lane: older ones in envelopes before, newer ones in envelopes behind, none in between.
     */
    ascends: ({ station, seq: envelope, withheld }: Summary, { node, first, last }: FrameSpan): boolean => {
      const where = [station, node, withheld ? 1 : 0, first] as const
      const before = frameBefore.get(...where) as FrameRow | undefined
      const from = frameFrom.get(...where) as FrameRow | undefined
      return (
        (before === undefined || before.envelope < envelope) &&
        (from === undefined || (from.seq > last && from.envelope > envelope))
      )
    },
    /** Of the envelopes seq - 1, seq and seq + 1, as far as they are kept. */
    links: (station: string, seq: number): Map<number, Link> =>
      new Map(
        (links.all(station, seq - 1, seq, seq + 1) as LinkRow[]).map(({ withheld, ...row }) => [
          row.seq,
          { ...row, withheld: withheld === 1 },
        ]),
      ),
    refs: (station: string, first: number, last: number, limit: number): KeptRef[] =>
      (refs.all(station, first, last, limit) as EnvelopeRow[]).map(toRef),
    declarations: (station: string, after: number, limit: number): KeptRef[] =>
      (declarations.all(station, after, limit) as EnvelopeRow[]).map(toRef),
    /** What is known of the envelopes with journal index `from` (inclusive) to `to` (exclusive), by index. */
    among: (from: number, to: number): Map<number, KeptRef & { hash: Uint8Array }> =>
      new Map(
        (among.all(from, to) as (EnvelopeRow & { hash: Uint8Array })[]).map(({ hash, ...row }) => [
          row.idx,
          { ...toRef(row), hash: new Uint8Array(hash) },
        ]),
      ),
    span: (station: string, fromMs: number, toMs: number): Range | undefined => {
      const row = span.get(station, fromMs, toMs) as { first: number | null; last: number | null }
      return row.first === null || row.last === null ? undefined : [row.first, row.last]
    },
    /** What a receipt says of the last envelope of a range, which is kept. */
    headOf: (station: string, seq: number): { head: Uint8Array; withheld: number } => {
      const row = headOf.get(station, seq) as { hash: Uint8Array; declaredWithheld: number }
      return { head: new Uint8Array(row.hash), withheld: row.declaredWithheld }
    },
    *seqs(station: string): Generator<number> {
      for (const row of seqs.iterate(station)) yield (row as { seq: number }).seq
    },
    lastReceivedMs: (station: string): number | null => (newest.get(station) as { ms: number | null }).ms,
    stations: (): StationRecord[] => (stations.all() as StationRow[]).map(toRecord),
    addStation: (station: string, publicKey: Uint8Array, registeredMs: number): void => {
      addStation.run(station, publicKey, registeredMs)
    },
    revoke: (station: string, revokedMs: number): void => {
      revoke.run(revokedMs, station)
    },
    countRefusal: (reason: string): void => {
      count.run(reason)
    },
    refusalCounts: (): Record<string, number> =>
      Object.fromEntries(
        (counts.all() as { reason: string; count: number }[]).map((row) => [row.reason, row.count]),
      ),
    mark: (name: string): number => (getMark.get(name) as { value: number } | undefined)?.value ?? 0,
    setMark: (name: string, value: number): void => {
      setMark.run(name, value)
    },
    /** Forgets all but how many were refused; the journal is read again. */
    clear: (): void =>
      database.exec(
        'DELETE FROM envelope; DELETE FROM frame; DELETE FROM profile; DELETE FROM station; DELETE FROM mark;',
      ),
    close: (): void => database.close(),
  }
}
