/** Whether a station runs in the data directory, and what can be read of it from outside. */
import { existsSync, readFileSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { lockData } from '../data-lock.ts'
import { holderOf } from '../link/holder.ts'
import { type Check, type Finding, fail, inTwo, ok, warn } from './doctor.ts'

const about = 'station'

const sent = (directory: string): string => {
  try {
    const { seq } = JSON.parse(readFileSync(join(directory, 'outbox', 'cursor.json'), 'utf8')) as {
      seq?: unknown
    }
    return Number.isSafeInteger(seq) ? `; at its last note its newest envelope was ${seq}` : ''
  } catch {
    return '' // not noted yet
  }
}

export const lock: Check = {
  name: 'station',
  run: async ({ config, roots }): Promise<Finding[]> => {
    if (!config) return []
    const directory = join(config.data, 'edge')
    const file = join(directory, 'edge.lock')
    if (!existsSync(file)) return [ok(about, `none has run in ${directory} yet`)]
    const holder = await holderOf(await realpath(file), roots.proc)
    if (holder) return [ok(about, `runs as pid ${holder.pid} in ${directory}${sent(directory)}`)]
    try {
      lockData(directory, 'edge')[Symbol.dispose]()
      return [ok(about, `none runs in ${directory}${sent(directory)}`)]
    } catch (error) {
      const [found, next] = inTwo(error)
      return [
        found.includes('is running')
          ? ok(about, `runs in ${directory}, as another user${sent(directory)}`)
          : found.includes('not writable')
            ? warn(about, found, next)
            : fail(about, found, next),
      ]
    }
  },
}
