/** Something that reads lines from a source of its own, and what that costs in CPU time. */
import { join } from 'node:path'
import { type LineSource, startLines } from './lines.ts'
import { type HubProcess, startPart, stationFlags } from './processes.ts'

export type Reader = {
  readonly lines: LineSource
  sent: number
  /** CPU time so far, us. */
  readonly cpu: () => Promise<number>
  /** Resolves when that many lines are done with. */
  readonly handled: (count: number) => Promise<unknown>
}

/** Starts `<name>-process.ts`, which reads lines and sends to the hub what it makes of them. */
export const startReader = async (
  scope: AsyncDisposableStack,
  name: string,
  { mqtt, hubKey }: HubProcess,
  directory: string,
): Promise<Reader> => {
  const lines = scope.use(await startLines())
  const part = scope.use(await startPart(name, name === 'edge' ? stationFlags : []))
  await part.ask('start', { directory: join(directory, name), linesPort: lines.port, mqtt, hubKey })
  await lines.connected()
  return {
    lines,
    sent: 0,
    cpu: () => part.ask<number>('cpu'),
    handled: (count) => part.ask('handled', count),
  }
}

/** CPU time for each reading of what `work` sends, until the last one is done with. */
export const usPerReading = async (reader: Reader, work: () => Promise<number>): Promise<number> => {
  const before = await reader.cpu()
  const count = await work()
  reader.sent += count
  await reader.handled(reader.sent)
  return ((await reader.cpu()) - before) / count
}

/** A turn of sending that many lines as fast as they are read. */
export const saturated = (reader: Reader, count: number) => () =>
  usPerReading(reader, async () => {
    await reader.lines.send(count)
    return count
  })
