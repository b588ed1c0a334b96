/** Microcontrollers that print their readings as lines of text: CSV, name=value, JSON, or Adafruit's DHTtester. */
import { isAscii } from 'node:buffer'
import { z } from 'zod'
import { utf8, xor } from './bytes.ts'
import type { Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'
import {
  allAbsent,
  type Columns,
  csv,
  dht,
  dhtTargets,
  json,
  keyValue,
  type Names,
  quoted,
} from './text-profiles.ts'
import { asWritten, isQuantity, type Target } from './text-values.ts'

const model = 'text-lines'

const quantityName = z.string().refine(isQuantity, 'expected the name of a quantity')

const target = z.union(
  [
    quantityName.transform(asWritten),
    z
      .strictObject({
        quantity: quantityName.describe('Name of a quantity.'),
        scale: z.number().optional().describe('What the written value is multiplied with; 1 unless set.'),
        offset: z
          .number()
          .optional()
          .describe('What is added then, in the unit of the quantity; 0 unless set.'),
      })
      .transform(({ quantity, scale = 1, offset = 0 }): Target => ({ quantity, scale, offset })),
  ],
  'expected the name of a quantity, or { quantity, scale, offset }',
)

const column = z.union(
  [z.literal('-').transform((): null => null), target],
  'expected "-" for an unused column, the name of a quantity, or { quantity, scale, offset }',
)

/** Settings of the text profiles; also those of a LoRa node's text payload. */
export const textSettings = z.strictObject({
  profile: z
    .enum(['auto', 'csv', 'key-value', 'json', 'dht'], 'expected auto, csv, key-value, json or dht')
    .default('auto')
    .describe('How a line is written; auto tries each.'),
  columns: z
    .array(column, 'expected a list of columns')
    .min(1)
    .max(64)
    .optional()
    .describe('What each column of csv is: "-" for none, a quantity, or { quantity, scale, offset }.'),
  names: z
    .record(z.string().max(64), target, 'expected an object of name: quantity')
    .optional()
    .describe('Names of key-value and json beside the usual ones: { name: quantity }.'),
  checksum: z
    .enum(['optional', 'required', 'none'], 'expected optional, required or none')
    .default('optional')
    .describe('Whether a line ends with * and its exclusive or, two hexadecimal digits.'),
})

/** Turns the bytes of one line, without its ending, into outcomes. */
export type TextDecoder = (bytes: Uint8Array) => readonly Outcome[]

const strictUtf8 = new globalThis.TextDecoder('utf-8', { fatal: true })

// ESP-IDF colours its log; the codes are no part of what is said.
const escapeCharacter = '\x1b'
const ansiEscapes = /\x1b\[[0-9;?]{0,16}[ -/]?[@-~]/g
const notText = /[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]/

// Older sketches print the degree sign as the one byte of Latin-1.
const degreeSign = 0xb0

const textOf = (bytes: Uint8Array): string | undefined => {
  // Nearly every line is ASCII, for which this takes a third of the time.
  if (isAscii(bytes)) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  try {
    return strictUtf8.decode(bytes)
  } catch {
    // Not UTF-8: still text if the degree sign is all that is foreign.
    return bytes.every((byte) => byte < 0x80 || byte === degreeSign)
      ? Buffer.from(bytes).toString('latin1')
      : undefined
  }
}

const refused = (reason: 'checksum' | 'layout' | 'unknown', detail: string): readonly Outcome[] => [
  { kind: 'refused', reason, detail },
]

const checksumAtEnd = /\*([0-9A-Fa-f]{2})$/
const logLine = /^[EWIDV] \(\d{1,12}\) /
const failure = /\b(?:failed|fail|error|could not|timeout|not found)\b/i

const outcomeOf = (
  text: string,
  profile: z.output<typeof textSettings>['profile'],
  columns: Columns | undefined,
  names: Names,
): Outcome => {
  const absent = failure.test(text)
    ? allAbsent(columns ?? (profile === 'dht' || / DHT /.test(text) ? dhtTargets : []), 'device-error')
    : undefined
  if (absent) return absent
  if (profile === 'json' || (profile === 'auto' && text.startsWith('{'))) return json(text, names)
  if (profile === 'key-value' || (profile === 'auto' && text.includes('='))) return keyValue(text, names)
  if (columns && (profile === 'csv' || profile === 'auto')) return csv(text, columns)
  const line = profile === 'dht' || profile === 'auto' ? dht(text) : undefined
  if (line) return line
  if (profile === 'auto' && text.includes(','))
    return {
      kind: 'refused',
      reason: 'not-configured',
      detail: `what the columns of ${quoted(text)} mean is not known; set "columns"`,
    }
  return { kind: 'refused', reason: 'unknown', detail: `${quoted(text)} is no reading` }
}

/** The decoder of text lines for settings that `textSettings` has read. */
export const textDecoder = (settings: z.output<typeof textSettings>): TextDecoder => {
  const { profile, columns, checksum } = settings
  if (profile === 'csv' && !columns)
    throw new Error(`${model}: profile csv needs setting "columns"; got nothing.`)
  const names: Names = new Map(Object.entries(settings.names ?? {}))

  return (bytes) => {
    const decoded = textOf(bytes)
    let text = (decoded?.includes(escapeCharacter) ? decoded.replace(ansiEscapes, '') : decoded)?.trim()
    if (text === '') return []
    if (text === undefined || notText.test(text))
      return refused('layout', `${bytes.length} bytes are not text`)
    if (text.startsWith('#') || logLine.test(text)) return [{ kind: 'control', what: text.slice(0, 80) }]

    const said = checksum === 'none' ? undefined : checksumAtEnd.exec(text)?.[1]
    if (!said && checksum === 'required')
      return refused('checksum', `no checksum at the end of ${quoted(text)}`)
    if (said) {
      text = text.slice(text.startsWith('$') ? 1 : 0, -3)
      const content = utf8(text)
      const computed = xor(content, 0, content.length)
      if (computed !== Number.parseInt(said, 16))
        return refused('checksum', `checksum is ${computed.toString(16).padStart(2, '0')}, line says ${said}`)
    }
    return [outcomeOf(text, profile, columns, names)]
  }
}

/** Driver for text lines of at most 1 KiB; see `textSettings` for columns, names and checksum. */
export const textLines: Driver = {
  model,
  title: 'Microcontroller that prints text lines (CSV, name=value, JSON, DHTtester)',
  source: 'Adafruit DHT sensor library, examples/DHTtester; otherwise the owner’s own sketch',
  baudRate: 115_200,
  // Sketches that sleep print every few minutes.
  silenceS: 900,
  framing: { kind: 'lines', maxBytes: 1024 },
  greeting: () => [],
  configure: (settings) => ({ decode: textDecoder(checked(model, textSettings, settings)) }),
  examples: [
    {
      title: 'names and values',
      source: 'constructed',
      bytes: utf8('T=21.53,H=45.10,P=1013.25\r\n'),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'temperature', value: 21.53 },
            { quantity: 'humidity', value: 45.1 },
            { quantity: 'pressure', value: 1013.25 },
          ],
        },
      ],
    },
    {
      title: 'DHTtester of the Adafruit library',
      source: 'Adafruit DHT sensor library, examples/DHTtester',
      bytes: utf8('Humidity: 45.10%  Temperature: 21.50°C 70.70°F  Heat index: 21.02°C 69.84°F\r\n'),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'humidity', value: 45.1 },
            { quantity: 'temperature', value: 21.5 },
            { quantity: 'heat_index', value: 21.02 },
          ],
        },
      ],
    },
    {
      title: 'columns of which one could not be measured',
      source: 'constructed',
      settings: { columns: ['temperature', 'humidity', { quantity: 'pressure', scale: 0.01 }] },
      bytes: utf8('nan,45.10,101325\r\n'),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'temperature', value: null, absent: 'not-a-number' },
            { quantity: 'humidity', value: 45.1 },
            { quantity: 'pressure', value: 1013.25 },
          ],
        },
      ],
    },
  ],
}
