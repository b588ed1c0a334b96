/** Seeed LoRa-E5 (Wio-E5) modules in test mode: payloads of nodes, with how they were heard. */
import { z } from 'zod'
import { hex, lineFrom, utf8 } from './bytes.ts'
import { type Order, orders } from './modem-orders.ts'
import { p2pSettings, p2pUplink, payloadIn, type RadioSettings, radioOf, radioSettings } from './p2p.ts'
import type { Decoder, Driver, Outcome, Settings } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'lora-e5'

// LoRa-E5 AT command specification, TEST command: two lines a message.
const heardLine = /^\+TEST: LEN:(\d{1,3}), ?RSSI:(-?\d{1,3}), ?SNR:(-?\d{1,3})$/
const dataLine = /^\+TEST: RX "([0-9A-Fa-f]*)"$/
const sent = /^\+TEST: TX DONE$/
const errorLine = /^\+(?:AT|MODE|TEST): ERROR\((-\d{1,3})\)$/
const answerLine = /^\+[A-Z]{2,10}: ?[ -~]{0,120}$/
const errors: Readonly<Record<string, string>> = {
  '-1': 'a parameter is not allowed',
  '-10': 'unknown command',
  '-11': 'wrong format',
  '-12': 'not possible in this mode',
  '-20': 'too many parameters',
  '-21': 'command too long',
  '-22': 'no end of line in time',
  '-23': 'character not allowed',
  '-24': 'either the command or a value is wrong',
}
const maxBytes = 640
const pairMs = 2000
// Without a message for so long it may have stopped receiving: after it sent, or after its power was gone.
const silenceMs = 300_000

const answered =
  (done: RegExp) =>
  (line: string): true | string | undefined => {
    if (done.test(line)) return true
    const code = errorLine.exec(line)?.[1]
    return code && `error ${code}: ${errors[code] ?? 'not in the specification'}`
  }

const listen: Order = { command: 'AT+TEST=RXLRPKT', answer: answered(/^\+TEST: RXLRPKT$/) }

/** Frequency in MHz, preambles for sending and receiving (longer, to be sure), dBm, CRC, IQ, public network. */
const rfConfig = ({ frequencyMHz, spreadingFactor, bandwidthKHz, preamble }: RadioSettings): string =>
  `AT+TEST=RFCFG,${frequencyMHz},SF${spreadingFactor},${bandwidthKHz},${preamble},${preamble + 3},14,ON,OFF,OFF`

const setupOf = (radio: RadioSettings | undefined): Order[] => [
  { command: 'AT', answer: answered(/^\+AT: OK$/) },
  { command: 'AT+MODE=TEST', answer: answered(/^\+MODE: TEST$/) },
  ...(radio ? [{ command: rfConfig(radio), answer: answered(/^\+TEST: RFCFG\b/) }] : []),
  listen,
]

const schema = z.strictObject({
  ...p2pSettings,
  // The module's test mode knows one coding rate, 4/5.
  radio: radioSettings.omit({ codingRate: true }).optional().describe('How the radio is to be set.'),
})

const configure = (settings: Settings): Decoder => {
  const own = checked(model, schema, settings)
  const radio = own.radio && { ...own.radio, codingRate: 5 }
  const setup = orders({ setup: setupOf(radio), silenceMs })
  let pair:
    | { readonly length: number; readonly rssi: number; readonly snr: number; readonly atMs: number }
    | undefined

  const said = (line: string, atMs: number): Outcome[] => {
    const first = heardLine.exec(line)
    if (first) {
      pair = { length: Number(first[1]), rssi: Number(first[2]), snr: Number(first[3]), atMs }
      return []
    }
    const data = dataLine.exec(line)
    if (data) {
      const heard = pair && atMs - pair.atMs <= pairMs ? pair : undefined
      pair = undefined
      const payload = payloadIn(data[1]!)
      if (!heard)
        return [
          {
            kind: 'refused',
            reason: 'layout',
            detail: 'a payload without the line that says how it was heard',
          },
        ]
      if (payload?.length !== heard.length)
        return [
          {
            kind: 'refused',
            reason: 'length',
            detail: `${data[1]!.length} digits are not ${heard.length} bytes`,
          },
        ]
      const { rssi, snr } = heard
      const set = setup.failed() ? {} : radioOf(radio)
      return [p2pUplink(own.address, payload, { rssi, snr, ...set })]
    }
    if (sent.test(line)) {
      setup.run([listen])
      return [{ kind: 'control', what: line }]
    }
    if (line.startsWith('+TEST: RX ') || line.startsWith('+TEST: LEN'))
      return [{ kind: 'refused', reason: 'layout', detail: `${line.length} bytes are no whole message` }]
    if (answerLine.test(line)) return [{ kind: 'control', what: line.slice(0, 80) }]
    return [
      { kind: 'refused', reason: 'unknown', detail: `${line.length} bytes that are no line of the module` },
    ]
  }

  return {
    dialogue: setup.dialogue,
    decode: (frame, atMs) => {
      const line = lineFrom(frame, /\+TEST: /)
      if (line === '') return []
      const heard = setup.heard(line, atMs)
      return heard.answered ? heard.outcomes : [...heard.outcomes, ...said(line, atMs)]
    },
  }
}

/**
 * Driver for LoRa-E5 modules. It puts the module into test mode, sets the radio where `radio` is there, and lets it
 * receive; again after the module has sent, and when nothing was heard for five minutes. `address` says where a
 * payload names its node.
 */
export const loraE5: Driver = {
  model,
  title: 'Seeed LoRa-E5 (Wio-E5) in test mode and the nodes it hears',
  source: 'Seeed LoRa-E5 AT command specification V1.0',
  baudRate: 9600,
  silenceS: 3600,
  framing: { kind: 'lines', maxBytes },
  greeting: () => [],
  configure,
  examples: [
    {
      title: 'a message of nine bytes',
      source: 'public README of a LoRa-E5 project',
      bytes: utf8('+TEST: LEN:9, RSSI:-26, SNR:13\r\n+TEST: RX "001234556789ABCDEF"\r\n'),
      outcomes: [
        { kind: 'uplink', node: 'lora', payload: hex('001234556789abcdef'), radio: { rssi: -26, snr: 13 } },
      ],
    },
  ],
}
