/** Records that can be told apart, and journals filled with them. */
import type { Journal, JournalOptions } from '#gateway/journal/journal.ts'
import { openJournal } from '#gateway/journal/open.ts'
import type { MemoryDisk } from '#test/journal-disk.ts'

/** Segments so small that a few dozen records fill one. */
export const small = {
  directory: '/journal',
  segmentBytes: 1024,
  maxRecordBytes: 200,
  salt: () => 0x5eed,
} as const
/** A journal of small segments on a disk in memory. */
export const openOn = (files: MemoryDisk, more: Partial<JournalOptions> = {}) =>
  openJournal({ ...small, files, ...more })

/** A record that differs from every other index's in each byte's neighbourhood, and now and then ends in zeros. */
export const recordOf = (index: number, bytes = 20 + ((index * 37) % 50)): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, at) =>
    index % 5 === 4 && at > bytes / 2 ? 0 : (index * 31 + at * 7) & 255,
  )

/** Appends that many records of their index, in one commit. */
export const fill = async (journal: Journal, count: number): Promise<void> => {
  for (let made = 0; made < count; made++) journal.append(recordOf(journal.next))
  await journal.commit()
}

/** What the journal reads back, by index. */
export const all = async (journal: Journal, from = 0, to?: number): Promise<Map<number, Uint8Array>> => {
  const found = new Map<number, Uint8Array>()
  for await (const { index, record } of journal.read(from, to)) found.set(index, record)
  return found
}

/** What `fill` wrote at those indexes. */
export const expected = (from: number, to: number): Map<number, Uint8Array> =>
  new Map(Array.from({ length: to - from }, (_, at) => [from + at, recordOf(from + at)]))

/** Numbers in [0, 1) from a seed (mulberry32), so that a failing run can be repeated. */
export const seeded = (seed: number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
}
