/** A GY-MCU680V1 module: a BME680's values in a binary frame, by itself. */
import type { Measurement } from '../../gateway/reading/reading.ts'
import { chanceAt } from '../random.ts'
import type { Conditions } from '../world.ts'
import { type Device, type Kind, rounded } from './device.ts'

// GY-MCU680V1 module sheet.
const head = [0x5a, 0x5a, 0x3f, 0x0f] as const
const learnt = 3

export type Mcu680Options = {
  readonly seed: number
  readonly intervalMs?: number
  /** Until then its air quality index is the 25 of a sensor that has learnt nothing. */
  readonly warmUpMs?: number
  readonly air: (timeMs: number) => Conditions
}

/** A simulated module in that air. */
export const mcu680 = ({ seed, intervalMs = 1000, warmUpMs = 0, air }: Mcu680Options): Device => {
  let onSinceMs = Number.NEGATIVE_INFINITY
  return {
    model: 'gy-mcu680',
    settings: {},
    baudRate: 9600,
    intervalMs,
    speak: (timeMs) => {
      const { temperature, humidity, pressure, pm2_5 } = air(timeMs)
      const knows = timeMs - onSinceMs >= warmUpMs
      const iaq = knows ? Math.min(500, Math.round(20 + 2 * pm2_5)) : 25
      const gas = 30_000 + Math.floor(20_000 * chanceAt(seed, Math.floor(timeMs / 60_000)))
      const [t, h, p] = [
        Math.round(temperature * 100),
        Math.round(humidity * 100),
        Math.round(pressure * 100),
      ]
      const bytes = Buffer.alloc(20)
      bytes.set(head)
      bytes.writeInt16BE(t, 4)
      bytes.writeUInt16BE(h, 6)
      bytes.writeUIntBE(p, 8, 3)
      bytes.writeUInt16BE(((knows ? learnt : 0) << 12) | iaq, 11)
      bytes.writeUInt32BE(gas, 13)
      bytes.writeInt16BE(40, 17)
      bytes[19] = bytes.subarray(0, 19).reduce((sum, byte) => sum + byte, 0) & 0xff
      const measurements: Measurement[] = [
        { quantity: 'temperature', value: rounded(t / 100, 2) },
        { quantity: 'humidity', value: rounded(h / 100, 2) },
        { quantity: 'pressure', value: rounded(p / 100, 2) },
        knows ? { quantity: 'iaq', value: iaq } : { quantity: 'iaq', value: null, absent: 'warming-up' },
        { quantity: 'gas_resistance', value: gas },
      ]
      return { bytes: new Uint8Array(bytes), meant: [{ measurements }] }
    },
    hear: () => [],
    powerOn: (timeMs) => {
      onSinceMs = timeMs
      return []
    },
  }
}

/** A module that has learnt what clean air is after the fleet's warm-up. */
export const mcu680Kind: Kind = {
  sensor: 'bme680',
  make: ({ seed, place, airAt, intervalMs, warmUpMs }) =>
    mcu680({ seed, intervalMs, warmUpMs, air: airAt(place) }),
}
