/** One reading as the text of an unsealed row: JSON, because the engine reads and writes it faster than we could. */
import type { Absence, Value } from '../reading/reading.ts'
import type { StoredReading } from './store.ts'

// [model, score in thousandths, rules, [flag ...], quantity, scaled integer or reason of absence, ...]
type Body = [model: string, score: number, rules: string, flags: string[], ...values: (number | Absence)[]]

export type Row = {
  readonly ms: number
  readonly seq: number
  readonly place: number
  readonly body: string
}

/** What a row says beyond its key. */
export const rowBody = ({ model, score, rules, flags, values }: StoredReading): string => {
  const body: unknown[] = [model, Math.round(score * 1000), rules, flags]
  for (const value of values) body.push(value.quantity, value.scaled ?? (value as { absent: Absence }).absent)
  return JSON.stringify(body)
}

/** Calls back with every quantity that a row names. */
export const eachRowValue = (
  body: string,
  give: (quantity: number, scaledOrAbsent: number | Absence) => void,
): void => {
  const parsed = JSON.parse(body) as Body
  for (let at = 4; at + 1 < parsed.length; at += 2)
    give(parsed[at] as number, parsed[at + 1] as number | Absence)
}

/** A row's score in thousandths. */
export const rowScore = (body: string): number => (JSON.parse(body) as Body)[1]

/** The reading of a row in the hour that begins at `startMs`; only the values of `wanted` where given. */
export const rowReading = (
  { ms, seq, place, body }: Row,
  startMs: number,
  wanted?: ReadonlySet<number>,
): Omit<StoredReading, 'station' | 'sensor'> => {
  const [model, score, rules, flags] = JSON.parse(body) as Body
  const values: Value[] = []
  eachRowValue(body, (quantity, value) => {
    if (wanted && !wanted.has(quantity)) return
    values.push(
      typeof value === 'number' ? { quantity, scaled: value } : { quantity, scaled: null, absent: value },
    )
  })
  return { model, timeMs: startMs + ms, values, seq, place, score: score / 1000, flags, rules }
}
