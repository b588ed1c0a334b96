/** The cursor: how far receipts reach, and where the chain ended, noted beside the journal. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { fromHex } from '../reading/bytes.ts'

/** `index` is the oldest place in the journal that still waits; the rest is the head of the chain, its hash in hex. */
export type Cursor = {
  readonly index: number
  readonly seq: number
  readonly hash: string
  readonly withheld: number
}

/** The cursor file only saves work: when it is old or gone, envelopes are sent again and the hub knows them. */
export const readCursor = (path: string): Cursor | undefined => {
  try {
    const { index, seq, hash, withheld = 0 } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Cursor>
    if (typeof hash !== 'string' || fromHex(hash)?.length !== 32) return undefined
    return Number.isSafeInteger(index) &&
      Number.isSafeInteger(seq) &&
      Number.isSafeInteger(withheld) &&
      withheld >= 0
      ? { index: index!, seq: seq!, hash, withheld }
      : undefined
  } catch {
    return undefined // first start, or a file torn by a power cut
  }
}

/** Writes the cursor in place of the one before. Throws what the disk says. */
export const writeCursor = (path: string, cursor: Cursor): void => {
  writeFileSync(`${path}.new`, JSON.stringify(cursor), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
