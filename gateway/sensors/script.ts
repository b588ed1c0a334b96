/** Decoders that owners bring along: JavaScript with `decodeUplink`, run in a process of its own that is not trusted. */
import { type ChildProcess, fork } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Answer, Call } from './script-sandbox.ts'
import type { Outcome, Uplink } from './sensors.ts'
import { json, type Names, quoted } from './text-profiles.ts'

/** Longest source of a decoder; the longest in The Things Network's device repository have some 50 kB. */
export const maxScriptBytes = 131_072

// A decoder needs well under a millisecond; a Pi that does much else at once may take a hundred times as long.
const defaultCallMs = 500
// The process starts in 40 ms on a desktop, and in about half a second on a Pi.
const startMs = 10_000
// Nodes send every few minutes: between two of them the process would only hold memory.
const idleMs = 30_000
// A process starts at about 50 MB. A thread would not do: a large array in one ends the whole gateway, limits or not.
const maxHeapMb = 32
const maxResidentBytes = 160 * 1024 * 1024
const watchEveryMs = 10
// A script that fails like this will do so again: it is left alone for a while.
const maxFailures = 3
const restMs = 60_000
// Calls come one after the other; a burst of uplinks may wait, a flood may not.
const maxWaiting = 256

const sandbox = fileURLToPath(new URL('./script-sandbox.ts', import.meta.url))

/** What a script came to: JSON text, or why there is none. */
export type Ran =
  | { readonly ok: true; readonly output: string }
  | { readonly ok: false; readonly why: string }

/** Runs scripts, one after the other, in one process that is started when it is needed. */
export type ScriptRunner = {
  readonly run: (code: string, input: string) => Promise<Ran>
  /** Processes started so far. */
  readonly starts: () => number
}

const failed = (why: string): Ran => ({ ok: false, why })

/**
 * Bytes of memory that a process holds, from `VmRSS` of its status in `proc`: in kB whatever the size of a page, which is
 * 16 kB on a Raspberry Pi 5. 0 where the system does not tell.
 */
export const residentBytes = (pid: number, proc = '/proc'): number => {
  try {
    const kilobytes = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`${proc}/${pid}/status`, 'latin1'))?.[1]
    return Number(kilobytes ?? 0) * 1024
  } catch {
    return 0 // no Linux: time alone limits what can be filled
  }
}

const start = async (): Promise<ChildProcess> => {
  const child = fork(sandbox, [], {
    // No files, no processes, no environment; a script that finds a way out of its context finds nothing there.
    execArgv: [
      '--no-warnings',
      '--permission',
      `--allow-fs-read=${sandbox}`,
      `--max-old-space-size=${maxHeapMb}`,
      '--max-semi-space-size=1',
      '--disallow-code-generation-from-strings',
    ],
    env: {},
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(() => reject(new Error('it did not start in time')), startMs)
  // Its first word says that it is ready, and listens.
  child.once('message', () => resolve()).on('error', reject)
  child.once('exit', () => reject(new Error('it ended at once')))
  try {
    await promise
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    clearTimeout(timer)
  }
  try {
    // Should memory run out all the same, this is the process to end.
    writeFileSync(`/proc/${child.pid}/oom_score_adj`, '1000')
  } catch {
    // no Linux
  }
  return child
}

/** A runner; a call that takes longer than `callMs` or too much memory ends the process, and is refused. */
export const scriptRunner = ({ callMs = defaultCallMs }: { readonly callMs?: number } = {}): ScriptRunner => {
  let child: ChildProcess | undefined
  let calls = 0
  let starts = 0
  let waiting = 0
  let last: Promise<unknown> = Promise.resolve()
  let idle: NodeJS.Timeout | undefined
  const failures = new Map<string, { count: number; untilMs: number }>()

  const stop = (): void => {
    child?.kill('SIGKILL')
    child = undefined
  }

  const call = async (code: string, input: string): Promise<Ran> => {
    if (!child) {
      starts += 1
      const started = await start()
      started.once('exit', () => {
        if (child === started) child = undefined
      })
      child = started
    }
    const one = child
    const id = ++calls
    const { promise, resolve } = Promise.withResolvers<Ran>()
    const kill = (why: string): void => {
      stop()
      resolve(failed(why))
    }
    const onMessage = (answer: Answer): void => {
      if (answer.id !== id) return
      resolve(
        'output' in answer ? { ok: true, output: answer.output } : failed(`it says ${quoted(answer.error)}`),
      )
    }
    const onExit = (): void => kill('it ended its process, for want of memory')
    const timer = setTimeout(() => kill('it took too long'), callMs)
    const watch = setInterval(() => {
      if (one.pid !== undefined && residentBytes(one.pid) > maxResidentBytes) kill('it took too much memory')
    }, watchEveryMs)
    one.on('message', onMessage).once('exit', onExit)
    try {
      // A process that is just ending takes no message; its exit says so.
      one.send({ id, code, input } satisfies Call, () => undefined)
      return await promise
    } finally {
      clearTimeout(timer)
      clearInterval(watch)
      one.off('message', onMessage).off('exit', onExit)
    }
  }

  const guarded = async (code: string, input: string): Promise<Ran> => {
    const before = failures.get(code) ?? { count: 0, untilMs: 0 }
    if (before.count >= maxFailures && performance.now() < before.untilMs)
      return failed(`it has failed ${before.count} times and rests`)
    clearTimeout(idle)
    const ran = await call(code, input).catch((error: unknown) => {
      stop()
      return failed(`its process cannot be started: ${String(error).slice(0, 100)}`)
    })
    // Only what ended the process counts: a complaint about one payload says nothing about the next.
    if (child) failures.delete(code)
    else failures.set(code, { count: before.count + 1, untilMs: performance.now() + restMs })
    idle = setTimeout(stop, idleMs).unref()
    child?.unref()
    child?.channel?.unref()
    return ran
  }

  return {
    starts: () => starts,
    run: (code, input) => {
      if (waiting >= maxWaiting) return Promise.resolve(failed('too many payloads wait for it'))
      waiting += 1
      const turn = last
        .then(() => guarded(code, input))
        .finally(() => {
          waiting -= 1
        })
      last = turn
      return turn
    },
  }
}

/** A decoder's source, what it finds as `variables`, and the owner's own names for what it returns. */
export type DecoderScript = {
  readonly code: string
  readonly variables: Readonly<Record<string, string>>
  readonly names: Names
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The first of a list of messages, where there is one. */
const firstOf = (messages: unknown): string | undefined =>
  Array.isArray(messages) && messages.length > 0 ? quoted(String(messages[0])) : undefined

/** What a script's answer means: its `data` is read as the JSON of a text line is, by names. */
const outcomesOf = (output: string, names: Names): readonly Outcome[] => {
  let value: unknown
  try {
    value = JSON.parse(output)
  } catch {
    value = undefined
  }
  if (!isObject(value))
    return [{ kind: 'refused', reason: 'layout', detail: 'the script returned no object' }]
  const error = firstOf(value.errors)
  if (error) return [{ kind: 'refused', reason: 'layout', detail: `the script says ${error}` }]
  const warning = firstOf(value.warnings)
  const told: Outcome[] = warning ? [{ kind: 'control', what: `the script warns: ${warning}` }] : []
  if (!isObject(value.data))
    return [...told, { kind: 'refused', reason: 'layout', detail: 'the script returned no data' }]
  return [...told, json(JSON.stringify(value.data), names)]
}

/**
 * A reader of payloads by a script with the signature of ChirpStack and The Things Stack:
 * `decodeUplink({ bytes, fPort, recvTime, variables })` gives `{ data, warnings, errors }`.
 */
export const scriptDecoder =
  ({ code, variables, names }: DecoderScript, runner: ScriptRunner) =>
  async ({ payload, port }: Uplink): Promise<readonly Outcome[]> => {
    const input = { bytes: [...payload], fPort: port ?? 0, recvTimeMs: Date.now(), variables }
    const ran = await runner.run(code, JSON.stringify(input))
    return ran.ok
      ? outcomesOf(ran.output, names)
      : [{ kind: 'refused', reason: 'device-error', detail: `the script of this node: ${ran.why}` }]
  }
