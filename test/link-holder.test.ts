/** Who holds a device or a port, on a machine as the test writes it down. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { holderOf, portHolderOf } from '#gateway/link/holder.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const headLine =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
/** A line of /proc/net for a socket. */
const socketLine = (address: string, state: string, inode: number): string =>
  `   0: ${address} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0`

type Process = {
  readonly pid: number
  readonly comm: string
  readonly cmdline?: string
  readonly holds: string
}

const machine = (processes: readonly Process[], tables: Readonly<Record<string, readonly string[]>> = {}) => {
  const proc = temporaryDirectory()
  mkdirSync(join(proc, 'net'))
  for (const [name, lines] of Object.entries(tables))
    writeFileSync(join(proc, 'net', name), [headLine, ...lines, ''].join('\n'))
  for (const { pid, comm, cmdline, holds } of processes) {
    mkdirSync(join(proc, String(pid), 'fd'), { recursive: true })
    symlinkSync(holds, join(proc, String(pid), 'fd', '3'))
    writeFileSync(join(proc, String(pid), 'comm'), `${comm}\n`)
    if (cmdline !== undefined) writeFileSync(join(proc, String(pid), 'cmdline'), cmdline)
  }
  return proc
}

test('a process is named as it was started; the first thread of Node calls itself something else', async () => {
  const holds = '/dev/ttyUSB0'
  const named = (cmdline?: string) =>
    holderOf(
      holds,
      machine([{ pid: 812, comm: 'MainThread', holds, ...(cmdline === undefined ? {} : { cmdline }) }]),
    )
  expect(await named('/usr/bin/node\0--no-warnings\0main.ts\0')).toEqual({ pid: 812, name: 'node' })
  expect(await named('gpsd\0')).toEqual({ pid: 812, name: 'gpsd' })
  expect(await named('a\x1b[31mb\0')).toEqual({ pid: 812, name: 'a?[31mb' })
  expect(await named(`${'x'.repeat(500)}\0`)).toEqual({ pid: 812, name: 'x'.repeat(60) })
  // A process of the kernel has no command, and another user's may not be read.
  expect(await named('')).toEqual({ pid: 812, name: 'MainThread' })
  expect(await named()).toEqual({ pid: 812, name: 'MainThread' })
})

test('a port is held by who has a socket at this address, or at every address', async () => {
  const held = (address: string, kind: 'udp' | 'tcp', state: string, host: string, table: string = kind) =>
    portHolderOf(
      { kind, host, port: 1700 },
      machine([{ pid: 7, comm: 'lora_pkt_fwd', holds: 'socket:[4242]' }], {
        [table]: [socketLine('0100007F:0016', state, 1), socketLine(address, state, 4242)],
      }),
    )
  const holder = { pid: 7, name: 'lora_pkt_fwd' }
  expect(await held('0100007F:06A4', 'udp', '07', '127.0.0.1')).toEqual(holder)
  expect(await held('00000000:06A4', 'udp', '07', '127.0.0.1')).toEqual(holder)
  expect(await held('0100007F:06A4', 'udp', '07', '0.0.0.0')).toEqual(holder)
  expect(await held('0501A8C0:06A4', 'udp', '07', '192.168.1.5')).toEqual(holder)
  expect(await held(`${'0'.repeat(32)}:06A4`, 'udp', '07', '127.0.0.1', 'udp6')).toEqual(holder)
  expect(await held('0100007F:06A4', 'tcp', '0A', 'localhost')).toEqual(holder)
  // Another address, another port, and a connection that nobody listens for.
  expect(await held('0501A8C0:06A4', 'udp', '07', '127.0.0.1')).toBeUndefined()
  expect(await held('0100007F:06A5', 'udp', '07', '127.0.0.1')).toBeUndefined()
  expect(await held('0100007F:06A4', 'tcp', '01', '127.0.0.1')).toBeUndefined()
})

test('a machine without such a tree, or with nonsense in it, has no holder', async () => {
  const about = { kind: 'udp', host: '127.0.0.1', port: 1700 } as const
  expect(await portHolderOf(about, join(temporaryDirectory(), 'none'))).toBeUndefined()
  expect(await portHolderOf(about, machine([], { udp: ['', 'x', '  0: :', '\0\0'] }))).toBeUndefined()
  // A socket of another user's process: its number is there, and nobody who holds it.
  expect(
    await portHolderOf(about, machine([], { udp: [socketLine('0100007F:06A4', '07', 9)] })),
  ).toBeUndefined()
})
