/** The store that needs nothing installed: one SQLite file, recent readings as rows, older hours as column chunks. */
import { queryLatest, queryReadings, queryRollup, querySensors } from './embedded-query.ts'
import { openSealer } from './embedded-seal.ts'
import { openTables } from './embedded-tables.ts'
import { openWriter } from './embedded-write.ts'
import { assertEvery } from './rollup.ts'
import { assertLimit, assertStorable, checkSelection } from './storable.ts'
import type { Store } from './store.ts'

export type EmbeddedStoreOptions = {
  /** The database file; SQLite keeps `-wal` and `-shm` files beside it. Its folder is made where it is missing. */
  readonly path: string
}

/** The store, and sealing on demand. */
export type EmbeddedStore = Store & {
  /** Packs every hour that ended before `olderThanMs` (UTC); answers how many sensor-hours. `write` does so by itself. */
  seal(olderThanMs: number): Promise<number>
}

// One transaction, one flush; the process serves others between them.
const readingsPerTransaction = 2_000

const always = { fromMs: 0, toMs: Infinity }

/**
 * Opens or creates the store. A write is on disk (WAL, synchronous FULL) when it resolves. Throws StoreUnavailable
 * where the disk is full or the file is locked, and an Error with the next step where it is damaged.
 */
export const openEmbeddedStore = async ({ path }: EmbeddedStoreOptions): Promise<EmbeddedStore> => {
  const tables = openTables(path)
  const sealer = openSealer(tables)
  const writer = openWriter(tables, sealer.pass)
  let newestMs = tables.get<{ ms: number | null }>('newestMs')?.ms ?? 0

  return {
    kind: tables.kind,
    write: async (readings) => {
      assertStorable(readings)
      for (let at = 0; at < readings.length; at += readingsPerTransaction) {
        if (at > 0) await new Promise((resolve) => setImmediate(resolve))
        const some = readings.slice(at, at + readingsPerTransaction)
        newestMs = Math.max(newestMs, writer.write(some))
        sealer.afterWrite(some.length, newestMs)
      }
    },
    readings: async (selection, limit, after, order = 'ascending') => {
      assertLimit(limit)
      const checked = checkSelection(selection)
      return checked ? queryReadings(tables, checked, limit, after, order) : []
    },
    rollup: async (selection, everyMs, fn, limit, after) => {
      assertLimit(limit)
      assertEvery(everyMs)
      const checked = checkSelection(selection)
      return checked ? queryRollup(tables, checked, everyMs, fn, limit, after) : []
    },
    latest: async (selection) => {
      const checked = checkSelection({ ...selection, ...always })
      return checked ? queryLatest(tables, checked) : []
    },
    sensors: async (station) => querySensors(tables, station),
    cursor: async () => tables.get<{ value: number }>('progress', 'cursor')?.value ?? 0,
    setCursor: async (index) => {
      tables.transaction(() => tables.run('progressSet', 'cursor', index))
    },
    clear: async () => {
      tables.clear()
      writer.forget()
      newestMs = 0
    },
    seal: sealer.all,
    [Symbol.asyncDispose]: async () => tables.close(),
  }
}
