/** Putting a sensor to sleep between measurements: fans and lasers last some 8,000 hours, a year of being always on. */
import { z } from 'zod'
import type { Dialogue } from './sensors.ts'

/** Seconds from one wake-up to the next, and for how many values count once the sensor is warm. */
export type DutyCycle = { readonly everyS: number; readonly measureS: number }

// Waking, warming up and falling asleep take their time: a shorter rest is none.
const leastRestS = 10

/** The setting of a sensor that is warm `warmUpS` after it was woken. */
export const dutyCycleSetting = (warmUpS: number) =>
  z
    .strictObject({
      everyS: z.number().min(1).max(86_400).describe('Seconds from one waking to the next.'),
      measureS: z
        .number()
        .min(1)
        .max(3600)
        .default(10)
        .describe('Seconds for which values count once it is warm.'),
    })
    .refine(
      ({ everyS, measureS }) => everyS >= warmUpS + measureS + leastRestS,
      `expected everyS of at least ${warmUpS} + measureS + ${leastRestS} seconds`,
    )
    .optional()

export type Phase = 'warming-up' | 'measuring' | 'asleep'

// A command that was lost is said again as long as the sensor does not do as it was told.
const repeatMs = 5_000

/**
 * The dialogue of a cycle, and in which phase a moment lies. `heard` is told of each frame: one that comes from a sensor
 * that should sleep means that it did not hear, and so does silence of one that should be awake.
 */
export const dutyCycle = (
  { everyS, measureS }: DutyCycle,
  warmUpS: number,
  commands: { readonly wake: Uint8Array; readonly sleep: Uint8Array },
): {
  readonly dialogue: Dialogue
  readonly phaseAt: (nowMs: number) => Phase
  readonly heard: (nowMs: number) => void
} => {
  let wokenMs = 0
  let saidMs = Number.NEGATIVE_INFINITY
  let heardMs = Number.NEGATIVE_INFINITY
  let told: Phase | undefined

  const phaseAt = (nowMs: number): Phase => {
    const sinceS = (nowMs - wokenMs) / 1000
    return sinceS < warmUpS ? 'warming-up' : sinceS < warmUpS + measureS ? 'measuring' : 'asleep'
  }

  return {
    phaseAt,
    heard: (nowMs) => {
      heardMs = nowMs
    },
    dialogue: {
      opened: (nowMs) => {
        wokenMs = nowMs
        told = undefined
        saidMs = Number.NEGATIVE_INFINITY
        heardMs = Number.NEGATIVE_INFINITY
      },
      turn: (nowMs) => {
        while (nowMs - wokenMs >= everyS * 1000) {
          wokenMs += everyS * 1000
          told = undefined
        }
        const isAsleep = phaseAt(nowMs) === 'asleep'
        const nextMs = wokenMs + (isAsleep ? everyS : warmUpS + measureS) * 1000
        const wanted: Phase = isAsleep ? 'asleep' : 'warming-up'
        const disobeys = isAsleep ? heardMs > saidMs : nowMs - Math.max(heardMs, saidMs) >= repeatMs
        if (told === wanted && !(disobeys && nowMs - saidMs >= repeatMs))
          return { againMs: Math.min(nextMs - nowMs, repeatMs) }
        told = wanted
        saidMs = nowMs
        return {
          send: isAsleep ? commands.sleep : commands.wake,
          againMs: Math.min(nextMs - nowMs, repeatMs),
        }
      },
    },
  }
}
