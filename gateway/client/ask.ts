/** Asks a hub over HTTP: with bounds on size and time, and again where the network or a busy hub failed. */
import { readBody } from '../verify/body.ts'
import { HubDistrusted, HubProblem, HubUnreachable, type PaymentDue } from './errors.ts'

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** A whole answer; the body is as it was before any content coding. */
export type Answer = {
  readonly status: number
  readonly headers: Headers
  readonly body: Uint8Array<ArrayBuffer>
}

export type Asked = {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly json?: unknown
  /** Bytes of the answer that are read, at most. */
  readonly mostBytes?: number
  readonly signal?: AbortSignal | undefined
  /** How it is sent, where not by the client's own fetch. */
  readonly fetch?: Fetch
  /** False sends no key. */
  readonly withKey?: boolean
  /** Whether it may be sent again after this answer, or after none; without it everything may. */
  readonly mayRepeat?: (answer: Answer | undefined) => boolean
}

export type Ask = (path: string, asked?: Asked) => Promise<Answer>

/** Sends a request and gives the answer as it begins. */
export type Send = (path: string, asked: Asked) => Promise<Response>

// Statuses, receipts, problems: the largest receipt names 10,000 stations.
const usualBytes = 4 * 1024 * 1024

// A hub ends its own work after 30 s; the rest is for a slow line.
const answerMs = 120_000

/** Before something is asked for again: half a second, twice as long each time, and never more than a minute. */
export const firstPauseMs = 500
export const longestPauseMs = 60_000

const passing = new Set([429, 502, 503, 504])

/** Waits; rejects as soon as the signal aborts. */
export const pause = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer)
      reject(signal!.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', end)
      resolve()
    }, ms)
    if (signal?.aborted) end()
    else signal?.addEventListener('abort', end, { once: true })
  })

/** What a hub says, as it is shown to people: no control characters, and not endless; nothing for what is no text. */
export const plain = (value: unknown): string =>
  typeof value === 'string' ? value.replaceAll(/\p{C}+/gu, ' ').slice(0, 500) : ''

// Money is whole micro-USD, and a bigint as soon as it is read.
const withMoney = (name: string, value: unknown): unknown =>
  name.endsWith('MicroUsd') && Number.isSafeInteger(value) ? BigInt(value as number) : value

/** The value of a JSON text, with money as bigint; undefined where it is none. */
export const jsonIn = (text: string): unknown => {
  try {
    return JSON.parse(text, withMoney)
  } catch {
    return undefined
  }
}

/** The same of a body. */
export const jsonOf = (body: Uint8Array): unknown => jsonIn(new TextDecoder().decode(body))

type Loose = Readonly<Record<string, unknown>>

/** Whether a value is an object with members. */
export const isObject = (value: unknown): value is Loose =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const paymentOf = (said: unknown): PaymentDue | undefined =>
  isObject(said) && typeof said.priceMicroUsd === 'bigint' ? (said as PaymentDue) : undefined

/** Seconds of Retry-After; undefined without one. */
const retryAfterS = ({ headers }: Answer): number | undefined => {
  const text = headers.get('retry-after') ?? ''
  return /^\d{1,6}$/.test(text) ? Number(text) : undefined
}

/** A parameter of the link to the next page; of its address nothing else counts. Undefined where there is none. */
export const linked = ({ headers }: Answer, parameter: string): string | undefined => {
  const target = /<([^<>]{1,8192})>\s*;\s*rel="?next"?/.exec(headers.get('link') ?? '')?.[1]
  return (target && URL.parse(target, 'http://hub.invalid')?.searchParams.get(parameter)) || undefined
}

/** A problem as a hub wrote it; `status` is told where it says none itself. */
export const problemIn = (said: unknown, status: number, retryAfter?: number): HubProblem => {
  const retry = retryAfter === undefined ? {} : { retryAfterS: retryAfter }
  if (!isObject(said) || typeof said.type !== 'string')
    return new HubProblem('unknown', {
      title: `The hub answers ${status}`,
      status,
      detail: 'it does not say why',
      help: '',
      ...retry,
    })
  const payment = paymentOf(said.payment)
  const fields = Array.isArray(said.fields) ? said.fields.filter(isObject).slice(0, 10) : []
  return new HubProblem(plain(said.type.split('/').at(-1)), {
    title: plain(said.title),
    status: Number.isSafeInteger(said.status) ? (said.status as number) : status,
    detail: plain(said.detail),
    help: plain(said.help),
    fields: fields.map(({ name, detail }) => ({ name: plain(name), detail: plain(detail) })),
    ...retry,
    ...(payment === undefined ? {} : { payment }),
  })
}

/** What an answer that is no success says. */
export const problemOf = (answer: Answer): HubProblem =>
  problemIn(jsonOf(answer.body), answer.status, retryAfterS(answer))

/** The JSON object of a successful answer. `isThat` looks at the members that are relied on. */
export const objectIn = <T>(answer: Answer, isThat: (value: Loose) => boolean): T => {
  if (answer.status < 200 || answer.status > 202) throw problemOf(answer)
  const said = jsonOf(answer.body)
  if (!isObject(said) || !isThat(said))
    throw new HubDistrusted(
      'this is no answer of a Groundtruth hub, or one of another version: check the url',
    )
  return said as T
}

/** The root of a hub's API, without a slash at its end; throws a TypeError for anything else. */
export const hubRoot = (text: string): string => {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    throw new TypeError(`url takes the address of a hub as https://hub.example, not ${text}`)
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

export type SendOptions = {
  readonly root: string
  readonly fetch: Fetch
  readonly key: () => string | undefined
}

/** Sends one request to the hub at `root`. A key is never sent anywhere else: redirects are not followed. */
export const senderOf =
  ({ root, fetch, key }: SendOptions): Send =>
  async (path, asked) => {
    const { method = 'GET', json, signal = null, withKey = true } = asked
    const secret = withKey ? key() : undefined
    const response = await (asked.fetch ?? fetch)(`${root}${path}`, {
      method,
      headers: {
        ...asked.headers,
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...(secret === undefined ? {} : { authorization: `Bearer ${secret}` }),
      },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      redirect: 'manual',
      signal,
    })
    const { status, type } = response
    if (type === 'opaqueredirect' || (status >= 300 && status < 400))
      throw new HubDistrusted('the hub sends us on to another address: give that as url')
    return response
  }

/**
 * Asks with a sender. What failed on the way, or is told to come again, is asked for again with the same headers: whoever
 * buys sends an Idempotency-Key in them.
 */
export const askerOf = (send: Send, tries: number): Ask => {
  const once = async (path: string, asked: Asked): Promise<Answer> => {
    const { mostBytes = usualBytes, signal } = asked
    const deadline = AbortSignal.timeout(answerMs)
    const response = await send(path, {
      ...asked,
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
    })
    const { status, headers } = response
    const body = await readBody(response, mostBytes)
    if (body === undefined) throw new HubDistrusted(`the hub sends more than ${mostBytes} bytes`)
    return { status, headers, body }
  }
  return async (path, asked = {}) => {
    const { signal, mayRepeat = () => true } = asked
    for (let count = 1; ; count++) {
      let waitMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (count - 1))
      try {
        const answer = await once(path, asked)
        if (count >= tries || !passing.has(answer.status) || !mayRepeat(answer)) return answer
        waitMs = Math.min(longestPauseMs, Math.max(waitMs, (retryAfterS(answer) ?? 0) * 1000))
      } catch (error) {
        // fetch names every failure of the network alike, and keeps the reason in its cause.
        const { name, message, cause } = error as Error
        if (!(error instanceof TypeError) && name !== 'TimeoutError') throw error
        if (count >= tries || !mayRepeat(undefined))
          throw new HubUnreachable(
            `the hub cannot be reached: ${cause instanceof Error ? cause.message : message}`,
            { cause: error },
          )
      }
      await pause(waitMs, signal)
    }
  }
}
