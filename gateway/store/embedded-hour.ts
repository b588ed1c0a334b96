/** One sensor's readings of one hour, wherever they are: in its chunk, in rows, or in both. */
import { type Chunk, ChunkDamaged, decodeChunk } from './chunk.ts'
import { type Row, rowReading } from './embedded-row.ts'
import { hourMs, type Tables } from './embedded-tables.ts'
import type { StoredReading } from './store.ts'

export type Hour = {
  readonly chunk: Chunk | undefined
  readonly rows: readonly Row[]
  /** Positions in the chunk that a row has replaced since. */
  readonly replaced: ReadonlySet<number>
}

/** The sealed part of a sensor-hour; throws an Error that says what to do where the file was damaged. */
export const readChunk = (tables: Tables, hour: number, sensor: number): Chunk | undefined => {
  const found = tables.get<{ body: Uint8Array }>('chunkBody', hour, sensor)
  if (!found) return undefined
  try {
    return decodeChunk(found.body, hour * hourMs)
  } catch (error) {
    if (!(error instanceof ChunkDamaged || error instanceof RangeError || error instanceof SyntaxError))
      throw error
    throw new Error(
      `the store's chunk of sensor ${sensor}, hour ${hour}, is damaged: ${error.message}. ` +
        'Delete the store; it is rebuilt from the evidence.',
      { cause: error },
    )
  }
}

/** Where a reading stands in a chunk, or -1. */
export const findInChunk = (chunk: Chunk, timeMs: number, seq: number, place: number): number => {
  let low = 0
  let high = chunk.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (chunk.timeMs[middle]! < timeMs) low = middle + 1
    else high = middle
  }
  for (let at = low; at < chunk.count && chunk.timeMs[at] === timeMs; at++)
    if (chunk.seq[at] === seq && chunk.place[at] === place) return at
  return -1
}

/** Everything of one sensor-hour. */
export const readHour = (tables: Tables, hour: number, sensor: number, hasRows: boolean): Hour => {
  const chunk = readChunk(tables, hour, sensor)
  const rows = hasRows ? tables.all<Row>('rowsOf', hour, sensor) : []
  const replaced = new Set<number>()
  if (chunk)
    for (const { ms, seq, place } of rows) {
      const at = findInChunk(chunk, hour * hourMs + ms, seq, place)
      if (at >= 0) replaced.add(at)
    }
  return { chunk, rows, replaced }
}

/** One reading by its key; undefined when it is not there. */
export const readOne = (
  tables: Tables,
  sensor: number,
  timeMs: number,
  seq: number,
  place: number,
  wanted?: ReadonlySet<number>,
): Omit<StoredReading, 'station' | 'sensor'> | undefined => {
  const hour = Math.floor(timeMs / hourMs)
  const ms = timeMs - hour * hourMs
  const row = tables.get<{ body: string }>('rowAt', hour, sensor, ms, seq, place)
  if (row) return rowReading({ ms, seq, place, body: row.body }, hour * hourMs, wanted)
  const chunk = readChunk(tables, hour, sensor)
  const at = chunk ? findInChunk(chunk, timeMs, seq, place) : -1
  return at < 0 ? undefined : chunk!.reading(at, wanted)
}
