/**
 * Exports: answers too large to be sent at once, made in the background and kept as files for a while. What one can cost
 * at most is held when it is ordered; the price of what is in the file is taken when it is whole. An export outlives the
 * hub that took it on: whatever was not finished is made anew after a start.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Evidence } from '../../evidence/evidence.ts'
import { diskFiles, type JournalFiles } from '../../journal/files.ts'
import type { MicroUsd } from '../../sales/money.ts'
import type { ContextSources } from '../formats/context.ts'
import { openGate } from '../gate.ts'
import { type Fault, fault } from '../problem.ts'
import { type Plan, queryText, type Sources } from '../query.ts'
import type { Till } from '../till.ts'
import { budgetFault, creditFault } from '../unpaid.ts'
import { type Export, type HeldOffer, type NewExport, openExportBook } from './book.ts'
import { countMost } from './most.ts'
import { mostStations, openWorker } from './worker.ts'

/** What a hub has room for. `maxBytes` is for all files together, `keptMs` for how long each is kept. */
export type ExportLimits = { readonly maxRows: number; readonly maxBytes: number; readonly keptMs: number }

export type ExportDeps = Sources &
  ContextSources & {
    readonly evidence: Pick<Evidence, 'station'>
    /** Where files are kept. */
    readonly directory: string
    readonly limits: ExportLimits
    readonly till?: Till
    readonly nowMs: () => number
    /** Told of what went wrong on the hub's side. */
    readonly report: (error: unknown) => void
    /** The disk, where it is not the real one. */
    readonly files?: JournalFiles
  }

/** What is ordered, and by whom: `owner` is '' where nothing is paid, `apiKey` the id of the key that pays. */
export type ExportOrder = {
  readonly plan: Plan
  readonly format: string
  /** The order in one string, before its times were resolved. */
  readonly asked: string
  readonly owner: string
  readonly apiKey?: string
  readonly once?: string
  readonly offer?: HeldOffer
}

/** What an export can have and cost at most; `rows` are at least so many. */
export type Counted = {
  readonly ok: true
  readonly most: MicroUsd
  readonly values: number
  readonly rows: number
}

type Ordered = { readonly ok: true; readonly one: Export } | Fault

// Orders that wait or are worked on, of one owner and of all: each takes seconds to minutes, one after the other.
const mostOfOwner = 10
const mostOfAll = 100
const busyRetryS = 30

// Counting reads some thousand sums.
const mostCounted = 2
const mostCountedWaiting = 16

const isUnfinished = ({ state }: Export): boolean =>
  state === 'queued' || state === 'working' || state === 'written'

/** Opens book and files in that directory. What was held for exports that are not in the book is given back. */
export const openExports = (given: ExportDeps) => {
  const directory = join(given.directory, 'files')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const book = openExportBook(join(given.directory, 'exports.sqlite'))
  const deps = { ...given, directory, files: given.files ?? diskFiles, book }
  const { limits, store, till, nowMs, files } = deps
  const worker = openWorker(deps)
  const jobs = till?.sales.jobs
  for (const id of jobs?.unended() ?? []) {
    const one = book.find(id)
    if (one === undefined || !isUnfinished(one))
      jobs?.release(id, 'the hub was stopped before it was ordered')
  }

  const gate = openGate(mostCounted, mostCountedWaiting)
  const count = async (plan: Plan, owner: string): Promise<Counted | Fault> => {
    const tally = till?.openTally(till.sales.keys.ownStations(owner))
    const found = await gate(() => countMost(plan, store, nowMs(), limits.maxRows, (row) => tally?.add(row)))
    const tooLarge = (detail: string): Fault =>
      fault('query-too-large', detail, { fields: [{ name: 'from', detail: 'move it nearer to "to"' }] })
    if (found.leastRows > limits.maxRows)
      return tooLarge(`an export has at most ${limits.maxRows} rows, and this has more`)
    if (found.stations > mostStations) return tooLarge(`an export is of at most ${mostStations} stations`)
    const price = tally?.price()
    return {
      ok: true,
      most: price?.totalMicroUsd ?? 0n,
      values: price?.values ?? 0,
      rows: found.leastRows,
    }
  }

  /** The order of that name, if it was made before; another one of the same name is a fault. */
  const before = ({ owner, once, asked }: Pick<ExportOrder, 'owner' | 'once' | 'asked'>) => {
    const same = once === undefined ? undefined : book.named(owner, once)
    if (same === undefined) return undefined
    return same.asked === asked
      ? { ok: true as const, one: same }
      : fault('idempotency-conflict', 'it was used for another export before')
  }

  /** Why no more orders are taken from an owner now. */
  const full = (owner: string): Fault | undefined => {
    const waiting = book.unfinished()
    const busy = (detail: string): Fault => fault('busy', detail, { retryAfterS: busyRetryS })
    if (waiting.length >= mostOfAll) return busy(`${mostOfAll} exports wait`)
    if (owner !== '' && waiting.filter((one) => one.owner === owner).length >= mostOfOwner)
      return busy(`${mostOfOwner} exports of this account wait`)
    if (worker.keptBytes() < limits.maxBytes) return undefined
    const [oldest] = book.kept()
    const freeMs = oldest === undefined ? 0 : worker.expiresMs(oldest) - nowMs()
    return fault('exports-full', 'the files of earlier exports take all the room there is', {
      retryAfterS: Math.max(1, Math.ceil(freeMs / 1000)),
    })
  }

  /**
   * Takes an order, at once: what it can cost at most is held, and it is in the book. One that was made before under the
   * same name is given again.
   */
  const order = (wanted: ExportOrder, most: MicroUsd): Ordered => {
    const { plan, format, asked, owner, apiKey, once, offer } = wanted
    const same = before(wanted) ?? full(owner)
    if (same !== undefined) return same
    const paidBy =
      till === undefined || owner === ''
        ? undefined
        : till.sales.soldSince(owner, till.queryHash(queryText(plan)), plan.selection.toMs)?.id
    const listed = offer !== undefined && offer.mostMicroUsd < most ? offer.mostMicroUsd : most
    const made: NewExport = {
      id: randomBytes(16).toString('hex'),
      owner,
      asked,
      plan,
      format,
      createdMs: nowMs(),
      mostMicroUsd: paidBy === undefined ? listed : 0n,
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(once === undefined ? {} : { once }),
      ...(offer === undefined ? {} : { offer }),
      ...(paidBy === undefined ? {} : { paidBy }),
    }
    const { id, mostMicroUsd } = made
    if (till !== undefined && mostMicroUsd > 0n) {
      const held = till.sales.jobs.take({ id, customer: owner, apiKey: apiKey ?? null, most: mostMicroUsd })
      if (!held.ok)
        return held.reason === 'budget'
          ? budgetFault(mostMicroUsd, till.usdText)
          : creditFault(mostMicroUsd, held.left, till.usdText)
    }
    try {
      book.add(made)
    } catch (error) {
      jobs?.release(id, 'it could not be noted')
      throw error
    }
    worker.wake()
    return { ok: true, one: book.find(id)! }
  }

  return {
    run: worker.run,
    limits,
    count,
    before,
    order,
    find: (id: string): Export | undefined => {
      const one = book.find(id)
      return one?.state === 'done' && worker.isExpired(one) ? { ...one, state: 'expired' } : one
    },
    /** An owner's, newest first. */
    list: (owner: string, limit: number): Export[] => book.list(owner, limit),
    progress: worker.progress,
    /** Until when (UTC ms) the file of one that is done is kept. */
    expiresMs: worker.expiresMs,
    path: worker.path,
    exists: worker.exists,
    /** Ends one: what is not finished is given up and costs nothing, what is done loses its file. */
    remove: async (one: Export): Promise<void> => {
      const { id } = one
      if (one.state === 'queued' || one.state === 'working') {
        book.drop(id)
        jobs?.release(id, 'its buyer gave it up')
        return worker.stop(id)
      }
      if (one.state === 'written') worker.settle(one)
      book.expire(id)
      await files.remove(worker.path(id)).catch(() => undefined)
    },
    [Symbol.dispose]: (): void => book[Symbol.dispose](),
  }
}

export type Exports = ReturnType<typeof openExports>
