/** GY-MCU680: a BME680 behind a microcontroller that sends binary frames. */
import { z } from 'zod'
import type { Measurement } from '../reading/reading.ts'
import { hex, sum } from './bytes.ts'
import type { Cut, Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'gy-mcu680'

// 5a 5a | what follows, one bit each: 3f | length 0f | T i16 0.01 °C | RH u16 0.01 % | P u24 Pa | accuracy u4 and
// IAQ u12 | gas u32 ohm | altitude i16 m | low byte of the sum of all before. Big-endian. GY-MCU680V1 module sheet.
const head = [0x5a, 0x5a, 0x3f, 0x0f] as const
const size = 20
const temperatureAt = 4
const humidityAt = 6
const pressureAt = 8
const iaqAt = 11
const gasAt = 13
const sumAt = 19

// Accuracy 0: the air quality index is still the constant 25 of a sensor that has learnt nothing.
const learnt = 1
const maxIaq = 500

const headAt = (bytes: Uint8Array, from: number, end: number): number => {
  for (let at = bytes.indexOf(head[0], from); at !== -1 && at < end; at = bytes.indexOf(head[0], at + 1))
    if (head.every((byte, index) => at + index >= bytes.length || bytes[at + index] === byte)) return at
  return end
}

const sumIsRight = (bytes: Uint8Array, start: number): boolean =>
  (sum(bytes, start, start + sumAt) & 0xff) === bytes[start + sumAt]

const cut = (bytes: Uint8Array, from: number): Cut => {
  const start = headAt(bytes, from, bytes.length)
  if (start > from) return { kind: 'skip', to: start }
  const end = start + size
  if (bytes.length < end) return { kind: 'wait' }
  return { kind: 'frame', start, end: sumIsRight(bytes, start) ? end : headAt(bytes, start + 1, end) }
}

const decode = (frame: Uint8Array): readonly Outcome[] => {
  if (frame.length !== size || head.some((byte, index) => frame[index] !== byte))
    return [{ kind: 'refused', reason: 'length', detail: `${frame.length} bytes are no whole frame` }]
  if (!sumIsRight(frame, 0)) {
    const computed = sum(frame, 0, sumAt) & 0xff
    return [{ kind: 'refused', reason: 'checksum', detail: `sum is ${computed}, frame says ${frame[sumAt]}` }]
  }
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
  const quality = view.getUint16(iaqAt)
  const iaq = quality & 0xfff
  const measurements: Measurement[] = [
    { quantity: 'temperature', value: view.getInt16(temperatureAt) / 100 },
    { quantity: 'humidity', value: view.getUint16(humidityAt) / 100 },
    { quantity: 'pressure', value: (view.getUint32(pressureAt - 1) & 0xffffff) / 100 },
    quality >> 12 < learnt
      ? { quantity: 'iaq', value: null, absent: 'warming-up' }
      : iaq > maxIaq
        ? { quantity: 'iaq', value: null, absent: 'out-of-range' }
        : { quantity: 'iaq', value: iaq },
    { quantity: 'gas_resistance', value: view.getUint32(gasAt) },
  ]
  // The altitude is computed from the pressure alone, and measures nothing.
  return [{ kind: 'reading', measurements }]
}

/** Driver for the GY-MCU680V1 module; sends by itself about once a second. */
export const gyMcu680: Driver = {
  model,
  title: 'GY-MCU680V1 (BME680: temperature, humidity, pressure, gas)',
  source: 'GY-MCU680V1 module sheet; PyPMS captures',
  baudRate: 9600,
  silenceS: 60,
  framing: { kind: 'cut', maxBytes: size, cut },
  greeting: () => [],
  configure: (settings) => {
    checked(model, z.strictObject({}), settings)
    return { decode }
  },
  examples: [
    {
      title: 'indoor air; the air quality index has not been learnt yet',
      source: 'PyPMS tests/captured_data/MCU680.hexdump (MIT), captured',
      bytes: hex('5a5a3f0f097d0ac4018b89001900009ef2000519'),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'temperature', value: 24.29 },
            { quantity: 'humidity', value: 27.56 },
            { quantity: 'pressure', value: 1012.57 },
            { quantity: 'iaq', value: null, absent: 'warming-up' },
            { quantity: 'gas_resistance', value: 40_690 },
          ],
        },
      ],
    },
  ],
}
