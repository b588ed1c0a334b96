/** The life of a segment file: preallocated, opened for its first record, sealed under its hash. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { type JournalFile, type JournalFiles, readUpTo, writeAll } from './files.ts'
import type { Offsets } from './offsets.ts'
import { encodeMark, type Mark, markBytes, recordsEnd } from './segment.ts'

/**
 * One segment as the running journal knows it. `planned` has indexes but no file yet. `mark` is undefined where
 * both copies are destroyed: none of its records can be told from noise.
 */
export type Segment = {
  readonly first: number
  readonly mark: Mark | undefined
  state: 'planned' | 'open' | 'sealed'
  /** File name in the journal's directory. */
  name: string
  bytesOnDisk: number
  /** Open while the segment is written to or not sealed yet. */
  file: JournalFile | undefined
  /** Known while it is written to, later only while a reader has use for it. */
  offsets: Offsets | undefined
}

/** A preallocated file that has no indexes yet. */
export type Spare = { readonly file: JournalFile; readonly bytes: number }

/** What is known from a segment's name. */
export type SegmentName = { readonly name: string; readonly first: number; readonly sealed: boolean }

export const spareName = 'next.new'

const chunkBytes = 256 * 1024
const digits = (first: number): string => String(first).padStart(16, '0')
const namePattern = /^(\d{16})(?:\.open|-[0-9a-f]{16}\.seg)$/

export const openName = (first: number): string => `${digits(first)}.open`

/** Reads a file name; undefined for a file that is no segment. */
export const parseName = (name: string): SegmentName | undefined => {
  const first = Number(namePattern.exec(name)?.[1] ?? Number.NaN)
  return Number.isSafeInteger(first) ? { name, first, sealed: name.endsWith('.seg') } : undefined
}

const writeZeros = async (file: JournalFile, from: number, to: number): Promise<void> => {
  const zeros = Buffer.alloc(Math.min(chunkBytes, Math.max(0, to - from)))
  for (let at = from; at < to; at += zeros.length)
    await writeAll(file, zeros.subarray(0, Math.min(zeros.length, to - at)), at)
}

/**
 * A file of that many zeros, on the medium: an fdatasync of what is later written into it moves no metadata.
 * Where there is no room for it, what was taken is given back before the error is passed on.
 */
export const prepareSpare = async (files: JournalFiles, directory: string, bytes: number): Promise<Spare> => {
  const path = join(directory, spareName)
  const file = await files.open(path, 'create')
  try {
    await writeZeros(file, 0, bytes)
    await file.sync()
    return { file, bytes }
  } catch (error) {
    await file.close().catch(() => {})
    await files.remove(path).catch(() => {})
    throw error
  }
}

/** Gives a spare its indexes: marks at both ends, then its name, both on the medium before it holds a record. */
export const startSegment = async (
  files: JournalFiles,
  directory: string,
  { file, bytes }: Spare,
  segment: Segment & { readonly mark: Mark },
): Promise<void> => {
  const mark = encodeMark(segment.mark)
  await writeAll(file, mark, 0)
  await writeAll(file, mark, recordsEnd(bytes))
  await file.datasync()
  await files.rename(join(directory, spareName), join(directory, segment.name))
  await files.syncDirectory(directory)
}

/** Makes an open segment whole again: zeros in [from, to), marks at both ends, all of it on the medium. */
export const repairSegment = async (
  file: JournalFile,
  mark: Mark,
  from: number,
  to: number,
): Promise<void> => {
  const bytes = encodeMark(mark)
  await writeZeros(file, from, to)
  await writeAll(file, bytes, 0)
  await writeAll(file, bytes, recordsEnd(mark.capacity))
  await file.sync()
}

/**
 * Seals a full segment: end mark behind `end`, cut there, renamed to carry the hash of its bytes. Without a mark
 * the bytes stay as they are. A crash in between leaves an open segment that the next open seals.
 */
export const sealSegment = async (
  files: JournalFiles,
  directory: string,
  segment: Segment,
  end: number,
  next: number,
): Promise<void> => {
  const file = segment.file!
  if (segment.mark) {
    await writeAll(file, encodeMark({ ...segment.mark, next }), end)
    await file.truncate(end + markBytes)
    await file.sync()
  }
  const bytes = await file.size()
  const hash = createHash('sha256')
  for (let at = 0; at < bytes; at += chunkBytes)
    hash.update(await readUpTo(file, at, Math.min(chunkBytes, bytes - at)))
  const name = `${digits(segment.first)}-${hash.digest('hex').slice(0, 16)}.seg`
  await files.rename(join(directory, segment.name), join(directory, name))
  segment.name = name
  segment.state = 'sealed'
  segment.bytesOnDisk = bytes
  segment.file = undefined
  try {
    await files.syncDirectory(directory)
  } finally {
    await file.close()
  }
}
