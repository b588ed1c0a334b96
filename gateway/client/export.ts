/** Exports: a query of any size as one file, ordered, waited for, and taken in parts that go on where one broke off. */
import { sha256 } from '@noble/hashes/sha2.js'
import { fromHex, toHex } from '../reading/bytes.ts'
import type { SalesReceipt } from '../reading/sale.ts'
import { type Asked, isObject, objectIn, pause, plain, problemOf } from './ask.ts'
import { type Counter, newIdempotencyKey, type OrderOptions, orderAt, receiptOf } from './buy.ts'
import { HubDistrusted, HubProblem } from './errors.ts'
import type { Format } from './pages.ts'
import { termsIn } from './quote.ts'

/** A file that is whole at the hub. */
export type ExportedFile = {
  readonly id: string
  readonly rows: number
  readonly bytes: number
  /** Of the whole file, hex. */
  readonly sha256: string
  readonly mediaType: string
  readonly priceMicroUsd: bigint
  /** The sale that paid for it; null where nothing was paid. */
  readonly receiptId: string | null
  /** The signed receipt, checked; null where nothing was paid, or an earlier export paid for this one. */
  readonly receipt: SalesReceipt | null
  /** The file, part by part; throws HubDistrusted at the end where it is not what its SHA-256 says. */
  parts(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>
}

type Shown = {
  readonly id: string
  readonly state: 'queued' | 'working' | 'done' | 'failed' | 'expired'
  readonly detail?: string
  readonly priceMicroUsd: bigint | null
  readonly receipt: string | null
  readonly percent: number
  readonly rows: number
  readonly files: readonly {
    readonly href: string
    readonly mediaType: string
    readonly bytes: number
    readonly sha256: string
    readonly rows: number
  }[]
}

/** How far an export is that is being made. */
export type ExportProgress = {
  readonly state: 'queued' | 'working'
  readonly percent: number
  readonly rows: number
}

const states: ReadonlySet<unknown> = new Set<Shown['state']>([
  'queued',
  'working',
  'done',
  'failed',
  'expired',
])

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0

const isText = (value: unknown, pattern: RegExp): boolean => typeof value === 'string' && pattern.test(value)

const idPattern = /^[0-9a-f]{32}$/

const isFile = (value: unknown): boolean =>
  isObject(value) &&
  isText(value.href, /^\/v1\/exports\/[0-9a-f]{32}\/[\w.-]{1,100}$/) &&
  isText(value.mediaType, /^[\x20-\x7e]{1,100}$/) &&
  isText(value.sha256, /^[0-9a-f]{64}$/) &&
  isCount(value.bytes) &&
  isCount(value.rows)

const isShown = (said: Readonly<Record<string, unknown>>): boolean => {
  const { id, state, files, priceMicroUsd: price, receipt, percent, rows } = said
  const isPriced = price === null || (typeof price === 'bigint' && price >= 0n)
  return (
    isText(id, idPattern) &&
    states.has(state) &&
    Array.isArray(files) &&
    files.every(isFile) &&
    isPriced &&
    (receipt === null || isText(receipt, idPattern)) &&
    isCount(percent) &&
    isCount(rows)
  )
}

// Written in seconds, mostly; one of millions of rows takes minutes.
const lookAgainMs = 2000

// Small enough that little is asked for again where a connection breaks.
const partBytes = 8 * 1024 * 1024

/** Orders an export and waits until its file is whole. */
export const exportOf = async (
  counter: Counter,
  search: URLSearchParams,
  format: Format,
  options: OrderOptions & { readonly progress?: (how: ExportProgress) => void },
): Promise<ExportedFile> => {
  const { ask } = counter
  const { signal } = options
  const asked = {
    method: 'POST',
    json: { ...Object.fromEntries(search), format },
  } as const satisfies Asked
  const once = { 'idempotency-key': newIdempotencyKey() }
  const priced = await ask('/v1/exports', { ...asked, headers: once, withKey: false, signal })
  // What is free has been ordered with this.
  const terms = priced.status === 202 ? undefined : termsIn(priced, await counter.seller(signal))
  const ordered =
    terms === undefined
      ? undefined
      : await orderAt(counter, '/v1/exports', { ...asked, status: 202 }, terms, options)
  let shown = objectIn<Shown>(ordered?.answer ?? priced, isShown)
  const { id } = shown
  while (shown.state !== 'done') {
    if (shown.state === 'failed') {
      ordered?.hold.release()
      throw new HubProblem('export-failed', {
        title: 'The export could not be made',
        status: 200,
        detail: plain(shown.detail) || 'the hub does not say why',
        help: 'Nothing was charged. Ask for less, or again later.',
      })
    }
    const { state, percent, rows } = shown
    if (state === 'expired')
      throw new HubProblem('export-expired', {
        title: 'The export is not kept any more',
        status: 410,
        detail: 'it was made and not taken in time',
        help: 'Ask for the same again: what was paid is not paid twice.',
      })
    options.progress?.({ state, percent, rows })
    await pause(lookAgainMs, signal)
    shown = objectIn<Shown>(await ask(`/v1/exports/${id}`, { signal }), isShown)
  }
  const priceMicroUsd = typeof shown.priceMicroUsd === 'bigint' ? shown.priceMicroUsd : 0n
  ordered?.hold.paid(priceMicroUsd)
  const receiptId = shown.receipt
  const most = terms?.mostMicroUsd ?? 0n
  const [file] = shown.files
  const hash = file && fromHex(file.sha256)
  if (file === undefined || hash === undefined)
    throw new HubDistrusted(`the export ${id} is done and has no file`)
  if (priceMicroUsd > most)
    throw new HubDistrusted(`the hub took ${priceMicroUsd} micro-USD, more than the ${most} it offered`)
  // What an earlier export paid for is paid with its receipt, and costs nothing here.
  if (priceMicroUsd > 0n && receiptId !== id)
    throw new HubDistrusted(`the hub took money for the export ${id} and gave no receipt`)
  const { bytes, mediaType, rows, href } = file

  async function* parts() {
    const hasher = sha256.create()
    for (let at = 0; at < bytes; at += partBytes) {
      const last = Math.min(at + partBytes, bytes) - 1
      const headers = { range: `bytes=${at}-${last}` }
      const part = await ask(href, { headers, mostBytes: partBytes, signal })
      if (part.status !== 206) throw problemOf(part)
      if (part.body.length !== last - at + 1)
        throw new HubDistrusted('a part of the file is not as long as asked')
      hasher.update(part.body)
      yield part.body
    }
    if (toHex(hasher.digest()) !== file!.sha256)
      throw new HubDistrusted(
        'the file is not what its SHA-256 says',
        receiptId === null ? {} : { receiptId },
      )
  }

  const offer = ordered?.onTheSpot ? undefined : terms?.signed?.offer
  const sale = { id, priceMicroUsd, response: hash, offer, query: terms?.signed?.query }
  return {
    ...{ id, rows, bytes, mediaType, priceMicroUsd, receiptId, parts },
    sha256: file.sha256,
    receipt: priceMicroUsd > 0n ? await receiptOf(counter, sale, signal) : null,
  }
}
