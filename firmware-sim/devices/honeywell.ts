/** A Honeywell HPMA115C0 or S0: sends by itself until told not to, and answers when asked. */
import type { Measurement } from '../../gateway/reading/reading.ts'
import { chanceAt } from '../random.ts'
import type { Conditions } from '../world.ts'
import { answer, commandReader, type Device, type Emission, type Kind } from './device.ts'

// Honeywell HPM series datasheet 32322550, table 3.
const acknowledged = Uint8Array.of(0xa5, 0xa5)
const refused = Uint8Array.of(0x96, 0x96)
const start = 0x01
const stop = 0x02
const read = 0x04
const stopAutoSend = 0x20
const startUpMs = 6_000

const check = (bytes: Iterable<number>): number => -[...bytes].reduce((sum, byte) => sum + byte, 0) & 0xff

const takeCommand = (bytes: Uint8Array) => {
  if (bytes[0] !== 0x68) return { drop: 1 }
  const length = bytes[1]
  if (length === undefined || bytes.length < length + 3)
    return { drop: length !== undefined && length > 4 ? 1 : 0 }
  const end = length + 3
  return check(bytes.slice(0, end - 1)) === bytes[end - 1]
    ? { drop: end, command: bytes.slice(2, end - 1) }
    : { drop: 1 }
}

export type HoneywellOptions = {
  readonly compact: boolean
  readonly intervalMs?: number
  readonly air: (timeMs: number) => Conditions
}

/** A simulated HPMA115; `compact` is the C0 with four sizes. */
export const honeywell = ({ compact, intervalMs = 1000, air }: HoneywellOptions): Device => {
  let measuring = true
  let listenedMs: number | undefined
  const commands = commandReader(takeCommand)

  const measured = (timeMs: number): Emission => {
    const { pm1, pm2_5, pm10 } = air(timeMs)
    const values = (
      compact
        ? ([
            ['pm1', pm1],
            ['pm2_5', pm2_5],
            ['pm4', (pm2_5 + pm10) / 2],
            ['pm10', pm10],
          ] as const)
        : ([
            ['pm2_5', pm2_5],
            ['pm10', pm10],
          ] as const)
    ).map(([quantity, value]) => ({ quantity, value: Math.round(value) }))
    const words = values.flatMap(({ value }) => [value >> 8, value & 0xff])
    const data = compact ? [...words, 0, 0, 0, 0] : words
    const body = [0x40, data.length + 1, read, ...data]
    // Its user counts from when it was first told something: that is when the port was opened.
    const warmingUp = timeMs - listenedMs! < startUpMs
    return {
      bytes: Uint8Array.of(...body, check(body)),
      meant: [
        {
          measurements: values.map(
            ({ quantity, value }): Measurement =>
              warmingUp ? { quantity, value: null, absent: 'warming-up' } : { quantity, value },
          ),
        },
      ],
    }
  }

  const obey = ([code]: Uint8Array, timeMs: number): Emission => {
    if (code === stopAutoSend) {
      listenedMs = timeMs
      return answer(acknowledged)
    }
    if (code === start || code === stop) {
      measuring = code === start
      return answer(acknowledged)
    }
    return code === read && measuring ? measured(timeMs) : answer(refused)
  }

  return {
    model: 'honeywell-hpma115',
    settings: { intervalS: Math.max(1, intervalMs / 1000) },
    baudRate: 9600,
    intervalMs,
    speak: () => undefined,
    hear: (bytes, timeMs) => commands(bytes).map((command) => obey(command, timeMs)),
    powerOn: () => {
      measuring = true
      return []
    },
  }
}

/** A C0, or an S0 in every second station. */
export const honeywellKind: Kind = {
  sensor: 'hpma',
  make: ({ seed, place, airAt, intervalMs }) =>
    honeywell({ compact: chanceAt(seed, 2) < 0.5, intervalMs, air: airAt(place) }),
}
