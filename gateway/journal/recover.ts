/** Opening a directory after anything may have happened to it: what is there, what is wrong, where to go on. */
import { dirname, join } from 'node:path'
import { type JournalFile, type JournalFiles, readUpTo } from './files.ts'
import { type Damage, JournalError } from './journal.ts'
import type { Offsets } from './offsets.ts'
import {
  decodeMark,
  type Mark,
  markBytes,
  maxSegmentBytes,
  recordHeaderBytes,
  recordsEnd,
  type Scan,
  scanSegment,
} from './segment.ts'
import {
  parseName,
  repairSegment,
  type Segment,
  type SegmentName,
  sealSegment,
  spareName,
} from './segment-files.ts'

/** Segments in index order; the last one may be open for more. `next` is the index to go on with. */
export type Recovered = { readonly segments: Segment[]; readonly next: number }

export type RecoverOptions = {
  readonly files: JournalFiles
  readonly directory: string
  readonly segmentBytes: number
  readonly note: (damage: Damage) => void
}

/** A segment's bytes read whole, with what the marks and records in it say. */
export type Loaded = {
  readonly bytes: number
  readonly mark: Mark | undefined
  readonly head: boolean
  readonly tail: boolean
  readonly scan: Scan | undefined
}

const makeDirectory = async (files: JournalFiles, directory: string): Promise<void> => {
  const made = await files.makeDirectory(directory)
  if (made === undefined) return
  for (let at = directory; at !== dirname(made) && at !== dirname(at); at = dirname(at)) {
    await files.syncDirectory(dirname(at))
  }
}

/** Reads and scans one segment file from its first to its last byte. */
export const loadSegment = async (file: JournalFile, { name, first }: SegmentName): Promise<Loaded> => {
  const size = await file.size()
  if (size > maxSegmentBytes) {
    throw new JournalError(
      'unreadable',
      `journal segment ${name} has ${size} bytes, more than the ${maxSegmentBytes} any segment can have. ` +
        'Move it out of the directory and open again.',
    )
  }
  const bytes = await readUpTo(file, 0, size)
  const head = readMark(bytes, 0, name, first)
  const tail = readMark(bytes, bytes.length - markBytes, name, first)
  const mark = head ?? tail
  return {
    bytes: size,
    mark,
    head: head !== undefined,
    tail: tail !== undefined,
    scan: mark && scanSegment(bytes, mark),
  }
}

const readMark = (bytes: Buffer, at: number, name: string, first: number): Mark | undefined => {
  try {
    return decodeMark(bytes, at, first)
  } catch (error) {
    throw new JournalError('unreadable', `${name}: ${(error as Error).message}. Update this program.`, error)
  }
}

/** Tells of everything wrong in a segment that is followed by index `next`. */
export const noteLoaded = (
  note: (damage: Damage) => void,
  { name, first }: SegmentName,
  { bytes, mark, scan, head, tail }: Loaded,
  next: number,
): void => {
  const damaged = (offset: number, length: number, lostFrom: number, lostTo: number) =>
    note({
      kind: 'damaged',
      segment: name,
      offset,
      bytes: length,
      lostFrom,
      lostTo: Math.max(lostFrom, lostTo),
    })
  if (!mark || !scan) {
    damaged(0, bytes, first, next)
    return
  }
  if (!head) damaged(0, markBytes, first, first)
  for (const { offset, bytes: length, lostFrom, lostTo } of scan.bad)
    damaged(offset, length, lostFrom, lostTo)
  const { end, next: found } = scan.offsets
  if (scan.tail || found < next) damaged(end, scan.tail?.bytes ?? 0, found, next)
  else if (!tail) damaged(Math.max(end, bytes - markBytes), markBytes, next, next)
}

const isWithin = (inner: Offsets, outer: Offsets): boolean => {
  for (let index = inner.first; index < inner.next; index++) {
    if (inner.at(index) > 0 && outer.at(index) === 0) return false
  }
  return true
}

/**
 * A segment copied back by hand: two files that start with the same index. The fuller one stays; the other goes, or
 * is renamed to `.aside` where it may hold something that the first does not.
 */
const settleTwins = async (
  { files, directory }: RecoverOptions,
  names: readonly SegmentName[],
): Promise<SegmentName[]> => {
  const kept: SegmentName[] = []
  for (const name of names) {
    const twin = kept.at(-1)
    if (twin?.first !== name.first) {
      kept.push(name)
      continue
    }
    const [held, offered] = [await loadNamed(files, directory, twin), await loadNamed(files, directory, name)]
    const takeOffered =
      !held.scan || (offered.scan !== undefined && isWithin(held.scan.offsets, offered.scan.offsets))
    const [winner, loser] = takeOffered ? [offered, held] : [held, offered]
    const loserName = takeOffered ? twin : name
    kept[kept.length - 1] = takeOffered ? name : twin
    const holdsNothingElse = loser.scan && winner.scan && isWithin(loser.scan.offsets, winner.scan.offsets)
    const path = join(directory, loserName.name)
    if (holdsNothingElse) await files.remove(path)
    else await files.rename(path, `${path}.aside`)
    await files.syncDirectory(directory)
  }
  return kept
}

const loadNamed = async (files: JournalFiles, directory: string, name: SegmentName): Promise<Loaded> => {
  const file = await files.open(join(directory, name.name), 'read')
  try {
    return await loadSegment(file, name)
  } finally {
    await file.close()
  }
}

/** One past a sealed segment's last index: from its end mark, else from its records. */
const readSealed = async (
  { files, directory, note }: RecoverOptions,
  name: SegmentName,
  followedBy: number | undefined,
): Promise<{ segment: Segment; next: number }> => {
  const file = await files.open(join(directory, name.name), 'read')
  try {
    const bytesOnDisk = await file.size()
    const mark = decodeMark(
      await readUpTo(file, Math.max(0, bytesOnDisk - markBytes), markBytes),
      0,
      name.first,
    )
    const whole = mark && mark.next >= name.first
    const loaded = whole ? undefined : await loadSegment(file, name)
    const next = whole
      ? mark.next
      : (loaded?.scan?.offsets.next ?? followedBy ?? pastAny(name.first, bytesOnDisk))
    if (loaded) noteLoaded(note, name, loaded, followedBy ?? next)
    const segment: Segment = {
      first: name.first,
      mark: mark ?? loaded?.mark,
      state: 'sealed',
      name: name.name,
      bytesOnDisk,
      file: undefined,
      offsets: undefined,
    }
    return { segment, next: loaded ? (followedBy ?? next) : next }
  } finally {
    await file.close()
  }
}

// An index is never given twice: where nobody can tell how many were given, go past all there was room for.
const pastAny = (first: number, bytes: number): number => first + Math.ceil(bytes / recordHeaderBytes)

/** An open segment: the last one is made ready for more records, any other is sealed. */
const readOpen = async (
  options: RecoverOptions,
  name: SegmentName,
  followedBy: number | undefined,
): Promise<{ segment: Segment; next: number }> => {
  const { files, directory, note, segmentBytes } = options
  const file = await files.open(join(directory, name.name), 'change')
  try {
    const loaded = await loadSegment(file, name)
    const segment: Segment = {
      first: name.first,
      mark: loaded.mark,
      state: 'open',
      name: name.name,
      bytesOnDisk: loaded.bytes,
      file,
      offsets: undefined,
    }
    if (loaded.mark && loaded.scan && followedBy === undefined) {
      return { segment, next: await resume(note, segment, loaded.mark, loaded, loaded.scan) }
    }
    const next = followedBy ?? pastAny(name.first, Math.max(loaded.bytes, segmentBytes))
    // A crash while sealing may leave one mark: no damage.
    noteLoaded(note, name, { ...loaded, tail: true }, next)
    await sealSegment(files, directory, segment, sealedEnd(loaded), next)
    return { segment, next }
  } catch (error) {
    await file.close()
    throw error
  }
}

// A bad stretch at the end of a full segment stays in place: it may be all that is left of a record.
const sealedEnd = ({ bytes, scan }: Loaded): number =>
  scan?.tail ? (scan.contentEnd + 7) & ~7 : (scan?.offsets.end ?? bytes)

/** Makes the last segment fit for appending: nothing but zeros behind its last whole record, full length, both marks. */
const resume = async (
  note: (damage: Damage) => void,
  segment: Segment,
  mark: Mark,
  loaded: Loaded,
  scan: Scan,
): Promise<number> => {
  const { name } = segment
  const { end, next } = scan.offsets
  const cut = loaded.bytes < mark.capacity
  noteLoaded(
    note,
    { name, first: mark.first, sealed: false },
    { ...loaded, tail: loaded.tail || cut, scan: { ...scan, tail: undefined } },
    next,
  )
  if (scan.tail || cut) {
    note({
      kind: 'torn',
      segment: name,
      offset: end,
      bytes: scan.tail?.bytes ?? 0,
      lostFrom: next,
      lostTo: next,
    })
  }
  if (cut || !loaded.head || !loaded.tail || scan.contentEnd > end) {
    const to = cut ? recordsEnd(mark.capacity) : Math.max(end, scan.contentEnd)
    await repairSegment(segment.file!, { ...mark, next: 0 }, end, to)
  } else {
    // After a kill, records that nobody was promised may be in the page cache only; from here on they are promised.
    await segment.file!.datasync()
  }
  segment.bytesOnDisk = Math.max(loaded.bytes, mark.capacity)
  segment.offsets = scan.offsets
  return next
}

/**
 * Finds the segments of a directory (made where it is missing) and repairs what a crash may leave: a half-made spare
 * is removed, full segments are sealed, the torn tail of the last is zeroed on disk. Everything wrong goes to `note`.
 */
export const recover = async (options: RecoverOptions): Promise<Recovered> => {
  const { files, directory, note } = options
  await makeDirectory(files, directory)
  const listed = await files.list(directory)
  if (listed.includes(spareName)) await files.remove(join(directory, spareName))
  // A segment started just before a kill may have its name in the page cache only.
  await files.syncDirectory(directory)
  const found = listed.map(parseName).filter((name) => name !== undefined)
  found.sort((a, b) => a.first - b.first || Number(b.sealed) - Number(a.sealed) || (a.name < b.name ? -1 : 1))
  const names = await settleTwins(options, found)

  const segments: Segment[] = []
  let next = 0
  for (const [place, name] of names.entries()) {
    const before = segments.at(-1)
    if (before && next < name.first) {
      const { name: segment, bytesOnDisk: offset } = before
      note({ kind: 'damaged', segment, offset, bytes: 0, lostFrom: next, lostTo: name.first })
    }
    const followedBy = names[place + 1]?.first
    const { segment, next: after } = await (name.sealed ? readSealed : readOpen)(options, name, followedBy)
    segments.push(segment)
    next = after
  }
  return { segments, next }
}
