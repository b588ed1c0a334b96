import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { toHex } from '#gateway/reading/bytes.ts'
import { verifySale } from '#gateway/reading/sale.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import { newPem, signerOf } from '#gateway/sign/key.ts'
import { openEmbeddedStore } from '#gateway/store/embedded.ts'
import { generator } from '#sim/random.ts'
import { sha256 } from './exports-world.ts'
import { type ExporterOptions, exporterNetwork, type Told } from './kill/exporter.ts'
import { nowMs, stationA } from './market-world.ts'
import { temporaryDirectory } from './temporary.ts'

const kills = Number(process.env.EXPORT_KILLS ?? 6)
const seed = Number(process.env.SEED ?? Date.now() % 1e9)
const exporter = join(import.meta.dirname, 'kill/exporter.ts')

const rows = 30_000
const fromMs = nowMs - rows * 1000

test(`a hub that is killed ${kills} times while it exports makes each file, and charges it once (SEED=${seed})`, {
  timeout: 60_000 + kills * 10_000,
}, async () => {
  const directory = temporaryDirectory()
  const pem = newPem()
  const store = await openEmbeddedStore({ path: join(directory, 'store.sqlite') })
  for (let at = 0; at < rows; at += 5000)
    await store.write(
      Array.from({ length: 5000 }, (_, more) => ({
        station: stationA,
        sensor: 'garden',
        model: 'm',
        seq: at + more + 1,
        place: 0,
        timeMs: fromMs + (at + more) * 1000,
        values: [{ quantity: 1, scaled: 2000 + ((at + more) % 50) }],
        score: 1,
        flags: [],
        rules: '1',
      })),
    )
  await store[Symbol.asyncDispose]()
  const openBooks = () =>
    openSelling({
      path: join(directory, 'sales.sqlite'),
      network: exporterNetwork,
      hub: signerOf(pem, directory),
      prices: defaultPrices,
      factor: () => 1000,
      starterMicroUsd: 10_000_000n,
      nowMs: () => nowMs,
    })
  const first = openBooks()
  const { key, secret } = first.till.signUp({
    label: '',
    scopes: ['read'],
    budget: 9_000_000n,
    alarmPercent: null,
    expiresMs: null,
  })
  first[Symbol.dispose]()

  const formats = ['json', 'csv', 'parquet', 'ndjson', 'cbor', 'geojson']
  const orders = Object.fromEntries(
    formats.map((format, at) => [
      `order-${format}`,
      { from: `${fromMs + at * 1000}`, to: `${nowMs}`, station: stationA, format },
    ]),
  )
  const options: ExporterOptions = { directory, pem, key: secret, orders }
  const ids = new Map<string, Set<string>>()
  const done = new Map<string, Extract<Told, { step: 'done' }>>()
  const random = generator(seed)
  let killed = 0
  for (let round = 0; ; round++) {
    const child = spawn(process.execPath, [exporter, JSON.stringify(options)], {
      env: { ...process.env, TMPDIR: directory },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ready = Promise.withResolvers<void>()
    let out = ''
    child.stdout.on('data', (chunk: Buffer) => {
      const lines = `${out}${chunk}`.split('\n')
      out = lines.pop()!
      for (const told of lines.map((line) => JSON.parse(line) as Told)) {
        if (told.step === 'ordered') ids.set(told.order, (ids.get(told.order) ?? new Set()).add(told.id))
        if (told.step === 'done') {
          const before = done.get(told.order)
          expect(before ?? told).toEqual(told)
          done.set(told.order, told)
        }
      }
      ready.resolve()
    })
    const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
    await Promise.race([ready.promise, closed])
    if (round < kills) {
      await sleep(random() * 500)
      child.kill('SIGKILL')
    }
    const [code, signal] = await closed
    if (signal === 'SIGKILL') killed++
    else expect(code).toBe(0)
    if (round >= kills) break
  }
  expect(killed).toBeGreaterThan(kills / 2)

  const { till, ...books } = openBooks()
  const { sales } = till
  let spent = 0n
  for (const order of Object.keys(orders)) {
    const [id, ...others] = ids.get(order)!
    expect(others, order).toEqual([])
    const told = done.get(order)!
    expect(sha256(readFileSync(join(directory, 'exports/files', id!)))).toBe(told.sha256)
    const sale = sales.sale(key.customer, id!)!
    const verified = verifySale(sale.receipt, exporterNetwork, signerOf(pem, directory).publicKey)
    if (!verified.ok) return expect.fail(verified.detail)
    expect(toHex(verified.sale.response)).toBe(told.sha256)
    expect([verified.sale.rows, verified.sale.priceMicroUsd]).toEqual([told.rows, told.price])
    expect(sales.ledger.entriesOfRequest(`capture:${id}`)).not.toEqual([])
    spent += sale.priceMicroUsd
  }
  expect(sales.list(key.customer, 100)).toHaveLength(formats.length)
  expect(sales.ledger.balance(`customer:${key.customer}`)).toBe(10_000_000n - spent)
  expect(sales.ledger.balance('held:queries')).toBe(0n)
  expect(sales.keys.list(key.customer)[0]!.spent).toBe(spent)
  expect(sales.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] })
  expect(readdirSync(join(directory, 'exports/files'))).toHaveLength(formats.length)
  books[Symbol.dispose]()
})
