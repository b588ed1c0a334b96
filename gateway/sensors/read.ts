/** From what a driver said about one frame to readings with their sensor's id. */
import assert from 'node:assert/strict'
import type { Heard } from '../reading/heard.ts'
import { idPattern, type Measurement, type Reading, toValues } from '../reading/reading.ts'
import type { Decoder, Driver, Outcome, Radio, RefusalReason, Settings, Surroundings } from './sensors.ts'
import { type Outcomes, radioMeasurements, uplinkReader } from './uplink.ts'

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

/** What most devices say of the time: nothing. */
export const nothingTold: Told = {}

/** What one frame came to; `told` has one for each reading, in the same order. */
export type Read = {
  readonly readings: readonly Reading[]
  readonly told: readonly Told[]
  readonly refusals: readonly Refusal[]
  /** What nodes signed themselves. */
  readonly frames: readonly Heard[]
}

/** How a transmission was heard, as it is signed beside a frame: scaled values, by code. */
const scaledRadio = (radio: Radio): Heard['radio'] =>
  toValues(radioMeasurements(radio)).flatMap((value) => (value.scaled === null ? [] : [value]))

// A receiver that says 1994 has counted its 10-bit weeks past the end, and a clock without a battery starts in
// 1970 or 2000: a time before this one is not the time. The upper end only keeps it a date.
const earliestMs = Date.UTC(2020, 0, 1)
const latestMs = Date.UTC(2200, 0, 1)

const isMoment = (timeMs: number | undefined): timeMs is number =>
  timeMs !== undefined && Number.isSafeInteger(timeMs) && timeMs >= earliestMs && timeMs < latestMs

// Of the device itself: a node behind a radio tells a time at which it was somewhere, not that of now.
const isFix = ({ node, measurements }: Extract<Outcome, { kind: 'reading' }>): boolean =>
  node === undefined && measurements.some(({ quantity, value }) => quantity === 'latitude' && value !== null)

// A frame has a handful of them: looking at each pair is cheaper than a set.
const hasTwins = (measurements: readonly Measurement[]): boolean =>
  measurements.length > 16
    ? new Set(measurements.map(({ quantity }) => quantity)).size < measurements.length
    : measurements.some(({ quantity }, at) => {
        for (let before = 0; before < at; before++)
          if (measurements[before]!.quantity === quantity) return true
        return false
      })

/** A decoder whose outcomes may need time: what a script makes of a payload is known when it has run. */
export type Reader = Omit<Decoder, 'decode'> & {
  readonly decode: (frame: Uint8Array, atMs: number) => Outcomes
}

/**
 * A driver configured for one device; what its frames mean is said to the end, uplinks of radio nodes included, and in
 * their order. Throws an Error for settings that cannot be used; `decode` neither throws nor rejects.
 */
export const readerOf = (driver: Driver, settings: Settings, surroundings: Surroundings): Reader => {
  const decoder = driver.configure(settings, surroundings)
  const readUplink = uplinkReader(driver.model, settings, surroundings, decoder.nodeSettings)
  const later = async (meant: readonly Outcomes[]): Promise<readonly Outcome[]> =>
    (await Promise.all(meant)).flat()
  return {
    ...decoder,
    decode: (frame, atMs) => {
      const outcomes = decoder.decode(frame, atMs)
      if (!outcomes.some(({ kind }) => kind === 'uplink')) return outcomes
      const meant = outcomes.map(
        (outcome): Outcomes => (outcome.kind === 'uplink' ? readUplink(outcome) : [outcome]),
      )
      return meant.some((one) => one instanceof Promise)
        ? later(meant)
        : (meant as (readonly Outcome[])[]).flat()
    },
  }
}

/** The same where nothing needs time; payloads that a script reads are the caller's mistake. */
export const decoderOf = (driver: Driver, settings: Settings, surroundings: Surroundings): Decoder => {
  const reader = readerOf(driver, settings, surroundings)
  return {
    ...reader,
    decode: (frame, atMs) => {
      const outcomes = reader.decode(frame, atMs)
      assert(!(outcomes instanceof Promise), 'a script needs time: use readerOf')
      return outcomes
    },
  }
}

/**
 * Readings and refusals from a frame's outcomes. The sensor's id is `sensorId`, or `sensorId-node` for a node
 * behind it; time is the device's own where it knows it, and otherwise `receivedMs`. Controls give neither. `signing`
 * says which sensors are nodes that sign: nothing else is taken under their ids, however it came to that id.
 */
export const toReadings = (
  model: string,
  sensorId: string,
  outcomes: readonly Outcome[],
  receivedMs: number,
  signing: (sensor: string) => boolean = () => false,
): Read => {
  const readings: Reading[] = []
  const told: Told[] = []
  const refusals: Refusal[] = []
  const frames: Heard[] = []
  const refuse = (sensor: string, reason: RefusalReason, detail: string): void =>
    void refusals.push({ sensor, model, timeMs: receivedMs, reason, detail })

  for (const outcome of outcomes) {
    if (outcome.kind === 'refused') refuse(sensorId, outcome.reason, outcome.detail)
    if (outcome.kind === 'signed') {
      const { node, publicKey, sign1, radio } = outcome
      const sensor = `${sensorId}-${node}`
      if (!idPattern.test(sensor))
        refuse(sensorId, 'layout', `${JSON.stringify(sensor.slice(0, 80))} is no sensor id`)
      else frames.push({ receivedMs, sensor, model, radio: scaledRadio(radio), publicKey, sign1 })
    }
    if (outcome.kind !== 'reading' || outcome.measurements.length === 0) continue
    const sensor = outcome.node === undefined ? sensorId : `${sensorId}-${outcome.node}`
    if (!idPattern.test(sensor))
      refuse(sensorId, 'layout', `${JSON.stringify(sensor.slice(0, 80))} is no sensor id`)
    else if (signing(sensor))
      refuse(
        sensor,
        'unsigned',
        `${sensor} is a node that signs, and this is not signed: anybody may have sent it`,
      )
    else if (hasTwins(outcome.measurements)) refuse(sensor, 'layout', 'a quantity is there twice')
    else {
      const own = isMoment(outcome.timeMs)
        ? { ownMs: outcome.timeMs, backlog: outcome.backlog ?? false, isFix: isFix(outcome) }
        : nothingTold
      told.push(own)
      readings.push({
        sensor,
        model,
        timeMs: own.ownMs ?? receivedMs,
        values: toValues(outcome.measurements),
      })
    }
  }
  return { readings, told, refusals, frames }
}
