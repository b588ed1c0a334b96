/**
 * A journal that outlives its disk's bad days: full, read-only or failing, it keeps in memory what has an index and no
 * place on the medium yet, tries again by itself, and puts exactly those bytes there when the disk is back.
 */
import { isNoSpace, type Journal, JournalError } from '../journal/journal.ts'
import { equalBytes } from '../reading/bytes.ts'

/** `full`: no room. `read-only`: not writable, by mount or permission. `failing`: anything else, as EIO. */
export type DiskState = 'ok' | 'full' | 'read-only' | 'failing'

/** `sinceMs` by the clock that was handed in; `detail` is what the system said, cut at 200 characters. */
export type DiskStatus = {
  readonly state: DiskState
  readonly sinceMs: number | null
  readonly detail: string | null
}

export type Lasting = AsyncDisposable & {
  readonly disk: DiskStatus
  /** Whether the journal has been open at least once: before, nobody knows what it holds. */
  readonly opened: boolean
  readonly first: number
  readonly next: number
  readonly committed: number
  readonly bytesOnDisk: number
  /** Answers an index that stays that record's own, but for `moved`. */
  append(record: Uint8Array): number
  /** Resolves when what was appended is on disk, or the disk failed: then `disk` says so and it is tried again. */
  commit(): Promise<void>
  /** Undefined where the record is gone for good; null where the disk cannot be read now. */
  get(index: number): Promise<Uint8Array | undefined | null>
  /** Never rejects: what is not trimmed today is trimmed later. */
  trim(index: number): Promise<void>
}

const readOnlyCodes: ReadonlySet<unknown> = new Set(['EROFS', 'EACCES', 'EPERM'])

// What a disk, its mount or its directory can say; anything else is a mistake that waiting does not mend.
const diskCodes: ReadonlySet<unknown> = new Set([
  ...readOnlyCodes,
  ...['ENOSPC', 'EDQUOT', 'EFBIG', 'EIO', 'ENXIO', 'ENODEV', 'ESTALE', 'EBUSY', 'ETIMEDOUT', 'EREMOTEIO'],
  ...['EUCLEAN', 'EBADMSG', 'ENOMEDIUM', 'ENOENT'],
])

/** The system's own error behind one, where there is a code. */
const systemErrorOf = (error: unknown): (Error & { readonly code: unknown }) | undefined => {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++)
    if ('code' in at && diskCodes.has(at.code)) return at as Error & { readonly code: unknown }
  return undefined
}

const stateOf = (error: unknown): DiskState => {
  const cause = systemErrorOf(error) ?? error
  if (isNoSpace(cause) || (error instanceof JournalError && error.code === 'no-space')) return 'full'
  return cause instanceof Error && 'code' in cause && readOnlyCodes.has(cause.code) ? 'read-only' : 'failing'
}

const firstBackoffMs = 1_000
const detailLength = 200

// Stands where the disk lost records it had promised, so that indexes go on where they were.
const filler = new Uint8Array(1)

/**
 * Opens it; a disk that cannot be opened now is tried again, and `opened` runs with the journal when it first is.
 * Throws what waiting does not mend: options that cannot work, or files of another format.
 */
export const openLasting = async (options: {
  readonly open: () => Promise<Journal>
  /** Writes something beside the journal and removes it. While it throws, the old journal stays open for reading. */
  readonly probe?: () => Promise<void>
  readonly opened?: (journal: Journal) => Promise<void>
  /** A record that the disk spoilt before it was committed has been written again, under another index. */
  readonly moved?: (from: number, to: number) => void
  /** The disk takes writes again, and all that waited is on it. */
  readonly recovered?: () => void
  /** Longest pause between attempts; 60 s unless told. */
  readonly longestBackoffMs?: number
  readonly now?: () => number
  readonly after?: (ms: number, run: () => void) => () => void
}): Promise<Lasting> => {
  const now = options.now ?? (() => performance.now())
  const longestBackoffMs = options.longestBackoffMs ?? 60_000
  const after =
    options.after ??
    ((ms, run) => {
      const timer = setTimeout(run, ms)
      return () => clearTimeout(timer)
    })
  let journal: Journal | undefined
  let opened = false
  let broken = false
  let closed = false
  let next = 0
  let committed = 0
  let unsaved: { index: number; readonly record: Uint8Array }[] = []
  let disk: DiskStatus = { state: 'ok', sinceMs: null, detail: null }
  let backoffMs = firstBackoffMs
  let cancel: (() => void) | undefined
  let attempting: Promise<void> | undefined

  const settle = (from: Journal): void => {
    committed = Math.max(committed, from.committed)
    let saved = 0
    while (saved < unsaved.length && unsaved[saved]!.index < from.committed) saved++
    if (saved > 0) unsaved = unsaved.slice(saved)
  }

  const failed = (error: unknown): void => {
    const { message } = (systemErrorOf(error) ?? error) as Error
    const state = stateOf(error)
    const sinceMs = disk.sinceMs ?? now()
    disk = { state, sinceMs, detail: String(message).slice(0, detailLength) }
    // Only want of room leaves the journal whole; after anything else nobody knows what the kernel dropped.
    if (!(error instanceof JournalError && error.code === 'no-space')) broken = true
    if (closed || cancel !== undefined) return
    cancel = after(Math.min(backoffMs, longestBackoffMs), () => {
      cancel = undefined
      attempting = attempt()
    })
    backoffMs = Math.min(backoffMs * 2, longestBackoffMs)
  }

  /** Puts what waits into a journal opened anew: only what did not reach it, byte for byte, under its old index. */
  const refill = async (fresh: Journal): Promise<void> => {
    while (fresh.next < committed) fresh.append(filler)
    const waiting = unsaved
    unsaved = []
    for (const { index, record } of waiting) {
      if (index < fresh.next) {
        const there = await fresh.get(index)
        if (there !== undefined && equalBytes(there, record)) continue
      }
      const to = fresh.append(record)
      unsaved.push({ index: to, record })
      if (to !== index) options.moved?.(index, to)
    }
    next = fresh.next
  }

  const reopen = async (): Promise<void> => {
    await options.probe?.()
    await journal?.close().catch(() => {})
    journal = undefined
    const fresh = await options.open()
    try {
      if (!opened) {
        committed = fresh.committed
        await options.opened?.(fresh)
      }
      await refill(fresh)
    } catch (error) {
      await fresh.close().catch(() => {})
      throw error
    }
    opened = true
    broken = false
    journal = fresh
  }

  const attempt = async (): Promise<void> => {
    try {
      if (journal === undefined || broken) await reopen()
      await journal!.commit()
      settle(journal!)
    } catch (error) {
      failed(error)
      return
    }
    const back = disk.state !== 'ok'
    disk = { state: 'ok', sinceMs: null, detail: null }
    backoffMs = firstBackoffMs
    if (back) options.recovered?.()
  }

  try {
    await reopen()
  } catch (error) {
    if (systemErrorOf(error) === undefined) throw error
    failed(error)
  }

  const close = async (): Promise<void> => {
    if (closed) return
    closed = true
    cancel?.()
    await attempting
    try {
      await journal?.close()
    } catch (error) {
      if (disk.state === 'ok') failed(error)
    }
  }

  return {
    get disk() {
      return disk
    },
    get opened() {
      return opened
    },
    get first() {
      return journal?.first ?? 0
    },
    get next() {
      return next
    },
    get committed() {
      return committed
    },
    get bytesOnDisk() {
      return journal?.bytesOnDisk ?? 0
    },
    append: (record) => {
      if (!opened) throw new JournalError('unreadable', 'the journal has not been opened yet')
      const index = journal === undefined || broken ? next : journal.append(record)
      unsaved.push({ index, record })
      next = index + 1
      return index
    },
    commit: async () => {
      if (disk.state !== 'ok' || journal === undefined) return
      const from = journal
      try {
        await from.commit()
        settle(from)
      } catch (error) {
        if (closed) throw error
        if (from === journal) settle(from)
        failed(error)
      }
    },
    get: async (index) => {
      if (journal === undefined) return null
      try {
        return await journal.get(index)
      } catch {
        return null
      }
    },
    trim: async (index) => {
      try {
        if (disk.state === 'ok' || disk.state === 'full') await journal?.trim(index)
      } catch (error) {
        failed(error)
      }
    },
    [Symbol.asyncDispose]: close,
  }
}
