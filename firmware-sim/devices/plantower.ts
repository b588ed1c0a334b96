/** A Plantower PMS5003 (or 5003T): 32-byte frames, active or passive, asleep or awake. */
import type { Measurement } from '../../gateway/reading/reading.ts'
import { chanceAt } from '../random.ts'
import type { Conditions } from '../world.ts'
import { answer, commandReader, type Device, type Emission, type Kind, rounded } from './device.ts'

// PMS5003 manual V2.3, appendices I and II.
const commandBytes = 7
const wake = 0xe4
const mode = 0xe1
const read = 0xe2
const version = 0x97

const withSum = (bytes: Buffer): Uint8Array => {
  const total = bytes.subarray(0, -2).reduce((sum, byte) => sum + byte, 0)
  bytes.writeUInt16BE(total & 0xffff, bytes.length - 2)
  return new Uint8Array(bytes)
}

const framed = (words: readonly number[]): Uint8Array => {
  const bytes = Buffer.alloc(32)
  bytes.writeUInt16BE(0x424d, 0)
  bytes.writeUInt16BE(28, 2)
  for (const [index, word] of words.entries()) bytes.writeUInt16BE(word & 0xffff, 4 + 2 * index)
  return withSum(bytes)
}

const acknowledgement = (command: number, data: number): Uint8Array =>
  withSum(Buffer.from([0x42, 0x4d, 0x00, 0x04, command, data, 0, 0]))

const takeCommand = (bytes: Uint8Array) => {
  if (bytes[0] !== 0x42 || (bytes.length > 1 && bytes[1] !== 0x4d)) return { drop: 1 }
  if (bytes.length < commandBytes) return { drop: 0 }
  const total = bytes.subarray(0, commandBytes - 2).reduce((sum, byte) => sum + byte, 0)
  return total === (bytes[5]! << 8) + bytes[6]!
    ? { drop: commandBytes, command: bytes.slice(0, commandBytes) }
    : { drop: 1 }
}

const quantities = ['pm1', 'pm2_5', 'pm10', 'n0_3', 'n0_5', 'n1', 'n2_5', 'n5', 'n10'] as const
const climate = ['temperature', 'humidity'] as const

export type PlantowerOptions = {
  readonly variant?: 'pms5003' | 'pms5003t'
  readonly intervalMs?: number
  /** Frames are all zero for so long after power or wake-up. */
  readonly warmUpMs?: number
  readonly air: (timeMs: number) => Conditions
}

/** A simulated Plantower sensor in that air. */
export const plantower = ({
  variant = 'pms5003',
  intervalMs = 1000,
  warmUpMs = 0,
  air,
}: PlantowerOptions): Device => {
  const withClimate = variant === 'pms5003t'
  let awakeSinceMs: number | undefined = Number.NEGATIVE_INFINITY
  let active = true
  const commands = commandReader(takeCommand)

  const measured = (timeMs: number): Emission => {
    const { pm1, pm2_5, pm10, temperature, humidity } = air(timeMs)
    const mass = [pm1, pm2_5, pm10].map(Math.round)
    // Counts fall by about a third of a decade per size step in city air.
    const counts = [170, 50, 8, 1.2, 0.3, 0.1].map((factor) => Math.round(factor * pm2_5))
    const climateWords = [Math.round(temperature * 10), Math.round(humidity * 10)]
    const warmingUp = timeMs - awakeSinceMs! < warmUpMs
    const kept = withClimate ? counts.slice(0, 4) : counts
    const particles = [...mass, ...kept]
    const onWire = warmingUp ? particles.map(() => 0) : particles
    const meant: Measurement[] = onWire.map((value, index) =>
      warmingUp
        ? { quantity: quantities[index]!, value: null, absent: 'warming-up' }
        : { quantity: quantities[index]!, value },
    )
    if (withClimate)
      for (const [index, quantity] of climate.entries())
        meant.push({ quantity, value: rounded(climateWords[index]! / 10, 1) })
    const words = [...onWire.slice(0, 3), ...onWire, ...(withClimate ? climateWords : []), version << 8]
    return { bytes: framed(words), meant: [{ measurements: meant }] }
  }

  const obey = (command: Uint8Array, timeMs: number): readonly Emission[] => {
    const [, , code, , data] = command
    if (code === wake && data === 1) {
      awakeSinceMs ??= timeMs
      return []
    }
    if (awakeSinceMs === undefined) return []
    if (code === wake) {
      awakeSinceMs = undefined
      return [answer(acknowledgement(wake, 0))]
    }
    if (code === mode) {
      active = data === 1
      return [answer(acknowledgement(mode, data!))]
    }
    return code === read && !active ? [measured(timeMs)] : []
  }

  return {
    model: 'plantower-pms',
    settings: { variant },
    baudRate: 9600,
    intervalMs,
    speak: (timeMs) => (active && awakeSinceMs !== undefined ? measured(timeMs) : undefined),
    hear: (bytes, timeMs) => commands(bytes).flatMap((command) => obey(command, timeMs)),
    powerOn: (timeMs) => {
      awakeSinceMs = timeMs
      active = true
      return []
    },
  }
}

/** A PMS5003, or a PMS5003T in three of ten. */
export const plantowerKind: Kind = {
  sensor: 'pms',
  make: ({ seed, place, airAt, intervalMs, warmUpMs }) =>
    plantower({
      variant: chanceAt(seed, 0) < 0.3 ? 'pms5003t' : 'pms5003',
      intervalMs,
      warmUpMs,
      air: airAt(place),
    }),
}
