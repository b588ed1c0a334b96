/** SELECT without functions: readings as they are. */
import type { ReadingRow } from '../row.ts'
import { type Column, isTagColumn } from './columns.ts'
import type { SelectStatement } from './influxql.ts'
import type { Cell } from './json.ts'
import { fieldCode, scoreField } from './names.ts'
import { type RunPlan, readingsOf, type Wanted } from './pages.ts'
import { checkCells, type Group, groupKey, type MadeRow } from './rows.ts'
import type { SensorTags } from './sensors.ts'

/** A reading as a row; undefined where it has no value of the columns. */
const madeRow = (row: ReadingRow, tags: SensorTags, columns: readonly Column[]): MadeRow | undefined => {
  const fields = new Set(columns.map(({ field }) => field).filter((field) => fieldCode(field) !== undefined))
  let values = 0
  for (const field of fields) if ((row.values[field] ?? null) !== null) values++
  if (values === 0) return undefined
  const { station, time, quality } = row
  const cells = columns.map((column): Cell => {
    if (isTagColumn(column)) return tags[column.field]
    return column.field === scoreField ? quality.score : (row.values[column.field] ?? null)
  })
  const timeMs = Date.parse(time)
  return { timeMs, cells, parts: [{ station, values, timeMs, untilMs: timeMs + 1, score: quality.score }] }
}

/** Series of readings. `tagsOf` gives the tags of a sensor that is meant. */
export const plainGroups = async (
  { groupTags, descending, limit, offset }: SelectStatement,
  columns: readonly Column[],
  wanted: Wanted,
  tagsOf: (station: string, sensor: string) => SensorTags | undefined,
  run: RunPlan,
): Promise<Group[]> => {
  const groups = new Map<string, { readonly tags: SensorTags; readonly rows: MadeRow[] }>()
  // Series that still want rows: with none left the rest need not be read.
  const hungry = new Set(wanted.sensors.map((tags) => groupKey(tags, groupTags)))
  const enough = limit === undefined ? Number.POSITIVE_INFINITY : offset + limit
  const order = descending ? 'descending' : 'ascending'
  const reading = { order, atOnce: (enough + 1) * hungry.size } as const
  let made = 0
  for await (const one of readingsOf(wanted, run, reading)) {
    const tags = tagsOf(one.station, one.sensor)
    const key = tags && groupKey(tags, groupTags)
    if (tags === undefined || key === undefined || !hungry.has(key)) continue
    const row = madeRow(one, tags, columns)
    if (row === undefined) continue
    const group = groups.get(key) ?? { tags, rows: [] }
    groups.set(key, group)
    checkCells(++made, columns.length)
    // One more than is given tells that something was left out.
    if (group.rows.push(row) <= enough) continue
    hungry.delete(key)
    if (hungry.size === 0) break
  }
  return [...groups.values()]
}
