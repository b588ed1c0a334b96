/** A LoRaWAN gateway with LoRa Basics Station, and the devices that it hears. */
import { lnsCaller } from '../outlets/lns-caller.ts'
import { answer, type Device, type Emission, type Kind } from './device.ts'
import { type AirFrame, dataRate, devicesSetting, gatewayEui, lorawanNodes } from './lorawan-nodes.ts'
import { everyNode, type LoraNode, threeNodes } from './radio-nodes.ts'

// The LNS protocol (doc.sm.tc/station/tcproto.html) and lora.c. A station's clock has a random session in its upper bits.
const session = 0x00b8n << 48n
const emptyPort = -1

export type BasicsStationOptions = {
  readonly seed: number
  readonly nodes: readonly LoraNode[]
  /** How often each node sends. */
  readonly nodeIntervalMs?: number
}

const xtimeAt = (timeMs: number): bigint => session | (BigInt(Math.floor(timeMs)) * 1000n)

/** The fields of a frame as `updf` has them: numbers read low byte first, some of them signed. */
const updf = ({ phy, hz, rssi, snr }: AirFrame, timeMs: number): string => {
  const frame = Buffer.from(phy)
  const optionsEnd = 8 + (frame[5]! & 0x0f)
  const end = frame.length - 4
  const text = JSON.stringify({
    msgtype: 'updf',
    MHdr: frame[0],
    DevAddr: frame.readInt32LE(1),
    FCtrl: frame[5],
    FCnt: frame.readUInt16LE(6),
    FOpts: frame.toString('hex', 8, optionsEnd).toUpperCase(),
    FPort: optionsEnd === end ? emptyPort : frame[optionsEnd],
    FRMPayload: frame.toString('hex', Math.min(optionsEnd + 1, end), end).toUpperCase(),
    MIC: frame.readInt32LE(end),
    RefTime: 0,
    DR: dataRate.rate,
    Freq: hz,
    upinfo: { rctx: 0, xtime: 'XTIME', gpstime: 0, fts: -1, rssi, snr, rxtime: timeMs / 1000 },
  })
  return text.replace('"XTIME"', String(xtimeAt(timeMs)))
}

const said = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

/** A simulated station: it hears nothing until the gateway has told it the region, and then asks for the time. */
export const basicsStation = ({ seed, nodes, nodeIntervalMs = 5000 }: BasicsStationOptions): Device => {
  const next = lorawanNodes(seed, nodes)
  const groups = gatewayEui(seed).match(/.{4}/g)!
  const router = groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')
  const version = JSON.stringify({
    msgtype: 'version',
    station: '2.0.6(simulated)',
    firmware: null,
    package: null,
    model: 'simulated',
    protocol: 2,
    features: '',
  })
  let listens = false

  const obey = (text: string, timeMs: number): Emission[] => {
    let message: { readonly msgtype?: unknown; readonly region?: unknown; readonly DRs?: unknown }
    try {
      message = JSON.parse(text) as typeof message
    } catch {
      return []
    }
    if (message?.msgtype !== 'router_config') return []
    // A configuration that has no rates is refused, as a station that cannot set its radio up does.
    listens = message.region === 'EU863' && Array.isArray(message.DRs) && message.DRs.length === 16
    return [answer(said(`{"msgtype":"timesync","txtime":${xtimeAt(timeMs)}}`))]
  }

  return {
    model: 'lorawan-basics-station',
    settings: { region: 'EU868', devices: devicesSetting(seed, nodes) },
    baudRate: 115_200,
    intervalMs: everyNode(nodeIntervalMs, nodes),
    outlet: lnsCaller(router, version),
    speak: (timeMs) => {
      if (!listens) return undefined
      const frame = next(timeMs)
      return { bytes: said(updf(frame, timeMs)), meant: frame.meant }
    },
    hear: (bytes, timeMs) => obey(Buffer.from(bytes).toString('utf8'), timeMs),
    powerOn: () => {
      listens = false
      return []
    },
  }
}

/** A station that hears three nodes: text, readings in CBOR, and Cayenne. */
export const basicsStationKind: Kind = {
  sensor: 'lns',
  make: (site) =>
    basicsStation({
      seed: site.seed,
      nodeIntervalMs: site.intervalMs,
      nodes: threeNodes(site).map((node, index) => (index === 2 ? { ...node, payload: 'cayenne' } : node)),
    }),
}
