/** Time: what a station knows of UTC, told for moments of a clock that never jumps. */
import type { Clock, ClockSource } from '../reading/envelope.ts'
import type { Heard } from '../reading/heard.ts'
import type { Reading } from '../reading/reading.ts'

/**
 * Moments (`atMs`) are of the steady clock: milliseconds since the machine booted, sleep included, the same for every
 * process of one boot. A moment means nothing without its boot.
 *
 * A fix says that at `atMs` it was `utcMs`, give or take `errorMs`, by a source that had last set the time at `setMs`
 * (a moment, too). `systemMs` is UTC less steady time by the system's clock as it then stood: a clock that stands
 * otherwise later has been moved. Before `atMs` the steady clock may have been slewed by `slewMs`. With source `none` nobody vouches, and an error of 0 is no bound.
 */
export type Fix = {
  readonly source: ClockSource
  readonly atMs: number
  readonly utcMs: number
  readonly errorMs: number
  readonly setMs: number
  readonly systemMs: number
  readonly slewMs: number
}

/** How far from the truth a fix can be at a moment, in ms; not for source `none`. */
export const errorOf = ({ errorMs, atMs: fixedMs, slewMs }: Fix, atMs: number): number =>
  errorMs + Math.abs(atMs - fixedMs) * driftRate + (atMs < fixedMs ? slewMs : 0)

/** UTC of a moment and what can be declared about it. */
export type Stamp = { readonly utcMs: number; readonly clock: Clock }

/** A reading as a device gave it: when it was received, and what the device itself said of its time. */
export type Seen = {
  readonly reading: Reading
  readonly atMs: number
  /** UTC by the device's own clock. */
  readonly ownMs?: number
  /** The device keeps what it cannot send: an old `ownMs` is no mistake. */
  readonly backlog?: boolean
}

/** A frame that a node signed itself, and when it was received; its time of receipt in UTC says nothing yet. */
export type SeenFrame = { readonly frame: Heard; readonly atMs: number }

/** What comes from devices and is to be signed, once the time is known. */
export type Unsigned = Seen | SeenFrame

/** How a station's time is. Counters start at zero when the process starts. */
export type TimeStatus = {
  readonly known: boolean
  readonly source: ClockSource | null
  /** Of the time of now; 0 with source `none` where nothing is known against it. */
  readonly errorMs: number
  /** Seconds since the source last set the time. */
  readonly ageS: number
  /** How often the system's clock was moved by more than it drifts. */
  readonly jumps: number
  /** How far the system's clock was moved away from the time as known, where that is a step nobody has confirmed; else 0. */
  readonly doubtMs: number
  /** How far the last time; negative is back. */
  readonly lastJumpMs: number | null
  /** UTC since when the time is known by this source. */
  readonly sinceMs: number | null
}

/**
 * How far the steady clock may run away between two settings, parts of a part. Crystals of a Pi's kind are sold with
 * 20 to 50 ppm, age, and move by some 30 more between frost and sun.
 */
export const driftRate = 100e-6

/** A clock of the system before this has not been set: the program is younger. Later than the last of all is no date. */
export const earliestMs = Date.UTC(2025, 0, 1)
export const latestMs = Date.UTC(2200, 0, 1)

/** Whether the system's clock can be right as far as a calendar tells. */
export const isPlausible = (utcMs: number): boolean => utcMs >= earliestMs && utcMs < latestMs

/** Less than this between two looks is how the two clocks are read, not a step. */
export const stepMs = 200
