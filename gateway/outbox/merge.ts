/**
 * Declarations made one: a year without a hub makes thousands of them, which nothing else could replace. Numbers that
 * follow each other become a stretch, so that what all of them list never has more stretches than envelopes are left.
 */
import { type Dropped, type DroppedStretch, droppedDigest } from '../reading/dropped.ts'

/** A declaration that waits: its number, its hash and what it says. */
export type Declaration = { readonly seq: number; readonly hash: Uint8Array; readonly dropped: Dropped }

// With numbers far apart and counts of the widest still under 8 KiB.
const mostStretches = 256

// A column holds no more (column.ts).
const mostInColumn = 2 ** 31 - 1

const joined = (before: DroppedStretch, after: DroppedStretch): DroppedStretch | undefined => {
  const count = before.count + after.count
  const readings = before.readings + after.readings
  if (before.seq + before.count !== after.seq || Math.max(count, readings) > mostInColumn) return undefined
  return { seq: before.seq, count, readings, withheld: before.withheld + after.withheld }
}

/** Stretches in order, as few as can be; undefined where some lie over one another. */
const asStretches = (all: readonly DroppedStretch[]): DroppedStretch[] | undefined => {
  const stretches: DroppedStretch[] = []
  for (const one of all.toSorted((a, b) => a.seq - b.seq)) {
    const before = stretches.at(-1)
    if (before !== undefined && before.seq + before.count > one.seq) return undefined
    const both = before && joined(before, one)
    if (both === undefined) stretches.push(one)
    else stretches[stretches.length - 1] = both
  }
  return stretches
}

/**
 * The first of these declarations, two at least, as one that takes their place and lists their own numbers besides; and
 * how many they are. Undefined where the first two cannot be one.
 */
export const mergeDeclarations = (
  declarations: readonly Declaration[],
  declaredMs: number,
): { readonly dropped: Dropped; readonly taken: readonly Declaration[] } | undefined => {
  const [first] = declarations
  if (first === undefined) return undefined
  const { reason } = first.dropped
  let stretches: DroppedStretch[] = []
  const taken: Declaration[] = []
  for (const one of declarations) {
    const { seq, dropped } = one
    if (dropped.reason !== reason) break
    const all = asStretches([...stretches, ...dropped.envelopes, { seq, count: 1, readings: 0, withheld: 0 }])
    if (all === undefined || all.length > mostStretches) break
    if (all.at(-1)!.seq - all[0]!.seq > mostInColumn) break
    stretches = all
    taken.push(one)
  }
  if (taken.length < 2) return undefined
  const bySeq = taken.toSorted((a, b) => a.seq - b.seq)
  return {
    taken,
    dropped: {
      reason,
      envelopes: stretches,
      merged: true,
      unsigned: 0,
      fromMs: Math.min(...taken.map(({ dropped }) => dropped.fromMs)),
      toMs: Math.max(...taken.map(({ dropped }) => dropped.toMs)),
      declaredMs,
      digest: droppedDigest(bySeq.map(({ hash }) => hash)),
    },
  }
}
