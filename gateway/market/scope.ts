/** The scope of a sale: which readings were bought, kept with it as JSON, for a bundle of the same. */
import { z } from '@hono/zod-openapi'
import type { Evidence } from '../evidence/evidence.ts'
import type { Span } from '../sales/tab.ts'
import type { ScoredSelection, Selection } from '../store/store.ts'
import { maxStations } from './area.ts'
import type { Answer, Plan } from './query.ts'

// An hour of 100 stations is a bundle that a buyer verifies in seconds.
const bundleSpanMs = 3_600_000

/** The span of the newest readings; null where they are too far apart for one bundle, or there are none. */
export const newestScope = (answer: Answer, selection: Partial<Selection>): Selection | null => {
  const times = answer.rows.map(({ time }) => Date.parse(time))
  if (times.length === 0) return null
  const fromMs = times.reduce((least, ms) => Math.min(least, ms))
  const toMs = times.reduce((most, ms) => Math.max(most, ms)) + 1
  return toMs - fromMs > bundleSpanMs ? null : { ...selection, fromMs, toMs }
}

/**
 * What a segment of a tab holds of what was asked; null where that is no bundle: a backlog beside fresh readings would be
 * one of all that is in between.
 */
export const segmentScope = (
  { stations, fromMs, lastMs }: Span,
  { sensor, quantities }: Pick<Selection, 'sensor' | 'quantities'>,
): Selection | null =>
  lastMs - fromMs > bundleSpanMs || stations.size > maxStations
    ? null
    : {
        stations: [...stations].sort(),
        ...(sensor === undefined ? {} : { sensor }),
        ...(quantities === undefined ? {} : { quantities }),
        fromMs,
        toMs: lastMs + 1,
      }

/** What a plan asks for, and how good it must be. */
export const scoredOf = ({ selection, minScore }: Pick<Plan, 'selection' | 'minScore'>): ScoredSelection =>
  minScore === undefined ? selection : { ...selection, minScore }

/** A scope as a sale keeps it, without stations that are not registered: nothing of them was sold, or can be proved. */
export const scopeText = (scope: ScoredSelection | null, { station }: Pick<Evidence, 'station'>): string => {
  if (scope?.stations === undefined) return JSON.stringify(scope)
  const stations = scope.stations.filter((id) => station(id) !== undefined)
  return JSON.stringify(stations.length === 0 ? null : { ...scope, stations })
}

const form = z.strictObject({
  stations: z.array(z.string()).optional(),
  sensor: z.string().optional(),
  quantities: z.array(z.int()).optional(),
  fromMs: z.int(),
  toMs: z.int(),
  minScore: z.number().optional(),
})

/** What was bought with a sale; undefined where no bundle can be made of it. */
export const scopeOf = ({ scope }: { readonly scope: string }): ScoredSelection | undefined =>
  (form.nullable().parse(JSON.parse(scope)) as ScoredSelection | null) ?? undefined
