/** A Nova SDS011: 10-byte frames once a second, 19-byte commands. */
import type { Conditions } from '../world.ts'
import { answer, commandReader, type Device, type Emission, type Kind, rounded } from './device.ts'

// Laser Dust Sensor Control Protocol V1.3.
const commandBytes = 19
const reportMode = 2
const query = 4
const sleepOrWork = 6
const firmware = 7
const workPeriod = 8
const workS = 30
const id = [0xa1, 0x60] as const

const low = (bytes: Iterable<number>): number => [...bytes].reduce((sum, byte) => sum + byte, 0) & 0xff

const framed = (type: number, payload: readonly number[]): Uint8Array => {
  const body = [...payload, ...id]
  return Uint8Array.of(0xaa, type, ...body, low(body), 0xab)
}

const takeCommand = (bytes: Uint8Array) => {
  if (bytes[0] !== 0xaa || (bytes.length > 1 && bytes[1] !== 0xb4)) return { drop: 1 }
  if (bytes.length < commandBytes) return { drop: 0 }
  return bytes[18] === 0xab && bytes[17] === low(bytes.subarray(2, 17))
    ? { drop: commandBytes, command: bytes.slice(0, commandBytes) }
    : { drop: 1 }
}

export type NovaOptions = {
  readonly intervalMs?: number
  readonly warmUpMs?: number
  readonly air: (timeMs: number) => Conditions
}

/** A simulated SDS011 in that air. */
export const nova = ({ intervalMs = 1000, warmUpMs = 0, air }: NovaOptions): Device => {
  let awakeSinceMs: number | undefined = Number.NEGATIVE_INFINITY
  let active = true
  // Kept without power, as the document says.
  let periodMin = 0
  const commands = commandReader(takeCommand)

  const measured = (timeMs: number): Emission => {
    const { pm2_5, pm10 } = air(timeMs)
    const warmingUp = timeMs - awakeSinceMs! < warmUpMs
    const tenths = warmingUp ? [0, 0] : [pm2_5, pm10].map((value) => Math.min(9999, Math.round(value * 10)))
    const payload = tenths.flatMap((value) => [value & 0xff, value >> 8])
    return {
      bytes: framed(0xc0, payload),
      meant: [
        {
          measurements: (['pm2_5', 'pm10'] as const).map((quantity, index) =>
            warmingUp
              ? { quantity, value: null, absent: 'warming-up' }
              : { quantity, value: rounded(tenths[index]! / 10, 1) },
          ),
        },
      ],
    }
  }

  // With a period it works for 30 s, says its values once at the end, and rests.
  const isWorking = (timeMs: number): boolean =>
    periodMin === 0 || Math.floor(timeMs / 1000) % (periodMin * 60) === workS

  const obey = (command: Uint8Array, timeMs: number): readonly Emission[] => {
    const [, , code, set, value] = command
    const wakes = code === sleepOrWork && set === 1 && value === 1
    if (awakeSinceMs === undefined && !wakes) return []
    if (code === query) return [measured(timeMs)]
    if (code === reportMode) {
      if (set === 1) active = value === 0
      return [answer(framed(0xc5, [reportMode, set!, active ? 0 : 1, 0]))]
    }
    if (code === workPeriod) {
      if (set === 1) periodMin = value!
      return [answer(framed(0xc5, [workPeriod, set!, periodMin, 0]))]
    }
    if (wakes) awakeSinceMs ??= timeMs
    else if (code === sleepOrWork && set === 1) awakeSinceMs = undefined
    if (code === firmware) return [answer(framed(0xc5, [firmware, 15, 7, 10]))]
    return [answer(framed(0xc5, [code!, set!, value!, 0]))]
  }

  return {
    model: 'nova-sds011',
    settings: {},
    baudRate: 9600,
    intervalMs,
    speak: (timeMs) =>
      active && awakeSinceMs !== undefined && isWorking(timeMs) ? measured(timeMs) : undefined,
    hear: (bytes, timeMs) => commands(bytes).flatMap((command) => obey(command, timeMs)),
    powerOn: (timeMs) => {
      awakeSinceMs = timeMs
      active = true
      return []
    },
  }
}

/** An SDS011. */
export const novaKind: Kind = {
  sensor: 'sds',
  make: ({ place, airAt, intervalMs, warmUpMs }) => nova({ intervalMs, warmUpMs, air: airAt(place) }),
}
