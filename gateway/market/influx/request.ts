/** Parameters of a query as InfluxDB's HTTP API (1.x) takes them, from the address and from a form. */
import type { Epoch } from './json.ts'
import { type Bound, InfluxRefusal } from './token.ts'

export type InfluxRequest = {
  readonly query: string
  readonly bound: Bound
  /** Empty where none is named. */
  readonly database: string
  readonly policy: string
  readonly epoch: Epoch
  readonly pretty: boolean
  /** The key, where it stands in a parameter. */
  readonly key: string | undefined
}

const known = ['q', 'db', 'rp', 'epoch', 'pretty', 'params', 'u', 'p', 'chunked'] as const
type Name = (typeof known)[number]

const isKnown = (name: string): name is Name => known.some((one) => one === name)

// A template has some; each is one value.
const maxBound = 256

const epochs: Readonly<Record<string, Epoch>> = {
  '': 'rfc3339',
  ns: 'ns',
  n: 'ns',
  u: 'u',
  µ: 'u',
  us: 'u',
  ms: 'ms',
  s: 's',
  m: 'm',
  h: 'h',
}

const boundOf = (text: string): Bound => {
  if (text === '') return new Map()
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new InfluxRefusal('error parsing query parameters: params is no JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InfluxRefusal('error parsing query parameters: params is an object of names and values')
  const entries = Object.entries(value)
  if (entries.length > maxBound)
    throw new InfluxRefusal(`error parsing query parameters: more than ${maxBound}`)
  return new Map(
    entries.map(([name, one]: [string, unknown]) => {
      if (typeof one === 'string' || (typeof one === 'number' && Number.isFinite(one))) return [name, one]
      throw new InfluxRefusal('error parsing query parameters: values are texts and numbers here')
    }),
  )
}

const flag = (name: string, text: string): boolean => {
  if (/^(|false|0)$/i.test(text)) return false
  if (/^(true|1)$/i.test(text)) return true
  throw new InfluxRefusal(`${name} takes true or false`)
}

/** Reads a request. Throws InfluxRefusal for what is unknown, given twice, or not answered here. */
export const readRequest = (address: URLSearchParams, form: URLSearchParams): InfluxRequest => {
  const given: Partial<Record<Name, string>> = {}
  for (const [name, value] of [...address, ...form]) {
    if (!isKnown(name))
      throw new InfluxRefusal(`unknown parameter "${name.slice(0, 64)}"; there are ${known.join(', ')}`)
    if (given[name] !== undefined && given[name] !== value)
      throw new InfluxRefusal(`parameter "${name}" is given twice`)
    given[name] = value
  }
  const { q = '', db = '', rp = '', epoch = '', pretty = '', params = '', p, chunked = '' } = given
  if (q.trim() === '') throw new InfluxRefusal('missing required parameter "q"')
  const unit = Object.hasOwn(epochs, epoch) ? epochs[epoch] : undefined
  if (unit === undefined)
    throw new InfluxRefusal('epoch takes ns, u, ms, s, m or h; without it times are RFC 3339')
  if (flag('chunked', chunked)) throw new InfluxRefusal('answers come whole: leave chunked out')
  return {
    query: q,
    bound: boundOf(params),
    database: db,
    policy: rp,
    epoch: unit,
    pretty: flag('pretty', pretty),
    key: p === undefined || p === '' ? undefined : p,
  }
}
