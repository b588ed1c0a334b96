/** LoRaWAN gateways that run LoRa Basics Station: what they hear comes taken apart, and is put together again. */
import { z } from 'zod'
import { exactJson } from '../reading/exact-json.ts'
import { utf8 } from './bytes.ts'
import { lorawan } from './lorawan.ts'
import { deviceList, devicesOf } from './lorawan-devices.ts'
import { type RegionName, regionNames, routerConfig, spreadingFactorOf } from './lorawan-regions.ts'
import type { Decoder, Driver, Outcome, Radio, Settings, Surroundings } from './sensors.ts'
import { checked } from './settings.ts'
import { uplinkReader, uplinkSettings } from './uplink.ts'

const model = 'lorawan-basics-station'

// A frame of 255 bytes in hex, and some 300 characters about it.
const maxBytes = 4096

const byte = z.int().min(0).max(255)
const signed32 = z.int().min(-0x8000_0000).max(0x7fff_ffff)
const hexOf = (longest: number) =>
  z
    .string()
    .max(2 * longest)
    .regex(/^(?:[0-9A-Fa-f]{2})*$/)
const eui = z.string().regex(/^[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){7}$/)
const loose = z.number().optional().catch(undefined)

// doc.sm.tc/station/tcproto.html, "Uplink Messages"; as lora.c of Basics Station writes them.
const radioShape = z.object({
  DR: loose,
  Freq: loose,
  upinfo: z.object({ rssi: loose, snr: loose }).optional().catch(undefined),
})
const dataShape = z.object({
  MHdr: byte,
  DevAddr: signed32,
  FCtrl: byte,
  FCnt: z.int().min(0).max(65_535),
  FOpts: hexOf(15),
  /** -1: there is neither port nor payload. */
  FPort: z.int().min(-1).max(255),
  FRMPayload: hexOf(242),
  MIC: signed32,
})
const joinShape = z.object({
  MHdr: byte,
  JoinEui: eui,
  DevEui: eui,
  DevNonce: z.int().min(0).max(65_535),
  MIC: signed32,
})

// Keys in the order of the frame; numbers stand low byte first.
const little = (value: number, bytes: 2 | 4): Buffer => {
  const buffer = Buffer.alloc(4)
  buffer.writeInt32LE(value | 0)
  return buffer.subarray(0, bytes)
}
const reversed = (text: string): Buffer => Buffer.from(text.replaceAll('-', ''), 'hex').reverse()

const dataFrame = (one: z.output<typeof dataShape>): Uint8Array | undefined => {
  const options = Buffer.from(one.FOpts, 'hex')
  // The lower half of FCtrl says how long FOpts is: where they differ, the MIC is of another frame.
  if (options.length !== (one.FCtrl & 0x0f)) return undefined
  return new Uint8Array(
    Buffer.concat([
      Buffer.of(one.MHdr),
      little(one.DevAddr, 4),
      Buffer.of(one.FCtrl),
      little(one.FCnt, 2),
      options,
      ...(one.FPort < 0 ? [] : [Buffer.of(one.FPort), Buffer.from(one.FRMPayload, 'hex')]),
      little(one.MIC, 4),
    ]),
  )
}

const joinFrame = (one: z.output<typeof joinShape>): Uint8Array =>
  new Uint8Array(
    Buffer.concat([
      Buffer.of(one.MHdr),
      reversed(one.JoinEui),
      reversed(one.DevEui),
      little(one.DevNonce, 2),
      little(one.MIC, 4),
    ]),
  )

/** The PHYPayload that an `updf` or `jreq` was taken from; undefined where a field is missing or wrong. */
export const phyPayloadOf = (message: Readonly<Record<string, unknown>>): Uint8Array | undefined => {
  if (message.msgtype === 'updf') {
    const parsed = dataShape.safeParse(message)
    return parsed.success ? dataFrame(parsed.data) : undefined
  }
  // Newer networks have it write JoinEUI and DevEUI.
  const parsed = joinShape.safeParse({ JoinEui: message.JoinEUI, DevEui: message.DevEUI, ...message })
  return parsed.success ? joinFrame(parsed.data) : undefined
}

const radioOf = (message: unknown, region: RegionName): Radio => {
  const { DR, Freq, upinfo } = radioShape.parse(message)
  const factor = DR === undefined ? undefined : spreadingFactorOf(region, DR)
  return {
    ...(upinfo?.rssi === undefined ? {} : { rssi: upinfo.rssi }),
    ...(upinfo?.snr === undefined ? {} : { snr: upinfo.snr }),
    ...(Freq === undefined ? {} : { frequency: Freq / 1e6 }),
    ...(factor === undefined ? {} : { spreadingFactor: factor }),
  }
}

const schema = z.strictObject({
  region: z
    .enum(regionNames, `expected ${regionNames.join(', ')}`)
    .default('EU868')
    .describe('Frequencies that gateways are told to listen to.'),
  devices: deviceList,
  ...uplinkSettings,
})

const otherMessages: Readonly<Record<string, string>> = {
  version: 'a station has connected',
  dntxed: 'a station has transmitted',
  propdf: 'heard a proprietary frame',
  rejoin: 'heard a rejoin request',
  jacc: 'heard a join accept',
  dndf: 'heard a downlink',
}

const messageIn = (bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value = exactJson(Buffer.from(bytes).toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

const configure = (settings: Settings, surroundings: Surroundings): Decoder => {
  const { region, devices: list } = checked(model, schema, settings)
  const devices = devicesOf(model, list, settings.devices, surroundings)
  const read = lorawan(devices, surroundings.counters)
  // Told here, where the owner's settings are checked, and not when the first device is heard.
  uplinkReader(model, settings, surroundings, devices.nodeSettings)

  const outcomeOf = (bytes: Uint8Array, atMs: number): Outcome => {
    const message = messageIn(bytes)
    if (!message || typeof message.msgtype !== 'string')
      return {
        kind: 'refused',
        reason: 'layout',
        detail: `${bytes.length} bytes are no message of a station`,
      }
    const { msgtype } = message
    if (msgtype === 'updf' || msgtype === 'jreq') {
      const phy = phyPayloadOf(message)
      return phy
        ? read(phy, radioOf(message, region), atMs)
        : { kind: 'refused', reason: 'layout', detail: `a field of ${msgtype} is missing or wrong` }
    }
    const what = Object.hasOwn(otherMessages, msgtype) ? otherMessages[msgtype] : undefined
    return what
      ? { kind: 'control', what }
      : { kind: 'refused', reason: 'unknown', detail: `message ${JSON.stringify(msgtype.slice(0, 32))}` }
  }
  return {
    nodeSettings: devices.nodeSettings,
    decode: (bytes, atMs) => [outcomeOf(bytes, atMs)],
  }
}

/**
 * Driver for `ws://127.0.0.1:1887`, which Basics Stations call. What is written to the link at each opening is the
 * configuration of the owner's region, for every station that connects. Times of a station's own clock (`xtime`, beyond
 * 2^53) are not used: nothing is sent down.
 */
export const lorawanBasicsStation: Driver = {
  model,
  title: 'LoRaWAN gateway with LoRa Basics Station, and the devices it hears',
  source: 'LoRa Basics Station, The LNS Protocol (doc.sm.tc/station/tcproto.html) and lora.c',
  baudRate: 115_200,
  // Devices on a battery send rarely; a station that is gone connects by itself.
  silenceS: 86_400,
  framing: { kind: 'messages', maxBytes },
  greeting: (settings) => [utf8(JSON.stringify(routerConfig(checked(model, schema, settings).region)))],
  configure,
  examples: [
    {
      title: 'a station that connects',
      source: 'The LNS Protocol, "Version"',
      bytes: utf8(
        '{"msgtype":"version","station":"2.0.6(rpi/std)","firmware":null,"package":null,"model":"rpi","protocol":2,"features":"rmtsh"}',
      ),
      outcomes: [{ kind: 'control', what: 'a station has connected' }],
    },
    {
      title: 'a frame of a listed device',
      source: 'npm lora-packet README, as lora.c would take it apart',
      settings: {
        devices: [
          {
            devAddr: '49be7df1',
            nwkSKey: '44024241ed4ce9a68c6a8bc055233fd3',
            appSKey: 'ec925802ae430ca77fd3dd73cb2cc588',
          },
        ],
      },
      bytes: utf8(
        '{"msgtype":"updf","MHdr":64,"DevAddr":1237220849,"FCtrl":0,"FCnt":2,"FOpts":"","FPort":1,"FRMPayload":"95437876","MIC":234819883,"RefTime":0.000000,"DR":5,"Freq":868100000,"upinfo":{"rctx":0,"xtime":51791395861065770,"gpstime":0,"fts":-1,"rssi":-45,"snr":13.75,"rxtime":1671470414.687880516}}',
      ),
      outcomes: [
        {
          kind: 'uplink',
          node: '49be7df1',
          payload: utf8('test'),
          port: 1,
          radio: { rssi: -45, snr: 13.75, frequency: 868.1, spreadingFactor: 7 },
        },
      ],
    },
  ],
}
