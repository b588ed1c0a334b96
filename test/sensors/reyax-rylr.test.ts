/** REYAX RYLR modems. */
import { describe, expect, test } from 'vitest'
import { encodeReadings } from '#gateway/reading/payload.ts'
import { toValues } from '#gateway/reading/reading.ts'
import { driverOf } from '#gateway/sensors/all.ts'
import { loraModem } from '#sim/devices/lora-modem.ts'
import {
  bytesIn,
  bytesOf,
  decode,
  expectDecoded,
  framesFile,
  fromDevice,
  haveFrames,
  measurementsOf,
  refusalsOf,
  surroundings,
} from './frames.ts'
import { carried, conversation, nodes, readingsIn, readOverLink, seed } from './modems.ts'

const password = 'FABC0002EEDCAA90FABC0002EEDCAA90'
const all = { address: 50, networkId: 18, bandHz: 868_500_000, parameter: '9,7,1,12', password }

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('reyax-rylr'))('RYLR: $device $ascii$hex', (entry) => {
    const outcomes = decode(driverOf('reyax-rylr'), bytesIn(entry), {
      text: { columns: ['temperature', 'humidity', 'pressure'] },
    })
    const { address, error } = entry.decoded
    if (typeof error === 'string') return expect(refusalsOf(outcomes)).toEqual(['length'])
    if (address === undefined) return expect(outcomes).toMatchObject([{ kind: 'control' }])
    expectDecoded(entry, outcomes)
    expect(outcomes.at(-1)).toMatchObject({ kind: 'reading', node: `lora-${address}` })
    if (entry.decoded.data === '21.5,45,1013')
      expect(measurementsOf(outcomes)).toMatchObject({ temperature: 21.5, humidity: 45, pressure: 1013 })
  })

  test('the modem is set up with the commands of the guide', () => {
    const published = framesFile('reyax-rylr').flatMap(({ direction, ascii }) => (direction ? [ascii!] : []))
    const talk = conversation(loraModem({ seed, nodes, variant: 'rylr896' }), all)
    talk.open()
    talk.pass(1000, true)
    expect(talk.sent).toHaveLength(7)
    expect(talk.sent.filter((command) => command !== 'AT+VER?\r\n')).toEqual(
      published.filter((command) => !/SEND|IPR|CRFOP/.test(command)),
    )
    expect(talk.outcomes.map((outcome) => outcome.kind)).toEqual(Array(7).fill('control'))
  })

  describe('RYLR', () => {
    const driver = driverOf('reyax-rylr')

    test('a CBOR payload holds readings of the node’s own sensors, and its last reading carries the signal', () => {
      const timeMs = Date.UTC(2026, 10, 21)
      const values = toValues([{ quantity: 'temperature', value: 21.5 }])
      const payload = encodeReadings([
        { sensor: 'a', model: 'bme280', timeMs, values },
        { sensor: 'a', model: 'bme280', timeMs: timeMs + 1000, values },
      ])
      const wire = Buffer.concat([bytesOf(`+RCV=9,${payload.length},`), payload, bytesOf(',-80,7\r\n')])
      const measurements = [{ quantity: 'temperature', value: 21.5 }]
      const radio = [
        { quantity: 'rssi', value: -80 },
        { quantity: 'snr', value: 7 },
      ]
      expect(decode(driver, wire, {}, 1)).toEqual([
        { kind: 'reading', measurements, timeMs, backlog: true, node: 'lora-9-a' },
        {
          kind: 'reading',
          measurements: [...measurements, ...radio],
          timeMs: timeMs + 1000,
          backlog: true,
          node: 'lora-9-a',
        },
      ])
      const noReadings = Buffer.from('+RCV=9,4,\x82\x01,\n,-80,7\r\n', 'latin1')
      expect(refusalsOf(decode(driver, noReadings))).toEqual(['layout'])
    })

    test('only the nodes that are listed are heard', () => {
      const wire = bytesOf('+RCV=7,5,t=1.5,-47,11\r\n+RCV=8,5,t=1.5,-47,11\r\n')
      const outcomes = decode(driver, wire, { nodes: ['lora-8'] })
      expect(refusalsOf(outcomes)).toEqual(['not-configured'])
      expect(outcomes.at(-1)).toMatchObject({ kind: 'reading', node: 'lora-8' })
    })

    test('a setting cannot carry a second command', () => {
      expect(() => driver.configure({ parameter: '9,7,1,12\r\nAT+FACTORY' }, surroundings())).toThrow(
        /setting "parameter"/,
      )
    })

    test('the modem’s password is in no outcome', () => {
      expect(decode(driver, bytesOf('+CPIN=FABC0002\r\n'))).toEqual([{ kind: 'control', what: '+CPIN' }])
    })
  })
})

describe('the talk with a RYLR', () => {
  const modem = () => loraModem({ seed, nodes })
  const commands = ['AT\r\n', 'AT+ADDRESS=1\r\n', 'AT+NETWORKID=18\r\n']

  test('over a link its nodes are read as they meant', () => readOverLink(modem(), 6))

  test('a command that was lost is sent again, and so is one whose answer was lost or torn', () => {
    const talk = conversation(modem())
    talk.way.toDevice = (bytes, index) => (index === 2 ? undefined : bytes)
    talk.way.toGateway = (bytes, index) => (index === 2 ? bytes.slice(0, 2) : bytes)
    talk.open()
    talk.pass(20_000, true)
    expect(talk.sent).toEqual([commands[0], commands[1], commands[1], commands[1], commands[2]])
    expect(talk.outcomes.at(-1)).toEqual({ kind: 'control', what: 'AT+NETWORKID=18 is done' })
  })

  test('an answer that comes twice, because its command was sent twice, counts once', () => {
    const talk = conversation(modem())
    talk.way.toGateway = (bytes, index) => (index === 2 ? undefined : bytes)
    talk.open()
    talk.pass(2050, true)
    talk.way.toDevice = () => undefined
    talk.noise(bytesOf('+OK\r\n'))
    talk.pass(300, true)
    expect(talk.sent).toEqual([commands[0], commands[1], commands[1]])
    talk.pass(10_000, true)
    expect(talk.sent.slice(3)).toEqual(Array(3).fill(commands[2]))
  })

  test('messages and noise between do not count as answers', () => {
    const talk = conversation(modem())
    talk.way.toDevice = () => undefined
    talk.open()
    talk.pass(1, true)
    talk.noise(bytesOf('+RCV=11,5,t=1.5,-47,11\r\n+ADDRESS=7\r\n\x00+O\r\nK\r\n'))
    talk.way.toDevice = (bytes) => bytes
    talk.pass(1000, true)
    expect(talk.sent).toEqual([commands[0]])
    talk.pass(10_000, true)
    expect(talk.sent.slice(1)).toEqual(commands)
  })

  test('a setting that the modem refuses is told, tried again, and not said of what is heard', () => {
    const talk = conversation(modem(), all)
    talk.open()
    talk.pass(10_000, true)
    const refused = talk.outcomes.filter((outcome) => outcome.kind === 'refused')
    expect(refused).toHaveLength(3)
    expect(refused[0]!.detail).toBe(
      'AT+CPIN was refused: error 5: length differs from the data; a modem whose version begins with RYLR99 wants 8 digits, the setting has 32',
    )
    expect(JSON.stringify(talk.outcomes)).not.toContain(password)
    talk.noise(bytesOf('+RCV=11,5,t=1.5,-47,11\r\n'))
    expect(measurementsOf(talk.outcomes)).toEqual({ temperature: 1.5, rssi: -47, snr: 11 })
    const before = talk.sent.length
    talk.pass(60_000, true)
    expect(talk.sent[before]).toBe('AT\r\n')
  })

  test('a modem that was reset, or opened again in the middle, is told everything again', () => {
    const device = modem()
    const talk = conversation(device)
    talk.open()
    talk.pass(1000, true)
    for (const emission of device.powerOn(0)) talk.receive(emission)
    talk.pass(1000, true)
    talk.way.toGateway = () => undefined
    talk.open()
    talk.pass(1000, true)
    talk.way.toGateway = (bytes) => bytes
    talk.open()
    talk.pass(20_000)
    expect(talk.sent).toEqual([...commands, ...commands, commands[0], ...commands])
    expect(readingsIn(talk.outcomes).length).toBeGreaterThan(5)
    expect(readingsIn(talk.outcomes)).toEqual(talk.meant.map(carried))
  })
})
