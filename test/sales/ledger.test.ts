import { expect, onTestFinished, test } from 'vitest'
import { type AccountName, type Entry, openLedger, openSalesDatabase } from '#gateway/sales/ledger.ts'

const openOne = () => {
  const database = openSalesDatabase(':memory:')
  onTestFinished(() => database.close())
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

test('several postings and what belongs to them are made together, or not at all', () => {
  const { database, ledger } = openOne()
  const both = (last: bigint, kept: boolean) =>
    ledger.together((post) => {
      post({ ...at, request: 'a', kind: 'credit', entries: move('world:test', 'customer:c', 5n) })
      post({ ...at, request: 'b', kind: 'sale', entries: move('customer:c', 'owner:s', last) })
      database.exec("INSERT INTO account VALUES ('hub:note', 0)")
      return kept
    })
  const names = () => ledger.accounts().map(({ account }) => account)
  expect(both(6n, true)).toEqual({ ok: false, reason: 'insufficient', balance: 5n })
  expect(both(5n, false)).toEqual({ ok: false, reason: 'undone' })
  expect(names()).toEqual([])
  expect(both(5n, true)).toEqual({ ok: true })
  expect(names()).toEqual(['customer:c', 'hub:note', 'owner:s', 'world:test'])
  expect(ledger.balance('owner:s')).toBe(5n)
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
