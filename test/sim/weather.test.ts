/** Simulated weather stations and GNSS receivers: every kind of each, what they answer, and what they do not understand. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import { wxtChecksum } from '#gateway/sensors/vaisala-wxt.ts'
import { davis } from '#sim/devices/davis.ts'
import type { Device } from '#sim/devices/device.ts'
import { type Generation, ublox } from '#sim/devices/ublox.ts'
import { type Mode, vaisala } from '#sim/devices/vaisala.ts'
import { bytesOf, hex, measurementsOf } from '../sensors/frames.ts'
import { air, berlin, carried, conversation, readingsIn, seed, startMs } from '../sensors/modems.ts'

/** What a device answers to this, as text. */
const said = (device: Device, text: string, timeMs = startMs): string =>
  device
    .hear(bytesOf(text), timeMs)
    .map(({ bytes }) => Buffer.from(bytes).toString('latin1'))
    .join('')
const saidHex = (device: Device, bytes: Uint8Array, timeMs = startMs): string[] =>
  device.hear(bytes, timeMs).map((one) => Buffer.from(one.bytes).toString('hex'))

/** Talks for a while and compares all that was read with all that was meant. */
const understood = (device: Device, ms = 600_000) => {
  const talk = conversation(device)
  for (const bytes of driverOf(device.model).greeting(device.settings))
    for (const emission of device.hear(bytes, startMs)) talk.receive(emission)
  talk.open()
  talk.pass(ms)
  expect(talk.outcomes.filter(({ kind }) => kind === 'refused')).toEqual([])
  expect(talk.meant.length).toBeGreaterThan(100)
  expect(readingsIn(talk.outcomes)).toEqual(talk.meant.map(carried))
  return talk
}

/** Every value of a quantity that was read, absences by their reason. */
const valuesOf = ({ outcomes }: ReturnType<typeof conversation>, quantity: string) =>
  new Set(outcomes.map((outcome) => measurementsOf([outcome])[quantity]))

describe('a WXT530', () => {
  test.each(['P', 'A', 'a'] as const satisfies readonly Mode[])(
    'that speaks in mode %s is read as it meant, frozen transducers included',
    (mode) => {
      const talk = understood(vaisala({ seed, mode, air, intervalMs: 2000 }))
      expect(valuesOf(talk, 'wind_speed')).toContain('device-error')
      expect(valuesOf(talk, 'wind_speed').size).toBeGreaterThan(10)
      expect(valuesOf(talk, 'rain_total').size).toBeGreaterThan(0)
    },
  )

  test('answers to its address alone, and says what it does not understand', () => {
    const wxt = vaisala({ seed, address: '3', air })
    expect(said(wxt, '?\r\n')).toBe('3\r\n')
    expect(said(wxt, '3\r\n')).toBe('3\r\n')
    expect(said(wxt, '0R0\r\n0\r\n')).toBe('')
    expect(said(wxt, '3R9\r\n')).toBe('3TX,Unknown cmd error\r\n')
    expect(said(wxt, '3XO!\r\n')).toBe('3TX,Sync/address error\r\n')
    expect(said(wxt, '3R')).toBe('')
    expect(said(wxt, '2\r\n')).toMatch(/^3R2,Ta=-?\d+\.\dC,Ua=\d+\.\dP,Pa=\d+\.\dH\r\n$/)
  })

  test('gives a checksum to who asks with one, and refuses a wrong one', () => {
    const wxt = vaisala({ seed, air })
    const answer = said(wxt, `0r2${wxtChecksum('0r2')}\r\n`).trimEnd()
    expect(answer).toMatch(/^0r2,Ta=/)
    expect(answer.slice(-3)).toBe(wxtChecksum(answer.slice(0, -3)))
    expect(said(wxt, '0r2abc\r\n')).toMatch(/^0tX,Use chksum /)
  })

  test('is told how to speak and what it is called, and remembers that without power', () => {
    const wxt = vaisala({ seed, air })
    expect(wxt.speak(startMs)).toBeUndefined()
    expect(said(wxt, '0XU,M=A\r\n')).toBe('0XU,M=A\r\n')
    expect(said(wxt, '0XU,A=7\r\n')).toBe('7XU,A=7\r\n')
    expect(said(wxt, '7XU,M=Q\r\n')).toBe('7TX,Unknown cmd error\r\n')
    wxt.powerOn(startMs)
    expect(wxt.speak(startMs)!.meant).toHaveLength(4)
    expect(said(wxt, '7XU\r\n')).toContain('A=7,M=A')
  })

  test('counts rain until it is told to begin anew', () => {
    const wxt = vaisala({ seed, air })
    const fallen = (timeMs: number): number => Number(/Rc=([\d.]+)M/.exec(said(wxt, '0R3\r\n', timeMs))![1])
    const before = fallen(startMs)
    let nowMs = startMs
    for (let minute = 0; minute < 24 * 60; minute += 1) {
      nowMs += 60_000
      fallen(nowMs)
    }
    expect(fallen(nowMs)).toBeGreaterThan(before)
    expect(said(wxt, '0XZRU\r\n', nowMs)).toBe('0TX,Rain reset\r\n')
    expect(fallen(nowMs)).toBe(0)
  })
})

describe('a Vantage Pro2', () => {
  test.each([true, false])('with sensors of sunlight (%s) is read as it meant', (plus) => {
    const talk = understood(davis({ seed, plus, air, intervalMs: 2000 }))
    expect(valuesOf(talk, 'temperature')).toContain('no-data')
    expect(valuesOf(talk, 'temperature').size).toBeGreaterThan(2)
    expect(valuesOf(talk, 'indoor_temperature')).not.toContain('no-data')
    if (!plus) expect([...valuesOf(talk, 'uv_index')]).toEqual(['no-data'])
  })

  test('sleeps until it is woken, and then does what it is told', () => {
    const console = davis({ seed, air })
    expect(said(console, 'TEST\n')).toBe('\n\r')
    expect(said(console, 'TE')).toBe('')
    expect(said(console, 'ST\n')).toBe('TEST\n\r')
    expect(said(console, 'NVER\n')).toBe('\n\rOK\n\r1.90\n\r')
    expect(said(console, 'FLOP 1\n')).toBe('!')
    expect(said(console, 'LOOP 0\n')).toBe('!')
    const time = console.hear(bytesOf('GETTIME\n'), Date.UTC(2012, 5, 7, 10, 53, 37))
    // The clock of a real console at that moment (PyVantagePro tests), behind the acknowledgement.
    expect(time.map(({ bytes }) => bytes)).toEqual([hex('0625350a07067060ba')])
    expect(said(console, '\n', startMs + 1e6)).toBe('\n\r')
  })

  test('falls asleep after two minutes, and once in a while it wakes without a word', () => {
    const console = davis({ seed, air })
    let silent = 0
    let nowMs = startMs
    for (let waking = 0; waking < 100; waking += 1) {
      nowMs += 121_000
      if (said(console, '\n', nowMs) === '') silent += 1
      expect(said(console, '\n', nowMs)).toBe('\n\r')
    }
    expect(silent).toBeGreaterThan(0)
    expect(silent).toBeLessThan(40)
  })

  test('sends as many packets as it was asked for, and stops when something is said', () => {
    const console = davis({ seed, air })
    console.hear(bytesOf('\n'), startMs)
    expect(console.hear(bytesOf('LOOP 3\n'), startMs).map(({ bytes }) => bytes.length)).toEqual([1, 99])
    expect([1, 2, 3, 4].map((at) => console.speak(startMs + 2000 * at)?.bytes.length)).toEqual([
      99,
      99,
      undefined,
      undefined,
    ])
    console.hear(bytesOf('LOOP 3\n'), startMs + 9000)
    console.hear(bytesOf('\n'), startMs + 10_000)
    expect(console.speak(startMs + 11_000)).toBeUndefined()
  })
})

describe('a u-blox receiver', () => {
  const make = (generation: Generation): Device => ublox({ seed, place: berlin, generation })
  const greet = (device: Device): string[] =>
    driverOf('ubx')
      .greeting({})
      .flatMap((bytes) => saidHex(device, bytes))
  // ACK-ACK and ACK-NAK of CFG-VALSET and CFG-MSG.
  const [valset, message] = [
    { ack: 'b56205010200068a98c1', nak: 'b56205000200068a97bc' },
    { ack: 'b5620501020006010f38', nak: 'b5620500020006010e33' },
  ]

  test.each<readonly [Generation, readonly string[]]>([
    ['m8', [valset.nak, valset.nak, valset.nak, message.ack, message.ack]],
    ['m10', [valset.ack, valset.ack, valset.nak, message.nak, message.nak]],
    ['m10-5.20', [valset.ack, valset.ack, valset.ack, message.nak, message.nak]],
    ['f9', [valset.ack, valset.ack, valset.ack, message.ack, message.nak]],
  ])('%s acknowledges of the greeting what it knows', (generation, answers) => {
    expect(greet(make(generation))).toEqual(answers)
  })

  test.each(['m8', 'm10', 'm10-5.20', 'f9'] as const)(
    '%s is read as it meant: with a fix and without, left alone and jammed',
    (generation) => {
      const talk = understood(make(generation), 3_600_000)
      expect(valuesOf(talk, 'latitude')).toContain('no-data')
      expect(valuesOf(talk, 'latitude').size).toBeGreaterThan(100)
      for (const state of [1, 2, 3]) expect(valuesOf(talk, 'jamming_state')).toContain(state)
      const spoofing = [1, 2, 3].map((state) => valuesOf(talk, 'spoofing_state').has(state))
      const tells = generation === 'm10-5.20' || generation === 'f9'
      expect(spoofing).toEqual([tells, tells, tells])
    },
  )

  test('is silent but for NMEA until it is told to speak, and again when its power comes back', () => {
    const receiver = make('m10')
    expect(receiver.speak(startMs)!.meant).toEqual([])
    greet(receiver)
    expect(receiver.speak(startMs)!.meant).toHaveLength(2)
    receiver.powerOn(startMs)
    expect(receiver.speak(startMs)!.meant).toEqual([])
  })

  test('obeys the published CFG-VALSET, whole or in pieces, and no damaged one', () => {
    const receiver = make('m10')
    const command = hex('b562068a09000001000007009120015348')
    const damaged = command.slice()
    damaged[10]! ^= 1
    expect(saidHex(receiver, damaged)).toEqual([])
    expect(saidHex(receiver, command.slice(0, 9))).toEqual([])
    expect(saidHex(receiver, command.slice(9))).toEqual([valset.ack])
    expect(receiver.speak(startMs)!.meant).toHaveLength(2)
  })

  test('a command with one key that it does not know changes nothing', () => {
    const receiver = make('m10')
    // NAV-PVT, which it knows, and SEC-SIG, which it does not.
    const both = hex('b562068a0e000001000007009120013506912001')
    const sums = both.slice(2).reduce(
      ([a, b], byte) => {
        const next = (a! + byte) & 0xff
        return [next, (b! + next) & 0xff]
      },
      [0, 0],
    )
    expect(saidHex(receiver, Uint8Array.of(...both, ...sums))).toEqual([valset.nak])
    expect(receiver.speak(startMs)!.meant).toEqual([])
  })

  test('answers a poll of what it knows, and nothing to one of what it does not', () => {
    expect(make('m10').hear(hex('b56201070000081900'), startMs)[0]!.meant).toHaveLength(2)
    expect(make('m10').hear(hex('b562270900003091'), startMs)).toEqual([])
    expect(saidHex(make('m10'), hex('b5620a0400000e34'))[0]).toMatch(/^b5620a042800/)
  })
})
