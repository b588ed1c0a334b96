/** A real influxd for tests: on loopback, free ports, a temporary directory; it can be killed and started again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

const isExecutable = (path: string) => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Where influxd is, or undefined where it is not installed. */
export const influxdPath: string | undefined = (process.env.PATH ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'influxd'))
  .find(isExecutable)

/** For the name of what is skipped without it. */
export const influxdHint = influxdPath ? '' : ' (SKIPPED: influxd is missing; apt-get install influxdb)'

if (!influxdPath)
  console.warn('InfluxDB tests are skipped: influxd is not installed. apt-get install influxdb')

export type Influxd = AsyncDisposable & {
  readonly url: string
  /** SIGKILL, and gone when it resolves. */
  kill(): Promise<void>
  /** Starts it, again on the same data, and waits until it answers. */
  start(): Promise<void>
}

const freePort = async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

const startTimeoutMs = 20_000

const answers = async (url: string, child: ChildProcess) => {
  const endMs = Date.now() + startTimeoutMs
  while (Date.now() < endMs && child.exitCode === null) {
    const response = await fetch(`${url}/ping`).catch(() => undefined)
    if (response?.ok) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error(`influxd did not come up at ${url}`)
}

/** Starts an influxd; `await using` stops it and removes its data. */
export const startInfluxd = async (): Promise<Influxd> => {
  const folder = await mkdtemp(join(tmpdir(), 'influxd-'))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const configuration = join(folder, 'influxdb.conf')
  await writeFile(
    configuration,
    `reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = "${folder}/meta"
[data]
  dir = "${folder}/data"
  wal-dir = "${folder}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:${port}"
  log-enabled = false
[logging]
  level = "error"
`,
  )
  let child: ChildProcess | undefined

  const start = async () => {
    child = spawn(influxdPath!, ['run', '-config', configuration], { stdio: 'ignore' })
    await answers(url, child)
  }
  const kill = async () => {
    const running = child
    child = undefined
    if (!running || running.exitCode !== null || running.signalCode !== null) return
    const gone = once(running, 'exit')
    running.kill('SIGKILL')
    await gone
  }

  await start()
  return {
    url,
    kill,
    start,
    [Symbol.asyncDispose]: async () => {
      await kill()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
