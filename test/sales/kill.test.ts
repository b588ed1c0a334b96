import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { verifyJws } from '#gateway/reading/jws.ts'
import { verifySale } from '#gateway/reading/sale.ts'
import { openLedger, openSalesDatabase } from '#gateway/sales/ledger.ts'
import { newPem, signerOf } from '#gateway/sign/key.ts'
import { generator } from '#sim/random.ts'
import {
  creditMicroUsd,
  type Delivered,
  type SellerOptions,
  type Told,
  type Wanted,
} from '#test/kill/seller.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const kills = Number(process.env.SALES_KILLS ?? 40)
const seed = Number(process.env.SEED ?? Date.now() % 1e9)

const seller = join(import.meta.dirname, '../kill/seller.ts')

type Settled = Extract<Told, { step: 'settled' }>
type Answer = Extract<Told, { step: 'bought' }>

/** What the wire showed: what was told, whatever the books say. */
const newOracle = () => {
  const keys: string[] = []
  const orders = new Map<string, Wanted>()
  const answers = new Map<string, Answer[]>()
  const asked = new Set<string>()
  const credited = new Set<string>()
  const tabs = new Map<string, Delivered[]>()
  const settled = new Map<string, Settled>()
  return {
    keys,
    orders,
    answers,
    asked,
    credited,
    tabs,
    settled,
    /** Orders that never had a whole answer. */
    pending: (): Wanted[] => [...orders.values()].filter(({ order }) => !answers.has(order)),
    note: (told: Told): void => {
      if (told.step === 'signed-up') keys.push(told.key)
      if (told.step === 'wants') orders.set(told.order, told)
      if (told.step === 'credits') asked.add(told.request)
      if (told.step === 'credited') credited.add(told.request)
      if (told.step === 'bought') answers.set(told.order, [...(answers.get(told.order) ?? []), told])
      if (told.step === 'delivers') tabs.set(told.tab, [...(tabs.get(told.tab) ?? []), told])
      if (told.step === 'settled') settled.set(told.receipt, told)
    },
  }
}

/** The deliveries of a tab, one after the other, whose texts a receipt binds; undefined where there are none such. */
const boundBy = (response: Uint8Array, delivered: readonly Delivered[]): Delivered[] | undefined => {
  for (let first = 0; first < delivered.length; first++) {
    const hash = createHash('sha256')
    for (let last = first; last < delivered.length; last++) {
      hash.update(delivered[last]!.text)
      if (hash.copy().digest().equals(response)) return delivered.slice(first, last + 1)
    }
  }
  return undefined
}

/** Everything wrong with the books of a hub that was killed, against what was told; empty where they are sound. */
const wrongWith = (path: string, oracle: ReturnType<typeof newOracle>, hubKey: Uint8Array): string[] => {
  const database = openSalesDatabase(path)
  const ledger = openLedger(database)
  const wrong: string[] = []
  const { sum, unbalanced, wrongBalances } = ledger.audit()
  if (sum !== 0n) wrong.push(`the sum is ${sum}`)
  for (const one of unbalanced) wrong.push(`${one} is unbalanced`)
  for (const one of wrongBalances) wrong.push(`the balance of ${one} is wrong`)

  const sales = new Map(
    database
      .prepare('SELECT * FROM sale')
      .all()
      .map((row) => [row.id as string, row]),
  )
  const postings = database.prepare('SELECT request FROM posting').all()
  const requests = new Set(postings.map(({ request }) => request as string))
  for (const request of requests)
    if (request.startsWith('sale:') && !sales.has(request.slice(5)))
      wrong.push(`${request} was charged and not recorded`)
  const charged = new Map<string, bigint>()
  const charge = (apiKey: string, amount: bigint): void =>
    void charged.set(apiKey, (charged.get(apiKey) ?? 0n) + amount)
  for (const request of requests)
    if (request.startsWith('capture:') && !sales.has(request.slice(8)))
      wrong.push(`${request} was charged and not recorded`)
  for (const { api_key, amount } of database.prepare("SELECT * FROM hold WHERE state = 'open'").all())
    charge(api_key as string, amount as bigint)
  const shortfalls = new Map(
    database
      .prepare('SELECT * FROM sla_sale')
      .all()
      .map((row) => [row.sale as string, row]),
  )
  const measured = BigInt(shortfalls.size)
  const creditedInAll = [...shortfalls.values()].reduce((sum, { credit }) => sum + (credit as bigint), 0n)
  const counted = database
    .prepare(
      'SELECT coalesce(sum(measured), 0) AS measured, coalesce(sum(credited), 0) AS credited FROM sla_count',
    )
    .get()!
  if (counted.measured !== measured || counted.credited !== creditedInAll)
    wrong.push(`${measured} sales with ${creditedInAll} credited are counted as ${Object.values(counted)}`)
  const bound = new Set<Delivered>()
  for (const [id, row] of sales) {
    const ofTab = oracle.tabs.get(row.asked as string)
    const moved = (request: string): bigint =>
      ledger
        .entriesOfRequest(`${request}:${id}`)
        .filter(({ account }) => account === `customer:${row.customer}`)
        .reduce((sum, { amount }) => sum + amount, 0n)
    const paid = ofTab === undefined ? moved('sale') : moved('hold') + moved('capture')
    if (paid !== -(row.price as bigint)) wrong.push(`sale ${id} was recorded and not charged`)
    const credited = moved('sla')
    const shortfall = shortfalls.get(id)
    shortfalls.delete(id)
    if ((shortfall?.credit ?? 0n) !== (row.state === 'refunded' ? 0n : credited))
      wrong.push(`sale ${id} was credited ${credited}, and is noted with ${shortfall?.credit}`)
    if (credited < 0n || credited > (row.price as bigint)) wrong.push(`sale ${id} was credited ${credited}`)
    if (row.state === 'refunded' && moved('sale') + credited + moved('refund') !== 0n)
      wrong.push(`sale ${id} was not paid back as it was paid`)
    if (requests.has(`refund:${id}`) !== (row.state === 'refunded'))
      wrong.push(`sale ${id} is ${row.state}, and its refund says otherwise`)
    const verified = verifySale(row.receipt as Uint8Array, 'killtest', hubKey)
    if (!verified.ok || verified.sale.id !== id || BigInt(verified.sale.priceMicroUsd) !== row.price)
      wrong.push(`sale ${id} has no sound receipt`)
    if (verifyJws('groundtruth-sale+jwt', row.jws as string, hubKey) === undefined)
      wrong.push(`sale ${id} has no sound JWS`)
    if (row.state !== 'refunded') charge(row.api_key as string, (row.price as bigint) - credited)
    if (verified.ok && BigInt(verified.sale.creditMicroUsd ?? 0) !== credited)
      wrong.push(`the receipt of sale ${id} names another credit than ${credited}`)
    if (ofTab === undefined || !verified.ok) continue
    const deliveries = boundBy(verified.sale.response, ofTab)
    const rows = deliveries?.reduce((sum, one) => sum + one.rows, 0)
    if (rows !== verified.sale.rows) wrong.push(`sale ${id} is of ${verified.sale.rows} rows that nobody got`)
    const base = row.price !== BigInt(verified.sale.rows) * 10n
    if (base && row.price !== 100n + BigInt(verified.sale.rows) * 10n)
      wrong.push(`sale ${id} of ${verified.sale.rows} rows cost ${row.price}`)
    for (const one of deliveries ?? []) {
      if (bound.has(one)) wrong.push(`${one.text} was charged twice`)
      bound.add(one)
    }
  }
  for (const id of shortfalls.keys()) wrong.push(`sale ${id} was measured and not recorded`)
  for (const request of requests)
    if (request.startsWith('sla:') && !sales.has(request.slice(4)))
      wrong.push(`${request} was credited and not recorded`)
  for (const [receipt, { rows, price }] of oracle.settled) {
    const row = sales.get(receipt)
    if (row?.price !== BigInt(price) || row.delivered_rows !== BigInt(rows))
      wrong.push(`${receipt} was settled and is not recorded`)
  }
  for (const { id, spent } of database.prepare('SELECT id, spent FROM api_key').all())
    if ((charged.get(id as string) ?? 0n) !== spent)
      wrong.push(`key ${id} has spent ${spent}, and was charged ${charged.get(id as string) ?? 0n}`)
  for (const [order, [first, ...again]] of oracle.answers) {
    const row = sales.get(first!.receipt)
    if (row === undefined || row.price !== BigInt(first!.price))
      wrong.push(`${order} was served without a sale`)
    if (again.some(({ digest }) => digest !== first!.digest)) wrong.push(`${order} was served two ways`)
  }
  for (const request of oracle.credited) if (!requests.has(request)) wrong.push(`${request} is lost`)
  for (const request of requests)
    if (request.startsWith('credit:') && !oracle.asked.has(request))
      wrong.push(`${request} came from nowhere`)
  const standing = [...sales.values()].filter(
    ({ state, asked }) => state !== 'refunded' && !oracle.tabs.has(asked as string),
  ).length
  if (standing > oracle.orders.size) wrong.push(`${oracle.orders.size} orders are ${standing} sales`)
  database.close()
  return wrong
}

test(`a hub that sells, killed ${kills} times, charges for what it recorded, and once (SEED=${seed})`, {
  timeout: 60_000 + kills * 8_000,
}, async () => {
  const directory = temporaryDirectory()
  const path = join(directory, 'sales.sqlite')
  const pem = newPem()
  const hubKey = signerOf(pem, 'test').publicKey
  const random = generator(seed)
  const oracle = newOracle()

  /** Runs a seller; killed so long after it is ready, or left to end. */
  const run = async (round: number, steps: number, killMs?: number): Promise<void> => {
    const options: SellerOptions = {
      path,
      pem,
      seed: seed * 1000 + round,
      steps,
      pending: oracle.pending(),
      keys: oracle.keys,
    }
    const child = spawn(process.execPath, [seller, JSON.stringify(options)], {
      env: { ...process.env, TMPDIR: directory },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let out = ''
    let errors = ''
    const ready = Promise.withResolvers<void>()
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk
      const lines = out.split('\n')
      out = lines.pop()!
      for (const line of lines) oracle.note(JSON.parse(line) as Told)
      ready.resolve()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk
    })
    const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
    await Promise.race([ready.promise, closed])
    if (killMs !== undefined) {
      await sleep(killMs)
      child.kill('SIGKILL')
    }
    const [code] = await closed
    if (code !== null) expect(code, errors).toBe(0)
  }

  for (let killed = 0; killed < kills; killed++) {
    await run(killed, 100_000, random() * 250)
    expect(wrongWith(path, oracle, hubKey)).toEqual([])
  }
  await run(kills, 20)
  expect(wrongWith(path, oracle, hubKey)).toEqual([])

  // With every order placed again, each stands once, and what is left is what was given less what stands.
  const database = new DatabaseSync(path, { readBigInts: true })
  const one = (sql: string): bigint => Object.values(database.prepare(sql).get()!)[0] as bigint
  const standing = one("SELECT count(*) FROM sale WHERE state <> 'refunded' AND asked NOT LIKE 'tab-%'")
  expect(one("SELECT count(*) FROM hold WHERE state = 'open'")).toBe(0n)
  expect(Number(standing)).toBe(oracle.answers.size)
  const given = one(
    "SELECT coalesce(sum(amount), 0) FROM entry WHERE account LIKE 'customer:%' AND amount > 0 AND posting IN (SELECT id FROM posting WHERE kind = 'credit')",
  )
  expect(given % creditMicroUsd).toBe(0n)
  const credited = one('SELECT coalesce(sum(credit), 0) FROM sla_sale')
  expect(credited).toBeGreaterThan(0n)
  const spent = one("SELECT coalesce(sum(price), 0) FROM sale WHERE state <> 'refunded'") - credited
  expect(one("SELECT sum(balance) FROM account WHERE name LIKE 'customer:%'")).toBe(given - spent)
  expect(oracle.answers.size).toBeGreaterThan(kills / 10)
  // A busy machine gets through fewer steps between two kills.
  expect(oracle.settled.size).toBeGreaterThan(kills / 10)
  const givenBack = one("SELECT count(*) FROM posting WHERE kind = 'release'")
  console.info(
    `${kills} kills: ${oracle.tabs.size} tabs, ${oracle.settled.size} settled segments, ${givenBack} holds given back; ${oracle.orders.size} orders, ${standing} sales, ${one("SELECT count(*) FROM sale WHERE state = 'refunded'")} paid back`,
  )

  // The controls: one entry, one sale and one credit that are gone must show, or all of the above means nothing.
  const without = (sql: string): string[] => {
    const copy = join(directory, 'control.sqlite')
    database.exec(`VACUUM INTO '${copy}'`)
    const control = new DatabaseSync(copy)
    control.exec(`PRAGMA foreign_keys = OFF; ${sql}`)
    control.close()
    const found = wrongWith(copy, oracle, hubKey)
    for (const end of ['', '-wal', '-shm']) rmSync(`${copy}${end}`, { force: true })
    return found
  }
  for (const sql of [
    'DELETE FROM entry WHERE (posting, line) = (SELECT max(posting), 0 FROM entry)',
    'DELETE FROM sale WHERE id = (SELECT max(id) FROM sale)',
    "UPDATE sale SET receipt = x'00' WHERE id = (SELECT max(id) FROM sale)",
    'UPDATE api_key SET spent = spent + 1',
    "DELETE FROM sale WHERE id = (SELECT max(id) FROM sale WHERE asked LIKE 'tab-%')",
    "UPDATE sale SET price = price + 10 WHERE id = (SELECT max(id) FROM sale WHERE asked LIKE 'tab-%')",
    "UPDATE hold SET state = 'open' WHERE id = (SELECT max(id) FROM hold)",
    'UPDATE sla_sale SET credit = credit + 1 WHERE sale = (SELECT max(sale) FROM sla_sale)',
    'DELETE FROM sla_sale WHERE sale = (SELECT max(sale) FROM sla_sale WHERE credit > 0)',
    'UPDATE sla_count SET measured = measured + 1',
  ])
    expect(without(sql), sql).not.toEqual([])
  database.close()
})
