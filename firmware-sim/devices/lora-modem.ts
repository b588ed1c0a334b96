/** A REYAX RYLR modem and the LoRa nodes that it hears. */
import assert from 'node:assert/strict'
import { encodeReadings } from '../../gateway/reading/payload.ts'
import { type Measurement, toValues } from '../../gateway/reading/reading.ts'
import { chanceAt, generator } from '../random.ts'
import { around, type Conditions } from '../world.ts'
import { answer, commandReader, type Device, type Emission, type Kind } from './device.ts'
import { printed } from './microcontroller.ts'

// RYLR998 AT command guide.
const maxData = 240
const settable = /^AT\+(ADDRESS|NETWORKID|BAND|PARAMETER|CPIN|IPR|CRFOP|MODE)=([\x20-\x7e]{1,48})$/
const askable = /^AT\+(ADDRESS|NETWORKID|BAND|PARAMETER|IPR|CRFOP|MODE|VER)\?$/
const newline = 0x0a

/** A node: its address, the air around it, and whether it sends text or encoded readings. */
export type LoraNode = {
  readonly address: number
  readonly air: (timeMs: number) => Conditions
  readonly payload: 'text' | 'cbor'
}

export type LoraModemOptions = {
  readonly seed: number
  readonly nodes: readonly LoraNode[]
  /** How often each node sends. */
  readonly nodeIntervalMs?: number
}

const takeLine = (bytes: Uint8Array) => {
  const at = bytes.indexOf(newline)
  return at === -1 ? { drop: 0 } : { drop: at + 1, command: bytes.slice(0, at) }
}

/** What a CBOR node calls its one sensor; the gateway appends it to the node's address. */
export const nodeSensor = 'env'

/** A simulated modem; its nodes take turns. A CBOR node encodes as a station does, and signs nothing. */
export const loraModem = ({ seed, nodes, nodeIntervalMs = 5000 }: LoraModemOptions): Device => {
  assert(nodes.length > 0, 'a modem hears at least one node')
  const intervalMs = Math.max(1, Math.floor(nodeIntervalMs / nodes.length))
  const state = new Map<string, string>()
  const lines = commandReader(takeLine)
  const say = (text: string): Emission => answer(new Uint8Array(Buffer.from(`${text}\r\n`)))
  let turn = 0

  const payloadOf = (
    node: LoraNode,
    timeMs: number,
  ): { data: Uint8Array; measurements: readonly Measurement[]; sensor?: string } => {
    const { text, measurements } = printed(node.air(timeMs), 'key-value')
    if (node.payload === 'text') return { data: new Uint8Array(Buffer.from(text)), measurements }
    const reading = { sensor: nodeSensor, model: 'bme280', timeMs, values: toValues(measurements) }
    return { data: encodeReadings([reading]), measurements, sensor: nodeSensor }
  }

  const obey = (command: Uint8Array): Emission => {
    const text = Buffer.from(command).toString('latin1').replace(/\r$/, '')
    const set = settable.exec(text)
    if (set) state.set(set[1]!, set[2]!)
    if (set || text === 'AT') return say('+OK')
    const asked = askable.exec(text)
    if (asked) return say(`+${asked[1]}=${state.get(asked[1]!) ?? '0'}`)
    return say(text.startsWith('AT') ? '+ERR=4' : '+ERR=2')
  }

  return {
    model: 'reyax-rylr',
    settings: { address: 1, networkId: 18, nodes: nodes.map(({ address }) => `lora-${address}`) },
    baudRate: 115_200,
    intervalMs,
    speak: (timeMs) => {
      const node = nodes[turn % nodes.length]!
      turn += 1
      const { data, measurements, sensor } = payloadOf(node, timeMs)
      assert(data.length <= maxData, `a payload of ${data.length} bytes is more than the modem sends`)
      const fading = chanceAt(seed, node.address, Math.floor(timeMs / 1000))
      const rssi = Math.round(-60 - 50 * chanceAt(seed, node.address) - 6 * fading)
      const snr = Math.round(12 - 14 * chanceAt(seed, node.address, 1) - 3 * fading)
      const address = `lora-${node.address}`
      return {
        bytes: new Uint8Array(
          Buffer.concat([
            Buffer.from(`+RCV=${node.address},${data.length},`),
            data,
            Buffer.from(`,${rssi},${snr}\r\n`),
          ]),
        ),
        meant: [
          {
            node: sensor === undefined ? address : `${address}-${sensor}`,
            measurements: [
              ...measurements,
              { quantity: 'rssi', value: rssi },
              { quantity: 'snr', value: snr },
            ],
          },
        ],
      }
    },
    hear: (bytes) => lines(bytes).map(obey),
    powerOn: () => [say('+READY')],
  }
}

/** A modem with three nodes within two kilometres, two of which print text. */
export const loraModemKind: Kind = {
  sensor: 'field',
  make: ({ seed, place, airAt, intervalMs }) =>
    loraModem({
      seed,
      nodeIntervalMs: intervalMs,
      nodes: [11, 12, 13].map((address) => ({
        address,
        air: airAt(around(place, 2, generator(seed + address))),
        payload: address % 2 === 0 ? 'cbor' : 'text',
      })),
    }),
}
