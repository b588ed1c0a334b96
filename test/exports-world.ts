/** The API with exports over a real store, and buyers; it can be stopped and opened again over the same disk. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import { expect, onTestFinished } from 'vitest'
import type { JournalFiles } from '#gateway/journal/files.ts'
import { type ExportLimits, openExports } from '#gateway/market/exports/exports.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import type { Store, StoredReading } from '#gateway/store/store.ts'
import { openApi } from '#test/answers.ts'
import { openChecked } from './market-schema.ts'
import { anHour, nowMs, openWorld } from './market-world.ts'
import { newSigner } from './station.ts'
import { temporaryDirectory } from './temporary.ts'
import { until } from './until.ts'

export const network = 'testnet'
export const hub = newSigner()

export const dayMs = 86_400_000
export const usualLimits: ExportLimits = { maxRows: 5_000_000, maxBytes: 2e9, keptMs: 7 * dayMs }

/** An export as the API shows it. */
export type Shown = {
  readonly id: string
  readonly state: string
  readonly detail?: string
  readonly rows: number
  readonly percent: number
  readonly from: string
  readonly to: string
  readonly mostMicroUsd: number
  readonly priceMicroUsd: number | null
  readonly receipt: string | null
  readonly files: readonly {
    readonly name: string
    readonly href: string
    readonly bytes: number
    readonly sha256: string
    readonly rows: number
  }[]
}

export type WorldOptions = {
  readonly sells?: boolean
  readonly directory?: string
  readonly readings?: readonly StoredReading[]
  readonly limits?: Partial<ExportLimits>
  readonly files?: JournalFiles
  readonly clock?: { nowMs: number }
  /** Stands before the store. */
  readonly storeBy?: (store: Store) => Store
  /** Whether orders are worked on from the start. */
  readonly works?: boolean
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

export const openExporter = async (options: WorldOptions = {}) => {
  const { sells = true, directory = temporaryDirectory(), readings = anHour(), clock = { nowMs } } = options
  const selling = sells
    ? openSelling({
        path: join(directory, 'sales.sqlite'),
        network,
        hub,
        prices: defaultPrices,
        factor: () => 1000,
        starterMicroUsd: 0n,
        nowMs: () => clock.nowMs,
      })
    : undefined
  const world = await openWorld(
    {
      network,
      hubKey: hub.publicKey,
      nowMs: () => clock.nowMs,
      ...(selling === undefined ? {} : { till: selling.till }),
    },
    readings,
  )
  const store = options.storeBy?.(world.store) ?? world.store
  const exports = openExports({
    directory: join(directory, 'exports'),
    limits: { ...usualLimits, ...options.limits },
    store,
    anchors: world.deps.anchors,
    evidence: world.deps.evidence,
    ...(selling === undefined ? {} : { till: selling.till }),
    nowMs: () => clock.nowMs,
    report: (error) => world.reported.push(error),
    ...(options.files === undefined ? {} : { files: options.files }),
  })
  const app = openApi({ ...world.deps, store, metrics: new Registry(), exports })
  const { ask, document } = await openChecked(app)
  const stop = new AbortController()
  let running: Promise<void> | undefined
  const work = (): void => {
    running ??= exports.run(stop.signal)
  }
  if (options.works !== false) work()
  let closed = false
  /** Stops as a hub does; with `dies` nothing is waited for. */
  const close = async (dies = false): Promise<void> => {
    if (closed) return
    closed = true
    stop.abort()
    if (!dies) await running
    exports[Symbol.dispose]()
    selling?.[Symbol.dispose]()
    await world[Symbol.asyncDispose]()
  }
  onTestFinished(() => close())
  const sales = selling?.till.sales

  type Init = { readonly headers?: Record<string, string>; readonly method?: string; readonly body?: string }
  const buyerOf = (key: string | undefined, customer = '') => {
    const own: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` }
    const askAs = (address: string, init: Init = {}) =>
      ask(address, { ...init, headers: { ...own, ...init.headers } })
    const post = (query: object, headers: Record<string, string> = {}) =>
      askAs('/v1/exports', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(query),
      })
    const order = async (query: object, headers: Record<string, string> = {}): Promise<Shown> => {
      const { response, json } = await post(query, headers)
      expect(response.status, JSON.stringify(json)).toBe(202)
      expect(response.headers.get('location')).toBe(`/v1/exports/${(json as Shown).id}`)
      return json as Shown
    }
    const look = async (id: string): Promise<Shown> => (await askAs(`/v1/exports/${id}`)).json as Shown
    const finished = ({ id }: Shown): Promise<Shown> =>
      until(`export ${id}`, 60, async () => {
        const shown = await look(id)
        return shown.state === 'done' || shown.state === 'failed' ? shown : undefined
      })
    const fetched = async ({ files: [file] }: Shown): Promise<Uint8Array> => {
      // The file of an export in JSON is described as bytes.
      const response = await app.request(file!.href, { headers: own })
      expect(response.status).toBe(200)
      const bytes = new Uint8Array(await response.arrayBuffer())
      expect([bytes.length, sha256(bytes)]).toEqual([file!.bytes, file!.sha256])
      return bytes
    }
    return {
      key,
      customer,
      ask: askAs,
      post,
      order,
      look,
      finished,
      fetched,
      /** Orders, waits until it is done, and fetches it. */
      bought: async (query: object, headers: Record<string, string> = {}) => {
        const shown = await finished(await order(query, headers))
        expect(shown.state, shown.detail).toBe('done')
        return { shown, bytes: await fetched(shown) }
      },
      credit: () => sales!.ledger.balance(`customer:${customer}`),
    }
  }

  return {
    world,
    app,
    ask,
    document,
    exports,
    sales,
    directory,
    clock,
    work,
    close,
    anybody: buyerOf(undefined),
    again: (key: string | undefined, customer: string) => buyerOf(key, customer),
    signUp: (credit: bigint, budget: bigint | null = null) => {
      const { key, secret } = selling!.till.signUp({
        label: '',
        scopes: ['read', 'account'],
        budget,
        alarmPercent: null,
        expiresMs: null,
      })
      if (credit > 0n) sales!.credit(`test:${key.customer}`, 'manual', key.customer, credit, 'to begin with')
      return buyerOf(secret, key.customer)
    },
    held: () => sales!.ledger.balance('held:queries'),
    expectSound: () => expect(sales!.ledger.audit()).toEqual({ sum: 0n, unbalanced: [], wrongBalances: [] }),
  }
}
