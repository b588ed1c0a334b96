/** From what a driver said about one frame to readings with their sensor's id. */
import { idPattern, type Reading, toValues } from '../reading/reading.ts'
import type { Decoder, Driver, Outcome, RefusalReason, Settings, Surroundings } from './sensors.ts'
import { type UplinkReader, uplinkReader } from './uplink.ts'

/** Bad data from a sensor: counted and kept with its reason. `timeMs` is when it was received, UTC. */
export type Refusal = {
  readonly sensor: string
  readonly model: string
  readonly timeMs: number
  readonly reason: RefusalReason
  readonly detail: string
}

/**
 * What a device said of the time of a reading: UTC by its own clock, whether it keeps what it cannot send, and whether
 * it is the time of a receiver that has a fix.
 */
export type Told = { readonly ownMs?: number; readonly backlog?: boolean; readonly isFix?: boolean }

/** What one frame came to; `told` has one for each reading, in the same order. */
export type Read = {
  readonly readings: readonly Reading[]
  readonly told: readonly Told[]
  readonly refusals: readonly Refusal[]
}

// A receiver that says 1994 has counted its 10-bit weeks past the end, and a clock without a battery starts in
// 1970 or 2000: a time before this one is not the time. The upper end only keeps it a date.
const earliestMs = Date.UTC(2020, 0, 1)
const latestMs = Date.UTC(2200, 0, 1)

const isMoment = (timeMs: number | undefined): timeMs is number =>
  timeMs !== undefined && Number.isSafeInteger(timeMs) && timeMs >= earliestMs && timeMs < latestMs

// Of the device itself: a node behind a radio tells a time at which it was somewhere, not that of now.
const isFix = ({ node, measurements }: Extract<Outcome, { kind: 'reading' }>): boolean =>
  node === undefined && measurements.some(({ quantity, value }) => quantity === 'latitude' && value !== null)

/** A driver configured for one device; what its frames mean is said to the end, uplinks of radio nodes included. */
export const decoderOf = (driver: Driver, settings: Settings, surroundings: Surroundings): Decoder => {
  const decoder = driver.configure(settings, surroundings)
  let readUplink: UplinkReader | undefined
  const meant = (outcome: Outcome): readonly Outcome[] => {
    if (outcome.kind !== 'uplink') return [outcome]
    readUplink ??= uplinkReader(settings)
    return readUplink(outcome)
  }
  return {
    ...decoder,
    decode: (frame, atMs) => {
      const outcomes = decoder.decode(frame, atMs)
      return outcomes.some(({ kind }) => kind === 'uplink') ? outcomes.flatMap(meant) : outcomes
    },
  }
}

/**
 * Readings and refusals from a frame's outcomes. The sensor's id is `sensorId`, or `sensorId-node` for a node
 * behind it; time is the device's own where it knows it, and otherwise `receivedMs`. Controls give neither.
 */
export const toReadings = (
  model: string,
  sensorId: string,
  outcomes: readonly Outcome[],
  receivedMs: number,
): Read => {
  const readings: Reading[] = []
  const told: Told[] = []
  const refusals: Refusal[] = []
  const refuse = (sensor: string, reason: RefusalReason, detail: string): void =>
    void refusals.push({ sensor, model, timeMs: receivedMs, reason, detail })

  for (const outcome of outcomes) {
    if (outcome.kind === 'refused') refuse(sensorId, outcome.reason, outcome.detail)
    if (outcome.kind !== 'reading' || outcome.measurements.length === 0) continue
    const sensor = outcome.node === undefined ? sensorId : `${sensorId}-${outcome.node}`
    const names = new Set(outcome.measurements.map(({ quantity }) => quantity))
    if (!idPattern.test(sensor))
      refuse(sensorId, 'layout', `${JSON.stringify(sensor.slice(0, 80))} is no sensor id`)
    else if (names.size < outcome.measurements.length) refuse(sensor, 'layout', 'a quantity is there twice')
    else {
      const own = isMoment(outcome.timeMs)
        ? { ownMs: outcome.timeMs, backlog: outcome.backlog ?? false, isFix: isFix(outcome) }
        : {}
      told.push(own)
      readings.push({
        sensor,
        model,
        timeMs: own.ownMs ?? receivedMs,
        values: toValues(outcome.measurements),
      })
    }
  }
  return { readings, told, refusals }
}
