/** LoRaWAN gateways that forward what they hear by Semtech's UDP protocol (GWMP): a PUSH_DATA becomes uplinks. */
import { z } from 'zod'
import { hex, utf8 } from './bytes.ts'
import { lorawan, maxPhyBytes } from './lorawan.ts'
import { deviceList, devicesOf } from './lorawan-devices.ts'
import type { Decoder, Driver, Outcome, Radio, Settings, Surroundings } from './sensors.ts'
import { checked } from './settings.ts'
import { uplinkReader, uplinkSettings } from './uplink.ts'

const model = 'lorawan-gwmp'

// PROTOCOL.TXT 3.2: version 2, token, identifier 0x00, EUI of the gateway, JSON with rxpk and stat.
const headerBytes = 12
const pushData = 0x00
// A forwarder sends eight packets at once, each some 550 characters; the link takes no longer datagram.
const maxBytes = 8192
const maxPackets = 64

/** A number as forwarders write it, or nothing. */
const loose = z.number().optional().catch(undefined)

// PROTOCOL.TXT 4. Only what is used; `datr` is a string for LoRa and a number for FSK.
const packetShape = z.object({
  stat: loose,
  freq: loose,
  datr: z
    .union([z.string().max(32), z.number()])
    .optional()
    .catch(undefined),
  rssi: loose,
  lsnr: loose,
  size: z.number(),
  data: z.string().max(400),
})

const pushShape = z.object({
  rxpk: z.array(z.unknown()).max(maxPackets).optional(),
  stat: z.record(z.string(), z.unknown()).optional(),
})

/** What a PUSH_DATA datagram holds. */
export type PushData = {
  readonly token: string
  /** EUI of the gateway, 16 hexadecimal digits. */
  readonly gateway: string
  readonly packets: readonly unknown[]
  readonly stat: Readonly<Record<string, unknown>> | undefined
}

/** The parts of a PUSH_DATA datagram, or why it is none. Layout: `02 token(2) 00 EUI(8) JSON`. */
export const pushDataIn = (datagram: Uint8Array): PushData | string => {
  if (datagram.length < headerBytes) return `${datagram.length} bytes are no datagram of a gateway`
  if (datagram[0] !== 2 || datagram[3] !== pushData)
    return `version ${datagram[0]}, identifier ${datagram[3]} where 2 and 0 are expected`
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(datagram.subarray(headerBytes)).toString('utf8'))
  } catch {
    return 'what follows the header is not JSON'
  }
  const parsed = pushShape.safeParse(value)
  if (!parsed.success) return 'the JSON is not what a gateway sends'
  const digits = Buffer.from(datagram).toString('hex', 0, headerBytes)
  return {
    // The token is two bytes without an order; they are shown as they stand.
    token: digits.slice(2, 6),
    gateway: digits.slice(8),
    packets: parsed.data.rxpk ?? [],
    stat: parsed.data.stat,
  }
}

/**
 * The bytes of base64 as forwarders write it: with or without padding, in either alphabet or both at once (the example
 * in PROTOCOL.TXT is); undefined where it is none.
 */
export const base64In = (text: string): Uint8Array | undefined => {
  const plain = text
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replace(/={0,2}$/, '')
  if (!/^[A-Za-z0-9+/]*$/.test(plain) || plain.length % 4 === 1) return undefined
  return new Uint8Array(Buffer.from(plain, 'base64'))
}

const radioOf = ({ rssi, lsnr, freq, datr }: z.output<typeof packetShape>): Radio => {
  const spreading = typeof datr === 'string' ? /^SF(\d{1,2})BW\d{1,4}$/.exec(datr) : null
  return {
    ...(rssi === undefined ? {} : { rssi }),
    ...(lsnr === undefined ? {} : { snr: lsnr }),
    ...(freq === undefined ? {} : { frequency: freq }),
    ...(spreading ? { spreadingFactor: Number(spreading[1]) } : {}),
  }
}

type Heard = { readonly phy: Uint8Array; readonly radio: Radio }

const heardIn = (packet: unknown): Heard | Outcome => {
  const parsed = packetShape.safeParse(packet)
  if (!parsed.success) return { kind: 'refused', reason: 'layout', detail: 'a packet without size or data' }
  const { stat, size, data } = parsed.data
  // -1: the CRC of the transmission is wrong; 0: it had none, and the MIC decides.
  if (stat === -1) return { kind: 'control', what: 'a packet that the gateway heard wrongly' }
  const phy = base64In(data)
  if (!phy) return { kind: 'refused', reason: 'layout', detail: 'data of a packet is not base64' }
  if (phy.length !== size || size > maxPhyBytes)
    return { kind: 'refused', reason: 'length', detail: `size is ${size} where data has ${phy.length} bytes` }
  return { phy, radio: radioOf(parsed.data) }
}

const isHeard = (one: Heard | Outcome): one is Heard => 'phy' in one

/** One gateway may hear a transmission on two antennas: the louder one stays, where the first one stood. */
const loudest = (heard: readonly (Heard | Outcome)[]): (Heard | Outcome)[] => {
  const kept: (Heard | Outcome)[] = []
  const places = new Map<string, number>()
  for (const one of heard) {
    if (!isHeard(one)) {
      kept.push(one)
      continue
    }
    const name = Buffer.from(one.phy).toString('hex')
    const place = places.get(name)
    const before = place === undefined ? undefined : (kept[place] as Heard)
    if (!before) {
      places.set(name, kept.length)
      kept.push(one)
    } else {
      if ((one.radio.rssi ?? -Infinity) > (before.radio.rssi ?? -Infinity)) kept[place!] = one
      kept.push({ kind: 'control', what: 'the same packet on another antenna' })
    }
  }
  return kept
}

const schema = z.strictObject({ devices: deviceList, ...uplinkSettings })

const configure = (settings: Settings, surroundings: Surroundings): Decoder => {
  const devices = devicesOf(model, checked(model, schema, settings).devices, settings.devices, surroundings)
  const read = lorawan(devices, surroundings.counters)
  // Told here, where the owner's settings are checked, and not when the first device is heard.
  uplinkReader(model, settings, surroundings, devices.nodeSettings)
  return {
    nodeSettings: devices.nodeSettings,
    decode: (datagram, atMs) => {
      const push = pushDataIn(datagram)
      if (typeof push === 'string') return [{ kind: 'refused', reason: 'layout', detail: push }]
      const outcomes = loudest(push.packets.map(heardIn)).map((one) =>
        isHeard(one) ? read(one.phy, one.radio, atMs) : one,
      )
      if (push.stat) outcomes.push({ kind: 'control', what: `status of gateway ${push.gateway}` })
      return outcomes
    },
  }
}

const datagram = (json: string): Uint8Array =>
  new Uint8Array([...hex('02000100aa555a0000000101'), ...utf8(json)])

/**
 * Driver for `udp://127.0.0.1:1700`, where packet forwarders send. A device is a node of its own, called by its `name`,
 * else its EUI, else its address. Tokens, the gateway's clock (`tmst`, which wraps each 71.6 minutes) and its fake or
 * true position are of no use here and are not read.
 */
export const lorawanGwmp: Driver = {
  model,
  title: 'LoRaWAN gateway with a packet forwarder (Semtech UDP), and the devices it hears',
  source: 'Semtech packet_forwarder PROTOCOL.TXT (protocol version 2); LoRaWAN 1.0.4 specification',
  baudRate: 115_200,
  // A forwarder tells its status each 30 s unless it was told otherwise.
  silenceS: 3600,
  framing: { kind: 'messages', maxBytes },
  greeting: () => [],
  configure,
  examples: [
    {
      title: 'the status of a gateway',
      source: 'PROTOCOL.TXT, section 4',
      bytes: datagram(
        '{"stat":{"time":"2014-01-12 08:59:28 GMT","lati":46.24000,"long":3.25230,"alti":145,"rxnb":2,"rxok":2,"rxfw":2,"ackr":100.0,"dwnb":2,"txnb":2}}',
      ),
      outcomes: [{ kind: 'control', what: 'status of gateway aa555a0000000101' }],
    },
    {
      title: 'a frame of a listed device',
      source: 'npm lora-packet README, put into an rxpk',
      settings: {
        devices: [
          {
            devAddr: '49be7df1',
            nwkSKey: '44024241ed4ce9a68c6a8bc055233fd3',
            appSKey: 'ec925802ae430ca77fd3dd73cb2cc588',
          },
        ],
      },
      bytes: datagram(
        '{"rxpk":[{"tmst":3512348611,"chan":0,"rfch":1,"freq":868.1,"stat":1,"modu":"LORA","datr":"SF7BW125","codr":"4/5","rssi":-57,"lsnr":9.8,"size":17,"data":"QPF9vkkAAgABlUN4disR/w0="}]}',
      ),
      outcomes: [
        {
          kind: 'uplink',
          node: '49be7df1',
          payload: utf8('test'),
          port: 1,
          radio: { rssi: -57, snr: 9.8, frequency: 868.1, spreadingFactor: 7 },
        },
      ],
    },
    {
      title:
        'the example of the protocol: base64 without padding and of two alphabets, of a device not listed',
      source: 'PROTOCOL.TXT, section 4',
      bytes: datagram(
        '{"rxpk":[{"time":"2013-03-31T16:21:17.528002Z","tmst":3512348611,"chan":2,"rfch":0,"freq":866.349812,"stat":1,"modu":"LORA","datr":"SF7BW125","codr":"4/6","rssi":-35,"lsnr":5.1,"size":32,"data":"-DS4CGaDCdG+48eJNM3Vai-zDpsR71Pn9CPA9uCON84"}]}',
      ),
      outcomes: [{ kind: 'control', what: 'heard a proprietary frame' }],
    },
  ],
}
