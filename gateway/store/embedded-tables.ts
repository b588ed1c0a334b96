/** The embedded store's tables and the statements on them. Times are kept as an hour since 1970 and ms within it. */
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { atomically } from '../journal/sqlite.ts'
import { StoreUnavailable } from './store.ts'

export const hourMs = 3_600_000

const layout = 1

// row: readings not yet sealed, or written for a sealed hour since. open: the sensor-hours that have rows, `touched` being
// the pass in which the last came. chunk: sealed sensor-hours; totals stand before the body so that a rollup
// reads no overflow page. sensor.newest: JSON [code, timeMs, seq, place][], where each quantity was last named.
const tables = `
  CREATE TABLE IF NOT EXISTS sensor (
    id INTEGER PRIMARY KEY, station TEXT NOT NULL, sensor TEXT NOT NULL, model TEXT NOT NULL, readings INTEGER NOT NULL,
    first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, last_seq INTEGER NOT NULL, last_place INTEGER NOT NULL,
    newest TEXT NOT NULL, UNIQUE (station, sensor)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS row (
    hour INTEGER NOT NULL, sensor INTEGER NOT NULL, ms INTEGER NOT NULL, seq INTEGER NOT NULL, place INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (hour, sensor, ms, seq, place)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS open (
    hour INTEGER NOT NULL, sensor INTEGER NOT NULL, rows INTEGER NOT NULL, touched INTEGER NOT NULL,
    PRIMARY KEY (hour, sensor)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS open_of_sensor ON open (sensor, hour);
  CREATE TABLE IF NOT EXISTS chunk (
    hour INTEGER NOT NULL, sensor INTEGER NOT NULL, count INTEGER NOT NULL, totals BLOB NOT NULL, body BLOB NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX IF NOT EXISTS chunk_of_hour ON chunk (hour, sensor);
  CREATE INDEX IF NOT EXISTS chunk_of_sensor ON chunk (sensor, hour);
  CREATE TABLE IF NOT EXISTS progress (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`

const statements = {
  sensorNamed: 'SELECT * FROM sensor WHERE station = ? AND sensor = ?',
  sensorsAll: 'SELECT * FROM sensor ORDER BY station, sensor',
  sensorsOfStation: 'SELECT * FROM sensor WHERE station = ? ORDER BY station, sensor',
  sensorsCalled: 'SELECT * FROM sensor WHERE sensor = ? ORDER BY station, sensor',
  sensorAdd: `INSERT INTO sensor (station, sensor, model, readings, first_ms, last_ms, last_seq, last_place, newest)
    VALUES (?, ?, ?, 0, ?, -1, -1, -1, '[]')`,
  sensorSet: `UPDATE sensor SET model = ?, readings = ?, first_ms = ?, last_ms = ?, last_seq = ?, last_place = ?, newest = ?
    WHERE id = ?`,
  newestMs: 'SELECT max(last_ms) AS ms FROM sensor',

  rowAdd:
    'INSERT INTO row (hour, sensor, ms, seq, place, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  rowSet: 'UPDATE row SET body = ? WHERE hour = ? AND sensor = ? AND ms = ? AND seq = ? AND place = ?',
  rowAt: 'SELECT body FROM row WHERE hour = ? AND sensor = ? AND ms = ? AND seq = ? AND place = ?',
  rowsOf: 'SELECT ms, seq, place, body FROM row WHERE hour = ? AND sensor = ? ORDER BY ms, seq, place',
  rowsDrop: 'DELETE FROM row WHERE hour = ? AND sensor = ?',

  openAt: 'SELECT rows FROM open WHERE hour = ? AND sensor = ?',
  openAdd: `INSERT INTO open (hour, sensor, rows, touched) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET rows = rows + excluded.rows, touched = excluded.touched`,
  openOfHour: 'SELECT sensor FROM open WHERE hour = ?',
  openNext: 'SELECT min(hour) AS hour FROM open WHERE hour >= ?',
  openNextOf: 'SELECT min(hour) AS hour FROM open WHERE sensor = ? AND hour >= ?',
  openBefore: 'SELECT max(hour) AS hour FROM open WHERE hour <= ?',
  openBeforeOf: 'SELECT max(hour) AS hour FROM open WHERE sensor = ? AND hour <= ?',
  openDrop: 'DELETE FROM open WHERE hour = ? AND sensor = ?',
  openForget: 'UPDATE open SET touched = 0 WHERE touched <> 0',
  openClosed: `SELECT open.hour, open.sensor, open.rows
    FROM open LEFT JOIN chunk ON chunk.hour = open.hour AND chunk.sensor = open.sensor
    WHERE open.hour < ? AND open.rows + ifnull(chunk.count, 0) <= ?
    ORDER BY open.hour, open.sensor LIMIT ?`,
  openQuiet: `SELECT open.hour, open.sensor, open.rows
    FROM open LEFT JOIN chunk ON chunk.hour = open.hour AND chunk.sensor = open.sensor
    WHERE open.hour < ? AND open.touched <= ? AND open.rows + ifnull(chunk.count, 0) <= ?
      AND (chunk.count IS NULL OR open.rows * 4 >= chunk.count OR open.touched <= ?)
    ORDER BY open.hour, open.sensor LIMIT ?`,

  chunkBody: 'SELECT body FROM chunk WHERE hour = ? AND sensor = ?',
  chunkTotals: 'SELECT sensor, totals FROM chunk WHERE hour = ? AND sensor = ?',
  chunksOfHour: 'SELECT sensor, totals FROM chunk WHERE hour = ?',
  chunkNext: 'SELECT min(hour) AS hour FROM chunk WHERE hour >= ?',
  chunkNextOf: 'SELECT min(hour) AS hour FROM chunk WHERE sensor = ? AND hour >= ?',
  chunkBefore: 'SELECT max(hour) AS hour FROM chunk WHERE hour <= ?',
  chunkBeforeOf: 'SELECT max(hour) AS hour FROM chunk WHERE sensor = ? AND hour <= ?',
  chunkSet: `INSERT INTO chunk (hour, sensor, count, totals, body) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (hour, sensor) DO UPDATE SET count = excluded.count, totals = excluded.totals, body = excluded.body`,

  progress: 'SELECT value FROM progress WHERE name = ?',
  progressSet: 'INSERT INTO progress VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
  dataVersion: 'PRAGMA data_version',
} as const

export type StatementName = keyof typeof statements

/** One row of the sensor table. */
export type SensorRow = {
  readonly id: number
  readonly station: string
  readonly sensor: string
  readonly model: string
  readonly readings: number
  readonly first_ms: number
  readonly last_ms: number
  readonly last_seq: number
  readonly last_place: number
  readonly newest: string
}

/** The open database: each statement is prepared once, every value is bound. */
export type Tables = {
  readonly kind: string
  get<Row>(name: StatementName, ...values: SQLInputValue[]): Row | undefined
  all<Row>(name: StatementName, ...values: SQLInputValue[]): Row[]
  /** Answers how many rows changed. */
  run(name: StatementName, ...values: SQLInputValue[]): number
  /** All of `work` is on disk when it returns, or none of it. */
  transaction<Result>(work: () => Result): Result
  clear(): void
  close(): void
}

// SQLite result codes that time or an operator can mend: busy, locked, read-only, I/O error, full, cannot open.
const mendable = new Set([5, 6, 8, 10, 13, 14])
const damaged = new Set([11, 26])

const translated = (path: string, error: unknown): unknown => {
  if (!(error instanceof Error)) return error
  const code = (error as { errcode?: number }).errcode
  if (code === undefined) return error
  if (mendable.has(code & 0xff))
    return new StoreUnavailable(
      `the store ${path} cannot be used now: ${error.message}. Check that the disk has room and is writable, ` +
        'and that no other program holds the file.',
      { cause: error },
    )
  if (damaged.has(code & 0xff))
    return new Error(
      `the store ${path} is damaged or no store: ${error.message}. Delete it; it is rebuilt from the evidence.`,
      { cause: error },
    )
  return error
}

const prepareDatabase = (database: DatabaseSync, path: string) => {
  database.exec('PRAGMA journal_mode = WAL')
  database.exec('PRAGMA synchronous = FULL')
  // NORMAL would lose acknowledged readings in a power cut, and builds of SQLite differ in what they start with.
  const { synchronous } = database.prepare('PRAGMA synchronous').get() as { synchronous: number }
  const { journal_mode } = database.prepare('PRAGMA journal_mode').get() as { journal_mode: string }
  if (synchronous !== 2 || (journal_mode !== 'wal' && path !== ':memory:'))
    throw new Error(
      `the store ${path} cannot be made durable: synchronous is ${synchronous}, not 2 (FULL), journal_mode is ` +
        `${journal_mode}, not wal. Put it on a local file system.`,
    )
  const { user_version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
  if (user_version !== 0 && user_version !== layout)
    throw new Error(
      `the store ${path} has layout ${user_version}, this program writes ${layout}. Delete it; it is rebuilt from the evidence.`,
    )
  database.exec(`BEGIN IMMEDIATE; ${tables}; PRAGMA user_version = ${layout}; COMMIT`)
}

/** Opens or creates the database file and the folder it lies in. */
export const openTables = (path: string): Tables => {
  let closed = false
  const guarded = <Result>(work: () => Result): Result => {
    if (closed) throw new Error(`the store ${path} is closed`)
    try {
      return work()
    } catch (error) {
      throw translated(path, error)
    }
  }
  const database = guarded(() => {
    if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true })
    // A rebuild may write beside a running hub for a moment; a longer wait would stop the whole process.
    const opened = new DatabaseSync(path, { timeout: 2000 })
    try {
      prepareDatabase(opened, path)
      return opened
    } catch (error) {
      opened.close()
      throw error
    }
  })
  const prepared = Object.fromEntries(
    Object.entries(statements).map(([name, sql]) => [name, database.prepare(sql)]),
  ) as Record<StatementName, ReturnType<DatabaseSync['prepare']>>
  const { version } = database.prepare('SELECT sqlite_version() AS version').get() as { version: string }

  const transaction = <Result>(work: () => Result): Result => guarded(() => atomically(database, work))

  return {
    kind: `SQLite ${version}, embedded`,
    get: <Row>(name: StatementName, ...values: SQLInputValue[]) =>
      guarded(() => prepared[name].get(...values) as Row | undefined),
    all: <Row>(name: StatementName, ...values: SQLInputValue[]) =>
      guarded(() => prepared[name].all(...values) as Row[]),
    run: (name, ...values) => guarded(() => Number(prepared[name].run(...values).changes)),
    transaction,
    clear: () => {
      transaction(() => {
        for (const table of ['sensor', 'row', 'open', 'chunk', 'progress'])
          database.exec(`DELETE FROM ${table}`)
      })
      guarded(() => database.exec('VACUUM; PRAGMA wal_checkpoint(TRUNCATE)'))
    },
    close: () => {
      if (!closed) database.close()
      closed = true
    },
  }
}
