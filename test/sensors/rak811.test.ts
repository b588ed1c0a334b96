/** RAK811 modules. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import { rak811 } from '#sim/devices/rak811.ts'
import { bytesIn, bytesOf, decodeAlone, fromDevice, haveFrames, refusalsOf } from './frames.ts'
import { conversation, expectPatience, expectUplink, nodes, readOverLink, seed } from './modems.ts'

const driver = driverOf('rak811')
const modem = () => rak811({ seed, nodes })

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('rak811'))('$ascii', (entry) => {
    expectUplink(entry.decoded, decodeAlone(driver, bytesIn(entry)))
  })
})

describe('a RAK811', () => {
  test('over a link its nodes are read as they meant', () => readOverLink(modem(), 6))

  test('is set up whatever is lost on the way', () =>
    expectPatience(modem, [
      'at+set_config=lora:work_mode:1',
      'at+set_config=lorap2p:868100000:7:0:1:8:14',
      'at+set_config=lorap2p:transfer_mode:1',
    ]))

  test('that starts anew is set up again', () => {
    const device = modem()
    const talk = conversation(device)
    talk.open()
    talk.pass(1000, true)
    for (const emission of device.powerOn(0)) talk.receive(emission)
    talk.pass(1000, true)
    expect(talk.sent).toHaveLength(6)
    expect(device.speak(0)).toBeDefined()
  })

  test('an unknown command and a wrong value are refused by it, and told by the driver', () => {
    const talk = conversation(modem(), { radio: { frequencyMHz: 868.1 } })
    talk.way.toDevice = (bytes) => bytesOf(Buffer.from(bytes).toString().replace(':7:0:', ':13:0:'))
    talk.open()
    talk.pass(10_000, true)
    expect(talk.outcomes).toContainEqual({
      kind: 'refused',
      reason: 'device-error',
      detail: 'at+set_config=lorap2p:868100000:7:0:1:8:14 was refused: error 2: a parameter is not allowed',
    })
  })

  test('a message whose length is not that of its data is refused', () => {
    const wire = 'at+recv=1,-65,6,3:4865\r\nat+recv=1,-65,6,2\r\nat+recv=1,-65\r\n'
    expect(refusalsOf(decodeAlone(driver, bytesOf(wire)))).toEqual(['length', 'length', 'layout'])
  })
})
