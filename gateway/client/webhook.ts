/** Webhooks as a hub sends them: checks who sent one (Standard Webhooks, spec/standard-webhooks.md) and gives its readings. */
import { concatBytes } from '../reading/bytes.ts'
import { type SignatureTrust, signatureCheck, signaturesIn } from '../reading/webhook-signature.ts'
import type { ReadingRow } from './answers.ts'
import { isObject, jsonIn } from './ask.ts'

/** A reading as CloudEvent 1.0. The same reading has the same `source` and `id` whenever it is sent. */
export type ReadingEvent = {
  readonly specversion: '1.0'
  readonly id: string
  readonly source: string
  readonly type: 'groundtruth.reading.v1'
  /** Station and sensor. */
  readonly subject: string
  /** RFC 3339, UTC. */
  readonly time: string
  readonly datacontenttype: string
  readonly data: ReadingRow
}

/**
 * What is trusted: the secret of the subscription (`whsec_...`), or the hub's public key (`whpk_...`, or 64 hex digits).
 * The hub signs with its key for all receivers: give `subscription`, the id of one's own, to take no message that another
 * receiver was sent.
 */
export type WebhookTrust = SignatureTrust & { readonly subscription?: string }

/** Headers as in a Request, or as Node has them. */
export type WebhookHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>

/**
 * The events of a message, and its id: the same when it is sent again. Or what is wrong: `headers` that are none of a
 * signed message, a `timestamp` more than five minutes off, another `subscription`'s, no `signature` that holds, or a
 * body that is signed and holds no `events`.
 */
export type CheckedWebhook =
  | {
      readonly ok: true
      readonly id: string
      /** UTC ms. */
      readonly sentMs: number
      readonly events: readonly ReadingEvent[]
    }
  | {
      readonly ok: false
      readonly reason: 'headers' | 'timestamp' | 'subscription' | 'signature' | 'events'
      readonly detail: string
    }

const toleranceMs = 300_000

const utf8 = new TextEncoder()

const headerIn = (headers: WebhookHeaders, name: string): string => {
  // Not every Headers is the platform's own.
  if (typeof headers.get === 'function') return headers.get(name) ?? ''
  const found = Object.entries(headers).find(([given]) => given.toLowerCase() === name)?.[1]
  return typeof found === 'string' ? found : ''
}

const isEvent = (said: unknown): said is ReadingEvent =>
  isObject(said) &&
  said.specversion === '1.0' &&
  said.type === 'groundtruth.reading.v1' &&
  [said.id, said.source, said.subject, said.time].every((one) => typeof one === 'string') &&
  isObject(said.data) &&
  isObject(said.data.values) &&
  isObject(said.data.proof)

/**
 * Checks a message of a hub. `body` is what came, before anything is made of it: text that was parsed and written again is
 * other text. Answer with 2xx only what is `ok`. `nowMs` (UTC) is the receiver's clock, where not the platform's. Throws a
 * TypeError for a secret or a key that is none.
 */
export const verifyWebhook = (
  headers: WebhookHeaders,
  body: string | Uint8Array,
  trust: WebhookTrust,
  { nowMs = Date.now() }: { readonly nowMs?: number } = {},
): CheckedWebhook => {
  const { version, isSigned } = signatureCheck(trust)
  const bad = (reason: Extract<CheckedWebhook, { ok: false }>['reason'], detail: string): CheckedWebhook => ({
    ok: false,
    reason,
    detail,
  })
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    headerIn(headers, name),
  ) as [string, string, string]
  // A full stop in the id would let id, time and body be cut elsewhere.
  if (!/^[\x21-\x2d\x2f-\x7e]{1,256}$/.test(id)) return bad('headers', 'there is no webhook-id')
  if (!/^[0-9]{1,11}$/.test(timestamp)) return bad('headers', 'there is no webhook-timestamp in seconds')
  const given = signaturesIn(signatures, version)
  if (given.length === 0) return bad('headers', `webhook-signature has no signature of ${version}`)
  const sentMs = Number(timestamp) * 1000
  if (Math.abs(nowMs - sentMs) > toleranceMs)
    return bad(
      'timestamp',
      `it says it was sent at ${new Date(sentMs).toISOString()}: look at the clock, or it is an old one again`,
    )
  const bytes = typeof body === 'string' ? utf8.encode(body) : body
  if (!isSigned(concatBytes(utf8.encode(`${id}.${timestamp}.`), bytes), given))
    return bad('signature', 'it is not signed by whom you trust, or not as it came: check the raw body')
  if (trust.subscription !== undefined && !id.startsWith(`${trust.subscription}_`))
    return bad('subscription', 'the hub sent it to another receiver')
  const said = jsonIn(typeof body === 'string' ? body : new TextDecoder().decode(body))
  const events = Array.isArray(said) ? said : [said]
  return events.length > 0 && events.every(isEvent)
    ? { ok: true, id, sentMs, events }
    : bad('events', 'it is signed, and not of readings: this receiver is of an older version')
}
