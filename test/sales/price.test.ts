import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseUsd, usdText } from '#gateway/sales/money.ts'
import { defaultPrices, type PricedRow, priceOf, sharesOf } from '#gateway/sales/price.ts'

const list = defaultPrices
const asListed = () => 1000
const row = (more: Partial<PricedRow> = {}): PricedRow => ({
  station: 'a',
  values: 3,
  ageMs: 0,
  score: 1,
  ...more,
})

test('a fresh row of three good values costs three values, and the query its base', () => {
  expect(priceOf(list, [row()], asListed)).toEqual({
    totalMicroUsd: 130n,
    baseMicroUsd: 100n,
    rows: 1,
    values: 3,
    byStation: new Map([['a', 30n]]),
  })
})

test.each([
  ['older than a quarter of an hour', row({ ageMs: 3_600_000 }), 15n],
  ['of a month ago', row({ ageMs: 31 * 86_400_000 }), 8n],
  ['scored as doubtful', row({ score: 0.6 }), 15n],
  ['scored below any tier', row({ score: 0.4 }), 0n],
  ['without a value', row({ values: 0 }), 0n],
  ['of an interval', { station: 'a', values: 3, ageMs: 0 }, 15n],
])('a row %s', (_, one, expected) => {
  const { byStation, totalMicroUsd } = priceOf(list, [one], asListed)
  expect(byStation.get('a') ?? 0n).toBe(expected)
  // Nothing worth paying for: no base either.
  expect(totalMicroUsd).toBe(expected === 0n ? 0n : expected + 100n)
})

test('the owner sets a factor, and an owner’s own rows are free', () => {
  const rows = [row(), row({ station: 'b' })]
  const factor = (station: string) => (station === 'b' ? 2500 : 1000)
  expect(priceOf(list, rows, factor).byStation).toEqual(
    new Map([
      ['a', 30n],
      ['b', 75n],
    ]),
  )
  expect(priceOf(list, rows, factor, new Set(['b'])).totalMicroUsd).toBe(130n)
  expect(priceOf(list, rows, factor, new Set(['a', 'b'])).totalMicroUsd).toBe(0n)
})

const anyRow = fc.record({
  station: fc.constantFrom('a', 'b', 'c'),
  values: fc.nat(16),
  ageMs: fc.nat(90 * 86_400_000),
  score: fc.double({ min: 0, max: 1, noNaN: true }),
})

test('more rows never cost less, parts never cost less than the whole, and shares never more than was paid', () => {
  fc.assert(
    fc.property(fc.array(anyRow, { maxLength: 40 }), fc.nat(40), fc.nat(100_000), (rows, cut, offered) => {
      const whole = priceOf(list, rows, asListed)
      const first = priceOf(list, rows.slice(0, cut), asListed)
      const rest = priceOf(list, rows.slice(cut), asListed)
      expect(first.totalMicroUsd <= whole.totalMicroUsd).toBe(true)
      expect(first.totalMicroUsd + rest.totalMicroUsd >= whole.totalMicroUsd).toBe(true)
      const sum = [...whole.byStation.values()].reduce((total, one) => total + one, whole.baseMicroUsd)
      expect(sum).toBe(whole.totalMicroUsd)
      const paid = BigInt(offered) < whole.totalMicroUsd ? BigInt(offered) : whole.totalMicroUsd
      const shared = [...sharesOf(list, whole, paid).values()].reduce((total, one) => total + one, 0n)
      expect(shared <= paid && shared >= 0n).toBe(true)
    }),
  )
})

test('money as text is exact both ways', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 999_999_999_999_999n }), (amount) => {
      expect(parseUsd(usdText(amount))).toBe(amount)
    }),
  )
  expect(parseUsd('1.5')).toBe(1_500_000n)
  for (const wrong of ['', '-1', '1.', '1.0000001', '1e3', '9999999999'])
    expect(parseUsd(wrong)).toBeUndefined()
})
