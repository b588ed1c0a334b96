/** Many stations from one seed: where they stand and what hangs on them. */
import { type KindName, kinds } from './devices/all.ts'
import { generator } from './random.ts'
import type { SensorPlan, StationPlan } from './station.ts'
import { around, type Place } from './world.ts'

// Berlin, because somebody had to be first.
const defaultCentre: Place = { latitude: 52.52, longitude: 13.405, altitudeM: 40 }

export type FleetOptions = {
  readonly seed: number
  readonly stations: number
  readonly centre?: Place
  /** Stations stand within so many kilometres of the centre. */
  readonly radiusKm?: number
  /** How often each device, and each LoRa node, says a reading. */
  readonly intervalMs?: number
  /** How long particle sensors say nothing useful after power comes. */
  readonly warmUpMs?: number
  /** What hangs on the first station; the usual five unless told. */
  readonly first?: readonly KindName[]
}

// The five that most drawers hold.
const usual: readonly KindName[] = ['plantower', 'nova', 'microcontroller', 'gnss', 'lora']
// What people put on one station; particles and climate together are the most common.
const mixes: readonly (readonly KindName[])[] = [
  ['plantower', 'microcontroller'],
  ['nova', 'microcontroller'],
  ['plantower'],
  ['microcontroller'],
  ['nova', 'gnss'],
  ['microcontroller', 'lora'],
  ['plantower', 'microcontroller', 'gnss'],
]

/**
 * The plans of a fleet, `sim-001` on. The first station has the devices of `first`, the others a common mix; the same
 * seed gives the same fleet, and a larger one begins with the smaller.
 */
export const fleet = ({
  seed,
  stations,
  centre = defaultCentre,
  radiusKm = 15,
  intervalMs = 1000,
  warmUpMs = 0,
  first = usual,
}: FleetOptions): StationPlan[] =>
  Array.from({ length: stations }, (_, index): StationPlan => {
    const random = generator(seed + 7919 * index)
    const integer = (): number => Math.floor(random() * 2 ** 31)
    const place = around(centre, radiusKm, random)
    const sensors = new Map<string, number>()
    /** The usual name of a kind; a second one of that name has a number. */
    const nameOf = (usual: string): string => {
      const count = (sensors.get(usual) ?? 0) + 1
      sensors.set(usual, count)
      return count === 1 ? usual : `${usual}${count}`
    }
    const mix = index === 0 ? first : mixes[Math.floor(random() * mixes.length)]!
    return {
      name: `sim-${String(index + 1).padStart(3, '0')}`,
      place,
      sensors: mix.map(
        (kind): SensorPlan => ({
          sensor: nameOf(kinds[kind].sensor),
          kind,
          seed: integer(),
          intervalMs,
          warmUpMs,
        }),
      ),
    }
  })
