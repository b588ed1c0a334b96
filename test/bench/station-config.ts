/** The configuration of a real edge with one text sensor. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { HubProcess } from './processes.ts'
import { network } from './samples.ts'

/** Writes it; answers the state's directory and the file's path, as `startEdge` takes them. */
export const writeEdgeConfig = (
  directory: string,
  hub: Pick<HubProcess, 'mqtt' | 'hubKey'>,
  link: string,
): readonly [data: string, config: string] => {
  mkdirSync(directory, { recursive: true })
  const config = join(directory, 'bench.json') // JSON is YAML
  const sensors = [{ id: 'garden', model: 'text-lines', link }]
  writeFileSync(
    config,
    JSON.stringify({ network, edge: { broker: { url: hub.mqtt }, hubKey: hub.hubKey, sensors } }),
  )
  return [directory, config]
}
