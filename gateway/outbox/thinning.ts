/**
 * The thinning: while the outbox takes more disk than it may, step after step of its oldest envelopes goes, each
 * declared in the station's own chain before it is let go.
 */
import { equalBytes } from '../reading/bytes.ts'
import { type Dropped, decodeDropped, droppedContentType, encodeDropped } from '../reading/dropped.ts'
import { decodeEnvelope, envelopeHash } from '../reading/envelope.ts'
import type { Lasting } from './lasting.ts'
import { type Declaration, mergeDeclarations } from './merge.ts'
import type { Queue } from './queue.ts'
import { declarationOf, leastThinned, stepOf, type Waiting } from './thin.ts'

/** What the thinning is given by the outbox. */
export type ThinningDeps = {
  readonly queue: Queue
  readonly journal: Lasting
  /** Declarations that wait, by number, each with the first number it lists; kept up to date here. */
  readonly declarations: Map<number, number>
  /** Disk the envelopes may take, in bytes. */
  readonly maxBytes: number
  readonly utc: () => number
  /** Signs a declaration as the chain's next envelope, appends it and answers its number. */
  readonly declare: (contentType: string, payload: Uint8Array) => number
  /** Resolves when what was appended is on disk, or the disk failed. */
  readonly commit: () => Promise<void>
  /** Declarations of what lies above stay apart: somebody still counts what was signed envelope by envelope. */
  readonly mergedUpTo: () => number
  /** Frees what no envelope that waits stands in. */
  readonly free: () => Promise<void>
}

export type Thinning = {
  /** Starts where it is needed and not under way. */
  start(): void
  /** Resolves when what is under way is done. */
  readonly done: Promise<void> | undefined
  /** Envelopes dropped since the start. */
  readonly dropped: number
}

/** Declarations that may wait beside so many envelopes before some are made one: together some hundredth of the bytes. */
const mostDeclarations = (waiting: number): number => 8 + (waiting >> 6)

// What is read to be made one at a time.
const mergedAtOnce = 32

/** A thinning at rest. */
export const createThinning = (deps: ThinningDeps): Thinning => {
  const { queue, journal, declarations, maxBytes } = deps
  let dropped = 0
  let thinnedTo = 0
  let mergedTo = 0
  let thinning: Promise<void> | undefined

  /** The bytes of envelopes that wait on disk and are not on their way. */
  const waitingOf = async (seqs: readonly number[]): Promise<Waiting[]> => {
    const found: Waiting[] = []
    for (const seq of seqs) {
      const place = queue.get(seq)
      if (place === undefined || queue.isFlying(seq)) continue
      const bytes = await journal.get(place.index)
      if (bytes && equalBytes(envelopeHash(bytes), place.hash)) found.push({ seq, hash: place.hash, bytes })
    }
    return found
  }

  /** The next of the older half: one pass after the other goes over it, so the oldest have been halved most often. */
  const nextOldest = (): number[] => {
    const oldest: number[] = []
    if (queue.size < leastThinned) return oldest
    const most = stepOf(queue.size)
    const end = queue.ranked(queue.size >> 1) ?? 0
    for (let passes = 0; passes < 2 && oldest.length === 0; passes++) {
      for (const seq of queue.seqs(thinnedTo)) {
        if (seq >= end || oldest.length >= most) break
        oldest.push(seq)
      }
      thinnedTo = oldest.at(-1) ?? 0
    }
    return oldest
  }

  /** Whether it is on disk now. */
  const declare = async (dropped: Dropped): Promise<boolean> => {
    const seq = deps.declare(droppedContentType, encodeDropped(dropped))
    declarations.set(seq, dropped.envelopes[0]!.seq)
    await deps.commit()
    return journal.disk.state === 'ok'
  }

  const declarationsIn = (waiting: readonly Waiting[]): Declaration[] =>
    waiting.flatMap(({ seq, hash, bytes }) => {
      const decoded = decodeEnvelope(bytes)
      const declared = decoded.ok ? decodeDropped(decoded.envelope.payload, seq) : decoded
      return declared.ok ? [{ seq, hash, dropped: declared.dropped }] : []
    })

  /**
   * Makes some of the declarations one, where too many wait: neighbours by what they list, because there the numbers
   * follow each other. Round after round goes over all. Like all that is dropped, they go when what lists them is on disk.
   */
  const mergeOnce = async (): Promise<void> => {
    for (const seq of declarations.keys()) if (queue.get(seq) === undefined) declarations.delete(seq)
    if (declarations.size <= mostDeclarations(queue.size)) return
    const inOrder = [...declarations].sort(([, a], [, b]) => a - b)
    const start = inOrder.findIndex(([, first]) => first > mergedTo)
    const next = inOrder.slice(Math.max(0, start), Math.max(0, start) + mergedAtOnce)
    const upTo = deps.mergedUpTo()
    const read = declarationsIn(await waitingOf(next.map(([seq]) => seq))).filter(
      ({ seq, dropped }) => seq <= upTo && dropped.envelopes.every((one) => one.seq + one.count - 1 <= upTo),
    )
    const merged = mergeDeclarations(read, deps.utc())
    mergedTo = declarations.get((merged?.taken ?? read).at(merged ? -1 : 0)?.seq ?? 0) ?? 0
    if (merged === undefined || !(await declare(merged.dropped))) return
    for (const { seq } of merged.taken) {
      queue.drop(seq)
      declarations.delete(seq)
    }
  }

  /**
   * Drops every second of the oldest, and writes what stands first in the journal once more at its end, so that whole
   * segments get free. A copy, then the declaration, go to disk in this order before anything is trimmed: a power cut
   * leaves at worst both copies, and what a declaration on disk lists is not read again.
   */
  const thinOnce = async (order: number[]): Promise<boolean> => {
    const declaration = declarationOf(await waitingOf(nextOldest()), deps.utc(), 'budget')
    if (declaration === undefined) return false
    const gone = new Set(declaration.envelopes.map(({ seq }) => seq))
    const front: number[] = []
    const most = stepOf(queue.size)
    while (front.length < most && order.length > 0) {
      const seq = order.pop()!
      if (!gone.has(seq)) front.push(seq)
    }
    const moved: [seq: number, index: number][] = []
    for (const { seq, bytes } of await waitingOf(front)) moved.push([seq, journal.append(bytes)])
    if (!(await declare(declaration))) return false
    for (const [seq, index] of moved) queue.move(seq, index)
    // What left in the meantime goes as well: declared, it is not waited for, and where it arrives it was not lost.
    for (const seq of gone) {
      if (queue.get(seq) === undefined) continue
      queue.drop(seq)
      dropped++
    }
    await deps.free()
    return true
  }

  const thin = async (): Promise<void> => {
    let order: number[] = []
    while (journal.bytesOnDisk > maxBytes && journal.disk.state === 'ok') {
      if (order.length === 0) order = queue.newestFirst()
      await mergeOnce()
      if (!(await thinOnce(order))) return
    }
  }

  return {
    start: () => {
      if (journal.bytesOnDisk <= maxBytes || thinning !== undefined) return
      thinning = thin()
        .catch(() => {}) // closed in the middle; the disk's own troubles are in its status
        .finally(() => {
          thinning = undefined
        })
    },
    get done() {
      return thinning
    },
    get dropped() {
      return dropped
    },
  }
}
