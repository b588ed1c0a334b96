/** REYAX RYLR896 and RYLR998 LoRa modems: what other nodes send, with the strength at which it was heard. */
import { z } from 'zod'
import { hex, utf8 } from './bytes.ts'
import { type Order, orders } from './modem-orders.ts'
import type { Cut, Decoder, Driver, Outcome, Radio, Settings } from './sensors.ts'
import { checked } from './settings.ts'
import { uplinkSettings } from './uplink.ts'

const model = 'reyax-rylr'

// +RCV=<address>,<length>,<data>,<rssi>,<snr>CRLF; data is `length` bytes of anything, commas and newlines too.
// Everything else the modem says (+OK, +ERR=4, +READY, +ADDRESS=50) is a short line.
const plus = 0x2b
const LF = 0x0a
const received = utf8('+RCV=')
const maxData = 240
const headShape = /^\+RCV=(\d{1,5}),(\d{1,3}),/
const tailShape = /^,(-?\d{1,3}),(-?\d{1,3})\r?\n?$/
const longestHead = '+RCV=65535,240,'.length
const longestTail = ',-200,-128\r\n'.length
const maxLine = 64
const maxBytes = longestHead + maxData + longestTail

const isLetter = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x41 && byte <= 0x5a

const latin1 = (bytes: Uint8Array, start: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.max(0, end - start)).toString('latin1')

/** Index of the next "+" that may begin what the modem says, or `end`. */
const startAfter = (bytes: Uint8Array, from: number, end: number): number => {
  for (let at = bytes.indexOf(plus, from); at !== -1 && at < end; at = bytes.indexOf(plus, at + 1))
    if (at + 1 >= end || isLetter(bytes[at + 1])) return at
  return end
}

const beginsWith = (bytes: Uint8Array, start: number, word: Uint8Array): boolean =>
  word.every((byte, index) => start + index >= bytes.length || bytes[start + index] === byte)

/** End of a line that begins at `start`: after its newline, before another beginning, or undefined for "not yet". */
const lineEnd = (bytes: Uint8Array, start: number, limit: number): number | undefined => {
  const until = Math.min(start + limit, bytes.length)
  const newline = bytes.subarray(start, until).indexOf(LF)
  const end = newline === -1 ? until : start + newline + 1
  const next = startAfter(bytes, start + 1, end)
  if (next < end && next + 1 < end) return next
  return newline === -1 && until < start + limit ? undefined : end
}

type Message = { readonly dataAt: number; readonly dataEnd: number; readonly end: number }

/** Where a whole received message lies; 'wait' where more bytes are needed, undefined where it is torn. */
const messageAt = (bytes: Uint8Array, start: number): Message | 'wait' | undefined => {
  const head = latin1(bytes, start, Math.min(start + longestHead, bytes.length))
  const match = headShape.exec(head)
  if (!match)
    return head.length < longestHead && /^\+RCV=\d{0,5}(?:,\d{0,3})?$/.test(head) ? 'wait' : undefined
  const length = Number(match[2])
  if (length > maxData || Number(match[1]) > 65_535) return undefined
  const dataAt = start + match[0].length
  const dataEnd = dataAt + length
  if (bytes.length < dataEnd) return 'wait'
  const tail = latin1(bytes, dataEnd, Math.min(dataEnd + longestTail, bytes.length))
  const newline = tail.indexOf('\n')
  if (newline !== -1)
    return tailShape.test(tail.slice(0, newline + 1))
      ? { dataAt, dataEnd, end: dataEnd + newline + 1 }
      : undefined
  return tail.length < longestTail && /^(?:,(?:-?\d{0,3}(?:,(?:-?\d{0,3}\r?)?)?)?)?$/.test(tail)
    ? 'wait'
    : undefined
}

const cut = (bytes: Uint8Array, from: number): Cut => {
  const start = startAfter(bytes, from, bytes.length)
  if (start > from) return { kind: 'skip', to: start }
  if (beginsWith(bytes, start, received)) {
    if (bytes.length - start < received.length) return { kind: 'wait' }
    const message = messageAt(bytes, start)
    if (message === 'wait') return { kind: 'wait' }
    if (message) return { kind: 'frame', start, end: message.end }
  }
  // A torn message is given as far as its line, so that it is refused with a reason and not just skipped.
  const end = lineEnd(bytes, start, maxLine)
  return end === undefined ? { kind: 'wait' } : { kind: 'frame', start, end }
}

// RYLR998 AT command guide.
const errors: Readonly<Record<string, string>> = {
  1: 'no CR LF after a command',
  2: 'command does not begin with AT',
  4: 'unknown command',
  5: 'length differs from the data',
  10: 'transmission timed out',
  12: 'checksum of a received message is wrong',
  13: 'data longer than 240 bytes',
  14: 'could not write its memory',
  15: 'unknown failure',
  17: 'last transmission not finished',
  18: 'preamble not allowed',
  19: 'header of a received message is wrong',
  20: 'time of smart receiving mode not allowed',
}

const range = (name: string, min: number, max: number) => {
  const expected = `expected ${name} from ${min} to ${max}`
  return z.int(expected).min(min, expected).max(max, expected)
}

const schema = z.strictObject({
  address: range('an address', 0, 65_535)
    .optional()
    .describe('Address that the modem is given; it keeps its own where this is not set.'),
  networkId: range('a network id', 0, 18)
    .optional()
    .describe('Network that the modem listens to; nodes must have the same.'),
  bandHz: range('a frequency in hertz', 137_000_000, 1_020_000_000)
    .optional()
    .describe('Frequency in hertz, such as 868500000.'),
  parameter: z
    .string()
    .regex(
      /^\d{1,2},\d{1,2},\d,\d{1,2}$/,
      'expected "spreading,bandwidth,coding,preamble" such as "9,7,1,12"',
    )
    .optional()
    .describe(
      'Spreading factor, bandwidth, coding rate and preamble, as AT+PARAMETER takes them: "9,7,1,12".',
    ),
  password: z
    .string()
    .regex(/^(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{32})$/, 'expected 8 (RYLR998) or 32 (RYLR896) hexadecimal digits')
    .optional()
    .describe('Password of the network, as AT+CPIN takes it; nodes must have the same.'),
  ...uplinkSettings,
})

const errorIn = (line: string): string | undefined => {
  const code = /^\+ERR=(\d{1,3})$/.exec(line)?.[1]
  return code && `error ${code}: ${errors[code] ?? 'not in the guide'}`
}

const acknowledged = (line: string): true | string | undefined => (line === '+OK' ? true : errorIn(line))

// An answer to AT+VER? names the model; what is written about passwords differs between the two.
const versions = /^\+VER=(RYLR\d{2})/
const passwordDigits: Readonly<Record<string, number>> = { RYLR99: 8, RYLR89: 32 }

/** The commands for these settings, in the order in which the modem is told. */
const setupOf = ({ address, networkId, bandHz, parameter, password }: z.output<typeof schema>): Order[] => {
  let version: string | undefined
  const set = (name: string, value: string | number | undefined): Order[] =>
    value === undefined ? [] : [{ command: `AT+${name}=${value}`, answer: acknowledged }]
  const passwordRefused = (why: string): string => {
    const digits = version === undefined ? undefined : passwordDigits[version]
    return digits === undefined || digits === password?.length
      ? why
      : `${why}; a modem whose version begins with ${version} wants ${digits} digits, the setting has ${password?.length}`
  }
  return [
    { command: 'AT', answer: acknowledged },
    ...(password === undefined
      ? []
      : [
          {
            command: 'AT+VER?',
            answer: (line: string) => {
              version = versions.exec(line)?.[1] ?? version
              // Firmware that does not know the question is as good as any other.
              return line.startsWith('+VER=') || errorIn(line) !== undefined ? true : undefined
            },
          } satisfies Order,
        ]),
    ...set('ADDRESS', address),
    ...set('NETWORKID', networkId),
    ...set('BAND', bandHz),
    ...set('PARAMETER', parameter),
    ...(password === undefined
      ? []
      : [
          {
            command: `AT+CPIN=${password.toUpperCase()}`,
            called: 'AT+CPIN',
            answer: (line: string) => {
              const verdict = acknowledged(line)
              return typeof verdict === 'string' ? passwordRefused(verdict) : verdict
            },
          } satisfies Order,
        ]),
  ]
}

const refused = (reason: 'length' | 'unknown', detail: string): Outcome => ({
  kind: 'refused',
  reason,
  detail,
})

const said = (frame: Uint8Array): Outcome => {
  const text = latin1(frame, 0, frame.length).trim()
  const error = errorIn(text)
  if (error) return { kind: 'control', what: error }
  if (/^\+[A-Z]{2,12}(?:=[\x20-\x7e]{0,48})?$/.test(text) && !text.startsWith('+RCV'))
    // The modem can be asked for its password; that answer is nobody's.
    return { kind: 'control', what: text.startsWith('+CPIN') ? '+CPIN' : text }
  return text.startsWith('+RCV')
    ? refused('length', 'a received message whose length does not fit its data')
    : refused('unknown', `${frame.length} bytes that are no answer of the modem`)
}

// AT+PARAMETER's first number; AT+BAND is in hertz.
const radioOf = ({ bandHz, parameter }: z.output<typeof schema>): Radio => ({
  ...(bandHz === undefined ? {} : { frequency: bandHz / 1e6 }),
  ...(parameter === undefined ? {} : { spreadingFactor: Number(parameter.split(',')[0]) }),
})

const configure = (settings: Settings): Decoder => {
  const own = checked(model, schema, settings)
  const set = radioOf(own)
  const setup = orders({ setup: setupOf(own) })
  return {
    dialogue: setup.dialogue,
    decode: (frame, atMs) => {
      const message = messageAt(frame, 0)
      const whole = typeof message === 'object' && message.end === frame.length
      const line = whole ? '' : latin1(frame, 0, frame.length).trim()
      const { answered, outcomes } = setup.heard(line, atMs)
      if (answered) return outcomes
      // After a reset the password is gone.
      if (line === '+READY') setup.run()
      if (!whole) return [...outcomes, said(frame)]
      const address = Number(headShape.exec(latin1(frame, 0, message.dataAt))![1])
      const [, rssi, snr] = tailShape.exec(latin1(frame, message.dataEnd, frame.length))!
      return [
        ...outcomes,
        {
          kind: 'uplink',
          node: `lora-${address}`,
          payload: frame.slice(message.dataAt, message.dataEnd),
          radio: { rssi: Number(rssi), snr: Number(snr), ...(setup.failed() ? {} : set) },
        },
      ]
    },
  }
}

/**
 * Driver for RYLR modems. Each node is a sensor of its own, `lora-<address>`; `bandHz` and `parameter`, where they are
 * set, say on which frequency and with which spreading factor it was heard. The modem is told all settings when the wire
 * opens and when it says +READY; each must be answered with +OK.
 */
export const reyaxRylr: Driver = {
  model,
  title: 'REYAX RYLR896 or RYLR998 LoRa modem and the nodes it hears',
  source: 'REYAX RYLR998 AT command guide',
  baudRate: 115_200,
  // Nodes on a battery send rarely, and an opened modem that is set up again has missed nothing.
  silenceS: 3600,
  framing: { kind: 'cut', maxBytes, cut },
  greeting: () => [],
  configure,
  examples: [
    {
      title: 'a node’s text with commas inside',
      source: 'constructed after the RYLR998 AT command guide',
      bytes: utf8('+RCV=7,12,21.5,45,1013,-47,11\r\n'),
      outcomes: [
        { kind: 'uplink', node: 'lora-7', payload: utf8('21.5,45,1013'), radio: { rssi: -47, snr: 11 } },
      ],
    },
    {
      title: 'the guide’s example, with the radio as it was set',
      source: 'REYAX RYLR998 AT command guide',
      settings: { bandHz: 868_500_000, parameter: '9,7,1,12' },
      bytes: utf8('+RCV=50,5,HELLO,-99,40\r\n'),
      outcomes: [
        {
          kind: 'uplink',
          node: 'lora-50',
          payload: utf8('HELLO'),
          radio: { rssi: -99, snr: 40, frequency: 868.5, spreadingFactor: 9 },
        },
      ],
    },
    {
      title: 'binary data with a newline inside',
      source: 'constructed after the RYLR998 AT command guide',
      bytes: hex('2b5243563d332c342c010d0a022c2d36302c390d0a'),
      outcomes: [{ kind: 'uplink', node: 'lora-3', payload: hex('010d0a02'), radio: { rssi: -60, snr: 9 } }],
    },
  ],
}
