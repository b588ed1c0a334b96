/** A durable append-only log of records: what outbox, evidence and the embedded chain stand on. */
import type { JournalFiles } from './files.ts'

/** What was found wrong at open. `torn` bytes were cut from the tail; `damaged` ones stay where they are and are skipped. */
export type Damage = {
  readonly kind: 'torn' | 'damaged'
  readonly segment: string
  readonly offset: number
  readonly bytes: number
  /** Indexes that are missing because of it: from inclusive, to exclusive; empty for a torn tail. */
  readonly lostFrom: number
  readonly lostTo: number
}

/** One record with the index that `append` gave it. */
export type Entry = { readonly index: number; readonly record: Uint8Array }

/**
 * The log. Indexes start at 0, grow by one and are never reused. `append` only buffers and answers the index;
 * nothing counts as kept before a `commit` that came after it resolves. Commits share one fdatasync (group commit).
 * After an I/O error every later commit fails: reopen, because the kernel may have dropped the dirty pages.
 */
export type Journal = AsyncDisposable & {
  /** Index of the oldest record still kept. */
  readonly first: number
  /** Index the next append will get. */
  readonly next: number
  /** One past the newest record that is on disk. */
  readonly committed: number
  /** Bytes of disk the segments take. */
  readonly bytesOnDisk: number
  /** What was found wrong, each stretch once: at open, and in sealed segments when they are first read. At most 1000. */
  readonly damage: readonly Damage[]
  /**
   * Copies the record and answers its index. Throws a `JournalError`: `too-large`, `pending-full` when more than
   * `maxPendingBytes` wait for a commit, `closed`.
   */
  append(record: Uint8Array): number
  /**
   * Resolves when everything appended so far is on the medium. Rejects with a `JournalError`: `no-space` keeps what
   * waits, a later commit tries again; `broken` means reopen.
   */
  commit(): Promise<void>
  /** Committed records from index `from` (inclusive) to `to` (exclusive, default: all committed at the call). */
  read(from: number, to?: number): AsyncGenerator<Entry>
  /** One committed record; undefined when it was trimmed or damaged. */
  get(index: number): Promise<Uint8Array | undefined>
  /** Drops whole sealed segments that hold only records before `index`; the newest record always stays. */
  trim(index: number): Promise<void>
  /** Commits what waits, then lets go of the files. A second call does nothing. */
  close(): Promise<void>
}

export type JournalOptions = {
  readonly directory: string
  /** Bytes preallocated for a segment; 4 MiB unless told. */
  readonly segmentBytes?: number
  /** Largest record accepted; 64 KiB unless told. */
  readonly maxRecordBytes?: number
  /** Most bytes that may wait for a commit, so that a stalled disk cannot eat the memory; 16 MiB unless told. */
  readonly maxPendingBytes?: number
  /** The disk; that of node:fs unless told. */
  readonly files?: JournalFiles
  /** Where a segment's 32-bit salt comes from; node:crypto unless told. */
  readonly salt?: () => number
}

/**
 * `options`: the journal cannot work as asked. `too-large`: record above `maxRecordBytes`. `pending-full`: commit
 * first. `no-space`: nothing is lost, free space and commit again. `broken`: reopen. `closed`: closed by its owner.
 * `unreadable`: the directory holds something this program cannot read.
 */
export type JournalErrorCode =
  | 'options'
  | 'too-large'
  | 'pending-full'
  | 'no-space'
  | 'broken'
  | 'closed'
  | 'unreadable'

/** A journal that cannot do what was asked; the message says what to do next, `cause` what the system said. */
export class JournalError extends Error {
  override readonly name = 'JournalError'
  readonly code: JournalErrorCode

  constructor(code: JournalErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.code = code
  }
}

const noSpaceCodes: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** Whether an error of the file system says that there is no room. */
export const isNoSpace = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && noSpaceCodes.has(error.code)
