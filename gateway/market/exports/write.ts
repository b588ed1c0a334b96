/** Writes one export to disk: page by page from the store, so that it needs no more memory for a year than for an hour. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { type JournalFiles, writeAll } from '../../journal/files.ts'
import type { PricedRow } from '../../sales/price.ts'
import { chunksOf } from '../body.ts'
import { type ContextSources, contextOf } from '../formats/context.ts'
import type { Format } from '../formats/format.ts'
import { pricedRow } from '../priced.ts'
import { type Answer, nextPlan, type Plan, run, type Sources } from '../query.ts'
import type { ExportFile } from './book.ts'

/** Why an export cannot be made, in words for whoever ordered it. */
export class Unmakeable extends Error {
  override name = 'Unmakeable'
}

/** Rows read at once: what an export has in memory. */
export const pageRows = 10_000

export type Writing = {
  readonly id: string
  readonly plan: Plan
  readonly format: Format
  readonly sources: Sources & ContextSources
  readonly files: JournalFiles
  readonly directory: string
  /** What it may have at most. */
  readonly maxRows: number
  readonly maxBytes: number
  readonly nowMs: () => number
  /** Told of each page, before it is written. */
  readonly page: (rows: readonly PricedRow[], reachedMs: number) => void
}

/** Name of the file of an export, as it is kept and as it is fetched. */
export const fileName = (format: Pick<Format, 'name'>): string => `readings.${format.name}`

/** Where the file of an export is kept; beside it, with `.part` behind, while it is written. */
export const pathOf = (directory: string, id: string): string => join(directory, id)

/** A file that is whole, and the names of the quantities that its rows can hold. */
export type Written = { readonly file: ExportFile; readonly columns: readonly string[] }

/** The pages of a plan, each read when the one before is written. */
async function* pagesOf(writing: Writing, signal: AbortSignal, count: (rows: number) => void) {
  const { plan, sources, nowMs } = writing
  for (let next: Plan | undefined = { ...plan, limit: pageRows }; next !== undefined; ) {
    signal.throwIfAborted()
    const answer: Answer = await run(next, sources)
    count(answer.rows.length)
    const now = nowMs()
    const last = answer.rows.at(-1)
    writing.page(
      answer.rows.map((row) => pricedRow(row, now)),
      last === undefined ? plan.selection.toMs : Date.parse(last.time),
    )
    yield answer
    next = nextPlan(next, answer)
  }
}

/**
 * Writes the whole file and gives what it is, when it is on the medium under its name. Throws Unmakeable for one that
 * gets too large, StoreUnavailable, and what the disk says; nothing is left of the file then.
 */
export const writeExport = async (writing: Writing, signal: AbortSignal): Promise<Written> => {
  const { id, plan, format, sources, files, directory, maxRows, maxBytes } = writing
  const path = pathOf(directory, id)
  // Whether the format has columns or not, its description names them.
  const needs = ['columns', ...format.needs] as const
  const context = await contextOf({ needs }, { kind: 'latest', rows: [] }, plan.selection, sources)
  let rows = 0
  let bytes = 0
  const hash = createHash('sha256')
  const count = (more: number): void => {
    rows += more
    if (rows > maxRows)
      throw new Unmakeable(
        `it has more than ${maxRows} rows; move "from" nearer to "to", or order it in parts`,
      )
  }
  const part = `${path}.part`
  try {
    const file = await files.open(part, 'create')
    try {
      for await (const chunk of chunksOf(format.render(pagesOf(writing, signal, count), context))) {
        if (bytes + chunk.length > maxBytes)
          throw new Unmakeable('the hub has no room for it; order it in parts, or later')
        await writeAll(file, chunk, bytes)
        hash.update(chunk)
        bytes += chunk.length
      }
      await file.sync()
    } finally {
      await file.close()
    }
    await files.rename(part, path)
    await files.syncDirectory(directory)
  } catch (error) {
    await files.remove(part).catch(() => undefined)
    throw error
  }
  const { columns } = context
  return { file: { name: fileName(format), bytes, sha256: hash.digest('hex'), rows }, columns }
}
