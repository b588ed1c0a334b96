/** The timekeeper: looks at the clocks every second, and remembers over restarts and reboots what was known. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { readNote, writeNote } from '../journal/note.ts'
import type { Clock } from '../reading/envelope.ts'
import { type Boot, earlierTimes, lacksLater } from './earlier.ts'
import { createEstimate, type NtpSync } from './estimate.ts'
import { bothClocks, type Machine } from './system.ts'
import { driftRate, type Fix, isPlausible, type Stamp, stepMs, type TimeStatus } from './time.ts'

const lookEveryMs = 1_000
const chronyEveryMs = 64_000
/** A new anchor is worth writing down; that the same one still holds, only now and then: an SD card wears. */
const saveEveryMs = 15 * 60_000
/** Older boots are forgotten: readings of theirs that still wait are then dropped. */
const maxBoots = 64

// A battery-backed clock that was last set when this station last knew the time drifts like any other; where that is
// not known, a year of it is assumed.
const rtcReadMs = 1_000
const assumedRtcAgeMs = 365 * 24 * 3_600_000

export type Timekeeper = AsyncDisposable & {
  /** Names this boot. */
  readonly boot: string
  readonly steadyMs: () => number
  /** UTC of a moment of this boot; undefined while it is not known. Notices a clock that was moved just now. */
  readonly at: (atMs: number) => Stamp | undefined
  /** UTC of a moment of this boot or of an earlier one; undefined where nothing bounds it. */
  readonly of: (boot: string, atMs: number) => Stamp | undefined
  /** Whether an earlier boot's time would be bounded if somebody vouched for this one's. */
  readonly lacksSource: (boot: string) => boolean
  /** For what is not signed: UTC as far as known, otherwise by the system's clock. */
  readonly utcMs: () => number
  /** What can be declared of now; source `none` while nothing is known. */
  readonly clock: () => Clock
  /** A receiver with a fix gave this UTC; received at `atMs`. */
  readonly gnss: (utcMs: number, atMs: number) => void
  /** Tells that a boot lasted at least until that moment. */
  readonly lasted: (boot: string, atMs: number) => void
  /** Hands in what is to be done once the time is known; at once, where it is. */
  readonly whenKnown: (run: () => void) => void
  /** Looks now; the timer does it every second. */
  readonly look: () => void
  readonly status: TimeStatus
}

type Kept = Boot & { lastMs: number; fix?: Fix | undefined; syncedMs?: number | undefined }

const isFix = (value: unknown): value is Fix => {
  const { source, ...numbers } = (value ?? {}) as Record<string, unknown>
  return (
    typeof source === 'string' &&
    ['none', 'rtc', 'ntp', 'gnss'].includes(source) &&
    ['atMs', 'utcMs', 'errorMs', 'setMs', 'systemMs', 'slewMs'].every((name) =>
      Number.isFinite(numbers[name]),
    ) &&
    isPlausible(numbers.utcMs as number)
  )
}

const readBoots = (path: string): Kept[] => {
  const { boots } = (readNote(path) ?? {}) as { boots?: unknown }
  if (!Array.isArray(boots)) return []
  return boots.slice(-maxBoots).flatMap((one: unknown): Kept[] => {
    const { id, lastMs, fix, syncedMs } = (one ?? {}) as Record<string, unknown>
    if (typeof id !== 'string' || typeof lastMs !== 'number' || !(lastMs >= 0)) return []
    return [
      {
        id,
        lastMs,
        ...(isFix(fix) ? { fix } : {}),
        ...(typeof syncedMs === 'number' ? { syncedMs } : {}),
      },
    ]
  })
}

/** The newest UTC that NTP vouched for, of the boots given. */
const newestOf = (boots: readonly Kept[]): number | undefined => {
  const times = boots.flatMap(({ fix, lastMs }) =>
    fix?.source === 'ntp' ? [fix.utcMs + Math.max(0, lastMs - fix.atMs)] : [],
  )
  return times.length > 0 ? Math.max(...times) : undefined
}

/**
 * Opens the timekeeper; what it must remember is in `clock.json` in the directory. Neither a disk that fails nor a
 * source that does not answer is an error of it: it knows less, and `log` hears of it once.
 */
export const openTimekeeper = async ({
  directory,
  machine,
  log,
  every = (ms, run) => {
    const timer = setInterval(run, ms)
    timer.unref()
    return () => clearInterval(timer)
  },
}: {
  readonly directory: string
  readonly machine: Machine
  readonly log: (message: string) => void
  readonly every?: (ms: number, run: () => void) => () => void
}): Promise<Timekeeper> => {
  const path = join(directory, 'clock.json')
  const { boot, steadyMs } = machine
  const boots = readBoots(path)
  const lastId = boots.at(-1)?.id
  if (lastId !== boot) boots.push({ id: boot, lastMs: 0 })
  if (boots.length > maxBoots) boots.shift()
  const own = boots.at(-1)!
  const newestMs = newestOf(boots.slice(0, -1))
  const estimate = createEstimate({ saved: own.fix, syncedMs: own.syncedMs, newestMs })

  let saved: Fix | undefined = own.fix
  let savedMs = lastId === boot ? steadyMs() : Number.NEGATIVE_INFINITY
  let unwritable = false
  let waiting: (() => void)[] = []
  let jumps = 0

  const save = (atMs: number): void => {
    savedMs = atMs
    saved = estimate.fix
    own.fix = estimate.fix
    own.syncedMs = estimate.syncedMs
    own.lastMs = Math.max(own.lastMs, atMs)
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      writeNote(path, { boots })
      unwritable = false
    } catch (error) {
      if (!unwritable) log(`what is known of the time cannot be kept: ${(error as Error).message}`)
      unwritable = true
    }
  }

  // A synchronisation that only confirms the time is not worth a write; another time, or another source, is.
  const isNews = (fix: Fix | undefined): boolean =>
    fix?.source !== saved?.source ||
    (fix !== undefined &&
      saved !== undefined &&
      Math.abs(fix.utcMs - fix.atMs - (saved.utcMs - saved.atMs)) >= stepMs)

  const rtc = (): { readonly utcMs: number; readonly errorMs: number } | undefined => {
    const utcMs = machine.rtcUtcMs()
    if (utcMs === undefined) return undefined
    const ageMs = newestMs === undefined ? assumedRtcAgeMs : Math.max(0, utcMs - newestMs)
    return { utcMs, errorMs: rtcReadMs + ageMs * driftRate }
  }

  let awaitedByChrony = false
  let chronyAskedMs = Number.NEGATIVE_INFINITY
  let asking: Promise<void> | undefined

  // What came in one piece was received at one moment: its time is asked for many times over, and is the same until the
  // next look.
  let newest: { readonly atMs: number; readonly stamp: Stamp | undefined } | undefined

  const look = (ntp?: NtpSync): void => {
    newest = undefined
    const clocks = bothClocks(machine)
    const timesync = machine.timesync()
    const wasKnown = estimate.fix !== undefined
    estimate.look({
      ...clocks,
      ntp: ntp ?? timesync.ntp,
      awaited: timesync.awaited === true || awaitedByChrony,
      ...(wasKnown && estimate.fix?.source !== 'none' ? {} : { rtc: rtc() }),
    })
    const { atMs } = clocks
    const status = estimate.status(atMs)
    if (status.jumps > jumps) {
      log(`the system's clock was moved by ${(status.lastJumpMs ?? 0) / 1000} s`)
      jumps = status.jumps
      chronyAskedMs = Number.NEGATIVE_INFINITY
    }
    if (isNews(estimate.fix) || atMs - savedMs >= saveEveryMs) save(atMs)
    if (atMs - chronyAskedMs >= chronyEveryMs) ask(atMs)
    if (estimate.fix === undefined) return
    if (!wasKnown) log(`the time is known, source ${status.source}, give or take ${status.errorMs} ms`)
    for (const run of waiting.splice(0)) run()
  }

  // Asked apart from the looks: it answers when it likes, and one question at a time is enough.
  const ask = (atMs: number): void => {
    if (asking !== undefined) return
    chronyAskedMs = atMs
    asking = machine
      .chrony()
      .catch(() => undefined)
      .then((said) => {
        asking = undefined
        awaitedByChrony = said?.awaited === true
        if (said?.ntp) look(said.ntp)
      })
  }

  // Whether chrony is about to set the clock must be known before an unset clock is taken for good.
  const first = await machine.chrony().catch(() => undefined)
  chronyAskedMs = steadyMs()
  awaitedByChrony = first?.awaited === true
  look(first?.ntp)
  const stop = every(lookEveryMs, () => look())

  const at = (atMs: number): Stamp | undefined => {
    if (newest?.atMs === atMs) return newest.stamp
    const stamp = lookedAt(atMs)
    newest = { atMs, stamp }
    return stamp
  }
  const lookedAt = (atMs: number): Stamp | undefined => {
    const { atMs: nowMs, systemUtcMs } = bothClocks(machine)
    const { fix } = estimate
    // Looking costs a few microseconds for the clocks and more for the sources: these only where a clock was moved.
    if (fix !== undefined && Math.abs(systemUtcMs - nowMs - seenMs) >= stepMs) {
      seenMs = systemUtcMs - nowMs
      look()
    }
    return estimate.at(atMs)
  }
  let seenMs = ((clocks) => clocks.systemUtcMs - clocks.atMs)(bothClocks(machine))

  let closed = false
  return {
    boot,
    steadyMs,
    at,
    of: (id, atMs) => {
      if (id === boot) return at(atMs)
      own.fix = estimate.fix
      own.lastMs = Math.max(own.lastMs, steadyMs())
      return earlierTimes(boots)(id, atMs)
    },
    lacksSource: (id) => {
      own.fix = estimate.fix
      return id !== boot && lacksLater(boots, id)
    },
    utcMs: () => estimate.at(steadyMs())?.utcMs ?? machine.utcMs(),
    clock: () => at(steadyMs())?.clock ?? { source: 'none', ageS: 0, errorMs: 0 },
    gnss: (utcMs, atMs) => {
      newest = undefined
      estimate.gnss(utcMs, atMs)
      if (waiting.length > 0 && estimate.fix !== undefined) look()
    },
    lasted: (id, atMs) => {
      const of = boots.find((one) => one.id === id)
      if (of !== undefined) of.lastMs = Math.max(of.lastMs, atMs)
    },
    whenKnown: (run) => {
      if (estimate.fix === undefined) waiting.push(run)
      else run()
    },
    look: () => look(),
    get status() {
      return estimate.status(steadyMs())
    },
    [Symbol.asyncDispose]: async () => {
      if (closed) return
      closed = true
      stop()
      await asking
      waiting = []
      save(steadyMs())
    },
  }
}
