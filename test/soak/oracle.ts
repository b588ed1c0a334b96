/** What devices meant, value by value, against what is in the evidence: each reading is there once, or has a reason. */
import type { Reading } from '#gateway/reading/reading.ts'

/** A reading as it is compared. `timeMs` is true time: when it was said, or when the station took it. */
export type Seen = { readonly sensor: string; readonly timeMs: number; readonly what: string }

/** A reading, and what it says, in an order that neither a device nor an encoder has a say in. */
export const seen = ({ sensor, values }: Reading, timeMs: number): Seen => ({
  sensor,
  timeMs,
  what: values
    .map(({ quantity, scaled }) => `${quantity}=${scaled}`)
    .sort()
    .join(' '),
})

/** It was taken, and none of its values was let through. */
const isWithheld = ({ what }: Seen): boolean => !/=(?!null)/.test(what)

// How long after it was said a reading is taken. Nearly all are within the first, which tells them from those a second
// before and after that say the same. On a busy machine, or from a wire that held it back, some are late.
const onTheWayMs = [250, 5_000] as const
// Both times are of one clock, cut to milliseconds.
const earlyMs = 5

type Both = { readonly meant: readonly Seen[]; readonly evident: readonly Seen[] }

const inTime = (ones: readonly Seen[]): readonly Seen[] => ones.toSorted((a, b) => a.timeMs - b.timeMs)

/**
 * What is left when those of one key are paired, in their order, each with the first that came within `mostMs` of it.
 * All windows are of one length, so that no other way of pairing makes more pairs; it takes one walk.
 */
const unpaired = ({ meant, evident }: Both, mostMs: number, keyOf: (one: Seen) => string): Both => {
  const free = Map.groupBy(inTime(evident), keyOf)
  const missing: Seen[] = []
  const left: Seen[] = []
  for (const [key, ones] of Map.groupBy(inTime(meant), keyOf)) {
    const others = free.get(key) ?? []
    free.delete(key)
    let at = 0
    for (const one of ones) {
      while (at < others.length && others[at]!.timeMs < one.timeMs - earlyMs) left.push(others[at++]!)
      if (at < others.length && others[at]!.timeMs <= one.timeMs + mostMs) at++
      else missing.push(one)
    }
    left.push(...others.slice(at))
  }
  return { meant: missing, evident: [...left, ...[...free.values()].flat()] }
}

/**
 * `lost` were meant and are not in the evidence, `strange` are in it and were not meant, or are there once more.
 * Where `mayWithhold`, one without values stands for one with them: those are counted as `withheld`.
 */
export const compare = (meant: readonly Seen[], evident: readonly Seen[], mayWithhold: boolean) => {
  let left: Both = { meant, evident }
  let withheld = 0
  // All near ones first: otherwise the neighbour of a lost reading stands for it, and the next for that.
  for (const mostMs of onTheWayMs) {
    left = unpaired(left, mostMs, ({ sensor, what }) => `${sensor} ${what}`)
    if (!mayWithhold) continue
    const valued = left.evident.filter((one) => !isWithheld(one))
    const after = unpaired(
      { meant: left.meant, evident: left.evident.filter(isWithheld) },
      mostMs,
      ({ sensor }) => sensor,
    )
    withheld += left.meant.length - after.meant.length
    left = { meant: after.meant, evident: [...after.evident, ...valued] }
  }
  return { lost: left.meant, strange: left.evident, withheld }
}

/** Whether one says some of what the other says, of the same time: a modem that was not asked the rest any more. */
export const isPartOf = (one: Seen, whole: Seen): boolean => {
  const afterMs = one.timeMs - whole.timeMs
  if (one.sensor !== whole.sensor || afterMs < -earlyMs || afterMs > onTheWayMs[1]) return false
  const values = new Set(whole.what.split(' '))
  return one.what.split(' ').every((value) => values.has(value))
}

/** A time in which readings may be missing, and why. */
export type Excuse = { readonly reason: string; readonly fromMs: number; readonly toMs: number }

/** Why a reading of that moment may be missing: the first of the excuses that covers it; undefined where it is due. */
export const reasonAmong = (excuses: readonly Excuse[]): ((timeMs: number) => string | undefined) => {
  const sorted = excuses.toSorted((a, b) => a.fromMs - b.fromMs)
  // The latest end so far, so that the walk back from a moment can stop where nothing reaches it any more.
  let latestMs = Number.NEGATIVE_INFINITY
  const ends = sorted.map(({ toMs }) => {
    latestMs = Math.max(latestMs, toMs)
    return latestMs
  })
  return (timeMs) => {
    let low = 0
    for (let high = sorted.length; low < high; ) {
      const middle = (low + high) >> 1
      if (sorted[middle]!.fromMs <= timeMs) low = middle + 1
      else high = middle
    }
    let reason: string | undefined
    for (let at = low - 1; at >= 0 && ends[at]! >= timeMs; at--)
      if (sorted[at]!.toMs >= timeMs) reason = sorted[at]!.reason
    return reason
  }
}

/** What is in one list and not in the other, counted. */
export const difference = (one: readonly string[], other: readonly string[]): string[] => {
  const counts = new Map<string, number>()
  for (const name of other) counts.set(name, (counts.get(name) ?? 0) + 1)
  return one.filter((name) => {
    const left = counts.get(name) ?? 0
    counts.set(name, left - 1)
    return left <= 0
  })
}
