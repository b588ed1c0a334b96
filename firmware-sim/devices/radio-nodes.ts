/** LoRa nodes as a modem hears them: what they send, how loudly it arrives, and what should be read. */
import assert from 'node:assert/strict'
import { encodeReadings } from '../../gateway/reading/payload.ts'
import { type Measurement, toValues } from '../../gateway/reading/reading.ts'
import { chanceAt, generator } from '../random.ts'
import { around, type Conditions } from '../world.ts'
import type { Meant, Site } from './device.ts'
import { printed } from './microcontroller.ts'

/** A node: its address, the air around it, and whether it sends text, encoded readings, or Cayenne LPP. */
export type LoraNode = {
  readonly address: number
  readonly air: (timeMs: number) => Conditions
  readonly payload: 'text' | 'cbor' | 'cayenne'
}

/** One message as it arrives: dBm and dB as modems print them. */
export type Transmission = {
  readonly address: number
  readonly data: Uint8Array
  readonly rssi: number
  readonly snr: number
  /** What should be read when a driver calls the node so, with what else the modem says about the radio. */
  readonly meant: (node: string, radio: readonly Measurement[]) => readonly Meant[]
}

/** What a CBOR node calls its one sensor; the gateway appends it to the node's name. */
export const nodeSensor = 'env'

// Cayenne LPP: tenths of a degree, halves of a percent, tenths of a hPa; big-endian.
const cayenneOf = ({ temperature, humidity, pressure }: Conditions) => {
  const [t, h, p] = [Math.round(temperature * 10), Math.round(humidity * 2), Math.round(pressure * 10)]
  const data = Buffer.alloc(11)
  data.set([1, 0x67, 0, 0, 2, 0x68, h, 3, 0x73])
  data.writeInt16BE(t, 2)
  data.writeUInt16BE(p, 9)
  const measurements: readonly Measurement[] = [
    { quantity: 'temperature', value: t / 10 },
    { quantity: 'humidity', value: h / 2 },
    { quantity: 'pressure', value: p / 10 },
  ]
  return { data: new Uint8Array(data), measurements }
}

const payloadOf = (
  node: LoraNode,
  timeMs: number,
): { data: Uint8Array; measurements: readonly Measurement[]; sensor?: string } => {
  if (node.payload === 'cayenne') return cayenneOf(node.air(timeMs))
  const { text, measurements } = printed(node.air(timeMs), 'key-value')
  if (node.payload === 'text') return { data: new Uint8Array(Buffer.from(text)), measurements }
  const reading = { sensor: nodeSensor, model: 'bme280', timeMs, values: toValues(measurements) }
  return { data: encodeReadings([reading]), measurements, sensor: nodeSensor }
}

/** Nodes that take turns; each call is one message. A CBOR node encodes as a station does, and signs nothing. */
export const radioNodes = (seed: number, nodes: readonly LoraNode[]): ((timeMs: number) => Transmission) => {
  assert(nodes.length > 0, 'a modem hears at least one node')
  let turn = 0
  return (timeMs) => {
    const node = nodes[turn % nodes.length]!
    turn += 1
    const { data, measurements, sensor } = payloadOf(node, timeMs)
    const fading = chanceAt(seed, node.address, Math.floor(timeMs / 1000))
    return {
      address: node.address,
      data,
      rssi: Math.round(-60 - 50 * chanceAt(seed, node.address) - 6 * fading),
      snr: Math.round(12 - 14 * chanceAt(seed, node.address, 1) - 3 * fading),
      meant: (name, radio) => [
        {
          node: sensor === undefined ? name : `${name}-${sensor}`,
          measurements: [...measurements, ...radio],
        },
      ],
    }
  }
}

/** The same with one more behind them that does not send in each of its turns. */
export const radioNodesAnd = (
  seed: number,
  nodes: readonly LoraNode[],
  last: { readonly next: (timeMs: number) => Transmission | undefined } | undefined,
): ((timeMs: number) => Transmission | undefined) => {
  const next = radioNodes(seed, nodes)
  if (!last) return next
  let turn = 0
  return (timeMs) => (turn++ % (nodes.length + 1) === nodes.length ? last.next(timeMs) : next(timeMs))
}

/** How often one of so many nodes sends, when each sends every `nodeIntervalMs`. */
export const everyNode = (nodeIntervalMs: number, nodes: readonly unknown[]): number =>
  Math.max(1, Math.floor(nodeIntervalMs / nodes.length))

/** Three nodes within two kilometres, two of which print text. */
export const threeNodes = ({ seed, place, airAt }: Site): readonly LoraNode[] =>
  [11, 12, 13].map((address) => ({
    address,
    air: airAt(around(place, 2, generator(seed + address))),
    payload: address % 2 === 0 ? 'cbor' : 'text',
  }))

/** A payload behind the node's number: two bytes, the high one first. */
export const addressed = ({ address, data }: Transmission): Uint8Array =>
  Uint8Array.of(address >> 8, address & 0xff, ...data)

/** RSSI and SNR as measurements. */
export const heardAs = ({ rssi, snr }: Transmission): readonly Measurement[] => [
  { quantity: 'rssi', value: rssi },
  { quantity: 'snr', value: snr },
]
