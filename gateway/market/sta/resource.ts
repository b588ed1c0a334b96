/** Resource paths of SensorThings (OGC 18-088 s9.2): /Things('id')/Datastreams, .../name/$value, .../Observations/$ref. */
import { fault, Problem } from '../problem.ts'
import { hasProperty, isSetName, type Link, linkOf, type SetName, setNames } from './model.ts'

/** A step from what the steps before have led to: along a link, or to one of many by its id. */
export type Step =
  | { readonly kind: 'key'; readonly id: string }
  | ({ readonly kind: 'link'; readonly name: string } & Link)

/**
 * What a path leads to: entities of `set`, one or many; of one, `property` with the members in it, as JSON or, where `raw`,
 * as text; of many, where `refs`, links alone.
 */
export type Resource = {
  readonly start: SetName
  readonly steps: readonly Step[]
  readonly set: SetName
  readonly many: boolean
  readonly property?: readonly string[]
  readonly raw: boolean
  readonly refs: boolean
}

// Around the model and back again is shorter.
const mostParts = 12

const keyed = /^([A-Za-z]+)\((.*)\)$/s
const quoted = /^'((?:[^']|'')*)'$/s

const noResource = (detail: string): Problem => new Problem(fault('not-found', detail))

const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    throw noResource('the address is not percent-encoded as UTF-8')
  }
}

/** Reads the part of an address behind the service root; throws a Problem for a path that leads nowhere. */
export const parseResource = (path: string): Resource => {
  const parts = path.split('/').filter((part) => part !== '')
  if (parts.length > mostParts) throw noResource(`a path has at most ${mostParts} parts`)
  const steps: Step[] = []
  let start: SetName | undefined
  let set: SetName | undefined
  let many = true
  let property: string[] | undefined
  let raw = false
  let refs = false
  for (const part of parts.map(decoded)) {
    if (raw || refs) throw noResource(`nothing is behind ${raw ? '$value' : '$ref'}`)
    if (part === '$value' && property !== undefined) {
      raw = true
      continue
    }
    if (part === '$ref' && set !== undefined && many && property === undefined) {
      refs = true
      continue
    }
    if (property !== undefined) {
      property.push(part)
      continue
    }
    const match = keyed.exec(part)
    const name = match?.[1] ?? part
    if (set === undefined) {
      if (!isSetName(name)) throw noResource(`there is no ${name}; entity sets are ${setNames.join(', ')}`)
      start = name
      set = name
    } else {
      const link: Link | undefined = many ? undefined : linkOf(set, name)
      if (link !== undefined) {
        steps.push({ kind: 'link', name, ...link })
        set = link.to
        many = link.many
      } else if (!many && match === null && hasProperty(set, name)) {
        property = [name]
        continue
      } else throw noResource(`nothing called ${name} is behind ${many ? 'many ' : 'one of '}${set}`)
    }
    if (match === null) continue
    const id = quoted.exec(match[2]!)?.[1]
    if (!many || id === undefined)
      throw noResource(`${part.slice(0, 80)} names no entity; ids stand in single quotes: ${set}('...')`)
    steps.push({ kind: 'key', id: id.replaceAll("''", "'") })
    many = false
  }
  if (start === undefined || set === undefined) throw noResource('an entity set is missing')
  return { start, steps, set, many, raw, refs, ...(property === undefined ? {} : { property }) }
}
