/** Headers of answers as /openapi.json describes them, beside those that HTTP and browsers have for everything. */

type Described = {
  readonly description: string
  readonly schema: {
    readonly type: 'string' | 'integer' | 'number'
    readonly minimum?: number
    readonly maximum?: number
    readonly format?: string
  }
}

const text = (description: string): Described => ({ description, schema: { type: 'string' } })
const count = (description: string): Described => ({ description, schema: { type: 'integer', minimum: 0 } })

/** Every header by its name. */
const known = {
  'Accept-Ranges': text('bytes: parts of it can be asked for'),
  Age: count('Seconds since this was sold, where it is given again'),
  Allow: text('Methods that work here'),
  'Anchored-Until': {
    description: 'Time (RFC 3339) until which anchored evidence reaches',
    schema: { type: 'string', format: 'date-time' },
  },
  'Budget-Alarm': count('Percent of the key’s budget that are spent, once its alarm is reached'),
  'Budget-Remaining': count('Micro-USD that the key may still spend, where it has a budget'),
  'Content-Digest': text('SHA-256 of the body (RFC 9530), where readings are sold; receipts name the same'),
  'Content-Disposition': text('A name for the file'),
  'Content-Range': text('Which bytes these are, and of how many'),
  'Credits-Remaining': count('Micro-USD of credit after this sale'),
  ETag: text('A tag that changes when the answer does'),
  Link: text('rel="next" where there is more'),
  Location: text('Where it is'),
  'Payment-Required': text('What a payment on the spot has to be (x402 v2), base64'),
  'Payment-Response': text('What became of a payment on the spot (x402 v2), base64'),
  Price: count('What this cost in micro-USD, where readings are sold; of HEAD what it would cost'),
  RateLimit: text('Requests that are left, and seconds until all are back'),
  'RateLimit-Policy': text('How many requests are answered in how many seconds'),
  'Receipt-Id': text('The receipt of this sale, at /v1/receipts/{id}'),
  'Repr-Digest': text('SHA-256 of the whole file (RFC 9530)'),
  'Retry-After': count('Seconds until it is worth asking again'),
  'SLA-Credit': count(
    'Micro-USD of the price that were credited, as less is there than is promised (/v1/sla)',
  ),
  'SLA-Reached': {
    description: 'Part of what was expected that is there, rounded down, where the answer was measured',
    schema: { type: 'number', minimum: 0, maximum: 1 },
  },
  'WWW-Authenticate': text('How a key is sent'),
  'X-Influxdb-Version': text('Version of InfluxDB whose language may be spoken, and of this hub'),
} as const satisfies Record<string, Described>

export type HeaderName = keyof typeof known

/** These headers, described; an answer may be without them. */
export const headers = (...names: readonly HeaderName[]): Record<string, Described> =>
  Object.fromEntries(names.map((name) => [name, known[name]]))

/** Headers of an answer that may be sold. */
export const soldHeaders = [
  'Budget-Alarm',
  'Budget-Remaining',
  'Content-Digest',
  'Credits-Remaining',
  'Payment-Response',
  'Price',
  'Receipt-Id',
  'SLA-Credit',
  'SLA-Reached',
] as const satisfies readonly HeaderName[]

/** The answer to whoever has it already (RFC 9110 s15.4.5). */
export const notModified = {
  304: {
    description: 'It is still what If-None-Match names; costs nothing',
    headers: headers('Accept-Ranges', 'ETag', 'Link', 'Price', 'Repr-Digest'),
  },
} as const

type Operations = { readonly [method: string]: unknown }

/** Adds headers to every answer of a description, as they come with whatever is asked. */
export const addToAll = (paths: Readonly<Record<string, object>>, names: readonly HeaderName[]): void => {
  for (const operations of Object.values(paths))
    for (const operation of Object.values(operations as Operations))
      for (const response of Object.values((operation as { responses?: object }).responses ?? {}))
        response.headers = { ...response.headers, ...headers(...names) }
}
