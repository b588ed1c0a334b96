/**
 * A hub that sells exports, without its sockets, as a process to be killed: real books, real store, real files. It places
 * the orders that it is given, each under its name, works until all are done, and tells on standard output what it was
 * answered.
 */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from 'prom-client'
import { openExports } from '#gateway/market/exports/exports.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { openSelling } from '#gateway/selling.ts'
import { signerOf } from '#gateway/sign/key.ts'
import { openEmbeddedStore } from '#gateway/store/embedded.ts'
import { openApi } from '#test/answers.ts'
import { fakeAnchors, fakeEvidence, nowMs } from '#test/market-world.ts'

export type ExporterOptions = {
  readonly directory: string
  readonly pem: string
  readonly key: string
  /** Names of orders, and what is ordered. */
  readonly orders: Readonly<Record<string, object>>
}

/** What is told, one JSON object a line. */
export type Told =
  | { readonly step: 'ready' }
  | { readonly step: 'ordered'; readonly order: string; readonly id: string }
  | {
      readonly step: 'done'
      readonly order: string
      readonly sha256: string
      readonly price: number
      readonly rows: number
    }

export const exporterNetwork = 'killtest'

const tell = (told: Told): void => void writeSync(1, `${JSON.stringify(told)}\n`)

const work = async ({ directory, pem, key, orders }: ExporterOptions): Promise<void> => {
  const hub = signerOf(pem, directory)
  const store = await openEmbeddedStore({ path: join(directory, 'store.sqlite') })
  const { till } = openSelling({
    path: join(directory, 'sales.sqlite'),
    network: exporterNetwork,
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: 0n,
    nowMs: () => nowMs,
  })
  const report = (error: unknown): void => {
    throw error
  }
  const parts = { store, anchors: fakeAnchors(), evidence: fakeEvidence(), till, nowMs: () => nowMs, report }
  const limits = { maxRows: 1e6, maxBytes: 1e9, keptMs: 86_400_000 }
  const exports = openExports({ ...parts, directory: join(directory, 'exports'), limits })
  const api = openApi({
    ...parts,
    exports,
    network: exporterNetwork,
    hubKey: hub.publicKey,
    version: '0.1.0',
    batchMaxAgeMs: 1000,
    firstBatchMaxAgeMs: 1000,
    health: () => [],
    metrics: new Registry(),
  })
  const ask = async (address: string, init: RequestInit = {}) => {
    const headers = { authorization: `Bearer ${key}`, ...init.headers }
    const response = await api.request(address, { ...init, headers })
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
    return (await response.json()) as {
      id: string
      state: string
      priceMicroUsd: number
      files: { sha256: string; rows: number }[]
    }
  }
  void exports.run(new AbortController().signal)
  tell({ step: 'ready' })
  for (const [order, query] of Object.entries(orders)) {
    const { id } = await ask('/v1/exports', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': order },
      body: JSON.stringify(query),
    })
    tell({ step: 'ordered', order, id })
    for (let state = ''; state !== 'done'; await sleep(5)) {
      const shown = await ask(`/v1/exports/${id}`)
      state = shown.state
      if (state === 'failed') throw new Error(`${order} failed`)
      if (state !== 'done') continue
      const { sha256, rows } = shown.files[0]!
      tell({ step: 'done', order, sha256, rows, price: shown.priceMicroUsd })
    }
  }
  process.exit(0)
}

if (import.meta.main) await work(JSON.parse(process.argv[2]!) as ExporterOptions)
