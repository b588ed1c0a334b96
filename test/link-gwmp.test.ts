/** The link that packet forwarders send to: over loopback, with real datagrams. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { gwmpPort } from '#gateway/link/gwmp.ts'
import { limit, listeningAddress } from '#gateway/link/listening.ts'
import { linkNamed } from '#gateway/link/named.ts'
import { supervise } from '#gateway/link/supervise.ts'
import { bytesIn, bytesOf, framesFile, haveFrames, hex, shared } from './sensors/frames.ts'

const seed = 20261121
// Who holds a port can be seen on Linux only.
const heldHere = process.platform === 'linux' ? ` by .+ \\(pid ${process.pid}\\)` : ''

/** A port that nobody has now. */
const freePort = async (): Promise<number> => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(resolve))
  return port
}

type Forwarder = {
  readonly send: (bytes: Uint8Array) => void
  /** The next datagram that comes back, in hex. */
  readonly heard: () => Promise<string>
  readonly socket: Socket
}

const forwarderTo = async (port: number): Promise<Forwarder> => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const got: string[] = []
  const waiting: ((datagram: string) => void)[] = []
  socket.on('message', (bytes) => {
    const next = waiting.shift()
    if (next) next(bytes.toString('hex'))
    else got.push(bytes.toString('hex'))
  })
  onTestFinished(() => void socket.close())
  return {
    socket,
    send: (bytes) => socket.send(bytes, port, '127.0.0.1'),
    heard: async () => got.shift() ?? new Promise<string>((resolve) => waiting.push(resolve)),
  }
}

const opened = async () => {
  const port = await freePort()
  const opener = gwmpPort(`udp://127.0.0.1:${port}`)
  const wire = await opener.open(new AbortController().signal)
  onTestFinished(async () => closed(wire))
  return { port, opener, wire, forwarder: await forwarderTo(port) }
}

const closed = async (wire: Duplex): Promise<void> => {
  if (wire.closed) return
  const closing = once(wire, 'close')
  wire.on('error', () => undefined).destroy()
  await closing
}

const next = async (wire: Duplex): Promise<Uint8Array> => {
  for (;;) {
    const message: unknown = wire.read()
    if (message !== null) return message as Uint8Array
    await once(wire, 'readable')
  }
}

const push = (token: number, json: string, eui = 'aa555a0000000101'): Uint8Array =>
  new Uint8Array([2, token >> 8, token & 255, 0, ...hex(eui), ...bytesOf(json)])
const pull = (token: number, eui = 'aa555a0000000101'): Uint8Array =>
  new Uint8Array([2, token >> 8, token & 255, 2, ...hex(eui)])

describe.skipIf(!haveFrames)('published datagrams', () => {
  test.each(framesFile('semtech-gwmp'))('$device: $source', async (entry) => {
    const { wire, forwarder, opener } = await opened()
    const bytes = bytesIn(entry)
    const { type, token } = entry.decoded as Record<string, string>
    forwarder.send(bytes)
    if (type === 'PUSH_DATA') {
      const shown = token ?? '0002'
      expect(await forwarder.heard()).toBe(`02${shown}01`)
      expect(await next(wire)).toEqual(bytes)
    } else if (type === 'PULL_DATA') expect(await forwarder.heard()).toBe(`02${token}04`)
    else {
      // What servers send is not for us; the next one shows that it was passed over.
      forwarder.send(pull(0xabcd))
      expect(await forwarder.heard()).toBe('02abcd04')
      expect(opener.counts.malformed).toBe(1)
    }
    // The answers that are published are those that come.
    const answers = framesFile('semtech-gwmp').flatMap(({ direction, hex: digits }) =>
      direction ? [digits] : [],
    )
    expect(answers).toEqual(['02123401', '02abcd04'])
  })
})

const vectorsAt = new URL('vectors/semtech-gwmp/gwmp-headers.json', shared)
const haveVectors = existsSync(vectorsAt)
if (!haveVectors)
  console.warn('GWMP vectors are skipped: there is no ../shared/vectors beside this repository.')
const vectors: { type: string; hex: string; token?: number; mac?: string }[] = haveVectors
  ? JSON.parse(readFileSync(vectorsAt, 'utf8'))
  : []

test.skipIf(!haveVectors).each(vectors)('header $type $hex of ChirpStack', async (vector) => {
  const { wire, forwarder, opener } = await opened()
  forwarder.send(hex(vector.hex))
  const token = hex(vector.hex).slice(1, 3)
  const shown = Buffer.from(token).toString('hex')
  // Their tokens are numbers with the low byte first; an answer repeats the bytes.
  if (vector.token !== undefined) expect(Buffer.from(token).readUInt16LE()).toBe(vector.token)
  if (vector.type === 'PUSH_DATA') {
    expect(await forwarder.heard()).toBe(`02${shown}01`)
    expect(await next(wire)).toEqual(hex(vector.hex))
  } else if (vector.type === 'PULL_DATA') {
    expect(await forwarder.heard()).toBe(`02${shown}04`)
    expect(opener.counts.gateways).toBe(1)
  } else {
    forwarder.send(pull(7))
    expect(await forwarder.heard()).toBe('02000704')
    expect(wire.readableLength).toBe(0)
  }
})

describe('a listening link', () => {
  test('keeps messages apart, however fast they come', async () => {
    const { wire, forwarder } = await opened()
    for (let token = 0; token < 20; token += 1) {
      forwarder.send(push(token, `{"rxpk":[${token}]}`))
      await forwarder.heard()
    }
    for (let token = 0; token < 20; token += 1)
      expect(Buffer.from(await next(wire)).toString('latin1', 12)).toBe(`{"rxpk":[${token}]}`)
  })

  test('acknowledges a datagram that comes again, and does not give it twice', async () => {
    const { wire, forwarder, opener } = await opened()
    for (let time = 0; time < 3; time += 1) {
      forwarder.send(push(9, '{}'))
      expect(await forwarder.heard()).toBe('02000901')
    }
    // The same token over other content is another datagram: tokens are 16 random bits.
    forwarder.send(push(9, '{"a":1}'))
    await forwarder.heard()
    expect(wire.readableLength).toBe(2)
    expect(opener.counts.duplicates).toBe(2)
  })

  test('sends what is written to every gateway that has asked', async () => {
    const { wire, forwarder, port } = await opened()
    const other = await forwarderTo(port)
    forwarder.send(pull(1))
    other.send(pull(2, 'aa555a0000000102'))
    await Promise.all([forwarder.heard(), other.heard()])
    wire.write(bytesOf('{"txpk":{}}'))
    const down = `02000103${Buffer.from('{"txpk":{}}').toString('hex')}`
    expect(await Promise.all([forwarder.heard(), other.heard()])).toEqual([down, down])
  })

  test('remembers so many gateways, and gives no more than its reader can take', async () => {
    const { wire, forwarder, opener } = await opened()
    for (let index = 0; index < 390; index += 1) {
      const eui = index.toString(16).padStart(16, '0')
      forwarder.send(push(index, '{}', eui))
      if (index < 256) await forwarder.heard()
    }
    await expect.poll(() => opener.counts.notTaken + opener.counts.tooMany).toBe(390 - 256)
    expect(wire.readableLength).toBe(256)
    expect(opener.counts.gateways).toBe(64)
  })

  test('drops what is too long or too much, and goes on', async () => {
    const { wire, forwarder, opener } = await opened()
    forwarder.send(push(1, 'x'.repeat(8181)))
    await expect.poll(() => opener.counts.tooLong).toBe(1)
    forwarder.send(push(2, 'x'.repeat(8180)))
    expect(await forwarder.heard()).toBe('02000201')
    expect(await next(wire)).toHaveLength(8192)
  })

  test('a rate lets a burst through, and then so many a second', () => {
    let nowMs = 0
    const rate = limit(10, 5, () => nowMs)
    expect(Array.from({ length: 7 }, () => rate.take())).toEqual([true, true, true, true, true, false, false])
    nowMs = 250
    expect([rate.take(), rate.take(), rate.take()]).toEqual([true, true, false])
    nowMs = 3_600_000
    expect(Array.from({ length: 7 }, () => rate.take()).filter(Boolean)).toHaveLength(5)
  })

  test('is opened again after it was closed; two on one port are told apart', async () => {
    const { wire, opener, port, forwarder } = await opened()
    await expect(opener.open(new AbortController().signal)).rejects.toMatchObject({
      code: 'busy',
      message: expect.stringMatching(
        new RegExp(
          `^link udp://127\\.0\\.0\\.1:${port} is in use${heldHere}\\.\nStop the other program on this port, or choose another port\\.$`,
        ),
      ),
    })
    await closed(wire)
    const again = await opener.open(new AbortController().signal)
    onTestFinished(() => closed(again))
    forwarder.send(push(1, '{}'))
    expect(await next(again)).toEqual(push(1, '{}'))
  })

  test('is read as any other link, and closed by its signal', async () => {
    const port = await freePort()
    const stop = new AbortController()
    const link = supervise({
      opener: linkNamed(`udp://127.0.0.1:${port}`, { baudRate: 1 }),
      framing: { kind: 'messages', maxBytes: 8192 },
      silenceMs: 60_000,
      backoffMs: [5, 20],
    })
    const forwarder = await forwarderTo(port)
    const got: string[] = []
    const reading = (async () => {
      for await (const { bytes } of link.frames(stop.signal))
        got.push(Buffer.from(bytes).toString('latin1', 12))
    })()
    await expect.poll(() => link.status.open).toBe(true)
    for (const json of ['{"a":1}', '{"a":2}']) forwarder.send(push(got.length, json))
    await expect.poll(() => got).toEqual(['{"a":1}', '{"a":2}'])
    stop.abort()
    await reading
    expect(link.status).toMatchObject({ open: false, opens: 1, trouble: null })
  })

  test('an aborted opening takes no port', async () => {
    const port = await freePort()
    const stop = new AbortController()
    stop.abort(new Error('over'))
    await expect(gwmpPort(`udp://127.0.0.1:${port}`).open(stop.signal)).rejects.toThrow('over')
    const wire = await gwmpPort(`udp://127.0.0.1:${port}`).open(new AbortController().signal)
    await closed(wire)
  })

  test('survives anything, and acknowledges the next good datagram', async () => {
    const { wire, forwarder, opener } = await opened()
    let token = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.uint8Array({ maxLength: 300 }),
            fc.uint8Array({ maxLength: 40 }).map((rest) => Uint8Array.of(2, 0, 0, ...rest)),
          ),
          { maxLength: 3 },
        ),
        async (noise) => {
          for (const bytes of noise) forwarder.send(bytes)
          token += 1
          // Tokens of noise are below 0x8000 or answered in between: what is waited for is this one's.
          forwarder.send(push(0x8000 + token, `{"n":${token}}`))
          const wanted = `02${(0x8000 + token).toString(16)}01`
          while ((await forwarder.heard()) !== wanted);
          let newest = ''
          for (let message = wire.read(); message !== null; message = wire.read())
            newest = Buffer.from(message as Uint8Array).toString('latin1', 12)
          expect(newest).toBe(`{"n":${token}}`)
        },
      ),
      { seed, numRuns: 60 },
    )
    expect(opener.counts.gateways).toBeLessThanOrEqual(64)
  })
})

describe('addresses to listen on', () => {
  test.each([
    ['udp://127.0.0.1:1700', { host: '127.0.0.1', port: 1700, open: false }],
    ['udp://[::1]:1700', { host: '::1', port: 1700, open: false }],
    ['udp://localhost:1700', { host: 'localhost', port: 1700, open: false }],
    ['udp://0.0.0.0:1700', { host: '0.0.0.0', port: 1700, open: true }],
    ['udp://192.168.1.2:1700', { host: '192.168.1.2', port: 1700, open: true }],
  ])('%s', (name, address) => expect(listeningAddress(name, 'udp', 1700)).toEqual(address))

  test.each([
    'udp://',
    'udp://:1700',
    'udp://127.0.0.1',
    'udp://127.0.0.1:0',
    'udp://127.0.0.1:1700/x',
    'udp://a@b:1',
  ])('%s is none, and says so', (name) =>
    expect(() => linkNamed(name, { baudRate: 1 })).toThrow(
      `link ${JSON.stringify(name)} is not an address to listen on.\n` +
        'Write udp://host:port with a port from 1 to 65535, for example udp://127.0.0.1:1700.',
    ),
  )

  test('one that others can reach is told of in the status', () => {
    const status = (name: string) =>
      supervise({
        opener: gwmpPort(name),
        framing: { kind: 'messages', maxBytes: 1 },
        silenceMs: 1,
      }).status
    expect(status('udp://0.0.0.0:1700').caution).toBe(
      'udp://0.0.0.0:1700 takes UDP from the network, and nothing in it says who sent it: keep it behind a firewall.',
    )
    expect(status('udp://127.0.0.1:1700')).not.toHaveProperty('caution')
  })
})
