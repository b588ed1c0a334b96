/** Requests made up from /openapi.json: most of them right, some at the bounds, some hostile. */
import fc from 'fast-check'

type Schema = {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly pattern?: string
  readonly format?: string
  readonly example?: unknown
  readonly default?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly allOf?: readonly Schema[]
}

type Parameter = {
  readonly name: string
  readonly in: string
  readonly required?: boolean
  readonly schema: Schema
}

type Operation = {
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
}

export type RequestDocument = {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

/** A request that can be printed and made again. */
export type Asked = {
  readonly method: string
  readonly address: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

/** Values that are there, by the name of a parameter or member: so that whole questions get through. */
export type Known = Readonly<Record<string, readonly string[]>>

const hostileText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('', '\0', '%', '%00', '../..', "' OR 1=1 --", '{"$gt":""}', 'NaN', '-0', '1e999', '-1'),
  fc.constantFrom('9'.repeat(40), '0x10', 'null', '__proto__', '\ud800', '\u202e', 'a'.repeat(2000), ',,,'),
)

const time = fc.oneof(
  fc.constantFrom('now', '-1h', '-5m', '-300d', '0', '2026-11-21T11:30:00Z', '2026-11-21T11:30:00+01:00'),
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
)

const integers = ({ minimum = -(2 ** 31), maximum = 2 ** 31 }: Schema) =>
  fc.oneof(
    fc.integer({
      min: Math.max(minimum, Number.MIN_SAFE_INTEGER),
      max: Math.min(maximum, Number.MAX_SAFE_INTEGER),
    }),
    fc.constantFrom(minimum, maximum, minimum - 1, maximum + 1),
  )

/** Values by a schema; a few of them just beside its bounds. */
const valuesOf = (
  document: RequestDocument,
  schema: Schema,
  known: Known,
  name = '',
): fc.Arbitrary<unknown> => {
  const values = (inner: Schema, innerName = name) => valuesOf(document, inner, known, innerName)
  if (schema.$ref !== undefined) return values(document.components.schemas[schema.$ref.split('/').at(-1)!]!)
  const given: fc.Arbitrary<unknown>[] = []
  const there = known[name]
  if (there !== undefined) given.push(fc.constantFrom(...there))
  if (schema.example !== undefined) given.push(fc.constant(schema.example))
  if (schema.default !== undefined) given.push(fc.constant(schema.default))
  const kind = Array.isArray(schema.type) ? schema.type[0] : schema.type
  const alternatives = schema.anyOf ?? schema.oneOf
  if (alternatives !== undefined) given.push(...alternatives.map((one) => values(one)))
  else if (schema.allOf !== undefined) given.push(values(schema.allOf[0]!))
  else if (schema.enum !== undefined) given.push(fc.constantFrom(...schema.enum))
  else if (schema.const !== undefined) given.push(fc.constant(schema.const))
  else if (kind === 'integer') given.push(integers(schema))
  else if (kind === 'number')
    given.push(fc.double({ min: schema.minimum ?? -1e6, max: schema.maximum ?? 1e6, noNaN: true }))
  else if (kind === 'boolean') given.push(fc.boolean())
  else if (kind === 'null') given.push(fc.constant(null))
  else if (kind === 'array')
    given.push(fc.array(values(schema.items ?? {}), { minLength: schema.minItems ?? 0, maxLength: 4 }))
  else if (kind === 'object') {
    const { properties = {}, required = [] } = schema
    const members = Object.entries(properties).map(([name, inner]) => [name, values(inner, name)] as const)
    given.push(fc.record(Object.fromEntries(members), { requiredKeys: [...required] }))
  } else if (schema.pattern !== undefined)
    given.push(fc.stringMatching(new RegExp(schema.pattern), { maxLength: 80 }))
  else if (schema.format === 'date-time' || name === 'from' || name === 'to') given.push(time)
  else if (given.length === 0)
    given.push(fc.string({ unit: 'grapheme', maxLength: Math.min(60, schema.maxLength ?? 60) }))
  return fc.oneof(...given)
}

const jsonText = (value: unknown): string => {
  try {
    return JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? `${inner}` : inner)) ?? ''
  } catch {
    return '{'
  }
}

const asText = (value: unknown): string =>
  Array.isArray(value)
    ? value.map(asText).join()
    : typeof value === 'object'
      ? jsonText(value)
      : String(value)

const mostly = <T>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<T>, times = 9): fc.Arbitrary<T> =>
  fc.oneof({ weight: times, arbitrary: usual }, { weight: 1, arbitrary: rare })

/** Something somewhere in a value put in the place of what was there. */
const spoilt = (value: unknown): fc.Arbitrary<unknown> => {
  const other = fc.anything({ maxDepth: 2, withNullPrototype: false })
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return other
  return fc
    .tuple(
      fc.constantFrom(...Object.keys(value)),
      fc.constantFrom('replace', 'add', 'remove'),
      other,
      hostileText,
    )
    .map(([name, how, given, key]) => {
      const copy = structuredClone(value) as Record<string, unknown>
      if (how === 'replace') copy[name] = given
      else if (how === 'remove') delete copy[name]
      else
        Object.defineProperty(copy, key, {
          value: given,
          enumerable: true,
          configurable: true,
          writable: true,
        })
      return copy
    })
}

const visible = (text: string): string => text.replaceAll(/[^\x21-\x7e]/g, '').slice(0, 3000)

// Both forms that MCP wants, too.
const accepted = [
  '*/*',
  'application/json, text/event-stream',
  'text/csv',
  'application/geo+json',
  'application/cbor',
  'application/vnd.apache.parquet',
  'text/html',
  'image/png',
]

/** Headers that count somewhere: mostly none, or such as a client would send. */
const headersOf = (secrets: readonly string[]) => {
  const hostile = hostileText.map(visible)
  const rarely = (usual: fc.Arbitrary<string>) =>
    fc.option(mostly(usual, hostile), { nil: undefined, freq: 1 })
  const keys = secrets.map((secret) => `Bearer ${secret}`)
  const authorization = mostly(
    keys.length === 0 ? fc.constant(undefined) : fc.constantFrom(...keys),
    fc.oneof(fc.constantFrom('Bearer gt_nobody', 'Basic Og=='), hostile),
    15,
  )
  return fc
    .record({
      accept: mostly(fc.constantFrom(...accepted), hostile),
      authorization,
      'if-none-match': rarely(fc.constant('*')),
      'idempotency-key': rarely(fc.uuid()),
      offer: mostly(fc.constant(undefined), hostile, 20),
      'payment-signature': mostly(fc.constant(undefined), fc.base64String({ maxLength: 80 }), 20),
      'x-api-key': mostly(fc.constant(undefined), hostile, 20),
      'accept-encoding': fc.constantFrom('gzip', 'identity', 'br;q=0'),
      range: rarely(fc.constantFrom('bytes=0-9', 'bytes=-5', 'bytes=9999999-')),
    })
    .map((all) =>
      Object.fromEntries(
        Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== undefined),
      ),
    )
}

/** Requests of one operation. `secrets` are keys that count. */
export const requestsOf = (
  document: RequestDocument,
  path: string,
  method: string,
  known: Known,
  secrets: readonly string[],
): fc.Arbitrary<Asked> => {
  const { parameters = [], requestBody } = document.paths[path]![method]!
  const text = ({ name, schema }: Parameter) =>
    mostly(valuesOf(document, schema, known, name).map(asText), hostileText)
  const pair = (parameter: Parameter) =>
    text(parameter).map((value): [name: string, value: string] => [parameter.name, value])
  const inQuery = parameters.filter((parameter) => parameter.in === 'query')
  const inPath = parameters.filter((parameter) => parameter.in === 'path')
  const oneOfQuery = inQuery.length === 0 ? [] : inQuery.map(pair)
  const query = fc.array(
    mostly(
      fc.oneof(fc.tuple(fc.constant('unknown'), fc.constant('1')), ...oneOfQuery),
      fc.tuple(hostileText, hostileText),
      15,
    ),
    { maxLength: 5 },
  )
  // Without parameters of its own an address is mostly asked without any.
  const none: fc.Arbitrary<[string, string][]> = fc.constant([])
  const asked = oneOfQuery.length === 0 ? mostly(none, query, 4) : query
  const [[kind, { schema }] = ['application/json', {}]] = Object.entries(requestBody?.content ?? {}) as [
    string,
    { readonly schema?: Schema },
  ][]
  const written = (value: unknown): string =>
    kind === 'application/json' || typeof value !== 'object' || value === null
      ? jsonText(value)
      : `${new URLSearchParams(
          Object.entries(value).map(([name, one]): [string, string] => [
            name.toWellFormed(),
            asText(one).toWellFormed(),
          ]),
        )}`
  const body =
    schema === undefined
      ? mostly(fc.constant(undefined), hostileText, 15)
      : fc.oneof(
          { weight: 6, arbitrary: valuesOf(document, schema, known).map(written) },
          { weight: 3, arbitrary: valuesOf(document, schema, known).chain(spoilt).map(written) },
          { weight: 1, arbitrary: hostileText },
          { weight: 1, arbitrary: fc.constantFrom('['.repeat(5000), `{"a":"${'x'.repeat(100_000)}"}`) },
        )
  const type = mostly(fc.constant(kind), fc.constantFrom('text/plain', '', 'application/json;x'))
  return fc
    .tuple(fc.tuple(...inPath.map(pair)), asked, headersOf(secrets), body, type)
    .map(([places, pairs, headers, body, type]) => {
      let address = path
      for (const [name, value] of places)
        address = address.replace(`{${name}}`, encodeURIComponent(value.toWellFormed()) || '%20')
      const search = new URLSearchParams(
        pairs.map(([name, value]): [string, string] => [name, value.toWellFormed()]),
      )
      const isBodied = body !== undefined && method !== 'get'
      return {
        method: method.toUpperCase(),
        address: `${address}${pairs.length === 0 ? '' : `?${search}`}`,
        headers: { ...headers, ...(isBodied ? { 'content-type': type } : {}) },
        ...(isBodied ? { body } : {}),
      }
    })
}
