/** Readings as they come: a stream that goes on where it broke off, with the receipts of what it was paid. */
import type { SalesReceipt } from '../reading/sale.ts'
import { responseOf } from '../verify/purchase.ts'
import type { ReadingRow } from './answers.ts'
import {
  firstPauseMs,
  isObject,
  jsonIn,
  longestPauseMs,
  pause,
  problemIn,
  problemOf,
  type Send,
} from './ask.ts'
import { type Counter, type OrderOptions, receiptOf } from './buy.ts'
import { HubDistrusted, HubProblem, HubUnreachable, LimitReached } from './errors.ts'
import { eventsIn } from './event-stream.ts'

/** A reading as it came; a stream opened with its `id` as `after` goes on behind it. */
export type StreamedReading = { readonly id: string; readonly reading: ReadingRow }

/** What readings since the last account cost; about once a minute. */
export type StreamAccount = {
  readonly rows: number
  readonly priceMicroUsd: bigint
  /** Null where these rows were paid for before and came again. */
  readonly receiptId: string | null
  /** The signed receipt, checked against the readings that came. */
  readonly receipt: SalesReceipt | null
}

export type StreamOptions = OrderOptions & {
  /** Goes on behind the event with this id, for at most a day; otherwise it is of what comes from now on. */
  readonly after?: string
  /** Told of each account. */
  readonly onAccount?: (account: StreamAccount) => void
}

// The hub says something each 15 s: a connection that is silent for so long is dead.
const silenceMs = 60_000

// A minute of a large network is some megabytes; an account ends what is kept for its receipt.
const longestSegment = 64 * 1024 * 1024

type Segment = { texts: string[]; length: number }

/** The row in an event's data, or what is wrong. */
const rowIn = (data: string): ReadingRow => {
  const said = jsonIn(data)
  if (!isObject(said) || !isObject(said.proof) || !isObject(said.values))
    throw new HubDistrusted('the hub sends an event that is no reading')
  return said as unknown as ReadingRow
}

type Statement = { readonly receipt: string | null; readonly rows: number; readonly priceMicroUsd: bigint }

const statementIn = (data: string): Statement => {
  const said = jsonIn(data)
  const isIt =
    isObject(said) &&
    (said.receipt === null || (typeof said.receipt === 'string' && /^[0-9a-f]{32}$/.test(said.receipt))) &&
    typeof said.rows === 'number' &&
    typeof said.priceMicroUsd === 'bigint' &&
    said.priceMicroUsd >= 0n
  if (!isIt) throw new HubDistrusted('the hub sends an account that cannot be read')
  return said as Statement
}

/** Whether the hub only goes away for a moment. */
const isPassing = ({ status, slug }: HubProblem): boolean =>
  slug === 'hub-stopping' || [429, 502, 503, 504].includes(status)

/**
 * The readings of a query as they come. It connects again by itself, as often as `tries` without an event in between.
 * Throws HubProblem where the hub ends it for good, LimitReached as soon as accounts come to more than it may cost.
 */
export async function* streamOf(
  counter: Counter & { readonly send: Send; readonly tries: number; readonly maxMicroUsd: bigint },
  search: URLSearchParams,
  options: StreamOptions,
): AsyncGenerator<StreamedReading, void, void> {
  const { send, tries, purse } = counter
  const { signal, maxMicroUsd = counter.maxMicroUsd, onAccount } = options
  let after = options.after ?? ''
  let cost = 0n

  const account = async (statement: Statement, { texts }: Segment): Promise<void> => {
    const { rows, priceMicroUsd, receipt: receiptId } = statement
    const isOverTotal = purse.spend(priceMicroUsd)
    cost += priceMicroUsd
    let receipt: SalesReceipt | null = null
    if (receiptId !== null) {
      const response = responseOf(new TextEncoder().encode(texts.map((text) => `${text}\n`).join('')))
      const sale = { id: receiptId, priceMicroUsd, response, offer: undefined, query: undefined }
      receipt = await receiptOf(counter, sale, signal)
    }
    onAccount?.({ rows, priceMicroUsd, receiptId, receipt })
    if (cost > maxMicroUsd) throw new LimitReached('purchase', cost, maxMicroUsd)
    if (isOverTotal) throw new LimitReached('total', priceMicroUsd, 0n)
  }

  async function* connection(heard: () => void): AsyncGenerator<StreamedReading, void, void> {
    const gone = new AbortController()
    let watch: ReturnType<typeof setTimeout> | undefined
    const alive = (): void => {
      clearTimeout(watch)
      watch = setTimeout(() => gone.abort(new TypeError('nothing was heard for a minute')), silenceMs)
    }
    try {
      alive()
      const response = await send(`/v1/stream?${search}`, {
        ...(after === '' ? {} : { headers: { 'last-event-id': after } }),
        signal: signal == null ? gone.signal : AbortSignal.any([signal, gone.signal]),
      })
      if (response.status !== 200 || response.body === null)
        throw problemOf({
          status: response.status,
          headers: response.headers,
          body: new Uint8Array(await response.arrayBuffer()),
        })
      let segment: Segment = { texts: [], length: 0 }
      for await (const { event, id, data } of eventsIn(response.body)) {
        alive()
        heard()
        if (data !== undefined && event === 'end') throw problemIn(jsonIn(data), 503)
        if (data !== undefined && event === 'account') {
          const ended = segment
          segment = { texts: [], length: 0 }
          await account(statementIn(data), ended)
        } else if (data !== undefined && event === 'reading') {
          const reading = rowIn(data)
          segment.length += data.length
          if (segment.length > longestSegment)
            throw new HubDistrusted('the hub sends more readings than it accounts for')
          segment.texts.push(data)
          yield { id, reading }
        }
        if (id !== '') after = id
      }
    } finally {
      clearTimeout(watch)
      gone.abort()
    }
  }

  for (let failures = 1; ; failures++) {
    let waitMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (failures - 1))
    try {
      yield* connection(() => {
        failures = 0
      })
    } catch (error) {
      const isOver = failures >= tries
      if (error instanceof HubProblem) {
        if (isOver || !isPassing(error)) throw error
        waitMs = Math.min(longestPauseMs, Math.max(waitMs, (error.retryAfterS ?? 0) * 1000))
      } else if (!(error instanceof TypeError)) throw error
      else if (isOver)
        throw new HubUnreachable(`the stream cannot be opened: ${error.message}`, { cause: error })
    }
    await pause(Math.max(waitMs, firstPauseMs), signal)
  }
}
