/** REYAX RYLR modems. */
import { describe, expect, test } from 'vitest'
import { encodeReadings } from '#gateway/reading/payload.ts'
import { toValues } from '#gateway/reading/reading.ts'
import { driverOf } from '#gateway/sensors/all.ts'
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
} from './frames.ts'

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
    const sent = driverOf('reyax-rylr')
      .greeting({
        address: 50,
        networkId: 18,
        bandHz: 868_500_000,
        parameter: '9,7,1,12',
        password: 'FABC0002EEDCAA90FABC0002EEDCAA90',
      })
      .map((bytes) => Buffer.from(bytes).toString())
    expect(sent).toHaveLength(5)
    expect(published).toEqual(expect.arrayContaining(sent))
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
        { kind: 'reading', measurements, timeMs, node: 'lora-9-a' },
        {
          kind: 'reading',
          measurements: [...measurements, ...radio],
          timeMs: timeMs + 1000,
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
      expect(() => driver.greeting({ parameter: '9,7,1,12\r\nAT+FACTORY' })).toThrow(/setting "parameter"/)
    })

    test('the modem’s password is in no outcome', () => {
      expect(decode(driver, bytesOf('+CPIN=FABC0002\r\n'))).toEqual([{ kind: 'control', what: '+CPIN' }])
    })
  })
})
