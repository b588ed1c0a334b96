/** Where paths of $filter and $orderby lead among entities. */
import type { Catalogue, Entity } from './catalogue.ts'
import type { Work } from './evaluate.ts'
import { type Expression, pathsOf } from './expression.ts'
import { geometryOf } from './geometry.ts'
import { hasProperty, linkOf, placeProperties, type SetName, timeProperties } from './model.ts'
import { invalidOption, notOffered } from './refusals.ts'
import { momentMs } from './tokens.ts'
import type { Value } from './values.ts'

const isId = (name: string | undefined): boolean => name === 'id' || name === '@iot.id'

/** What a property of an entity, or a member of it, is in an expression. */
export const valueFrom = (property: string, isWhole: boolean, json: unknown): Value => {
  if (typeof json === 'string' && isWhole && timeProperties.has(property)) {
    const [from, to = from] = json.split('/').map(momentMs)
    return from === undefined || to === undefined ? null : { kind: 'span', fromMs: from, toMs: to }
  }
  if (typeof json === 'string' || typeof json === 'number' || typeof json === 'boolean') return json
  const geometry = isWhole && placeProperties.has(property) ? geometryOf(json) : undefined
  return geometry === undefined ? null : { kind: 'place', geometry }
}

/** A member of JSON, or undefined where there is none. */
export const memberOf = (json: unknown, names: readonly string[]): unknown =>
  names.reduce<unknown>(
    (value, name) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, name)
        ? (value as Record<string, unknown>)[name]
        : undefined,
    json,
  )

/** The value at a path that begins with a property of something with that id and body. */
export const ownValue = (
  id: string,
  body: Readonly<Record<string, unknown>>,
  path: readonly string[],
): Value => (isId(path[0]) ? id : valueFrom(path[0]!, path.length === 1, memberOf(body, path)))

const stepsPerEntity = 4

/** All values at a path from an entity on. */
export const valuesAt = (
  catalogue: Catalogue,
  entity: Entity,
  path: readonly string[],
  work: Work,
): readonly Value[] => {
  work.spend(stepsPerEntity)
  const [name, ...rest] = path
  const link = linkOf(entity.set, name!)
  if (link === undefined) return [ownValue(entity.id, entity.body(), path)]
  // checkPaths has refused those into observations.
  return catalogue
    .within(link.to as Entity['set'], entity.key)
    .flatMap((there) => valuesAt(catalogue, there, rest, work))
}

/**
 * Refuses a path that entities of a set do not have. None may go on into observations: what is said of those is sold, and
 * an answer about other entities must not tell it.
 */
export const checkPath = (option: string, set: SetName, path: readonly string[]): void => {
  let at = set
  for (const [place, name] of path.entries()) {
    if (isId(name) || hasProperty(at, name)) {
      if (isId(name) && place < path.length - 1)
        throw invalidOption(option, `has ${path.join('/')}, and an id has no members`)
      return
    }
    const link = linkOf(at, name)
    if (link === undefined) throw invalidOption(option, `has ${name.slice(0, 40)}, which ${at} lack`)
    if (link.to === 'Observations')
      throw notOffered(
        option,
        'cannot look into Observations from other entities; ask for Observations themselves',
      )
    at = link.to
  }
  throw invalidOption(
    option,
    `has ${path.join('/')}, which is an entity; name a property of it, such as its id`,
  )
}

export const checkPaths = (option: string, set: SetName, expression: Expression): void => {
  for (const path of pathsOf(expression)) checkPath(option, set, path)
}
