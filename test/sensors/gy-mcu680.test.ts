/** GY-MCU680 modules. */
import { describe, expect, test } from 'vitest'
import { driverOf } from '#gateway/sensors/all.ts'
import { bytesIn, decode, fromDevice, haveFrames, hex, measurementsOf } from './frames.ts'

const driver = driverOf('gy-mcu680')

describe.skipIf(!haveFrames)('published frames', () => {
  test.each(fromDevice('bme680-gymcu680'))('$hex', (entry) => {
    const { temperatureC, humidityPct, pressurePa, gasOhm } = entry.decoded
    expect(measurementsOf(decode(driver, bytesIn(entry)))).toEqual({
      temperature: temperatureC,
      humidity: humidityPct,
      pressure: (pressurePa as number) / 100,
      iaq: 'warming-up',
      gas_resistance: gasOhm,
    })
  })
})

test('below zero, and with an air quality index that it has learnt', () => {
  const frame = hex('5a5a3f0fff380ac4018b89303200009ef2000500')
  frame[19] = frame.subarray(0, 19).reduce((sum, byte) => sum + byte, 0) & 0xff
  expect(measurementsOf(decode(driver, frame))).toMatchObject({ temperature: -2, iaq: 50 })
})
