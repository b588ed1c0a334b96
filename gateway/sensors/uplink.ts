/** What the payload of a radio node means, the same for every modem that heard it. */
import { z } from 'zod'
import { decodeReadings } from '../reading/payload.ts'
import { fromScaled, type QuantityName, quantityCoded } from '../reading/quantity.ts'
import type { Measurement } from '../reading/reading.ts'
import type { Outcome, Radio, Uplink } from './sensors.ts'
import { textDecoder, textSettings } from './text-lines.ts'

/** Settings that every radio driver has beside its own: `z.strictObject({ ...uplinkSettings, ... })`. */
export const uplinkSettings = {
  /** Nodes that are listened to, by the name the driver gives them; all, where it is not set. */
  nodes: z.array(z.string().max(64), 'expected a list of node names').max(1000).optional(),
  payload: z.enum(['auto', 'text', 'cbor'], 'expected auto, text or cbor').default('auto'),
  text: textSettings.prefault({}),
}

const schema = z.object(uplinkSettings)

// No text begins with such a byte: CBOR arrays, maps and tags all do.
const firstOfCbor = 0x80

/** Readings that a node encoded itself, in the payload format of envelopes. */
const decodeNodeReadings = (payload: Uint8Array): readonly Outcome[] => {
  const decoded = decodeReadings(payload)
  if (!decoded.ok) return [{ kind: 'refused', reason: 'layout', detail: decoded.detail }]
  return decoded.readings.map(({ sensor, timeMs, values }) => ({
    kind: 'reading',
    node: sensor,
    timeMs,
    // It encodes readings with their times so that it can keep them while nobody hears it.
    backlog: true,
    measurements: values.map((value): Measurement => {
      const row = quantityCoded(value.quantity)!
      const name = row.name as QuantityName
      return value.scaled === null
        ? { quantity: name, value: null, absent: value.absent }
        : { quantity: name, value: fromScaled(row, value.scaled) }
    }),
  }))
}

/** How a transmission was heard, as measurements. */
export const radioMeasurements = ({ rssi, snr, frequency, spreadingFactor }: Radio): Measurement[] => [
  ...(rssi === undefined ? [] : [{ quantity: 'rssi' as const, value: rssi }]),
  ...(snr === undefined ? [] : [{ quantity: 'snr' as const, value: snr }]),
  ...(frequency === undefined ? [] : [{ quantity: 'frequency' as const, value: frequency }]),
  ...(spreadingFactor === undefined
    ? []
    : [{ quantity: 'spreading_factor' as const, value: spreadingFactor }]),
]

/** From an uplink to what it says; never throws. */
export type UplinkReader = (uplink: Uplink) => readonly Outcome[]

/**
 * A reader for settings that hold `uplinkSettings` (others are left alone). Each node is a sensor of its own; the
 * newest reading of a payload carries how it was heard, or a reading of its own does where the payload says nothing.
 */
export const uplinkReader = (settings: unknown): UplinkReader => {
  const { nodes, payload, text } = schema.parse(settings)
  const allowed = nodes && new Set(nodes)
  const decodeText = textDecoder(text)

  const contentOf = (bytes: Uint8Array): readonly Outcome[] =>
    payload === 'cbor' || (payload === 'auto' && (bytes[0] ?? 0) >= firstOfCbor)
      ? decodeNodeReadings(bytes)
      : decodeText(bytes)

  return ({ node, payload: bytes, radio }) => {
    if (allowed && !allowed.has(node))
      return [{ kind: 'refused', reason: 'not-configured', detail: `node ${node} is not in setting "nodes"` }]
    const heard = radioMeasurements(radio)
    const said = new Set<string>(heard.map(({ quantity }) => quantity))
    const content = contentOf(bytes).map((outcome) =>
      outcome.kind === 'reading'
        ? { ...outcome, node: outcome.node === undefined ? node : `${node}-${outcome.node}` }
        : outcome,
    )
    // One message was heard once: its last reading, the newest, carries the signal, or a reading of its own does.
    const newest = content.findLast((outcome) => outcome.kind === 'reading')
    if (!newest) return [...content, { kind: 'reading', node, measurements: heard }]
    return content.map((outcome) =>
      outcome === newest
        ? {
            ...newest,
            measurements: [...newest.measurements.filter(({ quantity }) => !said.has(quantity)), ...heard],
          }
        : outcome,
    )
  }
}
