/** Meshtastic radios. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import { fieldsOf, float, int, uint } from '#gateway/sensors/protobuf.ts'
import type { Settings } from '#gateway/sensors/sensors.ts'
import { meshtastic } from '#sim/devices/meshtastic.ts'
import {
  bytesIn,
  decode,
  decodeAlone,
  framesFile,
  haveFrames,
  hex,
  measurementsOf,
  refusalsOf,
} from './frames.ts'
import { air, berlin, carried, conversation, readingsIn, readOverLink, seed, startMs } from './modems.ts'

const driver = driverOf('meshtastic')
const radio = () =>
  meshtastic({
    seed,
    nodes: [0x0000_00a1, 0x433b_f5a4, 0xdead_beef].map((number) => ({ number, place: berlin, air })),
  })
const wake = 'c3'.repeat(32)
const sentAs = (sent: readonly string[]): string[] =>
  sent.map((text) => Buffer.from(text, 'latin1').toString('hex'))
const wantConfig = '94c30006188feae7dd0a'
const heartbeat = '94c300023a00'

const frame = (payload: string): string =>
  `94c3${(payload.length / 2).toString(16).padStart(4, '0')}${payload}`
const field = (tag: string, content: string): string =>
  `${tag}${(content.length / 2).toString(16).padStart(2, '0')}${content}`
/** A FromRadio with a packet of node !433bf5a4 that holds this much of the payload of an application. */
const packet = (port: string, payload: string, rest = ''): string =>
  frame(field('12', `0da4f53b43${field('22', `08${port}${field('12', payload)}`)}${rest}`))
const measured = (bytes: string, settings?: Settings) =>
  measurementsOf(decode(driver, hex(bytes), settings, 3))

describe.skipIf(!haveFrames)('published frames', () => {
  const entries = haveFrames ? framesFile('meshtastic-serial') : []
  const byName = (part: string) => entries.find(({ device }) => device.includes(part))!

  test('environment telemetry', () => {
    const { decoded, ...entry } = byName('environment')
    const outcomes = decodeAlone(driver, bytesIn({ ...entry, decoded }))
    expect(outcomes).toMatchObject([
      {
        kind: 'reading',
        node: `mesh-${String(decoded.from).slice(1)}`,
        timeMs: Number(decoded.rxTime) * 1000,
      },
    ])
    expect(measurementsOf(outcomes)).toEqual({
      temperature: decoded.temperature,
      humidity: decoded.relativeHumidity,
      pressure: decoded.barometricPressure,
      // As published 50.5; what the firmware sends are kilohms.
      gas_resistance: Number(decoded.gasResistance) * 1000,
      iaq: decoded.iaq,
      rssi: decoded.rxRssi,
      snr: decoded.rxSnr,
    })
  })

  test('air quality telemetry', () => {
    const entry = byName('air quality')
    expect(measurementsOf(decodeAlone(driver, bytesIn(entry)))).toEqual({
      pm1: entry.decoded.pm10_environmental,
      pm2_5: entry.decoded.pm25_environmental,
      pm10: entry.decoded.pm100_environmental,
      co2: entry.decoded.co2,
      rssi: entry.decoded.rxRssi,
      snr: entry.decoded.rxSnr,
    })
  })

  test('text of its log before a frame is skipped', () => {
    // A message that the radio has told its configuration: 38 01 is config_complete_id 1.
    expect(decodeAlone(driver, bytesIn(byName('debug text')))).toEqual([
      { kind: 'control', what: 'the radio has told its configuration' },
    ])
  })

  test('the radio is woken and asked with the published bytes', () => {
    const talk = conversation(radio())
    talk.open()
    talk.pass(1000, true)
    expect(sentAs(talk.sent)).toEqual([byName('resync').hex, byName('want_config').hex])
  })
})

describe('the talk with a Meshtastic radio', () => {
  test('over a link its nodes are read as they meant', () => readOverLink(radio(), 20))

  test('goes on with a heartbeat, so that the radio does not forget its client', () => {
    const talk = conversation(radio())
    talk.open()
    talk.pass(3_600_000)
    const sent = sentAs(talk.sent)
    expect(sent.slice(0, 2)).toEqual([wake, wantConfig])
    expect(new Set(sent.slice(2))).toEqual(new Set([heartbeat]))
    expect(sent.length).toBeGreaterThan(14)
    expect(talk.meant.length).toBeGreaterThan(2000)
    expect(readingsIn(talk.outcomes)).toEqual(talk.meant.map(carried))
  })

  test('begins again where it was lost, where nothing comes back, and where the radio has started anew', () => {
    const device = radio()
    const talk = conversation(device)
    talk.way.toDevice = (bytes, index) => (index <= 2 ? undefined : bytes)
    talk.open()
    talk.pass(11_000, true)
    expect(sentAs(talk.sent)).toEqual([wake, wantConfig, wake, wantConfig])
    expect(device.speak(startMs)).toBeDefined()
    for (const emission of device.powerOn(0)) talk.receive(emission)
    talk.pass(1000, true)
    expect(sentAs(talk.sent).slice(4)).toEqual([wake, wantConfig])
    // Without a word of it, a new start is a long silence.
    device.powerOn(0)
    talk.pass(1_000_000, true)
    expect(sentAs(talk.sent).slice(-2)).toEqual([wake, wantConfig])
    talk.pass(20_000)
    expect(readingsIn(talk.outcomes)).toEqual(talk.meant.map(carried))
    expect(talk.meant.length).toBeGreaterThan(5)
  })

  test('begins again when the wire is opened again in the middle of a frame', () => {
    const talk = conversation(radio())
    talk.open()
    talk.pass(20_000)
    const before = talk.meant.length
    talk.noise(hex('94c3010012'))
    talk.open()
    talk.pass(20_000)
    expect(talk.meant.length).toBeGreaterThan(before)
    expect(readingsIn(talk.outcomes)).toEqual(talk.meant.map(carried))
  })
})

describe('a packet', () => {
  const temperature = '0d0000ac41'

  test('of the radio itself has no signal; SNR 0 is not sent, and is 0', () => {
    expect(measured(packet('43', field('1a', temperature)))).toEqual({ temperature: 21.5 })
    expect(measured(packet('43', field('1a', temperature), '60d1ffffffffffffffff01'))).toEqual({
      temperature: 21.5,
      rssi: -47,
      snr: 0,
    })
  })

  test('of a battery above 100 % is of a node that has none', () => {
    expect(measured(packet('43', field('12', '0865150000a040')))).toEqual({
      battery: 'no-data',
      battery_voltage: 5,
    })
    expect(measured(packet('43', field('12', '0864')))).toEqual({ battery: 100 })
  })

  test('with a value that is not a number says so, and units are made ours', () => {
    expect(measured(packet('43', field('1a', '0d0000c07f')))).toEqual({ temperature: 'not-a-number' })
    // 250 mA, 12 µR/h.
    expect(measured(packet('43', field('1a', '3500007a439501' + '00004041')))).toEqual({
      current: 0.25,
      radiation: 0.12,
    })
  })

  test('of a position is a reading of its own, and none without a fix', () => {
    expect(measured(packet('03', '0d00f4511f1500e0fd071828'))).toEqual({
      latitude: 52.5464576,
      longitude: 13.4078464,
      altitude: 40,
    })
    expect(measured(packet('03', '0d0000000015000000001828'))).toEqual({})
    // Minus 33.4, minus 70.6 degrees, minus two metres.
    expect(measured(packet('03', '0d809017ec15804bebd518feffffffffffffffff01'))).toEqual({
      latitude: -33.4,
      longitude: -70.6,
      altitude: -2,
    })
  })

  test('of text or of a private application is read as any node’s payload', () => {
    const text = Buffer.from('T=21.5,H=45').toString('hex')
    expect(measured(packet('01', text))).toEqual({ temperature: 21.5, humidity: 45 })
    expect(measured(packet('8002', text))).toEqual({ temperature: 21.5, humidity: 45 })
    expect(decodeAlone(driver, hex(packet('01', text)))).toMatchObject([
      { kind: 'uplink', node: 'mesh-433bf5a4' },
    ])
  })

  test('that cannot be decrypted, or is for another application, is counted', () => {
    const encrypted = frame(field('12', `0da4f53b43${field('2a', '010203')}`))
    expect(decodeAlone(driver, hex(encrypted))).toEqual([
      { kind: 'control', what: 'an encrypted packet of mesh-433bf5a4' },
    ])
    expect(decodeAlone(driver, hex(packet('05', '0102')))).toEqual([
      { kind: 'control', what: 'mesh-433bf5a4 sent something for application 5' },
    ])
    const user = field('12', Buffer.from('Roof').toString('hex'))
    expect(decodeAlone(driver, hex(packet('04', user)))).toEqual([
      { kind: 'control', what: 'mesh-433bf5a4 is called "Roof"' },
    ])
  })

  test('of a node that is not listed is refused, telemetry as well as text', () => {
    const wire = packet('43', field('1a', temperature)) + packet('01', '543d31')
    expect(refusalsOf(decode(driver, hex(wire), { nodes: ['mesh-00000001'] }))).toEqual([
      'not-configured',
      'not-configured',
    ])
    expect(refusalsOf(decode(driver, hex(wire), { nodes: ['mesh-433bf5a4'] }))).toEqual([])
  })

  test('with the bytes that begin a frame inside is one packet', () => {
    // The second pair announces a frame that would end behind this one: what comes next shows that it does not.
    for (const inside of ['94c3000a543d3939', '94c301ff543d3939', '94c3000294c3ffff']) {
      const wire = packet('8002', inside) + packet('01', '543d31').repeat(30)
      const outcomes = decodeAlone(driver, hex(wire), {}, 5)
      expect(outcomes).toHaveLength(31)
      expect(outcomes[0]).toMatchObject({ kind: 'uplink', payload: hex(inside) })
    }
  })

  test('that is torn anywhere takes nothing from the one after it, whatever the two are', () => {
    const frames = [
      packet('43', field('1a', temperature), '60d1ffffffffffffffff01'),
      packet('01', '543d3939'),
      packet('03', '0d00f4511f1500e0fd071828'),
      frame(field('2a', '00'.repeat(60))),
      frame('38cdab02'),
    ]
    const good = packet('01', '543d31')
    for (const torn of frames)
      for (let kept = 0; kept < torn.length; kept += 2) {
        const outcomes = decodeAlone(driver, hex(torn.slice(0, kept) + good.repeat(40)))
        const texts = outcomes.filter((outcome) => outcome.kind === 'uplink')
        expect(texts, `${torn} ${kept}`).toEqual(Array(40).fill(decodeAlone(driver, hex(good))[0]))
      }
  })
})

describe('protocol buffers', () => {
  test('fields of each kind are read, negative numbers of ten bytes among them', () => {
    const fields = fieldsOf(
      hex('089601' + '10ffffffffffffffffff01' + '1d0000ac41' + '25ffffffff' + '290000000000000000'),
    )!
    expect(uint(fields, 1)).toBe(150)
    expect(int(fields, 2)).toBe(-1)
    expect(float(fields, 3)).toBe(21.5)
    expect(int(fields, 4)).toBe(-1)
    expect(uint(fields, 4)).toBe(0xffff_ffff)
    expect(float(fields, 1)).toBeUndefined()
    expect(uint(fields, 9)).toBeUndefined()
  })

  test.each([
    ['an endless varint', '08ffffffffffffffffffff01'],
    ['a varint without its end', '0896'],
    ['a length past the end', '0a05aa'],
    ['a length of four gigabytes', '0affffffff0f'],
    ['a group', '0b0c'],
    ['field number 0', '0001'],
    ['half a fixed32', '0d0000'],
  ])('%s is no message', (_, bytes) => expect(fieldsOf(hex(bytes))).toBeUndefined())

  test('more fields than any message has are no message', () => {
    expect(fieldsOf(hex('0801'.repeat(512)))).toBeDefined()
    expect(fieldsOf(hex('0801'.repeat(513)))).toBeUndefined()
  })

  test('any bytes are read without an error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const fields = fieldsOf(bytes)
        for (const number of fields?.keys() ?? []) {
          expect(uint(fields!, number) ?? 0).toBeLessThan(2 ** 32)
          expect(int(fields!, number) ?? 0).toBeLessThan(2 ** 31)
        }
      }),
      { seed, numRuns: 500 },
    )
  })
})

test('a text as it stands on the wire is what the driver’s text settings make of it', () => {
  const text = Buffer.from('21.5;45').toString('hex')
  expect(refusalsOf(decode(driver, hex(packet('01', text))))).toEqual(['unknown'])
  expect(
    measured(packet('01', Buffer.from('21.5,45').toString('hex')), {
      text: { columns: ['temperature', 'humidity'] },
    }),
  ).toEqual({ temperature: 21.5, humidity: 45 })
})
