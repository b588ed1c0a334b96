/** Reading committed records back: by index, or in order with a bounded chunk of the disk in memory. */
import { join } from 'node:path'
import { type JournalFile, type JournalFiles, readUpTo } from './files.ts'
import type { Damage, Entry } from './journal.ts'
import type { Offsets } from './offsets.ts'
import { loadSegment, noteLoaded } from './recover.ts'
import { type Mark, payloadBytesAt, recordBytes, recordHeaderBytes } from './segment.ts'
import type { Segment } from './segment-files.ts'

/** What the reader is given by the journal: `segments` and `committed` are live. */
export type ReaderDeps = {
  readonly files: JournalFiles
  readonly directory: string
  readonly segments: readonly Segment[]
  readonly committed: () => number
  readonly note: (damage: Damage) => void
}

export type Reader = {
  get(index: number): Promise<Uint8Array | undefined>
  read(from: number, to: number): AsyncGenerator<Entry>
  /** A segment that is not written to any more: its table may be forgotten. */
  retire(segment: Segment): void
}

const chunkBytes = 256 * 1024
/** Tables of sealed segments kept, 4 bytes a record each; one more is a scan of the segment. */
const keptTables = 8

/** A reader over the journal's live list of segments. */
export const createReader = ({ files, directory, segments, committed, note }: ReaderDeps): Reader => {
  const recent: Segment[] = []
  const loading = new Map<Segment, Promise<Offsets | undefined>>()

  const retire = (segment: Segment): void => {
    const place = recent.indexOf(segment)
    if (place >= 0) recent.splice(place, 1)
    recent.push(segment)
    if (recent.length > keptTables) recent.shift()!.offsets = undefined
  }

  /** Calls back with the segment's file; undefined where it was trimmed in the meantime. */
  const withFile = async <T>(
    segment: Segment,
    use: (file: JournalFile) => Promise<T>,
  ): Promise<T | undefined> => {
    if (segment.file) return use(segment.file)
    let file: JournalFile
    try {
      file = await files.open(join(directory, segment.name), 'read')
    } catch (error) {
      if (!segments.includes(segment)) return undefined
      throw error
    }
    try {
      return await use(file)
    } finally {
      await file.close()
    }
  }

  const load = async (segment: Segment): Promise<Offsets | undefined> => {
    const { name, first } = segment
    const loaded = await withFile(segment, (file) => loadSegment(file, { name, first, sealed: true }))
    if (!loaded) return undefined
    const following = segments[segments.indexOf(segment) + 1]?.first ?? loaded.scan?.offsets.next ?? first
    // What is missing behind the end mark was told at open.
    noteLoaded(note, { name, first, sealed: true }, loaded, loaded.mark?.next || following)
    segment.offsets = loaded.scan?.offsets
    return segment.offsets
  }

  const offsetsOf = async (segment: Segment): Promise<Offsets | undefined> => {
    if (segment.state !== 'sealed') return segment.offsets
    if (!segment.offsets) {
      if (!segment.mark) return undefined
      const under = loading.get(segment) ?? load(segment).finally(() => loading.delete(segment))
      loading.set(segment, under)
      const offsets = await under
      if (!offsets) return undefined
    }
    const offsets = segment.offsets
    retire(segment)
    return offsets
  }

  /** Place of the segment that holds an index; -1 where the index is before all. */
  const placeOf = (index: number): number => {
    let low = 0
    let high = segments.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (segments[middle]!.first <= index) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  const copyAt = (
    bytes: Buffer,
    at: number,
    index: number,
    mark: Mark,
    segment: Segment,
    offset: number,
  ): Uint8Array | undefined => {
    const length = payloadBytesAt(bytes, at, index, mark)
    if (length !== undefined) {
      const start = at + recordHeaderBytes
      return new Uint8Array(bytes.subarray(start, start + length))
    }
    const { name } = segment
    note({
      kind: 'damaged',
      segment: name,
      offset,
      bytes: recordHeaderBytes,
      lostFrom: index,
      lostTo: index + 1,
    })
    return undefined
  }

  const spanEnd = (offsets: Offsets, index: number, mark: Mark): number =>
    Math.min(offsets.before(index), offsets.at(index) + recordBytes(mark.maxRecordBytes))

  const get = async (index: number): Promise<Uint8Array | undefined> => {
    const segment = index < committed() ? segments[placeOf(index)] : undefined
    const offsets = segment && (await offsetsOf(segment))
    const offset = offsets?.at(index) ?? 0
    if (!segment?.mark || !offsets || offset === 0) return undefined
    const { mark } = segment
    const bytes = await withFile(segment, (file) =>
      readUpTo(file, offset, spanEnd(offsets, index, mark) - offset),
    )
    return bytes && copyAt(bytes, 0, index, mark, segment, offset)
  }

  async function* read(from: number, to: number): AsyncGenerator<Entry> {
    let index = Math.max(from, segments[0]?.first ?? 0)
    while (index < to) {
      const place = placeOf(index)
      const segment = segments[place]
      if (!segment) {
        // Trimmed while we were away.
        index = Math.max(index, segments[0]?.first ?? to)
        continue
      }
      const until = Math.min(to, segments[place + 1]?.first ?? to)
      const offsets = await offsetsOf(segment)
      while (segment.mark && offsets && index < until) {
        const start = offsets.at(index)
        if (start === 0) {
          index++
          continue
        }
        let last = index
        let end = spanEnd(offsets, index, segment.mark)
        while (last + 1 < until && offsets.at(last + 1) > 0) {
          const further = spanEnd(offsets, last + 1, segment.mark)
          if (further - start > chunkBytes) break
          last++
          end = further
        }
        const bytes = await withFile(segment, (file) => readUpTo(file, start, end - start))
        for (; bytes && index <= last; index++) {
          const offset = offsets.at(index)
          const record = copyAt(bytes, offset - start, index, segment.mark, segment, offset)
          if (record) yield { index, record }
        }
        index = last + 1
      }
      index = Math.max(index, until)
    }
  }

  return { get, read, retire }
}
