/** How often a sensor speaks, learned from its own readings in three numbers. */

/** Numbers of memory it needs: start of the present interval, intervals seen, the estimate. */
export const intervalSlots = 3

const [startMs, seen, estimateMs] = [0, 1, 2]

/** Readings closer than this belong together: a burst of frames, or a sensor far more often than is asked for. */
const burstMs = 30_000

/** The first few intervals give the least of them: a lost reading makes an interval longer, nothing makes it shorter. */
const firstIntervals = 8

/** So that a long outage at the beginning cannot make silence normal. */
const longestMs = 24 * 3_600_000

// Down in steps of a sixteenth, up two- to threefold a day at most: a sensor that loses most of its readings is still
// measured by the interval it keeps at its best, one set to speak less often is believed after a day or two.
const mostAtOnce = 1 / 16
const upMs = 24 * 3_600_000

/** Takes in a reading's time. */
export const trackInterval = (memory: Float64Array, at: number, timeMs: number): void => {
  const interval = timeMs - memory[at + startMs]!
  if (interval < burstMs) return
  memory[at + startMs] = timeMs
  if (Number.isNaN(interval)) {
    memory[at + seen] = 0
    return
  }
  const count = memory[at + seen]!
  const before = memory[at + estimateMs]!
  if (count < firstIntervals) {
    memory[at + seen] = count + 1
    memory[at + estimateMs] = Math.min(longestMs, interval, count === 0 ? longestMs : before)
  } else if (interval < before) {
    memory[at + estimateMs] = Math.max(interval, before - before * mostAtOnce)
  } else {
    memory[at + estimateMs] = Math.min(
      interval,
      before + before * Math.min(mostAtOnce, interval / upMs),
      longestMs,
    )
  }
}

/** The estimate in ms; NaN until two readings were at least half a minute apart. */
export const trackedIntervalMs = (memory: Float64Array, at: number): number => memory[at + estimateMs]!
