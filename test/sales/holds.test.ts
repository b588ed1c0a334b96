import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { openHolds } from '#gateway/sales/holds.ts'
import { openKeys } from '#gateway/sales/keys.ts'
import { openLedger, openSalesDatabase } from '#gateway/sales/ledger.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const at = { timeMs: 1, memo: '' }
const sound = { sum: 0n, unbalanced: [], wrongBalances: [] }
const account = 'customer:c'

const openOne = (path = ':memory:') => {
  const database = openSalesDatabase(path)
  onTestFinished(() => {
    if (database.isOpen) database.close()
  })
  const ledger = openLedger(database)
  const keys = openKeys(database)
  const holds = openHolds(database, ledger, keys)
  const give = (request: string, amount: bigint) =>
    ledger.post({
      ...at,
      request,
      kind: 'credit',
      entries: [
        { account: 'world:test', amount: -amount },
        { account, amount },
      ],
    })
  const newKey = (budget: bigint | null) =>
    keys.signUp({ label: '', scopes: ['read'], budget, alarmPercent: null, expiresMs: null }, 1).key.id
  return { database, ledger, keys, holds, give, newKey }
}

const toOwner = (amount: bigint) => [{ account: 'owner:s', amount }] as const

test('a hold is captured for what was delivered, and the rest goes back; once', () => {
  const { ledger, holds, give } = openOne()
  give('one', 100n)
  const wanted = { id: 'h', account, apiKey: null, most: 80n, least: 80n } as const
  expect(holds.take(wanted, at)).toEqual({ ok: true, amount: 80n })
  expect(() => holds.take(wanted, at)).toThrow('there was a hold h before')
  expect(ledger.balance(account)).toBe(20n)
  expect(() => holds.capture('h', toOwner(81n), at)).toThrow(RangeError)
  expect(() => holds.capture('h', toOwner(-1n), at)).toThrow(RangeError)
  expect(holds.capture('h', toOwner(30n), at)).toEqual({})
  expect(holds.capture('h', toOwner(30n), at)).toBeUndefined()
  expect(holds.release('h', at)).toBe(false)
  expect(() => holds.release('other', at)).toThrow('there is no hold other')
  expect([ledger.balance(account), ledger.balance('owner:s')]).toEqual([70n, 30n])
  expect(holds.holdOf('h')?.state).toBe('captured')
  expect(ledger.audit()).toEqual(sound)
})

test('a hold takes what there is, of credit and of the budget, or says which of them is too little', () => {
  const { ledger, keys, holds, give, newKey } = openOne()
  give('one', 100n)
  const apiKey = newKey(30n)
  const wanted = { account, apiKey, most: 1000n } as const
  expect(holds.take({ ...wanted, id: 'a', least: 101n }, at)).toEqual({
    ok: false,
    reason: 'insufficient',
    left: 100n,
  })
  expect(holds.take({ ...wanted, id: 'b', least: 31n }, at)).toEqual({
    ok: false,
    reason: 'budget',
    left: 30n,
  })
  expect(holds.take({ ...wanted, id: 'c', least: 30n }, at)).toEqual({ ok: true, amount: 30n })
  expect([keys.left(apiKey), ledger.balance(account)]).toEqual([0n, 70n])
  expect(holds.take({ ...wanted, apiKey: null, id: 'd', least: 1n }, at)).toEqual({ ok: true, amount: 70n })
  expect(ledger.audit()).toEqual(sound)
  // What is given back of a hold is given back to the budget too.
  holds.capture('c', toOwner(10n), at)
  expect([keys.left(apiKey), ledger.balance(account)]).toEqual([20n, 20n])
  holds.release('d', at)
  expect([keys.left(apiKey), ledger.balance(account)]).toEqual([20n, 90n])
})

test('the next hold is taken with the capture of the last, and a capture stands where there is none', () => {
  const { ledger, keys, holds, give, newKey } = openOne()
  give('one', 100n)
  const apiKey = newKey(100n)
  const wanted = { account, apiKey, most: 60n } as const
  holds.take({ ...wanted, id: 'a', least: 60n }, at)
  const next = { ...wanted, id: 'b', least: 50n } as const
  expect(holds.capture('a', toOwner(45n), at, { next })).toEqual({ next: { ok: true, amount: 55n } })
  const last = { ...wanted, id: 'c', least: 50n } as const
  expect(holds.capture('b', toOwner(45n), at, { next: last })).toEqual({
    next: { ok: false, reason: 'insufficient', left: 10n },
  })
  expect([ledger.balance(account), ledger.balance('owner:s'), keys.left(apiKey)]).toEqual([10n, 90n, 10n])
  expect(ledger.audit()).toEqual(sound)
})

test('what belongs to a capture and fails undoes it', () => {
  const { ledger, keys, holds, give, newKey } = openOne()
  give('one', 100n)
  const apiKey = newKey(100n)
  holds.take({ id: 'a', account, apiKey, most: 60n, least: 60n }, at)
  const also = (): void => {
    throw new Error('the disk is full')
  }
  expect(() => holds.capture('a', toOwner(45n), at, { also })).toThrow('the disk is full')
  expect([ledger.balance(account), keys.left(apiKey), holds.holdOf('a')?.state]).toEqual([40n, 40n, 'open'])
  expect(ledger.audit()).toEqual(sound)
})

test('any order of credits, holds, captures, releases and restarts keeps the books sound', () => {
  const path = join(temporaryDirectory(), 'sales.sqlite')
  const step = fc.record({
    what: fc.constantFrom('credit', 'hold', 'capture', 'release', 'reopen', 'release all'),
    name: fc.nat(5),
    amount: fc.bigInt({ min: 1n, max: 50n }),
  })
  let run = 0
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let world = openOne(path)
      run++
      const apiKey = world.newKey(100n)
      let paid = 0n
      for (const { what, name, amount } of steps) {
        const id = `${run}-${name}`
        const { holds, give } = world
        const there = holds.holdOf(id)
        if (what === 'credit') give(id, amount)
        if (what === 'hold' && there === undefined)
          holds.take({ id, account, apiKey, most: amount, least: amount / 2n + 1n }, at)
        if (what === 'capture' && there && holds.capture(id, toOwner(there.amount / 2n), at))
          paid += there.amount / 2n
        if (what === 'release' && there) holds.release(id, at)
        if (what === 'release all') holds.releaseAll(at)
        if (what === 'reopen') {
          world.database.close()
          world = openOne(path)
        }
      }
      expect(world.ledger.audit()).toEqual(sound)
      world.holds.releaseAll(at)
      expect(world.keys.left(apiKey)).toBe(100n - paid)
      expect(world.ledger.balance('held:queries')).toBe(0n)
      expect(world.ledger.audit()).toEqual(sound)
      world.database.close()
    }),
    { numRuns: 25 },
  )
})

test('books from before holds named their key are opened, and hold', () => {
  const path = join(temporaryDirectory(), 'sales.sqlite')
  const old = new DatabaseSync(path)
  old.exec(`
    CREATE TABLE account (name TEXT PRIMARY KEY, balance INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE hold (
      id TEXT PRIMARY KEY,
      account TEXT NOT NULL REFERENCES account (name),
      amount INTEGER NOT NULL CHECK (amount > 0),
      state TEXT NOT NULL CHECK (state IN ('open', 'captured', 'released')),
      opened_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;`)
  old.close()
  openOne(path).database.close()
  const { holds, give, newKey } = openOne(path)
  give('one', 10n)
  const apiKey = newKey(null)
  expect(holds.take({ id: 'a', account, apiKey, most: 5n, least: 5n }, at)).toEqual({ ok: true, amount: 5n })
  expect(holds.holdOf('a')?.apiKey).toBe(apiKey)
})
