/** Customers and their API keys. A key is shown once, when it is made; what is kept is its hash. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import { atomically } from '../journal/sqlite.ts'
import type { MicroUsd } from './money.ts'

/** What a key may do: read data, see and change the account and its keys, download the ledger of the whole hub. */
export const scopes = ['read', 'account', 'operator'] as const
export type Scope = (typeof scopes)[number]

/**
 * An API key as it is known afterwards. `budget` is what may be spent with it in all; null for no limit of its own.
 * `alarm` is the part of the budget in percent from which on answers carry a warning.
 */
export type ApiKey = {
  readonly id: string
  readonly customer: string
  readonly label: string
  readonly scopes: readonly Scope[]
  readonly budget: MicroUsd | null
  readonly spent: MicroUsd
  readonly alarmPercent: number | null
  readonly createdMs: number
  readonly expiresMs: number | null
  readonly revokedMs: number | null
}

/** Why a key does not count. */
export type KeyFault = 'unknown' | 'expired' | 'revoked'

const schema = `
  CREATE TABLE IF NOT EXISTS customer (
    id TEXT PRIMARY KEY,
    created_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS api_key (
    id TEXT PRIMARY KEY,
    customer TEXT NOT NULL REFERENCES customer (id),
    hash BLOB NOT NULL,
    label TEXT NOT NULL,
    scopes TEXT NOT NULL,
    budget INTEGER CHECK (budget >= 0),
    spent INTEGER NOT NULL DEFAULT 0,
    alarm_percent INTEGER CHECK (alarm_percent BETWEEN 1 AND 100),
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS api_key_customer ON api_key (customer);
  CREATE TABLE IF NOT EXISTS own_station (
    station TEXT NOT NULL,
    customer TEXT NOT NULL REFERENCES customer (id),
    PRIMARY KEY (customer, station)
  ) STRICT, WITHOUT ROWID;
`

// `gt_`, the key's id and its secret: 256 random bits need no slow hash.
const keyPattern = /^gt_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/

const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest()

// Compared with where there is no such key, so that both take as long.
const noHash = Buffer.alloc(32)

/** Keys of one customer that count, at most; each request looks one up, and lists show them all. */
export const maxKeys = 100

const numberOrNull = (value: SQLOutputValue | undefined): number | null =>
  value === null || value === undefined ? null : Number(value)

const asKey = (row: Record<string, SQLOutputValue>): ApiKey => ({
  id: row.id as string,
  customer: row.customer as string,
  label: row.label as string,
  scopes: (row.scopes as string).split(' ') as Scope[],
  budget: row.budget as bigint | null,
  spent: row.spent as bigint,
  alarmPercent: numberOrNull(row.alarm_percent),
  createdMs: Number(row.created_ms),
  expiresMs: numberOrNull(row.expires_ms),
  revokedMs: numberOrNull(row.revoked_ms),
})

/** A key that counts, or why it does not. */
export type FoundKey =
  | { readonly ok: true; readonly key: ApiKey }
  | { readonly ok: false; readonly reason: KeyFault }

const counting = (key: ApiKey, nowMs: number): FoundKey => {
  if (key.revokedMs !== null) return { ok: false, reason: 'revoked' }
  if (key.expiresMs !== null && key.expiresMs <= nowMs) return { ok: false, reason: 'expired' }
  return { ok: true, key }
}

export type NewKey = {
  readonly label: string
  readonly scopes: readonly Scope[]
  readonly budget: MicroUsd | null
  readonly alarmPercent: number | null
  readonly expiresMs: number | null
}

/** Customers and keys in the database of the sales. */
export const openKeys = (database: DatabaseSync) => {
  database.exec(schema)
  const addCustomer = database.prepare('INSERT INTO customer VALUES (?, ?)')
  const joinCustomer = database.prepare('INSERT OR IGNORE INTO customer VALUES (?, ?)')
  const addKey = database.prepare(`
    INSERT INTO api_key (id, customer, hash, label, scopes, budget, alarm_percent, created_ms, expires_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
  const customerOf = database.prepare('SELECT 1 FROM customer WHERE id = ?')
  const allCustomers = database.prepare('SELECT id, created_ms FROM customer ORDER BY created_ms, id')
  const keyOf = database.prepare('SELECT * FROM api_key WHERE id = ?')
  const keysOf = database.prepare('SELECT * FROM api_key WHERE customer = ? ORDER BY created_ms, id')
  const countOf = database.prepare(
    'SELECT count(*) AS count FROM api_key WHERE customer = ?1 AND revoked_ms IS NULL AND coalesce(expires_ms, ?2) >= ?2',
  )
  const revokeKey = database.prepare(
    'UPDATE api_key SET revoked_ms = ? WHERE id = ? AND customer = ? AND revoked_ms IS NULL',
  )
  const spend = database.prepare(
    'UPDATE api_key SET spent = spent + ?1 WHERE id = ?2 AND (budget IS NULL OR spent + ?1 <= budget)',
  )
  const addStation = database.prepare('INSERT OR IGNORE INTO own_station VALUES (?, ?)')
  const stationsOf = database.prepare('SELECT station FROM own_station WHERE customer = ?')

  const create = (
    customer: string,
    { label, scopes, budget, alarmPercent, expiresMs }: NewKey,
    nowMs: number,
  ) => {
    const id = randomBytes(8).toString('hex')
    const secret = randomBytes(32).toString('base64url')
    addKey.run(id, customer, hashOf(secret), label, scopes.join(' '), budget, alarmPercent, nowMs, expiresMs)
    return { key: asKey(keyOf.get(id)!), secret: `gt_${id}_${secret}` }
  }

  return {
    /** Every customer, oldest first, and when it signed up (UTC ms). */
    customers: (): { readonly id: string; readonly createdMs: number }[] =>
      allCustomers.all().map(({ id, created_ms }) => ({ id: id as string, createdMs: Number(created_ms) })),
    hasCustomer: (id: string): boolean => customerOf.get(id) !== undefined,
    /** A new customer with a first key; `secret` is the whole key, and is told here only. */
    signUp: (first: NewKey, nowMs: number): { readonly key: ApiKey; readonly secret: string } => {
      const id = randomBytes(8).toString('hex')
      return atomically(database, () => {
        addCustomer.run(id, nowMs)
        return create(id, first, nowMs)
      })
    },
    /** Another key of a customer; undefined where it has `maxKeys` that count. */
    add: (customer: string, wanted: NewKey, nowMs: number) =>
      Number(countOf.get(customer, nowMs)!.count) >= maxKeys ? undefined : create(customer, wanted, nowMs),
    /** Makes a customer under a name that a rail knows it by, where there is none yet. */
    join: (customer: string, nowMs: number): void => void joinCustomer.run(customer, nowMs),
    /** Whose key a text is, in a time that does not depend on how much of it is right. */
    find: (text: string, nowMs: number): FoundKey => {
      const match = keyPattern.exec(text)
      const row = match === null ? undefined : keyOf.get(match[1]!)
      const fits = timingSafeEqual(hashOf(match?.[2] ?? ''), (row?.hash as Uint8Array | undefined) ?? noHash)
      return row === undefined || !fits ? { ok: false, reason: 'unknown' } : counting(asKey(row), nowMs)
    },
    /** The key of that id, for work that outlives the request which showed it. */
    byId: (id: string, nowMs: number): FoundKey => {
      const row = keyOf.get(id)
      return row === undefined ? { ok: false, reason: 'unknown' } : counting(asKey(row), nowMs)
    },
    list: (customer: string): ApiKey[] => keysOf.all(customer).map(asKey),
    /** Whether there was such a key of that customer to revoke. */
    revoke: (customer: string, id: string, nowMs: number): boolean =>
      Number(revokeKey.run(nowMs, id, customer).changes) > 0,
    /** Counts an amount, or a negative one that comes back, against a key's budget; false where it would be passed. */
    spend: (id: string, amount: MicroUsd): boolean => Number(spend.run(amount, id).changes) > 0,
    /** What may still be spent with a key; null where it has no limit of its own, or there is no such key. */
    left: (id: string): MicroUsd | null => {
      const row = keyOf.get(id)
      return row === undefined || row.budget === null ? null : (row.budget as bigint) - (row.spent as bigint)
    },
    /** Notes that a customer has shown the key of a station: its readings are free for it. */
    own: (customer: string, station: string): void => void addStation.run(station, customer),
    ownStations: (customer: string): ReadonlySet<string> =>
      new Set(stationsOf.all(customer).map(({ station }) => station as string)),
  }
}

export type Keys = ReturnType<typeof openKeys>
