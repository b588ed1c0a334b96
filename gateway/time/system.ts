/** This machine's clocks, and who vouches for them. */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { uptime } from 'node:os'
import { delimiter, join } from 'node:path'
import type { NtpSync } from './estimate.ts'

/** What the timekeeper needs of a machine; all of it can be handed in. */
export type Machine = {
  /** Milliseconds since the machine booted, sleep included. */
  readonly steadyMs: () => number
  /** The system's clock, UTC in ms. */
  readonly utcMs: () => number
  /** Names the boot: steady times of two boots have nothing to do with each other. */
  readonly boot: string
  /** What systemd-timesyncd says; `awaited` where it runs and has not synchronised. Cheap: asked every second. */
  readonly timesync: () => { readonly ntp?: NtpSync; readonly awaited?: boolean }
  /** What chrony says; undefined where there is none. Costs a process: asked seldom. */
  readonly chrony: () => Promise<{ readonly ntp?: NtpSync; readonly awaited?: boolean } | undefined>
  /** UTC by the battery-backed clock. */
  readonly rtcUtcMs: () => number | undefined
}

/** Where the system has its trees; tests have their own. */
export type Roots = {
  readonly run: string
  readonly sys: string
  readonly proc: string
  readonly path: string
}

const systemRoots: Roots = { run: '/run', sys: '/sys', proc: '/proc', path: process.env.PATH ?? '' }

// systemd-timesyncd(8): the file is touched at every synchronisation. Offsets below 0.4 s (NTP_MAX_ADJUST in
// timesyncd-manager.c) are slewed, larger ones are stepped before the file is touched. How far the server's answer can
// be off is half the way there and back: 100 ms is a bad home line.
const timesyncErrorMs = 100
const timesyncSlewMs = 400

// chronyc(1), "tracking", as values: reference id, its name (since 2.x), stratum, reference time, system time, last
// offset, RMS offset, frequency, residual frequency, skew, root delay, root dispersion, update interval, leap status.
// clock_error <= |system_time_offset| + root_dispersion + 0.5 * root_delay. Counted from the end, for older ones have
// no name.
const fromEnd = { stratum: 12, referenceTime: 11, systemOffset: 10, rootDelay: 4, rootDispersion: 3 } as const
const localReference = '7F7F0101'
const noReference = '00000000'
const chronyDeadlineMs = 3_000

/** What a line of `chronyc -c tracking` says; undefined where it is no such line. */
export const chronySays = (
  line: string,
): { readonly ntp?: NtpSync; readonly awaited?: boolean } | undefined => {
  const fields = line.trim().split(',')
  if (fields.length < 13 || fields.length > 14 || line.length > 1024) return undefined
  const field = (name: keyof typeof fromEnd): number => Number(fields[fields.length - fromEnd[name]])
  const bound = (Math.abs(field('systemOffset')) + field('rootDispersion') + field('rootDelay') / 2) * 1000
  const syncedMs = field('referenceTime') * 1000
  const isSet = field('stratum') > 0 && fields[0] !== localReference && fields[0] !== noReference
  if (!isSet || /not synchroni[sz]ed/i.test(fields.at(-1)!)) return { awaited: true }
  if (!(bound >= 0 && bound < 1e9) || !(syncedMs > 0 && Number.isFinite(syncedMs))) return undefined
  return { ntp: { syncedMs, errorMs: bound, slewMs: 0 } }
}

// What a suspended machine slept shows between the two counts of the kernel; less is how exactly they are read.
const sleptMs = 500
// Two readings of one clock that lie further apart had something in between: the other clock is read again.
const tightMs = 1
const tries = 4

/** CLOCK_MONOTONIC, which stands still while the machine is suspended (github.com/nodejs/node/issues/47724). */
const awakeMs = (): number => Number(process.hrtime.bigint()) / 1e6

/**
 * CLOCK_BOOTTIME, which Node does not give: CLOCK_MONOTONIC, and what the uptime says was slept. The uptime is looked at
 * when the system's clock has gone another way than the monotonic one, as it does at each waking.
 */
const createSteady = (): (() => number) => {
  let asleepMs = 0
  let systemMs = Number.NaN
  return () => {
    const awake = awakeMs()
    const system = Date.now() - awake
    if (!(Math.abs(system - systemMs) < sleptMs)) {
      systemMs = system
      const slept = uptime() * 1000 - awake
      if (slept - asleepMs >= sleptMs) asleepMs = slept
    }
    return awake + asleepMs
  }
}

const text = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return undefined // there is none on this system
  }
}

/** This machine. Where the kernel names no boot, each process has its own. */
export const systemMachine = (roots: Roots = systemRoots): Machine => {
  const directory = join(roots.run, 'systemd/timesync')
  const mark = join(directory, 'synchronized')
  const named = text(join(roots.proc, 'sys/kernel/random/boot_id'))
  const chronyc = roots.path
    .split(delimiter)
    .map((folder) => join(folder, 'chronyc'))
    .find((path) => existsSync(path))
  return {
    steadyMs: createSteady(),
    utcMs: Date.now,
    boot: named !== undefined && /^[0-9a-f-]{36}$/.test(named) ? named : randomUUID(),
    timesync: () => {
      const syncedMs = statSync(mark, { throwIfNoEntry: false })?.mtimeMs
      if (syncedMs !== undefined)
        return { ntp: { syncedMs, errorMs: timesyncErrorMs, slewMs: timesyncSlewMs } }
      return statSync(directory, { throwIfNoEntry: false }) === undefined ? {} : { awaited: true }
    },
    chrony: async () => {
      if (chronyc === undefined) return undefined
      const { promise, resolve } = Promise.withResolvers<string>()
      const options = { timeout: chronyDeadlineMs, maxBuffer: 4096, env: { LC_ALL: 'C' } }
      // One that is installed and does not run says so and ends with an error: nobody to be asked.
      execFile(chronyc, ['-c', 'tracking'], options, (error, stdout) => resolve(error ? '' : stdout))
      return chronySays(await promise)
    },
    rtcUtcMs: () => {
      const seconds = Number(text(join(roots.sys, 'class/rtc/rtc0/since_epoch')) ?? Number.NaN)
      // It counts whole seconds.
      return Number.isSafeInteger(seconds) ? seconds * 1000 + 500 : undefined
    },
  }
}

/** Both clocks at one moment, as nearly as can be. */
export const bothClocks = ({ steadyMs, utcMs }: Pick<Machine, 'steadyMs' | 'utcMs'>) => {
  for (let tried = 1; ; tried++) {
    const before = steadyMs()
    const systemUtcMs = utcMs()
    const after = steadyMs()
    if (after - before <= tightMs || tried === tries) return { atMs: (before + after) / 2, systemUtcMs }
  }
}
