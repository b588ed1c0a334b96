/** Query parameters: how each is written, checked and described, once for every route that takes it. */

import { z } from '@hono/zod-openapi'
import { quantities, quantityNamed } from '../reading/quantity.ts'
import { idPattern } from '../reading/reading.ts'
import { refusals } from '../reading/refusal.ts'
import type { RollupFunction } from '../store/store.ts'
import { formatNames } from './formats/all.ts'
import { type Mark, markPattern, parseMark } from './mark.ts'
import { type Box, type Circle, parseBox, parseCell, parseNear } from './place.ts'
import type { FieldFault } from './problem.ts'
import { parseDuration, parseTime, type TimeRef } from './time.ts'

/** What an interval's values can become. */
export const rollupFunctions = [
  'mean',
  'min',
  'max',
  'sum',
  'count',
] as const satisfies readonly RollupFunction[]

// Longer than any cursor and any list of quantity names; the address as a whole is bounded too.
const maxParameterLength = 1024

const once = z.string({ error: 'may be given only once' }).max(maxParameterLength, { error: 'is too long' })

type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly detail: string }

/** How a parameter is described in /openapi.json. */
type Description = {
  readonly type: 'string' | 'integer' | 'number'
  readonly description: string
  readonly pattern?: string
  readonly enum?: string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly default?: number
  readonly example?: string
}

const parsed = <T>(parse: (text: string) => Parsed<T>, openapi: Description) =>
  once
    .openapi(openapi)
    .transform((text, context): T => {
      const outcome = parse(text)
      if (outcome.ok) return outcome.value
      context.addIssue({ code: 'custom', message: outcome.detail })
      return z.NEVER
    })
    .optional()

/** Letters changed, left out, added or swapped to get from one word to the other (optimal string alignment). */
const editDistance = (a: string, b: string): number => {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + changed)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, beforeLast[j - 2]! + 1)
      row.push(least)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}

/** The name that somebody probably meant, or undefined where none is near. */
export const nearestName = (given: string, names: readonly string[]): string | undefined => {
  const word = given.slice(0, 64).toLowerCase()
  const [best] = names
    .map((name) => ({ name, distance: editDistance(word, name) }))
    .filter(({ name, distance }) => distance <= Math.max(1, Math.floor(name.length / 3)))
    .sort((a, b) => a.distance - b.distance)
  return best?.name
}

const didYouMean = (given: string, names: readonly string[]): string => {
  const nearest = nearestName(given, names)
  return nearest === undefined ? '' : `; did you mean "${nearest}"?`
}

const isId = (what: string) =>
  parsed(
    (text): Parsed<string> =>
      idPattern.test(text)
        ? { ok: true, value: text }
        : { ok: false, detail: `takes ${what}: 1 to 64 of A-Z a-z 0-9 _ -` },
    { type: 'string', pattern: idPattern.source, description: `Only ${what}.` },
  )

const integer = (least: number, most: number, description: string, initial?: number) =>
  parsed(
    (text): Parsed<number> => {
      const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN
      return value >= least && value <= most
        ? { ok: true, value }
        : { ok: false, detail: `takes a whole number from ${least} to ${most}` }
    },
    {
      type: 'integer',
      minimum: least,
      maximum: most,
      description,
      ...(initial === undefined ? {} : { default: initial }),
    },
  )

/** A parameter that takes one of these names. */
export const oneOf = <T extends string>(names: readonly T[], description: string) =>
  parsed(
    (text): Parsed<T> => {
      const value = names.find((name) => name === text)
      return value === undefined
        ? { ok: false, detail: `takes one of ${names.join(', ')}${didYouMean(text, names)}` }
        : { ok: true, value }
    },
    { type: 'string', enum: [...names], description },
  )

const time = (description: string, example: string) =>
  parsed(
    (text): Parsed<TimeRef> => {
      const outcome = parseTime(text)
      return outcome.ok ? { ok: true, value: outcome.time } : outcome
    },
    { type: 'string', description, example },
  )

/** What can be asked for: every quantity but the private ones. */
export const publicQuantities = quantities.filter((quantity) => !quantity.private)

export const publicQuantityNames: readonly string[] = publicQuantities.map(({ name }) => name)

const quantityList = z
  .union(
    [
      once,
      z
        .array(once)
        .min(1, { error: 'names nothing; leave it out for all' })
        .max(64, { error: 'has too many names' }),
    ],
    { error: 'takes names of quantities' },
  )
  .openapi({
    type: 'array',
    minItems: 1,
    items: { type: 'string', enum: [...publicQuantityNames] },
    description: 'Only these quantities; may be repeated, or hold several names with commas between them.',
    example: ['temperature'],
  })
  .transform((given, context): number[] => {
    const codes = new Set<number>()
    for (const name of (Array.isArray(given) ? given : [given]).flatMap((text) => text.split(','))) {
      const quantity = quantityNamed(name.trim())
      if (quantity !== undefined && !quantity.private) codes.add(quantity.code)
      else {
        const message =
          quantity === undefined
            ? `there is no quantity "${name.trim().slice(0, 40)}"${didYouMean(name.trim(), publicQuantityNames)}`
            : `${quantity.name} is private: positions are signed and anchored, but never given out`
        context.addIssue({ code: 'custom', message })
        return z.NEVER
      }
    }
    return [...codes].sort((a, b) => a - b)
  })
  .optional()

// As long as a whole address may be.
const maxListLength = 4096

const stationList = z
  .union([z.string().max(maxListLength), z.array(z.string().max(maxListLength)).max(maxListLength)], {
    error: 'takes ids of stations',
  })
  .openapi({
    type: 'array',
    items: { type: 'string', pattern: idPattern.source },
    description: 'Only these stations; may be repeated, or hold several ids with commas between them.',
  })
  .transform((given, context): string[] => {
    const ids = (Array.isArray(given) ? given : [given]).flatMap((text) => text.split(','))
    if (ids.every((id) => idPattern.test(id))) return [...new Set(ids)].sort()
    context.addIssue({ code: 'custom', message: 'takes ids of stations: 1 to 64 of A-Z a-z 0-9 _ - each' })
    return z.NEVER
  })
  .optional()

/** Most rows of one answer, and how many come unasked. */
export const maxRows = 10_000
export const defaultRows = 1000

const minEveryMs = 1000
const maxEveryMs = 366 * 86_400_000

/** `limit`, for routes whose rows cost more or less than readings do. */
export const limitUpTo = (most: number, initial: number) =>
  integer(1, most, 'Most rows in one answer; the rest follows by the link "next".', initial)

/** Every parameter of the API by its name. */
export const parameters = {
  station: isId('the station with this id'),
  stations: stationList,
  sensor: isId('the sensor with this id'),
  quantity: quantityList,
  from: time(
    'Start, inclusive: RFC 3339, milliseconds since 1970, or back from now. Default: an hour before "to".',
    '-1h',
  ),
  to: time('End, exclusive; same forms as "from". Default: now.', 'now'),
  every: parsed(
    (text): Parsed<number> => {
      const ms = parseDuration(text)
      return ms !== undefined && ms >= minEveryMs && ms <= maxEveryMs
        ? { ok: true, value: ms }
        : { ok: false, detail: 'takes a length from 1s to 366d, such as 30s, 5m, 1h or 1d' }
    },
    {
      type: 'string',
      description: 'Answer one value per interval of this length (UTC) instead of single readings.',
      example: '5m',
    },
  ),
  fn: oneOf(rollupFunctions, 'How values of an interval become one; needs "every". Default: mean.'),
  min_quality: parsed(
    (text): Parsed<number> => {
      const value = /^(0|1|0?\.\d{1,6}|1\.0{1,6})$/.test(text) ? Number(text) : Number.NaN
      return value >= 0 && value <= 1
        ? { ok: true, value }
        : { ok: false, detail: 'takes a score from 0 to 1, such as 0.9' }
    },
    {
      type: 'number',
      minimum: 0,
      maximum: 1,
      description:
        'Only readings with at least this score, in intervals ("every") too; the others cost nothing.',
    },
  ),
  last_event_id: parsed(
    (text): Parsed<Mark> => {
      const value = parseMark(text)
      return value === undefined
        ? { ok: false, detail: 'takes the id of an event of this stream, such as 4711-3' }
        : { ok: true, value }
    },
    {
      type: 'string',
      pattern: markPattern.source,
      description: 'Goes on behind the event with this id; the header Last-Event-ID is stronger.',
      example: '4711-3',
    },
  ),
  limit: limitUpTo(maxRows, defaultRows),
  cursor: once
    .openapi({ description: 'Goes on where a page ended; as given by "next" of the same query.' })
    .optional(),
  format: oneOf(formatNames, 'Format of the answer, stronger than the Accept header.'),
  bbox: parsed(
    (text): Parsed<Box> => {
      const value = parseBox(text)
      return value === undefined
        ? { ok: false, detail: 'takes west,south,east,north in degrees, such as 16.1,48.1,16.6,48.4' }
        : { ok: true, value }
    },
    {
      type: 'string',
      description: 'Only stations whose cell has its centre in this box: west,south,east,north (RFC 7946).',
      example: '16.1,48.1,16.6,48.4',
    },
  ),
  h3: parsed(
    (text): Parsed<string> => {
      const value = parseCell(text)
      return value === undefined
        ? { ok: false, detail: 'takes an H3 cell of 15 hex digits' }
        : { ok: true, value }
    },
    { type: 'string', description: 'Only stations within this H3 cell.', example: '851e15b7fffffff' },
  ),
  near: parsed(
    (text): Parsed<Circle> => {
      const value = parseNear(text)
      return value === undefined
        ? { ok: false, detail: 'takes latitude,longitude and a distance, such as 48.2,16.37,25km' }
        : { ok: true, value }
    },
    {
      type: 'string',
      description:
        'Only stations whose cell has its centre so near: latitude,longitude,distance; default 10km.',
      example: '48.2,16.37,25km',
    },
  ),
  resolution: integer(0, 9, 'H3 resolution of the cells that are counted; default 5.'),
  before: integer(1, Number.MAX_SAFE_INTEGER, 'Only those before this number, as given by "next".'),
  after: isId('stations after this id'),
  reason: oneOf(Object.keys(refusals) as (keyof typeof refusals)[], 'Only refusals for this reason.'),
  bytes: oneOf(['true', 'false'], 'Also give the refused bytes, base64.'),
} as const

/** A query of these parameters and no others; an unknown name is an error with a suggestion. */
export const queryOf = <T extends Record<string, z.ZodType>>(shape: T) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys
            .map((name) => `is no parameter of this address${didYouMean(name, Object.keys(shape))}`)
            .join('\n')
        : undefined,
  })

/** What a failed check says, parameter by parameter. */
export const fieldFaults = (error: z.ZodError): FieldFault[] =>
  error.issues.flatMap((issue): FieldFault[] => {
    if (issue.code !== 'unrecognized_keys')
      return [{ name: `${String(issue.path[0] ?? '')}`, detail: issue.message }]
    const details = issue.message.split('\n')
    return issue.keys.map((name, at) => ({ name, detail: details[at] ?? issue.message }))
  })
