/** Text lines of microcontrollers. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import type { Outcome, Settings } from '#gateway/sensors/sensors.ts'
import {
  bytesIn,
  bytesOf,
  decode,
  expectDecoded,
  framesFile,
  haveFrames,
  measurementsOf,
  quantityOf,
  refusalsOf,
  surroundings,
} from './frames.ts'

describe.skipIf(!haveFrames)('published frames', () => {
  test('text lines of microcontrollers', () => {
    const driver = driverOf('text-lines')
    const [pairs, csv, json, dht, failed, nans, checksummed] = framesFile('mcu-lines')
    for (const entry of [pairs!, json!, dht!]) expectDecoded(entry, decode(driver, bytesIn(entry)))
    const columns = (csv!.decoded.columns as string[]).map((name) => quantityOf[name]![0])
    expect(Object.values(measurementsOf(decode(driver, bytesIn(csv!), { columns })))).toEqual(
      csv!.decoded.values,
    )
    expect(measurementsOf(decode(driver, bytesIn(failed!)))).toEqual({
      temperature: 'device-error',
      humidity: 'device-error',
    })
    expect(measurementsOf(decode(driver, bytesIn(nans!), { columns: ['temperature', 'humidity'] }))).toEqual({
      temperature: 'not-a-number',
      humidity: 'not-a-number',
    })
    // The published line has the checksum of the line before it: its XOR is 6f. With sequence 2 it is right.
    const settings = { columns: ['-', '-', '-', 'temperature', 'humidity'] }
    expect(decode(driver, bytesIn(checksummed!), settings)).toEqual([
      { kind: 'refused', reason: 'checksum', detail: 'checksum is 6f, line says 6C' },
    ])
    expect(measurementsOf(decode(driver, bytesOf('ENV,2,1000,22.2,45.1*6C\r\n'), settings))).toEqual({
      temperature: 22.2,
      humidity: 45.1,
    })
  })
})

describe('text lines', () => {
  const driver = driverOf('text-lines')
  const read = (text: string | Uint8Array, settings: Settings = {}): Outcome[] =>
    decode(driver, Buffer.concat([Buffer.from(text as string), Buffer.from('\n')]), settings)

  test.each([
    ['t=21.5 h=45', { temperature: 21.5, humidity: 45 }],
    ['TEMP = 21.5 C; HUM = 45 %', { temperature: 21.5, humidity: 45 }],
    ['pm2.5=3.1,co2=415', { pm2_5: 3.1, co2: 415 }],
    ['t=-0.5,h=', { temperature: -0.5, humidity: 'no-data' }],
    ['t=nan,h=-inf,p=--', { temperature: 'not-a-number', humidity: 'not-a-number', pressure: 'no-data' }],
    ['{"temperature":nan,"humidity":45}', { temperature: 'not-a-number', humidity: 45 }],
    ['{"temperature":null,"humidity":"45.5"}', { temperature: 'no-data', humidity: 45.5 }],
    ['\x1b[0;32mT=21.5\x1b[0m', { temperature: 21.5 }],
  ])('%j is understood', (text, expected) => {
    expect(measurementsOf(read(text))).toEqual(expected)
  })

  test.each([
    ['t=70F', 'layout'],
    ['t=21.5,t=22', 'layout'],
    ['t=21.5,45', 'layout'],
    ['colour=blue', 'unknown'],
    ['{"temperature":21.5', 'layout'],
    ['[21.5]', 'unknown'],
    ['21.5,45', 'not-configured'],
    ['rl\u0000lx\u0002', 'layout'],
    ['ets Jan  8 2013,rst cause:2, boot mode:(3,6)', 'not-configured'],
    ['t=0x15', 'layout'],
    ['t=1e999', 'layout'],
    ['{"__proto__":{"temperature":5}}', 'unknown'],
  ])('%j is refused: %s', (text, reason) => {
    expect(refusalsOf(read(text))).toEqual([reason])
  })

  test('bytes that are no text are refused, but a degree sign of Latin-1 is text', () => {
    expect(refusalsOf(read(Uint8Array.of(0x74, 0x3d, 0xc3, 0x28)))).toEqual(['layout'])
    expect(measurementsOf(read(Buffer.from('t=21.5\xb0C', 'latin1')))).toEqual({ temperature: 21.5 })
  })

  test('a log line or a comment is no reading, and an empty line is nothing', () => {
    expect(read('I (1234) wifi: connected\n# hello\n\n').map(({ kind }) => kind)).toEqual([
      'control',
      'control',
    ])
  })

  test('an owner names keys and units', () => {
    const names = { 'BME280.Temperature': 'temperature', pa: { quantity: 'pressure', scale: 0.01 } }
    expect(measurementsOf(read('{"BME280":{"Temperature":21.5},"pa":101325}', { names }))).toEqual({
      temperature: 21.5,
      pressure: 1013.25,
    })
  })

  test('a line too short for its columns is refused, and so is one too long', () => {
    const settings = { columns: ['temperature', 'humidity'] }
    expect(refusalsOf(read('21.5', settings))).toEqual(['length'])
    expect(refusalsOf(read('21.5,45,3', settings))).toEqual(['length'])
  })

  test('a checksum is judged where there is one, and missed where it is required', () => {
    expect(measurementsOf(read('t=21.5*51'))).toEqual({ temperature: 21.5 })
    expect(refusalsOf(read('t=21.6*51'))).toEqual(['checksum'])
    expect(refusalsOf(read('t=21.5', { checksum: 'required' }))).toEqual(['checksum'])
  })

  test('settings that cannot be meant are refused by name', () => {
    expect(() => driver.configure({ profile: 'csv' }, surroundings())).toThrow(
      'text-lines: profile csv needs setting "columns"; got nothing.',
    )
    expect(() => driver.configure({ columns: ['temperature', 'colour'] }, surroundings())).toThrow(
      /setting "columns.1": .*"colour"/,
    )
  })
})
