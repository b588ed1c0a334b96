/** Nova Fitness SDS011, SDS018 and SDS021 particle sensors. */
import { z } from 'zod'
import { hex, sum } from './bytes.ts'
import type { Cut, Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

// aa | c0 data or c5 reply | six bytes | low byte of their sum | ab. Data: PM2.5 and PM10 u16 LE in 0.1 µg/m³, id.
const head = 0xaa
const tail = 0xab
const data = 0xc0
const reply = 0xc5
const size = 10
const payloadAt = 2
const sumAt = 8

// aa b4 | command, 1 = set, value, ten zeros | ff ff = any device | low byte of the sum of bytes 2..16 | ab.
const commands = {
  wake: hex('aab406010100000000000000000000ffff06ab'),
  active: hex('aab402010000000000000000000000ffff01ab'),
} as const

const commandNames: Readonly<Record<number, string>> = {
  2: 'report mode',
  4: 'query',
  5: 'device id',
  6: 'sleep or wake',
  7: 'firmware version',
  8: 'work period',
}

const sumIsRight = (bytes: Uint8Array, start: number): boolean =>
  (sum(bytes, start + payloadAt, start + sumAt) & 0xff) === bytes[start + sumAt]

const headAfter = (bytes: Uint8Array, from: number, end: number): number => {
  for (let at = bytes.indexOf(head, from); at !== -1 && at < end; at = bytes.indexOf(head, at + 1))
    if (at + 1 >= end || bytes[at + 1] === data || bytes[at + 1] === reply) return at
  return end
}

const cut = (bytes: Uint8Array, from: number): Cut => {
  const start = headAfter(bytes, from, bytes.length)
  if (start > from) return { kind: 'skip', to: start }
  const end = start + size
  if (bytes.length < end) return { kind: 'wait' }
  if (bytes[end - 1] !== tail) return { kind: 'skip', to: headAfter(bytes, start + 1, end) }
  return { kind: 'frame', start, end: sumIsRight(bytes, start) ? end : headAfter(bytes, start + 1, end) }
}

const decode = (frame: Uint8Array): readonly Outcome[] => {
  if (frame.length !== size || frame[0] !== head || frame[size - 1] !== tail)
    return [{ kind: 'refused', reason: 'length', detail: `${frame.length} bytes are no whole frame` }]
  if (!sumIsRight(frame, 0)) {
    const computed = sum(frame, payloadAt, sumAt) & 0xff
    return [{ kind: 'refused', reason: 'checksum', detail: `sum is ${computed}, frame says ${frame[sumAt]}` }]
  }
  if (frame[1] === reply) {
    const command = commandNames[frame[payloadAt]!] ?? `command ${frame[payloadAt]}`
    return [{ kind: 'control', what: `answered ${command}` }]
  }
  if (frame[1] !== data)
    return [{ kind: 'refused', reason: 'unknown', detail: `frame type ${frame[1]!.toString(16)}` }]
  const pm25 = frame[2]! | (frame[3]! << 8)
  const pm10 = frame[4]! | (frame[5]! << 8)
  // Both exactly zero is what it says before the fan and laser are steady.
  const warmingUp = pm25 === 0 && pm10 === 0
  return [
    {
      kind: 'reading',
      measurements: warmingUp
        ? [
            { quantity: 'pm2_5', value: null, absent: 'warming-up' },
            { quantity: 'pm10', value: null, absent: 'warming-up' },
          ]
        : [
            { quantity: 'pm2_5', value: pm25 / 10 },
            { quantity: 'pm10', value: pm10 / 10 },
          ],
    },
  ]
}

/** Driver for the Nova SDS011 family: PM2.5 and PM10 once a second. */
export const novaSds011: Driver = {
  model: 'nova-sds011',
  title: 'Nova Fitness SDS011, SDS018, SDS021',
  source: 'Laser Dust Sensor Control Protocol V1.3 (Nova Fitness, 2015)',
  baudRate: 9600,
  // A work period of up to 30 min is kept by the sensor: it then speaks only once in that time.
  silenceS: 1900,
  framing: { kind: 'cut', maxBytes: size, cut },
  greeting: () => [commands.wake, commands.active],
  configure: (settings) => {
    checked('nova-sds011', z.strictObject({}), settings)
    return { decode }
  },
  examples: [
    {
      title: 'the example of the protocol document',
      source: 'Laser Dust Sensor Control Protocol V1.3',
      bytes: hex('aac0d4043a0aa1601dab'),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'pm2_5', value: 123.6 },
            { quantity: 'pm10', value: 261.8 },
          ],
        },
      ],
    },
    {
      title: 'clean air',
      source: 'PyPMS tests/captured_data/SDS01x.hexdump (MIT), captured',
      bytes: hex('aac00600060058d93dab'),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'pm2_5', value: 0.6 },
            { quantity: 'pm10', value: 0.6 },
          ],
        },
      ],
    },
    {
      title: 'the same with a wrong sum',
      source: 'PyPMS tests/sensors/test_message.py (MIT)',
      bytes: hex('aac0d4043a0aa16000ab'),
      outcomes: [{ kind: 'refused', reason: 'checksum', detail: 'sum is 29, frame says 0' }],
    },
  ],
}
