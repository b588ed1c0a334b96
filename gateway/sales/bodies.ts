/** Bodies that were sold, kept for a while: a buyer to whom one did not come whole gets the same bytes again. */
import type { DatabaseSync } from 'node:sqlite'
import { gunzipSync, gzipSync } from 'node:zlib'

/** What is owed to a buyer: the same bytes as the first time. */
export type Delivery = { readonly contentType: string; readonly body: Uint8Array }

const schema = `
  CREATE TABLE IF NOT EXISTS delivery (
    sale TEXT PRIMARY KEY REFERENCES sale (id),
    time_ms INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    body BLOB NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS delivery_time ON delivery (time_ms);
`

// How long a body is kept, so that a retry gets the same bytes; and how much of all of them.
const keptMs = 24 * 3_600_000
const keptBytes = 256n << 20n

/** The bodies in the database of the sales; what is too old is dropped. */
export const openBodies = (database: DatabaseSync, nowMs: () => number) => {
  database.exec(schema)
  const keep = database.prepare('INSERT INTO delivery VALUES (?, ?, ?, ?)')
  const bodyOf = database.prepare('SELECT content_type, body FROM delivery WHERE sale = ?')
  const undelivered = database.prepare(`
    SELECT s.id FROM sale s JOIN delivery d ON d.sale = s.id
    WHERE s.customer = ? AND s.asked = ? AND s.state IN ('open', 'partial') AND s.time_ms > ?
    ORDER BY s.time_ms LIMIT 1`)
  const forget = database.prepare('DELETE FROM delivery WHERE time_ms < ?')
  const kept = database.prepare('SELECT coalesce(sum(length(body)), 0) AS bytes FROM delivery')
  const drop = database.prepare('DELETE FROM delivery WHERE sale = ?')
  const forgetOldest = database.prepare(
    'DELETE FROM delivery WHERE sale = (SELECT sale FROM delivery ORDER BY time_ms LIMIT 1)',
  )
  forget.run(nowMs() - keptMs)
  // Summed up once; from then on counted along.
  let bytes = kept.get()!.bytes as bigint

  return {
    /** A body as it is kept. */
    pack: ({ body }: Delivery): Uint8Array => gzipSync(body, { level: 1 }),
    /** Writes a packed body as the sale's; part of the sale's transaction. */
    keep: (sale: string, timeMs: number, contentType: string, packed: Uint8Array): void =>
      void keep.run(sale, timeMs, contentType, packed),
    /** Counts what was kept, and drops the oldest where that is too much. */
    makeRoom: (packed: Uint8Array): void => {
      bytes += BigInt(packed.length)
      while (bytes > keptBytes) {
        const { changes } = forgetOldest.run()
        bytes = Number(changes) === 0 ? 0n : (kept.get()!.bytes as bigint)
      }
    },
    /** The oldest sale since then to a customer that asked the same and has not got all of it. */
    undelivered: (customer: string, asked: string, sinceMs: number): string | undefined =>
      undelivered.get(customer, asked, sinceMs)?.id as string | undefined,
    of: (sale: string): Delivery | undefined => {
      const row = bodyOf.get(sale)
      return (
        row && {
          contentType: row.content_type as string,
          body: new Uint8Array(gunzipSync(row.body as Uint8Array)),
        }
      )
    },
    drop: (sale: string): void => void drop.run(sale),
  }
}

export type Bodies = ReturnType<typeof openBodies>
