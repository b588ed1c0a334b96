/** Sensirion SPS30 particle sensor on its UART: SHDLC frames, measured values asked for once a second. */
import { z } from 'zod'
import type { QuantityName } from '../reading/quantity.ts'
import type { Absence, Measurement } from '../reading/reading.ts'
import { hex, sum } from './bytes.ts'
import { polling } from './polling.ts'
import type { Cut, Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'sensirion-sps30'

// SPS30 datasheet v1.0, section 5 (SHDLC). On the wire: 7e | address, command, state, length, data, check | 7e, with
// 7e 7d 11 13 between the flags written as 7d and the byte with bit 5 turned. check = inverse of the low byte of the sum.
const flag = 0x7e
const escaped = 0x7d
const turned = 0x20
const headBytes = 4
const maxData = 255
// Every byte may be escaped.
const maxBytes = 2 + 2 * (headBytes + maxData + 1)

const commands = {
  // A low pulse that wakes its UART, then the command itself; one that does not sleep refuses it.
  wake: hex('ff7e001100ee7e'),
  start: hex('7e0000020103f97e'),
  read: hex('7e000300fc7e'),
} as const

const commandNames: Readonly<Record<number, string>> = {
  0: 'start measurement',
  1: 'stop measurement',
  3: 'read measured values',
  17: 'wake up',
  86: 'start fan cleaning',
  208: 'device information',
  210: 'read device status',
  211: 'reset',
}

// State byte of an answer: bit 7 tells of a device error, the rest is about the command.
const states: Readonly<Record<number, string>> = {
  1: 'wrong data length',
  2: 'unknown command',
  3: 'no access right',
  4: 'illegal parameter',
  40: 'internal argument out of range',
  67: 'not allowed in this state',
}
const notMeasuring = 0x43
const deviceError = 0x80

const commandCodes = { start: 0x00, read: 0x03, wake: 0x11, clean: 0x56 } as const
// Section 4.2: so long the fan blows its own dust about.
const cleaningMs = 10_000

// Ten floats (IEEE 754, big-endian): mass below each size, particles below each size per cm³, typical size.
const layout = [
  'pm1',
  'pm2_5',
  'pm4',
  'pm10',
  'nc0_5',
  'nc1',
  'nc2_5',
  'nc4',
  'nc10',
  'typical_size',
] as const satisfies readonly QuantityName[]
const smallestCountAt = 4

// Section 1.1: time until values are good, by how many particles per cm³ there are.
const startUpMs = (perCm3: number): number => (perCm3 >= 200 ? 8_000 : perCm3 >= 100 ? 16_000 : 30_000)

const schema = z.strictObject({
  intervalS: z
    .number()
    .min(1)
    .max(3600)
    .default(1)
    .describe('Seconds between questions; it measures once a second.'),
})

const cut = (bytes: Uint8Array, from: number): Cut => {
  const start = bytes.indexOf(flag, from)
  if (start === -1) return { kind: 'skip', to: bytes.length }
  if (start > from) return { kind: 'skip', to: start }
  const end = bytes.indexOf(flag, start + 1)
  if (end === -1) return { kind: 'wait' }
  // Two flags in a row: the first ended a frame whose beginning was lost. And no frame is longer than the longest.
  if (end === start + 1 || end - start >= maxBytes) return { kind: 'skip', to: end }
  // What ends a torn frame may begin the next one: it is kept, and looked at again where this one is not whole.
  return { kind: 'frame', start, end: isWhole(bytes.subarray(start, end + 1)) ? end + 1 : end }
}

const unescaped = (frame: Uint8Array): Uint8Array | undefined => {
  const plain = new Uint8Array(frame.length)
  let length = 0
  for (let at = 1; at < frame.length - 1; at += 1) {
    let byte = frame[at]!
    if (byte === escaped) {
      at += 1
      if (at >= frame.length - 1) return undefined
      byte = frame[at]! ^ turned
    }
    plain[length] = byte
    length += 1
  }
  return plain.subarray(0, length)
}

const isWhole = (frame: Uint8Array): boolean => {
  const plain = unescaped(frame)
  return (
    plain !== undefined &&
    plain.length === headBytes + (plain[3] ?? Number.NaN) + 1 &&
    (~sum(plain, 0, plain.length - 1) & 0xff) === plain.at(-1)
  )
}

const refused = (reason: 'checksum' | 'length' | 'unknown' | 'device-error', detail: string): Outcome => ({
  kind: 'refused',
  reason,
  detail,
})

const absentAll = (reason: Absence): Outcome => ({
  kind: 'reading',
  measurements: layout.map((quantity): Measurement => ({ quantity, value: null, absent: reason })),
})

/** `starting` is why values are absent until so long after `startedMs`. */
type Memory = { startedMs: number; starting: Absence; cleanedMs: number; restart: boolean }

const never = Number.NEGATIVE_INFINITY

const decodeWith =
  (memory: Memory) =>
  (frame: Uint8Array, atMs: number): readonly Outcome[] => {
    const plain = frame[0] === flag && frame.at(-1) === flag ? unescaped(frame) : undefined
    if (plain === undefined || plain.length < headBytes + 1 || plain.length !== headBytes + plain[3]! + 1)
      return [refused('length', `${frame.length} bytes are no whole frame`)]
    const computed = ~sum(plain, 0, plain.length - 1) & 0xff
    if (computed !== plain.at(-1))
      return [refused('checksum', `check is ${computed}, frame says ${plain.at(-1)}`)]
    const [, command = 0, state = 0, length = 0] = plain
    const name = commandNames[command] ?? `command ${command.toString(16)}`
    const trouble = state & ~deviceError
    // Said to one that is awake, or measures, already.
    if (trouble === notMeasuring && (command === commandCodes.start || command === commandCodes.wake)) {
      // A station that was itself restarted does not know since when: it may have been a second ago.
      if (command === commandCodes.start && memory.startedMs === never) {
        memory.startedMs = atMs
        memory.starting = 'unspecified'
      }
      return [{ kind: 'control', what: `${name}: it does already` }]
    }
    if (trouble !== 0) {
      // It forgets that it measures when its power fails for a moment.
      memory.restart ||= trouble === notMeasuring && command === commandCodes.read
      return [refused('device-error', `${name}: ${states[trouble] ?? `state ${trouble.toString(16)}`}`)]
    }
    if (command === commandCodes.start) {
      memory.startedMs = atMs
      memory.starting = 'warming-up'
      return [{ kind: 'control', what: 'measurement started' }]
    }
    if (command === commandCodes.clean) memory.cleanedMs = atMs
    if (command !== commandCodes.read) return [{ kind: 'control', what: `answered ${name}` }]
    if (length === 0) return [{ kind: 'control', what: 'no new measurement yet' }]
    if (length !== 4 * layout.length) return [refused('length', `${length} bytes of measured values`)]
    if ((state & deviceError) !== 0) return [absentAll('device-error')]
    const view = new DataView(plain.buffer, plain.byteOffset + headBytes, length)
    const values = layout.map((_, index) => view.getFloat32(4 * index))
    if (atMs - memory.cleanedMs < cleaningMs) return [absentAll('unspecified')]
    if (atMs - memory.startedMs < startUpMs(values[smallestCountAt]!)) return [absentAll(memory.starting)]
    return [
      {
        kind: 'reading',
        measurements: layout.map((quantity, index): Measurement => {
          const value = values[index]!
          return Number.isFinite(value)
            ? { quantity, value }
            : { quantity, value: null, absent: 'not-a-number' }
        }),
      },
    ]
  }

/** Driver for the SPS30: mass per m³, particles below each size per cm³, and their typical size. */
export const sensirionSps30: Driver = {
  model,
  title: 'Sensirion SPS30 (PM1, PM2.5, PM4, PM10) on UART',
  source: 'Sensirion SPS30 datasheet v1.0, section 5; PyPMS captures',
  baudRate: 115_200,
  silenceS: 60,
  framing: { kind: 'cut', maxBytes, cut },
  greeting: () => [],
  configure: (settings) => {
    const { intervalS } = checked(model, schema, settings)
    const memory: Memory = { startedMs: never, starting: 'warming-up', cleanedMs: never, restart: false }
    const asking = polling({
      first: [commands.wake, commands.start],
      request: commands.read,
      intervalMs: intervalS * 1000,
    })
    return {
      decode: decodeWith(memory),
      dialogue: {
        opened: asking.opened,
        turn: (nowMs) => {
          if (memory.restart) {
            memory.restart = false
            asking.opened(nowMs)
          }
          return asking.turn(nowMs)
        },
      },
      silenceS: Math.max(60, 3 * intervalS),
    }
  },
  examples: [
    {
      title: 'measured values with escaped bytes',
      source: 'PyPMS tests/captured_data/SPS30.hexdump (MIT), captured',
      bytes: hex(
        '7e0003002840a78320411777bb414a5f8341548ddd41d2833e427d33fc85422617224229a4d9422a29bc3f55b7e79e7e',
      ),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'pm1', value: 5.2347564697265625 },
            { quantity: 'pm2_5', value: 9.466731071472168 },
            { quantity: 'pm4', value: 12.64831829071045 },
            { quantity: 'pm10', value: 13.284634590148926 },
            { quantity: 'nc0_5', value: 26.314083099365234 },
            { quantity: 'nc1', value: 36.99660110473633 },
            { quantity: 'nc2_5', value: 41.52259063720703 },
            { quantity: 'nc4', value: 42.41098403930664 },
            { quantity: 'nc10', value: 42.54075622558594 },
            { quantity: 'typical_size', value: 0.8348373770713806 },
          ],
        },
      ],
    },
    {
      title: 'told to start though it measures already',
      source: 'PyPMS tests/sensors/test_message.py (MIT)',
      bytes: hex('7e00004300bc7e'),
      outcomes: [{ kind: 'control', what: 'start measurement: it does already' }],
    },
    {
      title: 'no new measurement',
      source: 'PyPMS tests/sensors/test_message.py (MIT)',
      bytes: hex('7e00030000fc7e'),
      outcomes: [{ kind: 'control', what: 'no new measurement yet' }],
    },
  ],
}
