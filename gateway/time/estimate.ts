/** The estimate of UTC: from looks at the system's clock and at who vouches for it, pure and without a clock of its own. */
import type { ClockSource } from '../reading/envelope.ts'
import { driftRate, errorOf, type Fix, isPlausible, type Stamp, stepMs, type TimeStatus } from './time.ts'

/**
 * What an NTP client says: when, by the system's clock, it last set the time, and how far off the clock can be once it
 * is set. `slewMs` is the most that it does not set at once but lets the clock make up until the next synchronisation.
 */
export type NtpSync = { readonly syncedMs: number; readonly errorMs: number; readonly slewMs: number }

/** One look. `atMs` and `systemUtcMs` are of the same moment. */
export type Look = {
  readonly atMs: number
  readonly systemUtcMs: number
  /** Not there where it was not asked, or has nothing to say. */
  readonly ntp?: NtpSync | undefined
  /** An NTP client runs and has not synchronised: the system's clock is about to be set. */
  readonly awaited?: boolean
  /** UTC by the clock that goes on while power is off, and how far it can have drifted. */
  readonly rtc?: { readonly utcMs: number; readonly errorMs: number } | undefined
}

/** How long the system's clock must stand as moved before it is followed, where nobody vouches for either. */
const followMs = 3_600_000
/** For how long such a jump is declared after it was followed. */
const declareMs = 24 * 3_600_000

/** A battery-backed clock that set the system's one differs from it by less. */
const rtcAgreesMs = 2_500

// A receiver's sentence comes up to a second after the moment it names, later at 4800 baud. A cold receiver may miss
// the leap seconds of its almanac at first: it has to say the same for some time.
const gnss = { count: 5, spanMs: 10_000, agreeMs: 2_000, latencyMs: 500, errorMs: 1_500 } as const

// Between a synchronisation and the first look of a boot anybody may have moved the clock, and nothing tells. What is no
// older than this at the first look is taken on trust: a station starts when the time is there. After longer nobody
// vouches, until the next one: 17 minutes with chrony, 34 with timesyncd at most, and no reading waits for it.
const freshMs = 60_000

/** After so many synchronisations in a row, what was signed before them is no argument against them. */
const convincing = 3

/** When a file's time is rounded to the kernel's tick, and two clocks are read one after the other. */
const slackMs = 50
const maxMoves = 16
/** Differences below this are the reading of two clocks, one after the other; no clock is moved by so little. */
const noiseMs = 5

/** How the system's clock stands, UTC less steady time; moved there after `fromMs` and before `seenMs`. */
type Standing = { readonly fromMs: number; readonly seenMs: number; readonly systemMs: number }

export type Estimate = {
  /** Takes a look into account. */
  readonly look: (look: Look) => void
  /** A receiver with a fix gave this UTC; received at `atMs`. */
  readonly gnss: (utcMs: number, atMs: number) => void
  /** UTC of a moment of this boot; undefined while it is not known. */
  readonly at: (atMs: number) => Stamp | undefined
  readonly fix: Fix | undefined
  /** The newest synchronisation that was looked at, by the system's clock; whether or not it vouched for anything. */
  readonly syncedMs: number | undefined
  readonly status: (atMs: number) => TimeStatus
}

/**
 * An estimate for one boot. `saved` and `syncedMs` are what an earlier process of this boot had. Without them, how the
 * clock stands at the first look is taken for how it stood at the newest synchronisation, where that is a minute old at
 * most; where it is older, nobody vouches before the next one. `newestMs` is the newest UTC that
 * was vouched for in earlier boots: a clock that nobody vouches for and that stands before it is wrong, and even a
 * vouched one declares how far it lies before it.
 */
export const createEstimate = (known: {
  readonly saved?: Fix | undefined
  readonly syncedMs?: number | undefined
  readonly newestMs?: number | undefined
}): Estimate => {
  let fix = known.saved
  let newestMs = known.newestMs
  let standings: Standing[] = fix === undefined ? [] : [{ fromMs: 0, seenMs: 0, systemMs: fix.systemMs }]
  let lookedMs = fix?.atMs ?? 0
  let askedMs = lookedMs
  let crowdedMs = Number.NEGATIVE_INFINITY
  let lastSyncedMs = known.syncedMs
  let firstMs = known.saved === undefined ? undefined : Number.NEGATIVE_INFINITY
  let staleSyncedMs: number | undefined
  let syncs = 0
  let jumps = 0
  let lastJumpMs: number | null = null
  let jumpedAtMs = 0
  let declared = { ms: 0, untilMs: 0 }
  let sinceMs: number | null = null
  let heard: { readonly atMs: number; readonly offsetMs: number }[] = []

  const standing = (): number | undefined => standings.at(-1)?.systemMs

  /** How far the system's clock has been moved since the fix; nobody has said yet that this is wrong, or right. */
  const doubtMs = (): number => {
    const now = standing()
    if (fix === undefined || now === undefined) return 0
    const moved = Math.abs(now - fix.systemMs)
    return moved < noiseMs ? 0 : moved
  }

  const take = (next: Fix): void => {
    if (fix?.source !== next.source || sinceMs === null) sinceMs = Math.round(next.utcMs)
    fix = next
  }

  /** The same, where nobody vouches also for a day after it was followed. */
  const doubtAt = (atMs: number): number =>
    fix?.source === 'none' ? Math.max(doubtMs(), atMs < declared.untilMs ? declared.ms : 0) : doubtMs()

  const errorAt = (of: Fix, atMs: number): number =>
    (of.source === 'none' ? 0 : errorOf(of, atMs)) + doubtAt(atMs)

  const at = (atMs: number): Stamp | undefined => {
    if (fix === undefined) return undefined
    const utcMs = fix.utcMs + (atMs - fix.atMs)
    const errorMs = errorAt(fix, atMs)
    const before = newestMs === undefined || fix.source === 'none' ? 0 : newestMs - utcMs
    return {
      utcMs: Math.round(utcMs),
      clock: {
        source: fix.source,
        ageS: Math.max(0, Math.floor(Math.abs(atMs - fix.setMs) / 1000)),
        // Half a millisecond is lost to rounding.
        errorMs: fix.source === 'none' ? Math.ceil(errorMs) : Math.ceil(Math.max(errorMs, before) + 0.5),
      },
    }
  }

  /** The standings under which a synchronisation lies after `sinceMs` and within the standing. */
  const fitting = ({ syncedMs }: NtpSync, sinceMs: number, atMs: number): Standing[] =>
    standings.filter(({ fromMs, systemMs }, at) => {
      const momentMs = syncedMs - systemMs
      const earliestMs = at === 0 ? sinceMs : Math.max(sinceMs, fromMs)
      return momentMs >= earliestMs - slackMs && momentMs <= (standings[at + 1]?.seenMs ?? atMs) + slackMs
    })

  /**
   * A synchronisation names its moment by the system's clock, and the clock may have been moved since the last look:
   * which of its standings fits? Only that one is vouched for. Where it was moved between two looks it may have stood
   * otherwise in between, and the synchronisation may be of then: how far off that would be is added to the error.
   */
  const synchronised = (sync: NtpSync, atMs: number): void => {
    const sinceMs = askedMs
    askedMs = atMs
    if (sync.syncedMs === lastSyncedMs) return
    lastSyncedMs = sync.syncedMs
    const fits = fitting(sync, sinceMs, atMs)
    const good = fits.at(-1)
    if (good === undefined || !isPlausible(sync.syncedMs) || crowdedMs > sinceMs) return
    const momentMs = sync.syncedMs - good.systemMs
    if (momentMs < firstMs! - freshMs) {
      staleSyncedMs = sync.syncedMs
      return
    }
    const moves = standings.slice(1).filter(({ seenMs }) => seenMs >= sinceMs)
    const unclearMs = Math.max(
      moves.length > 0 ? slackMs : 0,
      ...moves.flatMap(({ fromMs, seenMs }) =>
        [fromMs, seenMs].map((end) => Math.abs(momentMs - end) + slackMs),
      ),
      ...fits.map(({ systemMs }) => Math.abs(systemMs - good.systemMs)),
    )
    syncs += 1
    // What the clock has drifted since the last time is being made up.
    const drifted = fix?.source === 'ntp' ? Math.abs(momentMs - fix.setMs) * driftRate : sync.slewMs
    take({
      source: 'ntp',
      atMs: momentMs,
      utcMs: sync.syncedMs,
      errorMs: sync.errorMs + Math.min(drifted, sync.slewMs) + unclearMs * (1 + driftRate) + noiseMs,
      setMs: momentMs,
      systemMs: good.systemMs,
      slewMs: sync.slewMs,
    })
    if (syncs >= convincing) newestMs = undefined
    standings = standings.slice(-1)
  }

  const unvouched = (utcMs: number): boolean => isPlausible(utcMs) && utcMs >= (newestMs ?? 0)

  const look = (seen: Look): void => {
    const { atMs, systemUtcMs } = seen
    const systemMs = systemUtcMs - atMs
    const before = standing()
    firstMs ??= atMs
    if (before !== undefined && Math.abs(systemMs - before) >= stepMs) {
      jumps += 1
      lastJumpMs = Math.round(systemMs - before)
      jumpedAtMs = atMs
    }
    if (before === undefined || Math.abs(systemMs - before) >= noiseMs) {
      standings.push({ fromMs: lookedMs, seenMs: atMs, systemMs })
      if (standings.length > maxMoves) {
        standings.shift()
        crowdedMs = atMs
      }
    }
    if (seen.ntp) synchronised(seen.ntp, atMs)
    lookedMs = atMs
    if (fix !== undefined && fix.source !== 'none') return
    if (seen.rtc && unvouched(systemUtcMs) && Math.abs(seen.rtc.utcMs - systemUtcMs) <= rtcAgreesMs) {
      const errorMs = seen.rtc.errorMs + Math.abs(seen.rtc.utcMs - systemUtcMs)
      // It set the clock when the machine started.
      take({ source: 'rtc', atMs, utcMs: systemUtcMs, errorMs, setMs: 0, systemMs, slewMs: 0 })
      return
    }
    if (!unvouched(systemUtcMs)) return
    const none: Fix = {
      source: 'none',
      atMs,
      utcMs: systemUtcMs,
      errorMs: 0,
      setMs: atMs,
      systemMs,
      slewMs: 0,
    }
    if (fix === undefined) {
      // A synchronisation that does not fit how the clock stands is as good as none: the next one is awaited. One from
      // long before the first look fits, and only that nobody saw what was since is against it.
      const isStale = seen.ntp !== undefined && seen.ntp.syncedMs === staleSyncedMs
      if (!seen.awaited && (seen.ntp === undefined || isStale)) take(none)
    } else if (doubtMs() >= stepMs && atMs - jumpedAtMs >= followMs) {
      declared = { ms: doubtMs(), untilMs: atMs + declareMs }
      take(none)
    }
  }

  return {
    look,
    gnss: (utcMs, atMs) => {
      const systemMs = standing()
      if (!unvouched(utcMs) || systemMs === undefined) return
      heard = [...heard.filter((one) => atMs - one.atMs <= 6 * gnss.spanMs), { atMs, offsetMs: utcMs - atMs }]
      heard = heard.slice(-64)
      const offsets = heard.map(({ offsetMs }) => offsetMs)
      const newest = Math.max(...offsets)
      const agree = newest - Math.min(...offsets) <= gnss.agreeMs
      if (!agree || heard.length < gnss.count || atMs - heard[0]!.atMs < gnss.spanMs) return
      // Sentences come late and never early: the least late one is nearest.
      const next: Fix = {
        source: 'gnss',
        atMs,
        utcMs: atMs + newest + gnss.latencyMs,
        errorMs: gnss.errorMs,
        setMs: atMs,
        systemMs,
        slewMs: 0,
      }
      if (
        fix === undefined ||
        fix.source === 'none' ||
        next.errorMs < errorAt(fix, atMs) ||
        fix.source === 'gnss'
      )
        take(next)
    },
    at,
    get fix() {
      return fix
    },
    get syncedMs() {
      return lastSyncedMs
    },
    status: (atMs) => {
      const stamp = at(atMs)
      const source: ClockSource | null = stamp?.clock.source ?? null
      const { errorMs, ageS } = stamp?.clock ?? { errorMs: 0, ageS: 0 }
      const doubt = doubtAt(atMs)
      return {
        known: stamp !== undefined,
        source,
        errorMs,
        ageS,
        jumps,
        doubtMs: doubt < stepMs ? 0 : Math.round(doubt),
        lastJumpMs,
        sinceMs,
      }
    },
  }
}
