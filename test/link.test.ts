/** Framing with bounded memory, links that stay open for ever, TCP, and serial ports on pseudo-terminals. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Duplex, duplexPair } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { framer } from '#gateway/link/frame.ts'
import { LinkError, type Opener } from '#gateway/link/link.ts'
import { linkNamed } from '#gateway/link/named.ts'
import { type ReceivedFrame, type SuperviseOptions, supervise } from '#gateway/link/supervise.ts'
import { drivers } from '#gateway/sensors/all.ts'
import type { Cut, Framing } from '#gateway/sensors/sensors.ts'
import { hasScript, pty } from '#sim/outlets/pty.ts'

const seed = 20261121
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

const cutAll = (framing: Framing, chunks: Iterable<Uint8Array>) => {
  const cutter = framer(framing)
  const frames: string[] = []
  for (const chunk of chunks)
    for (const frame of cutter.push(chunk)) frames.push(Buffer.from(frame).toString('hex'))
  return { frames, skippedBytes: cutter.skippedBytes() }
}

/** Cuts bytes at the given places. */
const pieces = (bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] => {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, index) => bytes.slice(at[index], end))
}

describe('frames', () => {
  const lines: Framing = { kind: 'lines', maxBytes: 16 }

  test('lines end with LF or CRLF, and are given without it', () => {
    expect(
      cutAll(lines, [bytesOf('one\ntwo\r\n\r\n\nthree')]).frames.map((hex) =>
        Buffer.from(hex, 'hex').toString(),
      ),
    ).toEqual(['one', 'two'])
  })

  test('a line that was not ended is never given, for it may be torn', () => {
    expect(cutAll(lines, [bytesOf('T=21.5')]).frames).toEqual([])
  })

  test('a line that is too long is dropped up to its end, and counted', () => {
    const { frames, skippedBytes } = cutAll(lines, [bytesOf('0123456789'), bytesOf('0123456789\ngood\n')])
    expect(frames).toEqual([Buffer.from('good').toString('hex')])
    expect(skippedBytes).toBe(21)
  })

  test('a line of exactly the longest size passes', () => {
    expect(cutAll(lines, [bytesOf('0123456789abcdef\n')]).frames).toHaveLength(1)
  })

  test('fifteen megabytes without a newline are dropped, and the line after them is read', () => {
    const cutter = framer({ kind: 'lines', maxBytes: 1024 })
    const junk = new Uint8Array(64 * 1024).fill(0x55)
    for (let sent = 0; sent < 15e6; sent += junk.length) expect([...cutter.push(junk)]).toEqual([])
    expect([...cutter.push(bytesOf('\ngood\n'))].map(textOf)).toEqual(['good'])
    expect(cutter.skippedBytes()).toBe(Math.ceil(15e6 / junk.length) * junk.length + 1)
  })

  test('every byte but the newline passes through a line unchanged', () => {
    const all = Uint8Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte !== 0x0a)
    const framing: Framing = { kind: 'lines', maxBytes: 300 }
    expect(cutAll(framing, [all, Uint8Array.of(0x0a)]).frames).toEqual([Buffer.from(all).toString('hex')])
  })

  // Where a link keeps messages apart, a chunk is one: there is nothing to cut.
  test.each(drivers.filter(({ framing }) => framing.kind !== 'messages'))(
    '$model: frames do not depend on how the bytes are cut into chunks',
    ({ framing, examples }) => {
      const part = fc.oneof(
        fc.constantFrom(...examples.map(({ bytes }) => bytes)),
        fc.uint8Array({ maxLength: 40 }),
      )
      fc.assert(
        fc.property(
          fc.array(part, { maxLength: 8 }),
          fc.array(fc.nat(2000), { maxLength: 12 }),
          (parts, cuts) => {
            const wire = new Uint8Array(Buffer.concat(parts))
            expect(cutAll(framing, pieces(wire, cuts))).toEqual(cutAll(framing, [wire]))
          },
        ),
        { seed, numRuns: 200 },
      )
    },
  )

  test.each(drivers)(
    '$model: every byte is in a frame, counted as skipped, or still waiting',
    ({ framing, examples }) => {
      if (framing.kind === 'lines') return
      const part = fc.oneof(
        fc.constantFrom(...examples.map(({ bytes }) => bytes)),
        fc.uint8Array({ maxLength: 40 }),
      )
      fc.assert(
        fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
          const wire = new Uint8Array(Buffer.concat(parts))
          const { frames, skippedBytes } = cutAll(framing, [wire])
          const framed = frames.reduce((total, hex) => total + hex.length / 2, 0)
          expect(framed + skippedBytes).toBeLessThanOrEqual(wire.length)
          expect(wire.length - framed - skippedBytes).toBeLessThan(framing.maxBytes)
        }),
        { seed, numRuns: 200 },
      )
    },
  )

  test('a frame that never ends costs no more than a frame of memory, and the next one is found', () => {
    // Says "wait" for everything that begins with 1, as a driver does that believes a bad length byte.
    const cut = (bytes: Uint8Array, from: number): Cut => {
      if (bytes[from] === 1) return { kind: 'wait' }
      return bytes[from] === 2
        ? { kind: 'frame', start: from, end: from + 1 }
        : { kind: 'skip', to: from + 1 }
    }
    const bytes = new Uint8Array(100_000).fill(1)
    bytes[99_990] = 2
    expect(cutAll({ kind: 'cut', maxBytes: 8, cut }, [bytes])).toEqual({
      frames: ['02'],
      skippedBytes: 99_992,
    })
  })

  test.each([
    ['goes back', { kind: 'skip', to: 0 }],
    ['goes past the end', { kind: 'skip', to: 99 }],
    ['gives an empty frame', { kind: 'frame', start: 1, end: 1 }],
    ['gives a frame longer than it said', { kind: 'frame', start: 0, end: 9 }],
  ] as const)('a driver that %s is our own mistake', (_what, next) => {
    expect(() => cutAll({ kind: 'cut', maxBytes: 4, cut: () => next }, [new Uint8Array(10)])).toThrow(
      /^a cut/,
    )
  })
})

describe('addresses', () => {
  test('a path is a serial port, tcp:// and udp:// are network addresses', () => {
    for (const name of [
      '/dev/ttyUSB0',
      '/dev/serial/by-id/usb-1a86',
      'COM3',
      'tcp://[::1]:3001',
      'tcp://pi:1',
      'udp://127.0.0.1:1700',
    ])
      expect(linkNamed(name, { baudRate: 9600 }).name).toBe(name)
  })

  test.each(['', 'ttyUSB0', 'http://a:1', 'COM', '/dev/tty\0'])('%j is neither, and says so', (name) => {
    expect(() => linkNamed(name, { baudRate: 9600 })).toThrow(
      `link ${JSON.stringify(name)} is neither a serial port nor an address.\n` +
        'Give a path such as /dev/ttyUSB0 or an address such as tcp://192.168.1.20:3001 or udp://127.0.0.1:1700.',
    )
  })

  test.each([
    'tcp://',
    'tcp://host',
    'tcp://host:0',
    'tcp://host:99999',
    'tcp://host:1/path',
    'tcp://u:p@host:1',
  ])('%s is no address', (name) =>
    expect(() => linkNamed(name, { baudRate: 9600 })).toThrow('Write tcp://host:port with a port from 1'),
  )
})

const aborts: AbortController[] = []
const signalOfTest = (): AbortSignal => {
  const controller = new AbortController()
  aborts.push(controller)
  return controller.signal
}
afterEach(() => {
  for (const controller of aborts.splice(0)) controller.abort()
})

/** The wire as a test holds it: each opening gives a new pair of ends. */
const fakeWire = () => {
  const ends: Duplex[] = []
  const waiting: ((end: Duplex) => void)[] = []
  let failures = 0
  const opener: Opener = {
    name: 'wire',
    open: async () => {
      if (failures > 0) {
        failures -= 1
        throw new LinkError('missing', 'wire does not exist.\nPlug it in.')
      }
      const [device, gateway] = duplexPair()
      device.on('error', () => undefined)
      const next = waiting.shift()
      if (next) next(device)
      else ends.push(device)
      return gateway
    },
  }
  return {
    opener,
    fail: (times: number) => {
      failures = times
    },
    device: (): Promise<Duplex> => {
      const end = ends.shift()
      return end ? Promise.resolve(end) : new Promise((resolve) => waiting.push(resolve))
    },
  }
}

const lineFraming: Framing = { kind: 'lines', maxBytes: 64 }

const superviseFast = (options: Partial<SuperviseOptions> & Pick<SuperviseOptions, 'opener'>) =>
  supervise({ framing: lineFraming, silenceMs: 60_000, backoffMs: [1, 2], ...options })

const nextText = async (frames: AsyncGenerator<ReceivedFrame, void, void>): Promise<string> => {
  const { value } = await frames.next()
  return value ? textOf(value.bytes) : 'end'
}

describe('a kept link', () => {
  test('gives frames with the time of receipt, and counts', async () => {
    const wire = fakeWire()
    const clock = {
      utcMs: () => 1_700_000_000_000,
      steadyMs: () => 0,
      sleep: () => new Promise<void>(() => undefined),
    }
    const { status, frames } = superviseFast({ opener: wire.opener, clock })
    const received = frames(signalOfTest())
    const first = received.next()
    const device = await wire.device()
    device.write(`${'x'.repeat(100)}\none\ntwo\n`)
    expect(await first).toMatchObject({ value: { receivedMs: 1_700_000_000_000 } })
    expect(await nextText(received)).toBe('two')
    const third = nextText(received)
    device.write('three\n')
    expect(await third).toBe('three')
    expect(status).toMatchObject({
      name: 'wire',
      open: true,
      opens: 1,
      closes: 0,
      bytes: 115,
      frames: 3,
      skippedBytes: 101,
      lastError: null,
      lastFrameMs: 1_700_000_000_000,
    })
  })

  test('is opened again after an error, a close and a failed opening, and greets each time', async () => {
    const wire = fakeWire()
    const greeting = [bytesOf('wake'), bytesOf('up')]
    const { status, frames } = superviseFast({ opener: wire.opener, greeting, greetingGapMs: 1 })
    const received = frames(signalOfTest())
    const heard = async (device: Duplex): Promise<string> => {
      let text = ''
      for await (const chunk of device.iterator({ destroyOnReturn: false })) {
        text += String(chunk)
        if (text.length >= 6) break
      }
      return text
    }
    for (const [round, text] of ['one', 'two', 'three'].entries()) {
      const next = nextText(received)
      const device = await wire.device()
      expect(await heard(device)).toBe('wakeup')
      device.write(`${text}\n`)
      expect(await next).toBe(text)
      if (round === 1) wire.fail(3)
      if (round === 0) device.end()
      else device.destroy()
    }
    expect(status).toMatchObject({ opens: 3, failedOpens: 3, frames: 3 })
    expect(status.lastError).toContain('\n')
  })

  test('waits longer after each failure, up to a bound, and starts over once frames come', async () => {
    const wire = fakeWire()
    const waits: number[] = []
    const clock = {
      utcMs: () => 0,
      steadyMs: () => 0,
      sleep: (ms: number, signal: AbortSignal): Promise<void> => {
        // The watchdog's wait, which ends with the link.
        if (ms === 60_000)
          return new Promise((_, reject) => signal.addEventListener('abort', reject, { once: true }))
        waits.push(ms)
        return Promise.resolve()
      },
    }
    const { frames } = superviseFast({
      opener: wire.opener,
      backoffMs: [250, 30_000],
      clock,
      random: () => 1,
    })
    wire.fail(10)
    const received = frames(signalOfTest())
    const first = nextText(received)
    const device = await wire.device()
    device.write('one\n')
    expect(await first).toBe('one')
    const second = nextText(received)
    device.end()
    ;(await wire.device()).write('two\n')
    expect(await second).toBe('two')
    expect(waits).toEqual([250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 250])
  })

  test('never waits less than half its time, so that jitter cannot hammer a port', async () => {
    const wire = fakeWire()
    const waits: number[] = []
    const controller = new AbortController()
    const clock = {
      utcMs: () => 0,
      steadyMs: () => 0,
      sleep: async (ms: number): Promise<void> => {
        waits.push(ms)
        if (waits.length === 3) controller.abort()
      },
    }
    wire.fail(10)
    const { frames } = superviseFast({ opener: wire.opener, backoffMs: [200, 1000], clock, random: () => 0 })
    expect(await nextText(frames(controller.signal))).toBe('end')
    expect(waits).toEqual([100, 200, 400])
  })

  test('is opened again when it is silent, and noise is silence', async () => {
    const wire = fakeWire()
    const { status, frames } = superviseFast({ opener: wire.opener, silenceMs: 50 })
    const received = frames(signalOfTest())
    const first = nextText(received)
    const stuck = await wire.device()
    const babble = setInterval(() => stuck.writable && stuck.write('?'), 5)
    onTestFinished(() => clearInterval(babble))
    const alive = await wire.device()
    alive.write('alive\n')
    expect(await first).toBe('alive')
    expect(status.lastError).toBe(
      'link wire carried no whole frame for 0 s.\n' +
        'It is opened again; if this repeats, check the wiring, the baud rate and the sensor model.',
    )
  })

  test('is not taken for silent while its reader is busy', async () => {
    const wire = fakeWire()
    const { status, frames } = superviseFast({ opener: wire.opener, silenceMs: 40 })
    const received = frames(signalOfTest())
    const first = nextText(received)
    const device = await wire.device()
    device.write('one\n')
    expect(await first).toBe('one')
    await delay(120)
    const second = nextText(received)
    device.write('two\n')
    expect(await second).toBe('two')
    expect(status).toMatchObject({ opens: 1, lastError: null })
  })

  test('slows the wire down when its reader is slow', async () => {
    const wire = fakeWire()
    const { frames } = superviseFast({ opener: wire.opener })
    const received = frames(signalOfTest())
    const first = nextText(received)
    const device = await wire.device()
    device.write('one\n')
    await first
    let written = 0
    for (; !device.writableNeedDrain && written < 1000; await delay(20))
      while (device.write('0123456789abcdef\n'.repeat(64)) && written < 1000) written += 1
    expect(written).toBeLessThan(1000)
    expect(device.writableNeedDrain).toBe(true)
  })

  test('ends without an error when its signal is aborted, open or waiting, and closes the wire', async () => {
    const wire = fakeWire()
    const open = new AbortController()
    const received = superviseFast({ opener: wire.opener }).frames(open.signal)
    const next = nextText(received)
    const device = await wire.device()
    const closed = new Promise((resolve) => device.once('end', resolve))
    device.resume()
    open.abort()
    expect(await next).toBe('end')
    await closed

    const waiting = new AbortController()
    wire.fail(1000)
    const { frames } = superviseFast({ opener: wire.opener, backoffMs: [60_000, 60_000] })
    const none = nextText(frames(waiting.signal))
    await delay(5)
    waiting.abort()
    expect(await none).toBe('end')
  })

  test('is closed when its reader stops', async () => {
    const wire = fakeWire()
    const { status, frames } = superviseFast({ opener: wire.opener })
    const feeding = wire.device().then((device) => device.write('one\n'))
    for await (const frame of frames(signalOfTest())) {
      expect(textOf(frame.bytes)).toBe('one')
      break
    }
    await feeding
    expect(status).toMatchObject({ open: false, closes: 1 })
  })
})

describe('tcp', () => {
  const listen = async (onClient: (socket: Socket) => void) => {
    const clients = new Set<Socket>()
    const server = createServer((socket) => {
      clients.add(socket.on('error', () => undefined))
      onClient(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      for (const client of clients) client.destroy()
      server.close()
    })
    return { port: (server.address() as { port: number }).port, clients, server }
  }

  test('a link over TCP survives a converter that closes it', async () => {
    const { port, clients } = await listen((socket) => void socket.write(`hello ${clients.size}\n`))
    const received = superviseFast({
      opener: linkNamed(`tcp://127.0.0.1:${port}`, { baudRate: 9600 }),
    }).frames(signalOfTest())
    expect(await nextText(received)).toBe('hello 1')
    for (const client of clients) client.destroy()
    expect(await nextText(received)).toBe('hello 2')
  })

  test('a port that nobody listens on is named, with what to do', async () => {
    const { port, server } = await listen(() => undefined)
    server.close()
    const name = `tcp://127.0.0.1:${port}`
    await expect(linkNamed(name, { baudRate: 9600 }).open(signalOfTest())).rejects.toMatchObject({
      code: 'refused',
      message: `link ${name} is not listening.\nStart the converter or ser2net, and check the port number.`,
    })
  })

  test('a connection attempt ends when its signal is aborted', async () => {
    const controller = new AbortController()
    const opening = linkNamed('tcp://127.0.0.1:9', { baudRate: 9600 }).open(controller.signal)
    controller.abort(new Error('enough'))
    await expect(opening).rejects.toThrow('enough')
  })
})

describe('serial ports that are not there', () => {
  test('say so, with what to do', async () => {
    await expect(linkNamed('/dev/ttyNONE', { baudRate: 9600 }).open(signalOfTest())).rejects.toMatchObject({
      code: 'missing',
      message:
        'serial port /dev/ttyNONE does not exist.\n' +
        'Plug the device in, or set link to another port; "groundtruth doctor" lists them.',
    })
  })
})

const script = await hasScript()
if (!script)
  console.warn('Serial port tests are SKIPPED: script(1) is missing. Install it (Debian: bsdutils).')

describe.skipIf(!script)('serial ports on pseudo-terminals', () => {
  const folder = async (): Promise<string> => {
    const path = await mkdtemp(join(tmpdir(), 'groundtruth-link-'))
    onTestFinished(() => rm(path, { recursive: true, force: true }))
    return path
  }
  const allBytes = Uint8Array.from({ length: 256 * 40 }, (_, index) => (index * 7 + (index >> 8)) & 0xff)

  /** Reads so many bytes from a stream and leaves it open. */
  const take = async (stream: Duplex, count: number): Promise<Buffer> => {
    let bytes = Buffer.alloc(0)
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
      bytes = Buffer.concat([bytes, chunk as Buffer])
      if (bytes.length >= count) break
    }
    return bytes
  }

  test('every byte value passes both ways', async () => {
    const heard: Uint8Array[] = []
    const outlet = await pty(await folder())('port', (bytes) => void heard.push(bytes))
    onTestFinished(() => outlet.unplug())
    const port = await linkNamed(outlet.link, { baudRate: 115_200 }).open(signalOfTest())
    onTestFinished(() => void port.destroy())
    const arriving = take(port, allBytes.length)
    for (let at = 0; at < allBytes.length; at += 1000)
      expect(outlet.write(allBytes.slice(at, at + 1000))).toBe(true)
    expect(Buffer.compare(await arriving, allBytes)).toBe(0)
    port.write(allBytes)
    await expect.poll(() => Buffer.concat(heard).length).toBe(allBytes.length)
    expect(Buffer.compare(Buffer.concat(heard), allBytes)).toBe(0)
  })

  test('a port in use is busy, and free again once it is closed', async () => {
    const outlet = await pty(await folder())('port', () => undefined)
    onTestFinished(() => outlet.unplug())
    const opener = linkNamed(outlet.link, { baudRate: 9600 })
    const port = await opener.open(signalOfTest())
    await expect(opener.open(signalOfTest())).rejects.toMatchObject({
      code: 'busy',
      message: `serial port ${outlet.link} is busy (held by pid ${process.pid}).\nStop the process that uses it, or set link to another port; "groundtruth doctor" lists them.`,
    })
    const closed = new Promise((resolve) => port.once('close', resolve))
    port.destroy()
    await closed
    const again = await opener.open(signalOfTest())
    again.destroy()
  })

  test('bytes said while nobody listens are lost, not kept for later', async () => {
    const outlet = await pty(await folder())('port', () => undefined)
    onTestFinished(() => outlet.unplug())
    expect(outlet.write(bytesOf('early\n'))).toBe(false)
    const port = await linkNamed(outlet.link, { baudRate: 9600 }).open(signalOfTest())
    onTestFinished(() => void port.destroy())
    expect(outlet.write(bytesOf('late\n'))).toBe(true)
    expect(textOf(await take(port, 5))).toBe('late\n')
  })

  test('a link survives being unplugged in the middle of a line and plugged in again, ten times', async () => {
    const outlet = await pty(await folder())('port', () => undefined)
    onTestFinished(() => outlet.unplug())
    const { status, frames } = superviseFast({
      opener: linkNamed(outlet.link, { baudRate: 9600 }),
      backoffMs: [5, 20],
    })
    const received = frames(signalOfTest())
    for (let round = 0; round <= 10; round += 1) {
      const next = nextText(received)
      await expect.poll(() => outlet.write(bytesOf(`round ${round}\n`)), { timeout: 10_000 }).toBe(true)
      expect(await next).toBe(`round ${round}`)
      if (round === 10) break
      outlet.write(bytesOf('torn'))
      await outlet.unplug()
      expect(existsSync(outlet.link)).toBe(false)
      await outlet.plug()
    }
    expect(status).toMatchObject({ opens: 11, closes: 10, frames: 11 })
    expect(status.lastError).toContain(`serial port ${outlet.link}`)
  })

  test('a killed process leaves no terminal behind', async () => {
    const path = await folder()
    const program = `
      import { pty } from ${JSON.stringify(new URL('../firmware-sim/outlets/pty.ts', import.meta.url).href)}
      const outlet = await pty(${JSON.stringify(path)})('port', () => undefined)
      const { readlink } = await import('node:fs/promises')
      console.log(await readlink(outlet.link))
      setInterval(() => outlet.write(new Uint8Array(10)), 5)
    `
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    let said = ''
    for await (const chunk of child.stdout) {
      said += String(chunk)
      if (said.includes('\n')) break
    }
    const device = said.trim()
    expect(existsSync(device)).toBe(true)
    child.kill('SIGKILL')
    await expect.poll(() => existsSync(device), { timeout: 10_000 }).toBe(false)
  })
})
