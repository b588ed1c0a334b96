/**
 * The ledger: every amount that was ever paid, held, earned or given back, as double entry in one SQLite file. Amounts
 * are micro-USD; the entries of a posting add up to zero, and so do all balances.
 */
import { chmodSync, closeSync, openSync } from 'node:fs'
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite'
import { atomically } from '../journal/sqlite.ts'
import { type MicroUsd, mostMicroUsd } from './money.ts'

/**
 * Accounts by name. `world:` is money outside (a payment rail, what an operator gave); `customer:` is a buyer's credit;
 * `held:` is set aside for work under way; `owner:` is what a station has earned; `hub:` is the hub's own. Only `world:`
 * and `hub:` may be below zero: the hub where it pays back what owners have been paid already.
 */
export type AccountKind = 'world' | 'customer' | 'held' | 'owner' | 'hub'
export type AccountName = `${AccountKind}:${string}`

const mayOwe = (account: AccountName): boolean => account.startsWith('world:') || account.startsWith('hub:')

export type Entry = { readonly account: AccountName; readonly amount: MicroUsd }

export const postingKinds = [
  'credit',
  'hold',
  'release',
  'capture',
  'refund',
  'sla',
  'sale',
  'chargeback',
] as const
export type PostingKind = (typeof postingKinds)[number]

/** One posting: `request` is its name for ever, so that it cannot be made twice; `memo` is for the reader. */
export type Posting = {
  readonly request: string
  readonly kind: PostingKind
  readonly timeMs: number
  readonly memo: string
  readonly entries: readonly Entry[]
}

/** Why money did not move: the account has too little, this request was made before, or what belonged to it failed. */
export type Unposted =
  | { readonly ok: false; readonly reason: 'insufficient'; readonly balance: MicroUsd }
  | { readonly ok: false; readonly reason: 'duplicate' | 'undone' }

export type Posted = { readonly ok: true } | Unposted

/** What does not add up; empty lists, a sum of zero: the books are sound. */
export type Audit = {
  readonly sum: MicroUsd
  readonly unbalanced: readonly string[]
  readonly wrongBalances: readonly string[]
}

/** Money that is set aside and not earned yet; what it is for stands in `hold`. */
export const heldAccount: AccountName = 'held:queries'

const schema = `
  CREATE TABLE IF NOT EXISTS account (
    name TEXT PRIMARY KEY,
    balance INTEGER NOT NULL,
    CHECK (name LIKE 'world:%' OR name LIKE 'hub:%' OR balance >= 0)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS posting (
    id INTEGER PRIMARY KEY,
    request TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    memo TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS entry (
    posting INTEGER NOT NULL REFERENCES posting (id),
    line INTEGER NOT NULL,
    account TEXT NOT NULL REFERENCES account (name),
    amount INTEGER NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (posting, line)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS entry_account ON entry (account, posting);
  CREATE TABLE IF NOT EXISTS hold (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (name),
    amount INTEGER NOT NULL CHECK (amount > 0),
    state TEXT NOT NULL CHECK (state IN ('open', 'captured', 'released')),
    opened_ms INTEGER NOT NULL,
    api_key TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS hold_open ON hold (opened_ms) WHERE state = 'open';
`
const schemaVersion = 2n

/** Thrown inside of a transaction to undo it; never leaves this file. */
class Undo extends Error {
  readonly outcome: Unposted
  constructor(outcome: Unposted) {
    super(outcome.reason)
    this.outcome = outcome
  }
}

// An operator's command and a hub write to the same file: each waits for the other's commit.
const busyMs = 5_000

/** Opens or creates the database that sales, keys and ledger share; every commit is on disk when it returns. */
export const openSalesDatabase = (path: string): DatabaseSync => {
  // Before SQLite makes its own beside it, as open as this one: what webhooks are signed with is in there.
  if (path !== ':memory:') {
    closeSync(openSync(path, 'a', 0o600))
    chmodSync(path, 0o600)
  }
  const database = new DatabaseSync(path, { readBigInts: true, timeout: busyMs })
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
  const synchronous = database.prepare('PRAGMA synchronous').get()?.synchronous
  if (synchronous !== 2n) throw new Error(`SQLite's synchronous is ${String(synchronous)}, not FULL (2)`)
  atomically(database, () => {
    const version = database.prepare('PRAGMA user_version').get()?.user_version
    // Before there was a budget to hold, no hold named its key.
    if (version === 1n) database.exec('ALTER TABLE hold ADD COLUMN api_key TEXT')
    database.exec(schema)
    database.exec(`PRAGMA user_version = ${schemaVersion}`)
  })
  return database
}

/** The ledger in that database. */
export const openLedger = (database: DatabaseSync) => {
  const addAccount = database.prepare('INSERT OR IGNORE INTO account VALUES (?, 0)')
  const balanceOf = database.prepare('SELECT balance FROM account WHERE name = ?')
  const change = database.prepare('UPDATE account SET balance = balance + ? WHERE name = ?')
  const addPosting = database.prepare(
    'INSERT OR IGNORE INTO posting (request, kind, time_ms, memo) VALUES (?, ?, ?, ?)',
  )
  const addEntry = database.prepare('INSERT INTO entry VALUES (?, ?, ?, ?)')
  const requestEntries = database.prepare(`
    SELECT e.account, e.amount FROM posting p JOIN entry e ON e.posting = p.id WHERE p.request = ? ORDER BY e.line`)
  const pageOf = database.prepare(`
    SELECT p.id, p.request, p.kind, p.time_ms, p.memo, e.account, e.amount
    FROM posting p JOIN entry e ON e.posting = p.id
    WHERE p.id > ? ORDER BY p.id, e.line LIMIT ?`)
  const allAccounts = database.prepare('SELECT name, balance FROM account ORDER BY name')
  const accountPage = database.prepare(`
    SELECT p.id, p.request, p.kind, p.time_ms, p.memo, e.account, e.amount
    FROM entry e JOIN posting p ON p.id = e.posting
    WHERE e.account = ? AND p.id < ? ORDER BY p.id DESC LIMIT ?`)

  const balance = (account: AccountName): MicroUsd =>
    (balanceOf.get(account)?.balance as bigint | undefined) ?? 0n

  /** Writes a posting inside of a transaction; throws Undo where it may not be. */
  const write = ({ request, kind, timeMs, memo, entries }: Posting): void => {
    const moved = entries.filter(({ amount }) => amount !== 0n)
    if (moved.reduce((sum, { amount }) => sum + amount, 0n) !== 0n)
      throw new RangeError(`the entries of ${request} do not add up to zero`)
    const { changes, lastInsertRowid } = addPosting.run(request, kind, timeMs, memo)
    if (Number(changes) === 0) throw new Undo({ ok: false, reason: 'duplicate' })
    for (const [line, { account, amount }] of moved.entries()) {
      addAccount.run(account)
      const before = balance(account)
      const after = before + amount
      if (after > mostMicroUsd || after < -mostMicroUsd)
        throw new RangeError(`the balance of ${account} would pass ${mostMicroUsd} micro-USD`)
      if (after < 0n && !mayOwe(account))
        throw new Undo({ ok: false, reason: 'insufficient', balance: before })
      change.run(amount, account)
      addEntry.run(lastInsertRowid, line, account, amount)
    }
  }

  const attempt = (work: () => void): Posted => {
    try {
      atomically(database, work)
      return { ok: true }
    } catch (error) {
      if (error instanceof Undo) return error.outcome
      throw error
    }
  }

  const addedUp = (): Audit => {
    const one = (sql: string): Record<string, SQLOutputValue>[] => database.prepare(sql).all()
    const held = (one("SELECT coalesce(sum(amount), 0) AS sum FROM hold WHERE state = 'open'")[0]!.sum ??
      0n) as bigint
    return {
      sum: one('SELECT coalesce(sum(balance), 0) AS sum FROM account')[0]!.sum as bigint,
      unbalanced: one(
        'SELECT request FROM posting p WHERE (SELECT coalesce(sum(amount), 0) FROM entry WHERE posting = p.id) <> 0',
      ).map(({ request }) => request as string),
      wrongBalances: [
        ...one(
          `SELECT name FROM account a
           WHERE balance <> (SELECT coalesce(sum(amount), 0) FROM entry WHERE account = a.name)
           OR (balance < 0 AND name NOT LIKE 'world:%' AND name NOT LIKE 'hub:%')`,
        ).map(({ name }) => name as string),
        ...(held === balance(heldAccount) ? [] : [heldAccount]),
      ],
    }
  }

  return {
    balance,
    /**
     * Makes a posting: all of its entries, or none. `also` runs in the same transaction, and undoes it with false. Throws
     * RangeError for entries that do not add up to zero.
     */
    post: (posting: Posting, also: () => boolean = () => true): Posted =>
      attempt(() => {
        write(posting)
        if (!also()) throw new Undo({ ok: false, reason: 'undone' })
      }),
    /**
     * Makes several postings, and what belongs to them, in one transaction: all of it, or nothing. `work` undoes
     * everything with false; so does a posting that cannot be made.
     */
    together: (work: (post: (posting: Posting) => void) => boolean): Posted =>
      attempt(() => {
        if (!work(write)) throw new Undo({ ok: false, reason: 'undone' })
      }),
    entriesOfRequest: (request: string): Entry[] =>
      requestEntries
        .all(request)
        .map(({ account, amount }) => ({ account: account as AccountName, amount: amount as bigint })),
    /** Entries of an account, newest first, of postings before number `before`. */
    entriesOf: (account: AccountName, limit: number, before: number = Number.MAX_SAFE_INTEGER): Line[] =>
      accountPage.all(account, before, limit).map(asLine),
    /** Every entry there is, oldest first, read page by page. */
    lines: function* (pageLines: number = linesPage): Generator<Line> {
      // Postings have few lines, so a page never ends within the first posting of the next.
      for (let after = 0; ; ) {
        const rows = pageOf.all(after, pageLines).map(asLine)
        const whole =
          rows.length < pageLines ? rows : rows.filter(({ posting }) => posting < rows.at(-1)!.posting)
        yield* whole
        if (rows.length < pageLines) return
        after = whole.at(-1)!.posting
      }
    },
    /** Every account there is, by name. */
    accounts: (): Entry[] =>
      allAccounts
        .all()
        .map(({ name, balance }) => ({ account: name as AccountName, amount: balance as bigint })),
    /** Adds everything up anew from the entries, as they are at one moment. */
    audit: (): Audit => {
      database.exec('BEGIN')
      try {
        return addedUp()
      } finally {
        database.exec('COMMIT')
      }
    },
  }
}

export type Ledger = ReturnType<typeof openLedger>

// A posting has one line for each station at most, and a query touches fewer than this.
const linesPage = 50_000

/** One entry with its posting: what an export or an account statement shows. */
export type Line = {
  readonly posting: number
  readonly request: string
  readonly kind: PostingKind
  readonly timeMs: number
  readonly memo: string
  readonly account: AccountName
  readonly amount: MicroUsd
}

const asLine = (row: Record<string, SQLOutputValue>): Line => ({
  posting: Number(row.id),
  request: row.request as string,
  kind: row.kind as PostingKind,
  timeMs: Number(row.time_ms),
  memo: row.memo as string,
  account: row.account as AccountName,
  amount: row.amount as bigint,
})
