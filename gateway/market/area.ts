/** Which stations a query is about: those that it names, and of them those whose published cell lies where it asks. */
import type { Evidence } from '../evidence/evidence.ts'
import { isThere, type Where, whereOf } from './place.ts'
import { type Fault, fault } from './problem.ts'

/** Stations that one query is about, at most: as many as a store looks up at once. */
export const maxStations = 100

/** What a query says of stations, by parameter name. */
export type StationsAsked = { readonly [Name in keyof Where]: Where[Name] | undefined } & {
  readonly station?: readonly string[] | undefined
}

/** Ids in order, none where nothing lies there; undefined stands for every station. */
export type StationsFound = { readonly ok: true; readonly stations: readonly string[] | undefined } | Fault

const tooMany = (names: readonly string[], detail: string): Fault =>
  fault('query-too-large', detail, { fields: names.map((name) => ({ name, detail })) })

/** Finds the stations of a query, where they are by their owners' newest word. More than 100 are a fault. */
export const findStations = (
  { station, ...place }: StationsAsked,
  evidence: Pick<Evidence, 'stations' | 'profile'>,
): StationsFound => {
  if (station !== undefined && station.length > maxStations)
    return tooMany(['station'], `at most ${maxStations} stations are answered at once; ask for the rest next`)
  const where = whereOf(place)
  if (where === undefined) return { ok: true, stations: station }
  const stations = (station ?? evidence.stations().map((record) => record.station))
    .filter((id) => {
      const cell = evidence.profile(id)?.cell
      return cell !== undefined && isThere(cell, where)
    })
    .sort()
  return stations.length > maxStations
    ? tooMany(
        Object.keys(where),
        `${stations.length} stations lie there, and at most ${maxStations} are answered at once; ask for a smaller area`,
      )
    : { ok: true, stations }
}
