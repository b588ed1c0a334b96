/** Answers to requests for resources: entities with their links, and what is expanded in them (OGC 18-088 s9.2, s9.3). */
import { fault, Problem } from '../problem.ts'
import type { Entity } from './catalogue.ts'
import { dataArrays } from './data-array.ts'
import { entityPage } from './entity-page.ts'
import type { Work } from './evaluate.ts'
import { behind, behindObservation, follow, nothing, type Place, streamsBehind } from './follow.ts'
import { memberOf } from './lookup.ts'
import { linkNames, model, type SetName } from './model.ts'
import type { Observation } from './observation.ts'
import { type Desk, observationPage, sell } from './observation-pages.ts'
import { planObservations } from './observation-query.ts'
import { type Expansion, maxTop, type Options } from './options.ts'
import { notOffered } from './refusals.ts'
import type { Resource } from './resource.ts'
import { decodeToken } from './token.ts'

/** What an answer is made with. `root` is the address of the service, without a slash at its end. */
export type Office = {
  readonly desk: Desk
  readonly work: Work
  readonly root: string
  /** What pays for later pages of a question about values. */
  readonly sale?: string
  /** Entities and observations that may still be in the answer. */
  room: number
  observationRoom: number
}

/** Most entities of all kinds in one answer, expanded ones counted. */
export const mostEntities = 20_000

type Json = Record<string, unknown>

/** Something with an id, links and properties. */
type Shown = { readonly set: SetName; readonly id: string; readonly body: Readonly<Json> }

const addressOf = (root: string, set: SetName, id: string): string =>
  `${root}/${set}('${encodeURIComponent(id.replaceAll("'", "''"))}')`

const withOptions = (
  address: string,
  text: readonly (readonly [string, string])[],
  token: string,
): string => {
  const pairs = [...text, ['$skiptoken', token] as const]
  return `${address}?${pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`
}

const take = (office: Office, count: number, what: 'room' | 'observationRoom'): void => {
  office[what] -= count
  if (office[what] >= 0) return
  const detail = `asks for more than ${what === 'room' ? mostEntities : maxTop} ${what === 'room' ? 'entities' : 'Observations'} at once; lower $top, around it too`
  throw new Problem(fault('query-too-large', `$expand ${detail}`, { fields: [{ name: '$expand', detail }] }))
}

const shownEntity = (entity: Entity): Shown => ({ set: entity.set, id: entity.id, body: entity.body() })
const shownObservation = ({ id, body }: Observation): Shown => ({ set: 'Observations', id, body })

/** Ids, links and properties as $select wants them. */
const plain = (root: string, { set, id, body }: Shown, { select, expand }: Options): Json => {
  const address = addressOf(root, set, id)
  const wants = (...names: string[]): boolean =>
    select === undefined || names.some((name) => select.includes(name))
  const json: Json = {}
  if (wants('id', '@iot.id')) json['@iot.id'] = id
  if (wants('selfLink', '@iot.selfLink')) json['@iot.selfLink'] = address
  for (const name of model[set].properties)
    if (wants(name) && Object.hasOwn(body, name)) json[name] = body[name]
  for (const name of linkNames(set))
    if (wants(name) && !expand.some(({ link }) => link === name))
      json[`${name}@iot.navigationLink`] = `${address}/${name}`
  return json
}

/** Entities that are expanded in one observation, along links to one each. */
const entitiesIn = (expand: readonly Expansion[]): number =>
  expand.reduce((sum, { options }) => sum + 1 + entitiesIn(options.expand), 0)

const hasMany = ({ many, options }: Expansion): boolean => many || options.expand.some(hasMany)

/** A page of observations, and the office that what is expanded in them is made in. */
const observations = async (
  office: Office,
  scope: readonly Entity[] | 'all',
  options: Options,
  sale: string | undefined,
) => {
  const { desk, work } = office
  const { top, expand } = options
  const token = options.after === undefined ? undefined : decodeToken(options.after)
  const query = planObservations(desk.catalogue, scope, options, token?.askedMs ?? desk.nowMs, work)
  const isSecret = query.looksAtValues && desk.mustLookAtAll
  if (isSecret) {
    // A refusal costs nothing and must not tell how many there are: room is taken for as many as there could be.
    if (expand.some(hasMany))
      throw notOffered('$expand', 'goes along links to one entity where $filter asks about values')
    take(office, top, 'observationRoom')
    take(office, top * entitiesIn(expand), 'room')
  }
  const page = await observationPage(desk, query, options, token, sale)
  if (!isSecret) take(office, page.observations.length, 'observationRoom')
  return { page, inside: isSecret ? { ...office, room: Number.POSITIVE_INFINITY } : office }
}

const isNotCount = ([name]: readonly [string, string]): boolean => name !== '$count'

/** A page of entities as it stands in an answer; `prefix` is the link's name where it stands in an entity. */
const collection = async (
  office: Office,
  place: Extract<Place, { kind: 'entities' | 'streams' }>,
  options: Options,
  address: string,
  prefix = '',
): Promise<Json> => {
  const value = prefix === '' ? 'value' : prefix
  if (place.kind === 'streams') {
    const sale = prefix === '' ? office.sale : undefined
    const { page, inside } = await observations(office, place.streams, options, sale)
    const { observations: found, count, next } = page
    // Counting takes a look at all of them: it is done for the first page.
    const link = next === undefined ? undefined : withOptions(address, options.text.filter(isNotCount), next)
    const items: Json[] = []
    if (!options.dataArray) for (const one of found) items.push(await observationJson(inside, one, options))
    return {
      ...(count === undefined ? {} : { [`${prefix}@iot.count`]: count }),
      ...(link === undefined ? {} : { [`${prefix}@iot.nextLink`]: link }),
      [value]: options.dataArray ? dataArrays(office.root, found, options.select) : items,
    }
  }
  const { desk, work } = office
  const { set, entities } = place
  const page = await entityPage(desk.catalogue, set, entities, options, desk.nowMs, work)
  const items: Json[] = []
  for (const entity of page.entities) items.push(await entityJson(office, entity, options))
  return {
    ...(page.count === undefined ? {} : { [`${prefix}@iot.count`]: page.count }),
    ...(page.next === undefined
      ? {}
      : { [`${prefix}@iot.nextLink`]: withOptions(address, options.text, page.next) }),
    [value]: items,
  }
}

/** An entity behind a link to one; null where there is none, or $filter does not hold for it. */
const singleJson = async (
  office: Office,
  entity: Entity | undefined,
  options: Options,
): Promise<Json | null> => {
  if (entity === undefined) return null
  const { catalogue, nowMs } = office.desk
  const { entities } = await entityPage(
    catalogue,
    entity.set,
    [entity],
    { ...options, top: 1, skip: 0 },
    nowMs,
    office.work,
  )
  return entities.length === 0 ? null : entityJson(office, entity, options)
}

/** An entity, with what is expanded in it. */
const entityJson = async (office: Office, entity: Entity, options: Options): Promise<Json> => {
  take(office, 1, 'room')
  const json = plain(office.root, shownEntity(entity), options)
  for (const { link, to, many, options: inside } of options.expand) {
    const address = `${addressOf(office.root, entity.set, entity.id)}/${link}`
    if (to === 'Observations') {
      const place = { kind: 'streams', streams: streamsBehind(office.desk, entity) } as const
      Object.assign(json, await collection(office, place, inside, address, link))
    } else if (many) {
      const place = { kind: 'entities', set: to, entities: behind(office.desk, entity, link) } as const
      Object.assign(json, await collection(office, place, inside, address, link))
    } else {
      json[link] = await singleJson(office, behind(office.desk, entity, link)[0], inside)
    }
  }
  return json
}

const observationJson = async (office: Office, observation: Observation, options: Options): Promise<Json> => {
  const json = plain(office.root, shownObservation(observation), options)
  for (const { link, options: inside } of options.expand)
    json[link] = await singleJson(office, behindObservation(office.desk, observation, link), inside)
  return json
}

/** What is sent: JSON, or text where a raw value was asked for. */
export type Made = { readonly contentType: string; readonly text: string }

const json = (value: unknown): Made => ({ contentType: 'application/json', text: JSON.stringify(value) })

const propertyOf = (body: Readonly<Json>, names: readonly string[], raw: boolean): Made => {
  const value = memberOf(body, names)
  if (value === undefined) throw nothing(`this entity has no ${names.join('/')}`)
  if (!raw) return json({ [names.at(-1)!]: value })
  if (typeof value === 'object' && value !== null) return json(value)
  return { contentType: 'text/plain; charset=utf-8', text: String(value) }
}

/** The answer to a request. `path` is the resource path as it was asked, for links to the next page. */
export const answerTo = async (
  office: Office,
  resource: Resource,
  options: Options,
  path: string,
): Promise<Made> => {
  const place = await follow(office.desk, resource)
  const address = `${office.root}/${path}`
  if (place.kind === 'entities' || place.kind === 'streams') {
    const refs = { ...options, select: ['@iot.selfLink'], expand: [] }
    return json(await collection(office, place, resource.refs ? refs : options, address))
  }
  if (place.kind === 'observation') {
    sell(office.desk, place.observation)
    const { observation } = place
    if (resource.property !== undefined) return propertyOf(observation.body, resource.property, resource.raw)
    return json(await observationJson(office, observation, options))
  }
  const { entity } = place
  if (resource.property !== undefined) return propertyOf(entity.body(), resource.property, resource.raw)
  return json(await entityJson(office, entity, options))
}
