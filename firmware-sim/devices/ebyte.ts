/** An EBYTE E22 in transparent mode and the LoRa nodes that it hears. */
import assert from 'node:assert/strict'
import { cobsEncode } from '../../gateway/sensors/cobs.ts'
import { crc16 } from '../../gateway/sensors/ebyte-e22.ts'
import type { Device, Kind } from './device.ts'
import { addressed, everyNode, type LoraNode, radioNodesAnd, threeNodes } from './radio-nodes.ts'
import { type SigningNode, signingNode } from './signing-node.ts'

// E22 user manual: one piece over the air; at 9600 baud the module ends a packet after a pause of three bytes.
const maxPacket = 240
// Its owner has set the module so, and says it: channel 18 of an E22-900T.
const frequencyMHz = 868.125

export type EbyteOptions = {
  readonly seed: number
  readonly nodes: readonly LoraNode[]
  /** One that signs, beside them. */
  readonly signing?: SigningNode
  /** Register 3, bit 7: a byte with the strength behind each message. */
  readonly rssi?: boolean
  /** How often each node sends. */
  readonly nodeIntervalMs?: number
}

/** What a node's firmware hands to its module: the gateway's format for modules without one. */
export const onAir = (content: Uint8Array): Uint8Array => {
  const crc = crc16(content)
  return Uint8Array.of(0, ...cobsEncode(Uint8Array.of(...content, crc >> 8, crc & 0xff)), 0)
}

/** A simulated module. What it hears from the gateway it would send to the air: it has no commands in this mode. */
export const ebyte = ({ seed, nodes, signing, rssi = true, nodeIntervalMs = 5000 }: EbyteOptions): Device => {
  const next = radioNodesAnd(seed, nodes, signing)
  return {
    model: 'ebyte-e22',
    settings: {
      address: 'first-two-bytes',
      rssi,
      radio: { frequencyMHz },
      ...(signing ? { signed: [signing.owned] } : {}),
    },
    baudRate: 9600,
    intervalMs: everyNode(nodeIntervalMs, signing ? [...nodes, signing] : nodes),
    speak: (timeMs) => {
      const sent = next(timeMs)
      if (!sent) return undefined
      const packet = onAir(addressed(sent))
      assert(
        packet.length <= maxPacket,
        `a packet of ${packet.length} bytes is more than goes over the air at once`,
      )
      return {
        bytes: rssi ? Uint8Array.of(...packet, sent.rssi + 256) : packet,
        meant: sent.meant(`lora-${sent.address}`, [
          ...(rssi ? [{ quantity: 'rssi' as const, value: sent.rssi }] : []),
          { quantity: 'frequency', value: frequencyMHz },
        ]),
      }
    },
    hear: () => [],
    powerOn: () => [],
  }
}

// One hundredth of the time: five readings about every 21 seconds.
const air = { dataRate: 5, spreadingFactor: 7, frequencyMHz }

/** A module with three nodes, and a fourth that signs. */
export const ebyteKind: Kind = {
  sensor: 'field',
  make: (site) =>
    ebyte({
      seed: site.seed,
      nodeIntervalMs: site.intervalMs,
      nodes: threeNodes(site),
      signing: signingNode(site, 14, air),
    }),
}
