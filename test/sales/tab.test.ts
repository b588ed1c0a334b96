import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { OpenTab, WantedTab } from '#gateway/market/tab.ts'
import { verifyJws } from '#gateway/reading/jws.ts'
import { verifySale } from '#gateway/reading/sale.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const network = 'testnet'
const hub = newSigner()
const startMs = Date.UTC(2026, 10, 21, 11)
const station = 'aa'.repeat(16)
const other = 'bb'.repeat(16)

/** A row of so many fresh values of the best tier: 10 micro-USD each. */
const row = (values: number, timeMs: number, from = station) => ({
  station: from,
  sensor: 's',
  model: 'm',
  time: new Date(timeMs).toISOString(),
  values: Object.fromEntries(Array.from({ length: values }, (_, at) => [`v${at}`, 1])),
  quality: { score: 1, flags: [], rules: '1' },
  proof: { status: 'pending', seq: 1, place: 0 } as const,
})

const openShop = (path = join(temporaryDirectory(), 'sales.sqlite'), clock = { nowMs: startMs }) => {
  const selling = openSelling({
    path,
    network,
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 0n,
    nowMs: () => clock.nowMs,
  })
  let closed = false
  const close = (): void => {
    const open = !closed
    closed = true
    if (open) selling[Symbol.dispose]()
  }
  onTestFinished(close)
  const { till } = selling
  const { sales } = till
  const signUp = (credit: bigint, wanted: { budget?: bigint; expiresMs?: number } = {}) => {
    const { budget = null, expiresMs = null } = wanted
    const { key } = till.signUp({ label: '', scopes: ['read'], budget, alarmPercent: null, expiresMs })
    const { customer } = key
    if (credit > 0n) sales.credit(`test:${customer}`, 'manual', customer, credit, 'a test')
    const spent = (): bigint => sales.keys.list(customer)[0]!.spent
    return { id: key.id, customer, spent, credit: () => sales.ledger.balance(`customer:${customer}`) }
  }
  const open = (apiKey: string, wanted: Partial<WantedTab> = {}): OpenTab => {
    const opened = till.openTab({
      name: `tab of ${apiKey}`,
      apiKey,
      asked: 'stream {}',
      scopeOf: ({ stations, fromMs, lastMs }) =>
        JSON.stringify({ stations: [...stations], fromMs, toMs: lastMs + 1 }),
      afford: true,
      ...wanted,
    })
    if (!opened.ok) return expect.fail(opened.fault.slug)
    return opened.tab
  }
  const isSound = (): void =>
    expect(sales.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
  return { till, sales, clock, signUp, open, close, path, isSound }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

test('a tab charges what was delivered, pays its owners and gives a receipt that binds it', () => {
  const { sales, signUp, open, clock, isSound } = openShop()
  const buyer = signUp(100_000n)
  const tab = open(buyer.id)
  expect(tab.deliver([row(3, startMs - 5000)], 'one\n')).toEqual({ ok: true })
  expect(tab.deliver([row(2, startMs - 4000, other), row(1, startMs - 9000)], 'two\n')).toEqual({ ok: true })
  // While it goes on, money is held out of credit and budget.
  expect(buyer.credit()).toBe(100_000n - 1_100n)
  expect(buyer.spent()).toBe(1_100n)
  clock.nowMs += 59_999
  expect(tab.deliver([], '')).toEqual({ ok: true })
  clock.nowMs += 1
  const statement = tab.deliver([], '').statement!
  expect(statement).toMatchObject({
    rows: 3,
    priceMicroUsd: 160,
    totalMicroUsd: 160,
    creditsRemaining: 99_840,
    budgetRemaining: null,
  })
  expect([buyer.credit(), buyer.spent()]).toEqual([99_840n, 160n])
  expect(sales.ledger.balance(`owner:${station}`)).toBe(34n)
  expect(sales.ledger.balance(`owner:${other}`)).toBe(17n)
  expect(sales.ledger.balance('hub:income')).toBe(109n)
  const sale = sales.sale(buyer.customer, statement.receipt!)!
  expect(sale).toMatchObject({ state: 'delivered', rows: 3, priceMicroUsd: 160n })
  expect(JSON.parse(sale.scope)).toEqual({
    stations: [station, other],
    fromMs: startMs - 9000,
    toMs: startMs - 3999,
  })
  const verified = verifySale(sale.receipt, network, hub.publicKey)
  if (!verified.ok) return expect.fail(verified.detail)
  expect(verified.sale).toMatchObject({
    id: sale.id,
    rows: 3,
    values: 6,
    priceMicroUsd: 160,
    rail: 'credits',
    shares: [
      { station, microUsd: 34 },
      { station: other, microUsd: 17 },
    ],
  })
  expect(hex(verified.sale.response)).toBe(sha256('one\ntwo\n'))
  expect(hex(verified.sale.query)).toBe(sha256('stream {}'))
  expect(verifyJws('groundtruth-sale+jwt', sale.jws, hub.publicKey)).toMatchObject({
    response: sha256('one\ntwo\n'),
  })
  isSound()
})

test('the base is paid once for each name, also by a tab that is opened again', () => {
  const { signUp, open, clock, isSound } = openShop()
  const buyer = signUp(100_000n)
  const tab = open(buyer.id)
  tab.deliver([row(1, startMs)], 'a')
  clock.nowMs += 60_000
  // The next row is what finds the segment to be due.
  expect(tab.deliver([row(1, clock.nowMs)], 'b').statement?.priceMicroUsd).toBe(110)
  expect(tab.close()).toMatchObject({ priceMicroUsd: 10, totalMicroUsd: 120 })
  const again = open(buyer.id)
  again.deliver([row(1, clock.nowMs)], 'c')
  expect(again.close()).toMatchObject({ priceMicroUsd: 10, totalMicroUsd: 10 })
  const another = open(buyer.id, { name: 'another' })
  another.deliver([row(1, clock.nowMs)], 'd')
  expect(another.close()?.priceMicroUsd).toBe(110)
  expect(buyer.credit()).toBe(100_000n - 240n)
  isSound()
})

test('two tabs of one name at once pay one base', () => {
  const { signUp, open, isSound } = openShop()
  const buyer = signUp(100_000n)
  const tabs = [open(buyer.id), open(buyer.id)]
  for (const tab of tabs) tab.deliver([row(1, startMs)], 'a')
  expect(tabs.map((tab) => tab.close()?.priceMicroUsd)).toEqual([110, 10])
  expect(buyer.credit()).toBe(100_000n - 120n)
  isSound()
})

test('what is held is used up before its time: a receipt, and more is held for a busy tab', () => {
  const { signUp, open, isSound } = openShop()
  const buyer = signUp(1_000_000n)
  const tab = open(buyer.id)
  const receipts: number[] = []
  for (let at = 0; at < 1000; at++) {
    const paid = tab.deliver([row(1, startMs)], `${at}`)
    expect(paid.ok).toBe(true)
    if (paid.statement) receipts.push(paid.statement.rows)
  }
  receipts.push(tab.close()!.rows)
  expect(receipts).toEqual([100, 220, 440, 240])
  expect(buyer.credit()).toBe(1_000_000n - 10_100n)
  isSound()
})

test('rows that cost more than is held at first are held for whole', () => {
  const { signUp, open } = openShop()
  const buyer = signUp(100_000n)
  const tab = open(buyer.id)
  const many = Array.from({ length: 300 }, () => row(1, startMs))
  expect(tab.deliver(many, 'a')).toEqual({ ok: true })
  expect(tab.deliver(many, 'b')).toMatchObject({ ok: true, statement: { rows: 300, priceMicroUsd: 3_100 } })
  expect(tab.close()).toMatchObject({ rows: 300, priceMicroUsd: 3_000 })
})

test('where credit ends, the last rows are not delivered, all before are paid, and more credit goes on', () => {
  const { till, sales, signUp, open, isSound } = openShop()
  const buyer = signUp(135n)
  const tab = open(buyer.id)
  for (const text of ['a', 'b', 'c']) expect(tab.deliver([row(1, startMs)], text)).toEqual({ ok: true })
  const refused = tab.deliver([row(1, startMs)], 'd')
  expect(refused).toMatchObject({
    ok: false,
    statement: { rows: 3, priceMicroUsd: 130, creditsRemaining: 5 },
    fault: { slug: 'credit-exhausted', payment: { priceMicroUsd: 10, balanceMicroUsd: 5 } },
  })
  expect(buyer.credit()).toBe(5n)
  sales.credit('more', 'manual', buyer.customer, 100n, 'a test')
  expect(tab.deliver([row(1, startMs)], 'd')).toEqual({ ok: true })
  expect(tab.close()).toMatchObject({ rows: 1, priceMicroUsd: 10, creditsRemaining: 95 })
  const poor = signUp(109n)
  expect(
    till.openTab({ name: 'p', apiKey: poor.id, asked: '', scopeOf: () => 'null', afford: true }),
  ).toMatchObject({
    ok: false,
    fault: { slug: 'credit-exhausted', payment: { priceMicroUsd: 110, balanceMicroUsd: 109 } },
  })
  isSound()
})

test('a tab spends no more than the budget of its key, whatever credit there is', () => {
  const { till, signUp, open, isSound } = openShop()
  const buyer = signUp(100_000n, { budget: 125n })
  const tab = open(buyer.id)
  for (const text of ['a', 'b']) expect(tab.deliver([row(1, startMs)], text)).toEqual({ ok: true })
  expect(tab.deliver([row(1, startMs)], 'c')).toMatchObject({
    ok: false,
    statement: { rows: 2, priceMicroUsd: 120, budgetRemaining: 5 },
    fault: { slug: 'budget-exhausted' },
  })
  expect([buyer.spent(), buyer.credit()]).toEqual([120n, 99_880n])
  expect(
    till.openTab({ name: 'x', apiKey: buyer.id, asked: '', scopeOf: () => 'null', afford: true }),
  ).toMatchObject({ ok: false, fault: { slug: 'budget-exhausted' } })
  isSound()
})

test.each(['revoked', 'expired'])('a key that is %s ends its tab; what it had delivered is paid', (how) => {
  const { till, sales, signUp, open, clock, isSound } = openShop()
  const buyer = signUp(100_000n, { expiresMs: startMs + 10_000 })
  const tab = open(buyer.id)
  tab.deliver([row(1, startMs)], 'a')
  if (how === 'revoked') sales.keys.revoke(buyer.customer, buyer.id, startMs)
  else clock.nowMs += 10_000
  expect(tab.deliver([row(1, startMs)], 'b')).toMatchObject({
    ok: false,
    fault: { slug: 'key-invalid', detail: `this key ${how === 'revoked' ? 'was revoked' : 'has expired'}` },
  })
  expect(tab.close()).toMatchObject({ rows: 1, priceMicroUsd: 110 })
  expect([buyer.spent(), buyer.credit()]).toEqual([110n, 99_890n])
  expect(
    till.openTab({ name: 'x', apiKey: buyer.id, asked: '', scopeOf: () => 'null', afford: false }),
  ).toMatchObject({ ok: false, fault: { slug: 'key-invalid' } })
  isSound()
})

test('readings of one’s own cost nothing on a tab, need no credit, and stand in the receipt with what is paid', () => {
  const { sales, signUp, open, clock, isSound } = openShop()
  const owner = signUp(0n)
  sales.keys.own(owner.customer, station)
  const tab = open(owner.id, { afford: false })
  expect(tab.deliver([row(5, startMs)], 'a')).toEqual({ ok: true })
  clock.nowMs += 60_000
  expect(tab.deliver([], '').statement).toEqual({
    receipt: null,
    rows: 1,
    priceMicroUsd: 0,
    totalMicroUsd: 0,
    creditsRemaining: 0,
    budgetRemaining: null,
  })
  expect(sales.list(owner.customer, 10)).toEqual([])
  expect(tab.deliver([row(5, startMs)], 'b')).toEqual({ ok: true })
  expect(tab.deliver([row(5, startMs, other)], 'c')).toMatchObject({ ok: false })
  sales.credit('more', 'manual', owner.customer, 1000n, 'a test')
  expect(tab.deliver([row(5, clock.nowMs, other)], 'c')).toEqual({ ok: true })
  const statement = tab.close()!
  expect(statement).toMatchObject({ rows: 2, priceMicroUsd: 150 })
  const verified = verifySale(sales.sale(owner.customer, statement.receipt!)!.receipt, network, hub.publicKey)
  expect(verified.ok && hex(verified.sale.response)).toBe(sha256('bc'))
  isSound()
})

test('books that close settle every tab; what was held when a hub died is given back', () => {
  const first = openShop()
  const buyer = first.signUp(100_000n, { budget: 5_000n })
  first.open(buyer.id).deliver([row(1, startMs)], 'a')
  first.close()

  const second = openShop(first.path)
  const { sales } = second
  const balance = (): bigint => sales.ledger.balance(`customer:${buyer.customer}`)
  expect(balance()).toBe(99_890n)
  expect(sales.list(buyer.customer, 10)).toHaveLength(1)
  second.open(buyer.id).deliver([row(1, startMs)], 'b')
  expect(balance()).toBe(98_790n)

  // As if the hub had died here: the file is opened by the next one, and nothing was settled.
  const third = openShop(first.path)
  expect(balance()).toBe(99_890n)
  expect(third.sales.keys.list(buyer.customer)[0]?.spent).toBe(110n)
  expect(third.sales.list(buyer.customer, 10)).toHaveLength(1)
  third.isSound()
  // The tab of the dead one cannot settle any more: nobody is charged for what was given back.
  expect(() => second.close()).toThrow('was ended behind the back of tab')
  expect(balance).toThrow()
  third.isSound()
})

test('a segment ends with as many rows as a receipt can hold', () => {
  const { signUp, open } = openShop()
  const buyer = signUp(1_000_000n)
  const tab = open(buyer.id)
  const many = Array.from({ length: 6_000 }, () => row(0, startMs))
  expect(tab.deliver(many, 'a')).toEqual({ ok: true })
  expect(tab.deliver(many, 'b').statement?.rows).toBe(6_000)
  expect(() =>
    tab.deliver(
      Array.from({ length: 10_001 }, () => row(0, startMs)),
      'c',
    ),
  ).toThrow(RangeError)
})

test('a closed tab takes nothing more', () => {
  const { signUp, open } = openShop()
  const tab = open(signUp(1_000n).id)
  expect(tab.close()).toBeUndefined()
  expect(tab.close()).toBeUndefined()
  expect(() => tab.deliver([row(1, startMs)], 'a')).toThrow('is closed')
})
