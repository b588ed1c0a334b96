/**
 * Withheld envelopes: a bundle shows private positions as hashes only, and a hub could pass off any envelope as one.
 * But every envelope carries its station's signed count of those that hold positions. Between two shown envelopes it
 * grows by exactly as many as may be withheld there.
 */
import { holdPositions } from '../reading/contents.ts'
import type { DroppedStretch } from '../reading/dropped.ts'
import { addRange, type Range } from '../reading/ranges.ts'
import type { Entry } from './entries.ts'
import { counted, type Fault, fault, rangesText } from './report.ts'

/** What the signed counts say of the withheld envelopes of one station. */
export type Withheld = {
  readonly withheld: readonly Range[]
  /** Those of `withheld` that no signed count confirms: at an end of the bundle, beside a hole or across a jump. */
  readonly unconfirmed: readonly Range[]
  /** Seqs of neighbouring shown envelopes whose counts cannot both be right, as after a disk restored from a copy. */
  readonly jumps: readonly Range[]
}

/** A shown envelope, or the place before the first: its number, and the count it declares. */
type Mark = { readonly seq: number; readonly declared: number }

const beginning: Mark = { seq: 0, declared: 0 }

const tooMany = (from: Mark, to: Mark, between: readonly Entry[], allowed: number): Fault => {
  const [{ batch, leaf, station, seq }] = between as [Entry]
  const seqs = rangesText(between.reduce<Range[]>((all, one) => addRange(all, one.seq), []))
  const what =
    between.length === 1 ? `envelope ${seqs} as a private position` : `envelopes ${seqs} as private positions`
  const count =
    allowed === 0 ? 'there was none' : allowed === 1 ? 'there was only 1' : `there were only ${allowed}`
  const where = from.seq === 0 ? `before ${to.seq}` : `between ${from.seq} and ${to.seq}`
  return fault(`the hub withholds ${what}, and station ${station} signed that ${count} ${where}`, {
    batch,
    leaf,
    station,
    seq,
  })
}

/** What of the dropped ones lies between two numbers; asked in ascending order. */
const droppedIn = (dropped: readonly DroppedStretch[]) => {
  let at = 0
  return (from: number, to: number): { readonly envelopes: number; readonly withheld: number } => {
    let [envelopes, withheld] = [0, 0]
    for (; at < dropped.length && dropped[at]!.seq < to; at++) {
      const one = dropped[at]!
      if (one.seq <= from || one.seq + one.count > to) continue
      envelopes += one.count
      withheld += one.withheld
    }
    return { envelopes, withheld }
  }
}

/**
 * Counts what is withheld between the shown entries of one station. `entries` are all of its leaves in the bundle,
 * ascending by seq, each once; numbers between them that are not there are holes. More withheld than signed is a
 * fault. With holes the counts are only a bound, because what was lost may have held positions too; but for `dropped`,
 * ascending and apart, of which the station signed how many did.
 */
export const checkWithheld = (
  entries: readonly Entry[],
  dropped: readonly DroppedStretch[] = [],
): ({ readonly ok: true } & Withheld) | Fault => {
  let withheld: Range[] = []
  let unconfirmed: Range[] = []
  const jumps: Range[] = []
  const droppedBetween = droppedIn(dropped)
  let between: Entry[] = []
  let mark = entries[0]?.seq === 1 ? beginning : undefined
  const leaveOpen = (): void => {
    for (const { seq } of between) unconfirmed = addRange(unconfirmed, seq)
  }
  for (const entry of entries) {
    const { seq, held } = entry
    if (held === null) {
      withheld = addRange(withheld, seq)
      between.push(entry)
      continue
    }
    const declared = held.envelope.withheld
    if (mark === undefined) leaveOpen()
    else {
      const lost = droppedBetween(mark.seq, seq)
      const counted = declared - mark.declared - (holdPositions(held.readings) ? 1 : 0)
      const allowed = counted - lost.withheld
      const room = seq - mark.seq - 1 - lost.envelopes
      if (allowed >= 0 && between.length > allowed) return tooMany(mark, { seq, declared }, between, allowed)
      if (allowed < 0 || allowed > room) jumps.push([mark.seq, seq])
      if (allowed !== room || between.length !== room) leaveOpen()
    }
    mark = { seq, declared }
    between = []
  }
  leaveOpen()
  return { ok: true, withheld, unconfirmed, jumps }
}

/** Parts of a line for people. */
export const withheldTexts = ({ withheld, unconfirmed, jumps }: Withheld): string[] => [
  ...(withheld.length > 0
    ? [
        `${rangesText(withheld)} withheld as private positions, ${
          unconfirmed.length === 0
            ? 'as many as the station signed'
            : `${rangesText(unconfirmed)} by the hub's word alone, because no signed count confirms it there`
        }`,
      ]
    : []),
  ...jumps
    .slice(0, 10)
    .map(
      ([first, last]) => `the station's own count of private positions jumps between ${first} and ${last}`,
    ),
  ...(jumps.length > 10 ? [`and at ${counted(jumps.length - 10, 'other place')}`] : []),
]
