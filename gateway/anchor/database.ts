/** The stage's one file: batches, the transactions that carry their roots, and the chains these went to. */
import { DatabaseSync } from 'node:sqlite'
import { atomically } from '../journal/sqlite.ts'

/**
 * `batches` and `batch_stations` are a view of the evidence with its roots; `chains`, `transactions` and `attempts`
 * exist nowhere else until a block holds them. Wei and hashes are text, 32-byte roots are blobs.
 */
const schema = `
  CREATE TABLE chains (
    id INTEGER PRIMARY KEY,
    chain_id INTEGER NOT NULL,
    genesis_hash TEXT NOT NULL,
    contract TEXT,
    code_hash TEXT,
    deployment INTEGER,
    left_ms INTEGER
  ) STRICT;
  CREATE TABLE transactions (
    id INTEGER PRIMARY KEY,
    chain INTEGER NOT NULL REFERENCES chains (id),
    sender TEXT,
    nonce INTEGER,
    recipient TEXT,
    data TEXT NOT NULL,
    gas INTEGER NOT NULL,
    event TEXT,
    status TEXT NOT NULL CHECK (status IN ('signed', 'sent', 'mined', 'final', 'superseded')),
    note TEXT,
    mined_hash TEXT,
    block_number INTEGER,
    block_hash TEXT,
    succeeded INTEGER,
    made_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX transactions_open ON transactions (chain, status) WHERE status <> 'final';
  CREATE INDEX transactions_block ON transactions (chain, block_number);
  CREATE UNIQUE INDEX transactions_nonce ON transactions (chain, sender, nonce) WHERE status <> 'superseded';
  CREATE TABLE attempts (
    hash TEXT PRIMARY KEY,
    tx INTEGER NOT NULL REFERENCES transactions (id),
    raw TEXT NOT NULL,
    max_fee_wei TEXT NOT NULL,
    priority_fee_wei TEXT NOT NULL,
    head INTEGER NOT NULL,
    made_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX attempts_tx ON attempts (tx);
  CREATE TABLE anchors (
    id INTEGER PRIMARY KEY,
    chain INTEGER NOT NULL REFERENCES chains (id),
    root BLOB NOT NULL,
    first_batch INTEGER NOT NULL,
    batches INTEGER NOT NULL,
    tx INTEGER REFERENCES transactions (id),
    UNIQUE (chain, root)
  ) STRICT;
  CREATE INDEX anchors_tx ON anchors (tx);
  CREATE TABLE batches (
    batch INTEGER PRIMARY KEY,
    from_index INTEGER NOT NULL UNIQUE,
    to_index INTEGER NOT NULL,
    size INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    closed_ms INTEGER NOT NULL,
    root BLOB NOT NULL,
    statement BLOB NOT NULL,
    statement_leaf BLOB NOT NULL,
    leaf_hashes BLOB NOT NULL,
    leaf_places BLOB NOT NULL,
    anchor INTEGER REFERENCES anchors (id)
  ) STRICT;
  CREATE INDEX batches_anchor ON batches (anchor);
  CREATE TABLE batch_stations (
    station TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    batch INTEGER NOT NULL REFERENCES batches (batch),
    place INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (station, first, batch)
  ) STRICT, WITHOUT ROWID;
`

const schemaVersion = 1

/**
 * Opens or makes the file at `path`. While it is open no other process can open it: two writers with one key would
 * take each other's nonces. Throws when it is in use, damaged, or from a newer version.
 */
export const openDatabase = (path: string): DatabaseSync => {
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path)
    database.exec(
      'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON',
    )
    const pragma = (name: string): unknown => database!.prepare(`PRAGMA ${name}`).get()?.[name]
    // With less than FULL a power cut loses commits, and with them the memory of what was broadcast.
    if (pragma('synchronous') !== 2 || pragma('journal_mode') !== 'wal')
      throw new Error('SQLite did not take synchronous = FULL and WAL')
    const version = pragma('user_version')
    if (version === 0)
      atomically(database, () => database!.exec(`${schema}; PRAGMA user_version = ${schemaVersion}`))
    else if (version !== schemaVersion) throw new Error(`it has schema version ${version}`)
    else atomically(database, () => {})
    return database
  } catch (error) {
    database?.close()
    const why = error instanceof Error ? error.message : String(error)
    throw new Error(
      /locked|busy/i.test(why)
        ? `the anchor database ${path} is in use by another process. Stop that process first.`
        : `the anchor database ${path} cannot be opened: ${why}. Restore it from a copy, or use the program that wrote it.`,
      { cause: error },
    )
  }
}
