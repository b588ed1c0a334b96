import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { type AccountName, type Entry, openLedger, openSalesDatabase } from '#gateway/sales/ledger.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const openOne = (path = ':memory:') => {
  const database = openSalesDatabase(path)
  onTestFinished(() => {
    if (database.isOpen) database.close()
  })
  return { database, ledger: openLedger(database) }
}

const sound = { sum: 0n, unbalanced: [], wrongBalances: [] }
const at = { timeMs: 1, memo: '' }

const move = (from: AccountName, to: AccountName, amount: bigint): Entry[] => [
  { account: from, amount: -amount },
  { account: to, amount },
]

const give = (ledger: ReturnType<typeof openLedger>, request: string, amount: bigint) =>
  ledger.post({ ...at, request, kind: 'credit', entries: move('world:test', 'customer:c', amount) })

test('money moves once for each request, and never more than there is', () => {
  const { ledger } = openOne()
  expect(give(ledger, 'one', 100n)).toEqual({ ok: true })
  expect(give(ledger, 'one', 100n)).toEqual({ ok: false, reason: 'duplicate' })
  const spend = (request: string, amount: bigint) =>
    ledger.post({ ...at, request, kind: 'sale', entries: move('customer:c', 'owner:s', amount) })
  expect(spend('two', 101n)).toEqual({ ok: false, reason: 'insufficient', balance: 100n })
  expect(spend('two', 60n)).toEqual({ ok: true })
  expect([ledger.balance('customer:c'), ledger.balance('owner:s'), ledger.balance('world:test')]).toEqual([
    40n,
    60n,
    -100n,
  ])
  expect(ledger.audit()).toEqual(sound)
})

test('entries that do not add up to zero are a mistake of ours, and change nothing', () => {
  const { ledger } = openOne()
  const entries: Entry[] = [{ account: 'customer:c', amount: 5n }]
  expect(() => ledger.post({ ...at, request: 'x', kind: 'credit', entries })).toThrow(RangeError)
  expect(ledger.balance('customer:c')).toBe(0n)
  expect(give(ledger, 'x', 1n)).toEqual({ ok: true })
})

test('a posting whose other work fails leaves nothing behind', () => {
  const { ledger } = openOne()
  const entries = move('world:test', 'customer:c', 5n)
  expect(ledger.post({ ...at, request: 'x', kind: 'credit', entries }, () => false)).toEqual({
    ok: false,
    reason: 'undone',
  })
  expect(ledger.balance('customer:c')).toBe(0n)
  expect([...ledger.lines()]).toEqual([])
})

test('a hold is captured for what was delivered, and the rest goes back', () => {
  const { ledger } = openOne()
  give(ledger, 'one', 100n)
  const hold = { id: 'h', account: 'customer:c', amount: 80n, ...at } as const
  expect(ledger.hold(hold)).toEqual({ ok: true })
  expect(ledger.hold(hold)).toEqual({ ok: false, reason: 'duplicate' })
  expect(ledger.balance('customer:c')).toBe(20n)
  expect(() => ledger.capture('h', [{ account: 'owner:s', amount: 81n }], at)).toThrow(RangeError)
  expect(ledger.capture('h', [{ account: 'owner:s', amount: 30n }], at)).toEqual({ ok: true })
  expect(ledger.capture('h', [{ account: 'owner:s', amount: 30n }], at)).toEqual({
    ok: false,
    reason: 'duplicate',
  })
  expect(ledger.release('h', at)).toEqual({ ok: false, reason: 'duplicate' })
  expect([ledger.balance('customer:c'), ledger.balance('owner:s')]).toEqual([70n, 30n])
  expect(ledger.openHolds(2)).toEqual([])
  expect(ledger.audit()).toEqual(sound)
})

test('any order of credits, holds, captures, releases and restarts keeps the books sound', () => {
  const path = join(temporaryDirectory(), 'sales.sqlite')
  const step = fc.record({
    what: fc.constantFrom('credit', 'hold', 'capture', 'release', 'reopen'),
    name: fc.nat(5),
    amount: fc.bigInt({ min: 1n, max: 50n }),
  })
  let run = 0
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let { database, ledger } = openOne(path)
      run++
      for (const { what, name, amount } of steps) {
        const id = `${run}-${name}`
        if (what === 'credit') give(ledger, id, amount)
        if (what === 'hold') ledger.hold({ id, account: 'customer:c', amount, ...at })
        const there = ledger.holdOf(id)
        if (what === 'capture' && there)
          ledger.capture(id, [{ account: 'owner:s', amount: there.amount / 2n }], at)
        if (what === 'release' && there) ledger.release(id, at)
        if (what === 'reopen') {
          database.close()
          ;({ database, ledger } = openOne(path))
        }
      }
      expect(ledger.audit()).toEqual(sound)
      database.close()
    }),
    { numRuns: 25 },
  )
})

test('the audit sees a balance and a posting that were changed behind its back', () => {
  const { database, ledger } = openOne()
  give(ledger, 'one', 100n)
  database.exec("UPDATE account SET balance = 99 WHERE name = 'customer:c'")
  expect(ledger.audit()).toEqual({ sum: -1n, unbalanced: [], wrongBalances: ['customer:c'] })
  database.exec("UPDATE entry SET amount = 99 WHERE account = 'customer:c'")
  expect(ledger.audit().unbalanced).toEqual(['one'])
})

test('lines are read in pages, every one once and in order', () => {
  const { ledger } = openOne()
  for (let at = 0; at < 300; at++) give(ledger, `r${at}`, 1n)
  const lines = [...ledger.lines(7)]
  expect(lines.map(({ request }) => request)).toEqual(
    Array.from({ length: 600 }, (_, at) => `r${Math.floor(at / 2)}`),
  )
  expect(ledger.entriesOf('customer:c', 2).map(({ request }) => request)).toEqual(['r299', 'r298'])
})
