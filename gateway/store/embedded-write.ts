/** Writing to the embedded store: rows, and beside them what is known of each sensor. */
import type { Chunk } from './chunk.ts'
import { findInChunk, readChunk } from './embedded-hour.ts'
import { rowBody } from './embedded-row.ts'
import { hourMs, type SensorRow, type Tables } from './embedded-tables.ts'
import type { StoredReading } from './store.ts'

/** A place in the order of one sensor's readings. */
export type Mark = readonly [timeMs: number, seq: number, place: number]

export const isLater = (a: Mark, b: Mark): boolean => (a[0] - b[0] || a[1] - b[1] || a[2] - b[2]) > 0

/** Where each quantity was last named, by code. */
export const parseNewest = (newest: string): Map<number, Mark> =>
  new Map((JSON.parse(newest) as [number, number, number, number][]).map(([code, ...mark]) => [code, mark]))

type SensorState = {
  readonly id: number
  model: string
  readings: number
  firstMs: number
  last: Mark
  readonly newest: Map<number, Mark>
}

/** Readings of one sensor and hour within one write. */
type Group = { hour: number; sensor: number; chunk: Chunk | undefined; open: boolean; added: number }

// About half a kilobyte each; beyond that, sensors are read from the database again.
const statesMax = 20_000

// Each may hold a decoded chunk, so late data for very many hours must not be held together.
const groupsMax = 256

const stateOf = (row: SensorRow): SensorState => ({
  id: row.id,
  model: row.model,
  readings: row.readings,
  firstMs: row.first_ms,
  last: [row.last_ms, row.last_seq, row.last_place],
  newest: parseNewest(row.newest),
})

const noteReading = (state: SensorState, { timeMs, seq, place, model, values }: StoredReading) => {
  const mark: Mark = [timeMs, seq, place]
  if (timeMs < state.firstMs) state.firstMs = timeMs
  if (!isLater(state.last, mark)) {
    state.last = mark
    state.model = model
  }
  for (const { quantity } of values) {
    const newest = state.newest.get(quantity)
    if (!newest || isLater(mark, newest)) state.newest.set(quantity, mark)
  }
}

/** A writer with its memory of sensors; `write` is one transaction. */
export const openWriter = (tables: Tables, pass: () => number) => {
  const states = new Map<string, SensorState>()
  let dataVersion = -1

  const stateFor = ({ station, sensor, model, timeMs }: StoredReading): SensorState => {
    const name = `${station}/${sensor}`
    const known = states.get(name)
    if (known) return known
    let row = tables.get<SensorRow>('sensorNamed', station, sensor)
    if (!row) {
      tables.run('sensorAdd', station, sensor, model, timeMs)
      row = tables.get<SensorRow>('sensorNamed', station, sensor)!
    }
    const state = stateOf(row)
    states.set(name, state)
    return state
  }

  const saveGroups = (groups: Map<string, Group>) => {
    for (const { hour, sensor, added } of groups.values())
      if (added > 0) tables.run('openAdd', hour, sensor, added, pass())
    groups.clear()
  }

  const groupFor = (groups: Map<string, Group>, sensor: number, hour: number): Group => {
    const name = `${hour}/${sensor}`
    let group = groups.get(name)
    if (!group) {
      if (groups.size >= groupsMax) saveGroups(groups)
      const open = tables.get('openAt', hour, sensor) !== undefined
      group = { hour, sensor, chunk: readChunk(tables, hour, sensor), open, added: 0 }
      groups.set(name, group)
    }
    return group
  }

  const writeOne = (state: SensorState, group: Group, reading: StoredReading) => {
    const { timeMs, seq, place } = reading
    const body = rowBody(reading)
    const at = group.chunk ? findInChunk(group.chunk, timeMs, seq, place) : -1
    // What a sealed hour already holds is not written beside it again, unless a newer score has come.
    if (at >= 0 && !group.open && group.added === 0) {
      const held = group.chunk!.reading(at)
      if (rowBody({ ...held, station: reading.station, sensor: reading.sensor }) === body) return
    }
    const ms = timeMs - group.hour * hourMs
    if (tables.run('rowAdd', group.hour, group.sensor, ms, seq, place, body) === 1) {
      group.added++
      if (at < 0) state.readings++
    } else {
      tables.run('rowSet', body, group.hour, group.sensor, ms, seq, place)
    }
    noteReading(state, reading)
  }

  const save = ({ id, model, readings, firstMs, last, newest }: SensorState) => {
    const marks = JSON.stringify([...newest].map(([code, mark]) => [code, ...mark]))
    tables.run('sensorSet', model, readings, firstMs, ...last, marks, id)
  }

  const writeAll = (readings: readonly StoredReading[]): number => {
    // Another process (a rebuild) may have written: what is remembered of sensors would then be old.
    const { data_version } = tables.get<{ data_version: number }>('dataVersion')!
    if (data_version !== dataVersion || states.size > statesMax) states.clear()
    dataVersion = data_version
    const groups = new Map<string, Group>()
    const touched = new Set<SensorState>()
    let newestMs = 0
    for (const reading of readings) {
      const state = stateFor(reading)
      writeOne(state, groupFor(groups, state.id, Math.floor(reading.timeMs / hourMs)), reading)
      touched.add(state)
      if (reading.timeMs > newestMs) newestMs = reading.timeMs
    }
    saveGroups(groups)
    for (const state of touched) save(state)
    return newestMs
  }

  return {
    /** Writes all or nothing; answers the newest time among them. */
    write: (readings: readonly StoredReading[]): number => {
      try {
        return tables.transaction(() => writeAll(readings))
      } catch (error) {
        states.clear()
        throw error
      }
    },
    forget: () => states.clear(),
  }
}
