/** What a week without a hub costs a station's memory. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openJournal } from '#gateway/journal/open.ts'
import { openOutbox } from '#gateway/outbox/outbox.ts'
import { startLines } from './lines.ts'
import type { Measurement } from './measurement.ts'
import { memoryOf, startEdge } from './processes.ts'
import { batches, envelopeChain, newSigner, weather } from './samples.ts'
import { writeEdgeConfig } from './station-config.ts'

// Seven days at a reading a second, five readings an envelope, as a station with default settings makes them.
const readingsPerEnvelope = 5
const week = (7 * 86_400) / readingsPerEnvelope
const restMs = 10_000

// A port that nobody listens on, and a key that nobody has.
const away = { mqtt: 'mqtt://127.0.0.1:9', hubKey: '00'.repeat(32) }

const fill = async (directory: string, count: number): Promise<void> => {
  mkdirSync(directory, { recursive: true })
  await using outbox = await openOutbox({
    directory,
    openJournal: (path) => openJournal({ directory: path }),
  })
  const sign = envelopeChain(newSigner())
  const readings = batches(weather(count * readingsPerEnvelope, 1_763_700_000_000, 1000), readingsPerEnvelope)
  for (const [at, batch] of readings.entries()) {
    outbox.append(sign(batch))
    if (at % 100 === 99) await outbox.commit()
  }
  await outbox.commit()
}

/** Resident memory of a real edge that starts with what waits in its outbox. */
const residentMb = async (data: string, lines: string): Promise<number> => {
  await using edge = startEdge(...writeEdgeConfig(data, away, lines))
  await sleep(restMs)
  const { rssMb } = memoryOf(edge.pid)!
  if (!existsSync(join(data, 'edge/station.key'))) throw new Error('the edge does not keep its state there')
  return rssMb
}

export const weekAway: Measurement = {
  name: 'week',
  title: 'Memory of a station whose hub is away for a week',
  baseline: 'the same station with nothing waiting',
  unit: 'MB resident',
  run: async ({ share, directory }) => {
    if (memoryOf(process.pid) === undefined)
      return { skipped: 'resident memory is read from /proc, which Linux has' }
    await using lines = await startLines()
    const link = `tcp://127.0.0.1:${lines.port}`
    const count = Math.round(week * share)
    const [full, empty] = [join(directory, 'full'), join(directory, 'empty')]
    await fill(join(full, 'edge/outbox'), count)
    const ours = await residentMb(full, link)
    const baseline = await residentMb(empty, link)
    return [
      {
        what: `${count.toLocaleString('en-US')} envelopes waiting`,
        ours,
        baseline,
        ratios: [ours / baseline],
        aim: { most: 1.35 },
        note: `${(ours - baseline).toFixed(0)} MB more`,
      },
    ]
  },
}
