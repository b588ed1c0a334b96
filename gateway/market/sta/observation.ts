/** One observation: a value of a stored reading, as SensorThings shows it. */
import type { Profile } from '../../reading/profile.ts'
import type { Quantity } from '../../reading/quantity.ts'
import type { ReadingRow } from '../row.ts'
import { datastreamId, type ObservationKey, observationId } from './ids.ts'

export type Observation = {
  readonly key: ObservationKey
  readonly id: string
  readonly stream: string
  readonly result: number | null
  readonly score: number
  readonly body: Readonly<Record<string, unknown>>
}

// What is said of the other quantities of a reading is theirs.
const isAbout = (flag: string, quantity: string): boolean =>
  !flag.includes(':') || flag.startsWith(`${quantity}:`)

/** The observation of a quantity of a row. */
export const observationOf = (
  row: ReadingRow,
  timeMs: number,
  quantity: Quantity,
  profile: Profile | undefined,
): Observation => {
  const { station, sensor, proof, quality, time } = row
  const { seq, place, batch, status } = proof
  const { name } = quantity
  const key = { timeMs, station, sensor, seq, place, quantity }
  const result = row.values[name]!
  const absent = row.absent?.[name]
  return {
    key,
    id: observationId(key),
    stream: datastreamId(station, sensor, name),
    result,
    score: quality.score,
    body: {
      phenomenonTime: time,
      resultTime: time,
      result,
      resultQuality: {
        score: quality.score,
        flags: quality.flags.filter((flag) => isAbout(flag, name)),
        rules: quality.rules,
        ...(absent === undefined ? {} : { absent }),
      },
      parameters: {
        seq,
        place,
        ...(batch === undefined ? {} : { batch }),
        status,
        ...(profile === undefined ? {} : { licence: profile.licence }),
      },
    },
  }
}
