import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import { wrapFetchWithPayment, x402Client } from '@x402/fetch'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { nowMs, openWorld, stationA } from '#test/market-world.ts'
import { openTokenChain, railOn } from '#test/sales/x402-world.ts'
import { type Measurement, row } from './measurement.ts'
import { takeTurns } from './rounds.ts'
import { network, newSigner, weather } from './samples.ts'

const large = 1000
const small = 10
const intervalMs = 3000
const atOnce = 8

// Wall time, as a sale waits for the disk and for a block.
const turnMs = 400
const leastTurnMs = 100

// What a small sale puts on the disk: receipt, JWS, the body to be given again, and the ledger's lines.
const saleBytes = 3072

const storedReadings = (): StoredReading[] =>
  weather(large, nowMs - large * intervalMs, intervalMs).map((reading, at) => ({
    ...reading,
    station: stationA,
    seq: 1 + Math.floor(at / 50),
    place: at % 50,
    score: 1,
    flags: [],
    rules: 'abcdef0123456789',
  }))

type Work = () => Promise<void>

/** Calls a second, one after the other or some at once. */
const perSecond =
  (leastMs: number, work: Work, lanes = 1) =>
  async (): Promise<number> => {
    const startedMs = performance.now()
    let calls = 0
    const lane = async (): Promise<void> => {
      while (performance.now() - startedMs < leastMs || calls === 0) {
        await work()
        calls++
      }
    }
    await Promise.all(Array.from({ length: lanes }, lane))
    return (calls * 1000) / (performance.now() - startedMs)
  }

/** A row of as many bytes as a sale, on the disk when it resolves: as SQLite does it with nothing around it. */
const openBareCommits = (path: string): { readonly commit: Work } & Disposable => {
  const database = new DatabaseSync(path)
  database.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE sale (body BLOB NOT NULL)',
  )
  const insert = database.prepare('INSERT INTO sale VALUES (?)')
  const body = new Uint8Array(saleBytes).fill(7)
  return { commit: async () => void insert.run(body), [Symbol.dispose]: () => database.close() }
}

/** What selling costs: a paid answer beside the store's own, and sales beside a bare durable commit. */
export const selling: Measurement = {
  name: 'sales',
  title: `Selling, without sockets: answers of ${large} rows, and sales of ${small}`,
  baseline: 'as each row says, in the same run',
  unit: 'answers/s',
  run: async ({ rounds, share, directory }) => {
    await using scope = new AsyncDisposableStack()
    const signer = newSigner()
    const onChain = await openTokenChain(join(directory, 'chain'))
    scope.defer(() => onChain.close())
    const wallet = await onChain.newWallet(1_000_000_000n)
    const open = scope.use(
      openSelling({
        path: join(directory, 'sales.sqlite'),
        network,
        hub: signer,
        prices: defaultPrices,
        factor: () => 1000,
        starterMicroUsd: 0n,
        openRail: railOn(onChain, directory, () => undefined, { chainMs: 20_000, waitMs: 20_000 }),
        nowMs: () => nowMs,
      }),
    )
    const { till } = open
    const readings = storedReadings()
    const free = scope.use(await openWorld({}, readings))
    const shop = scope.use(await openWorld({ till, network, hubKey: signer.publicKey }, readings))
    const bare = scope.use(openBareCommits(join(directory, 'bare.sqlite')))
    const { key, secret } = till.signUp({
      label: '',
      scopes: ['read'],
      budget: null,
      alarmPercent: null,
      expiresMs: null,
    })
    till.sales.credit('bench', 'manual', key.customer, 10n ** 12n, 'the bench')
    const client = new x402Client().register('eip155:*', new ExactEvmScheme(wallet)).setSpendControls({
      allowedAssets: [{ network: 'eip155:31337', asset: onChain.asset, maxAmountPerPayment: '1000000' }],
    })
    const paying = wrapFetchWithPayment(
      async (input, init) => shop.api.fetch(new Request(input, init)),
      client,
    )

    const pathOf = (rows: number): string =>
      `/v1/readings?station=${stationA}&from=${nowMs - rows * intervalMs}&to=${nowMs}&limit=${large}`
    const take = async (answer: Response, wanted: 'paid' | 'free'): Promise<void> => {
      const body = await answer.arrayBuffer()
      const isPaid = (answer.headers.get('price') ?? '0') !== '0'
      if (answer.status !== 200 || isPaid !== (wanted === 'paid'))
        throw new Error(`an answer that should be ${wanted} is ${answer.status}: ${Buffer.from(body)}`)
    }
    const authorization = `Bearer ${secret}`
    const freely = (rows: number) => async () => take(await free.api.request(pathOf(rows)), 'free')
    const withKey = (rows: number) => async () =>
      take(await shop.api.request(pathOf(rows), { headers: { authorization } }), 'paid')
    const byX402 = async () => take(await paying(`http://shop.test${pathOf(small)}`), 'paid')
    const fromStore = async () => {
      const selection = { stations: [stationA], fromMs: nowMs - large * intervalMs, toMs: nowMs }
      if ((await shop.store.readings(selection, large)).length < large * 0.9)
        throw new Error('rows are missing')
    }

    const forMs = Math.max(leastTurnMs, turnMs * share)
    const answers = await takeTurns(Math.max(3, Math.ceil(rounds * share)), {
      store: perSecond(forMs, fromStore),
      free: perSecond(forMs, freely(large)),
      paid: perSecond(forMs, withKey(large)),
      bare: perSecond(forMs, bare.commit),
      freeSmall: perSecond(forMs, freely(small)),
      key: perSecond(forMs, withKey(small)),
      x402: perSecond(forMs, byX402),
      x402AtOnce: perSecond(forMs, byX402, atOnce),
    })
    const audit = till.sales.ledger.audit()
    if (audit.sum !== 0n || audit.unbalanced.length + audit.wrongBalances.length > 0)
      throw new Error('the books do not add up')
    return [
      row(`${large} rows as JSON, free`, answers.free, answers.store, {
        note: 'beside: the same rows from the store, as values',
      }),
      row(`${large} rows as JSON, paid with a key`, answers.paid, answers.store, {
        note: 'beside: the same; priced, sold on the disk, receipt signed twice, body kept to be given again',
      }),
      row('the same, paid by free', answers.paid, answers.free, { aim: { least: 0.3 } }),
      row(`sale of ${small} rows with a key`, answers.key, answers.bare, {
        unit: 'sales/s',
        note: `beside: a commit of ${saleBytes} bytes by SQLite, synchronous FULL, on the same disk`,
      }),
      row('the same by a free answer', answers.key, answers.freeSmall, { unit: 'sales/s' }),
      row(`sale of ${small} rows by x402`, answers.x402, answers.bare, {
        unit: 'sales/s',
        note: 'beside: the same commit; 402, signature, verification and a block of the embedded chain for each',
      }),
      row(`the same, ${atOnce} at once`, answers.x402AtOnce, answers.bare, { unit: 'sales/s' }),
    ]
  },
}
