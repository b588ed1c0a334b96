/** A LoRaWAN gateway with Semtech's packet forwarder, and the devices that it hears. */
import { udpCaller } from '../outlets/udp-caller.ts'
import { answer, type Device, type Emission, type Kind } from './device.ts'
import { type AirFrame, dataRate, devicesSetting, gatewayEui, lorawanNodes } from './lorawan-nodes.ts'
import { everyNode, type LoraNode, threeNodes } from './radio-nodes.ts'

// PROTOCOL.TXT: `02 token(2) identifier [EUI(8)] [JSON]`, and the forwarder's usual intervals.
const identifiers = { pushData: 0, pushAck: 1, pullData: 2 } as const
const pullEveryMs = 10_000
const statEveryMs = 30_000
// What is not acknowledged is kept and sent again; a forwarder with more than this to keep is deaf.
const maxPending = 64

export type PacketForwarderOptions = {
  readonly seed: number
  readonly nodes: readonly LoraNode[]
  /** How often each node sends. */
  readonly nodeIntervalMs?: number
}

/**
 * A simulated gateway: one datagram is under way at a time, and is sent again until it is acknowledged, so that the
 * order on air is the order of arrival. It writes base64 with and without padding, as forwarders do.
 */
export const packetForwarder = ({ seed, nodes, nodeIntervalMs = 5000 }: PacketForwarderOptions): Device => {
  const next = lorawanNodes(seed, nodes)
  const eui = Buffer.from(gatewayEui(seed), 'hex')
  const pending: { readonly token: number; readonly emission: Emission }[] = []
  let token = 0
  let pulledMs = Number.NEGATIVE_INFINITY
  let toldMs = Number.NEGATIVE_INFINITY
  let heard = 0

  const datagram = (identifier: number, json = ''): Uint8Array => {
    token = (token + 1) % 65_536
    return new Uint8Array([2, token >> 8, token & 0xff, identifier, ...eui, ...Buffer.from(json)])
  }
  const pull = (timeMs: number): Emission[] => {
    if (timeMs - pulledMs < pullEveryMs) return []
    pulledMs = timeMs
    return [answer(datagram(identifiers.pullData))]
  }
  const rxpk = ({ phy, hz, rssi, snr }: AirFrame, timeMs: number): Record<string, unknown> => {
    const padded = Buffer.from(phy).toString('base64')
    return {
      // Microseconds in 32 bits.
      tmst: (timeMs * 1000) % 2 ** 32,
      chan: 0,
      rfch: 1,
      freq: hz / 1e6,
      stat: 1,
      modu: 'LORA',
      datr: dataRate.name,
      codr: '4/5',
      rssi,
      lsnr: snr,
      size: phy.length,
      data: heard % 2 === 0 ? padded : padded.replaceAll('=', ''),
    }
  }
  const stat = (timeMs: number): Record<string, unknown> => {
    if (timeMs - toldMs < statEveryMs) return {}
    toldMs = timeMs
    const time = new Date(timeMs).toISOString().replace('T', ' ').replace(/\..*/, ' GMT')
    return { stat: { time, rxnb: heard, rxok: heard, rxfw: heard, ackr: 100, dwnb: 0, txnb: 0 } }
  }
  const again = ({ emission }: (typeof pending)[number]): Emission => ({ ...emission, meant: [] })

  return {
    model: 'lorawan-gwmp',
    settings: { devices: devicesSetting(seed, nodes) },
    baudRate: 115_200,
    intervalMs: everyNode(nodeIntervalMs, nodes),
    outlet: udpCaller,
    speak: (timeMs) => {
      if (pending.length < maxPending) {
        const frame = next(timeMs)
        heard += 1
        const bytes = datagram(
          identifiers.pushData,
          JSON.stringify({ rxpk: [rxpk(frame, timeMs)], ...stat(timeMs) }),
        )
        pending.push({ token, emission: { bytes, meant: frame.meant } })
        if (pending.length === 1) return pending[0]!.emission
      }
      return again(pending[0]!)
    },
    hear: (bytes, timeMs) => {
      if (bytes.length < 4 || bytes[0] !== 2 || bytes[3] !== identifiers.pushAck) return []
      const first = pending[0]
      if (first?.token !== bytes[1]! * 256 + bytes[2]!) return []
      pending.shift()
      // What waited behind it has not been said yet: now it is.
      return [...pull(timeMs), ...pending.slice(0, 1).map(({ emission }) => emission)]
    },
    powerOn: (timeMs) => {
      pulledMs = Number.NEGATIVE_INFINITY
      return pull(timeMs)
    },
  }
}

/** A forwarder that hears three nodes: text, readings in CBOR, and Cayenne. */
export const packetForwarderKind: Kind = {
  sensor: 'lorawan',
  make: (site) =>
    packetForwarder({
      seed: site.seed,
      nodeIntervalMs: site.intervalMs,
      nodes: threeNodes(site).map((node, index) => (index === 2 ? { ...node, payload: 'cayenne' } : node)),
    }),
}
