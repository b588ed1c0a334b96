/** Problems: every error answer of the API, as problem+json (RFC 9457) with a `type` that never changes. */

/** What can go wrong. The key is the last part of `type` and is never renamed; `help` is the reader's next step. */
export const problems = {
  'invalid-query': {
    status: 400,
    title: 'A parameter cannot be used as given',
    help: 'Look at "fields": each names a parameter and says what it takes. /docs lists them all.',
  },
  'query-not-answered': {
    status: 400,
    title: 'This InfluxQL is not answered here',
    help: 'SELECT and SHOW over the measurement "readings" are answered; "detail" says what of them.',
  },
  'bad-request': {
    status: 400,
    title: 'The request cannot be read',
    help: 'Send a plain HTTP/1.1 GET; a body, where one is expected, is JSON.',
  },
  'key-invalid': {
    status: 401,
    title: 'The API key does not count',
    help: 'Send it as "Authorization: Bearer gt_...". POST /v1/keys makes a new one.',
  },
  'payment-required': {
    status: 402,
    title: 'This has to be paid for',
    help: 'Get a key with POST /v1/keys and put credit on it; "payment" says what this costs. With a header PAYMENT-REQUIRED (x402) it can be paid on the spot. GET /v1/sample shows some readings for nothing.',
  },
  'payment-invalid': {
    status: 402,
    title: 'The payment cannot be taken',
    help: 'Nothing was charged. "detail" says what is wrong; the header PAYMENT-REQUIRED says what is asked for.',
  },
  'payment-failed': {
    status: 402,
    title: 'The payment did not go through',
    help: 'Nothing was served. "detail" says where the money is; what reached the hub is credit of the wallet and pays first.',
  },
  'credit-exhausted': {
    status: 402,
    title: 'There is not enough credit',
    help: 'Add credit to the account, or ask for less; nothing was charged for this.',
  },
  'budget-exhausted': {
    status: 402,
    title: 'The budget of this key is used up',
    help: 'Use another key of the account, or ask for less; nothing was charged for this.',
  },
  'key-scope': {
    status: 403,
    title: 'This key may not do that',
    help: 'Make a key with the scope that "detail" names.',
  },
  'webhook-invalid': {
    status: 400,
    title: 'This event does not count',
    help: 'Only events that the card service signs, of sessions that were opened here, are booked.',
  },
  'not-found': {
    status: 404,
    title: 'There is nothing here',
    help: 'See /docs for what there is, and /v1/stations for the stations.',
  },
  'export-expired': {
    status: 410,
    title: 'This export is not kept any more',
    help: 'POST the same to /v1/exports again, with "from" and "to" as "detail" has them: what was paid is made again for nothing.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'This method does not work here',
    help: 'The Allow header names the methods that do.',
  },
  'not-acceptable': {
    status: 406,
    title: 'None of the accepted formats is on offer',
    help: 'Send an Accept header with one of the formats listed, or add format= to the query.',
  },
  'request-timeout': {
    status: 408,
    title: 'The request took too long to arrive',
    help: 'Send it at once.',
  },
  'not-anchored-yet': {
    status: 409,
    title: 'Nothing of this is anchored yet',
    help: 'Readings are anchored in batches: ask again after Retry-After seconds.',
  },
  'idempotency-conflict': {
    status: 409,
    title: 'This Idempotency-Key belongs to another request',
    help: 'Take a new key for a new request; the old one gives the old answer.',
  },
  'offer-invalid': {
    status: 409,
    title: 'The offer does not hold for this',
    help: 'Get a new one with POST /v1/quotes for exactly this query.',
  },
  'webhook-early': {
    status: 409,
    title: 'What this event follows has not been told yet',
    help: 'Send it again after Retry-After seconds.',
  },
  'too-many-subscriptions': {
    status: 409,
    title: 'There are too many subscriptions',
    help: 'End one with DELETE /v1/subscriptions/{id}, or ask for more in one.',
  },
  'webhook-unwilling': {
    status: 422,
    title: 'The webhook has not said that it wants events',
    help: 'It must be reachable by https at a public address, and answer OPTIONS with WebHook-Allowed-Origin: * (CloudEvents HTTP 1.1 Web Hooks, section 4).',
  },
  'stream-behind': {
    status: 410,
    title: 'The stream is too far behind',
    help: 'Fetch what is missing from /v1/readings with "from"; then open the stream without Last-Event-ID.',
  },
  'query-too-large': {
    status: 413,
    title: 'The query would touch too much at once',
    help: 'Change the parameter named in "fields", or page through with limit and cursor; POST /v1/exports is for more.',
  },
  'body-too-large': {
    status: 413,
    title: 'The body is too large',
    help: 'Send less at once: "detail" says how much is read.',
  },
  'unsupported-media-type': {
    status: 415,
    title: 'The body is of a kind that is not read here',
    help: 'Send what "detail" names, with its Content-Type.',
  },
  'uri-too-long': { status: 414, title: 'The address is too long', help: 'Ask for fewer names at once.' },
  'precondition-failed': {
    status: 412,
    title: 'The file is another one',
    help: 'Its entity tag is not the one in If-Match: fetch it anew, from its beginning.',
  },
  'range-not-satisfiable': {
    status: 416,
    title: 'The file has no such part',
    help: 'Content-Range says how long it is; "Range: bytes=N-" gives what follows byte N.',
  },
  'headers-too-large': { status: 431, title: 'The headers are too large', help: 'Send fewer of them.' },
  'internal-error': {
    status: 500,
    title: 'The hub made a mistake',
    help: 'It is in the hub’s log under the time of this answer; tell its operator.',
  },
  'not-implemented': {
    status: 501,
    title: 'This part of a standard is not offered here',
    help: 'Ask in one of the ways that "detail" names, or take /v1/readings.',
  },
  'evidence-damaged': {
    status: 500,
    title: 'Evidence was damaged on the hub’s disk',
    help: 'What remains can still be proved: ask for a shorter time beside the damage, and tell the operator.',
  },
  'store-unavailable': {
    status: 503,
    title: 'The time series store does not answer',
    help: 'No reading is lost by this. Ask again after Retry-After seconds.',
  },
  'logins-unavailable': {
    status: 501,
    title: 'This hub has no MQTT logins',
    help: 'Take a webhook, or /v1/readings: logins are given by hubs whose broker is their own.',
  },
  'checkout-unavailable': {
    status: 503,
    title: 'The card service does not answer',
    help: 'Nothing was paid. Ask again after Retry-After seconds.',
  },
  'exports-full': {
    status: 503,
    title: 'There is no room for another export',
    help: 'DELETE one of yours, or ask again after Retry-After seconds.',
  },
  'rate-limited': {
    status: 429,
    title: 'Too many requests',
    help: 'Ask again after Retry-After seconds.',
  },
  'too-many-streams': {
    status: 429,
    title: 'Too many streams by one reader',
    help: 'End one of them. One stream can be of many stations: repeat "station", or name an area.',
  },
  'hub-stopping': {
    status: 503,
    title: 'The hub is stopped or started anew',
    help: 'Connect again in a moment with the header Last-Event-ID: nothing is lost, and nothing comes twice.',
  },
  'settlement-pending': {
    status: 503,
    title: 'The payment is on its way',
    help: 'Ask again after Retry-After seconds, with the same signature. Never sign again: that would be another payment.',
  },
  'settlement-unavailable': {
    status: 503,
    title: 'Payments cannot be settled just now',
    help: 'The payment was not taken: the same signature works later. An API key with credit works now.',
  },
  busy: {
    status: 503,
    title: 'Too many large queries are under way',
    help: 'Ask again after Retry-After seconds, with a smaller limit.',
  },
} as const satisfies Record<string, { status: number; title: string; help: string }>

export type ProblemSlug = keyof typeof problems

export const problemSlugs = Object.keys(problems) as [ProblemSlug, ...ProblemSlug[]]

/** One parameter that was wrong, and how. */
export type FieldFault = { readonly name: string; readonly detail: string }

/** What has to be paid, in micro-USD; `offer` is a signed offer of that price. */
export type PaymentDue = {
  readonly priceMicroUsd: number
  readonly priceUsd: string
  readonly balanceMicroUsd?: number
  readonly offer?: string
  readonly offerExpires?: string
}

/** What a problem may say beside its slug. `retryAfterS` also becomes the Retry-After header. */
export type ProblemExtras = {
  readonly fields?: readonly FieldFault[]
  readonly retryAfterS?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly payment?: PaymentDue
}

/** A problem as a value: what the query core answers instead of rows. */
export type Fault = {
  readonly ok: false
  readonly slug: ProblemSlug
  readonly detail: string
} & ProblemExtras

export const fault = (slug: ProblemSlug, detail: string, extras: ProblemExtras = {}): Fault => ({
  ok: false,
  slug,
  detail,
  ...extras,
})

/** A fault on its way out of a route; only the API's error handler catches it. */
export class Problem extends Error {
  override name = 'Problem'
  readonly fault: Fault
  constructor(fault: Fault) {
    super(`${fault.slug}: ${fault.detail}`)
    this.fault = fault
  }
}

/** The value of an outcome; throws its fault as a Problem. */
export const orProblem = <T extends { readonly ok: true }>(outcome: T | Fault): T => {
  if (!outcome.ok) throw new Problem(outcome)
  return outcome
}

// A hostile name or value comes back in an error; nobody needs more of it than this.
const maxEchoLength = 300

const cut = (text: string): string =>
  text.length <= maxEchoLength ? text : `${text.slice(0, maxEchoLength)}...`

/** The problem's JSON members. `type` is relative to the API's root and answers a description there. */
export const problemBody = ({ slug, detail, fields, retryAfterS, payment }: Fault) => ({
  type: `/problems/${slug}`,
  title: problems[slug].title,
  status: problems[slug].status,
  detail: cut(detail),
  help: problems[slug].help,
  ...(fields === undefined
    ? {}
    : { fields: fields.map(({ name, detail }) => ({ name: cut(name), detail: cut(detail) })) }),
  ...(retryAfterS === undefined ? {} : { retryAfterS: retryAfterS }),
  ...(payment === undefined ? {} : { payment }),
})

export const problemContentType = 'application/problem+json'

export const problemResponse = (fault: Fault): Response =>
  new Response(JSON.stringify(problemBody(fault)), {
    status: problems[fault.slug].status,
    headers: {
      'content-type': problemContentType,
      'cache-control': 'no-store',
      ...(fault.retryAfterS === undefined ? {} : { 'retry-after': `${fault.retryAfterS}` }),
      ...fault.headers,
    },
  })
