/** `groundtruth buy`: a quote, a purchase under one name, its receipt, and the proof of what was bought. */
import { HubDistrusted } from '../client/errors.ts'
import { type Format, pageRows } from '../client/pages.ts'
import { usdText } from '../sales/money.ts'
import { verifyCommand } from '../verify/cli.ts'
import { type AskingOptions, keyOf, mostOf, openHub, queryOf, reporting, usageError } from './asking.ts'
import { BuyingError } from './buying-error.ts'
import { openOutput, toStandardOutput, writeEach } from './output.ts'
import { isFilePerPage, joinPages, pagesNote } from './pages.ts'

export type BuyOptions = AskingOptions & {
  readonly format: Format
  readonly output?: string
  readonly quote: boolean
  readonly bundle?: string
  readonly wait: number
  readonly json: boolean
}

/** Formats whose rows are compared with the proof. */
const comparable: ReadonlySet<Format> = new Set(['json', 'csv', 'ndjson'])

const purchase = async (options: BuyOptions): Promise<void> => {
  const most = mostOf(options)
  const { output, bundle } = options
  if (options.json && !options.quote && output === undefined)
    throw usageError('--json needs --output: without it the readings themselves go to standard output')
  if (isFilePerPage(options.format) && !options.quote && output === undefined)
    throw usageError(
      `--format ${options.format} needs --output: more than ${pageRows} rows are several files, OUTPUT and OUTPUT-2 and so on`,
    )
  const key = keyOf(options)
  if (key === undefined && !options.quote)
    throw usageError('a key is needed: --key-file FILE, or GROUNDTRUTH_KEY. POST /v1/keys makes one')
  const hub = openHub(options.hub, key, most)
  const words = (text: string) => (output === undefined ? process.stderr : process.stdout).write(`${text}\n`)

  await using others = new AsyncDisposableStack()
  await using data = options.quote || output === undefined ? undefined : await openOutput(output)
  await using proof = options.quote || bundle === undefined ? undefined : await openOutput(bundle)

  const quote = await hub.quote(queryOf(options))
  if (quote.offerExpires === null)
    throw new BuyingError(`${options.hub} sells nothing: GET /v1/readings gives its readings to everybody`)
  const price = quote.priceMicroUsd
  if (options.quote) {
    const { rows, values } = quote
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ rows, values, priceMicroUsd: Number(price), priceUsd: usdText(price) })}\n`
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
    const bought = await quote.download(options.format)
    for await (const body of bought.bodies()) bodies.push(body)
    return { bought, ...joinPages(options.format, bodies) }
  }
  const {
    bought,
    files,
    rows = quote.rows,
  } = await taken().catch(async (error: unknown) => {
    if (error instanceof HubDistrusted && error.body !== undefined && bodies.length === 0)
      bodies.push(error.body)
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
  const paid = bought.priceMicroUsd
  const receipt = bought.receiptId
  const creditMicroUsd = bought.receipt?.creditMicroUsd ?? 0
  const summary = {
    rows,
    priceMicroUsd: Number(paid),
    priceUsd: usdText(paid),
    ...(creditMicroUsd === 0 ? {} : { creditMicroUsd }),
    receipt,
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
      `${rows} rows for ${usdText(paid)} USD${receipt === null ? ', so there is no receipt' : `, receipt ${receipt} checked`}`,
    )
    if (creditMicroUsd > 0)
      words(`${usdText(BigInt(creditMicroUsd))} USD of it credited: less was there than the hub promises`)
  }
  if (proof === undefined || bundle === undefined) return say({})
  try {
    if (receipt === null)
      throw new BuyingError('what costs nothing has no receipt, and no proof is given for it')
    const foreign: unknown[] = []
    const whole = await bought.bundle({ waitMs: options.wait * 1000 }).catch((error: unknown) => {
      // One of something else is kept too: it shows what was given instead.
      if (!(error instanceof HubDistrusted) || error.body === undefined) throw error
      foreign.push(error)
      return error.body
    })
    await proof.write(whole)
    await proof.keep()
    if (foreign.length > 0) throw foreign[0]
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
export const buy = (options: BuyOptions): Promise<void> => reporting(() => purchase(options))
