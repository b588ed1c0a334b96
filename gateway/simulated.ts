/** Simulated stations: the devices of firmware-sim, read by the same gateway as real ones. */
import { setTimeout as delay } from 'node:timers/promises'
import {
  drop,
  duplicate,
  type Fault,
  flipBits,
  noise,
  type SimClock,
  split,
  stall,
  unplug,
} from '../firmware-sim/faults.ts'
import { fleet } from '../firmware-sim/fleet.ts'
import { inProcess } from '../firmware-sim/outlets/in-process.ts'
import type { OpenOutlet } from '../firmware-sim/outlets/outlet.ts'
import { hasScript, pty } from '../firmware-sim/outlets/pty.ts'
import { tcp } from '../firmware-sim/outlets/tcp.ts'
import { generator } from '../firmware-sim/random.ts'
import { startStation } from '../firmware-sim/station.ts'
import { world } from '../firmware-sim/world.ts'
import type { Device } from './device.ts'
import { linkNamed } from './link/named.ts'

/** How devices are reached: `auto` is pseudo-terminals where `script` is installed, TCP elsewhere. */
export const outletKinds = ['auto', 'pty', 'tcp', 'in-process'] as const
export type OutletKind = (typeof outletKinds)[number]

export type SimulationOptions = {
  readonly seed: number
  /** What nodes sign for. */
  readonly network: string
  readonly stations: number
  readonly intervalMs: number
  readonly outlet: OutletKind
  /** Directory for the names of pseudo-terminals. */
  readonly directory: string
  /** Everything that goes wrong on wires, now and then. */
  readonly faults: boolean
}

export type SimulatedStation = { readonly name: string; readonly devices: readonly Device[] }

const clock: SimClock = {
  utcMs: () => Date.now(),
  sleep: (ms, signal) => delay(ms, undefined, { signal }),
}

const outletOf = async (kind: OutletKind, directory: string): Promise<OpenOutlet> => {
  if (kind === 'in-process') return inProcess
  if (kind === 'tcp' || (kind === 'auto' && !(await hasScript()))) return tcp
  return pty(directory)
}

/** A bad day: each fault rare enough that most frames get through. */
const troubles = (seed: number, signal: AbortSignal): readonly Fault[] => {
  const random = generator(seed)
  return [
    drop(0.002, random),
    duplicate(0.002, random),
    flipBits(0.0005, random),
    noise(0.02, 40, random),
    split(0.2, random),
    stall(0.001, 5_000, random, clock, signal),
    unplug(0.0005, 10_000, random, clock, signal),
  ]
}

/** Starts the devices of a fleet; they run until the signal aborts. The same seed gives the same fleet and weather. */
export const simulateStations = async (
  { seed, network, stations, intervalMs, outlet, directory, faults }: SimulationOptions,
  signal: AbortSignal,
): Promise<SimulatedStation[]> => {
  const air = world(seed)
  const openOutlet = await outletOf(outlet, directory)
  const started: SimulatedStation[] = []
  for (const plan of fleet({ seed, stations, intervalMs })) {
    const station = await startStation(
      plan,
      {
        world: air,
        network,
        outlet: openOutlet,
        clock,
        faults: (sensor) => (faults ? troubles(sensor.seed, signal) : []),
      },
      signal,
    )
    started.push({
      name: plan.name,
      devices: station.sensors.map(({ sensor, model, settings, baudRate, link, opener }) => ({
        id: sensor,
        model,
        settings,
        baudRate,
        opener: opener ?? linkNamed(link, { baudRate }),
      })),
    })
  }
  return started
}
