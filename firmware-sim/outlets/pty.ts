/** An outlet that is a real terminal device, for the real `serialport`: a pseudo-terminal kept by script(1). */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { access, constants, mkdir, rm, symlink } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import type { Duplex, Readable, Writable } from 'node:stream'
import { inTurn, maxWaitingBytes, type OpenOutlet } from './outlet.ts'

// script makes the terminal; the shell inside makes it raw, says its name, and waits for the end of
// descriptor 3. When this process dies, by whatever signal, that descriptor ends, and all of them with it.
const recipe = ['-qfec', 'stty raw -echo; tty; exec cat <&3 >/dev/null', '/dev/null']
// It takes some 35 ms; a loaded machine may take longer.
const readyDeadlineMs = 10_000
const terminalLine = /^(\/dev\/pts\/\d+)\r?\n/

/** True where pseudo-terminals can be had: `script` is on the PATH (Debian: bsdutils, always installed). */
export const hasScript = async (path = process.env.PATH ?? ''): Promise<boolean> => {
  for (const folder of path.split(delimiter))
    if (
      await access(join(folder, 'script'), constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return true
  return false
}

// The kernel buffers what is written to a terminal that nobody has open, and a gateway that comes an hour
// later would take it for fresh. serialport locks the port that it reads, and locks are public.
const isLocked = (inode: number): boolean => {
  try {
    return new RegExp(`^\\d+: FLOCK .*:${inode} `, 'm').test(readFileSync('/proc/locks', 'latin1'))
  } catch {
    // No such list here: better stale bytes than none.
    return true
  }
}

type Terminal = {
  readonly child: ChildProcess
  readonly input: Writable
  readonly hold: Duplex
  readonly device: string
  readonly inode: number
}

const terminalOf = async (hear: (bytes: Uint8Array) => void): Promise<Terminal> => {
  // Its own words, such as that it was killed, are nothing to whoever runs the simulation.
  const child = spawn('script', recipe, { stdio: ['pipe', 'pipe', 'ignore', 'pipe'] })
  // Ends without an error when the terminal goes; what is still written then is lost, as on a pulled cable.
  const ignore = (): void => undefined
  const input = child.stdin as Writable
  const output = child.stdout as Readable
  const hold = child.stdio[3] as Duplex
  for (const stream of [input, output, hold]) stream.on('error', ignore)
  const ready = Promise.withResolvers<string>()
  let head = Buffer.alloc(0)
  let found = false
  output.on('data', (bytes: Buffer) => {
    if (found) return hear(bytes)
    head = Buffer.concat([head, bytes])
    const match = terminalLine.exec(head.toString('latin1'))
    if (!match) return
    found = true
    const rest = head.subarray(match[0].length)
    ready.resolve(match[1]!)
    if (rest.length > 0) hear(rest)
  })
  child.once('error', ready.reject)
  child.once('exit', (code) => ready.reject(new Error(`script ended with code ${code}`)))
  const timer = setTimeout(() => ready.reject(new Error('script named no terminal')), readyDeadlineMs)
  try {
    const device = await ready.promise
    return { child, input, hold, device, inode: statSync(device).ino }
  } catch (cause) {
    child.kill('SIGKILL')
    throw new Error(
      'No pseudo-terminal could be made with script(1).\nInstall it (Debian: bsdutils) or use tcp:// outlets.',
      { cause },
    )
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Outlets as terminal devices: `folder/name` is a symbolic link to the terminal of the moment, there while
 * plugged in, so that a name stays the same as those under /dev/serial/by-id do.
 */
export const pty =
  (folder: string): OpenOutlet =>
  async (name, hear) => {
    const link = join(folder, name)
    const turn = inTurn()
    let terminal: Terminal | undefined

    const plug = async (): Promise<void> => {
      if (terminal) return
      await mkdir(folder, { recursive: true })
      const next = await terminalOf(hear)
      await rm(link, { force: true })
      await symlink(next.device, link)
      terminal = next
    }
    await turn(plug)

    return {
      link,
      write: (bytes) => {
        if (!terminal || terminal.input.writableLength > maxWaitingBytes || !isLocked(terminal.inode))
          return false
        terminal.input.write(bytes)
        return true
      },
      plug: () => turn(plug),
      unplug: () =>
        turn(async () => {
          const pulled = terminal
          if (!pulled) return
          terminal = undefined
          await rm(link, { force: true })
          const { child, hold, input } = pulled
          const exited =
            child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined
          hold.end()
          input.end()
          await exited
        }),
    }
  }
