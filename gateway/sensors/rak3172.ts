/** RAKwireless RAK3172 and other RUI3 modules in LoRa P2P mode: payloads of nodes, with how they were heard. */
import { z } from 'zod'
import { hex, utf8 } from './bytes.ts'
import { type Order, orders } from './modem-orders.ts'
import {
  hertz,
  p2pSettings,
  p2pUplink,
  payloadIn,
  type RadioSettings,
  radioOf,
  radioSettings,
} from './p2p.ts'
import type { Decoder, Driver, Outcome, Settings } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'rak3172'

// RUI3 AT command manual: one line a message. Firmware to 1.0.4 (RAK's migration guide): two, at 9600 baud.
const oneLine = /^\+EVT:RXP2P:(-?\d{1,3}):(-?\d{1,3}):([0-9A-Fa-f]*)$/
const heardLine = /^\+EVT:RXP2P, ?RSSI (-?\d{1,3}), ?SNR (-?\d{1,3})$/
const dataLine = /^\+EVT:([0-9A-Fa-f]+)$/
// Receiving has ended: by its time limit, or by a message whose CRC was wrong.
const ended = /^\+EVT:RXP2P (?:RECEIVE )?(?:TIMEOUT|ERROR)$/
// Network data of LoRaWAN mode; addressed to this module, so no node's.
const downlink = /^\+EVT:RX_[0-9A-Z]{1,3}:/
const event = /^\+EVT:[ -~]{1,60}$/
const status = /^(?:OK|AT_[A-Z_]{2,40})$/
const banner = /^(?:RAKwireless |Current Work Mode: |=======|-------|Version: )/
const p2pBanner = /^Current Work Mode: LoRa P2P/
const value = /^AT\+[A-Z0-9]{1,12}(?:[=?:][ -~]{0,80})?$/
const maxBytes = 640
// The two lines of old firmware come together.
const pairMs = 2000

const ok = (line: string): true | string | undefined =>
  line === 'OK' ? true : line.startsWith('AT_') && status.test(line) ? line : undefined

const listen: Order = {
  // Until told otherwise: the gateway does not send, and firmware of every age knows this number.
  command: 'AT+PRECV=65534',
  // Busy is what a module says that already receives: the answer to the first of two was lost.
  answer: (line) => (line === 'AT_BUSY_ERROR' ? true : ok(line)),
}

const setupOf = (radio: RadioSettings | undefined): Order[] => [
  // While it receives it takes no settings; what it answers in another mode does not matter.
  { command: 'AT+PRECV=0', answer: (line) => (ok(line) === undefined ? undefined : true) },
  // A module in another mode starts anew, and shows its banner in place of an OK.
  { command: 'AT+NWM=0', answer: (line) => (p2pBanner.test(line) ? true : ok(line)) },
  ...(radio
    ? [
        {
          command: `AT+P2P=${hertz(radio)}:${radio.spreadingFactor}:${radio.bandwidthKHz}:${radio.codingRate - 5}:${radio.preamble}:14`,
          answer: ok,
        },
      ]
    : []),
  listen,
]

const schema = z.strictObject({
  ...p2pSettings,
  radio: radioSettings.optional().describe('How the radio is to be set.'),
})

const configure = (settings: Settings): Decoder => {
  const { address, radio } = checked(model, schema, settings)
  const setup = orders({ setup: setupOf(radio), silenceMs: 900_000 })
  let pair: { readonly rssi: number; readonly snr: number; readonly atMs: number } | undefined

  const uplink = (rssi: number, snr: number, digits: string): Outcome => {
    const payload = payloadIn(digits)
    return payload
      ? p2pUplink(address, payload, { rssi, snr, ...(setup.failed() ? {} : radioOf(radio)) })
      : { kind: 'refused', reason: 'length', detail: `${digits.length} digits are no LoRa payload` }
  }

  const said = (line: string, atMs: number): Outcome[] => {
    const whole = oneLine.exec(line)
    if (whole) return [uplink(Number(whole[1]), Number(whole[2]), whole[3]!)]
    const first = heardLine.exec(line)
    if (first) {
      pair = { rssi: Number(first[1]), snr: Number(first[2]), atMs }
      return []
    }
    const data = dataLine.exec(line)
    if (data) {
      const heard = pair && atMs - pair.atMs <= pairMs ? pair : undefined
      pair = undefined
      if (!heard)
        return [
          {
            kind: 'refused',
            reason: 'layout',
            detail: 'a payload without the line that says how it was heard',
          },
        ]
      return [uplink(heard.rssi, heard.snr, data[1]!)]
    }
    if (ended.test(line)) {
      setup.run([listen])
      return [{ kind: 'control', what: line }]
    }
    if (banner.test(line)) {
      if (p2pBanner.test(line) || line.startsWith('Current')) setup.run()
      return [{ kind: 'control', what: 'the module has started' }]
    }
    if (downlink.test(line)) return [{ kind: 'control', what: 'LoRaWAN data: the module is in another mode' }]
    if (event.test(line) || status.test(line) || value.test(line))
      return line.startsWith('+EVT:RXP2P:') || line.startsWith('+EVT:RXP2P,')
        ? [{ kind: 'refused', reason: 'layout', detail: `${line.length} bytes are no whole message` }]
        : [{ kind: 'control', what: line.slice(0, 80) }]
    return [
      { kind: 'refused', reason: 'unknown', detail: `${line.length} bytes that are no line of the module` },
    ]
  }

  return {
    dialogue: setup.dialogue,
    decode: (frame, atMs) =>
      Buffer.from(frame)
        .toString('latin1')
        // An event may be glued to what the module was just saying.
        .split(/(?<=.)(?=\+EVT:)/)
        .map((line) => line.trim())
        .filter((line) => line !== '')
        .flatMap((line) => {
          const { answered, outcomes } = setup.heard(line, atMs)
          return answered ? outcomes : [...outcomes, ...said(line, atMs)]
        }),
  }
}

/**
 * Driver for RAK3172 modules and their RUI3 relatives, both formats. It puts the module into P2P mode, sets the radio
 * where `radio` is there, and lets it receive; an end of receiving or a restart is answered by doing so again. `address`
 * says where a payload names its node.
 */
export const rak3172: Driver = {
  model,
  title: 'RAKwireless RAK3172 (RUI3) in LoRa P2P mode and the nodes it hears',
  source: 'RAKwireless RUI3 AT command manual; RAK3172 to RUI3 migration guide',
  baudRate: 115_200,
  silenceS: 3600,
  framing: { kind: 'lines', maxBytes },
  greeting: () => [],
  configure,
  examples: [
    {
      title: 'a message of RUI3 firmware',
      source: 'RAKwireless AT migration guide',
      bytes: utf8('+EVT:RXP2P:-60:11:AABBCCDD\r\n'),
      outcomes: [{ kind: 'uplink', node: 'lora', payload: hex('aabbccdd'), radio: { rssi: -60, snr: 11 } }],
    },
    {
      title: 'the two lines of older firmware, of node 7 with the radio as it was set',
      source: 'RAKwireless AT migration guide, payload constructed',
      settings: { address: 'first-byte', radio: { frequencyMHz: 868.1 } },
      bytes: utf8('+EVT:RXP2P, RSSI -60, SNR 11\r\n+EVT:07543D31\r\n'),
      outcomes: [
        {
          kind: 'uplink',
          node: 'lora-7',
          payload: utf8('T=1'),
          radio: { rssi: -60, snr: 11, frequency: 868.1, spreadingFactor: 7 },
        },
      ],
    },
  ],
}
