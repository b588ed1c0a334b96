/** What a subscription is for: which readings of those that come are its own, and how they are shown. */
import { quantityNamed } from '../../reading/quantity.ts'
import type { Place, Skipped } from '../../sales/subscriptions.ts'
import type { StoredReading } from '../../store/store.ts'
import type { Proof } from '../proof.ts'
import { readingRow } from '../row.ts'
import type { Tail } from '../tail.ts'
import type { PlacedRow } from './cloud-event.ts'

/** As it is asked for and shown; what is left out is not looked at. Names of quantities, never private ones. */
export type Selection = {
  readonly station?: readonly string[]
  readonly sensor?: string
  readonly quantity?: readonly string[]
  readonly min_quality?: number
}

/** Codes of quantities by their names. */
export const codesOf = (names: readonly string[]): number[] =>
  names.flatMap((name) => quantityNamed(name)?.code ?? [])

/** A selection that can be asked of each reading. */
export const wantedBy = ({ station, sensor, quantity, min_quality }: Selection) => {
  const stations = station && new Set(station)
  const codes = quantity && new Set(codesOf(quantity))
  return {
    isStation: (id: string): boolean => stations?.has(id) !== false,
    /** The row of a reading; undefined for one that is not wanted. */
    row: (reading: StoredReading, proof: Proof) => {
      if (sensor !== undefined && reading.sensor !== sensor) return undefined
      if (reading.score < (min_quality ?? 0)) return undefined
      return readingRow(reading, codes, proof)
    },
  }
}

/** Rows that come next, and what comes after them; or readings that are too old to be given, if they come first. */
export type Gathered = {
  readonly rows: readonly PlacedRow[]
  readonly next: Place
  readonly skipped?: Skipped
}

// Looked through at once, at most, so that others have their turn.
const maxEnvelopes = 2000

export type GatherDeps = {
  readonly tail: Pick<Tail, 'read'>
  /** How far the proof of an envelope has come. */
  readonly proofOf: (station: string, seq: number) => Proof
}

/** Looks for at most `most` rows from a place on. What was received before `oldestMs` (UTC) is skipped. */
export const gather = async (
  { tail, proofOf }: GatherDeps,
  selection: Selection,
  from: Place,
  most: number,
  oldestMs: number,
): Promise<Gathered> => {
  const wanted = wantedBy(selection)
  const rows: PlacedRow[] = []
  let next = from
  let skipped: Skipped | undefined
  let seen = 0
  for await (const kept of tail.read(from.index)) {
    const { index, station, seq } = kept
    if (seen++ === maxEnvelopes) break
    if (wanted.isStation(station) && kept.readings > 0) {
      if (kept.receivedMs < oldestMs && rows.length === 0) {
        skipped = {
          readings: (skipped?.readings ?? 0) + kept.readings,
          fromMs: Math.min(skipped?.fromMs ?? kept.firstMs, kept.firstMs),
          lastMs: Math.max(skipped?.lastMs ?? kept.lastMs, kept.lastMs),
        }
      } else {
        if (skipped !== undefined) break
        const proof = proofOf(station, seq)
        for (const reading of await kept.rows()) {
          const { place } = reading
          if (index === from.index && place < from.place) continue
          const row = wanted.row(reading, proof)
          if (row === undefined) continue
          if (rows.length === most) return { rows, next }
          rows.push({ index, place, row })
          next = { index, place: place + 1 }
        }
      }
    }
    next = { index: index + 1, place: 0 }
  }
  return { rows, next, ...(skipped === undefined ? {} : { skipped }) }
}
