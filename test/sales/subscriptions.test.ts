import { expect, onTestFinished, test } from 'vitest'
import { openKeys } from '#gateway/sales/keys.ts'
import { openLedger, openSalesDatabase } from '#gateway/sales/ledger.ts'
import { openSubscriptions } from '#gateway/sales/subscriptions.ts'

test('there are so many subscriptions in all, whoever has them: an account costs nothing', () => {
  const database = openSalesDatabase(':memory:')
  onTestFinished(() => database.close())
  openLedger(database)
  const keys = openKeys(database)
  const book = openSubscriptions(database, 2)
  const make = (name: string) => {
    const wanted = { label: '', scopes: ['read'], budget: null, alarmPercent: null, expiresMs: null } as const
    const { key } = keys.signUp(wanted, 0)
    const made = book.create({
      ...{ id: name, request: name, asked: '{}', customer: key.customer, apiKey: key.id, kind: 'webhook' },
      ...{ selection: '{}', url: null, batch: 1, perMinute: null, secret: new Uint8Array(1), createdMs: 0 },
      next: { index: 0, place: 0 },
    })
    return { made, customer: key.customer }
  }
  const { customer } = make('a')
  expect(make('b').made.ok).toBe(true)
  expect(make('c').made).toEqual({ ok: false, reason: 'crowded' })
  book.remove(customer, 'a')
  expect(make('d').made.ok).toBe(true)
})
