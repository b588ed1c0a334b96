/** The real station with one text sensor, and questions about it. */
import { loadConfig } from '#gateway/config.ts'
import type { Edge } from '#gateway/edge.ts'
import { configuredDevices, startStation } from '#gateway/station.ts'
import { answerQuestions, cpuUs } from './processes.ts'
import { network, newSigner } from './samples.ts'

let edge: Edge

const pollMs = 20

const start = async (detail: { directory: string; linesPort: number; mqtt: string; hubKey: string }) => {
  const { directory, linesPort, mqtt, hubKey } = detail
  const sensors = [{ id: 'garden', model: 'text-lines', link: `tcp://127.0.0.1:${linesPort}` }]
  const config = loadConfig({ env: {}, overrides: [[['edge', 'sensors'], sensors]] })
  edge = await startStation(
    {
      config: config.edge,
      network,
      directory,
      devices: configuredDevices(config.edge),
      signer: newSigner(),
      brokerUrl: mqtt,
      hubKey,
      version: 'bench',
      log: () => undefined,
    },
    new AbortController().signal,
  )
  edge.done.catch((error: Error) => {
    process.stderr.write(`the edge stopped: ${error.message}\n`)
    process.exit(1)
  })
}

/** Waits until that many readings were taken and the hub has receipted all that could be signed of them. */
const handled = async (readings: number): Promise<void> => {
  for (;;) {
    const { readings: taken, refused, outbox } = edge.status
    if (refused > 0 || outbox.refused > 0) throw new Error(`refused: ${JSON.stringify(edge.status)}`)
    if (taken >= readings && outbox.pending === 0 && outbox.accepted * 50 >= readings - 50) return
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

answerQuestions({ start, handled, cpu: cpuUs })
