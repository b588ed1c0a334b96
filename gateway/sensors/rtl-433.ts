/** Weather sensors heard by a software radio: the JSON lines of rtl_433, in the units of each maker. */
import { z } from 'zod'
import type { QuantityName } from '../reading/quantity.ts'
import { idPattern, type Measurement } from '../reading/reading.ts'
import { utf8 } from './bytes.ts'
import type { Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'
import { quoted } from './text-profiles.ts'

const model = 'rtl-433'

// rtl_433 docs/DATA_FORMAT.md: a name says its unit in its ending. value = written * scale + offset.
type Row = readonly [name: string, quantity: QuantityName, scale: number, offset?: number]
const fahrenheit = [5 / 9, (-32 * 5) / 9] as const
const rows: readonly Row[] = [
  ['temperature_C', 'temperature', 1],
  ['temperature_F', 'temperature', ...fahrenheit],
  ['humidity', 'humidity', 1],
  ['pressure_hPa', 'pressure', 1],
  ['pressure_kPa', 'pressure', 10],
  ['pressure_PSI', 'pressure', 68.947572932],
  ['wind_avg_m_s', 'wind_speed', 1],
  ['wind_avg_km_h', 'wind_speed', 1 / 3.6],
  ['wind_avg_mi_h', 'wind_speed', 0.44704],
  ['wind_max_m_s', 'wind_gust', 1],
  ['wind_max_km_h', 'wind_gust', 1 / 3.6],
  ['wind_max_mi_h', 'wind_gust', 0.44704],
  ['wind_dir_deg', 'wind_direction', 1],
  ['rain_mm', 'rain_total', 1],
  ['rain_in', 'rain_total', 25.4],
  ['rain_rate_mm_h', 'rain_rate', 1],
  ['rain_rate_in_h', 'rain_rate', 25.4],
  ['uvi', 'uv_index', 1],
  ['uv', 'uv_index', 1],
  ['light_lux', 'illuminance', 1],
  ['light_klx', 'illuminance', 1000],
  ['moisture', 'soil_moisture', 1],
  ['co2_ppm', 'co2', 1],
  ['pm1_ug_m3', 'pm1', 1],
  ['pm2_5_ug_m3', 'pm2_5', 1],
  ['pm4_ug_m3', 'pm4', 1],
  ['pm10_ug_m3', 'pm10', 1],
  ['estimated_pm10_0_ug_m3', 'pm10', 1],
  ['strike_count', 'lightning_strikes', 1],
  ['strike_distance', 'lightning_distance', 1],
  ['storm_dist_km', 'lightning_distance', 1],
  ['battery_ok', 'battery', 100],
  ['battery_mV', 'battery_voltage', 0.001],
  ['battery_V', 'battery_voltage', 1],
  ['rssi', 'rssi', 1],
  ['snr', 'snr', 1],
  ['freq', 'frequency', 1],
]

// What says who sent it and how it was heard, and differs between the copies of one transmission.
const aboutReception: ReadonlySet<string> = new Set([
  'time',
  'rssi',
  'snr',
  'noise',
  'freq',
  'freq1',
  'freq2',
  'mod',
])
const received: ReadonlySet<QuantityName> = new Set(['rssi', 'snr', 'frequency'])

// A sensor says everything two or three times within a second or so, in case somebody talks at the same time.
const repeatMs = 2_000
// Copies are remembered for that long only; a city has no more sensors in the air at once.
const maxRemembered = 256

const schema = z.strictObject({
  only: z
    .array(z.string().max(80), 'expected a list of names such as "Nexus-TH-42"')
    .max(1000)
    .optional()
    .describe(
      'The sensors that are heard, as "Model" or "Model-id"; neighbours have some too. All, where it is not set.',
    ),
})

const refused = (reason: 'layout' | 'unknown' | 'not-configured', detail: string): readonly Outcome[] => [
  { kind: 'refused', reason, detail },
]

const plain = (text: string): string => text.replace(/[^A-Za-z0-9_-]/g, '-')

type Message = Readonly<Record<string, unknown>>

/** Who sent a message: model and id, and the channel where one device has several. */
const nodeOf = (message: Message): string | undefined => {
  const parts = [message.model, message.id ?? message.sid, message.channel]
  const said = parts.filter((part) => typeof part === 'string' || typeof part === 'number')
  const name = plain(said.join('-'))
  return typeof message.model === 'string' && idPattern.test(name) ? name : undefined
}

const measurementsOf = (message: Message): Measurement[] => {
  const measurements = new Map<QuantityName, Measurement>()
  for (const [name, quantity, scale, offset = 0] of rows) {
    const written = message[name]
    if (measurements.has(quantity) || written === undefined) continue
    measurements.set(
      quantity,
      typeof written === 'number' && Number.isFinite(written)
        ? { quantity, value: written * scale + offset }
        : { quantity, value: null, absent: 'not-a-number' },
    )
  }
  // Frequency-shift keying has two; the one it was tuned to lies between them.
  const { freq1, freq2 } = message
  if (!measurements.has('frequency') && typeof freq1 === 'number' && typeof freq2 === 'number')
    measurements.set('frequency', { quantity: 'frequency', value: (freq1 + freq2) / 2 })
  return [...measurements.values()]
}

/** Driver for rtl_433 -F json -M level, over ser2net or any line; each sensor it hears is one of its own. */
export const rtl433: Driver = {
  model,
  title: 'rtl_433: wireless weather sensors heard by an SDR (JSON lines)',
  source: 'rtl_433 docs/DATA_FORMAT.md and docs/OPERATION.md',
  baudRate: 115_200,
  silenceS: 3600,
  framing: { kind: 'lines', maxBytes: 2048 },
  greeting: () => [],
  configure: (settings) => {
    const { only } = checked(model, schema, settings)
    const remembered = new Map<string, number>()

    /** Whether the same was said less than two seconds ago. */
    const isRepeat = (content: string, atMs: number): boolean => {
      for (const [known, knownMs] of remembered) {
        if (atMs - knownMs < repeatMs && remembered.size < maxRemembered) break
        remembered.delete(known)
      }
      if (remembered.has(content)) return true
      remembered.set(content, atMs)
      return false
    }

    const decode = (line: Uint8Array, atMs: number): readonly Outcome[] => {
      const whole = Buffer.from(line).toString('utf8').trim()
      // Noise on the wire may stand before the object.
      const text = whole.slice(Math.max(0, whole.search(/\{\s*"/)))
      if (!text.startsWith('{'))
        return [{ kind: 'control', what: text.replace(/[^\x20-\x7e]/g, '?').slice(0, 80) }]
      let parsed: unknown
      try {
        parsed = JSON.parse(text)
      } catch {
        return refused('layout', `${quoted(text)} is not JSON`)
      }
      const message = parsed as Message
      const node = nodeOf(message)
      if (node === undefined) return refused('layout', `${quoted(text)} names no model`)
      if (only && !only.some((name) => plain(name) === node || plain(name) === plain(String(message.model))))
        return refused('not-configured', `${node} is not in setting "only"`)
      const content = Object.entries(message).filter(([name]) => !aboutReception.has(name))
      if (isRepeat(JSON.stringify(content), atMs)) return [{ kind: 'control', what: `${node} again` }]
      const measurements = measurementsOf(message)
      return measurements.every(({ quantity }) => received.has(quantity))
        ? refused('unknown', `${node} measures nothing that is known: ${quoted(text)}`)
        : [{ kind: 'reading', node, measurements }]
    }
    return { decode }
  },
  examples: [
    {
      title: 'a thermometer with its signal',
      source: 'rtl_433 log, captured',
      bytes: utf8(
        '{"time":"2020-07-05 21:04:31","model":"Fineoffset-WH2","id":135,"temperature_C":18.5,"humidity":61,"mic":"CRC","mod":"ASK","freq":434.24208,"rssi":-0.124493,"snr":14.1239,"noise":-14.2484}\n',
      ),
      outcomes: [
        {
          kind: 'reading',
          node: 'Fineoffset-WH2-135',
          measurements: [
            { quantity: 'temperature', value: 18.5 },
            { quantity: 'humidity', value: 61 },
            { quantity: 'rssi', value: -0.124493 },
            { quantity: 'snr', value: 14.1239 },
            { quantity: 'frequency', value: 434.24208 },
          ],
        },
      ],
    },
  ],
}
