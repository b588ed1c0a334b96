/** The few file operations the journal needs, so that a test can hand it a worse disk. */
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, unlink } from 'node:fs/promises'

/** An open file. Positions and lengths are bytes; `read` and `write` may do less than asked and answer how much. */
export type JournalFile = {
  read(into: Uint8Array, position: number): Promise<number>
  write(bytes: Uint8Array, position: number): Promise<number>
  /**
   * Writes like `write`; what it took is on the medium, and so is the length where it grew. Where a disk leaves it out,
   * `write` and then `datasync` do the same.
   */
  writeThrough?(bytes: Uint8Array, position: number): Promise<number>
  /** fdatasync(2): what was written is on the medium, and so is the length where it grew. */
  datasync(): Promise<void>
  /** fsync(2). */
  sync(): Promise<void>
  truncate(bytes: number): Promise<void>
  size(): Promise<number>
  /** Waits for the operations under way. */
  close(): Promise<void>
}

/** A file system. Errors are those of node:fs, with their `code`. */
export type JournalFiles = {
  /** `create` makes the file or empties an existing one; `change` and `read` want one that exists. */
  open(path: string, how: 'read' | 'change' | 'create'): Promise<JournalFile>
  list(directory: string): Promise<readonly string[]>
  /** Makes it and its parents; answers the uppermost directory that was made, if any. */
  makeDirectory(directory: string): Promise<string | undefined>
  /** fsync(2) of a directory: entries made, renamed or removed in it are on the medium. */
  syncDirectory(directory: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
}

const flags = { read: 'r', change: 'r+', create: 'w+' } as const

// open(2), Linux: a write to it returns as if fdatasync(2) had been called. One call instead of two on Node's threads takes
// a fifth less time. Elsewhere the flag is missing, or promises less than fdatasync.
const writesThrough = process.platform === 'linux'

const openThrough = async (path: string, handle: FileHandle): Promise<FileHandle> => {
  try {
    return await open(path, constants.O_RDWR | constants.O_DSYNC)
  } catch (error) {
    await handle.close().catch(() => {})
    throw error
  }
}

const write = async (handle: FileHandle, bytes: Uint8Array, position: number): Promise<number> =>
  (await handle.write(bytes, 0, bytes.length, position)).bytesWritten

/** The real disk. Files are 0600 and directories 0700: records may hold exact positions. */
export const diskFiles: JournalFiles = {
  open: async (path, how) => {
    const handle = await open(path, flags[how], 0o600)
    // Zeros and marks are written by the hundred before one sync: they go through a handle without the flag.
    const through = how !== 'read' && writesThrough ? await openThrough(path, handle) : undefined
    return {
      ...(through && { writeThrough: (bytes, position) => write(through, bytes, position) }),
      read: async (into, position) => (await handle.read(into, 0, into.length, position)).bytesRead,
      write: (bytes, position) => write(handle, bytes, position),
      datasync: () => handle.datasync(),
      sync: () => handle.sync(),
      truncate: (bytes) => handle.truncate(bytes),
      size: async () => (await handle.stat()).size,
      close: async () => {
        try {
          await through?.close()
        } finally {
          await handle.close()
        }
      },
    }
  },
  list: (directory) => readdir(directory),
  makeDirectory: (directory) => mkdir(directory, { recursive: true, mode: 0o700 }),
  syncDirectory: async (directory) => {
    const handle = await open(directory, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
  rename,
  remove: unlink,
}

/**
 * Writes all of `bytes`, however short each single write is, by `file.write` or the write that is given. A disk that
 * takes nothing is an error, not a loop.
 */
export const writeAll = async (
  file: JournalFile,
  bytes: Uint8Array,
  position: number,
  write = file.write,
): Promise<void> => {
  let done = await write(bytes, position)
  while (done < bytes.length) {
    const more = await write(bytes.subarray(done), position + done)
    if (more <= 0)
      throw Object.assign(new Error(`the disk took 0 of ${bytes.length - done} bytes`), { code: 'EIO' })
    done += more
  }
}

/** Reads up to `length` bytes from `position`; fewer only where the file ends. */
export const readUpTo = async (file: JournalFile, position: number, length: number): Promise<Buffer> => {
  // Not from the shared pool: a small record kept by a caller must not pin 8 KiB of strangers.
  const into = Buffer.allocUnsafeSlow(length)
  let done = 0
  while (done < length) {
    const more = await file.read(into.subarray(done), position + done)
    if (more <= 0) break
    done += more
  }
  return into.subarray(0, done)
}
