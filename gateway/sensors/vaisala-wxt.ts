/** Vaisala WXT510, 520 and 530 weather transmitters: ASCII messages, asked for or sent by themselves. */
import { z } from 'zod'
import type { QuantityName } from '../reading/quantity.ts'
import type { Measurement } from '../reading/reading.ts'
import { lineFrom, utf8 } from './bytes.ts'
import { polling } from './polling.ts'
import type { Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'
import { quoted } from './text-profiles.ts'

const model = 'vaisala-wxt'

// WXT530 user guide M211840EN: <address>R<message>,Name=<number><unit>,... The unit's letter matters: the same
// transmitter says 1018.1H (hPa) or 1.0181B (bar). value = written * scale + offset; `#` marks what is not valid.
type Conversion = readonly [scale: number, offset?: number]
const speed: Readonly<Record<string, Conversion>> = { M: [1], K: [1 / 3.6], S: [0.44704], N: [1852 / 3600] }
const celsius: Readonly<Record<string, Conversion>> = { C: [1], F: [5 / 9, (-32 * 5) / 9] }
const rain: Readonly<Record<string, Conversion>> = { M: [1], I: [25.4] }
const parameters: Readonly<Record<string, readonly [QuantityName, Readonly<Record<string, Conversion>>]>> = {
  Dm: ['wind_direction', { D: [1] }],
  Sm: ['wind_speed', speed],
  Sx: ['wind_gust', speed],
  Ta: ['temperature', celsius],
  Ua: ['humidity', { P: [1] }],
  Pa: ['pressure', { H: [1], P: [0.01], B: [1000], M: [1.3332236842], I: [33.863886667] }],
  Rc: ['rain_total', rain],
  Ri: ['rain_rate', rain],
  Hc: ['hail', { M: [1], I: [1 / 6.4516] }],
  Vs: ['battery_voltage', { V: [1] }],
}

const maxBytes = 512
const message = /^([0-9A-Za-z])([Rr])([0-35]),(.*)$/
const field = /^([A-Z][a-z])=(-?\d{1,6}(?:\.\d{1,4})?)([A-Za-z#])$/
const nameOnly = /^[A-Z][a-z]=/
const checksumBytes = 3

/**
 * The three characters with which a message of the lower-case kind ends: CRC-16 (0xa001, reflected, start 0) in three
 * times six bits, each with 0x40 (user guide, appendix on CRC-16).
 */
export const wxtChecksum = (text: string): string => {
  let crc = 0
  for (const byte of utf8(text)) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1
  }
  return String.fromCharCode(0x40 | (crc >> 12), 0x40 | ((crc >> 6) & 0x3f), 0x40 | (crc & 0x3f))
}

const schema = z.strictObject({
  address: z
    .string()
    .regex(/^[0-9A-Za-z]$/, 'expected one digit or letter')
    .default('0')
    .describe('Its address on the wire.'),
  intervalS: z
    .number()
    .min(0)
    .max(3600)
    .default(10)
    .describe('Seconds between questions; 0 for a transmitter that sends by itself.'),
})

const refused = (reason: 'checksum' | 'layout' | 'unknown', detail: string): Outcome => ({
  kind: 'refused',
  reason,
  detail,
})

const decode = (line: Uint8Array): readonly Outcome[] => {
  let text = lineFrom(line, /[0-9A-Za-z][Rr][0-35],[A-Z][a-z]=/)
  const found = message.exec(text)
  if (!found) return [refused('unknown', `${quoted(text)} is no message of a WXT`)]
  if (found[2] === 'r') {
    const said = text.slice(-checksumBytes)
    text = text.slice(0, -checksumBytes)
    const computed = wxtChecksum(text)
    if (said !== computed)
      return [refused('checksum', `checksum is ${computed}, message says ${quoted(said)}`)]
  }
  const measurements: Measurement[] = []
  const outcomes: Outcome[] = []
  for (const part of text.split(',').slice(1)) {
    if (part === '') continue
    const [, name = '', written = '', unit = ''] = field.exec(part) ?? []
    const known = parameters[name]
    if (name === '') {
      // Names such as Id=HEL carry text; anything else is two fields run into each other.
      if (!nameOnly.test(part) || part.indexOf('=', 3) !== -1)
        outcomes.push(refused('layout', `${quoted(part)} is no value`))
      continue
    }
    if (!known || measurements.some(({ quantity }) => quantity === known[0])) continue
    const [quantity, units] = known
    const conversion = units[unit]
    if (unit === '#') measurements.push({ quantity, value: null, absent: 'device-error' })
    else if (!conversion) outcomes.push(refused('layout', `${quoted(part)} has an unknown unit`))
    else {
      const [scale, offset = 0] = conversion
      measurements.push({ quantity, value: Number(written) * scale + offset })
    }
  }
  return measurements.length > 0
    ? [...outcomes, { kind: 'reading', measurements }]
    : [...outcomes, { kind: 'control', what: `message ${found[3]}` }]
}

/** Driver for WXT transmitters; asks for the composite message `aR0`. */
export const vaisalaWxt: Driver = {
  model,
  title: 'Vaisala WXT510, WXT520, WXT530 weather transmitter (ASCII)',
  source: 'Vaisala WXT530 user guide M211840EN; captures of public weather stations',
  baudRate: 19_200,
  silenceS: 120,
  framing: { kind: 'lines', maxBytes },
  greeting: () => [],
  configure: (settings) => {
    const { address, intervalS } = checked(model, schema, settings)
    if (intervalS === 0) return { decode, silenceS: 3600 }
    return {
      decode,
      dialogue: polling({ request: utf8(`${address}R0\r\n`), intervalMs: intervalS * 1000 }),
      silenceS: Math.max(120, 3 * intervalS),
    }
  },
  examples: [
    {
      title: 'a composite message with pressure in bar',
      source: 'public data logger, captured',
      bytes: utf8(
        '0R0,Dn=095D,Dm=274D,Dx=352D,Sn=0.3M,Sm=5.8M,Sx=9.6M,Ta=17.9C,Ua=73.7P,Pa=1.0058B,Rc=13.02M,Rd=12480s,Ri=0.0M,Hc=0.0M,Hd=0s,Hi=0.0M,Th=18.0C,Vh=12.1N,Vs=12.1V,Vr=3.631V\r\n',
      ),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'wind_direction', value: 274 },
            { quantity: 'wind_speed', value: 5.8 },
            { quantity: 'wind_gust', value: 9.6 },
            { quantity: 'temperature', value: 17.9 },
            { quantity: 'humidity', value: 73.7 },
            { quantity: 'pressure', value: 1.0058 * 1000 },
            { quantity: 'rain_total', value: 13.02 },
            { quantity: 'rain_rate', value: 0 },
            { quantity: 'hail', value: 0 },
            { quantity: 'battery_voltage', value: 12.1 },
          ],
        },
      ],
    },
  ],
}
