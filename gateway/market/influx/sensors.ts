/** Sensors as InfluxQL sees them: what is asked about them for nothing, and which of them a query means. */
import type { SensorSummary, Store } from '../../store/store.ts'
import type { Where } from './influxql.ts'
import { type InfluxTag, influxTags } from './names.ts'
import { isMeant } from './parse-where.ts'

// A store may have to look at everything for this, and a dashboard asks for some panels at once.
const freshMs = 10_000

/** The summaries of a store, asked for once in a while however many want them: a new sensor is there after some seconds. */
export const openSensors = (
  store: Pick<Store, 'sensors'>,
  nowMs: () => number,
): (() => Promise<readonly SensorSummary[]>) => {
  let asked: { readonly atMs: number; readonly answer: Promise<SensorSummary[]> } | undefined
  return async () => {
    const now = nowMs()
    if (asked === undefined || Math.abs(now - asked.atMs) >= freshMs) {
      const answer = store.sensors()
      const current = { atMs: now, answer }
      asked = current
      // What failed is asked for again by the next one.
      answer.catch(() => {
        if (asked === current) asked = undefined
      })
    }
    return asked.answer
  }
}

export type SensorTags = Readonly<Record<InfluxTag, string>>

/** One name for each combination of tags, in the order of the tags' names. */
export const tagsKey = (tags: SensorTags, of: readonly InfluxTag[] = influxTags): string =>
  of.map((tag) => tags[tag]).join('\0')

/** Sensors that a condition means, by their tags. */
export const meantSensors = (sensors: readonly SensorSummary[], { tags }: Where): SensorSummary[] =>
  sensors.filter((one) => isMeant(tags, one))

/** Of sensors, those that had readings from before the end of a span to after its start, as far as that is known. */
export const heardSensors = (
  sensors: readonly SensorSummary[],
  { fromMs = Number.NEGATIVE_INFINITY, toMs = Number.POSITIVE_INFINITY }: Where,
): SensorSummary[] => sensors.filter(({ firstMs, lastMs }) => lastMs >= fromMs && firstMs < toMs)

/** Codes of every quantity that one of them has named. */
export const quantitiesOf = (sensors: readonly SensorSummary[]): ReadonlySet<number> =>
  new Set(sensors.flatMap(({ quantities }) => quantities))
