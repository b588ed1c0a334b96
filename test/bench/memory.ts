import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startLines } from './lines.ts'
import type { Measurement, Row } from './measurement.ts'
import { memoryOf, startEdgeAgain, startHub, startIdle } from './processes.ts'
import { network } from './samples.ts'
import { writeEdgeConfig } from './station-config.ts'

const idleMs = 30_000
const burst = 100_000
const afterMs = 3_000

/** What the two processes keep resident, at rest and after a burst. */
export const memory: Measurement = {
  name: 'memory',
  title: 'Memory of the real hub and edge processes',
  baseline: 'a node that does nothing',
  unit: 'MB resident',
  run: async ({ share, directory }) => {
    if (memoryOf(process.pid) === undefined)
      return { skipped: 'resident memory is read from /proc, which Linux has' }
    await using scope = new AsyncDisposableStack()
    const idle = scope.use(startIdle())
    const hub = scope.use(await startHub(join(directory, 'hub'), network))
    const lines = scope.use(await startLines())
    const edge = scope.use(
      await startEdgeAgain(
        ...writeEdgeConfig(join(directory, 'edge'), hub, `tcp://127.0.0.1:${lines.port}`),
        lines.connected,
      ),
    )
    await lines.connected()

    const rows: Row[] = []
    const look = (when: string): void => {
      const bare = memoryOf(idle.pid)!
      for (const [name, { pid }] of Object.entries({ edge, hub })) {
        const { rssMb, anonymousMb } = memoryOf(pid)!
        rows.push({
          what: `${name}, ${when}`,
          ours: rssMb,
          baseline: bare.rssMb,
          ratios: [rssMb / bare.rssMb],
          note: `${anonymousMb.toFixed(0)} MB of it its own, ${bare.anonymousMb.toFixed(0)} MB of the baseline`,
        })
      }
    }
    const seconds = Math.round((idleMs * share) / 1000)
    await sleep(seconds * 1000)
    look(`${seconds} s after it started`)
    const count = burst * share
    await lines.send(count)
    await hub.stored(count)
    await sleep(afterMs)
    look(`after ${count.toLocaleString('en-US')} readings at once`)
    return rows
  },
}
