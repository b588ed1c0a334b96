/**
 * Subscriptions as they are kept: what is wanted, who pays, how far it has come. How far moves only together with what is
 * paid for it, so that a hub that dies between two events neither loses one nor charges one twice.
 */
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import { atomically } from '../journal/sqlite.ts'
import type { MicroUsd } from './money.ts'

export type SubscriptionKind = 'webhook' | 'mqtt'

/** `active`: goes on. `paused`: waits for its owner. `ended`: its receiver wants no more. */
export type SubscriptionState = 'active' | 'paused' | 'ended'

/** Why it does not go on: its key, what it can pay with, its receiver that does not answer or is gone. */
export type PauseReason = 'key' | 'credit' | 'budget' | 'unreachable' | 'gone'

/** The next reading to give: envelope by its index in the evidence, reading by its place in the envelope. */
export type Place = { readonly index: number; readonly place: number }

/** Readings that were too old when their turn came: so many at most, and their span (UTC ms). */
export type Skipped = { readonly readings: number; readonly fromMs: number; readonly lastMs: number }

/**
 * A subscription. `selection` is what is wanted, as JSON. `secret` is what a webhook is signed with, and SHA-256 of the
 * password of a login. `perMinute` is how often its receiver wants to be called at most; `batch` is how many readings it
 * gets at once at most. `failures` counts those since it last took anything.
 */
export type Subscription = {
  readonly id: string
  readonly customer: string
  readonly apiKey: string
  readonly kind: SubscriptionKind
  readonly selection: string
  readonly url: string | null
  readonly batch: number
  readonly perMinute: number | null
  readonly secret: Uint8Array
  readonly state: SubscriptionState
  readonly reason: PauseReason | null
  readonly createdMs: number
  readonly next: Place
  readonly delivered: number
  readonly spent: MicroUsd
  readonly deliveredMs: number | null
  readonly skipped: Skipped | null
  readonly failures: number
  readonly failingMs: number | null
  readonly nextTryMs: number
  readonly lastError: string | null
}

/** What a new one is made of; `request` names the order for ever, `asked` is what it said. */
export type NewSubscription = Pick<
  Subscription,
  | 'id'
  | 'customer'
  | 'apiKey'
  | 'kind'
  | 'selection'
  | 'url'
  | 'batch'
  | 'perMinute'
  | 'secret'
  | 'createdMs'
  | 'next'
> & { readonly request: string; readonly asked: string }

export type Created =
  | { readonly ok: true; readonly subscription: Subscription; readonly again: boolean }
  | { readonly ok: false; readonly reason: 'conflict' | 'full' | 'crowded' }

/** Subscriptions of one account, whatever their state. */
export const maxSubscriptions = 20

/** Subscriptions of all accounts: each is looked at when there is something new, and accounts cost nothing. */
const maxInAll = 5000

const schema = `
  CREATE TABLE IF NOT EXISTS subscription (
    id TEXT PRIMARY KEY,
    request TEXT NOT NULL UNIQUE,
    asked TEXT NOT NULL,
    customer TEXT NOT NULL REFERENCES customer (id),
    api_key TEXT NOT NULL REFERENCES api_key (id),
    kind TEXT NOT NULL CHECK (kind IN ('webhook', 'mqtt')),
    selection TEXT NOT NULL,
    url TEXT,
    batch INTEGER NOT NULL,
    per_minute INTEGER,
    secret BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'paused', 'ended')),
    reason TEXT,
    created_ms INTEGER NOT NULL,
    next_index INTEGER NOT NULL,
    next_place INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    spent INTEGER NOT NULL DEFAULT 0,
    delivered_ms INTEGER,
    skipped INTEGER NOT NULL DEFAULT 0,
    skipped_from_ms INTEGER,
    skipped_last_ms INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    failing_ms INTEGER,
    next_try_ms INTEGER NOT NULL DEFAULT 0,
    last_error TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS subscription_customer ON subscription (customer, created_ms);
  CREATE INDEX IF NOT EXISTS subscription_active ON subscription (kind) WHERE state = 'active';
`

const numberOrNull = (value: SQLOutputValue | undefined): number | null =>
  value === null || value === undefined ? null : Number(value)

const asSubscription = (row: Record<string, SQLOutputValue>): Subscription => ({
  id: row.id as string,
  customer: row.customer as string,
  apiKey: row.api_key as string,
  kind: row.kind as SubscriptionKind,
  selection: row.selection as string,
  url: row.url as string | null,
  batch: Number(row.batch),
  perMinute: numberOrNull(row.per_minute),
  secret: row.secret as Uint8Array,
  state: row.state as SubscriptionState,
  reason: row.reason as PauseReason | null,
  createdMs: Number(row.created_ms),
  next: { index: Number(row.next_index), place: Number(row.next_place) },
  delivered: Number(row.delivered),
  spent: row.spent as bigint,
  deliveredMs: numberOrNull(row.delivered_ms),
  skipped:
    row.skipped === 0n
      ? null
      : {
          readings: Number(row.skipped),
          fromMs: Number(row.skipped_from_ms),
          lastMs: Number(row.skipped_last_ms),
        },
  failures: Number(row.failures),
  failingMs: numberOrNull(row.failing_ms),
  nextTryMs: Number(row.next_try_ms),
  lastError: row.last_error as string | null,
})

/** The subscriptions in the database of the sales, so many in all. */
export const openSubscriptions = (database: DatabaseSync, mostInAll: number = maxInAll) => {
  database.exec(schema)
  const insert = database.prepare(`
    INSERT INTO subscription (id, request, asked, customer, api_key, kind, selection, url, batch, per_minute, secret,
      state, created_ms, next_index, next_place)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'active', ?, ?, ?)`)
  const byRequest = database.prepare('SELECT * FROM subscription WHERE request = ?')
  const countOf = database.prepare('SELECT count(*) AS count FROM subscription WHERE customer = ?')
  const countAll = database.prepare('SELECT count(*) AS count FROM subscription')
  const ofCustomer = database.prepare('SELECT * FROM subscription WHERE customer = ? ORDER BY created_ms, id')
  const byId = database.prepare('SELECT * FROM subscription WHERE id = ?')
  const active = database.prepare(
    "SELECT * FROM subscription WHERE kind = ? AND state = 'active' ORDER BY id",
  )
  const counts = database.prepare(
    'SELECT kind, state, count(*) AS count FROM subscription GROUP BY kind, state',
  )
  const remove = database.prepare('DELETE FROM subscription WHERE id = ? AND customer = ?')
  const setSecret = database.prepare('UPDATE subscription SET secret = ? WHERE id = ?')
  const took = database.prepare(`
    UPDATE subscription SET next_index = ?, next_place = ?, delivered = delivered + ?, spent = spent + ?,
      delivered_ms = ?, failures = 0, failing_ms = NULL, next_try_ms = ?, last_error = NULL WHERE id = ?`)
  const sold = database.prepare(
    'UPDATE subscription SET delivered = delivered + ?, spent = spent + ?, delivered_ms = ? WHERE id = ?',
  )
  const move = database.prepare(`
    UPDATE subscription SET next_index = ?1, next_place = 0, skipped = skipped + ?2,
      skipped_from_ms = CASE WHEN ?2 = 0 THEN skipped_from_ms ELSE min(coalesce(skipped_from_ms, ?3), ?3) END,
      skipped_last_ms = CASE WHEN ?2 = 0 THEN skipped_last_ms ELSE max(coalesce(skipped_last_ms, ?4), ?4) END
    WHERE id = ?5`)
  const fail = database.prepare(`
    UPDATE subscription SET failures = failures + 1, failing_ms = coalesce(failing_ms, ?), next_try_ms = ?,
      last_error = ? WHERE id = ?`)
  const stop = database.prepare(
    "UPDATE subscription SET state = ?, reason = ? WHERE id = ? AND state = 'active'",
  )
  const resume = database.prepare(`
    UPDATE subscription SET state = 'active', reason = NULL, api_key = ?, per_minute = ?, failures = 0,
      failing_ms = NULL, next_try_ms = 0, last_error = NULL WHERE id = ?`)

  const find = (id: string): Subscription | undefined => {
    const row = byId.get(id)
    return row && asSubscription(row)
  }

  return {
    find,
    /** Makes one, or gives the one that the same request made before. */
    create: (wanted: NewSubscription): Created =>
      atomically(database, (): Created => {
        const before = byRequest.get(wanted.request)
        if (before !== undefined)
          return before.asked === wanted.asked
            ? { ok: true, subscription: asSubscription(before), again: true }
            : { ok: false, reason: 'conflict' }
        if (Number(countOf.get(wanted.customer)!.count) >= maxSubscriptions)
          return { ok: false, reason: 'full' }
        if (Number(countAll.get()!.count) >= mostInAll) return { ok: false, reason: 'crowded' }
        const { id, request, asked, customer, apiKey, kind, selection, url, batch, perMinute } = wanted
        const { secret, createdMs, next } = wanted
        insert.run(
          ...[id, request, asked, customer, apiKey, kind, selection, url, batch, perMinute, secret],
          ...[createdMs, next.index, next.place],
        )
        return { ok: true, subscription: find(id)!, again: false }
      }),
    /** The one that a request made before; `conflict` where it asked for something else. */
    requested: (request: string, asked: string): Subscription | 'conflict' | undefined => {
      const before = byRequest.get(request)
      if (before === undefined) return undefined
      return before.asked === asked ? asSubscription(before) : 'conflict'
    },
    ofCustomer: (customer: string): Subscription[] => ofCustomer.all(customer).map(asSubscription),
    active: (kind: SubscriptionKind): Subscription[] => active.all(kind).map(asSubscription),
    /** How many there are of each kind and state. */
    counts: () =>
      counts.all().map(({ kind, state, count }) => ({
        kind: kind as SubscriptionKind,
        state: state as SubscriptionState,
        count: Number(count),
      })),
    /** Whether there was such a one of that customer to remove. */
    remove: (customer: string, id: string): boolean => Number(remove.run(id, customer).changes) > 0,
    setSecret: (id: string, secret: Uint8Array): void => void setSecret.run(secret, id),
    /** Its receiver has taken so many readings, paid with `price`: `next` comes next, not before `nextTryMs`. */
    took: (
      id: string,
      { next, rows, price, nowMs, nextTryMs }: Taken & { readonly next: Place; readonly nextTryMs: number },
    ): void => void took.run(next.index, next.place, rows, price, nowMs, nextTryMs, id),
    /** So many readings were handed over, of one that keeps no place. */
    sold: (id: string, { rows, price, nowMs }: Taken): void => void sold.run(rows, price, nowMs, id),
    /** Nothing before an index is wanted, or is still given: `skipped` was left out for its age. */
    move: (id: string, index: number, skipped: Skipped | undefined): void =>
      void move.run(index, skipped?.readings ?? 0, skipped?.fromMs ?? 0, skipped?.lastMs ?? 0, id),
    failed: (id: string, error: string, nowMs: number, nextTryMs: number): void =>
      void fail.run(nowMs, nextTryMs, error, id),
    pause: (id: string, reason: Exclude<PauseReason, 'gone'>): void => void stop.run('paused', reason, id),
    end: (id: string): void => void stop.run('ended', 'gone', id),
    /** Goes on where it stopped, paid by that key from now on. */
    resume: (id: string, apiKey: string, perMinute: number | null): void =>
      void resume.run(apiKey, perMinute, id),
  }
}

/** What was given, for how much, when (UTC ms). */
export type Taken = { readonly rows: number; readonly price: MicroUsd; readonly nowMs: number }

export type Subscriptions = ReturnType<typeof openSubscriptions>
