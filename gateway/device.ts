/** One device of a station: its link, its driver, and what it has said so far. */
import type { SensorStatus } from './health/status.ts'
import type { Opener } from './link/link.ts'
import { type LinkClock, supervise } from './link/supervise.ts'
import type { Heard } from './reading/heard.ts'
import type { Reading } from './reading/reading.ts'
import { driverOf } from './sensors/all.ts'
import { type Refusal, readerOf, type Told, toReadings } from './sensors/read.ts'
import type { RefusalReason, Settings, Surroundings } from './sensors/sensors.ts'
import { signedSensors } from './sensors/signed-node.ts'

/** One configured device. */
export type Device = {
  readonly id: string
  readonly model: string
  readonly settings: Settings
  /** Bits per second, for a serial port. */
  readonly baudRate: number
  readonly opener: Opener
}

export type RunningDevice = {
  readonly status: SensorStatus
  /** For how long `take` has not come back, in ms; 0 while it is not at work. */
  readonly takingMs: () => number
  /** Reads until aborted; rejects only with what `take` rejects with. */
  readonly run: (signal: AbortSignal) => Promise<void>
}

/**
 * A device, to be run. `take` gets each reading in order; it answers a promise only where it must be waited for, and a
 * slow one slows the device's wire down.
 */
export const readDevice = ({
  device,
  surroundings,
  take,
  takeFrame,
  refused,
  signing = new Set(signedSensors(device.id, device.settings)),
  clock,
  changed = () => undefined,
}: {
  readonly device: Device
  readonly surroundings: Surroundings
  /** `atMs` is when it was received, by the link's steady clock; `told` what the device said of its time. */
  readonly take: (reading: Reading, atMs: number, told: Told) => Promise<void> | undefined
  /** Gets each frame that a node signed itself, in order with the readings. */
  readonly takeFrame?: (frame: Heard, atMs: number) => Promise<void> | undefined
  /** Gets each refusal, where they are to be more than counted. */
  readonly refused?: (refusal: Refusal) => void
  /** Ids of nodes that sign, of all devices of the station; those of this one unless told. */
  readonly signing?: { readonly has: (sensor: string) => boolean }
  readonly clock?: LinkClock
  /** The link was opened or lost, or its first reading came. */
  readonly changed?: () => void
}): RunningDevice => {
  const { id, model, settings, opener } = device
  const driver = driverOf(model)
  const decoder = readerOf(driver, settings, surroundings)
  const link = supervise({
    opener,
    framing: decoder.framing ?? driver.framing,
    greeting: driver.greeting(settings),
    dialogue: decoder.dialogue,
    session: decoder.session,
    silenceMs: (decoder.silenceS ?? driver.silenceS) * 1000,
    changed,
    ...(clock ? { clock } : {}),
  })
  const status = {
    id,
    model,
    link: link.status,
    readings: 0,
    refused: 0,
    refusals: {} as Partial<Record<RefusalReason, number>>,
    lastRefusal: null as Refusal | null,
    lastReadingMs: null as number | null,
  }
  let takenSinceMs: number | undefined
  const noted = (receivedMs: number): void => {
    status.readings += 1
    if (status.lastReadingMs === null) changed()
    status.lastReadingMs = receivedMs
  }
  const waitFor = async (taking: Promise<void>): Promise<void> => {
    takenSinceMs = performance.now()
    await taking
    takenSinceMs = undefined
  }
  return {
    status,
    takingMs: () => (takenSinceMs === undefined ? 0 : performance.now() - takenSinceMs),
    run: async (signal) => {
      for await (const { frames, receivedMs, atMs } of link.received(signal))
        for (const bytes of frames) {
          const outcomes = decoder.decode(bytes, atMs)
          const said = toReadings(
            model,
            id,
            outcomes instanceof Promise ? await outcomes : outcomes,
            receivedMs,
            (sensor) => signing.has(sensor),
          )
          for (const refusal of said.refusals) {
            status.refused += 1
            status.refusals[refusal.reason] = (status.refusals[refusal.reason] ?? 0) + 1
            status.lastRefusal = refusal
            refused?.(refusal)
          }
          for (let at = 0; at < said.readings.length; at++) {
            noted(receivedMs)
            const taking = take(said.readings[at]!, atMs, said.told[at]!)
            if (taking !== undefined) await waitFor(taking)
          }
          for (const frame of said.frames) {
            noted(receivedMs)
            const taking = takeFrame?.(frame, atMs)
            if (taking !== undefined) await waitFor(taking)
          }
        }
    },
  }
}
