/** Works on orders for exports, one after the other: writes the file, takes its price, and removes it when it is old. */

import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex } from '../../reading/bytes.ts'
import type { Selection } from '../../store/store.ts'
import { formats } from '../formats/all.ts'
import { queryText } from '../query.ts'
import { scopeText, scoredOf } from '../scope.ts'
import type { AboutStation, Export, ExportBook } from './book.ts'
import type { ExportDeps } from './exports.ts'
import { pathOf, Unmakeable, writeExport } from './write.ts'

/** How far an export is that is being written; percent of its span. */
export type Progress = { readonly rows: number; readonly percent: number }

/** Percent of a span that is written, 0 to 99. An interval that the span begins in reaches to before its beginning. */
export const percentOf = (reachedMs: number, { fromMs, toMs }: Pick<Selection, 'fromMs' | 'toMs'>): number =>
  Math.min(99, Math.max(0, Math.floor((100 * (reachedMs - fromMs)) / (toMs - fromMs))))

// A share of the price goes to each station, and a receipt holds so many.
export const mostStations = 10_000

// When the store is away, or something else went wrong that may pass.
const retryMs = 5_000
const lookEveryMs = 30_000

// Orders that came to their end are remembered for so long, so that their ids say what became of them.
const rememberedMs = 366 * 86_400_000

// What costs nothing, as a buyer's own and what is made again, can be ordered without end: where data is sold it has so
// many files and this part of the room, its oldest go first, and so many of its ends are remembered.
const mostFreeFiles = 1000
const freeShare = 0.5
const mostFreeRemembered = 10_000

// Backlogs come in while an order waits. A little more than was held is the hub's to give; more is another order.
const givenPermille = 100n

export type WorkerDeps = ExportDeps & Required<Pick<ExportDeps, 'files'>> & { readonly book: ExportBook }

/** The worker of the exports whose files are in that directory. */
export const openWorker = (deps: WorkerDeps) => {
  const { directory, limits, store, anchors, evidence, till, nowMs, report, files, book } = deps
  const jobs = till?.sales.jobs
  let woken = Promise.withResolvers<void>()
  let active: { readonly id: string; readonly stop: AbortController } | undefined
  const progress = new Map<string, { rows: number; percent: number }>()

  const expiresMs = ({ doneMs = 0 }: Export): number => doneMs + limits.keptMs
  const isExpired = (one: Export): boolean => expiresMs(one) <= nowMs()
  const keptBytes = (): number => book.kept().reduce((sum, { file }) => sum + (file?.bytes ?? 0), 0)
  const path = (id: string): string => pathOf(directory, id)
  const exists = (id: string): Promise<boolean> =>
    stat(path(id)).then(
      () => true,
      () => false,
    )

  const sweep = async (): Promise<void> => {
    const old = book.kept().flatMap((one) => (isExpired(one) ? [one.id] : []))
    const free = till === undefined ? [] : book.freeBeyond(mostFreeFiles, limits.maxBytes * freeShare)
    for (const id of new Set([...old, ...free])) {
      book.expire(id)
      await files.remove(path(id)).catch(() => undefined)
    }
    book.forget(nowMs() - rememberedMs, till === undefined ? Number.MAX_SAFE_INTEGER : mostFreeRemembered)
  }

  /** Removes files that no order knows of: what a hub was writing when it died. */
  const tidy = async (): Promise<void> => {
    for (const name of await files.list(directory)) {
      const state = book.find(name)?.state
      if (state !== 'done' && state !== 'written') await files.remove(join(directory, name))
    }
  }

  const aboutOf = (stations: ReadonlySet<string>): AboutStation[] =>
    [...stations].sort().map((station) => {
      const { licence = null, name, cell } = evidence.profile(station) ?? {}
      return {
        station,
        licence,
        ...(name === undefined ? {} : { name }),
        ...(cell === undefined ? {} : { cell }),
      }
    })

  const write = async (one: Export, signal: AbortSignal): Promise<void> => {
    const { id, plan, format, owner, mostMicroUsd, offer, paidBy } = one
    book.work(id)
    const { fromMs, toMs } = plan.selection
    const tally = till?.openTally(till.sales.keys.ownStations(owner))
    const stations = new Set<string>()
    const done = { rows: 0, percent: 0 }
    progress.set(id, done)
    const isBound = tally !== undefined && paidBy === undefined && offer === undefined
    const { file, columns } = await writeExport(
      {
        id,
        plan,
        format: formats.find(({ name }) => name === format)!,
        sources: { store, anchors, evidence },
        files,
        directory,
        maxRows: limits.maxRows,
        maxBytes: Math.min(
          limits.maxBytes - keptBytes(),
          till !== undefined && mostMicroUsd === 0n ? limits.maxBytes * freeShare : limits.maxBytes,
        ),
        nowMs,
        page: (rows, reachedMs) => {
          for (const row of rows) {
            tally?.add(row)
            stations.add(row.station)
          }
          if (stations.size > mostStations)
            throw new Unmakeable(`it is of more than ${mostStations} stations; order it in parts`)
          if (isBound && tally.totalWith([]) > mostMicroUsd + (mostMicroUsd * givenPermille) / 1000n)
            throw new Unmakeable('much more has come in since it was ordered; order it again')
          done.rows += rows.length
          done.percent = percentOf(reachedMs, { fromMs, toMs })
        },
      },
      signal,
    )
    // Given up while its last page was written.
    if (book.find(id) === undefined) return void (await files.remove(path(id)))
    book.written(id, file, tally?.price(), { columns, stations: aboutOf(stations) })
  }

  /** Takes the price of a file that is whole; as often as it is tried, once. */
  const settle = (one: Export): void => {
    const { id, plan, asked, file, price, paidBy, offer } = one
    let receipt = paidBy
    if (till !== undefined && one.mostMicroUsd > 0n)
      receipt = till.sales.jobs.settle({
        id,
        price: price!,
        query: till.queryHash(queryText(plan)),
        asked,
        scope: scopeText(scoredOf(plan), evidence),
        response: fromHex(file!.sha256)!,
        rail: one.apiKey === undefined ? (till.rail?.name ?? '') : 'credits',
        ...(offer === undefined ? {} : { offer: offer.hash }),
      })?.id
    book.done(id, nowMs(), receipt)
  }

  const fail = (id: string, error: unknown): void => {
    const { code } = error as NodeJS.ErrnoException
    if (!(error instanceof Unmakeable)) report(error)
    const why =
      error instanceof Unmakeable
        ? error.message
        : code === undefined
          ? 'the hub made a mistake, which it has logged'
          : `the hub’s disk does not take it (${code})`
    book.fail(id, why)
    jobs?.release(id, why)
  }

  const finish = async (one: Export): Promise<void> => {
    if (!(await exists(one.id))) return book.queue(one.id)
    try {
      settle(one)
    } catch (error) {
      // What was paid is done, if not now then later.
      if (till?.sales.sale(one.owner, one.id) !== undefined) throw error
      fail(one.id, error)
    }
  }

  /** Works on one order; gives how long to wait before the next. */
  const workOn = async (one: Export, signal: AbortSignal): Promise<number> => {
    if (one.state === 'written') {
      await finish(one)
      return 0
    }
    const stop = new AbortController()
    active = { id: one.id, stop }
    try {
      await write(one, AbortSignal.any([signal, stop.signal]))
      return 0
    } catch (error) {
      if (signal.aborted || stop.signal.aborted) return 0
      if ((error as Error).name === 'StoreUnavailable') {
        book.queue(one.id)
        return retryMs
      }
      fail(one.id, error)
      return 0
    } finally {
      active = undefined
      progress.delete(one.id)
    }
  }

  const wait = async (ms: number, signal: AbortSignal): Promise<void> => {
    const timer = Promise.withResolvers<void>()
    const timeout = setTimeout(timer.resolve, ms)
    const stopped = (): void => timer.resolve()
    signal.addEventListener('abort', stopped, { once: true })
    await Promise.race([timer.promise, woken.promise])
    signal.removeEventListener('abort', stopped)
    clearTimeout(timeout)
    woken = Promise.withResolvers()
  }

  return {
    /** Works until the signal aborts. What it was writing then is made anew after the next start. */
    run: async (signal: AbortSignal): Promise<void> => {
      await tidy().catch(report)
      while (!signal.aborted) {
        let pauseMs: number
        try {
          await sweep()
          const next = book.unfinished()[0]
          pauseMs = next === undefined ? lookEveryMs : await workOn(next, signal)
        } catch (error) {
          report(error)
          pauseMs = retryMs
        }
        if (pauseMs > 0 && !signal.aborted) await wait(pauseMs, signal)
      }
    },
    /** Says that there is something to do. */
    wake: (): void => woken.resolve(),
    settle,
    expiresMs,
    isExpired,
    keptBytes,
    path,
    exists,
    /** How far one is that is being written. */
    progress: (id: string): Progress | undefined => progress.get(id),
    /** Stops writing that one, where it is being written. */
    stop: (id: string): void => {
      if (active?.id === id) active.stop.abort()
    },
  }
}

export type Worker = ReturnType<typeof openWorker>
