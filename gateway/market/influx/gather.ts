/** What a SELECT with functions gathers, by series and interval, before it is shown. */
import { type Quantity, quantityNamed } from '../../reading/quantity.ts'
import type { SensorSummary } from '../../store/store.ts'
import type { ReadingRow } from '../row.ts'
import { emptyTally, type Tally } from './cells.ts'
import { startOf } from './fill.ts'
import type { SelectFunction, SelectStatement } from './influxql.ts'
import type { RunPlan, Wanted } from './pages.ts'
import { groupKey } from './rows.ts'

/** A column with a function; `field` is the name of a quantity. */
export type Call = { readonly fn: SelectFunction; readonly field: string }

/** What gathering works with. `find` gives a sensor that is meant; `latest` newest readings that name a quantity (a code). */
export type Asked = {
  readonly statement: SelectStatement
  readonly calls: readonly Call[]
  readonly wanted: Wanted
  readonly find: (station: string, sensor: string) => SensorSummary | undefined
  readonly run: RunPlan
  readonly latest: (code: number, sensors: readonly SensorSummary[]) => Promise<readonly ReadingRow[]>
}

/** A row that is being gathered: a cell for each call, and the intervals of which sensors are in which. */
export type OpenRow = {
  readonly cells: Tally[]
  readonly sensors: Map<SensorSummary, Set<number>>
}

export type OpenGroup = {
  readonly sensors: SensorSummary[]
  readonly rows: Map<number, OpenRow>
}

export const quantityOf = ({ field }: Call): Quantity => quantityNamed(field)!

export const codesOf = (calls: readonly Call[]): number[] =>
  [...new Set(calls.map((call) => quantityOf(call).code))].sort((a, b) => a - b)

/** Empty series for the sensors that are meant. */
export const openGather = ({ statement: { interval, groupTags }, wanted }: Asked) => {
  const groups = new Map<string, OpenGroup>()
  const of = new Map<SensorSummary, OpenGroup>()
  for (const sensor of wanted.sensors) {
    const key = groupKey(sensor, groupTags)
    const group: OpenGroup = groups.get(key) ?? { sensors: [], rows: new Map() }
    groups.set(key, group)
    group.sensors.push(sensor)
    of.set(sensor, group)
  }
  /** The row of a sensor's value of a time; without intervals there is one for all. */
  const rowAt = (sensor: SensorSummary, timeMs: number): OpenRow => {
    const { rows } = of.get(sensor)!
    const start = interval === undefined ? wanted.fromMs : startOf(timeMs, interval)
    const row = rows.get(start) ?? { cells: [], sensors: new Map() }
    rows.set(start, row)
    return row
  }
  const cellAt = (row: OpenRow, call: number): Tally => {
    row.cells[call] ??= emptyTally()
    return row.cells[call]
  }
  return { groups: (): OpenGroup[] => [...groups.values()], rowAt, cellAt }
}

export type Gather = ReturnType<typeof openGather>
