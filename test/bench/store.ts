import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openEmbeddedStore } from '#gateway/store/embedded.ts'
import { openInfluxStore } from '#gateway/store/influx.ts'
import { toLine } from '#gateway/store/influx-line.ts'
import type { Store, StoredReading } from '#gateway/store/store.ts'
import { influxdPath, startInfluxd } from '#test/influxd.ts'
import { type Measurement, median, row } from './measurement.ts'
import { takeTurns, warmUps } from './rounds.ts'
import { weather } from './samples.ts'

const sensors = 100
const intervalMs = 30_000

// The writer's own: the baseline sends requests of the same size, and as many at once.
const linesPerRequest = 5_000
const requestsAtOnce = 2
// With fewer requests nothing is built while another is stored; with fewer rounds one compaction decides.
const requestsPerRound = 8
const leastRequests = 4
const leastRounds = 5

// The server goes on working for a moment after it has answered: that is not the next one's time.
const settleMs = 150

const database = 'bench'

/** Readings of all sensors, in order of time, as the feed would hand them over. */
const storedWeather = (count: number, startMs: number, firstSeq: number): StoredReading[] => {
  const perSensor = Math.ceil(count / sensors)
  const series = Array.from({ length: sensors }, (_, at) => weather(perSensor, startMs, intervalMs, at + 1))
  return Array.from({ length: perSensor * sensors }, (_, at) => {
    const sensor = at % sensors
    const place = Math.floor(at / sensors)
    return {
      ...series[sensor]![place]!,
      station: sensor.toString(16).padStart(32, '0'),
      seq: firstSeq + Math.floor(place / 50),
      place: place % 50,
      score: 1,
      flags: [],
      rules: 'abcdef0123456789',
    }
  })
}

/** Bodies to a write endpoint, `requestsAtOnce` over kept connections. */
const poster = (url: string) => {
  const agent = new Agent({ keepAlive: true, maxSockets: requestsAtOnce })
  const post = (path: string, body: Buffer): Promise<void> =>
    new Promise((resolve, reject) => {
      const sent = request(
        new URL(path, url),
        { method: 'POST', agent, headers: { 'content-length': body.length } },
        (response) => {
          response.resume().once('end', () => {
            if (response.statusCode! < 300) resolve()
            else reject(new Error(`influxd answered ${response.statusCode} to ${path}`))
          })
        },
      )
      sent.once('error', reject)
      sent.end(body)
    })
  const postAll = async (bodies: readonly Buffer[]): Promise<void> => {
    let next = 0
    const sender = async (): Promise<void> => {
      while (next < bodies.length) await post(`/write?db=${database}_raw&precision=ns`, bodies[next++]!)
    }
    await Promise.all(Array.from({ length: requestsAtOnce }, sender))
  }
  return { post, postAll, close: () => agent.destroy() }
}

/** Writing to the stores beside the same lines, built beforehand, sent to the same server. */
export const store: Measurement = {
  name: 'store',
  title: `Store writes, ${sensors} sensors of 3 quantities, ${linesPerRequest} readings to a request`,
  baseline: 'line protocol built beforehand, posted to the same influxd',
  unit: 'readings/s',
  run: async ({ rounds: wanted, share, directory }) => {
    if (influxdPath === undefined) return { skipped: 'influxd is not installed. apt-get install influxdb' }
    const rounds = Math.max(Math.ceil(2 * wanted * share), leastRounds)
    await using scope = new AsyncDisposableStack()
    const influxd = scope.use(await startInfluxd())
    const own = scope.use(
      await openInfluxStore({
        url: influxd.url,
        database,
        onQuarantine: (_, error) => {
          throw error
        },
      }),
    )
    const embedded = scope.use(await openEmbeddedStore({ path: join(directory, 'store.sqlite') }))
    const { post, postAll, close } = poster(influxd.url)
    scope.defer(close)
    await post(`/query?q=${encodeURIComponent(`CREATE DATABASE ${database}_raw`)}`, Buffer.alloc(0))

    const perRound = linesPerRequest * Math.max(leastRequests, requestsPerRound * share)
    // Every writer has its own place and gets the same readings, each round the ones that follow.
    const firstMs = Date.now() - (rounds + warmUps) * (perRound / sensors) * intervalMs
    const nextRound = () => {
      let round = 0
      return () => {
        const startMs = firstMs + (round * perRound * intervalMs) / sensors
        return storedWeather(perRound, startMs, 1 + round++ * 1000)
      }
    }
    const cpuUs = { raw: [], influx: [], sqlite: [] } as Record<'raw' | 'influx' | 'sqlite', number[]>
    const perSecond = async (who: keyof typeof cpuUs, work: () => Promise<void>): Promise<number> => {
      await sleep(settleMs)
      const before = process.cpuUsage()
      const startedMs = performance.now()
      await work()
      const ms = performance.now() - startedMs
      const { user, system } = process.cpuUsage(before)
      cpuUs[who].push((user + system) / perRound)
      return (perRound * 1000) / ms
    }
    const writing = (who: 'influx' | 'sqlite', to: Store) => {
      const next = nextRound()
      return () => {
        const readings = next()
        return perSecond(who, () => to.write(readings))
      }
    }
    const nextRaw = nextRound()
    const { raw, influx, sqlite } = await takeTurns(rounds, {
      raw: () => {
        const lines = nextRaw().map(toLine)
        const bodies = Array.from({ length: lines.length / linesPerRequest }, (_, at) =>
          Buffer.from(lines.slice(at * linesPerRequest, (at + 1) * linesPerRequest).join('\n')),
        )
        return perSecond('raw', () => postAll(bodies))
      },
      influx: writing('influx', own),
      sqlite: writing('sqlite', embedded),
    })
    const us = (who: keyof typeof cpuUs): string => median(cpuUs[who]).toFixed(1)
    return [
      row('InfluxDB, through the store', influx, raw, {
        aim: { least: 0.85 },
        note: `${us('influx')} us of our CPU a reading, ${us('raw')} of the baseline’s; the server’s is not in it`,
      }),
      row('embedded, through the store', sqlite, raw, {
        note: `${us('sqlite')} us of CPU a reading, and that is all; each write flushed to disk`,
      }),
    ]
  },
}
