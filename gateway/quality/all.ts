/** Every quality rule in use, and the ledger of their versions. */
import { absence } from './absence.ts'
import { availability } from './availability.ts'
import { constancy } from './constancy.ts'
import type { Rule } from './quality.ts'
import { range } from './range.ts'
import { step } from './step.ts'

/** In the order they are asked. */
export const rules: readonly Rule[] = [absence, range, step, constancy, availability]

/**
 * What each version changed. Append only: a rule whose answers change, one that joins and one that leaves takes the next
 * number of the year (with a rule that leaves, `absence` carries it), so that a version found beside an old score
 * names the code that gave it.
 */
export const ledger: readonly (readonly [version: string, change: string])[] = [
  ['2026.1', 'absence, range, step, constancy, availability, after WeatherXM OBC and SQC'],
]
