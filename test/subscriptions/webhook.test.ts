import { createHmac, createPublicKey, verify } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressesOf, isPublic, parseTarget } from '#gateway/market/subscriptions/guard.ts'
import { publicKeyText, secretText, signedHeaders } from '#gateway/market/subscriptions/signature.ts'
import { askPermission, askWebhook } from '#gateway/market/subscriptions/webhook.ts'
import { newSigner } from '#test/station.ts'
import { publishedWebhook } from '#test/webhook-vector.ts'
import { ownCertificate, startReceiver } from './receiver.ts'

const lan = { privateAddresses: true }
const web = { privateAddresses: false }

describe('the guard', () => {
  test.each([
    ...['0.0.0.0', '10.1.2.3', '100.100.100.200', '127.0.0.1', '169.254.169.254', '172.31.255.255'],
    ...['192.168.1.1', '198.18.0.1', '224.0.0.1', '255.255.255.255', '168.63.129.16', '192.0.0.192'],
    ...['::', '::1', '::ffff:127.0.0.1', '::ffff:8.8.8.8', 'fe80::1', 'fd00:ec2::254', 'ff02::1'],
    ...['64:ff9b::7f00:1', '2002:7f00:1::', '2001::1', '2001:db8::1', 'fec0::1', 'hook.example', ''],
  ])('%s is not of the public internet', (address) => {
    expect(isPublic(address)).toBe(false)
  })

  test.each(['1.1.1.1', '8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '2a00:1450::1'])(
    '%s is',
    (address) => {
      expect(isPublic(address)).toBe(true)
    },
  )

  test.each([
    'http://hook.example/',
    'https://127.0.0.1/',
    'https://0x7f000001/',
    'https://2130706433/',
    'https://127.1/',
    'https://[::1]/',
    'https://[::ffff:7f00:1]/',
    'https://169.254.169.254/latest/meta-data',
    'https://user@hook.example/',
    'https://hook.example/#part',
    'ftp://hook.example/',
    'file:///etc/passwd',
    'hook.example',
  ])('%s is no target', (text) => {
    expect(parseTarget(text, web).ok).toBe(false)
  })

  test('no spelling of a private IPv4 address makes it a target', () => {
    const octet = fc.nat(255)
    const privately = fc.oneof(
      fc.tuple(fc.constantFrom(0, 10, 127, 224, 255), octet, octet, octet),
      fc.tuple(fc.constant(192), fc.constant(168), octet, octet),
      fc.tuple(fc.constant(169), fc.constant(254), octet, octet),
      fc.tuple(fc.constant(172), fc.integer({ min: 16, max: 31 }), octet, octet),
    )
    const hex = (value: number) => `0x${value.toString(16)}`
    const octal = (value: number) => `0${value.toString(8)}`
    fc.assert(
      fc.property(privately, ([a, b, c, d]) => {
        const last = [a, b, c, d].reduce((sum, one) => sum * 256 + one, 0)
        const dotted = [a, b, c, d].join('.')
        const spellings = [
          ...[dotted, `${dotted}.`, `${last}`, hex(last), octal(last), [a, b, c, d].map(hex).join('.')],
          ...[[a, b, c, d].map(octal).join('.'), `${a}.${b}.${c * 256 + d}`, `${a}.${last % 2 ** 24}`],
          ...[`[::ffff:${dotted}]`, `[::${dotted}]`, `[64:ff9b::${dotted}]`],
          dotted.replaceAll('.', '。'),
        ]
        for (const host of spellings)
          expect([host, parseTarget(`https://${host}/`, web).ok]).toEqual([host, false])
      }),
    )
  })

  test('an address is a target up to a length', () => {
    expect(parseTarget('https://hook.example/in?key=1', web).ok).toBe(true)
    expect(parseTarget(`https://hook.example/${'a'.repeat(1100)}`, web).ok).toBe(false)
  })

  test('one private address among those of a name refuses it, and so does a name of none', async () => {
    const url = new URL('https://hook.example/')
    const of = (...addresses: string[]) =>
      addressesOf(url, {
        ...web,
        resolve: async () => addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      })
    expect((await of('1.1.1.1', '2606:4700::1111')).ok).toBe(true)
    expect(await of('1.1.1.1', '10.0.0.1')).toEqual({
      ok: false,
      detail: 'its name leads to an address that is not public',
    })
    expect((await of()).ok).toBe(false)
  })

  test('localhost is refused by what it resolves to', async () => {
    const answered = await askWebhook(
      { method: 'POST', url: new URL('https://localhost/'), headers: {} },
      web,
    )
    expect(answered).toEqual({ ok: false, detail: 'its name leads to an address that is not public' })
  })
})

describe('a request', () => {
  const post = (url: string) => ({ method: 'POST', url: new URL(url), headers: {}, body: '{}' }) as const

  test('goes to the address that was looked at, and the name is looked up once', async () => {
    const receiver = await startReceiver()
    let asked = 0
    // The second answer, which a rebinding name would give to the connection, is never asked for.
    const resolve = async () => [{ address: asked++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 as const }]
    const answered = await askWebhook(post(`http://hook.example:${receiver.port}/in?x=1`), {
      ...lan,
      resolve,
    })
    expect(answered).toMatchObject({ ok: true, status: 204 })
    expect(asked).toBe(1)
    expect(receiver.received).toMatchObject([
      { method: 'POST', url: '/in?x=1', headers: { host: `hook.example:${receiver.port}` }, body: '{}' },
    ])
  })

  test('is not made to an address that was allowed once and is not now', async () => {
    const receiver = await startReceiver()
    const resolve = async () => [{ address: '1.1.1.1', family: 4 as const }]
    const answered = await askWebhook(post(`http://hook.example:${receiver.port}/`), { ...web, resolve })
    expect(answered).toEqual({
      ok: false,
      detail: 'its address is not allowed any more: it must be an https:// address',
    })
  })

  test('follows no redirect', async () => {
    const receiver = await startReceiver((_, response) => {
      response.writeHead(307, { location: '/elsewhere' }).end()
    })
    expect(await askWebhook(post(receiver.url), lan)).toMatchObject({ ok: true, status: 307 })
    expect(receiver.received.map(({ url }) => url)).toEqual(['/hook'])
  })

  test('is answered by its status, however much comes after it', async () => {
    let sent = 0
    const receiver = await startReceiver((_, response) => {
      response.writeHead(200)
      const pour = (): void => {
        while (!response.destroyed && sent < 1e9) {
          sent += 65_536
          if (!response.write(Buffer.alloc(65_536))) {
            response.once('drain', pour)
            return
          }
        }
      }
      pour()
    })
    expect(await askWebhook(post(receiver.url), lan)).toMatchObject({ ok: true, status: 200 })
    expect(sent).toBeLessThan(1e9)
  })

  test('ends when nothing comes, when headers never end, and when a body never ends', async () => {
    const soon = { ...lan, timeoutMs: 300 }
    const silent = await startReceiver(() => undefined)
    expect(await askWebhook(post(silent.url), soon)).toEqual({ ok: false, detail: 'no answer within 0.3 s' })
    const endless = await startReceiver((_, response) => {
      response.socket!.write(`HTTP/1.1 200 OK\r\nX: ${'a'.repeat(10_000)}`)
    })
    expect(await askWebhook(post(endless.url), soon)).toEqual({
      ok: false,
      detail: 'its headers are longer than 8192 bytes',
    })
    const open = await startReceiver((_, response) => {
      response.writeHead(200).write('and then')
    })
    expect(await askWebhook(post(open.url), soon)).toMatchObject({ ok: true, status: 200 })
    const lost = { ...soon, resolve: () => new Promise<never>(() => undefined) }
    expect((await askWebhook(post('http://hook.example/'), lost)).ok).toBe(false)
  })

  test('says why there is no answer, without what a stranger wrote', async () => {
    const cut = await startReceiver((_, response) => response.socket!.destroy())
    expect(await askWebhook(post(cut.url), lan)).toEqual({ ok: false, detail: 'the connection was cut' })
    const babble = await startReceiver((_, response) => response.socket!.end('SSH-2.0-secret\r\n'))
    const answered = await askWebhook(post(babble.url), lan)
    expect(answered).toEqual({ ok: false, detail: expect.not.stringContaining('secret') })
    const { port } = await startReceiver()
    expect(await askWebhook(post(`https://127.0.0.1:${port}/`), lan)).toMatchObject({ ok: false })
  })

  test('goes only where the certificate is for that name and by a known authority', async () => {
    const tls = ownCertificate()
    const receiver = await startReceiver(undefined, tls)
    const at = (name: string) => post(`https://${name}:${receiver.port}/`)
    const here = { ...lan, resolve: async () => [{ address: '127.0.0.1', family: 4 as const }] }
    expect(await askWebhook(at('hook.example'), here)).toEqual({
      ok: false,
      detail: 'its certificate is signed by nobody but itself',
    })
    expect(await askWebhook(at('other.example'), { ...here, ca: tls.cert })).toEqual({
      ok: false,
      detail: 'its certificate is for another name',
    })
    expect(receiver.received).toEqual([])
    expect(await askWebhook(at('hook.example'), { ...here, ca: tls.cert })).toMatchObject({ ok: true })
  })
})

describe('permission', () => {
  const ask = async (headers: Record<string, string>, status = 200) => {
    const receiver = await startReceiver((_, response) => void response.writeHead(status, headers).end())
    const answer = await askPermission(new URL(receiver.url), 'hub.example', lan)
    expect(receiver.received).toMatchObject([
      { method: 'OPTIONS', headers: { 'webhook-request-origin': 'hub.example' }, body: '' },
    ])
    return answer
  }

  test('is given by name or to all, with a rate or without', async () => {
    expect(await ask({ 'WebHook-Allowed-Origin': 'hub.example' })).toEqual({ ok: true, perMinute: null })
    expect(await ask({ 'WebHook-Allowed-Origin': '*', 'WebHook-Allowed-Rate': '120' }, 204)).toEqual({
      ok: true,
      perMinute: 120,
    })
    expect(await ask({ 'WebHook-Allowed-Origin': '*', 'WebHook-Allowed-Rate': '*' })).toEqual({
      ok: true,
      perMinute: null,
    })
  })

  test('is not given by a status alone, nor for another', async () => {
    expect((await ask({})).ok).toBe(false)
    expect((await ask({ 'WebHook-Allowed-Origin': 'other.example' })).ok).toBe(false)
    expect((await ask({ 'Access-Control-Allow-Origin': '*' })).ok).toBe(false)
  })
})

describe('a signature', () => {
  test('is that of the published vector', () => {
    const secret = Buffer.from(publishedWebhook.secret.slice('whsec_'.length), 'base64')
    const headers = signedHeaders(publishedWebhook, secret, newSigner())
    expect(headers['webhook-id']).toBe(publishedWebhook.id)
    expect(headers['webhook-timestamp']).toBe('1614265330')
    expect(headers['webhook-signature'].split(' ')[0]).toBe(publishedWebhook.signature)
    expect(secretText(secret)).toBe(publishedWebhook.secret)
  })

  test('by the hub can be checked with its public key alone', () => {
    const hub = newSigner()
    const { 'webhook-signature': header } = signedHeaders(publishedWebhook, Buffer.alloc(32, 7), hub)
    const [mac, signature] = header.split(' ')
    const content = Buffer.from(
      `${publishedWebhook.id}.${publishedWebhook.timestampS}.${publishedWebhook.body}`,
    )
    const raw = Buffer.from(publicKeyText(hub.publicKey).slice('whpk_'.length), 'base64')
    const key = createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') },
      format: 'jwk',
    })
    const bytes = Buffer.from(signature!.slice('v1a,'.length), 'base64')
    expect(verify(null, content, key, bytes)).toBe(true)
    expect(verify(null, Buffer.concat([content, Buffer.of(0)]), key, bytes)).toBe(false)
    expect(mac).toBe(`v1,${createHmac('sha256', Buffer.alloc(32, 7)).update(content).digest('base64')}`)
  })
})
