import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startLines } from './lines.ts'
import { type Measurement, median, type Row, row } from './measurement.ts'
import { startNodeRed } from './node-red-flow.ts'
import { memoryOf, startEdgeAgain, startHub, startIdle, startPart } from './processes.ts'
import { saturated, startReader, usPerReading } from './reader.ts'
import { takeTurns } from './rounds.ts'
import { network } from './samples.ts'
import { writeEdgeConfig } from './station-config.ts'

const burst = 40_000
const pacePerS = 200
const paceMs = 5_000
const paceRounds = 4
const idleMs = 20_000
const memoryBurst = 100_000
const afterMs = 3_000

/** The edge beside Node-RED 5 with a flow that does less with the same lines. */
export const nodeRed: Measurement = {
  name: 'nodered',
  title: 'The edge beside Node-RED: text lines over TCP to an MQTT broker',
  baseline:
    'Node-RED 5: tcp in, function that parses, JSON, MQTT out with QoS 1; NOT signed, NOT kept on disk',
  unit: 'CPU us/reading',
  run: async ({ rounds, share, directory }) => {
    if (memoryOf(process.pid) === undefined)
      return { skipped: 'CPU time and memory of other processes are read from /proc, which Linux has' }
    await using scope = new AsyncDisposableStack()
    const hub = scope.use(await startHub(join(directory, 'hub'), network))
    const own = await startReader(scope, 'edge', hub, directory)
    const bare = await startReader(scope, 'plain', hub, directory)

    const redLines = scope.use(await startLines())
    const sink = scope.use(await startPart('sink'))
    const brokerPort = await sink.ask<number>('listen')
    const flow = scope.use(await startNodeRed(join(directory, 'red'), redLines.port, brokerPort))
    await redLines.connected()
    await sink.ask('clientsCame', 1)
    const red = {
      lines: redLines,
      sent: 0,
      cpu: flow.cpu,
      handled: (count: number) => sink.ask('received', count),
    }

    const count = 50 * Math.ceil((burst * share) / 50)
    const flood = await takeTurns(rounds, {
      own: saturated(own, count),
      red: saturated(red, count),
      bare: saturated(bare, count),
    })
    const paced: { own: number[]; red: number[]; bare: number[] } = { own: [], red: [], bare: [] }
    for (let round = 0; round < paceRounds; round++) {
      const [ownUs, redUs, bareUs] = await Promise.all(
        [own, red, bare].map((one) =>
          usPerReading(one, () => one.lines.pace(pacePerS, Math.max(2000, paceMs * share))),
        ),
      )
      paced.own.push(ownUs!)
      paced.red.push(redUs!)
      paced.bare.push(bareUs!)
    }

    // Fresh processes for memory: what a flood has left behind is another question.
    const edgeLines = scope.use(await startLines())
    const edge = scope.use(
      await startEdgeAgain(
        ...writeEdgeConfig(join(directory, 'memory'), hub, `tcp://127.0.0.1:${edgeLines.port}`),
        edgeLines.connected,
      ),
    )
    const idleBare = scope.use(startIdle())
    const idleLines = scope.use(await startLines())
    const idleRed = scope.use(await startNodeRed(join(directory, 'red-idle'), idleLines.port, brokerPort))
    await Promise.all([edgeLines.connected(), idleLines.connected()])
    await sleep(idleMs * share)
    const [idleOwn, idleOfRed, idleNode] = [edge, idleRed, idleBare].map(({ pid }) => memoryOf(pid)!.rssMb)
    const idle = { own: idleOwn!, red: idleOfRed!, bare: idleNode! }
    const before = own.sent
    await edgeLines.send(memoryBurst * share)
    await hub.stored(before + memoryBurst * share)
    await sleep(afterMs)
    const after = memoryOf(edge.pid)!.rssMb
    const memory: Row[] = [
      row('resident at rest', [idle.own], [idle.red], { unit: 'MB', aim: { most: 0.65 } }),
      row('resident: a Node that does nothing', [idle.bare], [idle.red], { unit: 'MB' }),
      {
        ...row('resident after a burst', [after], [idle.own], { unit: 'MB', aim: { most: 1.6 } }),
        note: 'the baseline is the edge itself at rest',
      },
    ]
    return [
      row('as fast as it reads', flood.own, flood.red, { aim: { most: 0.12 } }),
      row(`${pacePerS} readings/s`, paced.own, paced.red, {
        aim: { most: 0.35 },
        note: `all at once; ${median(paced.own.map((us) => (us * pacePerS) / 1e4)).toFixed(1)} % of a core`,
      }),
      row('as fast as it reads: lines split and parsed by a bare Node', flood.bare, flood.red),
      row(`${pacePerS} readings/s: lines split and parsed by a bare Node`, paced.bare, paced.red),
      ...memory,
    ]
  },
}
