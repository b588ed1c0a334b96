/** `groundtruth market credit | ledger | audit | accounts`: the books of a hub, which may be running. */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ConfigError } from '../config.ts'
import { exitCodes } from '../exit.ts'
import type { SharedOptions } from '../main.ts'
import { openKeys } from '../sales/keys.ts'
import { type AccountName, type Line, openLedger, openSalesDatabase } from '../sales/ledger.ts'
import { parseUsd, usdText } from '../sales/money.ts'
import { configured } from './running.ts'

type AsJson = SharedOptions & { readonly json: boolean }

const openBooks = (options: SharedOptions) => {
  const path = join(configured(options).data, 'hub', 'sales.sqlite')
  if (!existsSync(path))
    throw new ConfigError(
      `there are no books at ${path}.\nGive the hub's directory with --data DIR; a hub has books where hub.market.sell is true.`,
    )
  const database = openSalesDatabase(path)
  return {
    ledger: openLedger(database),
    keys: openKeys(database),
    [Symbol.dispose]: () => database.close(),
  }
}

const failed = (message: string, code: number = exitCodes.failed): void => {
  process.stderr.write(`${message}\n`)
  process.exitCode = code
}

const longestMemo = 200

/** Posts a credit that an operator gives. The same request again does nothing; for another credit it fails. */
export const credit = async (
  account: string,
  usd: string,
  options: AsJson & { readonly memo: string; readonly request?: string },
): Promise<void> => {
  const amount = parseUsd(usd)
  if (amount === undefined || amount === 0n)
    return failed(`${JSON.stringify(usd)} is no amount: give dollars above 0, as 25 or 0.50`, exitCodes.usage)
  if (options.memo.length > longestMemo)
    return failed(`the memo is longer than ${longestMemo} characters`, exitCodes.usage)
  using books = openBooks(options)
  const { ledger, keys } = books
  if (!keys.hasCustomer(account))
    return failed(`there is no account ${JSON.stringify(account)}; "groundtruth market accounts" lists them`)
  const name: AccountName = `customer:${account}`
  const request = `manual:${options.request ?? randomUUID()}`
  const posted = ledger.post({
    request,
    kind: 'credit',
    timeMs: Date.now(),
    memo: options.memo,
    entries: [
      { account: 'world:manual', amount: -amount },
      { account: name, amount },
    ],
  })
  const same = ledger.entriesOfRequest(request).some((one) => one.account === name && one.amount === amount)
  if (!same) return failed(`the request ${options.request} was another credit; nothing was posted`)
  const balance = ledger.balance(name)
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ account, request, credited: posted.ok, amountMicroUsd: Number(amount), balanceMicroUsd: Number(balance) })}\n`
      : `${posted.ok ? `${usdText(amount)} USD credited` : 'credited before; nothing was posted'}, ${account} has ${usdText(balance)} USD\n`,
  )
}

const columns = ['posting', 'time', 'kind', 'request', 'account', 'amountMicroUsd', 'memo'] as const

const shown = ({ posting, timeMs, kind, request, account, amount, memo }: Line) => ({
  posting,
  time: new Date(timeMs).toISOString(),
  kind,
  request,
  account,
  amountMicroUsd: Number(amount),
  memo,
})

// A spreadsheet takes text that begins so for a formula.
const formula = /^[=+\-@\t\r]/

const cell = (value: string | number): string => {
  if (typeof value === 'number') return `${value}`
  const safe = formula.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

function* printed(
  lines: Iterable<Line>,
  { csv, json }: { readonly csv: boolean; readonly json: boolean },
): Generator<string> {
  if (csv) yield `${columns.join()}\r\n`
  for (const line of lines) {
    const one = shown(line)
    if (json) yield `${JSON.stringify(one)}\n`
    else if (csv) yield `${columns.map((name) => cell(one[name])).join()}\r\n`
    else
      yield `${one.posting}  ${one.time}  ${one.kind.padEnd(10)}  ${usdText(line.amount).padStart(16)}  ${one.account}  ${one.memo}\n`
  }
}

/** Prints every entry as it is read. */
export const ledger = async (options: AsJson & { readonly csv: boolean }): Promise<void> => {
  using books = openBooks(options)
  await pipeline(Readable.from(printed(books.ledger.lines(), options)), process.stdout, { end: false }).catch(
    (error: NodeJS.ErrnoException) => {
      // Whoever reads has seen enough.
      if (error.code !== 'EPIPE') throw error
    },
  )
}

/** Adds everything up anew, and says what does not add up. */
export const audit = async (options: AsJson): Promise<void> => {
  using books = openBooks(options)
  const { sum, unbalanced, wrongBalances } = books.ledger.audit()
  const troubles = [
    ...(sum === 0n ? [] : [`the balances add up to ${usdText(sum)} USD, not to zero`]),
    ...unbalanced.map((request) => `the entries of ${request} do not add up to zero`),
    ...wrongBalances.map((name) => `the balance of ${name} is not what its entries say`),
  ]
  if (options.json)
    process.stdout.write(
      `${JSON.stringify({ ok: troubles.length === 0, sumMicroUsd: Number(sum), unbalanced, wrongBalances })}\n`,
    )
  else process.stdout.write(troubles.length === 0 ? 'the books add up\n' : `${troubles.join('\n')}\n`)
  if (troubles.length > 0) process.exitCode = exitCodes.failed
}

/** Lists the accounts, those of customers too that never had credit. */
export const accounts = async (options: AsJson): Promise<void> => {
  using books = openBooks(options)
  const known = books.ledger.accounts()
  const names = new Set(known.map(({ account }) => account))
  const without = books.keys
    .customers()
    .map(({ id }) => ({ account: `customer:${id}` as const, amount: 0n }))
    .filter(({ account }) => !names.has(account))
  const all = [...known, ...without]
  if (options.json)
    process.stdout.write(
      `${JSON.stringify({ accounts: all.map(({ account, amount }) => ({ account, balanceMicroUsd: Number(amount) })) })}\n`,
    )
  else
    for (const { account, amount } of all)
      process.stdout.write(`${usdText(amount).padStart(16)}  ${account}\n`)
}
