/** What a format needs beside the rows of an answer, and what of it an entity tag must take in. */
import type { Evidence } from '../../evidence/evidence.ts'
import type { Selection, Store } from '../../store/store.ts'
import { type Answer, columnsOf } from '../query.ts'
import type { Format, FormatContext } from './format.ts'

/** Where it is found. */
export type ContextSources = {
  readonly store: Store
  readonly evidence: Pick<Evidence, 'profile'>
}

/** Looks up what the format needs for an answer to a selection. A cell that was given once stays the same. */
export const contextOf = async (
  { needs }: Pick<Format, 'needs'>,
  answer: Answer,
  selection: Partial<Selection>,
  { store, evidence }: ContextSources,
): Promise<FormatContext> => {
  const cells = new Map<string, string | undefined>()
  const cellOf = (station: string): string | undefined => {
    if (!cells.has(station)) cells.set(station, evidence.profile(station)?.cell)
    return cells.get(station)
  }
  return {
    columns: needs.includes('columns') ? await columnsOf(selection, answer, store) : [],
    cellOf: needs.includes('cells') ? cellOf : () => undefined,
  }
}

/** All of a context that an answer shows, in one string. */
export const contextText = (answer: Answer, { columns, cellOf }: FormatContext): string => {
  const stations = [...new Set(answer.rows.map(({ station }) => station))]
  return JSON.stringify([columns, stations.map(cellOf)])
}
