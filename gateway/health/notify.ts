/**
 * Tells systemd that the station runs (sd_notify(3)): ready, a line of status, and a sign of life for its watchdog. Node
 * has no datagram sockets of the Unix kind, so `systemd-notify` says it; the unit needs Type=notify and NotifyAccess=all.
 */
import { spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'

export type Notify = (...fields: readonly string[]) => Promise<void>

// The program answers within some 25 ms; one that hangs must not pile up.
const deadlineMs = 5_000

/** A notifier for the environment that systemd set, or undefined where there is none. */
export const notifier = (env: NodeJS.ProcessEnv): Notify | undefined => {
  if (!env.NOTIFY_SOCKET) return undefined
  return (...fields) =>
    new Promise((resolve) => {
      const child = spawn('systemd-notify', ['--no-block', `--pid=${process.pid}`, ...fields], {
        stdio: 'ignore',
        timeout: deadlineMs,
        env: { ...env },
      })
      // Where it is missing the watchdog tells, louder than any message from here.
      child.once('error', () => resolve()).once('exit', () => resolve())
    })
}

/** How often systemd's watchdog must hear of this process, in ms; undefined where it does not watch it. */
export const watchdogMs = (env: NodeJS.ProcessEnv, pid = process.pid): number | undefined => {
  const us = Number(env.WATCHDOG_USEC)
  const mine = env.WATCHDOG_PID === undefined || Number(env.WATCHDOG_PID) === pid
  return mine && Number.isFinite(us) && us > 0 ? us / 1000 : undefined
}

export type Watched = {
  readonly notify: Notify
  /** systemd's patience; undefined: only ready and status are told. */
  readonly watchdogMs: number | undefined
  /** False where the process runs and does not do its work: then nothing is said, and systemd starts it anew. */
  readonly healthy: () => boolean
  /** A line for `systemctl status`. */
  readonly describe: () => string
}

const statusMs = 30_000

/** Says READY, then goes on until aborted with a sign of life three times within systemd's patience. */
export const keepNotifying = async (watched: Watched, signal: AbortSignal): Promise<void> => {
  await watched.notify('READY=1', `STATUS=${watched.describe()}`)
  const everyMs = watched.watchdogMs === undefined ? statusMs : watched.watchdogMs / 3
  while (!signal.aborted) {
    await delay(everyMs, undefined, { signal, ref: false }).catch(() => undefined)
    if (signal.aborted) break
    const life = watched.watchdogMs !== undefined && watched.healthy() ? ['WATCHDOG=1'] : []
    await watched.notify(`STATUS=${watched.describe()}`, ...life)
  }
  await watched.notify('STOPPING=1')
}
