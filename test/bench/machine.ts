/** What the numbers were measured on: figures without it mean nothing to the next reader. */
import { statfsSync } from 'node:fs'
import { arch, availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os'

// statfs(2): file systems in memory, on which a flush costs nothing.
const memoryFileSystems: ReadonlySet<number> = new Set([0x01021994, 0x858458f6])

export type Machine = Readonly<Record<string, string | number>>

/** Cores, versions, load, and a warning where `directory` is no disk. */
export const machine = (directory: string): Machine => ({
  cores: availableParallelism(),
  processor: cpus()[0]?.model.trim() ?? 'unknown',
  architecture: arch(),
  memoryGb: Math.round(totalmem() / 1e9),
  kernel: `${type()} ${release()}`,
  node: process.versions.node,
  openssl: process.versions.openssl,
  sqlite: process.versions.sqlite ?? 'unknown',
  load: loadavg()
    .map((load) => load.toFixed(1))
    .join(' '),
  disk: memoryFileSystems.has(statfsSync(directory).type)
    ? 'MEMORY: flushes cost nothing here, give a real disk with --directory'
    : 'real',
})
