/** A Winsen MH-Z19B: answers when asked, and says 400 until it is warm. */
import { chanceAt } from '../random.ts'
import type { Conditions } from '../world.ts'
import { answer, commandReader, type Device, type Emission, type Kind } from './device.ts'

// Winsen MH-Z19B manual v1.6.
const commandBytes = 9
const read = 0x86
const selfCalibration = 0x79
const range = 0x99
const ranges: ReadonlySet<number> = new Set([2000, 5000, 10_000])
const coldPpm = 400

const withChecksum = (bytes: number[]): Uint8Array => {
  const total = bytes.slice(1).reduce((sum, byte) => sum + byte, 0)
  return Uint8Array.of(...bytes, -total & 0xff)
}

const takeCommand = (bytes: Uint8Array) => {
  if (bytes[0] !== 0xff) return { drop: 1 }
  if (bytes.length < commandBytes) return { drop: 0 }
  const command = bytes.slice(0, commandBytes)
  const good = withChecksum([...command.slice(0, -1)]).at(-1) === command.at(-1)
  return good ? { drop: commandBytes, command } : { drop: 1 }
}

export type WinsenOptions = {
  readonly seed: number
  readonly intervalMs?: number
  readonly warmUpMs?: number
  readonly air: (timeMs: number) => Conditions
}

/** A simulated MH-Z19B. Traffic and people breathe out with the particles, near enough. */
export const winsen = ({ seed, intervalMs = 5000, warmUpMs = 0, air }: WinsenOptions): Device => {
  let onSinceMs = Number.NEGATIVE_INFINITY
  // Kept without power.
  let rangePpm = 5000
  const commands = commandReader(takeCommand)

  const measured = (timeMs: number): Emission => {
    const { pm2_5, temperature } = air(timeMs)
    const warm = timeMs - onSinceMs >= warmUpMs
    const noise = 6 * chanceAt(seed, Math.floor(timeMs / 1000))
    const ppm = warm ? Math.min(rangePpm, Math.round(420 + 4 * pm2_5 + noise)) : coldPpm
    const inside = Math.min(215, Math.max(0, Math.round(temperature) + 6 + 40))
    return {
      bytes: withChecksum([0xff, read, ppm >> 8, ppm & 0xff, inside, 0, 0, 0]),
      meant: [
        {
          measurements: warm
            ? [{ quantity: 'co2', value: ppm }]
            : [{ quantity: 'co2', value: null, absent: 'warming-up' }],
        },
      ],
    }
  }

  return {
    model: 'winsen-mhz19',
    settings: { preheatS: warmUpMs / 1000, intervalS: Math.max(1, intervalMs / 1000) },
    baudRate: 9600,
    intervalMs,
    speak: () => undefined,
    hear: (bytes, timeMs) =>
      commands(bytes).flatMap((command) => {
        if (command[2] === read) return [measured(timeMs)]
        const wanted = (command[6]! << 8) | command[7]!
        const isRange = command[2] === range && ranges.has(wanted)
        if (isRange) rangePpm = wanted
        return isRange || command[2] === selfCalibration
          ? [answer(withChecksum([0xff, command[2]!, 1, 0, 0, 0, 0, 0]))]
          : []
      }),
    powerOn: (timeMs) => {
      onSinceMs = timeMs
      return []
    },
  }
}

/** An MH-Z19B that is asked at the fleet's pace, though not more than once a second. */
export const winsenKind: Kind = {
  sensor: 'co2',
  make: ({ seed, place, airAt, intervalMs, warmUpMs }) =>
    winsen({ seed, intervalMs, warmUpMs, air: airAt(place) }),
}
