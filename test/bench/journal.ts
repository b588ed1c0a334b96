import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { diskFiles, type JournalFiles } from '#gateway/journal/files.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { recordBytes as recordBytesOnDisk } from '#gateway/journal/segment.ts'
import { type Aim, type Measurement, type Row, row } from './measurement.ts'
import { takeTurns, warmUps } from './rounds.ts'

const recordBytes = 180

// Large enough that no segment ends within a measurement: rolling is measured by itself.
const steadySegmentBytes = 64 * 1024 * 1024
const rollingSegmentBytes = 4 * 1024 * 1024

// Many short rounds, because the neighbours use the disk too.
const steadyRounds = 8

type Case = {
  readonly what: string
  /** Records to a commit. */
  readonly batch: number
  /** Commits in one round. */
  readonly commits: number
  readonly overlapped?: true
  readonly aim?: Aim
}

const steady: readonly Case[] = [
  { what: '1 record to a commit', batch: 1, commits: 60, aim: { least: 0.85 } },
  { what: '16 records to a commit', batch: 16, commits: 50, aim: { least: 0.85 } },
  { what: '256 records to a commit', batch: 256, commits: 16, aim: { least: 0.85 } },
  { what: '256, the next appended meanwhile', batch: 256, commits: 16, overlapped: true },
]
const rolling: Case = { what: '256, with segments made and sealed', batch: 256, commits: 300 }

type Appender = { readonly append: (batch: number, commits: number) => Promise<void> } & AsyncDisposable

const preallocated = async (path: string, bytes: number) => {
  const file = await open(path, 'w+', 0o600)
  const zeros = Buffer.alloc(256 * 1024)
  for (let at = 0; at < bytes; at += zeros.length) await file.write(zeros, 0, zeros.length, at)
  await file.sync()
  return file
}

const record = Buffer.alloc(recordBytes, 0xa5)

// What the journal makes of it: the file takes as many bytes of both, and their blocks are as many.
const storedRecord = Buffer.alloc(recordBytesOnDisk(recordBytes), 0xa5)

/** writev and fdatasync, and nothing else; a file that is full is followed by another one, made like the first. */
const bareLoop = async (directory: string, name: string, bytes: number): Promise<Appender> => {
  let files = 0
  let file = await preallocated(join(directory, `${name}-0`), bytes)
  let at = 0
  return {
    append: async (batch, commits) => {
      const records = Array.from({ length: batch }, () => storedRecord)
      for (let commit = 0; commit < commits; commit++) {
        if (at + batch * storedRecord.length > bytes) {
          await file.close()
          file = await preallocated(join(directory, `${name}-${++files}`), bytes)
          at = 0
        }
        await file.writev(records, at)
        await file.datasync()
        at += batch * storedRecord.length
      }
    },
    [Symbol.asyncDispose]: () => file.close(),
  }
}

const ours = async (
  directory: string,
  segmentBytes: number,
  files: JournalFiles,
): Promise<Appender & { readonly overlapped: Appender['append'] }> => {
  const journal = await openJournal({ directory, segmentBytes, files })
  return {
    append: async (batch, commits) => {
      for (let commit = 0; commit < commits; commit++) {
        for (let more = 0; more < batch; more++) journal.append(record)
        await journal.commit()
      }
    },
    overlapped: async (batch, commits) => {
      let flushed = Promise.resolve()
      for (let commit = 0; commit < commits; commit++) {
        for (let more = 0; more < batch; more++) journal.append(record)
        await flushed
        flushed = journal.commit()
        await nextTurn() // the flush has begun: what is appended from here on belongs to the next
      }
      await flushed
    },
    [Symbol.asyncDispose]: () => journal.close(),
  }
}

/** The real disk, counting what is flushed. */
const countingFiles = (): { files: JournalFiles; flushes: () => number } => {
  let flushes = 0
  const files: JournalFiles = {
    ...diskFiles,
    open: async (path, how) => {
      const file = await diskFiles.open(path, how)
      const counted = (flush: () => Promise<void>) => () => {
        flushes++
        return flush()
      }
      const { writeThrough } = file
      return {
        ...file,
        ...(writeThrough && {
          writeThrough: (bytes, position) => {
            flushes++
            return writeThrough(bytes, position)
          },
        }),
        datasync: counted(file.datasync),
        sync: counted(file.sync),
      }
    },
    syncDirectory: (path) => {
      flushes++
      return diskFiles.syncDirectory(path)
    },
  }
  return { files, flushes: () => flushes }
}

const rate = async (append: Appender['append'], batch: number, commits: number): Promise<number> => {
  const startedMs = performance.now()
  await append(batch, commits)
  return (batch * commits * 1000) / (performance.now() - startedMs)
}

/** The journal beside the least that durability can cost, and how often it flushes for one commit. */
export const journal: Measurement = {
  name: 'journal',
  title: `Journal appends of ${recordBytes} bytes, on disk when they count`,
  baseline: 'writev + fdatasync of as many bytes as the journal writes, on a file preallocated the same way',
  unit: 'records/s',
  run: async ({ rounds, share, directory }) => {
    const rows: Row[] = []
    const counting = countingFiles()
    let flushes = 0
    let commits = 0
    const turns = Math.ceil(steadyRounds * rounds * Math.sqrt(share))
    for (const [at, { what, batch, commits: usual, overlapped, aim }] of steady.entries()) {
      // The journal makes its next segment when one is half full.
      const most = steadySegmentBytes / 2.5 / ((turns + warmUps) * batch * recordBytes)
      const perRound = Math.max(1, Math.floor(Math.min(usual, most)))
      await using bare = await bareLoop(directory, `bare-${at}`, steadySegmentBytes)
      await using own = await ours(join(directory, `own-${at}`), steadySegmentBytes, counting.files)
      await own.append(1, 1) // makes the first segment
      const flushesBefore = counting.flushes()
      const rates = await takeTurns(turns, {
        bare: () => rate(bare.append, batch, perRound),
        own: () => rate(overlapped ? own.overlapped : own.append, batch, perRound),
      })
      flushes += counting.flushes() - flushesBefore
      commits += (turns + warmUps) * perRound
      rows.push(row(what, rates.own, rates.bare, aim && { aim }))
    }
    const { what, batch, commits: usual } = rolling
    await using bare = await bareLoop(directory, 'bare-rolling', rollingSegmentBytes)
    await using own = await ours(join(directory, 'own-rolling'), rollingSegmentBytes, diskFiles)
    const perRound = Math.ceil(usual * share)
    const rates = await takeTurns(rounds, {
      bare: () => rate(bare.append, batch, perRound),
      own: () => rate(own.append, batch, perRound),
    })
    rows.push(
      row(what, rates.own, rates.bare, {
        note: 'the baseline makes its next file too, but neither names nor hashes the full one',
      }),
      {
        what: 'flushes to a commit',
        ours: flushes / commits,
        baseline: 1,
        ratios: [flushes / commits],
        aim: { most: 1 },
        unit: 'flushes',
      },
    )
    return rows
  },
}
