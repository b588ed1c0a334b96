/**
 * Completeness: whether anything a station signed in the time asked is not in the bundle. Sequence numbers have no
 * holes, each envelope names the hash of the one before, and batch statements say which numbers they hold: so an
 * envelope left out shows, wherever a neighbour or a statement speaks of it.
 */
import type { BundleScope } from '../reading/bundle.ts'
import { equalBytes } from '../reading/bytes.ts'
import { noPrevious } from '../reading/envelope.ts'
import { addRange, gapsIn, type Range } from '../reading/ranges.ts'
import type { StationSpan } from '../reading/statement.ts'
import { type Entry, entryName } from './entries.ts'
import { type Declaration, lostOf } from './lost.ts'
import { counted, type Fault, fault, rangesText, type StationReport, when } from './report.ts'
import { checkWithheld, withheldTexts } from './withheld.ts'

/** What one batch says of the station: its span, the place of its first leaf, and its entries in the bundle. */
export type BatchView = {
  readonly batch: number
  readonly span: StationSpan
  readonly start: number
  readonly entries: readonly Entry[]
}

/** Where the entries of one batch stand against its statement; see also `hiddenFault`. */
export const placeFault = ({ batch, span, start, entries }: BatchView): Fault | undefined => {
  const { station } = span
  let before: Entry | undefined
  for (const entry of entries) {
    const where = { batch, leaf: entry.leaf, station, seq: entry.seq }
    if (entry.leaf < start || entry.leaf >= start + span.count)
      return fault(
        `${entryName(entry)} stands outside the leaves that the statement gives its station`,
        where,
      )
    if (entry.seq < span.first || entry.seq > span.last)
      return fault(
        `${entryName(entry)} is not between ${span.first} and ${span.last}, as the statement says`,
        where,
      )
    if (before !== undefined && entry.seq <= before.seq)
      return fault(`${entryName(entry)} stands behind envelope ${before.seq}: out of order`, where)
    before = entry
  }
  return undefined
}

/** How many whole numbers lie in first..last. */
const room = (first: number, last: number): number => Math.max(0, last - first + 1)

/**
 * Whether leaves of this batch that the bundle does not show must lie inside `low`..`high`, the seqs that it claims
 * to show. What lies outside is allowed to stay away.
 */
const hiddenFault = (view: BatchView, low: number, high: number): Fault | undefined => {
  const { batch, span, start, entries } = view
  const { station } = span
  const shown = entries[0]
  const left = (what: string, seq: number): Fault =>
    fault(
      `batch ${batch} holds ${what} of station ${station}, and the bundle, which reaches from ${low} to ${high}, leaves it out`,
      { batch, station, seq },
    )
  if (shown === undefined) {
    if (span.first >= low && span.first <= high) return left(`envelope ${span.first}`, span.first)
    if (span.last >= low && span.last <= high) return left(`envelope ${span.last}`, span.last)
    const outside =
      room(span.first, Math.min(span.last, low - 1)) + room(Math.max(span.first, high + 1), span.last)
    return span.count > outside ? left(`an envelope between ${low} and ${high}`, low) : undefined
  }
  const final = entries.at(-1)!
  const before = shown.leaf - start
  const after = start + span.count - 1 - final.leaf
  if (before === 0 ? shown.seq !== span.first : before > room(span.first, low - 1))
    return left(`an envelope before ${shown.seq}`, span.first)
  if (after === 0 ? final.seq !== span.last : after > room(high + 1, span.last))
    return left(`an envelope behind ${final.seq}`, span.last)
  return undefined
}

/** Undefined where each entry names the hash of the one before it, as far as both are there. */
const linkFault = (entries: readonly Entry[]): Fault | undefined => {
  for (const [at, entry] of entries.entries()) {
    if (entry.held === null) continue
    const before = entries[at - 1]
    const { prev } = entry.held.envelope
    const where = { batch: entry.batch, leaf: entry.leaf, station: entry.station, seq: entry.seq }
    if (entry.seq === 1) {
      if (!equalBytes(prev, noPrevious))
        return fault(`${entryName(entry)} is the first and names one before`, where)
    } else if (before?.seq === entry.seq - 1 && before.held && !equalBytes(prev, before.held.hash))
      return fault(`${entryName(entry)} does not name envelope ${before.seq} as the one before it`, where)
  }
  return undefined
}

const sizeOf = (ranges: readonly Range[]): number => ranges.reduce((sum, one) => sum + room(...one), 0)

const unexplainedTexts = (ranges: readonly Range[]): string[] =>
  ranges.length > 0 ? [`the hub says it never received ${rangesText(ranges)}`] : []

const holesText = (report: StationReport): string[] => [
  ...(report.declared.length > 0
    ? [
        `declared lost by the station: ${counted(sizeOf(report.declared), 'envelope')}, ${counted(report.declaredReadings, 'reading')} (${rangesText(report.declared)})`,
      ]
    : []),
  ...(report.unsigned > 0
    ? [
        `declared lost by the station before ${report.unsigned === 1 ? 'it was' : 'they were'} signed: ${counted(report.unsigned, 'reading')}`,
      ]
    : []),
  ...unexplainedTexts(report.missing.flatMap(([first, last]) => gapsIn(report.declared, first, last))),
  ...(report.pending.length > 0
    ? [`${rangesText(report.pending)} were received and not anchored when the bundle was made`]
    : []),
]

/** One line for people. */
export const stationText = (report: StationReport, scope: BundleScope): string => {
  const { station, first, last, fromMs, toMs } = report
  const parts = [`station ${station}: envelopes ${first} to ${last}`]
  parts.push(...withheldTexts(report), ...holesText(report))
  if (fromMs >= toMs) parts.push('nothing is proven about the time asked')
  else if (fromMs > scope.fromMs && toMs < scope.toMs)
    parts.push(`proven only ${when(fromMs)} to ${when(toMs)}`)
  else if (fromMs > scope.fromMs) parts.push(`proven only from ${when(fromMs)} on`)
  else if (toMs < scope.toMs) parts.push(`proven until ${when(toMs)}, what came later is not in the bundle`)
  else if (report.complete) parts.push('nothing left out')
  return parts.join('; ')
}

/**
 * Checks one station. `entries` are all of its leaves in the bundle, ascending by seq; `batches` all batches of the
 * bundle whose statements name it; `elsewhere` what the station declared in envelopes that are none of the leaves.
 */
export const checkSequence = (
  station: string,
  entries: readonly Entry[],
  declared: { readonly missing: readonly Range[]; readonly pending: readonly Range[] },
  batches: readonly BatchView[],
  scope: BundleScope,
  elsewhere: readonly Declaration[] = [],
): { readonly ok: true; readonly report: Omit<StationReport, 'readings'> } | Fault => {
  const low = entries[0]!.seq
  const high = entries.at(-1)!.seq
  let present: Range[] = []
  for (const [at, entry] of entries.entries()) {
    if (entry.seq === entries[at - 1]?.seq)
      return fault(`${entryName(entry)} is in batch ${entries[at - 1]!.batch} too`, {
        batch: entry.batch,
        leaf: entry.leaf,
        station,
        seq: entry.seq,
      })
    present = addRange(present, entry.seq)
  }
  for (const view of batches) {
    const hidden = hiddenFault(view, low, high)
    if (hidden !== undefined) return hidden
  }
  const link = linkFault(entries)
  if (link !== undefined) return link
  const holes = gapsIn(present, low, high)
  let told: Range[] = []
  for (const [first, last] of [...declared.missing, ...declared.pending]) {
    if (gapsIn(told, first, last).reduce((sum, gap) => sum + room(...gap), 0) !== room(first, last))
      return fault(`envelopes ${first} to ${last} of station ${station} are declared twice`, {
        station,
        seq: first,
      })
    told = addRange(told, first, last)
  }
  const untold = holes.flatMap(([first, last]) => gapsIn(told, first, last))[0]
  if (untold !== undefined)
    return fault(
      `envelope ${rangesText([untold])} of station ${station} is left out, though ${untold[0] - 1} and ${untold[1] + 1} are there`,
      { station, seq: untold[0] },
    )
  const wrongly = told.flatMap(([first, last]) => gapsIn(holes, first, last))[0]
  if (wrongly !== undefined)
    return fault(`envelope ${wrongly[0]} of station ${station} is declared absent where it cannot be`, {
      station,
      seq: wrongly[0],
    })
  // One that is here, or that the hub has, was not lost, whatever was declared.
  const declarations = entries.flatMap(({ seq, held }): Declaration[] =>
    held?.declares === undefined ? [] : [{ seq, dropped: held.declares }],
  )
  const lost = lostOf([...declarations, ...elsewhere], declared.missing, scope)
  const counts = checkWithheld(entries, lost.stretches)
  if (!counts.ok) return counts
  const { withheld, unconfirmed, jumps } = counts
  const held = entries.flatMap((entry) => entry.held ?? [])
  const [earliest, latest] = [held[0], held.at(-1)]
  // A withheld envelope at an end has no times to tell, and nothing behind it to tell what it is. One that declares
  // unsigned readings tells the time of those, and what it stands before may be as old.
  const tells = ({ held }: Entry): boolean => held !== null && (held.declares?.unsigned ?? 0) === 0
  const opens = low === 1 || (tells(entries[0]!) && earliest!.lastMs < scope.fromMs)
  const closes = tells(entries.at(-1)!) && latest!.firstMs >= scope.toMs
  // Who has an earlier or later envelope in a batch of this bundle and does not show it hides where the time ends.
  for (const { batch, span } of batches) {
    const [cut, seq] = !opens && span.first < low ? ['begins with', low] : ['ends with', high]
    if ((!opens && span.first < low) || (!closes && span.last > high))
      return fault(
        `the bundle ${cut} envelope ${seq} of station ${station}, inside the time asked, and batch ${batch} holds more: ${span.first} to ${span.last}`,
        { batch, station, seq },
      )
  }
  const fromMs = opens ? scope.fromMs : Math.max(scope.fromMs, earliest?.firstMs ?? scope.toMs)
  const toMs = closes ? scope.toMs : Math.min(scope.toMs, latest?.lastMs ?? scope.fromMs)
  return {
    ok: true,
    report: {
      station,
      first: low,
      last: high,
      envelopes: held.length,
      withheld,
      unconfirmed,
      jumps,
      missing: declared.missing,
      declared: lost.declared,
      declaredReadings: lost.readings,
      unsigned: lost.unsigned,
      pending: declared.pending,
      fromMs,
      toMs,
      complete: opens && closes && holes.length === 0 && unconfirmed.length === 0 && lost.unsigned === 0,
    },
  }
}
