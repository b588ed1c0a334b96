/** RN2483 modules. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import { rn2483 } from '#sim/devices/rn2483.ts'
import { bytesIn, bytesOf, decodeAlone, framesFile, fromDevice, haveFrames, refusalsOf } from './frames.ts'
import { carried, conversation, expectPatience, nodes, readingsIn, readOverLink, seed } from './modems.ts'

const driver = driverOf('rn2483')
const modem = (firmware: '1.0.5' | '1.0.3' = '1.0.5') => rn2483({ seed, nodes, firmware })
const commands = [
  'sys get ver',
  'radio rxstop',
  'mac pause',
  'radio set mod lora',
  'radio set freq 868100000',
  'radio set sf sf7',
  'radio set bw 125',
  'radio set cr 4/5',
  'radio set prlen 8',
  'radio set wdt 0',
  'radio rx 0',
]
const after = ['radio get snr', 'radio get rssi', 'radio rx 0']
const onWire = (texts: readonly string[]): string[] => texts.map((text) => `${text}\r\n`)

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('rn2483'))('$ascii', (entry) => {
    // A message is given out when the module has said how it was heard: these answers are not in the file.
    const answers = entry.decoded.dataHex && entry.decoded.ascii ? '7\r\n-61\r\n' : ''
    const outcomes = decodeAlone(driver, Buffer.concat([bytesIn(entry), bytesOf(answers)]))
    // mac_rx (from memory of the reference) is LoRaWAN data for this module: told, not read.
    if (!answers) return expect(outcomes).toMatchObject([{ kind: 'control' }])
    const uplink = outcomes.find(({ kind }) => kind === 'uplink')
    expect(uplink).toMatchObject({ payload: bytesOf('Hello'), radio: { snr: 7, rssi: -61 } })
  })

  test('the module is set up with the commands of the reference, all of which the simulated one knows', () => {
    const published = framesFile('rn2483').flatMap(({ direction, ascii }) => (direction ? [ascii!] : []))
    const ours = new Set(onWire([...commands, ...after]))
    expect(published.filter((command) => !ours.has(command))).toEqual([])
    const device = modem()
    for (const command of published)
      expect(Buffer.from(device.hear(bytesOf(command), 0)[0]!.bytes).toString()).not.toMatch(/invalid/)
  })
})

describe('an RN2483', () => {
  test.each(['1.0.5', '1.0.3'] as const)(
    'over a link its nodes are read as they meant, firmware %s',
    (firmware) => readOverLink(modem(firmware), 6),
  )

  test('is set up whatever is lost on the way', () => expectPatience(modem, commands))

  test('gives one message for each time it is told to receive', () => {
    const device = modem()
    const talk = conversation(device)
    talk.open()
    talk.pass(1000, true)
    talk.pass(6000)
    expect(talk.sent).toEqual(onWire([...commands, ...after, ...after]))
    expect(readingsIn(talk.outcomes)).toEqual(talk.meant.map(carried))
    expect(talk.meant).toHaveLength(2)
    expect(device.speak(0)).toBeDefined()
    expect(device.speak(0)).toBeUndefined()
  })

  test('a message whose strength is never answered is given out without it', () => {
    const talk = conversation(modem(), { address: 'first-two-bytes' })
    talk.open()
    talk.pass(1000, true)
    talk.way.toGateway = (bytes) => (/^-?\d+/.test(Buffer.from(bytes).toString()) ? undefined : bytes)
    talk.pass(2500)
    talk.pass(6000, true)
    expect(talk.meant).toHaveLength(1)
    talk.way.toGateway = (bytes) => bytes
    talk.pass(8000, true)
    talk.pass(120_000)
    expect(readingsIn(talk.outcomes)[0]!.values).toHaveLength(3)
    expect(talk.outcomes).toContainEqual({
      kind: 'refused',
      reason: 'device-error',
      detail: 'radio get snr was not answered',
    })
    expect(readingsIn(talk.outcomes)).toHaveLength(talk.meant.length)
  })

  test('a message that noise broke is refused, and the next one is heard', () => {
    const talk = conversation(modem())
    talk.open()
    talk.pass(1000, true)
    talk.noise(bytesOf('radio_rx  48656\r\nradio_rx  4G\r\n'))
    talk.pass(1000, true)
    expect(refusalsOf(talk.outcomes)).toEqual(['length', 'layout'])
    expect(talk.sent.at(-1)).toBe('radio rx 0\r\n')
  })

  test('its watchdog and its reset do not end receiving for long', () => {
    const device = modem()
    const talk = conversation(device)
    talk.open()
    talk.pass(1000, true)
    talk.noise(bytesOf('radio_err\r\n'))
    talk.pass(1000, true)
    expect(talk.sent.slice(commands.length)).toEqual(onWire(['radio rx 0']))
    for (const emission of device.hear(bytesOf('sys reset\r\n'), 0)) talk.receive(emission)
    talk.pass(1000, true)
    expect(talk.sent.slice(-commands.length)).toEqual(onWire(commands))
    expect(device.speak(0)).toBeDefined()
  })

  test('a stack that cannot be paused is told', () => {
    const talk = conversation(modem())
    talk.way.toGateway = (bytes, index) => (index === 3 ? bytesOf('0\r\n') : bytes)
    talk.open()
    talk.pass(10_000, true)
    expect(refusalsOf(talk.outcomes)).toEqual(['device-error'])
    expect(talk.sent.filter((command) => command === 'mac pause\r\n')).toHaveLength(2)
  })
})
