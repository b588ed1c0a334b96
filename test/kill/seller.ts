/**
 * A hub that sells, without its sockets, as a process to be killed: real books on disk, the real API, and buyers that
 * sign up, get credit, buy, and run up tabs. Each step is told on standard output before it is taken and after it has its answer.
 */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import type { OpenTab, Statement } from '#gateway/market/tab.ts'
import { defaultPrices } from '#gateway/sales/price.ts'
import { defaultSla } from '#gateway/sales/sla.ts'
import { openSelling } from '#gateway/selling.ts'
import { signerOf } from '#gateway/sign/key.ts'
import { generator } from '#sim/random.ts'
import { nowMs, openWorld, stationA, stationB } from '#test/market-world.ts'

/** What is told, one JSON object a line. `digest` is of the bytes that came; `price` is what the answer said. */
export type Told =
  | { readonly step: 'ready' }
  | { readonly step: 'signed-up'; readonly key: string }
  | { readonly step: 'credits'; readonly customer: string; readonly request: string }
  | { readonly step: 'credited'; readonly customer: string; readonly request: string }
  | Wanted
  | {
      readonly step: 'bought'
      readonly order: string
      readonly receipt: string
      readonly digest: string
      readonly price: number
    }
  | Delivered
  | { readonly step: 'settled'; readonly receipt: string; readonly rows: number; readonly price: number }
  | { readonly step: 'done' }

/** Rows about to be delivered on a tab: `text` is what is delivered of them. */
export type Delivered = {
  readonly step: 'delivers'
  readonly tab: string
  readonly rows: number
  readonly text: string
}

/** An order that was placed, as it is placed again. */
export type Wanted = {
  readonly step: 'wants'
  readonly order: string
  readonly key: string
  readonly url: string
}

export type SellerOptions = {
  readonly path: string
  readonly pem: string
  readonly seed: number
  /** Steps to take; the test kills long before, except for the last time. */
  readonly steps: number
  /** Orders without an answer, which are placed again first. */
  readonly pending: readonly Wanted[]
  readonly keys: readonly string[]
}

export const creditMicroUsd = 5_000n

const tabRow = (timeMs: number) => ({
  station: stationA,
  sensor: 's',
  model: 'm',
  time: new Date(timeMs).toISOString(),
  values: { temperature: 20 },
  quality: { score: 1, flags: [], rules: '1' },
  proof: { status: 'pending', seq: 1, place: 0 } as const,
})

const tell = (told: Told): void => void writeSync(1, `${JSON.stringify(told)}\n`)

const sell = async ({ path, pem, seed, steps, pending, keys }: SellerOptions): Promise<void> => {
  const hub = signerOf(pem, path)
  const clock = { nowMs }
  const selling = openSelling({
    path,
    network: 'killtest',
    hub,
    prices: defaultPrices,
    factor: () => 1000,
    starterMicroUsd: creditMicroUsd,
    // Station A's newest reading is half a minute old, B's a minute: half of an answer is stale, and credited.
    sla: { ...defaultSla, latestMaxAgeMs: 45_000 },
    nowMs: () => clock.nowMs,
  })
  const { till } = selling
  const world = await openWorld({ till, hubKey: hub.publicKey })
  const random = generator(seed)
  const known = [...keys]
  const pick = (): string => known[Math.floor(random() * known.length)]!

  const buy = async (wanted: Wanted): Promise<void> => {
    tell(wanted)
    const { url, order, key } = wanted
    const response = await world.api.request(url, {
      headers: { authorization: `Bearer ${key}`, 'idempotency-key': order },
    })
    const body = Buffer.from(await response.arrayBuffer())
    if (response.status === 402) return
    if (response.status !== 200) throw new Error(`${response.status}: ${body}; ${world.reported.map(String)}`)
    tell({
      step: 'bought',
      order,
      receipt: response.headers.get('receipt-id')!,
      digest: createHash('sha256').update(body).digest('hex'),
      price: Number(response.headers.get('price')),
    })
  }

  const tabs: { readonly name: string; readonly tab: OpenTab }[] = []
  const settled = (statement: Statement | undefined): void => {
    if (statement?.receipt == null) return
    const { receipt, rows, priceMicroUsd: price } = statement
    tell({ step: 'settled', receipt, rows, price })
  }

  /** Opens a tab, delivers something on one, lets a minute pass, or closes one. */
  const runTab = (step: number): void => {
    const name = `tab-${seed}-${step}`
    if (tabs.length < 3) {
      const found = till.sales.keys.find(pick(), clock.nowMs)
      if (!found.ok) throw new Error(found.reason)
      const opened = till.openTab({
        name,
        apiKey: found.key.id,
        asked: name,
        scopeOf: () => 'null',
        afford: true,
      })
      if (opened.ok) tabs.push({ name, tab: opened.tab })
      return
    }
    const one = tabs[Math.floor(random() * tabs.length)]!
    const what = random()
    if (what < 0.05) {
      settled(one.tab.close())
      tabs.splice(tabs.indexOf(one), 1)
    } else if (what < 0.15) {
      clock.nowMs += 60_000
      settled(one.tab.deliver([], '').statement)
    } else {
      const rows = Array.from({ length: 1 + Math.floor(random() * 60) }, () => tabRow(clock.nowMs))
      const text = `${one.name} ${step}\n`
      tell({ step: 'delivers', tab: one.name, rows: rows.length, text })
      const paid = one.tab.deliver(rows, text)
      settled(paid.statement)
      if (!paid.ok) {
        settled(one.tab.close())
        tabs.splice(tabs.indexOf(one), 1)
      }
    }
  }

  tell({ step: 'ready' })
  for (const one of pending) await buy(one)
  for (let step = 0; step < steps; step++) {
    const what = random()
    if (known.length === 0 || what < 0.1) {
      const response = await world.api.request('/v1/keys', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"budgetMicroUsd":1000000}',
      })
      const { key } = (await response.json()) as { key: string }
      known.push(key)
      tell({ step: 'signed-up', key })
    } else if (what < 0.25) {
      const found = till.sales.keys.find(pick(), clock.nowMs)
      if (!found.ok) throw new Error(found.reason)
      const { customer } = found.key
      const request = `credit:${seed}:${step}`
      tell({ step: 'credits', customer, request })
      till.sales.credit(request, 'manual', customer, creditMicroUsd, 'a test')
      tell({ step: 'credited', customer, request })
    } else if (what < 0.65) {
      runTab(step)
    } else {
      const station = random() < 0.5 ? stationA : stationB
      const fromMs = nowMs - 60_000 * (1 + Math.floor(random() * 59))
      await buy({
        step: 'wants',
        order: `order-${seed}-${step}`,
        key: pick(),
        url: random() < 0.5 ? '/v1/latest' : `/v1/readings?station=${station}&from=${fromMs}&to=${nowMs}`,
      })
    }
  }
  tell({ step: 'done' })
  selling[Symbol.dispose]()
  await world[Symbol.asyncDispose]()
}

if (import.meta.main) await sell(JSON.parse(process.argv[2]!) as SellerOptions)
