/** LoRaWAN devices as a gateway hears them: frames with keys and counters, and what should be read of them. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { Measurement } from '../../gateway/reading/reading.ts'
import { loraPacket } from '../../gateway/sensors/lora-packet.ts'
import type { Settings } from '../../gateway/sensors/sensors.ts'
import { pick } from '../random.ts'
import type { Meant } from './device.ts'
import { heardAs, type LoraNode, radioNodes } from './radio-nodes.ts'

// EU868: the three channels that every network has, and the fastest rate of 125 kHz: payloads up to 222 bytes.
const channelsHz = [868_100_000, 868_300_000, 868_500_000]
/** Data rate 5 of EU868. */
export const dataRate = { rate: 5, factor: 7, name: 'SF7BW125' } as const
const maxPayload = 222
const port = 2

/** One frame on air, and how a gateway hears it. */
export type AirFrame = {
  readonly phy: Uint8Array
  readonly hz: number
  readonly rssi: number
  readonly snr: number
  readonly meant: readonly Meant[]
}

const keyOf = (seed: number, address: number, use: string): Buffer =>
  createHash('sha256').update(`${seed} ${address} ${use}`).digest().subarray(0, 16)

const addressOf = ({ address }: LoraNode): string => (0x2600_0000 + address).toString(16)
const nameOf = ({ address }: LoraNode): string => `node-${address}`

/** What an owner writes about these devices. */
export const devicesSetting = (seed: number, nodes: readonly LoraNode[]): readonly Settings[] =>
  nodes.map((node) => ({
    name: nameOf(node),
    devAddr: addressOf(node),
    nwkSKey: keyOf(seed, node.address, 'network').toString('hex'),
    appSKey: keyOf(seed, node.address, 'application').toString('hex'),
    ...(node.payload === 'cayenne' ? { payload: 'cayenne-lpp' } : {}),
  }))

/** Devices that take turns; each call is one frame. Their counters start shortly before 16 bits end, as old ones' do. */
export const lorawanNodes = (
  seed: number,
  nodes: readonly LoraNode[],
  firstCounter = 65_530,
): ((timeMs: number) => AirFrame) => {
  const next = radioNodes(seed, nodes)
  const counters = new Map<number, number>()
  return (timeMs) => {
    const sent = next(timeMs)
    assert(
      sent.data.length <= maxPayload,
      `a payload of ${sent.data.length} bytes is more than the rate allows`,
    )
    const node = nodes.find(({ address }) => address === sent.address)!
    const counter = counters.get(sent.address) ?? firstCounter
    counters.set(sent.address, counter + 1)
    const [low, high] = [Buffer.alloc(2), Buffer.alloc(2)]
    low.writeUInt16BE(counter % 65_536)
    high.writeUInt16LE(Math.floor(counter / 65_536))
    const packet = loraPacket.fromFields(
      {
        MType: counter % 7 === 0 ? 4 : 2, // now and then one that wants to be confirmed
        DevAddr: Buffer.from(addressOf(node), 'hex'),
        FCtrl: { ADR: true },
        FCnt: low,
        FPort: port,
        payload: Buffer.from(sent.data),
      },
      keyOf(seed, sent.address, 'application'),
      keyOf(seed, sent.address, 'network'),
      undefined,
      high,
    )
    const hz = pick(channelsHz, seed + counter)
    const heard: readonly Measurement[] = [
      ...heardAs(sent),
      { quantity: 'frequency', value: hz / 1e6 },
      { quantity: 'spreading_factor', value: dataRate.factor },
    ]
    return {
      phy: new Uint8Array(packet.getPHYPayload() as Buffer),
      hz,
      rssi: sent.rssi,
      snr: sent.snr,
      meant: sent.meant(nameOf(node), heard),
    }
  }
}

/** An EUI for a gateway, 16 hexadecimal digits. */
export const gatewayEui = (seed: number): string =>
  createHash('sha256').update(`gateway ${seed}`).digest('hex').slice(0, 16)
