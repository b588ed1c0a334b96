/** What there is, as entities: from the stations that the evidence knows and the sensors that the store knows. */
import type { Evidence, StationRecord } from '../../evidence/evidence.ts'
import type { Profile } from '../../reading/profile.ts'
import { type Quantity, quantityCoded } from '../../reading/quantity.ts'
import type { SensorSummary, Store } from '../../store/store.ts'
import { publicQuantities } from '../parameters.ts'
import { timeText } from '../time.ts'
import { bodies } from './bodies.ts'
import { datastreamId, sensorId } from './ids.ts'
import type { SetName } from './model.ts'

/** A station with what its owner says of it. */
export type StationEntry = { readonly record: StationRecord; readonly profile: Profile | undefined }

/** What is known of a Datastream. */
export type Stream = { readonly summary: SensorSummary; readonly quantity: Quantity }

/** An entity: its properties are made when they are looked at. `key` is what its links are found by. */
export type Entity = {
  readonly set: Exclude<SetName, 'Observations'>
  readonly id: string
  readonly key: { readonly station?: string; readonly sensor?: string; readonly quantity?: string }
  readonly body: () => Readonly<Record<string, unknown>>
}

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

const byId = (a: Entity, b: Entity): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/** The entities of one moment. `hubUrl` is where the hub's own API is. */
export const catalogueOf = (
  records: readonly StationRecord[],
  profileOf: Evidence['profile'],
  summaries: readonly SensorSummary[],
  hubUrl: string,
) => {
  const entity = (
    set: Entity['set'],
    id: string,
    key: Entity['key'],
    body: () => Readonly<Record<string, unknown>>,
  ): Entity => ({ set, id, key, body: once(body) })
  const sorted = (entities: Entity[]) => entities.sort(byId)

  const entryOf = new Map(
    records.map((record) => [
      record.station,
      once((): StationEntry => ({ record, profile: profileOf(record.station) })),
    ]),
  )
  const stations = [...entryOf.keys()]
  const cellOf = (station: string) => entryOf.get(station)?.().profile?.cell
  const ofStations = Map.groupBy(
    summaries.filter(({ station }) => entryOf.has(station)),
    ({ station }) => station,
  )

  const thing = (station: string) =>
    entity('Things', station, { station }, () => bodies.thing(entryOf.get(station)!()))
  const location = (station: string) =>
    entity('Locations', station, { station }, () => bodies.location(entryOf.get(station)!()))
  const historical = (station: string) => {
    const { declaredMs } = entryOf.get(station)!().profile!
    return entity('HistoricalLocations', `${station}~${declaredMs}`, { station }, () => ({
      time: timeText(declaredMs),
    }))
  }
  const feature = (station: string) =>
    entity('FeaturesOfInterest', station, { station }, () => bodies.feature(entryOf.get(station)!()))
  const sensor = ({ station, sensor, model }: SensorSummary) =>
    entity('Sensors', sensorId(station, sensor), { station, sensor }, () =>
      bodies.sensor(station, sensor, model),
    )
  const property = (quantity: Quantity) =>
    entity('ObservedProperties', quantity.name, { quantity: quantity.name }, () =>
      bodies.property(quantity, hubUrl),
    )
  const datastream = ({ summary, quantity }: Stream) => {
    const { station, sensor } = summary
    const key = { station, sensor, quantity: quantity.name }
    return entity('Datastreams', datastreamId(station, sensor, quantity.name), key, () =>
      bodies.datastream(summary, quantity, entryOf.get(station)!().profile),
    )
  }
  const streamsOf = (summary: SensorSummary): Stream[] =>
    summary.quantities.flatMap((code) => {
      const quantity = quantityCoded(code)
      return quantity === undefined || quantity.private ? [] : [{ summary, quantity }]
    })

  const summariesOf = (station: string | undefined): readonly SensorSummary[] =>
    station === undefined ? [...ofStations.values()].flat() : (ofStations.get(station) ?? [])
  const placed = (of: readonly string[]) => of.filter((station) => cellOf(station) !== undefined)

  const made = (set: Entity['set'], { station, sensor: named, quantity }: Entity['key']): Entity[] => {
    const some = station === undefined ? stations : entryOf.has(station) ? [station] : []
    const chosen = () => summariesOf(station).filter(({ sensor }) => named === undefined || sensor === named)
    switch (set) {
      case 'Things':
        return sorted(some.map(thing))
      case 'Locations':
        return sorted(placed(some).map(location))
      case 'HistoricalLocations':
        return sorted(placed(some).map(historical))
      case 'FeaturesOfInterest':
        return sorted(some.map(feature))
      case 'Sensors':
        return sorted(chosen().map(sensor))
      case 'Datastreams':
        return sorted(
          chosen()
            .flatMap(streamsOf)
            .filter((stream) => quantity === undefined || stream.quantity.name === quantity)
            .map(datastream),
        )
      case 'ObservedProperties':
        return sorted(
          publicQuantities.filter(({ name }) => quantity === undefined || name === quantity).map(property),
        )
    }
  }

  /** The members of a key that a set goes by. */
  const keyOf = (set: Entity['set'], { station, sensor, quantity }: Entity['key']): Entity['key'] => {
    const members = {
      ...(set === 'ObservedProperties' ? {} : { station }),
      ...(set === 'Sensors' || set === 'Datastreams' ? { sensor } : {}),
      ...(set === 'ObservedProperties' || set === 'Datastreams' ? { quantity } : {}),
    }
    return members as Entity['key']
  }

  const known = new Map<string, readonly Entity[]>()
  /** Entities of a set that fit a key, in order of id. */
  const within = (set: Entity['set'], key: Entity['key']): readonly Entity[] => {
    const own = keyOf(set, key)
    const name = `${set} ${own.station} ${own.sensor} ${own.quantity}`
    let found = known.get(name)
    if (found === undefined) {
      found = made(set, own)
      known.set(name, found)
    }
    return found
  }

  const all = (set: Entity['set']): readonly Entity[] => within(set, {})

  /** The entity with that id. */
  const find = (set: Entity['set'], id: string): Entity | undefined => {
    const [station = '', sensor, quantity] = id.split('~')
    const key: Entity['key'] =
      set === 'ObservedProperties'
        ? { quantity: id }
        : {
            station,
            ...(set === 'Sensors' || set === 'Datastreams' ? { sensor: sensor ?? '' } : {}),
            ...(set === 'Datastreams' ? { quantity: quantity ?? '' } : {}),
          }
    return within(set, key).find((one) => one.id === id)
  }

  return {
    all,
    within,
    find,
    profileOf: (station: string) => entryOf.get(station)?.().profile,
    /** When the sensors of some Datastreams, by id, or of all spoke first and last, UTC ms. */
    reachOf: (streams: ReadonlyMap<string, Entity> | 'all') => {
      const sensors =
        streams === 'all'
          ? summaries
          : [...streams.values()].flatMap(({ key }) =>
              summariesOf(key.station).filter(({ sensor }) => sensor === key.sensor),
            )
      return {
        firstMs: sensors.reduce((first, one) => Math.min(first, one.firstMs), Number.MAX_SAFE_INTEGER),
        lastMs: sensors.reduce((last, one) => Math.max(last, one.lastMs), 0),
      }
    },
  }
}

export type Catalogue = ReturnType<typeof catalogueOf>

// What there is is put together once in so long, however many requests come.
const freshMs = 1000

/** Gives the catalogue of now, at most a second old. */
export const openCatalogue = (
  { evidence, store }: { readonly evidence: Evidence; readonly store: Store },
  clockMs: () => number,
) => {
  let kept: { readonly atMs: number; readonly hubUrl: string; readonly made: Promise<Catalogue> } | undefined
  const make = async (hubUrl: string): Promise<Catalogue> =>
    catalogueOf(evidence.stations(), evidence.profile, await store.sensors(), hubUrl)
  return async (hubUrl: string): Promise<Catalogue> => {
    const atMs = clockMs()
    const isFresh = kept !== undefined && kept.atMs <= atMs && atMs < kept.atMs + freshMs
    if (kept === undefined || !isFresh || kept.hubUrl !== hubUrl) kept = { atMs, hubUrl, made: make(hubUrl) }
    const asked = kept
    try {
      return await asked.made
    } catch (error) {
      if (kept === asked) kept = undefined
      throw error
    }
  }
}
