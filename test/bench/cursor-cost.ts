/** What one note of how far receipts reach costs the disk, measured. */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { writeCursor } from '#gateway/outbox/cursor.ts'
import { median } from './measurement.ts'

const rounds = 25
const writesOfRound = 20

/** Bytes this process had written, as proc(5) counts them: data, not what the file system's journal adds. */
const ownBytes = (): number | undefined => {
  try {
    return Number(/^write_bytes: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
  } catch {
    return undefined
  }
}

// Sectors written, the tenth field; 512 bytes each whatever the device's own (Linux, Documentation/admin-guide/iostats.rst).
const sectorsField = 9
const sectorBytes = 512

/** Bytes the device under a directory was given, by anybody; undefined where it is no block device. */
const deviceBytes = (directory: string): number | undefined => {
  const { dev } = statSync(directory)
  const [major, minor] = [(dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00)]
  try {
    const lines = readFileSync('/proc/diskstats', 'utf8').split('\n')
    const fields = lines
      .map((line) => line.trim().split(/\s+/))
      .find(([first, second]) => Number(first) === major && Number(second) === minor)
    return fields && Number(fields[sectorsField]) * sectorBytes
  } catch {
    return undefined // no /proc here
  }
}

const sync = (path: string): void => {
  const file = openSync(path, 'r')
  fsyncSync(file)
  closeSync(file)
}

export type CursorCost = {
  /** Bytes of its data. */
  readonly own: number
  /** Bytes that reach the device, its directory entry, inode and the file system's journal included. */
  readonly device: number
}

/**
 * Bytes of one real cursor, file and directory synced after each so that all of it is written: an upper bound, because
 * a station syncs neither and the system writes several changes at once. Medians, because a device has other users.
 * Undefined where the system does not count.
 */
export const cursorCost = (directory: string): CursorCost | undefined => {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, 'cursor.json')
  const own: number[] = []
  const device: number[] = []
  let index = 100_000
  for (let round = 0; round < rounds; round++) {
    const [ownBefore, deviceBefore] = [ownBytes(), deviceBytes(directory)]
    for (let n = 0; n < writesOfRound; n++) {
      writeCursor(path, { index: ++index, seq: index, hash: 'ab'.repeat(32), withheld: 0 })
      sync(path)
      sync(directory)
    }
    const [ownAfter, deviceAfter] = [ownBytes(), deviceBytes(directory)]
    if (ownBefore === undefined || ownAfter === undefined) return undefined
    if (deviceBefore === undefined || deviceAfter === undefined) return undefined
    own.push((ownAfter - ownBefore) / writesOfRound)
    device.push((deviceAfter - deviceBefore) / writesOfRound)
  }
  return { own: median(own), device: median(device) }
}
