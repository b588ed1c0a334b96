/** A microcontroller with a BME280 that prints its readings as text. */
import type { QuantityName } from '../../gateway/reading/quantity.ts'
import type { Measurement } from '../../gateway/reading/reading.ts'
import type { Settings } from '../../gateway/sensors/sensors.ts'
import { pick } from '../random.ts'
import type { Conditions } from '../world.ts'
import { answer, type Device, type Kind, rounded } from './device.ts'

const columns = ['temperature', 'humidity', 'pressure'] as const satisfies readonly QuantityName[]

const xor = (text: string): string =>
  Buffer.from(text)
    .reduce((sum, byte) => sum ^ byte, 0)
    .toString(16)
    .toUpperCase()
    .padStart(2, '0')

/** The three ways of printing, with the gateway's settings for each. */
export const textStyles = {
  'key-value': {
    settings: { profile: 'key-value' },
    print: ([t, h, p]: readonly string[]) => `T=${t},H=${h},P=${p}`,
  },
  csv: {
    settings: { profile: 'csv', columns, checksum: 'required' },
    print: (values: readonly string[]) => `${values.join(',')}*${xor(values.join(','))}`,
  },
  json: {
    settings: { profile: 'json' },
    print: (values: readonly string[]) =>
      `{${columns.map((name, index) => `"${name}":${values[index]}`).join(',')}}`,
  },
} as const satisfies Record<string, { settings: Settings; print: (values: readonly string[]) => string }>

export type TextStyle = keyof typeof textStyles

/** A line without its ending, and what it means; every `failEvery`-th temperature cannot be read and is nan. */
export const printed = (
  { temperature, humidity, pressure }: Conditions,
  style: TextStyle,
  failed = false,
): { readonly text: string; readonly measurements: readonly Measurement[] } => {
  const values = [temperature, humidity, pressure].map((value) => rounded(value, 2))
  const texts = values.map((value) => value.toFixed(2))
  if (failed) texts[0] = 'nan'
  return {
    text: textStyles[style].print(texts),
    measurements: columns.map((quantity, index) =>
      failed && index === 0
        ? { quantity, value: null, absent: 'not-a-number' }
        : { quantity, value: values[index]! },
    ),
  }
}

export type MicrocontrollerOptions = {
  readonly style?: TextStyle
  readonly intervalMs?: number
  /** One temperature in so many cannot be read. */
  readonly failEvery?: number
  readonly air: (timeMs: number) => Conditions
}

/** A simulated microcontroller in that air. It listens to nothing. */
export const microcontroller = ({
  style = 'key-value',
  intervalMs = 1000,
  failEvery = Number.POSITIVE_INFINITY,
  air,
}: MicrocontrollerOptions): Device => {
  let lines = 0
  return {
    model: 'text-lines',
    settings: textStyles[style].settings,
    baudRate: 115_200,
    intervalMs,
    speak: (timeMs) => {
      lines += 1
      const { text, measurements } = printed(air(timeMs), style, lines % failEvery === 0)
      return { bytes: new Uint8Array(Buffer.from(`${text}\r\n`)), meant: [{ measurements }] }
    },
    hear: () => [],
    powerOn: () => [answer(new Uint8Array(Buffer.from('# BME280 ready\r\n')))],
  }
}

/** A BME280 whose sketch prints in one of the three ways. */
export const microcontrollerKind: Kind = {
  sensor: 'env',
  make: ({ seed, place, airAt, intervalMs }) =>
    microcontroller({
      style: pick(Object.keys(textStyles) as TextStyle[], seed),
      intervalMs,
      air: airAt(place),
    }),
}
