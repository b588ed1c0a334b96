/** A link asks its driver what to say: after opening, after each frame, and when its time has come. */
import { type Duplex, duplexPair } from 'node:stream'
import { afterEach, describe, expect, test } from 'vitest'
import type { Opener } from '#gateway/link/link.ts'
import { supervise } from '#gateway/link/supervise.ts'
import type { Dialogue } from '#gateway/sensors/sensors.ts'

const aborts: AbortController[] = []
const signalOfTest = (): AbortSignal => {
  const controller = new AbortController()
  aborts.push(controller)
  return controller.signal
}
afterEach(() => {
  for (const controller of aborts.splice(0)) controller.abort()
})

const wireOfTest = () => {
  const devices: Duplex[] = []
  const opener: Opener = {
    name: 'wire',
    open: async () => {
      const [device, gateway] = duplexPair()
      device.on('error', () => undefined)
      devices.push(device)
      return gateway
    },
  }
  return { opener, devices }
}

const framing = { kind: 'lines', maxBytes: 64 } as const

/** Answers each question with its own text in capitals, and notes what it was asked. */
const echo = (device: Duplex): string[] => {
  const heard: string[] = []
  device.on('data', (bytes) => {
    heard.push(String(bytes))
    device.write(`${String(bytes).trim().toUpperCase()}\n`)
  })
  return heard
}

describe('a dialogue', () => {
  test('comes after the greeting, goes on after each answer, and starts over when the wire is opened again', async () => {
    const { opener, devices } = wireOfTest()
    const questions = ['version', 'value']
    let asked = 0
    let opened = 0
    const dialogue: Dialogue = {
      opened: () => {
        opened += 1
        asked = 0
      },
      turn: () => {
        const question = questions[asked]
        asked += 1
        // Without an answer it would wait for an hour: it is the answer that brings the next turn.
        return question === undefined
          ? { againMs: 3_600_000 }
          : { send: new Uint8Array(Buffer.from(`${question}\n`)), againMs: 3_600_000 }
      },
    }
    const link = supervise({
      opener,
      framing,
      greeting: [new Uint8Array(Buffer.from('hello\n'))],
      dialogue,
      silenceMs: 60_000,
      backoffMs: [1, 1],
    })
    const frames = link.frames(signalOfTest())
    const next = async (): Promise<string> => Buffer.from((await frames.next()).value!.bytes).toString()
    for (const round of [1, 2]) {
      const first = frames.next()
      await expect.poll(() => devices.length).toBe(round)
      const heard = echo(devices[round - 1]!)
      await first
      // How many answers come before it depends on which of the device's words arrive together.
      while ((await next()) !== 'VALUE');
      expect(heard.join('').replace(/\n/g, ' ')).toBe('hello version value ')
      devices[round - 1]!.destroy()
    }
    expect(opened).toBe(2)
  })

  test('is asked again when its time has come, though nothing was heard', async () => {
    const { opener, devices } = wireOfTest()
    let turns = 0
    const dialogue: Dialogue = {
      opened: () => undefined,
      turn: () => {
        turns += 1
        return { send: Uint8Array.of(0x3f), againMs: 5 }
      },
    }
    const link = supervise({ opener, framing, dialogue, silenceMs: 60_000 })
    const frames = link.frames(signalOfTest())
    const first = frames.next()
    await expect.poll(() => turns).toBeGreaterThan(3)
    expect(String(devices[0]!.read())).toMatch(/^\?+$/)
    devices[0]!.write('late\n')
    expect((await first).value?.bytes.length).toBe(4)
  })

  test('says no more to a device that does not listen, and a driver that wants to speak at once for ever stops nobody', async () => {
    const { opener, devices } = wireOfTest()
    const dialogue: Dialogue = {
      opened: () => undefined,
      turn: () => ({ send: new Uint8Array(1024), againMs: 0 }),
    }
    const link = supervise({ opener, framing, dialogue, silenceMs: 60_000 })
    const frames = link.frames(signalOfTest())
    const first = frames.next()
    await expect.poll(() => devices.length).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 200))
    // What a pair of streams and the link hold together; without a bound it would be twice as much by now.
    let held = 0
    for (let bytes = devices[0]!.read(); bytes !== null; bytes = devices[0]!.read()) held += bytes.length
    expect(held).toBeLessThan(96 * 1024)
    devices[0]!.write('x\n')
    await first
  })

  test('that throws is told as the reason why the link was closed', async () => {
    const { opener } = wireOfTest()
    const dialogue: Dialogue = {
      opened: () => undefined,
      turn: () => {
        throw new Error('this driver divides by zero')
      },
    }
    const link = supervise({ opener, framing, dialogue, silenceMs: 60_000, backoffMs: [1, 1] })
    const controller = new AbortController()
    const frames = link.frames(controller.signal)
    const first = frames.next()
    await expect.poll(() => link.status.lastError).toBe('this driver divides by zero')
    controller.abort()
    expect(await first).toMatchObject({ done: true })
  })
})

describe('a session', () => {
  test('holds the wire in place of framing, and is held again when the wire is opened again', async () => {
    const { opener, devices } = wireOfTest()
    const link = supervise({
      opener,
      framing,
      session: async function* (wire) {
        for await (const bytes of wire as AsyncIterable<Uint8Array>) yield bytes.slice().reverse()
      },
      silenceMs: 60_000,
      backoffMs: [1, 1],
    })
    const frames = link.frames(signalOfTest())
    for (const round of [1, 2]) {
      const first = frames.next()
      await expect.poll(() => devices.length).toBe(round)
      devices[round - 1]!.write('abc')
      expect(Buffer.from((await first).value!.bytes).toString()).toBe('cba')
      devices[round - 1]!.destroy()
    }
    expect(link.status).toMatchObject({ opens: 2, frames: 2, bytes: 6 })
  })
})
