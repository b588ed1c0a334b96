/** Proven readings as flat rows, one per quantity: for JSON, CSV and tables. */
import { fromScaled, quantityCoded } from '../reading/quantity.ts'
import type { Absence } from '../reading/reading.ts'
import { type ProvenReading, when } from './report.ts'

/**
 * `value` is in `unit`, null with the reason in `absent` where the sensor gave none; `time` is ISO 8601 of `timeMs`.
 * `node` is the public key (hex) of the radio node that signed it, in its frame of number `frame`; null where none did, as
 * for how it was heard.
 */
export type ProvenRow = {
  readonly station: string
  readonly sensor: string
  readonly model: string
  readonly quantity: string
  readonly unit: string
  readonly time: string
  readonly timeMs: number
  readonly value: number | null
  readonly absent: Absence | null
  readonly seq: number
  readonly place: number
  readonly node: string | null
  readonly frame: number | null
}

/** The rows of readings in their order, one reading at a time: a large bundle has millions. */
export const rowsOf = function* (readings: readonly ProvenReading[]): Generator<ProvenRow> {
  for (const { station, sensor, model, timeMs, seq, place, node, values } of readings)
    for (const one of values) {
      const row = quantityCoded(one.quantity)!
      const by = node?.quantities.includes(one.quantity) ? node : null
      yield {
        station,
        sensor,
        model,
        quantity: row.name,
        unit: row.unit,
        time: when(timeMs),
        timeMs,
        value: one.scaled === null ? null : fromScaled(row, one.scaled),
        absent: one.scaled === null ? one.absent : null,
        seq,
        place,
        node: by?.publicKey ?? null,
        frame: by?.frame ?? null,
      }
    }
}
