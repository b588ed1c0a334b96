/** Which process holds a device, a file or a port open. */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { basename, join } from 'node:path'

export type Holder = { readonly pid: number; readonly name: string }

// Looking for the holder of a busy port is a courtesy: it may not cost more than this many processes.
const maxProcesses = 4_000
const longestName = 60

/** What a process was started as. The kernel's own name for it is that of its first thread: Node's is MainThread. */
const nameOf = async (folder: string): Promise<string> => {
  const [command = ''] = (await readFile(join(folder, 'cmdline'), 'utf8').catch(() => '')).split(/[\0 ]/)
  const name = basename(command) || (await readFile(join(folder, 'comm'), 'utf8').catch(() => '')).trim()
  return name.replace(/[^\x20-\x7e]/g, '?').slice(0, longestName)
}

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
      return { pid: Number(pid), name: await nameOf(join(proc, pid)) }
    }
  }
  return undefined
}

// /proc/net: one socket a line. local_address is the address in hexadecimal, 32 bits at a time in the order of the
// machine, a colon and the port; the fourth field is the state, the tenth the inode.
const tables = { udp: ['udp', 'udp6'], tcp: ['tcp', 'tcp6'] } as const
const listeningState = '0A'
const anywhere = /^0+$/

/** An IPv4 address as /proc/net writes it on a little-endian machine; undefined for any other. */
const inTable = (host: string): string | undefined =>
  /^\d{1,3}(?:\.\d{1,3}){3}$/.test(host)
    ? host
        .split('.')
        .reverse()
        .map((part) => Number(part).toString(16).padStart(2, '0'))
        .join('')
        .toUpperCase()
    : undefined

/**
 * The process that holds a UDP port, or listens on a TCP port, so that nobody else may at this address; as far as this
 * user may see it (Linux only).
 */
export const portHolderOf = async (
  { kind, host, port }: { readonly kind: 'udp' | 'tcp'; readonly host: string; readonly port: number },
  proc = '/proc',
): Promise<Holder | undefined> => {
  const wanted = inTable(host)
  for (const table of tables[kind]) {
    const text = await readFile(join(proc, 'net', table), 'latin1').catch(() => '')
    for (const line of text.split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/)
      const [address = '', digits = ''] = (fields[1] ?? '').split(':')
      if (Number.parseInt(digits, 16) !== port || (kind === 'tcp' && fields[3] !== listeningState)) continue
      // Two may share a port only where each has an IPv4 address of its own.
      const isApart =
        wanted !== undefined &&
        address.length === wanted.length &&
        address !== wanted &&
        ![address, wanted].some((one) => anywhere.test(one))
      if (isApart) continue
      const holder = await holderOf(`socket:[${fields[9]}]`, proc)
      if (holder) return holder
    }
  }
  return undefined
}
