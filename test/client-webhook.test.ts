import { describe, expect, test } from 'vitest'
import { verifyWebhook, type WebhookHeaders, type WebhookTrust } from '#gateway/client/client.ts'
import { eventBody } from '#gateway/market/subscriptions/cloud-event.ts'
import { publicKeyText, secretText, signedHeaders } from '#gateway/market/subscriptions/signature.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { newSigner } from '#test/station.ts'
import { publishedWebhook } from '#test/webhook-vector.ts'

const hub = newSigner()
const secretBytes = new Uint8Array(32).fill(7)
const bySecret = { secret: secretText(secretBytes) }
const byKey = { hubKey: publicKeyText(hub.publicKey) }
const timestampS = 1_764_158_400
const now = { nowMs: timestampS * 1000 }
const id = 'sub_0123456789abcdef_3-0_3-0'

const row = {
  station: 'a'.repeat(32),
  sensor: 'garden',
  model: 'scd41 \u{1f4a7}',
  time: '2025-11-26T12:00:00.000Z',
  values: { temperature: 21.5, humidity: null },
  absent: { humidity: 'out-of-range' },
  quality: { score: 1, flags: [], rules: 'test.1' },
  proof: { seq: 3, place: 0, status: 'pending' },
} as const
const rows = [
  { index: 3, place: 0, row },
  { index: 4, place: 0, row },
] as const
const { body } = eventBody('urn:groundtruth:test', rows, false)
const headers = signedHeaders({ id, timestampS, body }, secretBytes, hub)

const reasonOf = (given: WebhookHeaders, text: string | Uint8Array, trust: WebhookTrust, when = now) => {
  const checked = verifyWebhook(given, text, trust, when)
  return checked.ok ? 'ok' : checked.reason
}
const trusts = [
  ['the secret', bySecret],
  ['the hub’s key', byKey],
] as const

describe.each(trusts)('a webhook that is checked by %s', (_, trust) => {
  test('gives the readings that the hub sent, whichever way it comes', () => {
    const upper = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.toUpperCase(), value]),
    )
    for (const given of [headers, new Headers(headers), upper])
      for (const text of [body, new TextEncoder().encode(body)])
        expect(verifyWebhook(given, text, trust, now)).toEqual({
          ok: true,
          id,
          sentMs: now.nowMs,
          events: JSON.parse(body),
        })
    const single = eventBody('urn:groundtruth:test', rows, true).body
    const alone = verifyWebhook(
      signedHeaders({ id, timestampS, body: single }, secretBytes, hub),
      single,
      trust,
      now,
    )
    expect(alone.ok && alone.events.map(({ data }) => data.values)).toEqual([row.values])
  })

  test('is refused where anything of it is other than it was signed', () => {
    expect(reasonOf(headers, body.replace('21.5', '21.6'), trust)).toBe('signature')
    expect(reasonOf(headers, `${body} `, trust)).toBe('signature')
    expect(reasonOf({ ...headers, 'webhook-id': `${id}0` }, body, trust)).toBe('signature')
    expect(reasonOf({ ...headers, 'webhook-timestamp': `${timestampS + 1}` }, body, trust)).toBe('signature')
    const [mac, signature] = headers['webhook-signature'].split(' ') as [string, string]
    const one = mac.startsWith('v1,') && trust === bySecret ? mac : signature
    const [version, text] = one.split(',') as [string, string]
    const bytes = Buffer.from(text, 'base64')
    for (let at = 0; at < bytes.length; at++) {
      const other = Buffer.from(bytes)
      other[at]! ^= 1
      const forged = { ...headers, 'webhook-signature': `${version},${other.toString('base64')}` }
      expect(reasonOf(forged, body, trust)).toBe('signature')
    }
    for (const wrong of [text.slice(0, 24), Buffer.concat([bytes, bytes]).toString('base64'), 'AAAA'])
      expect(reasonOf({ ...headers, 'webhook-signature': `${version},${wrong}` }, body, trust)).toBe(
        'signature',
      )
  })

  test('is refused without one of its headers, or with one that is none', () => {
    for (const name of ['webhook-id', 'webhook-timestamp', 'webhook-signature'] as const) {
      expect(reasonOf({ ...headers, [name]: undefined }, body, trust)).toBe('headers')
      expect(reasonOf({ ...headers, [name]: [headers[name], headers[name]] }, body, trust)).toBe('headers')
    }
    expect(reasonOf({ ...headers, 'webhook-signature': 'v1,?? v1a,?? v2,AAAA' }, body, trust)).toBe('headers')
    for (const timestamp of ['-1', '1e9', `${timestampS}.5`, ` ${timestampS}`])
      expect(reasonOf({ ...headers, 'webhook-timestamp': timestamp }, body, trust)).toBe('headers')
    // What is signed could be cut elsewhere: an id that ends with time, and a body that begins with it.
    const longer = { id: `${id}.${timestampS}`, timestampS, body }
    expect(reasonOf(signedHeaders(longer, secretBytes, hub), body, trust)).toBe('headers')
  })

  test('is taken for five minutes before and after its time, and no longer', () => {
    for (const [offMs, said] of [
      [300_000, 'ok'],
      [300_001, 'timestamp'],
      [-300_000, 'ok'],
      [-300_001, 'timestamp'],
    ] as const)
      expect([offMs, reasonOf(headers, body, trust, { nowMs: now.nowMs + offMs })]).toEqual([offMs, said])
    // By the clock of the platform, where none is given.
    expect(verifyWebhook(headers, body, trust)).toMatchObject({ ok: false, reason: 'timestamp' })
    const fresh = signedHeaders({ id, timestampS: Math.floor(Date.now() / 1000), body }, secretBytes, hub)
    expect(verifyWebhook(fresh, body, trust).ok).toBe(true)
  })

  test('may have several signatures, of which one has to hold, and not endlessly many', () => {
    const others = (count: number) =>
      Array.from({ length: count }, () => `v1,${'A'.repeat(43)}= v1a,AAAA`).join(' ')
    const among = (count: number) => ({
      ...headers,
      'webhook-signature': `${others(count)} ${headers['webhook-signature']}`,
    })
    expect(reasonOf(among(3), body, trust)).toBe('ok')
    expect(reasonOf(among(100), body, trust)).not.toBe('ok')
  })

  test('that is signed and holds no readings is told apart', () => {
    const [event] = JSON.parse(body) as [Record<string, unknown>]
    for (const other of [
      'no json',
      '[]',
      'null',
      JSON.stringify({ ...event, specversion: '2.0' }),
      JSON.stringify([event, { ...event, type: 'groundtruth.other.v1' }]),
      JSON.stringify({ ...event, data: 1 }),
    ])
      expect(reasonOf(signedHeaders({ id, timestampS, body: other }, secretBytes, hub), other, trust)).toBe(
        'events',
      )
  })

  test('for another subscription is refused where one is named', () => {
    expect(reasonOf(headers, body, { ...trust, subscription: 'sub_0123456789abcdef' })).toBe('ok')
    expect(reasonOf(headers, body, { ...trust, subscription: 'sub_0123456789abcde0' })).toBe('subscription')
    expect(reasonOf(headers, body, { ...trust, subscription: 'sub_0123456789abcde' })).toBe('subscription')
  })
})

test('the published vector of Standard Webhooks is signed as it says, and is no reading', () => {
  const { id, timestampS, body, signature, secret } = publishedWebhook
  const given = { 'webhook-id': id, 'webhook-timestamp': `${timestampS}`, 'webhook-signature': signature }
  const then = { nowMs: timestampS * 1000 }
  expect(reasonOf(given, body, { secret }, then)).toBe('events')
  expect(reasonOf(given, body.replace('4', '5'), { secret }, then)).toBe('signature')
  expect(reasonOf(given, body, bySecret, then)).toBe('signature')
  expect(reasonOf(given, body, byKey, then)).toBe('headers')
})

test('one signature does not stand for the other, nor one hub for another', () => {
  const [mac, signature] = headers['webhook-signature'].split(' ')
  expect(reasonOf({ ...headers, 'webhook-signature': signature! }, body, bySecret)).toBe('headers')
  expect(reasonOf({ ...headers, 'webhook-signature': mac! }, body, byKey)).toBe('headers')
  expect(reasonOf(headers, body, { hubKey: toHex(hub.publicKey) })).toBe('ok')
  expect(reasonOf(headers, body, { hubKey: publicKeyText(newSigner().publicKey) })).toBe('signature')
  expect(reasonOf(headers, body, { secret: secretText(new Uint8Array(32).fill(8)) })).toBe('signature')
})

test('a secret or a key that is none is a mistake of the program, and nothing is trusted by it', () => {
  for (const secret of ['', 'whsec_', bySecret.secret.slice(6), secretText(new Uint8Array(23)), 'whsec_???'])
    expect(() => verifyWebhook(headers, body, { secret }, now)).toThrow('secret is none of a webhook')
  // The neutral point, by which strict and lax verifiers differ.
  const small = new Uint8Array(32)
  small[0] = 1
  for (const hubKey of ['', 'whpk_', 'whpk_AAAA', toHex(small), publicKeyText(small)])
    expect(() => verifyWebhook(headers, body, { hubKey }, now)).toThrow('hubKey is no key of a hub')
})
