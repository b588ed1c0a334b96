/** One request to a webhook: to the addresses that were looked at, by verified TLS, once, briefly, without redirects. */
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { type Address, addressesOf, type GuardOptions, parseTarget } from './guard.ts'

/** `ca` (PEM) is trusted beside the usual authorities; `timeoutMs` is for everything, looking the name up included. */
export type WebhookOptions = GuardOptions & { readonly ca?: string; readonly timeoutMs?: number }

/** What came back: a status and headers, or in a few words why nothing did. */
export type Answered =
  | {
      readonly ok: true
      readonly status: number
      readonly header: (name: string) => string | undefined
    }
  | { readonly ok: false; readonly detail: string }

const defaultTimeoutMs = 10_000

// The status says all: of a body so much is taken that its sender can end in peace.
const maxBodyBytes = 4096
const maxHeaderBytes = 8192

/** In words: what Node, OpenSSL or the system say when no answer comes. Anything else is told by its code alone. */
const causes: Readonly<Partial<Record<string, string>>> = {
  ECONNREFUSED: 'the connection is refused',
  ECONNRESET: 'the connection was cut',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  EPIPE: 'the connection was cut',
  ETIMEDOUT: 'the connection timed out',
  HPE_HEADER_OVERFLOW: `its headers are longer than ${maxHeaderBytes} bytes`,
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by nobody but itself',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate leads to an authority that is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate leads to an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate leads to an authority that is not trusted',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
}

const causeOf = (error: unknown): string => {
  const { code } = error as { code?: unknown }
  if (typeof code !== 'string') return 'no answer that is HTTP'
  return causes[code] ?? `no answer (${code})`
}

/** A request: one of two methods, headers, and a body where there is one. */
export type WebhookRequest = {
  readonly method: 'OPTIONS' | 'POST'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

const send = (
  { method, url, headers, body = '' }: WebhookRequest,
  addresses: readonly Address[],
  ca: string | undefined,
  signal: AbortSignal,
): Promise<Answered> =>
  new Promise((resolve) => {
    let answer: Answered | undefined
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(
      url,
      {
        method,
        headers: { ...headers, 'content-length': `${Buffer.byteLength(body)}`, connection: 'close' },
        // A connection of its own: one kept open could lead to where the name no longer does.
        agent: false,
        // The name stands in Host and is what the certificate is held against; the connection goes where we looked.
        lookup: (_name, { all }, done) =>
          all ? done(null, [...addresses]) : done(null, addresses[0]!.address, addresses[0]!.family),
        ...(ca === undefined ? {} : { ca }),
        maxHeaderSize: maxHeaderBytes,
        signal,
      },
      (response) => {
        const { statusCode = 0, headers } = response
        const header = (name: string) => {
          const value = headers[name]
          return Array.isArray(value) ? value[0] : value
        }
        // However the body ends, or does not: the answer has been given.
        const given: Answered = { ok: true, status: statusCode, header }
        answer = given
        let taken = 0
        response.on('data', (chunk: Buffer) => {
          taken += chunk.length
          if (taken > maxBodyBytes) request.destroy()
        })
        response.once('error', () => undefined)
        response.once('close', () => resolve(given))
      },
    )
    request.once('error', (error) => resolve(answer ?? { ok: false, detail: causeOf(error) }))
    request.end(body)
  })

/** Sends a request; never throws. Ends with the signal, too. */
export const askWebhook = async (
  request: WebhookRequest,
  options: WebhookOptions,
  signal?: AbortSignal,
): Promise<Answered> => {
  // It may have been taken when its operator allowed more.
  const target = parseTarget(request.url.href, options)
  if (!target.ok) return { ok: false, detail: `its address is not allowed any more: it ${target.detail}` }
  const { timeoutMs = defaultTimeoutMs, ca } = options
  const late: Answered = { ok: false, detail: `no answer within ${timeoutMs / 1000} s` }
  const timeout = AbortSignal.timeout(timeoutMs)
  const over = signal === undefined ? timeout : AbortSignal.any([timeout, signal])
  const ended = new Promise<undefined>((resolve) => {
    if (over.aborted) resolve(undefined)
    over.addEventListener('abort', () => resolve(undefined), { once: true })
  })
  const found = await Promise.race([addressesOf(request.url, options), ended])
  if (found === undefined) return late
  if (!found.ok) return found
  const answered = await send(request, found.addresses, ca, over)
  return !answered.ok && over.aborted ? late : answered
}

/** Asks a target whether it wants events from `origin` (CloudEvents HTTP web hooks 1.0.2, s4): why not, or how often. */
export const askPermission = async (
  url: URL,
  origin: string,
  options: WebhookOptions,
): Promise<
  { readonly ok: true; readonly perMinute: number | null } | { readonly ok: false; readonly detail: string }
> => {
  const answered = await askWebhook(
    { method: 'OPTIONS', url, headers: { 'webhook-request-origin': origin } },
    options,
  )
  if (!answered.ok) return answered
  const allowed = answered.header('webhook-allowed-origin')?.trim()
  // A status alone is no consent: many servers answer OPTIONS to everybody.
  if (allowed !== '*' && allowed?.toLowerCase() !== origin.toLowerCase())
    return {
      ok: false,
      detail: `its answer to OPTIONS (${answered.status}) has no WebHook-Allowed-Origin: ${origin}`,
    }
  const rate = answered.header('webhook-allowed-rate')?.trim() ?? '*'
  const perMinute = /^[1-9][0-9]{0,5}$/.test(rate) ? Number(rate) : null
  return { ok: true, perMinute }
}
