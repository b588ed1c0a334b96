/** Query options of SensorThings (OGC 18-088 s9.3), those inside $expand included. */
import { nearestName } from '../parameters.ts'
import { type Expression, parseExpression } from './expression.ts'
import { hasProperty, type Link, linkOf, type SetName } from './model.ts'
import { invalidOption, notOffered } from './refusals.ts'

export type OrderKey = { readonly path: readonly string[]; readonly descending: boolean }

/** A link whose entities stand in the answer, and options for them. */
export type Expansion = Link & { readonly link: string; readonly options: Options }

/** Options of a request or of an expansion. `top` and `skip` are whole numbers, `top` at most `maxTop`. */
export type Options = {
  readonly top: number
  readonly skip: number
  readonly count: boolean
  readonly filter?: Expression
  readonly order: readonly OrderKey[]
  readonly select?: readonly string[]
  readonly expand: readonly Expansion[]
  /** Where the page before ended. */
  readonly after?: string
  readonly dataArray: boolean
  /** As they were asked, for links to the next page; without what this page alone is about. */
  readonly text: readonly (readonly [name: string, value: string])[]
}

export const defaultTop = 100
/** Most entities of one page; who asks for more gets a link to the next one. */
export const maxTop = 10_000

// A page further than this is reached by @iot.nextLink, which knows where the one before ended.
const maxSkip = 100_000

const mostExpansions = 24
const deepest = 6

const names = [
  '$top',
  '$skip',
  '$count',
  '$filter',
  '$orderby',
  '$select',
  '$expand',
  '$skiptoken',
  '$resultFormat',
] as const
type OptionName = (typeof names)[number]

/** Pieces of a text between separators that stand in no parentheses and no quotes. */
export const splitAt = (text: string, separator: string): string[] => {
  const pieces: string[] = []
  let depth = 0
  let isQuoted = false
  let from = 0
  for (let at = 0; at < text.length; at++) {
    const letter = text[at]
    if (letter === "'") isQuoted = !isQuoted
    else if (isQuoted) continue
    else if (letter === '(') depth++
    else if (letter === ')') depth--
    else if (letter === separator && depth === 0) {
      pieces.push(text.slice(from, at))
      from = at + 1
    }
  }
  pieces.push(text.slice(from))
  return pieces.map((piece) => piece.trim()).filter((piece) => piece !== '')
}

const wholeNumber = (name: string, text: string): number => {
  if (!/^\d{1,9}$/.test(text)) throw invalidOption(name, 'takes a whole number')
  return Number(text)
}

const orderOf = (text: string): OrderKey[] =>
  splitAt(text, ',').map((piece) => {
    const [path = '', direction = 'asc', ...more] = piece.split(/\s+/)
    if (more.length > 0 || !['asc', 'desc'].includes(direction) || !/^@?[A-Za-z][\w./@]*$/.test(path))
      throw invalidOption(
        '$orderby',
        'takes properties, each with asc or desc behind it: phenomenonTime desc',
      )
    return { path: path.split('/'), descending: direction === 'desc' }
  })

const selectable = (set: SetName, name: string): boolean =>
  ['id', '@iot.id', 'selfLink', '@iot.selfLink'].includes(name) ||
  hasProperty(set, name) ||
  linkOf(set, name) !== undefined

type Counted = { expansions: number }

/** A link and what is behind it in one piece of $expand: `Datastreams($top=5)`, `Datastreams/Observations`. */
const expansionOf = (piece: string, set: SetName, depth: number, counted: Counted): Expansion => {
  const match = /^([A-Za-z/]+)\s*(?:\((.*)\))?$/s.exec(piece)
  if (match === null) throw invalidOption('$expand', `cannot read "${piece.slice(0, 40)}"`)
  const [link = '', ...rest] = match[1]!.split('/')
  const target = linkOf(set, link)
  if (target === undefined) throw invalidOption('$expand', `has ${link}, which is no link of ${set}`)
  if (depth >= deepest) throw invalidOption('$expand', `goes more than ${deepest} deep`)
  if (++counted.expansions > mostExpansions)
    throw invalidOption('$expand', `has more than ${mostExpansions} links`)
  const inside: [string, string][] =
    rest.length > 0
      ? [['$expand', `${rest.join('/')}${match[2] === undefined ? '' : `(${match[2]})`}`]]
      : splitAt(match[2] ?? '', ';').map((option) => {
          const at = option.indexOf('=')
          if (at < 0) throw invalidOption('$expand', `has "${option.slice(0, 40)}", which is no option`)
          return [option.slice(0, at).trim(), option.slice(at + 1).trim()]
        })
  return { link, ...target, options: read(inside, target.to, depth + 1, counted) }
}

/** Two paths of $expand along the same link, such as Datastreams/Sensor,Datastreams/Observations, are one link. */
const merged = (expansions: readonly Expansion[]): Expansion[] => {
  const byLink = new Map<string, Expansion>()
  for (const one of expansions) {
    const before = byLink.get(one.link)
    if (before === undefined) byLink.set(one.link, one)
    else {
      const [few, more] = before.options.text.length > 1 ? [one, before] : [before, one]
      if (few.options.text.some(([name]) => name !== '$expand'))
        throw invalidOption('$expand', `has ${one.link} twice with options; give them at one place`)
      const expand = merged([...before.options.expand, ...one.options.expand])
      const along = [before, one].flatMap(({ options }) =>
        options.text.flatMap(([name, value]) => (name === '$expand' ? [value] : [])),
      )
      const own = more.options.text.filter(([name]) => name !== '$expand')
      const text = [...own, ['$expand', along.join(',')] as const]
      byLink.set(one.link, { ...more, options: { ...more.options, expand, text } })
    }
  }
  return [...byLink.values()]
}

const read = (
  given: readonly (readonly [string, string])[],
  set: SetName,
  depth: number,
  counted: Counted,
): Options => {
  const found = new Map<OptionName, string>()
  for (const [written, value] of given) {
    const name = names.find((one) => one === written)
    if (name === undefined) {
      const nearest = nearestName(written, names)
      const hint = nearest === undefined ? `; there are ${names.join(', ')}` : `; did you mean "${nearest}"?`
      throw invalidOption(written, `is no option${hint}`)
    }
    if (found.has(name)) throw invalidOption(name, 'may be given only once')
    found.set(name, value)
  }
  const count = found.get('$count') ?? 'false'
  if (count !== 'true' && count !== 'false') throw invalidOption('$count', 'takes true or false')
  const skip = wholeNumber('$skip', found.get('$skip') ?? '0')
  if (skip > maxSkip)
    throw invalidOption(
      '$skip',
      `takes at most ${maxSkip}; follow @iot.nextLink, or filter by phenomenonTime`,
    )
  const format = found.get('$resultFormat')
  if (format !== undefined && (format !== 'dataArray' || depth > 0 || set !== 'Observations'))
    throw notOffered('$resultFormat', 'takes dataArray, for Observations that are not expanded')
  const filter = found.get('$filter')
  const select = found.get('$select')
  const selected = select === undefined ? undefined : [...new Set(splitAt(select, ','))]
  const unknown = selected?.find((name) => !selectable(set, name))
  if (unknown !== undefined) throw invalidOption('$select', `has ${unknown}, which ${set} lack`)
  const expand = merged(
    splitAt(found.get('$expand') ?? '', ',').map((piece) => expansionOf(piece, set, depth, counted)),
  )
  if (format !== undefined && expand.length > 0)
    throw notOffered('$resultFormat', 'dataArray has no room for $expand')
  const after = found.get('$skiptoken')
  if (after !== undefined && depth > 0)
    throw invalidOption('$skiptoken', 'stands in @iot.nextLink alone; follow that of what is expanded')
  return {
    top: Math.min(maxTop, wholeNumber('$top', found.get('$top') ?? `${defaultTop}`)),
    skip,
    count: count === 'true',
    ...(filter === undefined ? {} : { filter: parseExpression(filter) }),
    order: orderOf(found.get('$orderby') ?? ''),
    ...(selected === undefined ? {} : { select: selected }),
    expand,
    ...(after === undefined ? {} : { after }),
    dataArray: format !== undefined,
    text: [...found].filter(([name]) => name !== '$skip' && name !== '$skiptoken'),
  }
}

/** Options of an address for entities of a set; throws a Problem that names the option. */
export const parseOptions = (search: string, set: SetName): Options =>
  read([...new URLSearchParams(search)], set, 0, { expansions: 0 })

/** Whether observations stand in an answer: those asked for, or any that are expanded. */
export const expandsObservations = ({ expand }: Pick<Options, 'expand'>): boolean =>
  expand.some(({ to, options }) => to === 'Observations' || expandsObservations(options))
