/** Davis Vantage Pro2 and Vue consoles: woken up, then asked for one LOOP packet at a time. */
import { z } from 'zod'
import type { QuantityName } from '../reading/quantity.ts'
import type { Measurement } from '../reading/reading.ts'
import { hex, utf8 } from './bytes.ts'
import type { Cut, Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'davis-vantage'

// Vantage serial communication reference 2.6.1, section X. "LOO" | 96 bytes, little-endian | CRC-CCITT (0x1021, start 0)
// big-endian: over the whole packet it is 0. Dashes on the console are all ones, or 7fff where a value has a sign.
const head = utf8('LOO')
const size = 99

const mps = 0.44704
const hPaPerInHg = 33.8638866667
type Conversion = readonly [scale: number, offset?: number]
const tenthsFahrenheit: Conversion = [1 / 18, (-32 * 5) / 9]

type Field = readonly [
  at: number,
  type: 'u8' | 'u16' | 'i16',
  quantity: QuantityName,
  conversion: Conversion | 'clicks',
  dashes: number,
]
const fields: readonly Field[] = [
  [7, 'u16', 'pressure', [hPaPerInHg / 1000], 0],
  [9, 'i16', 'indoor_temperature', tenthsFahrenheit, 0x7fff],
  [11, 'u8', 'indoor_humidity', [1], 0xff],
  [12, 'i16', 'temperature', tenthsFahrenheit, 0x7fff],
  [14, 'u8', 'wind_speed', [mps], 0xff],
  // 0 is no direction, 360 is north.
  [16, 'u16', 'wind_direction', [1], 0x7fff],
  [33, 'u8', 'humidity', [1], 0xff],
  [41, 'u16', 'rain_rate', 'clicks', 0xffff],
  [43, 'u8', 'uv_index', [0.1], 0xff],
  [44, 'u16', 'solar_radiation', [1], 0x7fff],
  [50, 'u16', 'rain_day', 'clicks', 0xffff],
  // Of the console; of the transmitters only a flag is known.
  [87, 'u16', 'battery_voltage', [300 / 512 / 100], 0],
]

const crcTable = Uint16Array.from({ length: 256 }, (_, index) => {
  let crc = index << 8
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc & 0xffff
})
/** CRC-CCITT of bytes `start` to before `end`; 0 over a packet with its own at the end. */
export const crcCcitt = (bytes: Uint8Array, start: number, end: number): number => {
  let crc = 0
  for (let at = start; at < end; at += 1) crc = ((crc << 8) & 0xffff) ^ crcTable[(crc >> 8) ^ bytes[at]!]!
  return crc
}

const headAt = (bytes: Uint8Array, from: number, end: number): number => {
  for (let at = bytes.indexOf(head[0]!, from); at !== -1 && at < end; at = bytes.indexOf(head[0]!, at + 1))
    if (head.every((byte, index) => at + index >= bytes.length || bytes[at + index] === byte)) return at
  return end
}

const cut = (bytes: Uint8Array, from: number): Cut => {
  const start = headAt(bytes, from, bytes.length)
  if (start > from) return { kind: 'skip', to: start }
  const end = start + size
  if (bytes.length < end) return { kind: 'wait' }
  if (crcCcitt(bytes, start, end) === 0) return { kind: 'frame', start, end }
  return { kind: 'frame', start, end: headAt(bytes, start + 1, end) }
}

// The collector tips once for so many millimetres; which one is built in is set by a jumper that no packet tells.
const millimetresPerClick = { '0.01in': 0.254, '0.2mm': 0.2, '0.1mm': 0.1 } as const

const schema = z.strictObject({
  intervalS: z.number().min(2).max(3600).default(10).describe('Seconds between questions.'),
  rainClick: z
    .enum(['0.01in', '0.2mm', '0.1mm'], 'expected 0.01in, 0.2mm or 0.1mm')
    .default('0.2mm')
    .describe('Rain for one tip of its collector: a jumper that no packet tells.'),
})

const decodeWith =
  (clickMm: number) =>
  (frame: Uint8Array): readonly Outcome[] => {
    if (frame.length !== size || head.some((byte, index) => frame[index] !== byte))
      return [{ kind: 'refused', reason: 'length', detail: `${frame.length} bytes are no whole LOOP packet` }]
    if (crcCcitt(frame, 0, size) !== 0)
      return [{ kind: 'refused', reason: 'checksum', detail: 'the CRC of a LOOP packet is wrong' }]
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
    const read = { u8: (at: number) => view.getUint8(at), u16: (at: number) => view.getUint16(at, true) }
    return [
      {
        kind: 'reading',
        measurements: fields.map(([at, type, quantity, conversion, dashes]): Measurement => {
          const raw = type === 'i16' ? view.getInt16(at, true) : read[type](at)
          const nothing = raw === dashes || (quantity === 'wind_direction' && raw === 0)
          if (nothing) return { quantity, value: null, absent: 'no-data' }
          const [scale, offset = 0] = conversion === 'clicks' ? [clickMm] : conversion
          return { quantity, value: raw * scale + offset }
        }),
      },
    ]
  }

// Section VI: a console that sleeps answers the first newline only with waking up, at most 1.2 s later.
const wake = utf8('\n')
const loop = utf8('LOOP 1\n')
const wakeMs = 1_200
const answerMs = 2_500

/** Driver for Vantage consoles behind a WeatherLink logger, serial or USB. */
export const davisVantage: Driver = {
  model,
  title: 'Davis Vantage Pro, Pro2, Vue console (LOOP packets)',
  source: 'Davis Vantage serial communication reference 2.6.1; PyVantagePro captures (facts only)',
  baudRate: 19_200,
  silenceS: 120,
  framing: { kind: 'cut', maxBytes: size, cut },
  greeting: () => [],
  configure: (settings) => {
    const { intervalS, rainClick } = checked(model, schema, settings)
    const decode = decodeWith(millimetresPerClick[rainClick])
    let state: 'sleeping' | 'woken' | 'asked' = 'sleeping'
    let sinceMs = 0
    let nextMs = 0
    return {
      decode: (frame) => {
        if (state === 'asked') state = 'sleeping'
        return decode(frame)
      },
      silenceS: Math.max(120, 3 * intervalS),
      dialogue: {
        opened: (nowMs) => {
          state = 'sleeping'
          nextMs = nowMs
        },
        turn: (nowMs) => {
          const waitMs = {
            sleeping: nextMs - nowMs,
            woken: sinceMs + wakeMs - nowMs,
            asked: sinceMs + answerMs - nowMs,
          }[state]
          if (waitMs > 0) return { againMs: waitMs }
          sinceMs = nowMs
          if (state === 'woken') {
            state = 'asked'
            return { send: loop, againMs: answerMs }
          }
          // Asked without an answer: it fell asleep again, and is woken at once.
          if (state === 'sleeping') nextMs = Math.max(nextMs + intervalS * 1000, nowMs)
          state = 'woken'
          return { send: wake, againMs: wakeMs }
        },
      },
    }
  },
  examples: [
    {
      title: 'a console without outdoor sensors: dashes are no values',
      source: 'PyVantagePro tests, captured from a real console',
      bytes: hex(
        '4c4f4fc4006802547b52031eff7fffffff7fffffffffffffffffffffffffffffffffffffffffffffffffffffff7f0000ffff000000003c03000000000000ffffffffffffff0000000000000000000000000000000000008c00060c610183070a0d2a3c',
      ),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'pressure', value: 31_572 * (hPaPerInHg / 1000) },
            { quantity: 'indoor_temperature', value: 850 * (1 / 18) + (-32 * 5) / 9 },
            { quantity: 'indoor_humidity', value: 30 },
            { quantity: 'temperature', value: null, absent: 'no-data' },
            { quantity: 'wind_speed', value: null, absent: 'no-data' },
            { quantity: 'wind_direction', value: null, absent: 'no-data' },
            { quantity: 'humidity', value: null, absent: 'no-data' },
            { quantity: 'rain_rate', value: null, absent: 'no-data' },
            { quantity: 'uv_index', value: null, absent: 'no-data' },
            { quantity: 'solar_radiation', value: null, absent: 'no-data' },
            { quantity: 'rain_day', value: 0 },
            { quantity: 'battery_voltage', value: 140 * (300 / 512 / 100) },
          ],
        },
      ],
    },
  ],
}
