/** The book of exports: what was ordered, how far it is and where its file is; on disk before anybody is told. */
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite'
import type { MicroUsd } from '../../sales/money.ts'
import type { Price } from '../../sales/price.ts'
import type { Plan } from '../query.ts'

/**
 * `queued`: waits for its turn. `working`: its file is being written. `written`: the file is whole, the price is not taken
 * yet. `done`: it can be fetched. `failed`: it will never be, and costs nothing. `expired`: its file is gone.
 */
export const exportStates = ['queued', 'working', 'written', 'done', 'failed', 'expired'] as const
export type ExportState = (typeof exportStates)[number]

/** A finished file; `sha256` in hex. */
export type ExportFile = {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
  readonly rows: number
}

/** What a station's owner said of it when its readings were exported. */
export type AboutStation = {
  readonly station: string
  /** SPDX identifier or LicenseRef-...; null where nothing was said. */
  readonly licence: string | null
  readonly name?: string
  /** H3 cell: all that is told of the place. */
  readonly cell?: string
}

/** What is in a file: quantities by name, in the order of its columns, and the stations that have rows, by id. */
export type About = { readonly columns: readonly string[]; readonly stations: readonly AboutStation[] }

/** An offer that the price is held to: its maximum and its hash. */
export type HeldOffer = { readonly mostMicroUsd: MicroUsd; readonly hash: Uint8Array }

/** An order for an export. */
export type NewExport = {
  readonly id: string
  /** Whose it is; '' where nothing is sold. */
  readonly owner: string
  /** The key that pays; without one whoever knows the id may have it. */
  readonly apiKey?: string
  /** Idempotency-Key of the order, or the name of its payment. */
  readonly once?: string
  /** What was asked, before its times were resolved. */
  readonly asked: string
  readonly plan: Plan
  /** Name of the format. */
  readonly format: string
  readonly createdMs: number
  /** What is held for it; zero where it is free. */
  readonly mostMicroUsd: MicroUsd
  readonly offer?: HeldOffer
  /** The earlier sale that has paid for the same. */
  readonly paidBy?: string
}

export type Export = NewExport & {
  readonly state: ExportState
  /** Why it failed. */
  readonly detail?: string
  readonly file?: ExportFile
  readonly price?: Price
  readonly about?: About
  readonly doneMs?: number
  /** The sale that paid for it. */
  readonly receipt?: string
}

const schema = `
  CREATE TABLE IF NOT EXISTS export (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    api_key TEXT,
    once TEXT,
    asked TEXT NOT NULL,
    plan TEXT NOT NULL,
    format TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    most INTEGER NOT NULL,
    offer_most INTEGER,
    offer_hash BLOB,
    paid_by TEXT,
    state TEXT NOT NULL CHECK (state IN ('queued', 'working', 'written', 'done', 'failed', 'expired')),
    detail TEXT,
    file TEXT,
    price TEXT,
    about TEXT,
    done_ms INTEGER,
    receipt TEXT,
    UNIQUE (owner, once)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS export_owner ON export (owner, created_ms);
  CREATE INDEX IF NOT EXISTS export_state ON export (state, created_ms);
`

const priceText = ({ byStation, ...rest }: Price): string =>
  JSON.stringify({ ...rest, byStation: [...byStation] }, (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}` : value,
  )

const priceIn = (text: string): Price => {
  const { totalMicroUsd, baseMicroUsd, rows, values, byStation } = JSON.parse(text) as {
    totalMicroUsd: string
    baseMicroUsd: string
    rows: number
    values: number
    byStation: [string, string][]
  }
  return {
    totalMicroUsd: BigInt(totalMicroUsd),
    baseMicroUsd: BigInt(baseMicroUsd),
    rows,
    values,
    byStation: new Map(byStation.map(([station, amount]) => [station, BigInt(amount)])),
  }
}

const optional = <Name extends string, T>(name: Name, value: T | null | undefined) =>
  (value === null || value === undefined ? {} : { [name]: value }) as { [K in Name]?: T }

const asExport = (row: Record<string, SQLOutputValue>): Export => ({
  id: row.id as string,
  owner: row.owner as string,
  asked: row.asked as string,
  plan: JSON.parse(row.plan as string) as Plan,
  format: row.format as string,
  createdMs: Number(row.created_ms),
  mostMicroUsd: row.most as bigint,
  state: row.state as ExportState,
  ...optional('apiKey', row.api_key as string | null),
  ...optional('once', row.once as string | null),
  ...optional(
    'offer',
    row.offer_hash === null
      ? null
      : { mostMicroUsd: row.offer_most as bigint, hash: row.offer_hash as Uint8Array },
  ),
  ...optional('paidBy', row.paid_by as string | null),
  ...optional('detail', row.detail as string | null),
  ...optional('file', row.file === null ? null : (JSON.parse(row.file as string) as ExportFile)),
  ...optional('price', row.price === null ? null : priceIn(row.price as string)),
  ...optional('about', row.about === null ? null : (JSON.parse(row.about as string) as About)),
  ...optional('doneMs', row.done_ms === null ? null : Number(row.done_ms)),
  ...optional('receipt', row.receipt as string | null),
})

// Waiting for another process, such as somebody who looks at the file.
const busyMs = 5_000

/** Opens or creates the book; every change is on disk when it returns. What was being written is queued again. */
export const openExportBook = (path: string) => {
  const database = new DatabaseSync(path, { readBigInts: true, timeout: busyMs })
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  database.exec(schema)
  database.exec("UPDATE export SET state = 'queued' WHERE state = 'working'")
  const insert = database.prepare(`
    INSERT INTO export (id, owner, api_key, once, asked, plan, format, created_ms, most, offer_most, offer_hash, paid_by, state)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued')`)
  const byId = database.prepare('SELECT * FROM export WHERE id = ?')
  const byOnce = database.prepare('SELECT * FROM export WHERE owner = ? AND once = ?')
  const ofOwner = database.prepare(
    'SELECT * FROM export WHERE owner = ? ORDER BY created_ms DESC, id LIMIT ?',
  )
  const unfinished = database.prepare(`
    SELECT * FROM export WHERE state IN ('queued', 'working', 'written') ORDER BY state DESC, created_ms, id`)
  const kept = database.prepare("SELECT * FROM export WHERE state = 'done' ORDER BY done_ms, id")
  const setState = database.prepare('UPDATE export SET state = ?, detail = ? WHERE id = ?')
  const setWritten = database.prepare(
    "UPDATE export SET state = 'written', file = ?, price = ?, about = ? WHERE id = ?",
  )
  const setDone = database.prepare("UPDATE export SET state = 'done', done_ms = ?, receipt = ? WHERE id = ?")
  const drop = database.prepare('DELETE FROM export WHERE id = ?')
  const freeBeyond = database.prepare(`
    SELECT id FROM (
      SELECT id, row_number() OVER newest AS number, sum(json_extract(file, '$.bytes')) OVER newest AS bytes
      FROM export WHERE state = 'done' AND most = 0 WINDOW newest AS (ORDER BY done_ms DESC, id))
    WHERE number > ? OR bytes > ?`)
  const dropFree = database.prepare(`
    DELETE FROM export WHERE id IN (
      SELECT id FROM export WHERE state IN ('failed', 'expired') AND most = 0
      ORDER BY created_ms DESC, id LIMIT -1 OFFSET ?)`)
  const dropOld = database.prepare(
    "DELETE FROM export WHERE state IN ('failed', 'expired') AND created_ms < ?",
  )

  return {
    add: (one: NewExport): void =>
      void insert.run(
        one.id,
        one.owner,
        one.apiKey ?? null,
        one.once ?? null,
        one.asked,
        JSON.stringify(one.plan),
        one.format,
        one.createdMs,
        one.mostMicroUsd,
        one.offer?.mostMicroUsd ?? null,
        one.offer?.hash ?? null,
        one.paidBy ?? null,
      ),
    find: (id: string): Export | undefined => {
      const row = byId.get(id)
      return row && asExport(row)
    },
    /** The order of that name by that owner. */
    named: (owner: string, once: string): Export | undefined => {
      const row = byOnce.get(owner, once)
      return row && asExport(row)
    },
    /** An owner's, newest first. */
    list: (owner: string, limit: number): Export[] => ofOwner.all(owner, limit).map(asExport),
    /** Those that are not at their end, in the order they are worked on. */
    unfinished: (): Export[] => unfinished.all().map(asExport),
    /** Those whose file is kept, oldest first. */
    kept: (): Export[] => kept.all().map(asExport),
    work: (id: string): void => void setState.run('working', null, id),
    queue: (id: string): void => void setState.run('queued', null, id),
    written: (id: string, file: ExportFile, price: Price | undefined, about: About): void =>
      void setWritten.run(
        JSON.stringify(file),
        price === undefined ? null : priceText(price),
        JSON.stringify(about),
        id,
      ),
    done: (id: string, doneMs: number, receipt: string | undefined): void =>
      void setDone.run(doneMs, receipt ?? null, id),
    fail: (id: string, detail: string): void => void setState.run('failed', detail, id),
    expire: (id: string): void => void setState.run('expired', null, id),
    drop: (id: string): void => void drop.run(id),
    /** Those that are done and cost nothing, but for the newest: so many, with so many bytes in all. */
    freeBeyond: (most: number, bytes: number): string[] =>
      freeBeyond.all(most, Math.floor(bytes)).map(({ id }) => id as string),
    /** Forgets what came to its end and was ordered before then (UTC ms); of what cost nothing so many are remembered. */
    forget: (beforeMs: number, mostFree: number): void => {
      dropOld.run(beforeMs)
      dropFree.run(mostFree)
    },
    [Symbol.dispose]: (): void => database.close(),
  }
}

export type ExportBook = ReturnType<typeof openExportBook>
