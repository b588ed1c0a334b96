/** `groundtruth export`: a query of any size as one file, ordered, waited for, and taken whole. */
import { LimitReached } from '../client/errors.ts'
import type { ExportProgress } from '../client/export.ts'
import type { Format } from '../client/pages.ts'
import { usdText } from '../sales/money.ts'
import { type AskingOptions, keyOf, mostOf, openHub, queryOf, reporting } from './asking.ts'
import { BuyingError } from './buying-error.ts'
import { openOutput } from './output.ts'

export type ExportOptions = AskingOptions & {
  readonly format: Format
  readonly output: string
  readonly json: boolean
}

/** Shows on standard error how far it is: on one line where somebody looks. */
const openProgress = () => {
  const { isTTY } = process.stderr
  let shown = ''
  return {
    show: (text: string): void => {
      if (text === shown) return
      process.stderr.write(isTTY ? `\r\x1b[K${text}` : `${text}\n`)
      shown = text
    },
    end: (): void => {
      if (isTTY && shown !== '') process.stderr.write('\r\x1b[K')
    },
  }
}

const words = ({ state, percent, rows }: ExportProgress): string =>
  state === 'queued' ? 'waits for its turn' : `${percent} % made, ${rows} rows`

const take = async (options: ExportOptions): Promise<void> => {
  const { output, format } = options
  const most = mostOf(options)
  const hub = openHub(options.hub, keyOf(options), most)
  await using data = await openOutput(output)
  const progress = openProgress()
  try {
    const file = await hub
      .export(queryOf(options), format, { progress: (how) => progress.show(words(how)) })
      .catch((error: unknown) => {
        if (!(error instanceof LimitReached)) throw error
        const price = usdText(error.priceMicroUsd)
        throw new BuyingError(
          `this can cost ${price} USD, more than ${usdText(most)}; nothing was ordered. Allow it with --max-usd ${price}, or ask for less`,
        )
      })
    let taken = 0
    for await (const part of file.parts()) {
      await data.write(part)
      taken += part.length
      progress.show(`${Math.floor((100 * taken) / file.bytes)} % taken of ${file.bytes} bytes`)
    }
    await data.keep()
    const { id, rows, bytes, sha256, priceMicroUsd, receiptId } = file
    progress.end()
    if (options.json) {
      const summary = { id, rows, bytes, sha256, priceMicroUsd: Number(priceMicroUsd) }
      process.stdout.write(`${JSON.stringify({ ...summary, receipt: receiptId, output })}\n`)
      return
    }
    const paid =
      file.receipt === null
        ? 'for nothing'
        : `for ${usdText(priceMicroUsd)} USD, receipt ${receiptId} checked`
    process.stdout.write(`${rows} rows in ${bytes} bytes ${paid}\nSHA-256 ${sha256}\n`)
  } finally {
    progress.end()
  }
}

/** Exports, and says what went wrong with the exit code for it. */
export const exportRows = (options: ExportOptions): Promise<void> => reporting(() => take(options))
