/** What drivers are handed beside their settings: counters kept on disk, and secrets from files. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { readSecret } from './config.ts'
import type { Counters, Surroundings } from './sensors/sensors.ts'

const read = (path: string): [string, number][] => {
  try {
    const held = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
    return Object.entries(held).filter(
      (entry): entry is [string, number] => Number.isSafeInteger(entry[1]) && (entry[1] as number) >= 0,
    )
  } catch {
    return [] // first start; it is written by rename, so that it is never torn
  }
}

/** Counters in one file, on the disk before `set` returns. */
export const fileCounters = (path: string): Counters => {
  const held = new Map(read(path))
  return {
    get: (name) => held.get(name),
    set: (name, value) => {
      held.set(name, value)
      const file = openSync(`${path}.new`, 'w', 0o600)
      try {
        writeSync(file, JSON.stringify(Object.fromEntries(held)))
        fsyncSync(file)
      } finally {
        closeSync(file)
      }
      renameSync(`${path}.new`, path)
    },
  }
}

/** For a station whose state is in `directory`. */
export const surroundingsIn = (directory: string, network: string): Surroundings => ({
  network,
  counters: fileCounters(join(directory, 'counters.json')),
  secret: readSecret,
})

/** For a look at settings and at what devices say: nothing is counted, and frames are of no network. */
export const checkingSurroundings: Surroundings = {
  network: '',
  counters: { get: () => undefined, set: () => undefined },
  secret: readSecret,
}
