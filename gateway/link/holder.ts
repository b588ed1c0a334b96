/** Which process holds a device or a file open. */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'

export type Holder = { readonly pid: number; readonly name: string }

// Looking for the holder of a busy port is a courtesy: it may not cost more than this many processes.
const maxProcesses = 4_000

/**
 * The process that holds `device` open, a real path without links, as far as this user may see it (Linux only; `proc`
 * is where its process tree is).
 */
export const holderOf = async (device: string, proc = '/proc'): Promise<Holder | undefined> => {
  const processes = (await readdir(proc).catch(() => [])).filter((name) => /^\d+$/.test(name))
  for (const pid of processes.slice(0, maxProcesses)) {
    const folder = join(proc, pid, 'fd')
    // Another user's process, or one that has just ended, is simply not the answer.
    for (const descriptor of await readdir(folder).catch(() => [])) {
      const target = await readlink(join(folder, descriptor)).catch(() => undefined)
      if (target !== device) continue
      const name = await readFile(join(proc, pid, 'comm'), 'utf8').catch(() => '')
      return { pid: Number(pid), name: name.trim() }
    }
  }
  return undefined
}
