/** Answers to SELECT. */
import type { SensorSummary } from '../../store/store.ts'
import { type Column, columnsOf, namesOf } from './columns.ts'
import { functionGroups } from './functions.ts'
import type { Asked, Call } from './gather.ts'
import type { SelectStatement } from './influxql.ts'
import { fieldCode } from './names.ts'
import type { RunPlan, Wanted } from './pages.ts'
import { plainGroups } from './plain.ts'
import { type Group, groupKey, type Selected, selectedOf } from './rows.ts'
import { meantSensors, quantitiesOf } from './sensors.ts'
import { InfluxRefusal } from './token.ts'

/** What a SELECT is answered from: every sensor, the query core, and the time (UTC ms). */
export type SelectSources = {
  readonly sensors: readonly SensorSummary[]
  readonly run: RunPlan
  readonly latest: Asked['latest']
  readonly nowMs: number
}

/** The span of a statement, UTC ms; its start has to be said, its end is now where nothing is. */
export const spanOf = (
  { where: { fromMs, toMs } }: SelectStatement,
  nowMs: number,
): { readonly fromMs: number; readonly toMs: number } => {
  if (fromMs === undefined) throw new InfluxRefusal('say from when on: WHERE time >= now() - 1h')
  return { fromMs, toMs: toMs ?? nowMs }
}

/** The sensors of the series that SLIMIT and SOFFSET leave: as in InfluxDB they count those without values too. */
const inSeries = (
  { groupTags, seriesLimit, seriesOffset }: SelectStatement,
  sensors: readonly SensorSummary[],
): readonly SensorSummary[] => {
  if (seriesLimit === undefined) return sensors
  const keys = [...new Set(sensors.map((one) => groupKey(one, groupTags)))].sort()
  const left = new Set(keys.slice(seriesOffset, seriesOffset + seriesLimit))
  return sensors.filter((one) => left.has(groupKey(one, groupTags)))
}

/** Series of functions; one that is asked for twice is worked out, and paid, once. */
const calledGroups = async (columns: readonly Column[], asked: Omit<Asked, 'calls'>): Promise<Group[]> => {
  const called = new Map<string, Call>()
  const names = columns.flatMap((column) => {
    if (column.kind !== 'call') return []
    const { fn, field } = column
    called.set(`${fn} ${field}`, { fn, field })
    return [`${fn} ${field}`]
  })
  const places = [...called.keys()]
  const at = names.map((name) => places.indexOf(name))
  const groups = await functionGroups({ ...asked, calls: [...called.values()] })
  return groups.map(({ tags, rows }) => ({
    tags,
    rows: rows.map((row) => ({ ...row, cells: at.map((place) => row.cells[place]!) })),
  }))
}

/** What a statement selects. Throws InfluxRefusal where it is not answered, StoreUnavailable where the store does not. */
export const answerSelect = async (
  statement: SelectStatement,
  { sensors: all, run, latest, nowMs }: SelectSources,
): Promise<Selected> => {
  const span = spanOf(statement, nowMs)
  const { fromMs, toMs } = span
  const columns = columnsOf(statement, quantitiesOf(all))
  const codes = [...new Set(columns.flatMap(({ field }) => fieldCode(field) ?? []))].sort((a, b) => a - b)
  const sensors = inSeries(statement, meantSensors(all, statement.where)).filter(({ quantities }) =>
    quantities.some((code) => codes.includes(code)),
  )
  const names = namesOf(statement, columns)
  if (fromMs >= toMs || sensors.length === 0) return selectedOf(statement, names, [], span, nowMs)
  const { minScore } = statement.where
  const everySensor = statement.where.tags === undefined && statement.seriesLimit === undefined
  const wanted: Wanted = { sensors, everySensor, codes, fromMs, toMs, minScore }
  const byName = new Map(sensors.map((one) => [`${one.station}/${one.sensor}`, one]))
  const find = (station: string, sensor: string) => byName.get(`${station}/${sensor}`)
  const groups = columns.some(({ kind }) => kind === 'call')
    ? await calledGroups(columns, { statement, wanted, find, run, latest })
    : await plainGroups(statement, columns, wanted, find, run)
  const selected = selectedOf(statement, names, groups, span, nowMs)
  const { box } = selected
  if (box === undefined) return selected
  const asked = { quantities: codes, ...(minScore === undefined ? {} : { minScore }) }
  const [one, ...others] = new Set(sensors.map(({ sensor }) => sensor))
  return { ...selected, box: { ...box, ...asked, ...(others.length > 0 ? {} : { sensor: one! }) } }
}
