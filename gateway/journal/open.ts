/** The running journal: buffering, group commit, rolling from segment to segment. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { diskFiles, type JournalFile, writeAll } from './files.ts'
import { type Damage, isNoSpace, type Journal, JournalError, type JournalOptions } from './journal.ts'
import { createOffsets, type Offsets } from './offsets.ts'
import { createReader } from './reader.ts'
import { recover } from './recover.ts'
import { encodeRecord, type Mark, markBytes, maxSegmentBytes, recordBytes, recordsEnd } from './segment.ts'
import {
  openName,
  prepareSpare,
  type Segment,
  type Spare,
  sealSegment,
  spareName,
  startSegment,
} from './segment-files.ts'

/** Enough to find the pattern of a dying disk, not so much that one fills the memory. */
const keptDamage = 1000
const firstBufferBytes = 16 * 1024
/** A buffer that grew larger in a burst is not kept. */
const keptBufferBytes = 1024 * 1024
/** One is on its way to the disk while the other fills. */
const keptBuffers = 2

type Growing = Segment & { readonly mark: Mark; offsets: Offsets }

/** Records that wait for a flush, in the bytes and at the place they will have in their segment. */
type Pending = { readonly segment: Growing; readonly at: number; buffer: Buffer; used: number; next: number }

type Waiter = {
  readonly target: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

const checked = (options: JournalOptions) => {
  const {
    segmentBytes = 4 * 1024 * 1024,
    maxRecordBytes = 64 * 1024,
    maxPendingBytes = 16 * 1024 * 1024,
  } = options
  const needed = 2 * markBytes + recordBytes(maxRecordBytes)
  if (!(Number.isInteger(maxRecordBytes) && maxRecordBytes >= 1 && maxRecordBytes <= maxSegmentBytes)) {
    throw new JournalError(
      'options',
      `maxRecordBytes: expected 1 to ${maxSegmentBytes}, got ${maxRecordBytes}`,
    )
  }
  if (!(Number.isInteger(segmentBytes) && segmentBytes % 8 === 0 && segmentBytes <= maxSegmentBytes)) {
    throw new JournalError(
      'options',
      `segmentBytes: expected a multiple of 8 up to ${maxSegmentBytes}, got ${segmentBytes}`,
    )
  }
  if (segmentBytes < needed) {
    throw new JournalError(
      'options',
      `segmentBytes: a record of ${maxRecordBytes} bytes needs a segment of ${needed}, got ${segmentBytes}`,
    )
  }
  if (!(maxPendingBytes >= recordBytes(maxRecordBytes))) {
    throw new JournalError(
      'options',
      `maxPendingBytes: expected at least one record of ${recordBytes(maxRecordBytes)} bytes, got ${maxPendingBytes}`,
    )
  }
  return { segmentBytes, maxRecordBytes, maxPendingBytes }
}

/**
 * Opens the journal in a directory, making it where it is missing, and repairs what a crash left; `damage` tells
 * what was wrong. One process at a time: the caller holds the data directory's lock. Throws a `JournalError` for
 * options that cannot work and for a directory that this program cannot read, and the system's error for a disk
 * that fails.
 */
export const openJournal = async (options: JournalOptions): Promise<Journal> => {
  const { segmentBytes, maxRecordBytes, maxPendingBytes } = checked(options)
  const { directory, files = diskFiles, salt = () => randomBytes(4).readUInt32LE() } = options

  const damage: Damage[] = []
  const noted = new Set<string>()
  const note = (found: Damage): void => {
    // A segment's name changes when it is sealed, its first index does not.
    const key = `${found.segment.slice(0, 16)} ${found.offset}`
    if (noted.has(key) || noted.size >= keptDamage) return
    noted.add(key)
    damage.push(found)
  }

  const recovered = await recover({ files, directory, segmentBytes, note }).catch((error: Error) => {
    if (error instanceof JournalError) throw error
    throw new JournalError(
      'unreadable',
      `journal ${directory} cannot be opened (${error.message}). ` +
        'Check the directory, its owner and the room and health of its disk, then start again.',
      error,
    )
  })
  const { segments } = recovered
  let next = recovered.next
  let committed = next
  let waiting: Pending[] = []
  let pendingBytes = 0
  const idleBuffers: Buffer[] = []
  let waiters: Waiter[] = []
  let flushing: Promise<void> | undefined
  let spare: Spare | undefined
  let preparing: Promise<void> | undefined
  let preparedBehind: Segment | undefined
  let housekeeping: Promise<void> = Promise.resolve()
  let broken: unknown
  let closed: Promise<void> | undefined

  const reader = createReader({ files, directory, segments, committed: () => committed, note })

  const growing = (): Growing | undefined => {
    const last = segments.at(-1)
    return last && last.state !== 'sealed' && last.mark && last.offsets ? (last as Growing) : undefined
  }

  const planSegment = (): Growing => {
    const mark: Mark = { salt: salt() >>> 0, capacity: segmentBytes, maxRecordBytes, first: next, next: 0 }
    const segment: Growing = {
      first: next,
      mark,
      state: 'planned',
      name: openName(next),
      bytesOnDisk: 0,
      file: undefined,
      offsets: createOffsets(next, markBytes),
    }
    segments.push(segment)
    return segment
  }

  const fits = ({ mark, offsets }: Growing, record: Uint8Array): boolean =>
    record.length <= mark.maxRecordBytes &&
    offsets.end + recordBytes(record.length) <= recordsEnd(mark.capacity)

  const pendingIn = (segment: Growing, bytes: number): Pending => {
    let last = waiting.at(-1)
    if (last?.segment !== segment) {
      last = {
        segment,
        at: segment.offsets.end,
        buffer: idleBuffers.pop() ?? Buffer.allocUnsafeSlow(firstBufferBytes),
        used: 0,
        next,
      }
      waiting.push(last)
    }
    if (last.used + bytes > last.buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(last.buffer.length * 2, last.used + bytes))
      last.buffer.copy(larger, 0, 0, last.used)
      last.buffer = larger
    }
    return last
  }

  const closedError = () => new JournalError('closed', `journal ${directory} is closed`)

  const append = (record: Uint8Array): number => {
    if (closed) throw closedError()
    if (record.length > maxRecordBytes) {
      throw new JournalError(
        'too-large',
        `record: expected at most ${maxRecordBytes} bytes, got ${record.length}`,
      )
    }
    const bytes = recordBytes(record.length)
    if (pendingBytes + bytes > maxPendingBytes) {
      throw new JournalError(
        'pending-full',
        `journal ${directory}: ${pendingBytes} bytes wait for a commit, ${maxPendingBytes} may. Await a commit, then append.`,
      )
    }
    let segment = growing()
    if (!segment || !fits(segment, record)) segment = planSegment()
    const pending = pendingIn(segment, bytes)
    const index = next++
    const { offsets } = segment
    encodeRecord(pending.buffer, pending.used, index, record, segment.mark.salt)
    offsets.push(index, offsets.end, offsets.end + bytes)
    pending.used += bytes
    pending.next = next
    pendingBytes += bytes
    return index
  }

  const prepare = (): Promise<void> => {
    preparing ??= prepareSpare(files, directory, segmentBytes)
      .then((made) => {
        spare = made
      })
      .finally(() => {
        preparing = undefined
      })
    return preparing
  }

  // Once a segment: on a full disk, zeros written and given back at each commit would only wear it out. Where it
  // fails, the commit that needs the segment tries again and says what is wrong.
  const prepareAhead = (segment: Segment): void => {
    if (spare || preparedBehind === segment || closed) return
    preparedBehind = segment
    prepare().catch(() => {})
  }

  const keepHouse = (work: () => Promise<void>): Promise<void> => {
    const done = housekeeping.then(work)
    housekeeping = done.catch(() => {})
    return done
  }

  const seal = (segment: Segment, nextIndex: number): void => {
    keepHouse(async () => {
      await sealSegment(files, directory, segment, segment.offsets!.end, nextIndex)
      reader.retire(segment)
    }).catch((error) => {
      // No room to rename: the next open seals it. Anything else is a disk that fails.
      if (!isNoSpace(error)) broken ??= error
    })
  }

  const start = async (segment: Growing): Promise<void> => {
    await preparing?.catch(() => {})
    if (!spare) await prepare()
    const taken = spare!
    await startSegment(files, directory, taken, segment)
    spare = undefined
    segment.file = taken.file
    segment.bytesOnDisk = taken.bytes
    segment.state = 'open'
    const before = segments[segments.indexOf(segment) - 1]
    if (before?.state === 'open') seal(before, segment.first)
  }

  const flushed = async (file: JournalFile): Promise<void> => {
    try {
      await file.datasync()
    } catch (error) {
      // Whatever the reason, nobody knows any more which pages reached the medium.
      broken = error
      throw error
    }
  }

  const store = async (pending: Pending): Promise<void> => {
    const { segment, at, buffer, used } = pending
    if (segment.state === 'planned') await start(segment)
    const file = segment.file!
    // A flush that fails for want of room may be tried again here: all of these bytes are written anew, so none of them
    // is taken for clean by the kernel.
    await writeAll(file, buffer.subarray(0, used), at, file.writeThrough ?? file.write)
    if (!file.writeThrough) await flushed(file)
    committed = pending.next
    pendingBytes -= used
    if (buffer.length <= keptBufferBytes && idleBuffers.length < keptBuffers) idleBuffers.push(buffer)
    if (at + used > segment.mark.capacity / 2) prepareAhead(segment)
  }

  const brokenError = (): JournalError =>
    new JournalError(
      'broken',
      `journal ${directory}: the disk failed (${(broken as Error).message}). ` +
        'What was committed is kept; check the disk, then open the journal again.',
      broken,
    )

  const failure = (error: unknown): JournalError => {
    if (!broken && isNoSpace(error)) {
      const { message } = error as Error
      return new JournalError(
        'no-space',
        `journal ${directory}: no room on its disk (${message}), a segment takes ${segmentBytes} bytes. ` +
          `${next - committed} records wait in memory; free space, then commit again.`,
        error,
      )
    }
    broken ??= error
    return brokenError()
  }

  const flush = async (): Promise<void> => {
    // One turn, so that all who append and commit in this one share the flush.
    await undefined
    while (waiters.length > 0) {
      const taken = waiting
      waiting = []
      let failed: JournalError | undefined
      try {
        for (let pending = taken[0]; pending; pending = taken[0]) {
          if (broken) throw broken
          await store(pending)
          taken.shift()
        }
      } catch (error) {
        failed = failure(error)
        waiting = [...taken, ...waiting]
      }
      const answered = waiters
      waiters = []
      for (const waiter of answered) {
        if (waiter.target <= committed) waiter.resolve()
        else if (failed) waiter.reject(failed)
        else waiters.push(waiter)
      }
    }
    flushing = undefined
  }

  const whenOpen = <T>(work: () => T): T => {
    if (closed) throw closedError()
    return work()
  }

  const commit = (): Promise<void> => {
    if (broken) return Promise.reject(brokenError())
    if (committed === next) return Promise.resolve()
    return new Promise((resolve, reject) => {
      waiters.push({ target: next, resolve, reject })
      flushing ??= flush()
    })
  }

  const trim = (index: number): Promise<void> =>
    keepHouse(async () => {
      let removed = 0
      for (;;) {
        const [oldest, following] = segments
        if (oldest?.state !== 'sealed' || !following) break
        if (following.first > index || following.first >= committed) break
        await files.remove(join(directory, oldest.name))
        segments.shift()
        removed++
      }
      if (removed > 0) await files.syncDirectory(directory)
    })

  /** Closes every file, whatever the others say: a disk that fails for days is opened anew again and again. */
  const letGo = async (): Promise<void> => {
    await flushing
    await preparing?.catch(() => {})
    await housekeeping
    const open = [spare?.file, ...segments.map(({ file }) => file)].filter((file) => file !== undefined)
    for (const segment of segments) segment.file = undefined
    const outcomes = await Promise.allSettled(open.map((file) => file.close()))
    // Where it cannot be removed the next open does it.
    if (spare) await files.remove(join(directory, spareName)).catch(() => {})
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  const shut = async (): Promise<void> => {
    try {
      if (!broken) await commit()
    } finally {
      await letGo()
    }
  }

  const close = (): Promise<void> => {
    closed ??= shut()
    return closed
  }

  return {
    get first() {
      return segments[0]?.first ?? next
    },
    get next() {
      return next
    },
    get committed() {
      return committed
    },
    get bytesOnDisk() {
      return segments.reduce((sum, { bytesOnDisk }) => sum + bytesOnDisk, spare?.bytes ?? 0)
    },
    damage,
    append,
    commit: async () => whenOpen(commit),
    read: (from, to = committed) => whenOpen(() => reader.read(from, Math.min(to, committed))),
    get: async (index) => whenOpen(() => reader.get(index)),
    trim: async (index) => whenOpen(() => trim(index)),
    close,
    [Symbol.asyncDispose]: close,
  }
}
