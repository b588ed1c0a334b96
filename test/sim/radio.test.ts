/** Every simulated radio modem: as fleets make it, against noise, and on a wire that loses commands. */
import { describe, expect, test } from 'vitest'
import { framer } from '#gateway/link/frame.ts'
import { driverOf } from '#gateway/sensors/all.ts'
import { decoderOf } from '#gateway/sensors/read.ts'
import type { Outcome } from '#gateway/sensors/sensors.ts'
import { kinds } from '#sim/devices/all.ts'
import { transmitter } from '#sim/radio/region.ts'
import { generator } from '#sim/random.ts'
import { world } from '#sim/world.ts'
import { surroundings } from '../sensors/frames.ts'
import { berlin, carried, conversation, readingsIn, seed, startMs } from '../sensors/modems.ts'

const radios = ['lora', 'ebyte', 'rak3172', 'rak811', 'lora-e5', 'rn2483', 'meshtastic'] as const
const earth = world(seed)
const make = (kind: (typeof radios)[number], intervalMs = 3000) =>
  kinds[kind].make({
    seed,
    network: 'testnet',
    place: berlin,
    airAt: (where) => (timeMs) => earth.at(where, timeMs),
    intervalMs,
    warmUpMs: 0,
  })

describe.each(radios)('%s', (kind) => {
  test('three nodes are read as they meant', () => {
    const talk = conversation(make(kind))
    talk.open()
    talk.pass(60_000)
    expect(new Set(talk.meant.map(({ node }) => node)).size).toBeGreaterThanOrEqual(3)
    const read = readingsIn(talk.outcomes)
    // An RN2483's last message may still be on its way.
    expect(read.length).toBeGreaterThanOrEqual(talk.meant.length - 1)
    expect(read).toEqual(talk.meant.slice(0, read.length).map(carried))
    expect(talk.outcomes.filter((outcome) => outcome.kind === 'refused')).toEqual([])
  })

  test('no bytes from the gateway upset it', () => {
    const device = make(kind)
    const random = generator(seed)
    for (let round = 0; round < 500; round += 1)
      device.hear(
        Uint8Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 256)),
        startMs,
      )
    device.powerOn(startMs)
    // What was left of the noise ends with a line.
    device.hear(Uint8Array.of(0x0a), startMs)
    const talk = conversation(device)
    talk.open()
    talk.pass(60_000)
    expect(readingsIn(talk.outcomes).length).toBeGreaterThan(40)
  })

  test('a wire that loses a tenth of all commands costs no message that the modem gave out', () => {
    const talk = conversation(make(kind))
    const random = generator(seed)
    talk.way.toDevice = (bytes) => (random() < 0.1 ? undefined : bytes)
    talk.open()
    talk.pass(600_000)
    talk.way.toDevice = (bytes) => bytes
    talk.pass(60_000)
    expect(talk.meant.length).toBeGreaterThan(100)
    const names = (nodes: readonly { readonly node?: string | undefined }[]) => nodes.map(({ node }) => node)
    const read = names(readingsIn(talk.outcomes))
    expect(read).toEqual(names(talk.meant).slice(0, read.length))
    expect(read.length).toBeGreaterThanOrEqual(talk.meant.length - 1)
  })
})

describe('a modem whose fourth node signs', () => {
  const talkFrom = (fromMs: number, minutes: number, around = surroundings(), intervalMs = 1000) => {
    const device = make('lora', intervalMs)
    const driver = driverOf(device.model)
    const decoder = decoderOf(driver, device.settings, around)
    const cutter = framer(driver.framing)
    const outcomes: Outcome[] = []
    const sent: { atMs: number; bytes: number }[] = []
    for (let atMs = fromMs; atMs < fromMs + minutes * 60_000; atMs += device.intervalMs) {
      const said = device.speak(atMs)
      if (said) for (const frame of cutter.push(said.bytes)) outcomes.push(...decoder.decode(frame, atMs))
      const bytes = /^\+RCV=14,(\d+),/.exec(Buffer.from(said?.bytes ?? []).toString('latin1'))?.[1]
      if (bytes) sent.push({ atMs, bytes: Number(bytes) })
    }
    return { device, outcomes, sent }
  }

  test('has its key in the settings, and sends no more than its sub-band allows: a tenth of the time', () => {
    const { device, outcomes, sent } = talkFrom(startMs, 70, surroundings(), 200)
    const signed = outcomes.filter((outcome) => outcome.kind === 'signed')
    // It measures five times a second: only the rules hold it back.
    expect(signed.length).toBeGreaterThan(500)
    const [{ publicKey, name }] = device.settings.signed as [{ publicKey: string; name: string }]
    for (const outcome of signed)
      expect([Buffer.from(outcome.publicKey).toString('hex'), outcome.node]).toEqual([publicKey, name])
    expect(sent).toHaveLength(signed.length)
    const { airtimeOf } = transmitter('EU868', 3)
    const onAirMs = sent
      .filter(({ atMs }) => atMs < startMs + 3_600_000)
      .reduce((sum, { bytes }) => sum + airtimeOf(bytes), 0)
    expect(onAirMs).toBeLessThanOrEqual(360_000)
    expect(onAirMs).toBeGreaterThan(300_000)
    expect(outcomes.filter(({ kind }) => kind === 'refused')).toEqual([])
  })

  test('goes on with its numbers when the simulation starts again', () => {
    const around = surroundings()
    expect(talkFrom(startMs, 10, around).sent.length).toBeGreaterThan(20)
    const again = talkFrom(startMs + 11 * 60_000, 2, around)
    expect(again.sent.length).toBeGreaterThan(4)
    expect(again.outcomes.filter(({ kind }) => kind === 'refused')).toEqual([])
  })
})
