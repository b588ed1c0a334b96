/** A Sensirion SPS30 on its UART: SHDLC commands and answers, one new measurement a second. */
import type { QuantityName } from '../../gateway/reading/quantity.ts'
import type { Measurement } from '../../gateway/reading/reading.ts'
import type { Conditions } from '../world.ts'
import { answer, commandReader, type Device, type Emission, type Kind } from './device.ts'

// SPS30 datasheet v1.0, section 5.
const flag = 0x7e
const special: ReadonlySet<number> = new Set([0x7e, 0x7d, 0x11, 0x13])
const start = 0x00
const stop = 0x01
const read = 0x03
const wake = 0x11
const clean = 0x56
const serial = 0xd0
const notAllowed = 0x43
const unknownCommand = 0x02

const quantities = [
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

const check = (bytes: Iterable<number>): number => ~[...bytes].reduce((sum, byte) => sum + byte, 0) & 0xff

const framed = (content: readonly number[]): Uint8Array =>
  Uint8Array.of(
    flag,
    ...[...content, check(content)].flatMap((byte) => (special.has(byte) ? [0x7d, byte ^ 0x20] : [byte])),
    flag,
  )

const reply = (command: number, state: number, data: readonly number[] = []): Uint8Array =>
  framed([0, command, state, data.length, ...data])

const takeCommand = (bytes: Uint8Array) => {
  if (bytes[0] !== flag) return { drop: 1 }
  const end = bytes.indexOf(flag, 1)
  if (end === -1) return { drop: 0 }
  if (end === 1) return { drop: 1 }
  const plain: number[] = []
  for (let at = 1; at < end; at += 1) plain.push(bytes[at] === 0x7d ? bytes[++at]! ^ 0x20 : bytes[at]!)
  const good = plain.length >= 4 && check(plain.slice(0, -1)) === plain.at(-1)
  return good ? { drop: end + 1, command: Uint8Array.from(plain) } : { drop: end }
}

export type SensirionOptions = {
  readonly intervalMs?: number
  readonly air: (timeMs: number) => Conditions
}

/** A simulated SPS30 in that air; in clean air its first values are good after half a minute. */
export const sensirion = ({ intervalMs = 1000, air }: SensirionOptions): Device => {
  let startedMs: number | undefined
  let lastSecond = Number.NEGATIVE_INFINITY
  const commands = commandReader(takeCommand)

  const measured = (timeMs: number): Emission => {
    const { pm1, pm2_5, pm10 } = air(timeMs)
    const counts = [5.2, 6.3, 6.6, 6.68, 6.7].map((factor) => factor * pm2_5)
    const values = [pm1, pm2_5, (pm2_5 + pm10) / 2, pm10, ...counts, 0.5 + pm2_5 / 100].map(Math.fround)
    const data = Buffer.alloc(40)
    for (const [index, value] of values.entries()) data.writeFloatBE(value, 4 * index)
    const [, , , , small] = values as [number, number, number, number, number]
    const startUpMs = small >= 200 ? 8_000 : small >= 100 ? 16_000 : 30_000
    const steady = timeMs - startedMs! >= startUpMs
    return {
      bytes: reply(read, 0, [...data]),
      meant: [
        {
          measurements: quantities.map(
            (quantity, index): Measurement =>
              steady ? { quantity, value: values[index]! } : { quantity, value: null, absent: 'warming-up' },
          ),
        },
      ],
    }
  }

  const obey = ([, command]: Uint8Array, timeMs: number): Emission => {
    switch (command) {
      case start:
        if (startedMs !== undefined) return answer(reply(start, notAllowed))
        startedMs = timeMs
        return answer(reply(start, 0))
      case stop:
        startedMs = undefined
        return answer(reply(stop, 0))
      case read: {
        if (startedMs === undefined) return answer(reply(read, notAllowed))
        const second = Math.floor(timeMs / 1000)
        if (second === lastSecond) return answer(reply(read, 0))
        lastSecond = second
        return measured(timeMs)
      }
      // It does not sleep: the real one refuses to be woken.
      case wake:
        return answer(reply(wake, notAllowed))
      case clean:
        return answer(reply(clean, startedMs === undefined ? notAllowed : 0))
      case serial:
        return answer(reply(serial, 0, [...Buffer.from('SIMULATED0000001\0')]))
      default:
        return answer(reply(command!, unknownCommand))
    }
  }

  return {
    model: 'sensirion-sps30',
    settings: { intervalS: Math.max(1, intervalMs / 1000) },
    baudRate: 115_200,
    intervalMs,
    speak: () => undefined,
    hear: (bytes, timeMs) => commands(bytes).map((command) => obey(command, timeMs)),
    powerOn: () => {
      startedMs = undefined
      return []
    },
  }
}

/** An SPS30. */
export const sensirionKind: Kind = {
  sensor: 'sps',
  make: ({ place, airAt, intervalMs }) => sensirion({ intervalMs, air: airAt(place) }),
}
