/** Small files that say how things stand: written whole or not at all. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/** What a note says, as JSON; undefined where there is none yet. It is never torn: what cannot be read was not ours. */
export const readNote = (path: string): unknown => {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

const synced = (path: string, flags: string, write: (file: number) => void): void => {
  const file = openSync(path, flags, 0o600)
  try {
    write(file)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Writes a note as JSON; it is on the medium, in place of the one before, when this returns. Throws what the disk says. */
export const writeNote = (path: string, value: unknown): void => {
  synced(`${path}.new`, 'w', (file) => writeSync(file, JSON.stringify(value)))
  renameSync(`${path}.new`, path)
  synced(dirname(path), 'r', () => undefined)
}
