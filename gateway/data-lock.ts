/** One process at a time in a data directory. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** The directory cannot be used; the message says why and what to do. */
export class DataDirectoryError extends Error {
  override name = 'DataDirectoryError'
}

/**
 * Makes the directory (0700) where it is missing and holds it until disposed, or until the process ends however it
 * ends: the lock is the kernel's, through SQLite, so that a killed process leaves none behind.
 */
export const lockData = (directory: string, part: string): Disposable => {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new DataDirectoryError(
      `the data directory ${directory} cannot be made (${code}).\nGive another one with --data DIR.`,
    )
  }
  let database: DatabaseSync
  try {
    database = new DatabaseSync(join(directory, `${part}.lock`))
  } catch {
    throw new DataDirectoryError(
      `the data directory ${directory} is not writable for this user.\nRun: chown -R $USER ${directory}, or give another one with --data DIR.`,
    )
  }
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    const busy = /locked|busy/i.test((error as Error).message)
    throw new DataDirectoryError(
      busy
        ? `another Groundtruth (${part}) is running in ${directory}.\nStop it, or give this one its own with --data DIR.`
        : `the data directory ${directory} cannot be written: ${(error as Error).message}.\nCheck permissions and free space, or give another one with --data DIR.`,
    )
  }
  return { [Symbol.dispose]: () => database.close() }
}
