/** What the cells of a SELECT with functions gather: whole sums first and one division last, as in a store. */
import { fromScaled, type Quantity } from '../../reading/quantity.ts'
import { bucketValue } from '../row.ts'
import type { SelectFunction } from './influxql.ts'

/** A value that a function picked, when it was measured (UTC ms), and of whom. */
export type Picked = {
  readonly value: number
  readonly timeMs: number
  readonly station: string
  readonly score: number
}

/**
 * One cell. Sums are in the quantity's last decimals; `extreme` is the least or most value, in its unit, and `extremeMs`
 * the start of the earliest interval that has it.
 */
export type Tally = {
  sum: number
  count: number
  extreme: number | undefined
  extremeMs: number
  picked: Picked | undefined
}

export const emptyTally = (): Tally => ({
  sum: 0,
  count: 0,
  extreme: undefined,
  extremeMs: 0,
  picked: undefined,
})

/** Adds an interval of one sensor, in order of time: its sum, its least value or its most. */
export const addInterval = (
  tally: Tally,
  pass: 'sum' | 'min' | 'max',
  { decimals }: Quantity,
  { timeMs, value, count }: { readonly timeMs: number; readonly value: number; readonly count: number },
): void => {
  const { extreme } = tally
  tally.count += count
  if (pass === 'sum') tally.sum += Math.round(value * 10 ** decimals)
  else if (extreme === undefined || (pass === 'min' ? value < extreme : value > extreme)) {
    tally.extreme = value
    tally.extremeMs = timeMs
  }
}

/** Takes a value where it is earlier than the one there, or later for `last`; of one time the larger, as InfluxDB does. */
export const pick = (tally: Tally, fn: SelectFunction, value: Picked): void => {
  const { picked } = tally
  const ahead = picked === undefined ? 1 : (value.timeMs - picked.timeMs) * (fn === 'last' ? 1 : -1)
  if (picked === undefined || ahead > 0 || (ahead === 0 && value.value > picked.value)) tally.picked = value
}

/** What a cell shows; null where nothing was gathered. */
export const tallyValue = (
  tally: Tally | undefined,
  fn: SelectFunction,
  quantity: Quantity,
): number | null => {
  if (tally === undefined) return null
  if (fn === 'first' || fn === 'last') return tally.picked?.value ?? null
  if (tally.count === 0) return null
  switch (fn) {
    case 'count':
      return tally.count
    case 'min':
    case 'max':
      return tally.extreme ?? null
    case 'sum':
      return bucketValue(quantity.code, fromScaled(quantity, tally.sum), fn)
    case 'mean':
      return bucketValue(quantity.code, fromScaled(quantity, tally.sum / tally.count), fn)
  }
}
