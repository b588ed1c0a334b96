/** Many stations from one seed: where they stand and what hangs on them. */
import { generator } from './random.ts'
import type { SensorPlan, StationPlan } from './station.ts'
import type { Place } from './world.ts'

// Berlin, because somebody had to be first.
const defaultCentre: Place = { latitude: 52.52, longitude: 13.405, altitudeM: 40 }
const kmPerDegree = 111

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
}

type Kind = SensorPlan['kind']

const kinds: readonly Kind[] = ['plantower', 'nova', 'microcontroller', 'gnss', 'lora']
const sensorNames: Readonly<Record<Kind, string>> = {
  plantower: 'pms',
  nova: 'sds',
  microcontroller: 'env',
  gnss: 'gnss',
  lora: 'field',
}
// What people put on one station; particles and climate together are the most common.
const mixes: readonly (readonly Kind[])[] = [
  ['plantower', 'microcontroller'],
  ['nova', 'microcontroller'],
  ['plantower'],
  ['microcontroller'],
  ['nova', 'gnss'],
  ['microcontroller', 'lora'],
  ['plantower', 'microcontroller', 'gnss'],
]
const styles = ['key-value', 'csv', 'json'] as const

const around = (centre: Place, radiusKm: number, random: () => number): Place => {
  const distance = radiusKm * Math.sqrt(random())
  const bearing = 2 * Math.PI * random()
  const north = (distance * Math.cos(bearing)) / kmPerDegree
  const east = (distance * Math.sin(bearing)) / (kmPerDegree * Math.cos((centre.latitude * Math.PI) / 180))
  return {
    latitude: centre.latitude + north,
    longitude: centre.longitude + east,
    altitudeM: Math.round(centre.altitudeM + 20 * (random() - 0.5)),
  }
}

const pick = <Item>(items: readonly Item[], random: () => number): Item =>
  items[Math.floor(random() * items.length)]!

/**
 * The plans of a fleet, `sim-001` on. The first station has one device of each kind, the others a common mix;
 * the same seed gives the same fleet, and a larger one begins with the smaller.
 */
export const fleet = ({
  seed,
  stations,
  centre = defaultCentre,
  radiusKm = 15,
  intervalMs = 1000,
  warmUpMs = 0,
}: FleetOptions): StationPlan[] =>
  Array.from({ length: stations }, (_, index): StationPlan => {
    const random = generator(seed + 7919 * index)
    const integer = (): number => Math.floor(random() * 2 ** 31)
    const place = around(centre, radiusKm, random)

    const sensorOf = (kind: Kind): SensorPlan => {
      const common = { sensor: sensorNames[kind], seed: integer(), intervalMs }
      switch (kind) {
        case 'plantower':
          return { ...common, kind, warmUpMs, variant: random() < 0.3 ? 'pms5003t' : 'pms5003' }
        case 'nova':
          return { ...common, kind, warmUpMs }
        case 'microcontroller':
          return { ...common, kind, style: pick(styles, random) }
        case 'gnss':
          return { ...common, kind }
        case 'lora':
          return {
            ...common,
            kind,
            nodes: [11, 12, 13].map((address) => ({
              address,
              place: around(place, 2, random),
              payload: address % 2 === 0 ? 'cbor' : 'text',
            })),
          }
      }
    }
    return {
      name: `sim-${String(index + 1).padStart(3, '0')}`,
      place,
      sensors: (index === 0 ? kinds : pick(mixes, random)).map(sensorOf),
    }
  })
