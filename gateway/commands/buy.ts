/** `groundtruth buy`: a quote, a purchase under one name, its receipt, and the proof of what was bought. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { apiKeyIn, readSecret } from '../config.ts'
import { exitCodes } from '../exit.ts'
import { parseTime, resolveTime } from '../market/time.ts'
import { bundleBounds } from '../reading/bundle.ts'
import { fromHex } from '../reading/bytes.ts'
import { parseUsd, usdText } from '../sales/money.ts'
import { verifyCommand } from '../verify/cli.ts'
import { checkReceipt, digestFits, foreignProof, offered, type Seller } from '../verify/purchase.ts'
import { verifyBundle } from '../verify/verify.ts'
import {
  type Ask,
  askerOf,
  BuyingError,
  hubAddress,
  problemOf,
  readJson,
  refusalOf,
  retryAfterMs,
} from './asking.ts'
import { openOutput, toStandardOutput, writeEach } from './output.ts'
import { type FormatName, isFilePerPage, joinPages, pagesNote } from './pages.ts'

export type BuyOptions = {
  readonly hub: string
  readonly keyFile?: string
  readonly station?: string
  readonly sensor?: string
  readonly quantity: readonly string[]
  readonly from: string
  readonly to: string
  readonly every?: string
  readonly minQuality?: number
  readonly format: FormatName
  readonly output?: string
  readonly maxUsd: string
  readonly quote: boolean
  readonly bundle?: string
  readonly wait: number
  readonly json: boolean
}

// As many rows as a hub gives at once: nearly every purchase is one page.
const pageRows = 10_000
const mostPageBytes = 64 * 1024 * 1024
// One sale has 100,000 rows at most, so this is far above any honest one.
const mostPages = 1000

/** Formats whose rows are compared with the proof. */
const comparable: ReadonlySet<FormatName> = new Set(['json', 'csv', 'ndjson'])

const usageError = (message: string): BuyingError => new BuyingError(message, exitCodes.usage)

const statusForm = z.object({
  network: z.string().min(1).max(64),
  hubKey: z.string().regex(/^[0-9a-f]{64}$/),
  time: z.iso.datetime(),
})

const quoteForm = z.object({
  rows: z.int().min(0),
  values: z.int().min(0),
  priceMicroUsd: z.int().min(0),
  offer: z.string().max(8192),
})

const receiptForm = z.object({ jws: z.string(), cose: z.string() })

/** The query, its times fixed by the hub's clock, so that quote, purchase and later pages are about the same. */
const searchOf = (options: BuyOptions, hubMs: number): string => {
  const ms = (name: 'from' | 'to'): string => {
    const parsed = parseTime(options[name])
    if (!parsed.ok) throw usageError(`--${name} ${parsed.detail}`)
    return `${resolveTime(parsed.time, hubMs)}`
  }
  const search = new URLSearchParams()
  const { station, sensor, quantity, every, minQuality, format } = options
  if (station !== undefined) search.set('station', station)
  if (sensor !== undefined) search.set('sensor', sensor)
  for (const name of quantity) search.append('quantity', name)
  search.set('from', ms('from'))
  search.set('to', ms('to'))
  if (every !== undefined) search.set('every', every)
  if (minQuality !== undefined) search.set('min_quality', minQuality.toFixed(6))
  search.set('format', format)
  search.set('limit', `${pageRows}`)
  return `${search}`
}

/** The cursor in a link to the next page; of its address nothing else counts. */
const nextCursor = (link: string | null): string | undefined => {
  const target = /<([^<>]{1,8192})>\s*;\s*rel="?next"?/.exec(link ?? '')?.[1]
  return (target && URL.parse(target, 'http://hub.invalid')?.searchParams.get('cursor')) ?? undefined
}

/** Every page, the first of which was paid for; each is what its digest says, and the later ones cost nothing. */
async function* pagesOf(ask: Ask, search: string, headers: Readonly<Record<string, string>>) {
  let cursor: string | undefined
  for (let count = 0; count < mostPages; count++) {
    const at = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const path = `/v1/readings?${search}${at}`
    const page = await ask(path, { mostBytes: mostPageBytes, ...(cursor === undefined ? { headers } : {}) })
    if (page.status !== 200) throw refusalOf(page)
    if (!digestFits(page)) throw new BuyingError('the readings are not what their Content-Digest says')
    const price = page.headers.get('price') ?? ''
    if (!/^\d{1,16}$/.test(price) || (count > 0 && price !== '0'))
      throw new BuyingError(`the hub asks for ${price || 'an unknown price'} on page ${count + 1}`)
    yield page
    const next = nextCursor(page.headers.get('link'))
    if (next === undefined) return
    if (next === cursor) throw new BuyingError('the hub gives the same page again')
    cursor = next
  }
  throw new BuyingError(`the hub gives more than ${mostPages} pages`)
}

/** The proof of a sale; it may have to wait for the next batch. */
const fetchBundle = async (ask: Ask, id: string, waitS: number): Promise<Uint8Array> => {
  const endMs = Date.now() + waitS * 1000
  for (;;) {
    const answer = await ask(`/v1/receipts/${id}/bundle`, { mostBytes: bundleBounds.maxBytes })
    if (answer.status === 200) return answer.body
    const pauseMs = Math.max(1000, retryAfterMs(answer) ?? 5000)
    if (problemOf(answer) !== 'not-anchored-yet') throw refusalOf(answer)
    const leftMs = endMs - Date.now()
    if (leftMs <= 0)
      throw new BuyingError(
        `the proof is not anchored yet: GET /v1/receipts/${id}/bundle gives it in ${pauseMs / 1000} s; --wait waits for it`,
        exitCodes.unavailable,
      )
    await sleep(Math.min(pauseMs, leftMs))
  }
}

const keyOf = ({ keyFile }: BuyOptions): string | undefined => {
  const key = keyFile === undefined ? apiKeyIn(process.env) : readSecret(keyFile)
  if (key !== undefined && !/^[\x21-\x7e]{1,256}$/.test(key))
    throw usageError(`${keyFile ?? 'GROUNDTRUTH_KEY'} does not hold an API key`)
  return key
}

const purchase = async (options: BuyOptions): Promise<void> => {
  const most = parseUsd(options.maxUsd)
  if (most === undefined) throw usageError(`--max-usd takes dollars as 0.01 or 25, not ${options.maxUsd}`)
  const { output, bundle } = options
  if (options.json && !options.quote && output === undefined)
    throw usageError('--json needs --output: without it the readings themselves go to standard output')
  if (isFilePerPage(options.format) && !options.quote && output === undefined)
    throw usageError(
      `--format ${options.format} needs --output: more than ${pageRows} rows are several files, OUTPUT and OUTPUT-2 and so on`,
    )
  const { root, isOpen } = hubAddress(options.hub)
  const key = keyOf(options)
  if (key === undefined && !options.quote)
    throw usageError('a key is needed: --key-file FILE, or GROUNDTRUTH_KEY. POST /v1/keys makes one')
  if (isOpen && key !== undefined)
    process.stderr.write(`The key goes to ${root} in the clear: https:// would hide it.\n`)
  const words = (text: string) => (output === undefined ? process.stderr : process.stdout).write(`${text}\n`)

  await using others = new AsyncDisposableStack()
  await using data = options.quote || output === undefined ? undefined : await openOutput(output)
  await using proof = options.quote || bundle === undefined ? undefined : await openOutput(bundle)

  const ask = askerOf(root, key)
  const { network, hubKey, time } = readJson(await ask('/v1/status'), statusForm)
  const seller: Seller = { network, hubKey: fromHex(hubKey)! }
  const search = searchOf(options, Date.parse(time))
  const priced = await ask(`/v1/quotes?${search}`, { method: 'POST' })
  if (priced.status === 404)
    throw new BuyingError(`${root} sells nothing: GET /v1/readings gives its readings to everybody`)
  const quote = readJson(priced, quoteForm)
  const offer = offered(quote.offer, seller)
  if (offer === undefined)
    throw new BuyingError('the offer is not signed by this hub for its network; nothing was bought')
  const price = BigInt(quote.priceMicroUsd)
  if (offer.mostMicroUsd !== price)
    throw new BuyingError('the signed offer names another price than the quote; nothing was bought')
  if (options.quote) {
    const { rows, values, priceMicroUsd } = quote
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ rows, values, priceMicroUsd, priceUsd: usdText(price) })}\n`
        : `${usdText(price)} USD for ${rows} rows with ${values} values\n`,
    )
    return
  }
  if (price > most)
    throw new BuyingError(
      `this costs ${usdText(price)} USD, more than ${usdText(most)}; nothing was bought. Allow it with --max-usd ${usdText(price)}, or ask for less`,
    )

  const bodies: Uint8Array[] = []
  const taken = async () => {
    let paid = 0
    let receipt: string | undefined
    const headers = { offer: quote.offer, 'idempotency-key': randomUUID() }
    for await (const page of pagesOf(ask, search, headers)) {
      bodies.push(page.body)
      if (bodies.length > 1) continue
      paid = Number(page.headers.get('price'))
      if (paid === 0) continue
      if (BigInt(paid) > price) throw new BuyingError(`the hub took ${paid} micro-USD, more than it offered`)
      receipt = /^[0-9a-f]{32}$/.exec(page.headers.get('receipt-id') ?? '')?.[0]
      if (receipt === undefined) throw new BuyingError('the hub took money and gave no receipt')
      const given = readJson(await ask(`/v1/receipts/${receipt}`), receiptForm)
      const { body } = page
      const bought = {
        id: receipt,
        priceMicroUsd: BigInt(paid),
        body,
        offer: quote.offer,
        query: offer.query,
      }
      const checked = checkReceipt(given, seller, bought)
      if (!checked.ok) throw new BuyingError(`FAILED: ${checked.detail} (receipt ${receipt})`)
    }
    return { paid, receipt, ...joinPages(options.format, bodies) }
  }
  const {
    paid,
    receipt,
    files,
    rows = quote.rows,
  } = await taken().catch(async (error: unknown) => {
    // It may have been paid for: what came is kept, under a name that says that it is not whole.
    if (data !== undefined && bodies.length > 0) {
      const pieces = isFilePerPage(options.format) ? bodies : [Buffer.concat(bodies)]
      const parts = (await writeEach(data, pieces, others)).map(({ part }) => part)
      process.stderr.write(`What came is in ${parts.join(', ')}.\n`)
    }
    throw error
  })
  const kept = data === undefined ? [] : await writeEach(data, files, others)
  for (const file of kept) await file.keep()
  if (data === undefined) await toStandardOutput(files[0]!)
  const summary = {
    rows,
    priceMicroUsd: paid,
    priceUsd: usdText(BigInt(paid)),
    receipt: receipt ?? null,
    output: output ?? null,
    ...(kept.length > 1 ? { files: kept.map(({ path }) => path) } : {}),
  }
  const say = (more: object): void => {
    if (options.json) process.stdout.write(`${JSON.stringify({ ...summary, ...more })}\n`)
  }
  const note = pagesNote(options.format, bodies.length)
  if (!options.json) {
    if (note !== undefined) words(`${output ?? 'This'} is ${note}`)
    if (kept.length > 1) words(`${kept.map(({ path }) => path).join(', ')}: a file for each page`)
    words(
      `${rows} rows for ${usdText(BigInt(paid))} USD${receipt === undefined ? ', so there is no receipt' : `, receipt ${receipt} checked`}`,
    )
  }
  if (proof === undefined || bundle === undefined) return say({})
  try {
    if (receipt === undefined)
      throw new BuyingError('what costs nothing has no receipt, and no proof is given for it')
    const whole = await fetchBundle(ask, receipt, options.wait)
    await proof.write(whole)
    await proof.keep()
    const foreign = foreignProof(verifyBundle(whole), seller, new URLSearchParams(search), receipt)
    if (foreign !== undefined) throw new BuyingError(`FAILED: ${foreign}`)
  } catch (error) {
    say({ bundle: null, verified: null })
    throw error
  }
  // Pages that were put together are not the bytes that the receipt names: then their rows must be comparable.
  const isSold = bodies.length === 1 || isFilePerPage(options.format)
  const isComparable = options.every === undefined && comparable.has(options.format)
  const answer = isSold || isComparable ? output : undefined
  const code = await verifyCommand(
    { file: bundle, answer, json: false },
    { write: (text) => (options.json ? undefined : words(text.replace(/\n$/, ''))) },
  )
  say({ bundle, verified: code === 0 })
  if (code !== 0) throw new BuyingError(`the proof in ${bundle} does not hold`, code)
}

/** Buys, and says what went wrong with the exit code for it. */
export const buy = async (options: BuyOptions): Promise<void> => {
  try {
    await purchase(options)
  } catch (error) {
    if (!(error instanceof BuyingError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exitCode = error.code
  }
}
