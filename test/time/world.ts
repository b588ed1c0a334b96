/** A machine whose true time is known: a crystal that is off, a system clock that is moved, and who may vouch for it. */
import type { NtpSync } from '#gateway/time/estimate.ts'
import type { Machine } from '#gateway/time/system.ts'

export const startMs = Date.UTC(2026, 10, 26, 8)

const bootOf = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

/** A machine that boots at `trueMs` with its system clock at `systemUtcMs` (right, unless told). */
export const simulatedMachine = (options: {
  readonly trueMs?: number
  readonly systemUtcMs?: number
  readonly ppm?: number
  readonly boot?: number
  /** An NTP client is there: it has not synchronised before it does. */
  readonly client?: 'timesyncd' | 'chrony'
  readonly rtcUtcMs?: () => number | undefined
}) => {
  let trueMs = options.trueMs ?? startMs
  let atMs = 0
  let systemMs = options.systemUtcMs ?? trueMs
  let slewMs = 0
  let ppm = options.ppm ?? 0
  let syncedMs: number | undefined
  let chronyErrorMs = 0
  const history: { readonly atMs: number; readonly trueMs: number }[] = [{ atMs, trueMs }]

  const ntp = (): { ntp?: NtpSync; awaited?: boolean } =>
    syncedMs === undefined
      ? { awaited: true }
      : options.client === 'chrony'
        ? { ntp: { syncedMs, errorMs: chronyErrorMs, slewMs: 0 } }
        : { ntp: { syncedMs, errorMs: 100, slewMs: 400 } }

  const machine: Machine = {
    steadyMs: () => atMs,
    utcMs: () => atMs + systemMs,
    boot: bootOf(options.boot ?? 1),
    timesync: () => (options.client === 'timesyncd' ? ntp() : {}),
    chrony: async () => (options.client === 'chrony' ? ntp() : undefined),
    rtcUtcMs: options.rtcUtcMs ?? (() => undefined),
  }

  return {
    machine,
    get trueMs() {
      return trueMs
    },
    get atMs() {
      return atMs
    },
    get systemUtcMs() {
      return atMs + systemMs
    },
    /** True time of a moment that has been. */
    trueAt: (moment: number): number => {
      const later = history.findIndex((one) => one.atMs >= moment)
      if (later <= 0) return later === 0 ? history[0]!.trueMs : trueMs
      const [a, b] = [history[later - 1]!, history[later]!]
      return a.trueMs + ((b.trueMs - a.trueMs) * (moment - a.atMs)) / (b.atMs - a.atMs)
    },
    advance: (ms: number, rate = ppm): void => {
      ppm = rate
      // A slew goes into the steady clock and the system's alike, as adjtimex does it.
      const slewed = Math.sign(slewMs) * Math.min(Math.abs(slewMs), ms * 0.02)
      slewMs -= slewed
      trueMs += ms
      atMs += ms * (1 + ppm / 1e6) + slewed
      history.push({ atMs, trueMs })
    },
    /** Somebody moves the system's clock. */
    move: (byMs: number): void => {
      systemMs += byMs
    },
    setSystem: (utcMs: number): void => {
      systemMs = utcMs - atMs
    },
    /** The NTP client hears a server that is `offMs` from the truth: small offsets are slewed, large ones stepped. */
    synchronise: (offMs = 0): void => {
      const offsetMs = trueMs + offMs - (atMs + systemMs)
      if (Math.abs(offsetMs) >= (options.client === 'chrony' ? 10 : 400)) {
        systemMs += offsetMs
        slewMs = 0
      } else slewMs = offsetMs
      syncedMs = atMs + systemMs
      // chrony says how much of it is not made up for yet.
      chronyErrorMs = Math.abs(offMs) + Math.abs(slewMs) + 1
    },
    /** What a look sees. */
    look: () => ({ atMs, systemUtcMs: atMs + systemMs, ...ntp() }),
  }
}

export type SimulatedMachine = ReturnType<typeof simulatedMachine>
