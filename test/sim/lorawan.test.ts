/** Simulated LoRaWAN gateways: what they hear is read once and in order, through outages, repetitions and restarts. */
import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { readDevice } from '#gateway/device.ts'
import { linkNamed } from '#gateway/link/named.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { driverOf } from '#gateway/sensors/all.ts'
import { decoderOf, toReadings } from '#gateway/sensors/read.ts'
import type { Outcome, Surroundings } from '#gateway/sensors/sensors.ts'
import { surroundingsIn } from '#gateway/surroundings.ts'
import { basicsStation } from '#sim/devices/basics-station.ts'
import type { Device, Emission, Meant } from '#sim/devices/device.ts'
import { packetForwarder } from '#sim/devices/packet-forwarder.ts'
import type { LoraNode } from '#sim/devices/radio-nodes.ts'
import { generator } from '#sim/random.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { surroundings } from '../sensors/frames.ts'
import { air, carried, readingsIn, seed, startMs } from '../sensors/modems.ts'

/** Air in which no two seconds are alike, so that each reading can be told from all others. */
const changing: LoraNode['air'] = (timeMs) => ({
  ...air(timeMs),
  pressure: 400 + (((timeMs - startMs) / 1000) % 6000) / 10,
})
const nodes: readonly LoraNode[] = [
  { address: 11, air: changing, payload: 'text' },
  { address: 12, air: changing, payload: 'cbor' },
  { address: 13, air: changing, payload: 'cayenne' },
]
const makers = {
  'packet forwarder': () => packetForwarder({ seed, nodes }),
  'basics station': () => basicsStation({ seed, nodes }),
}

/** What is acknowledged or configured without a network: answers of the link to what the device says. */
const acknowledged = (device: Device, { bytes }: Emission): readonly Emission[] =>
  bytes[0] === 2 && bytes[3] === 0 ? device.hear(Uint8Array.of(2, bytes[1]!, bytes[2]!, 1), startMs) : []

const configured = (device: Device): Device => {
  for (const bytes of driverOf(device.model).greeting(device.settings)) device.hear(bytes, startMs)
  return device
}

/** So many of its messages, as they go to the link. */
const messagesOf = (device: Device, count: number): Emission[] =>
  Array.from({ length: count }, (_, index) => {
    const emission = device.speak(startMs + index * 1000)!
    acknowledged(device, emission)
    return emission
  })

test.for(Object.entries(makers))('a %s: every message means what its twin meant', ([, make], { expect }) => {
  const device = configured(make())
  const decoder = decoderOf(driverOf(device.model), device.settings, surroundings())
  const messages = messagesOf(device, 60)
  const outcomes = messages.flatMap(({ bytes }, index) => decoder.decode(bytes, index * 1000))
  expect(readingsIn(outcomes)).toEqual(messages.flatMap(({ meant }) => meant.map(carried)))
  expect(outcomes.filter(({ kind }) => kind === 'refused')).toEqual([])
  expect(new Set(messages.flatMap(({ meant }) => meant.map(({ node }) => node)))).toEqual(
    new Set(['node-11', 'node-12-env', 'node-13']),
  )
})

test.for(Object.entries(makers))(
  'a %s is read over its network, through outages of the gateway',
  async ([name, make], { expect }) => {
    const stop = new AbortController()
    onTestFinished(() => stop.abort())
    const device = make()
    const meant: Meant[] = []
    const send = (emission: Emission): void => {
      if (outlet.write(emission.bytes)) meant.push(...emission.meant)
    }
    const outlet = await device.outlet!('test', (bytes) => {
      for (const emission of device.hear(bytes, startMs)) send(emission)
    })
    onTestFinished(() => outlet.unplug())
    const kept: Reading[] = []
    // The file of counters is that of one station, over all of its restarts.
    const around = surroundingsIn(temporaryDirectory(), 'test')
    const start = () => {
      const ending = new AbortController()
      const reader = readDevice({
        device: {
          id: 'roof',
          model: device.model,
          settings: device.settings,
          baudRate: 1,
          opener: linkNamed(outlet.link, { baudRate: 1 }),
        },
        surroundings: around,
        take: async (reading) => void kept.push(reading),
      })
      const ended = reader.run(AbortSignal.any([ending.signal, stop.signal]))
      const end = async (): Promise<void> => {
        ending.abort()
        await ended
      }
      return { reader, end }
    }
    const talk = async (): Promise<void> => {
      for (let nowMs = startMs; !stop.signal.aborted; nowMs += 1000) {
        const emission = device.speak(nowMs)
        if (emission) send(emission)
        await delay(5)
      }
    }
    const talking = talk()
    for (let run = 1; run <= 3; run += 1) {
      const gateway = start()
      await expect.poll(() => kept.length, { timeout: 10_000 }).toBeGreaterThan(run * 20)
      await gateway.end()
      expect(gateway.reader.status.refusals).toEqual({})
      await delay(50)
    }
    stop.abort()
    await talking
    const wanted = meant.map(
      (one) => toReadings(device.model, 'roof', [{ kind: 'reading', ...one }], 0).readings[0]!,
    )
    const key = ({ sensor, values }: Reading): string => `${sensor} ${JSON.stringify(values)}`
    const read = kept.map(key)
    // Nothing twice, nothing that was not meant, and in order.
    expect(new Set(read).size).toBe(read.length)
    let at = 0
    for (const one of read) {
      const found = wanted.map(key).indexOf(one, at)
      expect(found, one).toBeGreaterThanOrEqual(at)
      at = found + 1
    }
    // A forwarder sends again until it is acknowledged: of its frames none is lost, save one whose reader just ended.
    if (name === 'packet forwarder') expect(wanted.length - read.length).toBeLessThanOrEqual(64 + 3)
  },
)

test.for(Object.entries(makers))(
  'a %s: two that hear the same devices give each reading once',
  ([, make], { expect }) => {
    const [one, other] = [configured(make()), configured(make())]
    const decoder = decoderOf(driverOf(one.model), one.settings, surroundings())
    const outcomes: Outcome[] = []
    // The second gateway's twin makes the same frames, in its own messages.
    const second = messagesOf(other, 30)
    for (const [index, first] of messagesOf(one, 30).entries())
      for (const { bytes } of [first, second[index]!]) outcomes.push(...decoder.decode(bytes, index * 1000))
    expect(readingsIn(outcomes)).toHaveLength(30)
    const again = outcomes.filter(
      (outcome) => outcome.kind === 'control' && /another gateway/.test(outcome.what),
    )
    expect(again).toHaveLength(30)
    expect(outcomes.filter(({ kind }) => kind === 'refused')).toEqual([])
  },
)

test.for(Object.entries(makers))(
  'a %s: what is recorded and played again after a restart is refused',
  ([, make], { expect }) => {
    const device = configured(make())
    const directory = temporaryDirectory()
    const messages = messagesOf(device, 12)
    const read = (around: Surroundings, from: number): Outcome[] => {
      const decoder = decoderOf(driverOf(device.model), device.settings, around)
      return messages.slice(from).flatMap(({ bytes }) => decoder.decode(bytes, 3_600_000))
    }
    expect(readingsIn(read(surroundingsIn(directory, 'test'), 0))).toHaveLength(12)
    const replayed = read(surroundingsIn(directory, 'test'), 0)
    expect(readingsIn(replayed)).toEqual([])
    expect(replayed.flatMap((one) => (one.kind === 'refused' ? [one.reason] : []))).toEqual(
      Array.from({ length: 12 }, () => 'replay'),
    )
  },
)

test('a packet forwarder sends again what is not acknowledged, and nothing behind it', () => {
  const device = makers['packet forwarder']()
  const first = device.speak(startMs)!
  for (let time = 1; time < 5; time += 1) {
    const again = device.speak(startMs + time * 1000)!
    expect(again.bytes).toEqual(first.bytes)
    expect(again.meant).toEqual([])
  }
  // Another's acknowledgement is none of it.
  expect(device.hear(Uint8Array.of(2, 0xff, 0xff, 1), startMs)).toEqual([])
  const [pull, second] = acknowledged(device, first)
  expect(Buffer.from(pull!.bytes).toString('hex')).toMatch(/^02.{4}02[0-9a-f]{16}$/)
  expect(second!.meant.length).toBeGreaterThan(0)
})

test('a basics station hears nothing until it has a region that it can set', () => {
  const device = makers['basics station']()
  expect(device.speak(startMs)).toBe(undefined)
  for (const text of ['', 'x', '{}', '{"msgtype":"router_config","region":"EU863"}'])
    device.hear(new Uint8Array(Buffer.from(text)), startMs)
  expect(device.speak(startMs)).toBe(undefined)
  const [asked] = device.hear(driverOf(device.model).greeting(device.settings)[0]!, startMs)
  expect(Buffer.from(asked!.bytes).toString()).toMatch(/^\{"msgtype":"timesync","txtime":\d{17}\}$/)
  expect(device.speak(startMs)).toBeDefined()
  device.powerOn(startMs)
  expect(device.speak(startMs)).toBe(undefined)
})

test.for(Object.entries(makers))('a %s: no bytes from the gateway upset it', ([, make], { expect }) => {
  const device = configured(make())
  const random = generator(seed)
  for (let round = 0; round < 500; round += 1)
    device.hear(
      Uint8Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 256)),
      startMs,
    )
  expect(device.speak(startMs)?.meant.length).toBeGreaterThan(0)
})

test.for(Object.entries(makers))('a %s whose messages are spoilt is not misread', ([, make], { expect }) => {
  const device = configured(make())
  const decoder = decoderOf(driverOf(device.model), device.settings, surroundings())
  const random = generator(seed)
  const messages = messagesOf(device, 200)
  const outcomes = messages.flatMap(({ bytes }, index) => {
    const spoilt = bytes.slice()
    const isSpoilt = index % 2 === 0
    if (isSpoilt) spoilt[Math.floor(random() * spoilt.length)]! ^= 1 << Math.floor(random() * 8)
    return [...decoder.decode(spoilt, index * 60_000)]
  })
  // A bit may fall where nobody looks, or on what the radio says of itself; what a device measured is under its MIC.
  const measured = (list: readonly ReturnType<typeof carried>[]) =>
    list.map(
      ({ node, values }) => `${node} ${JSON.stringify(values.filter(({ quantity }) => quantity <= 3))}`,
    )
  const wanted = new Set(measured(messages.flatMap(({ meant }) => meant.map(carried))))
  const read = measured(readingsIn(outcomes))
  for (const one of read) expect(wanted).toContain(one)
  expect(read.length).toBeGreaterThanOrEqual(100)
  expect(outcomes.some(({ kind }) => kind === 'refused')).toBe(true)
})
