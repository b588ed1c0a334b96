/** What tests of modems share: a driver and a simulated modem that talk, with or without a station's link. */
import { expect, onTestFinished } from 'vitest'
import { framer } from '#gateway/link/frame.ts'
import { supervise } from '#gateway/link/supervise.ts'
import { openHeard } from '#gateway/reading/heard.ts'
import { toValues } from '#gateway/reading/reading.ts'
import { driverOf } from '#gateway/sensors/all.ts'
import { decoderOf, toReadings } from '#gateway/sensors/read.ts'
import type { Dialogue, Outcome, Settings } from '#gateway/sensors/sensors.ts'
import type { Device, Meant } from '#sim/devices/device.ts'
import type { LoraNode } from '#sim/devices/radio-nodes.ts'
import { inProcess } from '#sim/outlets/in-process.ts'
import { type Conditions, type Place, world } from '#sim/world.ts'
import { surroundings } from './frames.ts'

export const seed = 20261121
export const startMs = Date.UTC(2026, 10, 21, 6)
export const berlin: Place = { latitude: 52.52, longitude: 13.405, altitudeM: 40 }
export const air = (timeMs: number): Conditions => world(seed).at(berlin, timeMs)
export const nodes: readonly LoraNode[] = [
  { address: 11, air, payload: 'text' },
  { address: 12, air, payload: 'cbor' },
]

/** Readings as they are carried: scaled to each quantity's decimals. */
export const carried = ({ node, measurements }: Meant) => ({ node, values: toValues(measurements) })
export const readingsIn = (outcomes: readonly Outcome[]): ReturnType<typeof carried>[] =>
  outcomes.flatMap((outcome): ReturnType<typeof carried>[] => {
    if (outcome.kind === 'reading') return [carried(outcome)]
    if (outcome.kind !== 'signed') return []
    const { node } = outcome
    return toReadings('m', 's', [outcome], startMs).frames.flatMap((heard) => {
      const opened = openHeard(heard)
      return opened.ok
        ? opened.frame.readings.map(({ values }) => ({ node, values: [...values] }))
        : expect.fail(opened.detail)
    })
  })

/** What may happen to bytes on their way; undefined is lost. */
type Spoil = (bytes: Uint8Array, index: number) => Uint8Array | undefined
const intact: Spoil = (bytes) => bytes

const silent: Dialogue = { opened: () => undefined, turn: () => ({ againMs: 3_600_000 }) }

/** A driver and a device in a time of their own: nothing waits, and everything that is said is kept. */
export const conversation = (device: Device, settings: Settings = device.settings) => {
  const driver = driverOf(device.model)
  const decoder = decoderOf(driver, settings, surroundings())
  const dialogue = decoder.dialogue ?? silent
  let cutter = framer(decoder.framing ?? driver.framing)
  const sent: string[] = []
  const outcomes: Outcome[] = []
  const meant: Meant[] = []
  let heard = 0
  let nowMs = 0
  let dueMs = 0
  let speakMs = device.intervalMs
  const way = { toDevice: intact, toGateway: intact }

  const receive = (emission: { readonly bytes: Uint8Array; readonly meant: readonly Meant[] }): void => {
    heard += 1
    const bytes = way.toGateway(emission.bytes, heard)
    if (!bytes) return
    meant.push(...emission.meant)
    for (const frame of cutter.push(bytes)) {
      outcomes.push(...decoder.decode(frame, nowMs))
      dueMs = nowMs
    }
  }
  const turn = (): void => {
    const { send, againMs } = dialogue.turn(nowMs)
    dueMs = nowMs + Math.max(againMs, 1)
    if (!send) return
    sent.push(Buffer.from(send).toString('latin1'))
    const bytes = way.toDevice(send, sent.length)
    if (bytes) for (const emission of device.hear(bytes, startMs + nowMs)) receive(emission)
  }

  return {
    sent,
    outcomes,
    meant,
    way,
    /** The wire is opened (again); what was half received is gone. */
    open: (): void => {
      cutter = framer(decoder.framing ?? driver.framing)
      dialogue.opened(nowMs)
      dueMs = nowMs
    },
    /** Bytes out of nowhere. */
    noise: (bytes: Uint8Array): void => receive({ bytes, meant: [] }),
    receive,
    /** Lets time pass; the device speaks at its pace unless it is to be quiet. */
    pass: (ms: number, quiet = false): void => {
      const untilMs = nowMs + ms
      for (let step = 0; nowMs < untilMs; step += 1) {
        expect(step, 'steps in so much time').toBeLessThan(20_000)
        if (dueMs <= nowMs) {
          turn()
          if (dueMs <= nowMs) continue
        }
        if (speakMs <= nowMs) {
          const emission = quiet ? undefined : device.speak(startMs + nowMs)
          if (emission) receive(emission)
          speakMs = nowMs + device.intervalMs
          continue
        }
        nowMs = Math.min(dueMs, speakMs, untilMs)
      }
    },
  }
}

/** Over a real link in this process: sets the device up, and compares so many readings with what was meant. */
export const readOverLink = async (device: Device, readings: number): Promise<void> => {
  const driver = driverOf(device.model)
  const decoder = decoderOf(driver, device.settings, surroundings())
  const controller = new AbortController()
  onTestFinished(() => controller.abort())
  const meant: Meant[] = []
  let said = 0
  const outlet = await inProcess('modem', (bytes) => {
    for (const emission of device.hear(bytes, startMs + said)) send(emission)
  })
  const send = (emission: { readonly bytes: Uint8Array; readonly meant: readonly Meant[] }): void => {
    if (outlet.write(emission.bytes)) meant.push(...emission.meant)
  }
  const link = supervise({
    opener: outlet.opener!,
    framing: decoder.framing ?? driver.framing,
    greeting: driver.greeting(device.settings),
    dialogue: decoder.dialogue,
    silenceMs: 60_000,
  })
  const timer = setInterval(() => {
    said += 1000
    const emission = device.speak(startMs + said)
    if (emission) send(emission)
  }, 10)
  onTestFinished(() => clearInterval(timer))
  const outcomes: Outcome[] = []
  for await (const { bytes, atMs } of link.frames(controller.signal)) {
    outcomes.push(...decoder.decode(bytes, atMs))
    if (readingsIn(outcomes).length >= readings) break
  }
  expect(outcomes.filter(({ kind }) => kind === 'refused')).toEqual([])
  const read = readingsIn(outcomes)
  expect(read).toEqual(meant.slice(0, read.length).map(carried))
}

/** Compares an uplink with what a published frame is said to hold: payload, RSSI, SNR. */
export const expectUplink = (decoded: Record<string, unknown>, outcomes: readonly Outcome[]): void => {
  expect(outcomes.map(({ kind }) => kind)).toEqual(['uplink'])
  const [uplink] = outcomes
  if (uplink?.kind !== 'uplink') return
  const digits = decoded.dataHex ?? (decoded.ascii && Buffer.from(String(decoded.ascii)).toString('hex'))
  if (digits !== undefined) expect(Buffer.from(uplink.payload).toString('hex')).toBe(digits)
  if (decoded.length !== undefined) expect(uplink.payload.length).toBe(decoded.length)
  for (const name of ['rssi', 'snr'] as const) expect(uplink.radio[name], name).toBe(decoded[name])
}

/** What every modem must survive in its set-up: each command lost once, each answer torn once, a new opening. */
export const expectPatience = (make: () => Device, expected: readonly string[]): void => {
  for (let spoilt = 1; spoilt <= expected.length; spoilt += 1)
    for (const how of ['lost', 'unanswered', 'torn'] as const) {
      const device = make()
      const talk = conversation(device)
      if (how === 'lost') talk.way.toDevice = (bytes, index) => (index === spoilt ? undefined : bytes)
      if (how === 'unanswered') talk.way.toGateway = (bytes, index) => (index === spoilt ? undefined : bytes)
      if (how === 'torn')
        talk.way.toGateway = (bytes, index) =>
          index === spoilt
            ? Buffer.concat([bytes.slice(0, Math.max(1, bytes.length - 5)), Buffer.from('\r\n')])
            : bytes
      talk.open()
      talk.pass(120_000)
      const name = `${how} ${spoilt}`
      expect(talk.meant.length, name).toBeGreaterThan(10)
      expect(readingsIn(talk.outcomes), name).toEqual(
        talk.meant.slice(0, readingsIn(talk.outcomes).length).map(carried),
      )
      expect(readingsIn(talk.outcomes).length, name).toBeGreaterThan(talk.meant.length - 3)
    }
  const talk = conversation(make())
  talk.open()
  talk.pass(1, true)
  talk.open()
  talk.pass(10_000, true)
  expect(talk.sent.slice(-expected.length)).toEqual(expected.map((command) => `${command}\r\n`))
}
