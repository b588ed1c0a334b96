/** Microchip RN2483 and RN2903 modules with their LoRaWAN stack paused: payloads of nodes, with how they were heard. */
import { z } from 'zod'
import { lineFrom, utf8 } from './bytes.ts'
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

const model = 'rn2483'

// DS40001784: answers are lines in lower case. After each message the radio stands still until `radio rx 0`.
const message = /^radio_rx {1,2}([0-9A-Fa-f]+)$/
const version = /^RN\d{4} [ -~]{1,60}$/
const decimal = /^-?\d{1,10}$/
const known = /^(?:ok|busy|invalid_param|radio_tx_ok|radio_err|mac_[a-z_]{2,20}(?: [ -~]{0,60})?)$/
const maxBytes = 640
// How it was heard is answered in milliseconds, or not at all.
const heldMs = 5000
const latestMs = 30_000

const ok = (line: string): true | string | undefined =>
  line === 'ok' ? true : line === 'invalid_param' || line === 'busy' ? line : undefined
const anything = (line: string): true | undefined => (ok(line) === undefined ? undefined : true)

const set = (what: string): Order => ({ command: `radio set ${what}`, answer: ok })

// Busy is what a radio says that already receives; the stack, which could hold it, is paused.
const listen: Order = { command: 'radio rx 0', answer: (line) => (line === 'busy' ? true : ok(line)) }

const setupOf = (radio: RadioSettings | undefined): Order[] => [
  { command: 'sys get ver', answer: (line) => version.test(line) || undefined },
  // Known since firmware 1.0.5; before, the settings are taken all the same.
  { command: 'radio rxstop', answer: anything },
  // For how many milliseconds the stack keeps away (49 days): no time at all is a refusal.
  {
    command: 'mac pause',
    answer: (line) =>
      decimal.test(line) ? Number(line) > 0 || 'the LoRaWAN stack is busy and cannot be paused' : ok(line),
  },
  set('mod lora'),
  ...(radio
    ? [
        set(`freq ${hertz(radio)}`),
        set(`sf sf${radio.spreadingFactor}`),
        set(`bw ${radio.bandwidthKHz}`),
        set(`cr 4/${radio.codingRate}`),
        set(`prlen ${radio.preamble}`),
      ]
    : []),
  // Without it reception ends after 15 s with radio_err.
  set('wdt 0'),
  listen,
]

const schema = z.strictObject({
  ...p2pSettings,
  radio: radioSettings.optional().describe('How the radio is to be set.'),
})

type Held = {
  readonly payload: Uint8Array
  readonly atMs: number
  snr: number | undefined
  rssi: number | undefined
  whole: boolean
}

const configure = (settings: Settings): Decoder => {
  const { address, radio } = checked(model, schema, settings)
  const setup = orders({ setup: setupOf(radio), silenceMs: 600_000 })
  let held: Held | undefined

  const release = (atMs: number): Outcome[] => {
    if (!held) return []
    const { payload, snr, rssi, atMs: sinceMs } = held
    held = undefined
    if (atMs - sinceMs > latestMs)
      return [{ kind: 'refused', reason: 'device-error', detail: 'the module fell silent within a message' }]
    const heard = { ...(rssi === undefined ? {} : { rssi }), ...(snr === undefined ? {} : { snr }) }
    return [p2pUplink(address, payload, { ...heard, ...(setup.failed() ? {} : radioOf(radio)) })]
  }

  // -128 and 255 are what the module answers before anything was received.
  const plausible = (line: string, min: number, max: number): number | undefined => {
    const value = decimal.test(line) ? Number(line) : Number.NaN
    return value > min && value < max ? value : undefined
  }
  /** A question about the message that is held; a module that does not know it answers invalid_param. */
  const ask = (what: 'snr' | 'rssi', take: (line: string) => void): Order => ({
    command: `radio get ${what}`,
    answer: (line) => {
      if (!decimal.test(line) && !anything(line)) return undefined
      take(line)
      return true
    },
  })
  const afterMessage = (heard: Held): Order[] => [
    ask('snr', (line) => {
      heard.snr = plausible(line, -128, 127)
    }),
    ask('rssi', (line) => {
      heard.rssi = plausible(line, -200, 0)
      heard.whole = true
    }),
    listen,
  ]

  const said = (line: string, atMs: number): Outcome[] => {
    const digits = message.exec(line)?.[1]
    if (digits !== undefined) {
      const before = release(atMs)
      const payload = payloadIn(digits)
      if (!payload) {
        setup.run([listen])
        return [
          ...before,
          { kind: 'refused', reason: 'length', detail: `${digits.length} digits are no LoRa payload` },
        ]
      }
      held = { payload, atMs, snr: undefined, rssi: undefined, whole: false }
      setup.run(afterMessage(held))
      return before
    }
    if (line === 'radio_err') setup.run([listen])
    if (version.test(line)) setup.run()
    if (line.startsWith('radio_rx')) {
      setup.run([listen])
      return [{ kind: 'refused', reason: 'layout', detail: `${line.length} bytes are no whole message` }]
    }
    if (known.test(line) || version.test(line) || decimal.test(line)) return [{ kind: 'control', what: line }]
    return [
      { kind: 'refused', reason: 'unknown', detail: `${line.length} bytes that are no line of the module` },
    ]
  }

  return {
    dialogue: setup.dialogue,
    decode: (frame, atMs) => {
      const line = lineFrom(frame, /radio_rx /)
      if (line === '') return []
      const { answered, outcomes } = setup.heard(line, atMs)
      const due = held && (held.whole || atMs - held.atMs > heldMs) ? release(atMs) : []
      return answered ? [...due, ...outcomes] : [...outcomes, ...due, ...said(line, atMs)]
    },
  }
}

/**
 * Driver for RN2483 and RN2903 modules. It pauses the LoRaWAN stack, sets the radio where `radio` is there, and lets it
 * receive; after each message it asks how that was heard (RSSI from firmware 1.0.5 on) and lets it receive again: what is
 * sent in these tens of milliseconds is not heard. `address` says where a payload names its node.
 */
export const rn2483: Driver = {
  model,
  title: 'Microchip RN2483 or RN2903, LoRaWAN stack paused, and the nodes it hears',
  source: 'Microchip RN2483 LoRa technology module command reference, DS40001784G',
  baudRate: 57_600,
  silenceS: 3600,
  framing: { kind: 'lines', maxBytes },
  greeting: () => [],
  configure,
  examples: [
    {
      title: 'a message, and how it was heard',
      source: 'LoStik examples; the answers constructed after DS40001784G',
      bytes: utf8('radio_rx  48656C6C6F\r\n7\r\n-61\r\nok\r\n'),
      outcomes: [
        { kind: 'control', what: 'radio get snr is done' },
        { kind: 'uplink', node: 'lora', payload: utf8('Hello'), radio: { rssi: -61, snr: 7 } },
        { kind: 'control', what: 'radio get rssi is done' },
        { kind: 'control', what: 'radio rx 0 is done' },
      ],
    },
  ],
}
