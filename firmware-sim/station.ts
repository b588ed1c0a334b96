/** A simulated station: devices in one world, driven by one clock, each at an outlet that a gateway can open. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Opener } from '../gateway/link/link.ts'
import type { Settings } from '../gateway/sensors/sensors.ts'
import { type KindName, kinds } from './devices/all.ts'
import type { Device, Emission } from './devices/device.ts'
import type { Fault, SimClock, Wire } from './faults.ts'
import type { OpenOutlet } from './outlets/outlet.ts'
import type { Place, World } from './world.ts'

/** One device of a station, as data. `intervalMs` is how often it says a reading (a LoRa modem: each node). */
export type SensorPlan = {
  readonly sensor: string
  readonly kind: KindName
  readonly seed: number
  readonly intervalMs: number
  /** How long it says nothing useful after power comes. */
  readonly warmUpMs: number
}

/** A station as data: a name that is a valid id, where it stands, and its devices. */
export type StationPlan = {
  readonly name: string
  readonly place: Place
  readonly sensors: readonly SensorPlan[]
}

/** What a device said, and whether the wire was there to take it. Faults may still spoil it on the way. */
export type Said = Emission & { readonly sensor: string; readonly timeMs: number; readonly taken: boolean }

export type StationOptions = {
  readonly world: World
  /** What nodes sign for: that of the gateway which is to take it; `testnet` unless told. */
  readonly network?: string
  readonly outlet: OpenOutlet
  readonly clock?: SimClock
  /** From the best to the worst: the first is nearest to the device. */
  readonly faults?: (sensor: SensorPlan) => readonly Fault[]
  readonly onSaid?: (said: Said) => void
}

/** A running device, with all that a gateway's configuration needs to know about it. */
export type SimulatedSensor = {
  readonly sensor: string
  readonly model: string
  readonly settings: Settings
  readonly baudRate: number
  /** What to open; with an in-process outlet, `opener` is handed over instead. */
  readonly link: string
  readonly opener?: Opener
  readonly counts: { readonly spoken: number; readonly taken: number; readonly answers: number }
  readonly unplug: () => Promise<void>
  readonly plug: () => Promise<void>
}

export type SimulatedStation = {
  readonly plan: StationPlan
  readonly sensors: readonly SimulatedSensor[]
  /** Ends when the signal is aborted and every outlet is closed. */
  readonly ended: Promise<void>
}

const systemClock: SimClock = {
  utcMs: () => Date.now(),
  sleep: (ms, signal) => delay(ms, undefined, { signal }),
}

// For who does not care: nothing but nodes that sign depends on it.
const usualNetwork = 'testnet'

/** The device of a plan, in the air of that world; nodes that sign do so for that network. */
export const deviceOf = (
  plan: SensorPlan,
  place: Place,
  world: World,
  network: string = usualNetwork,
): Device =>
  kinds[plan.kind].make({ ...plan, network, place, airAt: (where) => (timeMs) => world.at(where, timeMs) })

/**
 * Starts a station's devices; each speaks at multiples of its interval, so that a run repeats. Aborting the
 * signal pulls every cable and ends everything that was started.
 */
export const startStation = async (
  plan: StationPlan,
  { world, network, outlet: openOutlet, clock = systemClock, faults = () => [], onSaid }: StationOptions,
  signal: AbortSignal,
): Promise<SimulatedStation> => {
  const start = async (sensorPlan: SensorPlan) => {
    const { sensor } = sensorPlan
    const device = deviceOf(sensorPlan, plan.place, world, network)
    const counts = { spoken: 0, taken: 0, answers: 0 }

    const send = (emission: Emission, timeMs: number): void => {
      const taken = wire.write(emission.bytes)
      if (emission.meant.length === 0) counts.answers += 1
      else {
        counts.spoken += 1
        if (taken) counts.taken += 1
      }
      onSaid?.({ ...emission, sensor, timeMs, taken })
    }

    const outlet = await (device.outlet ?? openOutlet)(`${plan.name}-${sensor}`, (bytes) => {
      const timeMs = clock.utcMs()
      for (const emission of device.hear(bytes, timeMs)) send(emission, timeMs)
    })
    const powerOn = (): void => {
      const timeMs = clock.utcMs()
      for (const emission of device.powerOn(timeMs)) send(emission, timeMs)
    }
    const plug = async (): Promise<void> => {
      if (signal.aborted) return
      await outlet.plug()
      powerOn()
    }
    const bare: Wire = {
      write: outlet.write,
      // A fault pulls the cable and goes on; a terminal that cannot be made again leaves the device unplugged.
      unplug: () => void outlet.unplug().catch(() => undefined),
      plug: () => void plug().catch(() => undefined),
    }
    const wire = faults(sensorPlan).reduceRight((inner, fault) => fault(inner), bare)

    const run = async (): Promise<void> => {
      const { intervalMs } = device
      let slot = Math.floor(clock.utcMs() / intervalMs)
      while (!signal.aborted) {
        const nowMs = clock.utcMs()
        // A timer may fire a millisecond early; the same slot must not come twice.
        slot = Math.max(slot, Math.floor(nowMs / intervalMs)) + 1
        await clock.sleep(slot * intervalMs - nowMs, signal).catch(() => undefined)
        if (signal.aborted) break
        const timeMs = clock.utcMs()
        const emission = device.speak(timeMs)
        if (emission) send(emission, timeMs)
      }
      await outlet.unplug()
    }

    const simulated: SimulatedSensor = {
      sensor,
      model: device.model,
      settings: device.settings,
      baudRate: device.baudRate,
      link: outlet.link,
      ...(outlet.opener ? { opener: outlet.opener } : {}),
      counts,
      unplug: outlet.unplug,
      plug,
    }
    powerOn()
    return { simulated, ended: run() }
  }

  const started = await Promise.all(plan.sensors.map(start))
  return {
    plan,
    sensors: started.map(({ simulated }) => simulated),
    ended: Promise.all(started.map(({ ended }) => ended)).then(() => undefined),
  }
}
