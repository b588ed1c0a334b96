/** What weather stations measure beside the air itself: wind and rain, from the same world and smooth as it is. */
import { chanceAt, smoothNoise } from './random.ts'

const minuteMs = 60_000
const showerMs = 20 * minuteMs
const showerChance = 0.25

/** m/s, degrees from 0 to below 360, and mm/h. */
export type Weather = {
  readonly windSpeed: number
  readonly windGust: number
  readonly windDirection: number
  readonly rainRate: number
}

/** Wind and rain of that seed at a moment, UTC milliseconds. A wind of exactly nothing comes now and then. */
export const weatherAt = (seed: number, timeMs: number): Weather => {
  const breeze = 4 + 5 * smoothNoise(seed, 0.5, 0.5, timeMs / (30 * minuteMs))
  const gusts = 1.5 * smoothNoise(seed + 1, 0.5, 0.5, timeMs / 3000)
  const windSpeed = Math.max(0, breeze + gusts)
  const turn = 180 * smoothNoise(seed + 2, 0.5, 0.5, timeMs / (60 * minuteMs))
  const veer = 20 * smoothNoise(seed + 3, 0.5, 0.5, timeMs / 5000)
  const shower = Math.floor(timeMs / showerMs)
  const falls = chanceAt(seed, 4, shower) < showerChance
  return {
    windSpeed,
    windGust: windSpeed * (1.2 + 0.5 * chanceAt(seed, 5, Math.floor(timeMs / 1000))),
    windDirection: (360 + 360 * chanceAt(seed, 6) + turn + veer) % 360,
    rainRate: falls ? 12 * chanceAt(seed, 7, shower) : 0,
  }
}

/** A gauge that counts what has fallen since it was made: millimetres at each moment that it is asked for. */
export const gauge = (seed: number): ((timeMs: number) => number) => {
  // What had fallen before.
  let total = 30 * chanceAt(seed, 8)
  let lastMs: number | undefined
  return (timeMs) => {
    const sinceMs = Math.max(0, timeMs - (lastMs ?? timeMs))
    total += (weatherAt(seed, timeMs).rainRate * sinceMs) / 3_600_000
    lastMs = Math.max(timeMs, lastMs ?? timeMs)
    return total
  }
}
