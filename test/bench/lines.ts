/** A microcontroller behind a serial bridge: lines of text over TCP, as fast as they are read or at a pace. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { fromScaled, quantityCoded } from '#gateway/reading/quantity.ts'
import { weather } from './samples.ts'

const samples = 5_000

const shortNames: Readonly<Record<string, string>> = { temperature: 'T', humidity: 'H', pressure: 'P' }

/** Some thousand lines like `T=21.53,H=45.10,P=1013.25`, about 26 bytes each. */
const lines: readonly string[] = weather(samples, 0, 1000).map(
  ({ values }) =>
    `${values
      .map(({ quantity, scaled }) => {
        const known = quantityCoded(quantity)!
        return `${shortNames[known.name]}=${fromScaled(known, scaled ?? 0).toFixed(known.decimals)}`
      })
      .join()}\r\n`,
)

const linesPerWrite = 500
const tickMs = 5

export type LineSource = AsyncDisposable & {
  readonly port: number
  /** Resolves when somebody reads. */
  connected(): Promise<void>
  /** Writes that many lines, waiting where the reader does not keep up. */
  send(count: number): Promise<void>
  /** Writes one line at a time for so long, evenly; answers how many. */
  pace(perS: number, forMs: number): Promise<number>
}

/** Starts listening on a free port, for one reader. */
export const startLines = async (): Promise<LineSource> => {
  let reader: Socket | undefined
  const server = createServer((socket) => {
    reader = socket
      .setNoDelay(true)
      .on('error', () => undefined)
      .on('close', () => {
        if (reader === socket) reader = undefined
      })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  let line = 0
  const write = (count: number): boolean => {
    let text = ''
    for (let more = 0; more < count; more++) text += lines[line++ % samples]!
    return reader!.write(text)
  }
  return {
    port: (server.address() as { port: number }).port,
    connected: async () => {
      if (reader === undefined) await once(server, 'connection')
    },
    send: async (count) => {
      for (let left = count; left > 0; left -= linesPerWrite)
        if (!write(Math.min(left, linesPerWrite))) await once(reader!, 'drain')
    },
    pace: async (perS, forMs) => {
      const startedMs = performance.now()
      let sent = 0
      for (let elapsedMs = 0; elapsedMs < forMs; elapsedMs = performance.now() - startedMs) {
        for (; sent < Math.floor((elapsedMs * perS) / 1000); sent++) write(1)
        await new Promise((resolve) => setTimeout(resolve, tickMs))
      }
      return sent
    },
    [Symbol.asyncDispose]: async () => {
      reader?.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
