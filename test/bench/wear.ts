/** What a day of readings wears a disk: bytes written by the outbox, beside a queue in SQLite. */
import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { diskFiles, type JournalFiles } from '#gateway/journal/files.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { openOutbox } from '#gateway/outbox/outbox.ts'
import { envelopeHash, noPrevious, signEnvelope } from '#gateway/reading/envelope.ts'
import { stationId } from '#gateway/reading/key.ts'
import { encodeReadings } from '#gateway/reading/payload.ts'
import { cursorCost } from './cursor-cost.ts'
import { type Measurement, row } from './measurement.ts'
import { takeTurns } from './rounds.ts'
import { network, newKeys, steadyClock, weather } from './samples.ts'

// As the sealer makes them at one reading a second: five readings in five seconds.
const readingsPerEnvelope = 5
// As long as one segment of 4 MiB lasts, so that the zeros it is made of count once.
const secondsOfRound = 55_000
const pageBytes = 4096

// What a reading may cost at this rate.
const budgetBytes = 1_300

// Ours is counted in whole pages touched by each write: a block device takes nothing less.
const pagesOf = (position: number, bytes: number): number =>
  Math.floor((position + bytes - 1) / pageBytes) - Math.floor(position / pageBytes) + 1

/** The real disk, counting. A spare's zeros are counted like everything else. */
const counting = () => {
  let bytes = 0
  const count = (position: number, length: number): void => {
    bytes += pagesOf(position, length) * pageBytes
  }
  const files: JournalFiles = {
    ...diskFiles,
    open: async (path, how) => {
      const file = await diskFiles.open(path, how)
      const write: typeof file.write = (data, position) => {
        count(position, data.length)
        return file.write(data, position)
      }
      const { writeThrough } = file
      const through: typeof file.write | undefined =
        writeThrough &&
        ((data, position) => {
          count(position, data.length)
          return writeThrough(data, position)
        })
      return { ...file, write, ...(through && { writeThrough: through }) }
    },
  }
  return { files, bytes: () => bytes }
}

const envelopesOf = (seconds: number) => {
  const { signer } = newKeys()
  const readings = weather(seconds, 1_763_700_000_000, 1000)
  let prev = noPrevious
  const envelopes = Array.from({ length: Math.floor(seconds / readingsPerEnvelope) }, (_, at) => {
    const payload = encodeReadings(readings.slice(at * readingsPerEnvelope, (at + 1) * readingsPerEnvelope))
    const bytes = signEnvelope({ seq: at + 1, prev, clock: steadyClock }, payload, network, signer)
    prev = envelopeHash(bytes)
    return bytes
  })
  return { station: stationId(signer.publicKey), envelopes }
}

/** Bytes a reading: each envelope is committed, sent and receipted, with time that only counts. */
const ours = async (
  directory: string,
  seconds: number,
  cursorIntervalMs: number,
  cursorBytes: number,
): Promise<number> => {
  const { station, envelopes } = envelopesOf(seconds)
  const disk = counting()
  let nowMs = 0
  let cursors = 0
  const outbox = await openOutbox({
    directory,
    openJournal: (path) => openJournal({ directory: path, files: disk.files }),
    cursorIntervalMs,
    now: () => nowMs,
  })
  const before = disk.bytes()
  let noted = Number.NEGATIVE_INFINITY
  for (const [at, bytes] of envelopes.entries()) {
    nowMs += readingsPerEnvelope * 1000
    outbox.append(bytes)
    await outbox.commit()
    const { seq } = await outbox.next(AbortSignal.timeout(10_000))
    const accepted = [{ first: 1, last: seq, head: envelopeHash(envelopes[at]!), withheld: 0 }]
    await outbox.settle({ station, issuedMs: 0, refused: [], accepted })
    if (nowMs - noted >= cursorIntervalMs) {
      noted = nowMs
      cursors++
    }
  }
  const written = disk.bytes() - before + cursors * cursorBytes
  await outbox[Symbol.asyncDispose]()
  return written / (envelopes.length * readingsPerEnvelope)
}

/**
 * Bytes a reading that SQLite appends to its write-ahead log, as the file grew. Checkpoints, which write pages once more,
 * are not counted, and neither are part pages: both in its favour.
 */
const sqlite = (directory: string, seconds: number): number => {
  mkdirSync(directory, { recursive: true })
  const { envelopes } = envelopesOf(seconds)
  const path = join(directory, 'queue.sqlite')
  const database = new DatabaseSync(path)
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0')
  database.exec('CREATE TABLE queue (seq INTEGER PRIMARY KEY, envelope BLOB NOT NULL)')
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  const insert = database.prepare('INSERT INTO queue VALUES (?, ?)')
  const remove = database.prepare('DELETE FROM queue WHERE seq = ?')
  let written = 0
  for (const [at, bytes] of envelopes.entries()) {
    insert.run(at, bytes)
    remove.run(at)
    if (at % 400 !== 399 && at !== envelopes.length - 1) continue
    written += statSync(`${path}-wal`).size
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  }
  database.close()
  return written / (envelopes.length * readingsPerEnvelope)
}

export const wear: Measurement = {
  name: 'wear',
  title: 'Wear of the disk, one reading a second',
  baseline:
    'SQLite, WAL, synchronous=FULL: an insert per envelope, a delete on its receipt; checkpoints not counted',
  unit: 'bytes/reading',
  run: async ({ directory }) => {
    const seconds = secondsOfRound
    const cursor = cursorCost(join(directory, 'cursor'))
    if (cursor === undefined)
      return { skipped: 'what a cursor costs is read from /proc, for a directory on a block device' }
    let round = 0
    // Once: bytes are counted, not timed, and come out the same each time.
    const turns = await takeTurns(
      1,
      {
        often: () => ours(join(directory, `outbox-${round++}`), seconds, 10_000, cursor.device),
        seldom: () => ours(join(directory, `outbox-${round++}`), seconds, 300_000, cursor.device),
        sqlite: () => sqlite(join(directory, `sqlite-${round++}`), seconds),
      },
      0,
    )
    const daily = (bytes: readonly number[]): number[] => bytes.map((one) => (one * 86_400) / 1e6)
    const note = `budget: ${budgetBytes} bytes a reading, ${Math.round((budgetBytes * 86_400) / 1e6)} MB a day`
    const cost = `a note costs the device ${Math.round(cursor.device)} bytes, ${Math.round(cursor.own)} of them its own; measured with a sync each, which stations spare`
    return [
      row('receipts noted every 10 s', turns.often, turns.sqlite, {
        note: cost,
      }),
      row('receipts noted every 5 min, as by default', turns.seldom, turns.sqlite, { aim: { most: 0.7 } }),
      row('by default, in a day', daily(turns.seldom), daily(turns.sqlite), { unit: 'MB/day', note }),
    ]
  },
}
