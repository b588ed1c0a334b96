/** What the scorer remembers, on disk, with the place in the evidence that it belongs to. */
import { DatabaseSync } from 'node:sqlite'
import { atomically } from '../journal/sqlite.ts'
import type { KeptState } from './quality.ts'

const schema = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS place (
    id INTEGER PRIMARY KEY CHECK (id = 1), rules TEXT NOT NULL, reached INTEGER NOT NULL, before INTEGER NOT NULL
  ) STRICT;
`

/** `reached`: evidence index scored up to; `before`: the same one save earlier; `rules`: the version that scored. */
export type ScoredPlace = { readonly rules: string; readonly reached: number; readonly before: number }

export type ScoreStates = Disposable & {
  readonly place: ScoredPlace | undefined
  states(): Iterable<KeptState>
  /** Keeps changed states and the new place in one transaction. */
  save(changes: readonly KeptState[], rules: string, reached: number): void
  /** Forgets everything: scoring starts again with the first reading. */
  clear(): void
}

/** Opens or creates the file. */
export const openScoreStates = (path: string): ScoreStates => {
  const database = new DatabaseSync(path)
  database.exec(schema)
  const all = database.prepare('SELECT key, value FROM state')
  const put = database.prepare(
    'INSERT INTO state VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
  )
  const remove = database.prepare('DELETE FROM state WHERE key = ?')
  const getPlace = database.prepare('SELECT rules, reached, before FROM place')
  const setPlace = database.prepare(
    `INSERT INTO place VALUES (1, ?, ?, 0)
     ON CONFLICT (id) DO UPDATE SET rules = excluded.rules, before = reached, reached = excluded.reached`,
  )
  return {
    get place() {
      return getPlace.get() as ScoredPlace | undefined
    },
    *states() {
      for (const row of all.iterate()) {
        const { key, value } = row as { key: string; value: Uint8Array }
        yield [key, value]
      }
    },
    save: (changes, rules, reached) =>
      atomically(database, () => {
        for (const [key, value] of changes) {
          if (value === null) remove.run(key)
          else put.run(key, value)
        }
        setPlace.run(rules, reached)
      }),
    clear: () => atomically(database, () => database.exec('DELETE FROM state; DELETE FROM place;')),
    [Symbol.dispose]: () => database.close(),
  }
}
