/** Honeywell HPMA115S0 and HPMA115C0 particle sensors, asked for each value. */
import { z } from 'zod'
import type { QuantityName } from '../reading/quantity.ts'
import type { Measurement } from '../reading/reading.ts'
import { hex, sum } from './bytes.ts'
import { polling } from './polling.ts'
import type { Cut, Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'honeywell-hpma115'

// Honeywell HPM series datasheet 32322550, table 3. Answer: 40 | bytes that follow but the check | 04 | u16 values, big-
// endian µg/m³ | 0x10000 less the sum, low byte. S0 sends 5 bytes (PM2.5, PM10), C0 sends 13 (PM1, 2.5, 4, 10, and 4 unused).
const head = 0x40
const read = 0x04
const layouts: Readonly<Record<number, readonly QuantityName[]>> = {
  5: ['pm2_5', 'pm10'],
  13: ['pm1', 'pm2_5', 'pm4', 'pm10'],
}

// What it sends by itself until it is told not to: 42 4d | 00 1c | 28 bytes.
const autoSend = [0x42, 0x4d, 0x00, 0x1c] as const
const autoSendBytes = 32
const maxBytes = autoSendBytes
const maxMass = 1000

const acknowledged = 0xa5
const refusedByte = 0x96

const commands = {
  start: hex('68010196'),
  stopAutoSend: hex('68012077'),
  read: hex('68010493'),
} as const

// Datasheet: 6 s until the first value may be used.
const startUpMs = 6_000

const schema = z.strictObject({
  intervalS: z.number().min(1).max(3600).default(1).describe('Seconds between questions.'),
})

const check = (bytes: Uint8Array, start: number, end: number): number => -sum(bytes, start, end - 1) & 0xff

const cut = (bytes: Uint8Array, from: number): Cut => {
  const first = bytes[from]!
  const second = bytes[from + 1]
  // Both short answers are one byte said twice.
  if (first === acknowledged || first === refusedByte) {
    if (second === undefined) return { kind: 'wait' }
    return second === first ? { kind: 'frame', start: from, end: from + 2 } : { kind: 'skip', to: from + 1 }
  }
  if (first === autoSend[0]) {
    const begins = autoSend.every((byte, index) => (bytes[from + index] ?? byte) === byte)
    if (!begins) return { kind: 'skip', to: from + 1 }
    if (bytes.length - from < autoSendBytes) return { kind: 'wait' }
    const sumAt = from + autoSendBytes - 2
    const isWhole = (sum(bytes, from, sumAt) & 0xffff) === ((bytes[sumAt]! << 8) | bytes[sumAt + 1]!)
    return isWhole
      ? { kind: 'frame', start: from, end: from + autoSendBytes }
      : { kind: 'skip', to: from + 1 }
  }
  if (first !== head) return { kind: 'skip', to: from + 1 }
  if (second === undefined) return { kind: 'wait' }
  if (!(second in layouts)) return { kind: 'skip', to: from + 1 }
  const end = from + 2 + second + 1
  if (bytes.length < end) return { kind: 'wait' }
  if (check(bytes, from, end) === bytes[end - 1]) return { kind: 'frame', start: from, end }
  const next = bytes.indexOf(head, from + 1)
  return { kind: 'frame', start: from, end: next === -1 || next >= end ? end : next }
}

const isAutoSent = (frame: Uint8Array): boolean =>
  frame.length === autoSendBytes && autoSend.every((byte, index) => frame[index] === byte)

const outcomeOf = (frame: Uint8Array, starting: boolean): Outcome => {
  if (frame.length === 2 && frame[0] === frame[1]) {
    if (frame[0] === acknowledged) return { kind: 'control', what: 'acknowledged' }
    if (frame[0] === refusedByte)
      return { kind: 'refused', reason: 'device-error', detail: 'the sensor refused a command' }
  }
  if (isAutoSent(frame)) return { kind: 'control', what: 'sends by itself' }
  const layout = frame[0] === head ? layouts[frame[1]!] : undefined
  if (layout === undefined || frame.length !== frame[1]! + 3)
    return { kind: 'refused', reason: 'length', detail: `${frame.length} bytes are no whole answer` }
  const computed = check(frame, 0, frame.length)
  if (computed !== frame.at(-1))
    return {
      kind: 'refused',
      reason: 'checksum',
      detail: `check is ${computed}, answer says ${frame.at(-1)}`,
    }
  if (frame[2] !== read)
    return { kind: 'refused', reason: 'unknown', detail: `answer to command ${frame[2]!.toString(16)}` }
  return {
    kind: 'reading',
    measurements: layout.map((quantity, index): Measurement => {
      const value = (frame[3 + 2 * index]! << 8) | frame[4 + 2 * index]!
      if (starting) return { quantity, value: null, absent: 'warming-up' }
      return value > maxMass ? { quantity, value: null, absent: 'out-of-range' } : { quantity, value }
    }),
  }
}

/** Driver for the HPMA115 family; its own sending is stopped, as the older S0 says less that way. */
export const honeywellHpma115: Driver = {
  model,
  title: 'Honeywell HPMA115S0, HPMA115C0 (PM2.5, PM10)',
  source: 'Honeywell HPM series datasheet 32322550; PyPMS captures',
  baudRate: 9600,
  silenceS: 60,
  framing: { kind: 'cut', maxBytes, cut },
  greeting: () => [],
  configure: (settings) => {
    const { intervalS } = checked(model, schema, settings)
    const asking = polling({
      first: [commands.stopAutoSend, commands.start],
      request: commands.read,
      intervalMs: intervalS * 1000,
    })
    let openedMs = Number.NEGATIVE_INFINITY
    let isTold = true
    return {
      decode: (frame, atMs) => {
        // The command to be silent was lost: it is said again.
        if (isAutoSent(frame)) isTold = false
        return [outcomeOf(frame, atMs - openedMs < startUpMs)]
      },
      dialogue: {
        turn: (nowMs) => {
          if (!isTold) asking.opened(nowMs)
          isTold = true
          return asking.turn(nowMs)
        },
        opened: (nowMs) => {
          openedMs = nowMs
          asking.opened(nowMs)
        },
      },
      silenceS: Math.max(60, 3 * intervalS),
    }
  },
  examples: [
    {
      title: 'HPMA115C0',
      source: 'PyPMS tests/captured_data/HPMA115C0.hexdump (MIT), captured',
      bytes: hex('400d0400040007000900170000000084'),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'pm1', value: 4 },
            { quantity: 'pm2_5', value: 7 },
            { quantity: 'pm4', value: 9 },
            { quantity: 'pm10', value: 23 },
          ],
        },
      ],
    },
  ],
}
