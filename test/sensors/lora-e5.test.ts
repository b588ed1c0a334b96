/** LoRa-E5 modules. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import { loraE5 } from '#sim/devices/lora-e5.ts'
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

const driver = driverOf('lora-e5')
const modem = () => loraE5({ seed, nodes })
const commands = ['AT', 'AT+MODE=TEST', 'AT+TEST=RFCFG,868.1,SF7,125,12,15,14,ON,OFF,OFF', 'AT+TEST=RXLRPKT']

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('lora-e5'))('$ascii', (entry) => {
    const outcomes = decodeAlone(driver, bytesIn(entry))
    if (entry.decoded.length === undefined) return expect(outcomes).toMatchObject([{ kind: 'control' }])
    expectUplink(entry.decoded, outcomes)
  })

  test('the module is set up with the commands of the specification', () => {
    const published = framesFile('lora-e5').flatMap(({ direction, ascii }) => (direction ? [ascii!] : []))
    expect(published).toEqual(expect.arrayContaining(commands.slice(1).map((command) => `${command}\r\n`)))
  })
})

describe('a LoRa-E5', () => {
  test('over a link its nodes are read as they meant', () => readOverLink(modem(), 6))

  test('is set up whatever is lost on the way', () => expectPatience(modem, commands))

  test('is told to receive again after it has sent', () => {
    const device = modem()
    const talk = conversation(device)
    talk.open()
    talk.pass(1000, true)
    const [done] = device.hear(bytesOf('AT+TEST=TXLRPKT, "00AA11BB22CC"\r\n'), 0)
    expect(device.speak(0)).toBeUndefined()
    talk.receive(done!)
    talk.pass(1000, true)
    expect(talk.sent.at(-1)).toBe('AT+TEST=RXLRPKT\r\n')
    expect(device.speak(0)).toBeDefined()
  })

  test('that sends while it is set up is set up to the end', () => {
    const talk = conversation(modem())
    talk.way.toDevice = (bytes, index) => (index === 2 ? undefined : bytes)
    talk.open()
    talk.pass(1000, true)
    talk.noise(bytesOf('+TEST: TX DONE\r\n'))
    talk.pass(10_000, true)
    expect(talk.sent).toEqual(
      [commands[0], commands[1], ...commands.slice(1)].map((command) => `${command}\r\n`),
    )
  })

  test('whose power was gone without a word is set up again after five minutes of silence', () => {
    const device = modem()
    const talk = conversation(device)
    talk.open()
    talk.pass(1000, true)
    device.powerOn(0)
    talk.pass(310_000)
    expect(talk.sent).toEqual([...commands, ...commands].map((command) => `${command}\r\n`))
    talk.pass(20_000)
    expect(talk.meant.length).toBeGreaterThan(5)
    expect(readingsIn(talk.outcomes)).toEqual(talk.meant.map(carried))
  })

  test('an error of the module is told in words', () => {
    const talk = conversation(modem())
    talk.way.toDevice = (bytes, index) => (index === 2 ? bytesOf('AT+MODE=REST\r\n') : bytes)
    talk.open()
    talk.pass(10_000, true)
    expect(talk.outcomes[1]).toEqual({
      kind: 'refused',
      reason: 'device-error',
      detail: 'AT+MODE=TEST was refused: error -1: a parameter is not allowed',
    })
    expect(talk.sent).toHaveLength(5)
  })

  test('a payload without its first line, or of another length, is refused', () => {
    const first = '+TEST: LEN:2, RSSI:-26, SNR:13\r\n'
    const refusals = (wire: string) => refusalsOf(decodeAlone(driver, bytesOf(wire)))
    expect(refusals('+TEST: RX "0012"\r\n')).toEqual(['layout'])
    expect(refusals(`${first}+TEST: RX "00"\r\n`)).toEqual(['length'])
    expect(refusals(`${first}+TEST: RX "00\r\n`)).toEqual(['layout'])
    // Four lines, two seconds each, between the two.
    expect(refusals(`${first}+LOG: A\r\n+LOG: A\r\n+LOG: A\r\n+TEST: RX "0012"\r\n`)).toEqual(['layout'])
  })
})
