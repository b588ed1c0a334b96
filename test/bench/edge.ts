import { join } from 'node:path'
import { type Measurement, median, row } from './measurement.ts'
import { startHub } from './processes.ts'
import { saturated, startReader, usPerReading } from './reader.ts'
import { takeTurns } from './rounds.ts'
import { network } from './samples.ts'

const burst = 40_000
const pacePerS = 200
const paceMs = 3_000

// At a slow pace timers and wake-ups cost more than readings: both run at once, as on a Pi they would.
const paceRounds = 4

/** From a device's text line to the hub's receipt, in CPU time of the edge. */
export const edge: Measurement = {
  name: 'edge',
  title: 'The edge: text lines over TCP, signed, kept on disk, sent, receipted',
  baseline: 'lines split, parsed and made JSON; NOT signed, NOT kept, NOT sent',
  unit: 'CPU us/reading',
  run: async ({ rounds, share, directory }) => {
    await using scope = new AsyncDisposableStack()
    const hub = scope.use(await startHub(join(directory, 'hub'), network))
    const own = await startReader(scope, 'edge', hub, directory)
    const plain = await startReader(scope, 'plain', hub, directory)

    // Whole envelopes: none waits for its five seconds.
    const count = 50 * Math.ceil((burst * share) / 50)
    const seconds: number[] = []
    const flood = await takeTurns(rounds, {
      own: async () => {
        const startedMs = performance.now()
        const us = await saturated(own, count)()
        seconds.push((performance.now() - startedMs) / 1000)
        return us
      },
      plain: saturated(plain, count),
    })

    const paced: { own: number[]; plain: number[] } = { own: [], plain: [] }
    for (let round = 0; round < paceRounds; round++) {
      const [ownUs, plainUs] = await Promise.all(
        [own, plain].map((one) =>
          usPerReading(one, () => one.lines.pace(pacePerS, Math.max(1000, paceMs * share))),
        ),
      )
      paced.own.push(ownUs!)
      paced.plain.push(plainUs!)
    }
    const perSecond = Math.round(count / median(seconds)).toLocaleString('en-US')
    return [
      row('as fast as it reads', flood.own, flood.plain, {
        note: `${perSecond} readings/s by the clock, the hub and the device on the same cores`,
      }),
      row(`${pacePerS} readings/s`, paced.own, paced.plain, {
        note: 'both at once; mostly the cost of waking up',
      }),
    ]
  },
}
