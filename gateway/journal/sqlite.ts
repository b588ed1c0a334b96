/** What every SQLite file beside a journal, index or ledger, needs. */
import type { DatabaseSync } from 'node:sqlite'

/** Runs `work` in one SQLite transaction: all of it counts afterwards, or nothing. */
export const atomically = <Result>(database: DatabaseSync, work: () => Result): Result => {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    // SQLite has already rolled back by itself after some errors (disk full, I/O).
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}
