/** What was bought, page by page, with its receipt and its proof. */

import { bundleBounds } from '../reading/bundle.ts'
import type { SalesReceipt } from '../reading/sale.ts'
import { digestFits, foreignProof } from '../verify/purchase.ts'
import type { Step } from '../verify/report.ts'
import { checkAnswer } from '../verify/verify.ts'
import type { IntervalRow, ReadingRow } from './answers.ts'
import { type Ask, pause, problemOf } from './ask.ts'
import { buyAt, type Counter, type Delivered, type Terms } from './buy.ts'
import { HubDistrusted } from './errors.ts'
import { mostPageBytes, type Page, pageIn, pageRows } from './pages.ts'
import { type Verified, type VerifyOptions, verify } from './proof.ts'

export type WaitOptions = {
  /** How long to wait for the next batch where nothing of it is anchored yet; not at all unless told. */
  readonly waitMs?: number
  readonly signal?: AbortSignal
}

/** The bundle, what it proves, and what was bought compared with that. */
export type Proof = {
  /** The proof holds, is of this purchase, and no row of it is other than its station signed. */
  readonly ok: boolean
  readonly bundle: Uint8Array
  readonly report: Verified
  /** What was bought, page by page. `warned`: a part of it is not anchored yet, or is made of proven readings by the hub. */
  readonly pages: readonly Step[]
}

/** Rows that were bought: iterate over them, or over pages. All pages are paid with the first. */
export type Purchase<Row> = AsyncIterable<Row> & {
  readonly priceMicroUsd: bigint
  /** Names the sale at the hub; null where nothing was paid. */
  readonly receiptId: string | null
  /** The signed receipt, checked; null where nothing was paid, or no key can ask for it. */
  readonly receipt: SalesReceipt | null
  /** The span that was bought, UTC ms: `fromMs` <= time < `toMs`. */
  readonly fromMs: number
  readonly toMs: number
  pages(): AsyncGenerator<Page<Row>, void, void>
  /** Every row. */
  all(): Promise<Row[]>
  /** The proof, for nothing; throws HubDistrusted where it is of something else. */
  proof(options?: WaitOptions & VerifyOptions): Promise<Proof>
}

const shortestPauseMs = 1000
const usualPauseMs = 5000

/** The proof of a sale; it may have to wait for the next batch. */
export const bundleOf = async (
  ask: Ask,
  receiptId: string,
  { waitMs = 0, signal }: WaitOptions = {},
): Promise<Uint8Array> => {
  const endMs = Date.now() + waitMs
  for (;;) {
    const path = `/v1/receipts/${encodeURIComponent(receiptId)}/bundle`
    const answer = await ask(path, { mostBytes: bundleBounds.maxBytes, signal })
    if (answer.status === 200) return answer.body
    const problem = problemOf(answer)
    const leftMs = endMs - Date.now()
    if (problem.slug !== 'not-anchored-yet' || leftMs <= 0) throw problem
    const askedMs = problem.retryAfterS === undefined ? usualPauseMs : problem.retryAfterS * 1000
    await pause(Math.min(Math.max(shortestPauseMs, askedMs), leftMs), signal)
  }
}

// One sale has 100,000 rows at most, so this is far above any honest one.
const mostPages = 1000

/** The pages of a query whose first one is there. Only the first costs: a price on a later one is no honest hub's. */
async function* pagesFrom<Row>(
  { ask }: Counter,
  path: string,
  first: Page<Row>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Page<Row>, void, void> {
  let page = first
  for (let count = 1; ; count++) {
    yield page
    const { next } = page
    if (next === null) return
    if (count >= mostPages) throw new HubDistrusted(`the hub gives more than ${mostPages} pages`)
    const answer = await ask(`${path}&cursor=${encodeURIComponent(next)}`, {
      mostBytes: mostPageBytes,
      signal,
    })
    if (answer.status !== 200) throw problemOf(answer)
    const { headers, body } = answer
    if (headers.has('content-digest') && !digestFits(answer))
      throw new HubDistrusted('the body is not what its Content-Digest says', { body })
    if ((headers.get('price') ?? '0') !== '0')
      throw new HubDistrusted(`the hub asks for a price on page ${count + 1}`, { body })
    page = pageIn<Row>(answer)
    if (page.next === next) throw new HubDistrusted('the hub gives the same page again')
  }
}

/** Buys a query whose times are fixed. */
export const purchaseOf = async <Row extends ReadingRow | IntervalRow>(
  counter: Counter,
  search: URLSearchParams,
  terms: Terms | undefined,
  options: { readonly maxMicroUsd?: bigint | undefined; readonly signal?: AbortSignal | undefined },
): Promise<Purchase<Row>> => {
  const path = `/v1/readings?${search}&format=json&limit=${pageRows}`
  const { signal } = options
  const delivered: Delivered = await buyAt(counter, { ...options, path, terms, mostBytes: mostPageBytes })
  const { answer, priceMicroUsd, receiptId, receipt } = delivered
  const first = pageIn<Row>(answer)
  const pages = () => pagesFrom(counter, path, first, signal)
  async function* rows() {
    for await (const page of pages()) yield* page.rows
  }
  const all = async () => {
    const whole: Row[] = []
    for await (const row of rows()) whole.push(row)
    return whole
  }
  return {
    priceMicroUsd,
    receiptId,
    receipt,
    fromMs: Number(search.get('from')),
    toMs: Number(search.get('to')),
    pages,
    [Symbol.asyncIterator]: rows,
    all,
    proof: async ({ waitMs, rpc, ...wanted } = {}) => {
      if (receiptId === null)
        throw new TypeError('what costs nothing has no receipt, and no proof is given for it')
      const waiting = { signal, ...wanted, ...(waitMs === undefined ? {} : { waitMs }) }
      const bundle = await bundleOf(counter.ask, receiptId, waiting as WaitOptions)
      const report = await verify(bundle, rpc === undefined ? {} : { rpc })
      const foreign = foreignProof(report, await counter.seller(signal), search, receiptId)
      if (foreign !== undefined) throw new HubDistrusted(foreign, { receiptId, body: bundle })
      const compared: Step[] = []
      if (report.ok) for await (const { body } of pages()) compared.push(checkAnswer(report, body))
      const ok = report.ok && compared.every(({ state }) => state !== 'failed')
      return { ok, bundle, report, pages: compared }
    },
  }
}
