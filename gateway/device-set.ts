/** The devices of a station while it runs: they can be exchanged without stopping the others. */
import { isDeepStrictEqual } from 'node:util'
import { type Device, type RunningDevice, readDevice } from './device.ts'
import type { SensorStatus } from './health/status.ts'
import type { LinkClock } from './link/supervise.ts'
import type { Heard } from './reading/heard.ts'
import type { Reading } from './reading/reading.ts'
import type { Told } from './sensors/read.ts'
import type { Surroundings } from './sensors/sensors.ts'
import { signedSensors } from './sensors/signed-node.ts'

type Entry = {
  readonly device: Device
  readonly running: RunningDevice
  readonly stop: AbortController
  readonly ended: Promise<void>
}

export type DeviceSet = {
  readonly statuses: readonly SensorStatus[]
  /** For how long the slowest reading has not been taken, in ms. */
  readonly takingMs: number
  /**
   * From now on these devices and no others. One that is as before goes on undisturbed; of one that is changed or gone
   * everything received is taken first. Resolves with the ids that were stopped and started.
   */
  apply(devices: readonly Device[]): Promise<{ readonly stopped: string[]; readonly started: string[] }>
  /** Resolves when the signal has been aborted and every device has stopped. */
  readonly done: Promise<void>
}

const same = (a: Device, b: Device): boolean =>
  a.model === b.model &&
  a.opener.name === b.opener.name &&
  a.baudRate === b.baudRate &&
  isDeepStrictEqual(a.settings, b.settings)

/** Starts devices; `take` gets the readings of all of them, of each in order. */
export const runDevices = (
  devices: readonly Device[],
  parts: {
    readonly surroundings: Surroundings
    readonly take: (reading: Reading, atMs: number, told: Told) => Promise<void> | undefined
    readonly takeFrame: (frame: Heard, atMs: number) => Promise<void> | undefined
    /** Stamps what the links receive. */
    readonly clock?: LinkClock
    /** The state of a device may have changed. */
    readonly changed: () => void
    /** Hears what `take` rejected with: that device has stopped. */
    readonly failed: (error: unknown) => void
  },
  signal: AbortSignal,
): DeviceSet => {
  const entries = new Map<string, Entry>()
  /** Nodes that sign, of all devices: one device's plain readings cannot have the id of another's signed ones. */
  const signing = new Set<string>()
  const noteSigning = (all: readonly Device[]): void => {
    signing.clear()
    for (const { id, settings } of all) for (const sensor of signedSensors(id, settings)) signing.add(sensor)
  }
  noteSigning(devices)
  const start = (device: Device): void => {
    const stop = new AbortController()
    const running = readDevice({ device, signing, ...parts })
    const ended = running.run(AbortSignal.any([signal, stop.signal])).catch(parts.failed)
    entries.set(device.id, { device, running, stop, ended })
  }
  for (const device of devices) start(device)

  const stopped = Promise.withResolvers<void>()
  const onAbort = (): void => {
    void Promise.all([...entries.values()].map(({ ended }) => ended)).then(() => stopped.resolve())
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })

  return {
    get statuses() {
      return [...entries.values()].map(({ running }) => running.status)
    },
    get takingMs() {
      return Math.max(0, ...[...entries.values()].map(({ running }) => running.takingMs()))
    },
    apply: async (wanted) => {
      const keep = new Map(wanted.map((device) => [device.id, device]))
      const going = [...entries.values()].filter(({ device }) => {
        const next = keep.get(device.id)
        return next === undefined || !same(next, device)
      })
      for (const { stop } of going) stop.abort()
      await Promise.all(going.map(({ ended }) => ended))
      for (const { device } of going) entries.delete(device.id)
      noteSigning(wanted)
      const coming = wanted.filter(({ id }) => !entries.has(id))
      if (!signal.aborted) for (const device of coming) start(device)
      return { stopped: going.map(({ device }) => device.id), started: coming.map(({ id }) => id) }
    },
    done: stopped.promise,
  }
}
