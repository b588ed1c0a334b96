/** What a SELECT reads: pages of the query core, with its plans and its limits. */
import type { Order, RollupFunction, SensorSummary } from '../../store/store.ts'
import { maxStations } from '../area.ts'
import { maxRows } from '../parameters.ts'
import type { Fault } from '../problem.ts'
import { type Answer, nextPlan, type Plan, planReadings } from '../query.ts'
import type { BucketRow, ReadingRow } from '../row.ts'
import { InfluxRefusal } from './token.ts'

/** Runs a plan, where the rest of the API leaves room for it. */
export type RunPlan = (plan: Plan) => Promise<Answer>

// What one sale can hold, as in the query API.
const mostRead = 100_000

/** Which readings: of these sensors, of these quantities (codes, undefined for all), in a span of UTC ms. */
export type Wanted = {
  readonly sensors: readonly SensorSummary[]
  /** Whether these are all sensors there are. */
  readonly everySensor: boolean
  readonly codes: readonly number[] | undefined
  readonly fromMs: number
  readonly toMs: number
  readonly minScore: number | undefined
}

/** What the query core says of a span, in the words of InfluxQL. */
const refusal = ({ detail }: Fault): InfluxRefusal =>
  new InfluxRefusal(
    detail
      .replaceAll('take "every"', 'take time()')
      .replaceAll('"every"', 'GROUP BY time()')
      .replaceAll('"from"', 'the start (WHERE time >= ...)')
      .replaceAll('"to"', 'the end'),
  )

/** The stations of sensors; undefined where they are too many to be named: then all are read, and what is not meant left out. */
export const stationsOf = (sensors: readonly SensorSummary[]): readonly string[] | undefined => {
  const stations = [...new Set(sensors.map(({ station }) => station))].sort()
  return stations.length > maxStations ? undefined : stations
}

const only = (names: Iterable<string>): string | undefined => {
  const [first, ...others] = new Set(names)
  return others.length === 0 ? first : undefined
}

const planOf = (
  { sensors, everySensor, codes, fromMs, toMs, minScore }: Wanted,
  rollup?: { readonly everyMs: number; readonly fn: RollupFunction },
): Plan => {
  const stations = everySensor ? undefined : stationsOf(sensors)
  const sensor = everySensor ? undefined : only(sensors.map((one) => one.sensor))
  const planned = planReadings(
    {
      from: { ms: fromMs },
      to: { ms: toMs },
      limit: maxRows,
      ...(sensor === undefined ? {} : { sensor }),
      ...(codes === undefined ? {} : { quantity: [...codes] }),
      ...(rollup === undefined ? {} : { every: rollup.everyMs, fn: rollup.fn }),
      ...(minScore === undefined ? {} : { min_quality: minScore }),
    },
    toMs,
    () => ({ ok: true, stations }),
  )
  if (!planned.ok) throw refusal(planned)
  return planned.plan
}

// Where few do not do, each page is larger than the one before.
const pageGrowth = 4

/** Rows that were looked at: those that are not good enough too. */
const lookedAt = (answer: Answer): number =>
  answer.rows.length + (answer.kind === 'readings' ? (answer.poor?.length ?? 0) : 0)

async function* pagesOf(plan: Plan, run: RunPlan): AsyncGenerator<Answer> {
  let read = 0
  for (let next: Plan | undefined = plan; next !== undefined; ) {
    const answer = await run(next)
    read += lookedAt(answer)
    if (read > mostRead)
      throw new InfluxRefusal(
        `more than ${mostRead} rows would be read: ask for a shorter time, longer intervals or fewer sensors`,
      )
    yield answer
    const more = nextPlan(next, answer)
    next = more && { ...more, limit: Math.min(maxRows, next.limit * pageGrowth) }
  }
}

/** How readings are read: in which order, and how many at once where few will do. */
type Reading = { readonly order?: Order; readonly atOnce?: number }

/** Readings in order of time, of whichever sensors the plan could not tell apart too. */
export async function* readingsOf(
  wanted: Wanted,
  run: RunPlan,
  { order = 'ascending', atOnce = maxRows }: Reading = {},
): AsyncGenerator<ReadingRow> {
  const plan = { ...planOf(wanted), order, limit: Math.min(atOnce, maxRows) }
  for await (const answer of pagesOf(plan, run)) if (answer.kind === 'readings') yield* answer.rows
}

/** Intervals in order of time; see `readingsOf`. */
export async function* bucketsOf(
  wanted: Wanted,
  everyMs: number,
  fn: RollupFunction,
  run: RunPlan,
): AsyncGenerator<BucketRow> {
  for await (const answer of pagesOf(planOf(wanted, { everyMs, fn }), run))
    if (answer.kind === 'buckets') yield* answer.rows
}
