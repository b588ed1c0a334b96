/** Hub and stations as processes of their own, to be killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const main = join(import.meta.dirname, '../../gateway/main.ts')

export type Running = {
  readonly child: ChildProcess
  /** What it said so far, both streams. */
  readonly said: () => string
  /** First line of standard output. */
  readonly firstLine: Promise<string>
  readonly stop: (signal: NodeJS.Signals) => Promise<number | null>
}

export const start = (args: readonly string[], env: Readonly<Record<string, string>>): Running => {
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  let out = ''
  const line = Promise.withResolvers<string>()
  child.stdout!.on('data', (chunk: Buffer) => {
    said += chunk
    out += chunk
    if (out.includes('\n')) line.resolve(out.slice(0, out.indexOf('\n')))
  })
  child.stderr!.on('data', (chunk: Buffer) => {
    said += chunk
  })
  child.once('exit', (code, signal) => line.reject(new Error(`ended with ${code ?? signal}:\n${said}`)))
  line.promise.catch(() => undefined)
  return {
    child,
    said: () => said,
    firstLine: line.promise,
    stop: async (signal) => {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
      const gone = once(child, 'exit')
      child.kill(signal)
      const [code] = (await gone) as [number | null]
      return code
    },
  }
}
