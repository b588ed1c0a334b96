/** RAKwireless RAK811 modules in LoRa P2P mode: payloads of nodes, with how they were heard. */
import { z } from 'zod'
import { hex, lineFrom, utf8 } from './bytes.ts'
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

const model = 'rak811'

// RAK811 AT command manual (firmware 3); at+recv=<port>,<rssi>,<snr>,<length>[:<hexadecimal digits>].
const message = /^at\+recv=(\d{1,3}),(-?\d{1,3}),(-?\d{1,3}),(\d{1,3})(?::([0-9A-Fa-f]*))?$/
const okLine = /^OK(?: [ -~]{0,80})?$/
const errorLine = /^ERROR: ?(-?\d{1,3})$/
const started = /^(?:Initialization OK|UART\d work mode|RAK811 Version|LoRa work mode)/i
const echo = /^at\+[ -~]{1,120}$/i
const errors: Readonly<Record<string, string>> = {
  1: 'unknown command',
  2: 'a parameter is not allowed',
  3: 'could not read or write its memory',
  5: 'could not send on its serial port',
  80: 'the radio is busy',
}
const bandwidths = { 125: 0, 250: 1, 500: 2 } as const
const maxBytes = 640

const ok = (line: string): true | string | undefined => {
  if (okLine.test(line)) return true
  const code = errorLine.exec(line)?.[1]
  return code && `error ${code}: ${errors[code] ?? 'not in the manual'}`
}

const setupOf = (radio: RadioSettings | undefined): Order[] => [
  // The module starts anew, and says OK or that it is initialised.
  {
    command: 'at+set_config=lora:work_mode:1',
    answer: (line) => (/^Initialization OK/.test(line) ? true : ok(line)),
  },
  ...(radio
    ? [
        {
          command: `at+set_config=lorap2p:${hertz(radio)}:${radio.spreadingFactor}:${bandwidths[radio.bandwidthKHz]}:${radio.codingRate - 4}:${radio.preamble}:14`,
          answer: ok,
        },
      ]
    : []),
  // 1 is receiving, 2 is sending.
  { command: 'at+set_config=lorap2p:transfer_mode:1', answer: ok },
]

const schema = z.strictObject({
  ...p2pSettings,
  radio: radioSettings.optional().describe('How the radio is to be set.'),
})

const configure = (settings: Settings): Decoder => {
  const { address, radio } = checked(model, schema, settings)
  // A restart may take seconds until it answers again.
  const setup = orders({ setup: setupOf(radio), answerMs: 4000, silenceMs: 1800_000 })

  const said = (line: string): Outcome => {
    const match = message.exec(line)
    if (match) {
      const [, , rssi, snr, length, digits = ''] = match
      const payload = payloadIn(digits)
      if (payload?.length !== Number(length))
        return {
          kind: 'refused',
          reason: 'length',
          detail: `${digits.length} digits are not ${length} bytes`,
        }
      const set = setup.failed() ? {} : radioOf(radio)
      return p2pUplink(address, payload, { rssi: Number(rssi), snr: Number(snr), ...set })
    }
    if (line.startsWith('at+recv'))
      return { kind: 'refused', reason: 'layout', detail: `${line.length} bytes are no whole message` }
    if (started.test(line)) {
      if (setup.idle() && /^Initialization OK/.test(line)) setup.run()
      return { kind: 'control', what: line.slice(0, 80) }
    }
    if (okLine.test(line) || errorLine.test(line) || echo.test(line))
      return { kind: 'control', what: line.slice(0, 80) }
    return {
      kind: 'refused',
      reason: 'unknown',
      detail: `${line.length} bytes that are no line of the module`,
    }
  }

  return {
    dialogue: setup.dialogue,
    decode: (frame, atMs) => {
      const line = lineFrom(frame, /at\+recv=/)
      if (line === '') return []
      const { answered, outcomes } = setup.heard(line, atMs)
      return answered ? outcomes : [...outcomes, said(line)]
    },
  }
}

/**
 * Driver for RAK811 modules with firmware 3. It puts the module into P2P mode, sets the radio where `radio` is there, and
 * lets it receive. `address` says where a payload names its node; the module's own port number says nothing in P2P.
 */
export const rak811: Driver = {
  model,
  title: 'RAKwireless RAK811 in LoRa P2P mode and the nodes it hears',
  source: 'RAKwireless RAK811 AT command manual; messages as in the tests of pyrak811',
  baudRate: 115_200,
  silenceS: 3600,
  framing: { kind: 'lines', maxBytes },
  greeting: () => [],
  configure,
  examples: [
    {
      title: 'a message of two bytes',
      source: 'AmedeeBulle/pyrak811 tests',
      bytes: utf8('at+recv=1,-65,6,2:4865\r\n'),
      outcomes: [{ kind: 'uplink', node: 'lora', payload: hex('4865'), radio: { rssi: -65, snr: 6 } }],
    },
  ],
}
