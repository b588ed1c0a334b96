/** What was bought, page by page, with its receipt and its proof. */
import { bundleBounds } from '../reading/bundle.ts'
import type { SalesReceipt } from '../reading/sale.ts'
import { digestFits, foreignProof } from '../verify/purchase.ts'
import type { Step } from '../verify/report.ts'
import { checkAnswer, verifyBundle } from '../verify/verify.ts'
import { type Answer, type Ask, linked, pause, problemOf } from './ask.ts'
import { buyAt, type Counter, type OrderOptions, type Terms } from './buy.ts'
import { HubDistrusted } from './errors.ts'
import { type Format, mostPageBytes, pageRows, rowsIn } from './pages.ts'
import { type Verified, type VerifyOptions, verify } from './proof.ts'
import { priceAt } from './quote.ts'

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
  /**
   * What was bought, page by page. `warned`: a part of it is not anchored yet, is made of proven readings by the hub, or
   * is of a format whose rows are not compared; then only the first page is here.
   */
  readonly pages: readonly Step[]
}

/** What was bought, as it came. All pages are paid with the first. */
export type Download = {
  readonly priceMicroUsd: bigint
  /** Names the sale at the hub; null where nothing was paid. */
  readonly receiptId: string | null
  /** The signed receipt, checked; null where nothing was paid, or there was no signed offer. */
  readonly receipt: SalesReceipt | null
  /** The span that was bought, UTC ms: `fromMs` <= time < `toMs`. */
  readonly fromMs: number
  readonly toMs: number
  /** The body of each page, before any content coding; the receipt names the first. Later ones are asked for as they are read. */
  bodies(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>
  /** The proof as a file, for nothing; throws HubDistrusted, with the file, where it is of something else. */
  bundle(options?: WaitOptions): Promise<Uint8Array>
  /** The same verified, and what was bought compared with it. */
  proof(options?: WaitOptions & VerifyOptions): Promise<Proof>
}

/** Rows that were bought: iterate over them, or over pages of them. */
export type Purchase<Row> = Download &
  AsyncIterable<Row> & {
    pages(): AsyncGenerator<readonly Row[], void, void>
    /** Every row. */
    all(): Promise<Row[]>
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

// Nor are 100,000 rows as many bytes, in whatever format.
const mostSaleBytes = 4 * mostPageBytes

/** The pages of a query whose first one is there. Only the first costs: a price on a later one is no honest hub's. */
async function* bodiesFrom(
  { ask, mayPayByItself }: Counter,
  path: string,
  first: Answer,
  signal: AbortSignal | undefined,
) {
  let answer = first
  let bytes = 0
  for (let count = 1; ; count++) {
    bytes += answer.body.length
    if (bytes > mostSaleBytes) throw new HubDistrusted(`the hub gives more than ${mostSaleBytes} bytes`)
    yield answer.body
    const next = linked(answer, 'cursor')
    if (next === undefined) return
    if (count >= mostPages) throw new HubDistrusted(`the hub gives more than ${mostPages} pages`)
    const there = `${path}&cursor=${encodeURIComponent(next)}`
    const asksFor = (price: bigint | string, body?: Uint8Array): HubDistrusted =>
      new HubDistrusted(`the hub asks for ${price} on page ${count + 1}`, body === undefined ? {} : { body })
    const terms = mayPayByItself() ? await priceAt(ask, there, signal) : undefined
    if (terms !== undefined) throw asksFor(terms.mostMicroUsd)
    const later = await ask(there, { mostBytes: mostPageBytes, signal })
    if (later.status !== 200) throw problemOf(later)
    const { headers, body } = later
    if (headers.has('content-digest') && !digestFits(later))
      throw new HubDistrusted('the body is not what its Content-Digest says', { body })
    const price = headers.get('price') ?? '0'
    if (price !== '0') throw asksFor(price, body)
    if (linked(later, 'cursor') === next) throw new HubDistrusted('the hub gives the same page again')
    answer = later
  }
}

// Rows of these can be looked up in a proof; of others only the bytes that the receipt names are known.
const comparable: ReadonlySet<Format> = new Set(['json', 'csv', 'ndjson'])

/** Buys a query whose times are fixed, in a format. */
export const downloadOf = async (
  counter: Counter,
  search: URLSearchParams,
  format: Format,
  terms: Terms | undefined,
  options: OrderOptions,
): Promise<Download> => {
  const { signal } = options
  const path = `/v1/readings?${search}&format=${format}&limit=${pageRows}`
  const { answer, priceMicroUsd, receiptId, receipt } = await buyAt(
    counter,
    path,
    mostPageBytes,
    terms,
    options,
  )
  const bodies = () => bodiesFrom(counter, path, answer, signal)
  const bundle: Download['bundle'] = async (waiting = {}) => {
    if (receiptId === null)
      throw new TypeError('what costs nothing has no receipt, and no proof is given for it')
    const waits = { ...(signal === undefined ? {} : { signal }), ...waiting }
    const whole = await bundleOf(counter.ask, receiptId, waits)
    const seller = await counter.seller(signal)
    const foreign = foreignProof(verifyBundle(whole), seller, search, receiptId)
    if (foreign !== undefined) throw new HubDistrusted(foreign, { receiptId, body: whole })
    return whole
  }
  return {
    priceMicroUsd,
    receiptId,
    receipt,
    fromMs: Number(search.get('from')),
    toMs: Number(search.get('to')),
    bodies,
    bundle,
    proof: async ({ rpc, ...waiting } = {}) => {
      const whole = await bundle(waiting)
      const report = await verify(whole, rpc === undefined ? {} : { rpc })
      const pages: Step[] = []
      if (report.ok)
        for await (const body of bodies()) {
          pages.push(checkAnswer(report, body))
          if (!comparable.has(format) || search.has('every')) break
        }
      return { ok: report.ok && pages.every(({ state }) => state !== 'failed'), bundle: whole, report, pages }
    },
  }
}

/** Buys the rows of a query whose times are fixed. */
export const purchaseOf = async <Row>(...order: Parameters<typeof downloadOf>): Promise<Purchase<Row>> => {
  const download = await downloadOf(...order)
  async function* pages() {
    for await (const body of download.bodies()) yield rowsIn<Row>(body)
  }
  async function* rows() {
    for await (const page of pages()) yield* page
  }
  return {
    ...download,
    pages,
    [Symbol.asyncIterator]: rows,
    all: async () => {
      const whole: Row[] = []
      for await (const row of rows()) whole.push(row)
      return whole
    },
  }
}
