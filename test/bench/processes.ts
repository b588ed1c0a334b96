/** Other processes: the real commands and small parts of the bench, each with its own CPU time and memory. */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const startTimeoutMs = 60_000
const answerTimeoutMs = 120_000
const stopTimeoutMs = 10_000

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Sees to it that a process ends with this one. */
export const keepProcess = (child: ChildProcess): ChildProcess => {
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

/** Ends a process, gently first. */
export const stopProcess = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
  await gone
  clearTimeout(timer)
}

const inTime = <T>(promise: Promise<T>, ms: number, what: string): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${ms / 1000} s`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** What `answerQuestions` gave, or the message of what it threw. */
type Answer = { readonly answer: unknown } | { readonly error: string }

/** One of the bench's own scripts: asked over IPC, one question at a time. */
export type Part = AsyncDisposable & {
  readonly pid: number
  ask<T>(question: string, detail?: unknown): Promise<T>
}

/** What the `groundtruth` command starts a station with. */
export const stationFlags: readonly string[] = ['--max-semi-space-size=1']

/** Starts `<name>-process.ts` beside this file. */
export const startPart = async (name: string, flags: readonly string[] = []): Promise<Part> => {
  // Not this process's flags: --expose-gc would change what is measured.
  const child = keepProcess(
    fork(fileURLToPath(new URL(`${name}-process.ts`, import.meta.url)), { execArgv: [...flags] }),
  )
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`${name}-process ended with ${code}`)
  })
  failed.catch(() => undefined)
  const ask = async <T>(question: string, detail?: unknown): Promise<T> => {
    child.send({ question, detail })
    const [said] = (await inTime(
      Promise.race([once(child, 'message'), failed]),
      answerTimeoutMs,
      `${name}-process: ${question}`,
    )) as [Answer]
    if ('error' in said) throw new Error(`${name}-process: ${said.error}`)
    return said.answer as T
  }
  return { pid: child.pid!, ask, [Symbol.asyncDispose]: () => stopProcess(child) }
}

/** The other end of `ask`: answers by the question's name until the parent is gone. */
export const answerQuestions = (answers: Readonly<Record<string, (detail: never) => unknown>>): void => {
  process.on('message', async ({ question, detail }: { question: string; detail: unknown }) => {
    // Both ends are ours and of one build: a question comes with the detail that its answer takes.
    const work = answers[question] as (detail: unknown) => unknown
    const answer: Answer = await Promise.resolve(detail)
      .then(work)
      .then(
        (given) => ({ answer: given }),
        (error: Error) => ({ error: error.stack ?? String(error) }),
      )
    process.send!(answer)
  })
  // A plain end, so that a profile asked for by NODE_OPTIONS=--cpu-prof is written.
  for (const end of ['disconnect', 'SIGTERM'] as const) process.on(end, () => process.exit(0))
}

/** CPU time of this process in us, all threads, as `ask('cpu')` answers it. */
export const cpuUs = (): number => {
  const { user, system } = process.cpuUsage()
  return user + system
}

// Linux counts the time of processes in hundredths of a second, whatever its own clock ticks at (proc(5)).
const ticksPerS = 100

/** CPU time so far of any process in us, all its threads; to a hundredth of a second. */
export const cpuOf = (pid: number): number => {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) / ticksPerS) * 1e6
}

/** A running `groundtruth hub`. */
export type HubProcess = AsyncDisposable & {
  readonly pid: number
  readonly mqtt: string
  readonly http: string
  readonly hubKey: string
  /** CPU time so far in us. */
  cpu(): Promise<number>
  /** Resolves when the store holds that many readings. */
  stored(readings: number): Promise<void>
}

const main = fileURLToPath(new URL('../../gateway/main.ts', import.meta.url))

/** Runs a command of the gateway with its state in `data`; `ready` gets its standard output line by line. */
export const startCommand = (args: readonly string[], data: string): ChildProcess =>
  keepProcess(spawn(process.execPath, [main, ...args, '--data', data], { stdio: ['ignore', 'pipe', 'pipe'] }))

/** Starts the real hub, all its ports free ones. */
export const startHub = async (data: string, network: string): Promise<HubProcess> => {
  const free = ['--http-port', '0', '--mqtt-port', '0', '--rpc-port', '0']
  const child = startCommand(['hub', ...free, '--network', network], data)
  let complaints = ''
  child.stderr!.on('data', (text: Buffer) => {
    complaints = (complaints + text.toString()).slice(-4000)
  })
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`the hub ended with ${code}:\n${complaints}`)
  })
  failed.catch(() => undefined)
  const [line] = (await inTime(
    Promise.race([once(createInterface(child.stdout!), 'line'), failed]),
    startTimeoutMs,
    'starting the hub',
  )) as [string]
  const { http, mqtt, hubKey } = JSON.parse(line) as { http: string; mqtt: string; hubKey: string }

  const stored = async (readings: number): Promise<void> => {
    for (;;) {
      const { counts } = (await (await fetch(`${http}/v1/status`)).json()) as {
        counts: { readings: number | null }
      }
      if ((counts.readings ?? 0) >= readings) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  return {
    pid: child.pid!,
    mqtt,
    http,
    hubKey,
    cpu: async () => {
      const text = await (await fetch(`${http}/metrics`)).text()
      const found = /^process_cpu_seconds_total (\S+)/m.exec(text)
      if (found === null) throw new Error('the hub does not say its CPU time')
      return Number(found[1]) * 1e6
    },
    stored: (readings) => inTime(stored(readings), answerTimeoutMs, `storing ${readings} readings`),
    [Symbol.asyncDispose]: () => stopProcess(child),
  }
}

const command = fileURLToPath(new URL('../../gateway/groundtruth.mjs', import.meta.url))

export const startEdge = (data: string, config: string): AsyncDisposable & { readonly pid: number } => {
  const args = [command, 'run', '--config', config, '--data', data]
  const child = keepProcess(spawn(process.execPath, args, { stdio: 'ignore' }))
  return { pid: child.pid!, [Symbol.asyncDispose]: () => stopProcess(child) }
}

/**
 * The real edge with a configuration file, as its owner starts it and as it runs from the second start on: the first one
 * compiles, and keeps on disk what it has compiled. `reads` resolves when it reads.
 */
export const startEdgeAgain = async (
  data: string,
  config: string,
  reads: () => Promise<void>,
): Promise<AsyncDisposable & { readonly pid: number }> => {
  const first = startEdge(data, config)
  await reads()
  await first[Symbol.asyncDispose]()
  return startEdge(data, config)
}

/** A Node that does nothing. */
export const startIdle = (): AsyncDisposable & { readonly pid: number } => {
  const child = keepProcess(
    spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)'], { stdio: 'ignore' }),
  )
  return { pid: child.pid!, [Symbol.asyncDispose]: () => stopProcess(child) }
}

/** Resident memory in MB, all of it and what is not backed by files; undefined where the system is not Linux. */
export const memoryOf = (
  pid: number,
): { readonly rssMb: number; readonly anonymousMb: number } | undefined => {
  let status: string
  try {
    status = readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return undefined // no /proc here
  }
  const megabytes = (name: string): number =>
    (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024) / 1e6
  return { rssMb: megabytes('VmRSS'), anonymousMb: megabytes('RssAnon') }
}
