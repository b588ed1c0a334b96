import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import { start } from '#test/kill/process.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const run = async (...args: string[]) => {
  const running = start(args, {})
  const code = await new Promise<number | null>((resolve) => running.child.once('close', resolve))
  return { code, said: running.said() }
}

/** Books that stay open beside the commands, as a running hub's do, and an account in them. */
const openHub = () => {
  const data = temporaryDirectory()
  mkdirSync(join(data, 'hub'))
  const path = join(data, 'hub', 'sales.sqlite')
  const selling = openSelling({
    path,
    network: 'testnet',
    hub: newSigner(),
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 0n,
    nowMs: Date.now,
  })
  onTestFinished(() => selling[Symbol.dispose]())
  const { sales, signUp } = selling.till
  const { customer } = signUp({
    label: '',
    scopes: ['read'],
    budget: null,
    alarmPercent: null,
    expiresMs: null,
  }).key
  const market = (...args: string[]) => run('market', ...args, '--data', data)
  return { path, sales, customer, market, credit: () => sales.ledger.balance(`customer:${customer}`) }
}

test('an operator gives credit beside a running hub, once for each request', async () => {
  const { market, customer, credit } = openHub()
  const give = (usd: string, ...more: string[]) =>
    market('credit', customer, usd, '--memo', 'invoice 7', ...more)
  expect(await give('25.5', '--request', 'invoice-7')).toMatchObject({
    code: 0,
    said: `25.500000 USD credited, ${customer} has 25.500000 USD\n`,
  })
  const again = await give('25.5', '--request', 'invoice-7', '--json')
  expect([again.code, JSON.parse(again.said)]).toMatchObject([
    0,
    { credited: false, balanceMicroUsd: 25_500_000 },
  ])
  expect(await give('30', '--request', 'invoice-7')).toMatchObject({ code: 1 })
  expect(credit()).toBe(25_500_000n)
  await give('1')
  await give('1')
  expect(credit()).toBe(27_500_000n)
})

test('a wrong amount, account or place gives nothing, and says what to do', async () => {
  const { market, customer, credit } = openHub()
  for (const usd of ['0', 'x', '1.0000001'])
    expect(await market('credit', customer, usd, '--memo', 'm')).toMatchObject({ code: 64 })
  expect(await market('credit', customer, '1')).toMatchObject({ code: 64 })
  expect(await market('credit', 'nobody', '1', '--memo', 'm')).toMatchObject({
    code: 1,
    said: expect.stringContaining('groundtruth market accounts'),
  })
  expect(credit()).toBe(0n)
  expect(await run('market', 'audit', '--data', temporaryDirectory())).toMatchObject({
    code: 78,
    said: expect.stringContaining('--data DIR'),
  })
})

test('the ledger is printed whole, and its CSV holds no formula', async () => {
  const { market, customer, sales } = openHub()
  sales.credit('one', 'manual', customer, 5n, '=1+1,"x"')
  const csv = (await market('ledger', '--csv')).said.split('\r\n')
  expect(csv[0]).toBe('posting,time,kind,request,account,amountMicroUsd,memo')
  expect(csv[1]).toContain(`,credit,one,world:manual,-5,"'=1+1,""x"""`)
  expect(csv[2]).toContain(`,customer:${customer},5,`)
  const lines = (await market('ledger', '--json')).said.trim().split('\n')
  expect(lines.map((line) => (JSON.parse(line) as { amountMicroUsd: number }).amountMicroUsd)).toEqual([
    -5, 5,
  ])
  expect((await market('ledger')).said).toContain(`customer:${customer}`)
  expect(await market('ledger', '--csv', '--json')).toMatchObject({ code: 64 })
})

test('the audit ends with 1 where an entry is missing, and names it; accounts are listed', async () => {
  const { market, customer, sales, path } = openHub()
  expect((await market('accounts')).said).toContain(`0.000000  customer:${customer}`)
  sales.credit('one', 'manual', customer, 5n, '')
  expect(JSON.parse((await market('accounts', '--json')).said)).toEqual({
    accounts: [
      { account: `customer:${customer}`, balanceMicroUsd: 5 },
      { account: 'world:manual', balanceMicroUsd: -5 },
    ],
  })
  expect(await market('audit')).toEqual({ code: 0, said: 'the books add up\n' })
  using database = new DatabaseSync(path)
  database.exec('DELETE FROM entry WHERE amount = 5')
  const found = await market('audit')
  expect(found.code).toBe(1)
  expect(found.said).toContain('the entries of one do not add up')
  expect(found.said).toContain(`the balance of customer:${customer}`)
  const json = await market('audit', '--json')
  expect([json.code, JSON.parse(json.said)]).toMatchObject([1, { ok: false, unbalanced: ['one'] }])
})
