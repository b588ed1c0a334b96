/** Pages of entities other than observations: filtered, counted, ordered, cut (OGC 18-088 s9.3.1 says in which order). */
import type { Catalogue, Entity } from './catalogue.ts'
import { compareValues, isTrue, type Work } from './evaluate.ts'
import { checkPath, checkPaths, valuesAt } from './lookup.ts'
import { linkOf, type SetName } from './model.ts'
import type { Options } from './options.ts'
import { invalidOption } from './refusals.ts'
import type { Value } from './values.ts'

export type EntityPage = {
  readonly entities: readonly Entity[]
  readonly count?: number
  readonly next?: string
}

// The process serves others between so many entities.
const perTurn = 200

const rank = (value: Value): number => (value === null ? 0 : typeof value === 'object' ? 2 : 1)

const compare = (a: Value, b: Value): number => {
  if (rank(a) !== rank(b)) return rank(a) - rank(b)
  if (typeof a === 'object' && a?.kind === 'span' && typeof b === 'object' && b?.kind === 'span')
    return a.fromMs - b.fromMs || a.toMs - b.toMs
  return compareValues('lt', a, b) ? -1 : compareValues('gt', a, b) ? 1 : 0
}

const encodeId = (id: string): string => Buffer.from(id).toString('base64url')
const decodeId = (text: string): string => Buffer.from(text, 'base64url').toString('utf8')

/** A page of some entities of a set, which are in order of id. */
export const entityPage = async (
  catalogue: Catalogue,
  set: SetName,
  all: readonly Entity[],
  { filter, order, top, skip, count, after }: Options,
  nowMs: number,
  work: Work,
): Promise<EntityPage> => {
  if (filter !== undefined) checkPaths('$filter', set, filter)
  for (const { path } of order) {
    checkPath('$orderby', set, path)
    if (linkOf(set, path[0]!)?.many)
      throw invalidOption('$orderby', `follows ${path[0]}, which can be many; order by what each has once`)
  }
  let found = all
  if (filter !== undefined) {
    const kept: Entity[] = []
    for (const [at, entity] of all.entries()) {
      if (at % perTurn === perTurn - 1) await new Promise((resolve) => setImmediate(resolve))
      if (isTrue(filter, (path) => valuesAt(catalogue, entity, path, work), nowMs, work)) kept.push(entity)
    }
    found = kept
  }
  if (order.length > 0) {
    const keyed = found.map((entity) => ({
      entity,
      keys: order.map(({ path }) => valuesAt(catalogue, entity, path, work)[0] ?? null),
    }))
    keyed.sort((a, b) => {
      for (const [at, { descending }] of order.entries()) {
        const difference = compare(a.keys[at]!, b.keys[at]!)
        if (difference !== 0) return descending ? -difference : difference
      }
      return a.entity.id < b.entity.id ? -1 : 1
    })
    found = keyed.map(({ entity }) => entity)
  }
  let from = skip
  if (after !== undefined) {
    const id = decodeId(after)
    const at =
      order.length === 0
        ? found.findIndex((entity) => entity.id > id)
        : found.findIndex((entity) => entity.id === id) + 1
    if (order.length > 0 && at === 0)
      throw invalidOption('$skiptoken', 'is none that a page ended with; start without it')
    from = at < 0 ? found.length : at
  }
  const entities = found.slice(from, from + top)
  const more = top > 0 && found.length > from + top
  return {
    entities,
    ...(count ? { count: found.length } : {}),
    ...(more ? { next: encodeId(entities.at(-1)!.id) } : {}),
  }
}
