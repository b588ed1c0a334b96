/** Winsen MH-Z19B and MH-Z19C carbon dioxide sensors. */
import { z } from 'zod'
import type { Measurement } from '../reading/reading.ts'
import { hex, sum } from './bytes.ts'
import { polling } from './polling.ts'
import type { Cut, Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'winsen-mhz19'

// ff | command | CO2 high, low | temperature + 40 | status | - | - | 0x100 less the low byte of the sum of bytes 1..7.
const head = 0xff
const read = 0x86
const size = 9
const co2At = 2
const checksumAt = 8

// Winsen MH-Z19B manual v1.6, MH-Z19C manual v1.2. Zero and span calibration (87, 88) are never sent from here: done
// in the wrong air they spoil the sensor for good.
const commands = {
  read: hex('ff0186000000000079'),
  selfCalibrationOn: hex('ff0179a000000000e6'),
  selfCalibrationOff: hex('ff0179000000000086'),
} as const
// Bytes 6 and 7 hold the range; one edition of the manual names 3 and 4, which public drivers found to do nothing.
const setRange = {
  2000: hex('ff019900000007d08f'),
  5000: hex('ff01990000001388cb'),
  10000: hex('ff019900000027102f'),
} as const

const answered: Readonly<Record<number, string>> = { 121: 'self-calibration', 153: 'range' }

// Until it is warm it repeats a value such as 400, 410 or 500.
const preheatS = { b: 180, c: 60 } as const

const checksum = (bytes: Uint8Array, start: number): number =>
  (0x100 - (sum(bytes, start + 1, start + checksumAt) & 0xff)) & 0xff

const cut = (bytes: Uint8Array, from: number): Cut => {
  const start = bytes.indexOf(head, from)
  if (start === -1) return { kind: 'skip', to: bytes.length }
  if (start > from) return { kind: 'skip', to: start }
  const end = start + size
  if (bytes.length < end) return { kind: 'wait' }
  if (checksum(bytes, start) === bytes[start + checksumAt]) return { kind: 'frame', start, end }
  // A torn answer runs into the next one; where there is none it is given whole, to be refused with its reason.
  const next = bytes.indexOf(head, start + 1)
  return { kind: 'frame', start, end: next === -1 || next >= end ? end : next }
}

const range = 'expected 2000, 5000 or 10000'
const schema = z.strictObject({
  variant: z
    .enum(['b', 'c'], 'expected b or c')
    .default('b')
    .describe('b is the MH-Z19B, c the MH-Z19C, which is warm sooner.'),
  intervalS: z.number().min(1).max(3600).default(5).describe('Seconds between questions.'),
  rangePpm: z
    .union([z.literal(2000), z.literal(5000), z.literal(10_000)], range)
    .default(5000)
    .describe('Upper end of what it measures, in ppm.'),
  setRange: z
    .boolean('expected true or false')
    .default(false)
    .describe('Whether it is told rangePpm each time its port opens; it remembers that without power.'),
  selfCalibration: z
    .boolean('expected true or false')
    .optional()
    .describe(
      'Its own baseline correction, which assumes fresh air once a day: wrong in greenhouses and rooms that are never empty. It keeps what it has where this is not set.',
    ),
  preheatS: z
    .number()
    .min(0)
    .max(3600)
    .optional()
    .describe(
      'Seconds after the port opens for which values do not count; 180 for b and 60 for c unless set.',
    ),
})

const absent = (reason: 'warming-up' | 'out-of-range'): readonly Measurement[] => [
  { quantity: 'co2', value: null, absent: reason },
]

const outcomeOf = (frame: Uint8Array, warmingUp: boolean, rangePpm: number): Outcome => {
  if (frame.length !== size || frame[0] !== head)
    return { kind: 'refused', reason: 'length', detail: `${frame.length} bytes are no whole answer` }
  const computed = checksum(frame, 0)
  if (computed !== frame[checksumAt])
    return {
      kind: 'refused',
      reason: 'checksum',
      detail: `checksum is ${computed}, answer says ${frame[checksumAt]}`,
    }
  const command = frame[1]!
  if (command !== read)
    return command in answered
      ? { kind: 'control', what: `answered ${answered[command]}` }
      : { kind: 'refused', reason: 'unknown', detail: `answer to command ${command.toString(16)}` }
  const ppm = (frame[co2At]! << 8) | frame[co2At + 1]!
  if (warmingUp) return { kind: 'reading', measurements: absent('warming-up') }
  if (ppm > rangePpm || ppm === 0) return { kind: 'reading', measurements: absent('out-of-range') }
  // Byte 4 is the temperature of its own heated cell, and no air temperature.
  return { kind: 'reading', measurements: [{ quantity: 'co2', value: ppm }] }
}

/** Driver for MH-Z19B/C, asked every `intervalS`. Values of the first minutes are absent: it is still warming up. */
export const winsenMhz19: Driver = {
  model,
  title: 'Winsen MH-Z19B, MH-Z19C (CO2)',
  source: 'Winsen MH-Z19B manual v1.6; PyPMS captures',
  baudRate: 9600,
  silenceS: 60,
  framing: { kind: 'cut', maxBytes: size, cut },
  greeting: () => [],
  configure: (settings) => {
    const set = checked(model, schema, settings)
    const warmMs = (set.preheatS ?? preheatS[set.variant]) * 1000
    const { selfCalibration } = set
    const first = [
      ...(set.setRange ? [setRange[set.rangePpm]] : []),
      ...(selfCalibration === undefined
        ? []
        : [selfCalibration ? commands.selfCalibrationOn : commands.selfCalibrationOff]),
    ]
    const asking = polling({ first, request: commands.read, intervalMs: set.intervalS * 1000 })
    let openedMs = Number.NEGATIVE_INFINITY
    return {
      decode: (frame, atMs) => [outcomeOf(frame, atMs - openedMs < warmMs, set.rangePpm)],
      dialogue: {
        ...asking,
        opened: (nowMs) => {
          openedMs = nowMs
          asking.opened(nowMs)
        },
      },
      silenceS: Math.max(60, 3 * set.intervalS),
    }
  },
  examples: [
    {
      title: 'indoor air',
      source: 'PyPMS tests/captured_data/MHZ19B.hexdump (MIT), captured',
      bytes: hex('ff86027c42000000ba'),
      outcomes: [{ kind: 'reading', measurements: [{ quantity: 'co2', value: 636 }] }],
    },
    {
      title: 'the same with a wrong checksum',
      source: 'constructed',
      bytes: hex('ff86027c42000000bb'),
      outcomes: [{ kind: 'refused', reason: 'checksum', detail: 'checksum is 186, answer says 187' }],
    },
  ],
}
