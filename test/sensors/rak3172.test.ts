/** RAK3172 modules. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import { rak3172 } from '#sim/devices/rak3172.ts'
import { bytesIn, bytesOf, decodeAlone, framesFile, fromDevice, haveFrames, refusalsOf } from './frames.ts'
import {
  carried,
  conversation,
  expectPatience,
  expectUplink,
  nodes,
  readingsIn,
  readOverLink,
  seed,
} from './modems.ts'

const driver = driverOf('rak3172')
const commands = ['AT+PRECV=0', 'AT+NWM=0', 'AT+P2P=868100000:7:125:0:8:14', 'AT+PRECV=65534']
const modem = (firmware: 'rui3' | 'old' = 'rui3') => rak3172({ seed, nodes, firmware })

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('rak3172'))('$ascii', ({ decoded, ...entry }) => {
    const outcomes = decodeAlone(driver, bytesIn({ ...entry, decoded }))
    // A LoRaWAN downlink (from memory of the manual) is for this module and no node’s: it is told, not read.
    if (decoded.event !== undefined || decoded.window !== undefined)
      return expect(outcomes).toMatchObject([{ kind: 'control' }])
    expectUplink(decoded, outcomes)
  })

  test('the published commands are obeyed by the simulated module, and those of the set-up are the driver’s', () => {
    const published = framesFile('rak3172').flatMap(({ direction, ascii }) => (direction ? [ascii!] : []))
    const device = modem()
    const said = published.map((command) =>
      device
        .hear(bytesOf(command), 0)
        .map(({ bytes }) => Buffer.from(bytes).toString())
        .join(''),
    )
    expect(said[0]).toContain('Current Work Mode: LoRa P2P.')
    expect(said.slice(1)).toEqual(['\r\nOK\r\n', '\r\nOK\r\n', '\r\nAT_BUSY_ERROR\r\n'])
    const talk = conversation(modem(), { radio: { frequencyMHz: 868, preamble: 10 } })
    talk.open()
    talk.pass(1000, true)
    expect(talk.sent.slice(1)).toEqual(published.slice(0, 3))
  })
})

describe('a RAK3172', () => {
  test.each(['rui3', 'old'] as const)(
    'over a link its nodes are read as they meant, firmware %s',
    (firmware) => readOverLink(modem(firmware), 6),
  )

  test('is set up whatever is lost on the way', () => expectPatience(modem, commands))

  test('an event glued to an answer counts for both', () => {
    const talk = conversation(modem())
    talk.way.toGateway = () => undefined
    talk.open()
    talk.pass(1, true)
    talk.way.toGateway = (bytes) => bytes
    talk.noise(bytesOf('OK\r\n+EVT:RXP2P:-60:11:000B543D31\r\n'))
    talk.pass(1, true)
    talk.noise(bytesOf('OK+EVT:RXP2P:-60:11:000B543D32\r\n'))
    talk.pass(1000, true)
    expect(talk.sent[1]).toBe('AT+NWM=0\r\n')
    expect(talk.sent[2]).toBe(`${commands[2]}\r\n`)
    expect(readingsIn(talk.outcomes).map(({ node }) => node)).toEqual(['lora-11', 'lora-11'])
  })

  test('that ends receiving by itself, or starts anew, is told to receive again', () => {
    const device = modem()
    const talk = conversation(device)
    talk.open()
    talk.pass(1000, true)
    talk.noise(bytesOf('+EVT:RXP2P RECEIVE TIMEOUT\r\n'))
    talk.pass(5000, true)
    expect(talk.sent[4]).toBe('AT+PRECV=65534\r\n')
    for (const emission of device.powerOn(0)) talk.receive(emission)
    talk.pass(5000, true)
    const before = readingsIn(talk.outcomes).length
    talk.pass(20_000)
    expect(readingsIn(talk.outcomes).slice(before)).toEqual(talk.meant.map(carried))
    expect(talk.meant.length).toBeGreaterThan(5)
  })

  test('a refused setting is told with the module’s word, and the frequency is no longer said', () => {
    const talk = conversation(modem(), {
      address: 'first-two-bytes',
      radio: { frequencyMHz: 868.1, preamble: 6 },
    })
    talk.way.toGateway = (bytes) =>
      Buffer.from(bytes).includes('OK') && talk.sent.at(-1)!.includes('P2P=')
        ? bytesOf('AT_PARAM_ERROR\r\n')
        : bytes
    talk.open()
    talk.pass(10_000, true)
    expect(talk.outcomes.filter(({ kind }) => kind === 'refused')).toEqual(
      Array(3).fill({
        kind: 'refused',
        reason: 'device-error',
        detail: 'AT+P2P=868100000:7:125:0:6:14 was refused: AT_PARAM_ERROR',
      }),
    )
    talk.noise(bytesOf('+EVT:RXP2P:-60:11:000B543D31\r\n'))
    expect(readingsIn(talk.outcomes)[0]!.values).toHaveLength(3)
  })

  test('a message without an end, without its first line, or with half a byte is refused', () => {
    const wire = '+EVT:RXP2P:-60:11:AAB\r\n+EVT:AABB\r\n+EVT:RXP2P:-60\r\n+EVT:RXP2P, RSSI -60\r\n'
    expect(refusalsOf(decodeAlone(driver, bytesOf(wire)))).toEqual(['length', 'layout', 'layout', 'layout'])
  })
})
