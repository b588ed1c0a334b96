/** Asks a hub over HTTP: with bounds on size and time, and again where the network or a busy hub failed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { exitCodes } from '../exit.ts'

/** Why a purchase ends, in words for a person, and the exit code it ends with. */
export class BuyingError extends Error {
  override name = 'BuyingError'
  readonly code: number
  constructor(message: string, code: number = exitCodes.failed) {
    super(message)
    this.code = code
  }
}

/** A whole answer; the body is as it was before any content coding. */
export type Answer = {
  readonly status: number
  readonly headers: Headers
  readonly body: Uint8Array
}

export type Asked = {
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  /** Bytes of the answer that are read, at most. */
  readonly mostBytes?: number
}

export type Ask = (path: string, asked?: Asked) => Promise<Answer>

// Statuses, receipts, problems: the largest receipt names 10,000 stations.
const usualBytes = 4 * 1024 * 1024

// A hub ends its own work after 30 s; the rest is for a slow line.
const answerMs = 120_000

// Together about half a minute: as long as a hub takes to start again.
const pausesMs = [500, 1000, 2000, 4000, 8000, 16_000]
const longestPauseMs = 60_000

const passing = new Set([429, 502, 503, 504])

/** Text from outside for a terminal: no control characters, and not endless. */
export const plain = (text: string): string => text.replaceAll(/\p{C}+/gu, ' ').slice(0, 500)

const problemForm = z.object({
  type: z.string(),
  title: z.string(),
  detail: z.string().default(''),
  help: z.string().default(''),
  fields: z.array(z.object({ name: z.string(), detail: z.string() })).default([]),
})

const jsonOf = (body: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'))
  } catch {
    return undefined
  }
}

/** The last part of a problem's type; undefined where the answer is no problem. */
export const problemOf = ({ body }: Answer): string | undefined => {
  const read = problemForm.safeParse(jsonOf(body))
  return read.success ? read.data.type.split('/').at(-1) : undefined
}

/** What an answer that is no success says, and the exit code for it. */
export const refusalOf = (answer: Answer): BuyingError => {
  const { status, body } = answer
  const code = status >= 500 || status === 429 ? exitCodes.unavailable : status === 400 ? exitCodes.usage : 1
  const read = problemForm.safeParse(jsonOf(body))
  if (!read.success) return new BuyingError(`the hub answers ${status}, and does not say why`, code)
  const { title, detail, help, fields } = read.data
  const lines = [
    `${title}: ${detail}`,
    ...fields.slice(0, 10).map(({ name, detail }) => `${name} ${detail}`),
    help,
  ]
  return new BuyingError(lines.map(plain).join('\n'), code)
}

/** The JSON of a successful answer, checked. */
export const readJson = <T extends z.ZodType>(answer: Answer, form: T): z.output<T> => {
  if (answer.status !== 200) throw refusalOf(answer)
  const read = form.safeParse(jsonOf(answer.body))
  if (!read.success)
    throw new BuyingError('this is no Groundtruth hub, or one of another version: check --hub')
  return read.data
}

/** Seconds of Retry-After as milliseconds; undefined without one. */
export const retryAfterMs = ({ headers }: Pick<Answer, 'headers'>): number | undefined => {
  const text = headers.get('retry-after') ?? ''
  return /^\d{1,6}$/.test(text) ? Number(text) * 1000 : undefined
}

const readBody = async (response: Response, most: number): Promise<Uint8Array> => {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    if (length > most) throw new BuyingError(`the hub sends more than ${most} bytes, which are not read`)
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

/** The root of a hub's API, without a slash at its end; a usage error for anything else. */
export const hubAddress = (text: string): { readonly root: string; readonly isOpen: boolean } => {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    throw new BuyingError(`--hub takes an address as https://hub.example, not ${text}`, exitCodes.usage)
  return {
    root: `${url.origin}${url.pathname.replace(/\/+$/, '')}`,
    isOpen: url.protocol === 'http:' && !loopback.test(url.hostname),
  }
}

/**
 * Asks the hub at `root`. What failed on the way, or is told to come again, is asked for again with the same headers:
 * whoever buys sends an Idempotency-Key in them. A key is never sent anywhere else: redirects are not followed.
 */
export const askerOf = (root: string, key: string | undefined): Ask => {
  const once = async (path: string, { method = 'GET', headers = {}, mostBytes = usualBytes }: Asked) => {
    const response = await fetch(`${root}${path}`, {
      method,
      headers: { ...headers, ...(key === undefined ? {} : { authorization: `Bearer ${key}` }) },
      redirect: 'manual',
      signal: AbortSignal.timeout(answerMs),
    })
    const { status } = response
    if (status >= 300 && status < 400)
      throw new BuyingError(`the hub sends us on to ${plain(response.headers.get('location') ?? '?')}`)
    return { status, headers: response.headers, body: await readBody(response, mostBytes) }
  }
  return async (path, asked = {}) => {
    for (const pauseMs of [...pausesMs, undefined]) {
      let waitMs = pauseMs
      try {
        const answer = await once(path, asked)
        if (pauseMs === undefined || !passing.has(answer.status)) return answer
        waitMs = Math.min(longestPauseMs, Math.max(pauseMs, retryAfterMs(answer) ?? 0))
      } catch (error) {
        if (error instanceof BuyingError) throw error
        // fetch names every failure of the network alike, and keeps the reason in its cause.
        const { message, cause } = error as Error
        if (pauseMs === undefined)
          throw new BuyingError(
            `${root} cannot be reached: ${cause instanceof Error ? cause.message : message}`,
            exitCodes.unavailable,
          )
      }
      await sleep(waitMs)
    }
    throw new Error('unreachable: the last round returns or throws')
  }
}
