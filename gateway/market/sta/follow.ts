/** From a path to what it leads to: along links, and by ids (OGC 18-088 s9.2). */
import { fault, Problem } from '../problem.ts'
import type { Entity } from './catalogue.ts'
import { parseObservationId } from './ids.ts'
import { type Link, model } from './model.ts'
import type { Observation } from './observation.ts'
import { type Desk, oneObservation } from './observation-pages.ts'
import type { Resource } from './resource.ts'

/** What a path has led to. */
export type Place =
  | { readonly kind: 'entities'; readonly set: Entity['set']; readonly entities: readonly Entity[] }
  | { readonly kind: 'entity'; readonly entity: Entity }
  | { readonly kind: 'streams'; readonly streams: readonly Entity[] | 'all' }
  | { readonly kind: 'observation'; readonly observation: Observation }

/** A problem: that what a path names is not there. */
export const nothing = (detail: string): Problem => new Problem(fault('not-found', detail))

/** Entities behind a link of an entity, in order of id. */
export const behind = ({ catalogue }: Desk, { set, key }: Entity, link: string): readonly Entity[] =>
  catalogue.within((model[set].links as Record<string, Entity['set']>)[link]!, key)

/** Datastreams whose observations an entity links to. */
export const streamsBehind = ({ catalogue }: Desk, { key }: Entity): readonly Entity[] =>
  catalogue.within('Datastreams', key)

/** The entity behind a link of an observation; undefined while it is so new that it is not known. */
export const behindObservation = (
  { catalogue }: Desk,
  { stream, key }: Observation,
  link: string,
): Entity | undefined =>
  link === 'Datastream'
    ? catalogue.find('Datastreams', stream)
    : catalogue.find('FeaturesOfInterest', key.station)

/** One of many, by its id. */
const oneOf = async (
  desk: Desk,
  place: Extract<Place, { kind: 'entities' | 'streams' }>,
  id: string,
): Promise<Place> => {
  if (place.kind === 'entities') {
    const entity = place.entities.find((one) => one.id === id)
    if (entity === undefined) throw nothing(`${place.set} lack an entity with this id`)
    return { kind: 'entity', entity }
  }
  const key = parseObservationId(id)
  const observation = key && (await oneObservation(desk, key))
  if (
    observation === undefined ||
    !(place.streams === 'all' || place.streams.some((stream) => stream.id === observation.stream))
  )
    throw nothing('Observations lack an entity with this id')
  return { kind: 'observation', observation }
}

/** What an entity links to. */
const linked = (desk: Desk, place: Place, { name, to, many }: { readonly name: string } & Link): Place => {
  if (place.kind === 'observation') {
    const entity = behindObservation(desk, place.observation, name)
    if (entity === undefined) throw nothing(`the ${name} of this Observation is not known yet`)
    return { kind: 'entity', entity }
  }
  if (place.kind !== 'entity') throw new Error('a link of many was followed')
  const { entity } = place
  if (to === 'Observations') return { kind: 'streams', streams: streamsBehind(desk, entity) }
  if (many) return { kind: 'entities', set: to, entities: behind(desk, entity, name) }
  const [one] = behind(desk, entity, name)
  if (one === undefined) throw nothing(`this entity of ${entity.set} has no ${name}`)
  return { kind: 'entity', entity: one }
}

/** Where a path begins: at a set, of which no more is made than its first step needs. */
const beginning = (
  { catalogue }: Desk,
  { start, steps }: Resource,
): Extract<Place, { kind: 'entities' | 'streams' }> => {
  if (start === 'Observations') return { kind: 'streams', streams: 'all' }
  const [first] = steps
  if (first?.kind !== 'key') return { kind: 'entities', set: start, entities: catalogue.all(start) }
  const found = catalogue.find(start, first.id)
  return { kind: 'entities', set: start, entities: found === undefined ? [] : [found] }
}

/** Follows a path from its entity set on; throws a Problem where nothing is there. */
export const follow = async (desk: Desk, resource: Resource): Promise<Place> => {
  let place: Place = beginning(desk, resource)
  for (const step of resource.steps) {
    if (step.kind === 'link') place = linked(desk, place, step)
    else if (place.kind === 'entities' || place.kind === 'streams') place = await oneOf(desk, place, step.id)
  }
  return place
}
