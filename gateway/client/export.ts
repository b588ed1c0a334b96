/** Exports: a query of any size as one file, ordered, waited for, and taken in parts that go on where one broke off. */
import { sha256 } from '@noble/hashes/sha2.js'
import { fromHex, toHex } from '../reading/bytes.ts'
import type { SalesReceipt } from '../reading/sale.ts'
import { type Asked, objectIn, pause, problemOf } from './ask.ts'
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

const isShown = ({ id, state, files }: Readonly<Record<string, unknown>>): boolean =>
  typeof id === 'string' && /^[0-9a-f]{32}$/.test(id) && typeof state === 'string' && Array.isArray(files)

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
        detail: shown.detail ?? 'the hub does not say why',
        help: 'Nothing was charged. Ask for less, or again later.',
      })
    }
    const { state, percent, rows } = shown
    if (state === 'queued' || state === 'working') options.progress?.({ state, percent, rows })
    await pause(lookAgainMs, signal)
    shown = objectIn<Shown>(await ask(`/v1/exports/${id}`, { signal }), isShown)
  }
  const priceMicroUsd = typeof shown.priceMicroUsd === 'bigint' ? shown.priceMicroUsd : 0n
  ordered?.hold.paid(priceMicroUsd)
  const receiptId = shown.receipt
  const most = terms?.mostMicroUsd ?? 0n
  const [file] = shown.files
  const hash = file === undefined ? undefined : fromHex(file.sha256)
  if (file === undefined || hash?.length !== 32 || !Number.isSafeInteger(file.bytes))
    throw new HubDistrusted(`the export ${id} is done and has no file`)
  if (priceMicroUsd > most)
    throw new HubDistrusted(`the hub took ${priceMicroUsd} micro-USD, more than the ${most} it offered`)
  const { bytes, mediaType, rows, href } = file

  async function* parts() {
    const hasher = sha256.create()
    for (let at = 0; at < bytes; at += partBytes) {
      const last = Math.min(at + partBytes, bytes) - 1
      const headers = { range: `bytes=${at}-${last}` }
      const { pathname } = new URL(href, 'http://hub.invalid')
      const part = await ask(pathname, { headers, mostBytes: partBytes, signal })
      if (part.status !== 206) throw problemOf(part)
      if (part.body.length !== last - at + 1)
        throw new HubDistrusted('a part of the file is not as long as asked')
      hasher.update(part.body)
      yield part.body
    }
    if (toHex(hasher.digest()) !== toHex(hash!))
      throw new HubDistrusted(
        'the file is not what its SHA-256 says',
        receiptId === null ? {} : { receiptId },
      )
  }

  const isOwn = receiptId === id && priceMicroUsd > 0n
  const offer = ordered?.onTheSpot ? undefined : terms?.signed?.offer
  const sale = { id, priceMicroUsd, response: hash, offer, query: terms?.signed?.query }
  return {
    ...{ id, rows, bytes, mediaType, priceMicroUsd, receiptId, parts },
    sha256: toHex(hash),
    receipt: isOwn ? await receiptOf(counter, sale, signal) : null,
  }
}
