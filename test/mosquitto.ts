/** A real mosquitto for tests: on loopback, a free port, a temporary directory. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Where mosquitto is; Debian installs it where only root's PATH looks. */
export const mosquittoPath = ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto', '/usr/bin/mosquitto'].find(
  isExecutable,
)

export const mosquittoHint = mosquittoPath
  ? ''
  : ' (SKIPPED: mosquitto is missing; apt-get install mosquitto)'

if (!mosquittoPath)
  console.warn('mosquitto tests are skipped: mosquitto is not installed. apt-get install mosquitto')

export type Mosquitto = AsyncDisposable & {
  readonly url: string
  kill(): Promise<void>
  start(): Promise<void>
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

const listens = async (port: number): Promise<void> => {
  for (let tries = 0; tries < 400; tries++) {
    const socket = connect(port, '127.0.0.1')
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    socket.destroy()
    if (open) return
    await sleep(25)
  }
  throw new Error(`mosquitto did not come up on port ${port}`)
}

/** `lines` go into its configuration file. */
export const startMosquitto = async (
  directory: string,
  lines: readonly string[] = [],
): Promise<Mosquitto> => {
  const port = await freePort()
  const config = join(directory, 'mosquitto.conf')
  writeFileSync(
    config,
    [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'user root', ...lines, ''].join('\n'),
  )
  let child: ChildProcess | undefined
  const kill = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
  const start = async (): Promise<void> => {
    child = spawn(mosquittoPath!, ['-c', config], { stdio: 'ignore' })
    await listens(port)
  }
  await start()
  return { url: `mqtt://127.0.0.1:${port}`, kill, start, [Symbol.asyncDispose]: kill }
}
