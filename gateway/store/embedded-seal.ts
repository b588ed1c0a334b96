/** Sealing: rows of hours in which nothing more is expected become column chunks. */
import { chunkReadingsMax, encodeChunk } from './chunk.ts'
import { readHour } from './embedded-hour.ts'
import { rowReading } from './embedded-row.ts'
import { hourMs, type Tables } from './embedded-tables.ts'
import type { StoredReading } from './store.ts'

// A pass comes after so many readings written, and seals at most four times as many: it keeps up with any load, and a
// single write is not held up for long. An hour is over ten minutes after its end in the time of the newest reading.
const passReadings = 1_000
const passRowsMax = 4_000
const passHoursMax = 500
const graceMs = 600_000

// An hour must have been quiet for so many passes. Late rows wait beside their chunk until they are a quarter of it, or
// for many passes: a backlog that trickles in would otherwise have the same chunk packed again for each few readings.
const quietPasses = 4
const latePasses = 64

type Due = { hour: number; sensor: number; rows: number }

/** Packs one sensor-hour; its rows win over what the chunk held. Call within a transaction. */
const sealHour = (tables: Tables, { hour, sensor }: Due): boolean => {
  const { chunk, rows, replaced } = readHour(tables, hour, sensor, true)
  const count = (chunk?.count ?? 0) - replaced.size + rows.length
  if (count > chunkReadingsMax || rows.length === 0) return false
  const startMs = hour * hourMs
  const readings = rows.map(
    (row): StoredReading => ({ station: '', sensor: '', ...rowReading(row, startMs) }),
  )
  if (chunk) {
    for (let at = 0; at < chunk.count; at++)
      if (!replaced.has(at)) readings.push({ station: '', sensor: '', ...chunk.reading(at) })
    readings.sort((a, b) => a.timeMs - b.timeMs || a.seq - b.seq || a.place - b.place)
  }
  const { body, totals } = encodeChunk(readings, startMs)
  tables.run('chunkSet', hour, sensor, count, totals, body)
  tables.run('rowsDrop', hour, sensor)
  tables.run('openDrop', hour, sensor)
  return true
}

const sealDue = (tables: Tables, due: readonly Due[]): number =>
  due.length === 0
    ? 0
    : tables.transaction(() => due.reduce((done, one) => done + (sealHour(tables, one) ? 1 : 0), 0))

const withinRows = (due: readonly Due[]) => {
  let rows = 0
  return due.filter((one) => {
    const fits = rows === 0 || rows + one.rows <= passRowsMax
    if (fits) rows += one.rows
    return fits
  })
}

/** Counts what is written and seals now and then; `all` seals at once whatever ended before a time. */
export const openSealer = (tables: Tables) => {
  let pass = 1
  let written = 0
  // Pass numbers begin again with each start: nothing is written meanwhile, so every hour counts as quiet.
  tables.run('openForget')

  return {
    /** The pass that is being written in, for `open.touched`. */
    pass: () => pass,
    afterWrite: (readings: number, newestMs: number): void => {
      written += readings
      if (written < passReadings) return
      written = 0
      const closed = Math.floor((newestMs - graceMs) / hourMs)
      const due = tables.all<Due>(
        'openQuiet',
        closed,
        pass - quietPasses,
        chunkReadingsMax,
        pass - latePasses,
        passHoursMax,
      )
      pass++
      sealDue(tables, withinRows(due))
    },
    /** Seals hours that ended before `olderThanMs`, whether quiet or not; answers how many. */
    all: async (olderThanMs: number): Promise<number> => {
      const closed = Math.floor(olderThanMs / hourMs)
      let sealed = 0
      for (;;) {
        const due = tables.all<Due>('openClosed', closed, chunkReadingsMax, passHoursMax)
        const done = sealDue(tables, withinRows(due))
        sealed += done
        if (done === 0) return sealed
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
  }
}
