/** Cayenne Low Power Payload: channel, type and value, one after the other. */
import { type QuantityName, quantity } from '../reading/quantity.ts'
import type { Measurement } from '../reading/reading.ts'
import type { Outcome } from './sensors.ts'

type Part = { readonly quantity: QuantityName; readonly bytes: 1 | 2 | 3; readonly perUnit: number }
type Row = { readonly signed: boolean; readonly parts: readonly Part[] }

const one = (name: QuantityName, bytes: 1 | 2, perUnit: number, signed = false): Row => ({
  signed,
  parts: [{ quantity: name, bytes, perUnit }],
})
const three = (names: readonly QuantityName[], bytes: 2 | 3, perUnit: readonly number[]): Row => ({
  signed: true,
  parts: names.map((name, at) => ({ quantity: name, bytes, perUnit: perUnit[at]! })),
})

const position = 0x88

// Cayenne LPP 2.0, "Data Types"; numbers are big-endian. Nothing but the type says how long a value is.
const types: ReadonlyMap<number, Row> = new Map([
  [0x00, one('digital_input', 1, 1)],
  [0x01, one('digital_output', 1, 1)],
  [0x02, one('analog_input', 2, 100, true)],
  [0x03, one('analog_output', 2, 100, true)],
  [0x65, one('illuminance', 2, 1)],
  [0x66, one('presence', 1, 1)],
  [0x67, one('temperature', 2, 10, true)],
  [0x68, one('humidity', 1, 2)],
  [0x71, three(['acceleration_x', 'acceleration_y', 'acceleration_z'], 2, [1000, 1000, 1000])],
  [0x73, one('pressure', 2, 10)],
  [0x86, three(['rotation_x', 'rotation_y', 'rotation_z'], 2, [100, 100, 100])],
  [position, three(['latitude', 'longitude', 'altitude'], 3, [10_000, 10_000, 100])],
])

const measured = ({ quantity: name, perUnit }: Part, raw: number): Measurement => {
  const value = raw / perUnit
  const { min, max } = quantity(name)
  return value < min || value > max
    ? { quantity: name, value: null, absent: 'out-of-range' }
    : { quantity: name, value }
}

type Value = {
  readonly channel: number
  readonly type: number
  readonly measurements: readonly Measurement[]
}

const refused = (reason: 'length' | 'unknown', detail: string): readonly Outcome[] => [
  { kind: 'refused', reason, detail },
]

/**
 * Readings of a payload. A quantity that is there once belongs to the node itself; one that is there on several channels
 * belongs to sub-sensors `ch<channel>`. A position is a reading of its own, of sub-sensor `gps`: it is private. A payload
 * with an unknown type is refused whole, for where the next value begins is not known. Never throws.
 */
export const cayenneLpp = (bytes: Uint8Array): readonly Outcome[] => {
  if (bytes.length === 0) return refused('length', 'an empty payload')
  const view = Buffer.from(bytes)
  const values: Value[] = []
  const seen = new Set<number>()
  for (let at = 0; at < view.length; ) {
    if (at + 2 > view.length) return refused('length', `byte ${at}: a channel without a type`)
    const [channel, type] = [view[at]!, view[at + 1]!]
    const row = types.get(type)
    if (!row) return refused('unknown', `byte ${at + 1}: type 0x${type.toString(16).padStart(2, '0')}`)
    at += 2
    const size = row.parts.reduce((total, part) => total + part.bytes, 0)
    if (at + size > view.length)
      return refused('length', `byte ${at}: ${size} bytes are missing or cut short`)
    if (seen.has(type * 256 + channel)) return refused('unknown', `channel ${channel} is there twice`)
    seen.add(type * 256 + channel)
    const measurements = row.parts.map((part) => {
      const raw = row.signed ? view.readIntBE(at, part.bytes) : view.readUIntBE(at, part.bytes)
      at += part.bytes
      return measured(part, raw)
    })
    values.push({ channel, type, measurements })
  }

  const channelsOf = new Map<number, number>()
  for (const { type } of values) channelsOf.set(type, (channelsOf.get(type) ?? 0) + 1)
  const subSensor = ({ channel, type }: Value): string => {
    const own = channelsOf.get(type) === 1 ? '' : `ch${channel}`
    return type === position ? ['gps', own].filter((part) => part !== '').join('-') : own
  }
  const readings = new Map<string, Measurement[]>()
  for (const value of values) {
    const node = subSensor(value)
    readings.set(node, [...(readings.get(node) ?? []), ...value.measurements])
  }
  return [...readings].map(
    ([node, measurements]): Outcome => ({
      kind: 'reading',
      measurements,
      ...(node === '' ? {} : { node }),
    }),
  )
}
