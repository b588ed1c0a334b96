/** Asking a device the same question at an even pace. */
import type { Dialogue } from './sensors.ts'

/**
 * A dialogue that says each of `first` once after opening, `gapMs` apart, and then `request` every `intervalMs`. It does
 * not wait for answers: one that is lost costs one reading, and the link's own watchdog sees a device that is silent.
 */
export const polling = ({
  first = [],
  gapMs = 200,
  request,
  intervalMs,
}: {
  readonly first?: readonly Uint8Array[]
  readonly gapMs?: number
  readonly request: Uint8Array
  readonly intervalMs: number
}): Dialogue => {
  let nextMs = 0
  let said = 0
  return {
    opened: (nowMs) => {
      nextMs = nowMs
      said = 0
    },
    turn: (nowMs) => {
      if (nowMs < nextMs) return { againMs: nextMs - nowMs }
      const send = first[said] ?? request
      const pauseMs = said < first.length ? gapMs : intervalMs
      said = Math.min(said + 1, first.length)
      // Late by more than an interval, as after a suspended night: no catching up.
      nextMs = Math.max(nextMs + pauseMs, nowMs)
      return { send, againMs: nextMs - nowMs }
    },
  }
}
