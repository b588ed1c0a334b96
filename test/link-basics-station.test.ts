/** The link that Basics Stations call, and what its driver reads: over loopback, with real WebSockets. */
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, createServer } from 'node:net'
import type { Duplex } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { basicsStationPort } from '#gateway/link/basics-station.ts'
import { linkNamed } from '#gateway/link/named.ts'
import { euiOf, id6Of } from '#gateway/link/router-id.ts'
import { supervise } from '#gateway/link/supervise.ts'
import { exactJson } from '#gateway/reading/exact-json.ts'
import { lorawanBasicsStation, phyPayloadOf } from '#gateway/sensors/lorawan-basics-station.ts'
import { regionNames, routerConfig, spreadingFactorOf } from '#gateway/sensors/lorawan-regions.ts'
import { bytesIn, bytesOf, decodeAlone, framesFile, haveFrames, hex, surroundings } from './sensors/frames.ts'

const seed = 20261121
const noAbort = (): AbortSignal => new AbortController().signal

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

const closed = async (wire: Duplex): Promise<void> => {
  if (wire.closed) return
  const closing = once(wire, 'close')
  wire.on('error', () => undefined).destroy()
  await closing
}

const nowMs = Date.UTC(2026, 0, 1)

const opened = async () => {
  const port = await freePort()
  const opener = basicsStationPort(`ws://127.0.0.1:${port}`, { utcMs: () => nowMs })
  const wire = await opener.open(noAbort())
  onTestFinished(() => closed(wire))
  return { port, opener, wire }
}

/** A client that keeps what it hears. */
const client = async (port: number, path: string) => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`)
  const heard: string[] = []
  socket.on('message', (data) => heard.push(String(data))).on('error', () => undefined)
  onTestFinished(() => socket.terminate())
  await once(socket, 'open')
  return { socket, heard, say: (text: string | Uint8Array) => socket.send(text) }
}

const next = async (wire: Duplex): Promise<string> => {
  for (;;) {
    const message: unknown = wire.read()
    if (message !== null) return Buffer.from(message as Uint8Array).toString('utf8')
    await once(wire, 'readable')
  }
}

const dataPath = '/router-aa555a0000000101'
const version = '{"msgtype":"version","station":"2.0.6","protocol":2}'

describe('discovery', () => {
  test.each([
    ['an ID6', '"aa55:5a00:0:101"', 'aa55:5a00:0:101'],
    ['an ID6 with zeros left out', '"1::2"', '1::2'],
    ['a prefix', '"router-::1"', '::1'],
    ['an EUI', '"AA-55-5A-00-00-00-01-01"', 'aa55:5a00:0:101'],
    ['an EUI with colons', '"aa:55:5a:00:00:00:01:01"', 'aa55:5a00:0:101'],
    ['a number beyond 2^53', '12273815315514654977', 'aa55:5a00:0:101'],
  ])('%s is answered with where to call', async (_what, router, normal) => {
    const { port } = await opened()
    const { socket, heard, say } = await client(port, '/router-info')
    say(`{"router":${router}}`)
    const [code] = await once(socket, 'close')
    expect(code).toBe(1000)
    expect(JSON.parse(heard[0]!)).toEqual({
      router: normal,
      muxs: '::',
      uri: `ws://127.0.0.1:${port}/router-${euiOf(normal)}`,
    })
    await client(port, `/router-${euiOf(normal)}`)
  })

  test.each(['{}', 'x', '{"router":"x"}', '{"router":-1}', '{"router":1e30}', '[]', 'null'])(
    '%s is answered with an error',
    async (asked) => {
      const { port, opener } = await opened()
      const { socket, heard, say } = await client(port, '/router-info')
      say(asked)
      await once(socket, 'close')
      expect(JSON.parse(heard[0]!)).toMatchObject({ error: expect.stringContaining('expected') })
      expect(opener.counts.malformed).toBe(1)
    },
  )

  test('names are the same in every way of writing them', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
        const eui = value.toString(16).padStart(16, '0')
        const bytes = eui.match(/../g)!
        for (const written of [value, id6Of(eui), bytes.join('-'), bytes.join(':').toUpperCase(), eui])
          expect(euiOf(written)).toBe(eui)
      }),
      { seed, numRuns: 300 },
    )
    expect(id6Of('0001000000000001')).toBe('1::1')
    for (const wrong of [
      '',
      ':',
      '1:2:3',
      '1:2:3:4:5',
      '1::2::3',
      'g::',
      '12345::',
      {},
      null,
      1.5,
      2n ** 64n,
    ])
      expect(euiOf(wrong)).toBe(undefined)
  })
})

describe.skipIf(!haveFrames)('published messages', () => {
  test.each(framesFile('basicstation'))('$device', async (entry) => {
    const { decoded } = entry as { decoded: Record<string, string | number | undefined> }
    const bytes = bytesIn(entry)
    // From a manual and from memory, as its file says; what it asks is answered as the protocol's pages say.
    if (Object.keys(decoded).length === 0) {
      const { port } = await opened()
      const { socket, heard, say } = await client(port, '/router-info')
      say(bytes)
      await once(socket, 'close')
      return expect(JSON.parse(heard[0]!)).toMatchObject({ router: 'aa55:5a00:0:101' })
    }
    const message = exactJson(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>
    expect(Buffer.from(phyPayloadOf(message)!).toString('hex')).toBe(decoded.phyPayloadRebuilt)
    expect(message).toMatchObject({
      FCnt: decoded.fCnt,
      FPort: decoded.fPort,
      DR: decoded.dr,
      Freq: decoded.freqHz,
    })
    expect(message.upinfo).toMatchObject({ rssi: decoded.rssi, snr: decoded.snr, xtime: 51791395861065770n })
    // Its keys are unknown: as a listed device's it is refused by its MIC, else by its address.
    const devices = [{ devAddr: decoded.devAddr, nwkSKey: '0'.repeat(32), appSKey: '0'.repeat(32) }]
    expect(decodeAlone(lorawanBasicsStation, [bytes], { devices })).toMatchObject([{ reason: 'checksum' }])
    expect(decodeAlone(lorawanBasicsStation, [bytes])).toEqual([
      { kind: 'refused', reason: 'not-configured', detail: `device ${decoded.devAddr} is not listed` },
    ])
  })
})

describe('a station’s connection', () => {
  test('is told the region when it says its version, also where that is written later', async () => {
    const { port, wire } = await opened()
    const early = await client(port, dataPath)
    early.say(version)
    expect(await next(wire)).toBe(version)
    const [config] = lorawanBasicsStation.greeting({ region: 'US915' })
    wire.write(config!)
    await expect.poll(() => early.heard).toEqual([Buffer.from(config!).toString()])
    const late = await client(port, '/router-0000000000000001')
    late.say(version)
    await expect.poll(() => late.heard).toEqual([Buffer.from(config!).toString()])
    expect(JSON.parse(late.heard[0]!)).toMatchObject({ msgtype: 'router_config', region: 'US902' })
  })

  test('is told the time, in digits beyond 2^53', async () => {
    const { port } = await opened()
    const { heard, say } = await client(port, dataPath)
    say('{"msgtype":"timesync","txtime":51791395861065771}')
    const gpsS = nowMs / 1000 - Date.UTC(1980, 0, 6) / 1000 + 18
    await expect
      .poll(() => heard)
      .toEqual([`{"msgtype":"timesync","txtime":51791395861065771,"gpstime":${gpsS}000000}`])
  })

  test('gives its messages one by one, as they are', async () => {
    const { port, wire } = await opened()
    const { say } = await client(port, dataPath)
    const texts = Array.from(
      { length: 20 },
      (_, n) => `{"msgtype":"updf","n":${n},"xtime":5179139586106577${n % 10}}`,
    )
    for (const text of texts) say(text)
    for (const text of texts) expect(await next(wire)).toBe(text)
  })

  test('waits where nobody reads, and nothing is lost', async () => {
    const { port, wire } = await opened()
    const { say, socket } = await client(port, dataPath)
    // Within the burst that one station may send; what TCP has already brought in one piece is still taken.
    const text = (n: number) => `{"msgtype":"updf","n":${n},"x":"${'x'.repeat(3500)}"}`
    for (let n = 0; n < 180; n += 1) say(text(n))
    await expect.poll(() => wire.readableLength).toBeGreaterThanOrEqual(64)
    await expect.poll(() => socket.bufferedAmount).toBe(0)
    expect(wire.readableLength).toBeLessThan(120)
    for (let n = 0; n < 180; n += 1) expect(await next(wire)).toBe(text(n))
  })

  test('that says too much too fast, or nothing of sense, is not passed on', async () => {
    const { port, wire, opener } = await opened()
    const { say } = await client(port, dataPath)
    for (const text of ['x', '[]', '{}', '{"msgtype":7}', '{"msgtype":"rmtsh"}', new Uint8Array([1])])
      say(text)
    await expect.poll(() => opener.counts.malformed).toBe(5)
    say('{"msgtype":"updf"}')
    expect(await next(wire)).toBe('{"msgtype":"updf"}')
    for (let n = 0; n < 400; n += 1) say('{"msgtype":"rmtsh"}')
    await expect.poll(() => opener.counts.tooMany).toBeGreaterThan(100)
  })

  test('with a message that is too long is ended, and can be made again', async () => {
    const { port, wire } = await opened()
    const { socket, say } = await client(port, dataPath)
    say(`{"msgtype":"updf","x":"${'x'.repeat(5000)}"}`)
    await once(socket, 'close')
    const again = await client(port, dataPath)
    again.say('{"msgtype":"updf"}')
    expect(await next(wire)).toBe('{"msgtype":"updf"}')
  })

  test('replaces the one it had before', async () => {
    const { port, opener } = await opened()
    const first = await client(port, dataPath)
    const gone = once(first.socket, 'close')
    await client(port, dataPath)
    await gone
    expect(opener.counts.stations).toBe(1)
  })

  test('is refused where there are sixteen, and where its path is none', async () => {
    const { port, opener } = await opened()
    for (let index = 0; index < 16; index += 1)
      await client(port, `/router-${index.toString(16).padStart(16, '0')}`)
    for (const path of ['/router-00000000000000ff', '/', '/router-x', '/router-info/x']) {
      const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`)
      const [error] = await once(socket, 'error')
      expect(String(error)).toMatch(/Unexpected server response: (503|404)/)
    }
    expect(opener.counts).toMatchObject({ refusedConnections: 4, stations: 16 })
  })

  test('is a WebSocket and nothing else', async () => {
    const { port } = await opened()
    const response = await new Promise<number | undefined>((resolve) =>
      request({ port, host: '127.0.0.1', path: '/router-info' }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      }).end(),
    )
    expect(response).toBe(426)
    const raw = connect(port, '127.0.0.1')
    raw
      .on('error', () => undefined)
      .resume()
      .end('GET / HTTP/9\r\n\r\n')
    await once(raw, 'close')
  })

  test('survives anything, and gives the next good message', async () => {
    const { port, wire } = await opened()
    let n = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.uint8Array({ maxLength: 200 }),
            fc.string({ maxLength: 200 }),
            fc.jsonValue().map((value) => JSON.stringify(value)),
            fc
              .record({ msgtype: fc.constantFrom('version', 'timesync', 'updf'), txtime: fc.jsonValue() })
              .map((value) => JSON.stringify(value)),
          ),
          { maxLength: 4 },
        ),
        async (noise) => {
          const { say, socket } = await client(port, dataPath)
          for (const one of noise) say(one)
          n += 1
          const good = `{"msgtype":"updf","n":${n}}`
          say(good)
          while ((await next(wire)) !== good);
          socket.terminate()
        },
      ),
      { seed, numRuns: 60 },
    )
  })
})

describe('the link', () => {
  test('is opened again after it was closed; two on one port are told apart', async () => {
    const { wire, opener, port } = await opened()
    await expect(opener.open(noAbort())).rejects.toMatchObject({
      code: 'busy',
      message: expect.stringContaining(
        process.platform === 'linux' ? `(pid ${process.pid})` : `${opener.name} is in use`,
      ),
    })
    const { socket } = await client(port, dataPath)
    const gone = once(socket, 'close')
    await closed(wire)
    await gone
    const again = await opener.open(noAbort())
    onTestFinished(() => closed(again))
    const { say } = await client(port, dataPath)
    say(version)
    expect(await next(again)).toBe(version)
  })

  test('is read as any other, its greeting is the region', async () => {
    const port = await freePort()
    const stop = new AbortController()
    const link = supervise({
      opener: linkNamed(`ws://127.0.0.1:${port}`, { baudRate: 1 }),
      framing: lorawanBasicsStation.framing,
      greeting: lorawanBasicsStation.greeting({}),
      silenceMs: 60_000,
      backoffMs: [5, 20],
    })
    const got: string[] = []
    const reading = (async () => {
      for await (const { bytes } of link.frames(stop.signal)) got.push(Buffer.from(bytes).toString())
    })()
    await expect.poll(() => link.status.open).toBe(true)
    const { say, heard } = await client(port, dataPath)
    say(version)
    await expect.poll(() => got).toEqual([version])
    await expect.poll(() => heard.length).toBe(1)
    expect(JSON.parse(heard[0]!)).toEqual(JSON.parse(JSON.stringify(routerConfig('EU868'))))
    stop.abort()
    await reading
  })

  test('that others can reach is told of; others’ addresses are none', () => {
    expect(basicsStationPort('ws://0.0.0.0:1887').caution).toMatch(/unencrypted and from anybody/)
    expect(basicsStationPort('ws://127.0.0.1:1887')).not.toHaveProperty('caution')
    for (const name of ['ws://', 'ws://127.0.0.1:1887/x', 'ws://u:p@127.0.0.1:1887'])
      expect(() => linkNamed(name, { baudRate: 1 })).toThrow(
        'Write ws://host:port with a port from 1 to 65535, for example ws://127.0.0.1:1887.',
      )
  })
})

describe('regions', () => {
  test.each(regionNames)('%s: every channel lies in the band, and within reach of a radio', (name) => {
    const config = routerConfig(name) as {
      freq_range: [number, number]
      DRs: [number, number, number][]
      upchannels: [number, number, number][]
      sx1301_conf: Record<string, { enable: boolean; freq?: number; radio?: number; if?: number }>[]
    }
    const [radios] = config.sx1301_conf
    const placed = Object.entries(radios!).flatMap(([key, channel]) => {
      if (!key.startsWith('chan_') || !channel.enable) return []
      const radio = radios![`radio_${channel.radio}`]!
      expect(radio.enable).toBe(true)
      expect(Math.abs(channel.if!)).toBeLessThanOrEqual(400_000)
      return [radio.freq! + channel.if!]
    })
    expect(placed.toSorted()).toEqual(config.upchannels.map(([hz]) => hz).toSorted())
    for (const hz of placed) {
      expect(hz).toBeGreaterThan(config.freq_range[0])
      expect(hz).toBeLessThan(config.freq_range[1])
    }
    expect(config.DRs).toHaveLength(16)
    for (const [, low, high] of config.upchannels)
      for (let rate = low; rate <= high; rate += 1) {
        expect(config.DRs[rate]![2]).toBe(0)
        expect(spreadingFactorOf(name, rate)).toBe(config.DRs[rate]![0])
      }
    expect(spreadingFactorOf(name, 15)).toBe(undefined)
  })

  test('that is none is told with those that there are', () => {
    expect(() => lorawanBasicsStation.configure({ region: 'MARS' }, surroundings())).toThrow(
      'lorawan-basics-station: setting "region": expected EU868, US915, AU915, AS923, IN865; got "MARS".',
    )
  })
})

describe('what a station heard', () => {
  const keys = {
    devAddr: '49be7df1',
    nwkSKey: '44024241ed4ce9a68c6a8bc055233fd3',
    appSKey: 'ec925802ae430ca77fd3dd73cb2cc588',
  }
  const example = JSON.parse(Buffer.from(lorawanBasicsStation.examples[1]!.bytes).toString()) as Record<
    string,
    unknown
  >
  const decode = (message: unknown) =>
    decodeAlone(lorawanBasicsStation, [bytesOf(JSON.stringify(message))], { devices: [keys] })

  test('is put together to the bytes that were on air', () => {
    expect(phyPayloadOf(example)).toEqual(hex('40f17dbe4900020001954378762b11ff0d'))
    // A frame without port, with MAC commands in its options.
    const commands = { ...example, FCtrl: 2, FOpts: '0307', FPort: -1, FRMPayload: '' }
    expect(phyPayloadOf(commands)).toEqual(hex('40f17dbe49020200' + '0307' + '2b11ff0d'))
  })

  test('a join request is put together too', () => {
    const join = {
      msgtype: 'jreq',
      MHdr: 0,
      JoinEui: 'AA-13-69-33-46-63-34-36',
      DevEui: '33-31-38-32-34-57-69-05',
      DevNonce: 35120,
      MIC: 72571849,
    }
    const phy = phyPayloadOf(join)
    expect(phy).toHaveLength(23)
    const { JoinEui: JoinEUI, DevEui: DevEUI, ...rest } = join
    expect(phyPayloadOf({ ...rest, JoinEUI, DevEUI })).toEqual(phy)
    expect(decode(join)).toMatchObject([
      { reason: 'not-configured', detail: expect.stringContaining('3331383234576905') },
    ])
  })

  test.each(
    Object.entries({
      MHdr: 256,
      DevAddr: 2 ** 31,
      FCtrl: 1,
      FCnt: -1,
      FOpts: 'f',
      FPort: 256,
      FRMPayload: 'xy',
      MIC: '1',
    }),
  )('a wrong %s is refused', (name, value) => {
    const { [name]: _, ...without } = example
    for (const message of [{ ...example, [name]: value }, without])
      expect(decode(message)).toMatchObject([{ kind: 'refused', reason: 'layout' }])
  })

  test('radio values of the wrong kind are left out, the frame is read', () => {
    expect(decode({ ...example, DR: 'x', Freq: null, upinfo: [] })).toMatchObject([
      { kind: 'uplink', radio: {} },
    ])
  })

  test('any JSON gives an outcome, and any change of a frame no other payload', () => {
    const change = fc.dictionary(fc.constantFrom(...Object.keys(example)), fc.jsonValue(), { maxKeys: 3 })
    fc.assert(
      fc.property(
        fc.oneof(
          fc.jsonValue(),
          change.map((more) => ({ ...example, ...more })),
        ),
        (message) => {
          for (const outcome of decode(message))
            if (outcome.kind === 'uplink') expect(outcome.payload).toEqual(bytesOf('test'))
        },
      ),
      { seed, numRuns: 300 },
    )
  })
})

test('whole numbers beyond 2^53 are exact, others as they were', () => {
  expect(exactJson('{"a":51791395861065771,"b":[-9007199254740993,1.5,1e300,7],"c":"x"}')).toEqual({
    a: 51791395861065771n,
    b: [-9007199254740993n, 1.5, 1e300, 7],
    c: 'x',
  })
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }), (value) => {
      expect(BigInt(exactJson(`${value}`) as bigint | number)).toBe(value)
    }),
    { seed, numRuns: 300 },
  )
})
