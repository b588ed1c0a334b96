/** The store for real deployments: InfluxDB 1.x, one wide point per reading. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { cursorPolicy, type InfluxConnectionOptions, openInfluxConnection } from './influx-connection.ts'
import { toLines } from './influx-line.ts'
import { queryLatest, queryReadings, queryRollup, querySensors } from './influx-query.ts'
import { assertEvery } from './rollup.ts'
import { assertLimit, assertStorable, checkSelection } from './storable.ts'
import { type Store, type StoredReading, StoreUnavailable } from './store.ts'

export type InfluxStoreOptions = InfluxConnectionOptions & {
  /** Told of each reading that the server will never take (older than its retention, a field of another type), and why. */
  readonly onQuarantine: (reading: StoredReading, error: Error) => void
}

// One request's lines stay far below the server's 25 MB; while it stores one, the next is being built. Of the sizes
// tried, 5,000 by two was the fastest: smaller requests cost the server more flushes.
const linesPerRequest = 5_000
const requestsAtOnce = 2

const always = { fromMs: 0, toMs: Infinity }

/**
 * Connects, and makes the database where it is missing. A write is acknowledged by the server, which flushes its log to disk
 * first. Throws StoreUnavailable while the server does not answer, and an Error where it is not InfluxDB 1.x.
 */
export const openInfluxStore = async ({ onQuarantine, ...options }: InfluxStoreOptions): Promise<Store> => {
  const connection = await openInfluxConnection(options)
  await connection.createDatabase()
  let closed = false

  /**
   * 400 is for ever, but may have stored a part. Halving finds the readings that are to blame; the good ones are written
   * again, over themselves.
   */
  const writePart = async (readings: readonly StoredReading[]): Promise<void> => {
    const outcome = await connection.post(toLines(readings))
    if (outcome.ok) return
    if (readings.length === 1 || outcome.dropped === readings.length) {
      for (const reading of readings)
        onQuarantine(reading, new Error(`InfluxDB refused it: ${outcome.detail}`))
      return
    }
    const middle = readings.length >> 1
    await writePart(readings.slice(0, middle))
    await writePart(readings.slice(middle))
  }

  const write = async (readings: readonly StoredReading[]) => {
    let next = 0
    let failed = false
    const sendParts = async () => {
      while (next < readings.length && !failed) {
        const from = next
        next += linesPerRequest
        // The first request is on its way before the second one's lines are made.
        if (from > 0) await nextTurn()
        await writePart(readings.slice(from, from + linesPerRequest)).catch((error: unknown) => {
          failed = true
          throw error
        })
      }
    }
    // All have come to rest before the caller hears of a failure: nothing is written behind its back.
    const ends = await Promise.allSettled(Array.from({ length: requestsAtOnce }, sendParts))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }

  const assertOpen = () => {
    if (closed) throw new Error('the InfluxDB store is closed')
  }

  return {
    kind: `InfluxDB ${connection.version}`,
    write: async (readings) => {
      assertOpen()
      assertStorable(readings)
      await write(readings)
    },
    readings: async (selection, limit, after, order = 'ascending') => {
      assertOpen()
      assertLimit(limit)
      const checked = checkSelection(selection)
      return checked ? queryReadings(connection, checked, limit, after, order) : []
    },
    rollup: async (selection, everyMs, fn, limit, after) => {
      assertOpen()
      assertLimit(limit)
      assertEvery(everyMs)
      const checked = checkSelection(selection)
      return checked ? queryRollup(connection, checked, everyMs, fn, limit, after) : []
    },
    latest: async (selection) => {
      assertOpen()
      const checked = checkSelection({ ...selection, ...always })
      return checked ? queryLatest(connection, checked) : []
    },
    sensors: async (station) => {
      assertOpen()
      const checked = checkSelection({ ...(station === undefined ? {} : { stations: [station] }), ...always })
      return checked ? querySensors(connection, checked.stations) : []
    },
    cursor: async () => {
      assertOpen()
      const [series = []] = await connection.ask([`SELECT last("index") FROM "${cursorPolicy}"."cursor"`], {})
      return Number(series[0]?.values[0]?.[1] ?? 0)
    },
    setCursor: async (index) => {
      assertOpen()
      // Always the same point, at 1970: setting overwrites.
      const outcome = await connection.post(Buffer.from(`cursor index=${index}i 0`), cursorPolicy)
      if (!outcome.ok) throw new StoreUnavailable(`InfluxDB did not take the cursor: ${outcome.detail}`)
    },
    clear: async () => {
      assertOpen()
      await connection.emptyDatabase()
    },
    [Symbol.asyncDispose]: async () => {
      closed = true
    },
  }
}
