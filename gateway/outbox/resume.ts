/** Picking up where the outbox was: what waits in its journal, and where the chain ended. */
import type { Journal } from '../journal/journal.ts'
import { fromHex } from '../reading/bytes.ts'
import { type DroppedStretch, decodeDropped, droppedContentType } from '../reading/dropped.ts'
import { decodeEnvelope, envelopeHash, noPrevious } from '../reading/envelope.ts'
import { type Cursor, readCursor } from './cursor.ts'
import type { Queue } from './queue.ts'

/** The newest envelope of the chain, and the index that the cursor on disk names. */
export type Resumed = {
  readonly head: { readonly seq: number; readonly hash: Uint8Array; readonly withheld: number }
  readonly cursorIndex: number
}

const headOf = (stored: Cursor | undefined): Resumed['head'] =>
  stored === undefined
    ? { seq: 0, hash: noPrevious, withheld: 0 }
    : { seq: stored.seq, hash: fromHex(stored.hash)!, withheld: stored.withheld }

/** Takes out of the queue what a declaration lists: number by number, or where it lists more than waits, one by one. */
const dropListed = (queue: Queue, { seq, count }: DroppedStretch): void => {
  if (count <= queue.size) for (let at = seq; at < seq + count; at++) queue.drop(at)
  else
    for (const at of queue.seqs(seq - 1)) {
      if (at >= seq + count) break
      queue.drop(at)
    }
}

/**
 * Puts what waits in the journal into an emptied queue, all of it backlog; what is declared dropped does not wait.
 * `declarations` becomes those that wait, by number, each with the first number it lists.
 */
export const resume = async (
  from: Journal,
  cursorPath: string,
  queue: Queue,
  declarations: Map<number, number>,
): Promise<Resumed> => {
  const stored = readCursor(cursorPath)
  queue.clear()
  declarations.clear()
  let head = headOf(stored)
  // A cursor past the end is from before the disk lost its newest records: it says nothing about what comes now.
  const start = stored !== undefined && stored.index <= from.next ? stored.index : 0
  for await (const { index, record } of from.read(Math.max(from.first, start))) {
    const decoded = decodeEnvelope(record)
    if (!decoded.ok) continue // damage that a checksum did not see: nobody could verify it either
    const { seq, withheld } = decoded.envelope
    const hash = envelopeHash(record)
    queue.add(seq, { index, hash })
    queue.offer(seq, true)
    if (decoded.envelope.contentType === droppedContentType) {
      const declared = decodeDropped(decoded.envelope.payload, seq)
      const [first] = declared.ok ? declared.dropped.envelopes : []
      if (first !== undefined) declarations.set(seq, first.seq)
      if (declared.ok) for (const one of declared.dropped.envelopes) dropListed(queue, one)
    }
    if (seq >= head.seq) head = { seq, hash, withheld }
  }
  return { head, cursorIndex: stored?.index ?? 0 }
}
