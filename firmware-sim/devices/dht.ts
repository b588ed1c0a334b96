/** A DHT22 on a microcontroller that runs the example sketch of its library: sentences for people. */
import type { Measurement } from '../../gateway/reading/reading.ts'
import { chanceAt } from '../random.ts'
import type { Conditions } from '../world.ts'
import { answer, type Device, type Kind, rounded } from './device.ts'

// Adafruit DHT sensor library, examples/DHTtester: a line every two seconds.
const failed = 'Failed to read from DHT sensor!'
// The wire is long, or the sensor was asked too early.
const failureChance = 0.05

const bytesOf = (line: string): Uint8Array => new Uint8Array(Buffer.from(`${line}\r\n`))

export type DhtOptions = {
  readonly seed: number
  readonly intervalMs?: number
  readonly air: (timeMs: number) => Conditions
}

/** A simulated DHT22 in that air: tenths of a degree and of a percent, printed with two decimals. */
export const dht = ({ seed, intervalMs = 2000, air }: DhtOptions): Device => ({
  model: 'text-lines',
  settings: { profile: 'dht' },
  baudRate: 115_200,
  intervalMs,
  speak: (timeMs) => {
    if (chanceAt(seed, 51, Math.floor(timeMs / 1000)) < failureChance) {
      const measurements = (['humidity', 'temperature'] as const).map(
        (quantity): Measurement => ({ quantity, value: null, absent: 'device-error' }),
      )
      return { bytes: bytesOf(failed), meant: [{ measurements }] }
    }
    const { temperature, humidity } = air(timeMs)
    const [t, h] = [rounded(temperature, 1), rounded(humidity, 1)]
    // The simple formula of Steadman's table, as for air that is not hot.
    const index = rounded(1.1 * t + 0.026 * h - 3.9, 2)
    const both = (celsius: number): string => `${celsius.toFixed(2)}°C ${(celsius * 1.8 + 32).toFixed(2)}°F`
    return {
      bytes: bytesOf(`Humidity: ${h.toFixed(2)}%  Temperature: ${both(t)}  Heat index: ${both(index)}`),
      meant: [
        {
          measurements: [
            { quantity: 'humidity', value: h },
            { quantity: 'temperature', value: t },
            { quantity: 'heat_index', value: index },
          ],
        },
      ],
    }
  },
  hear: () => [],
  powerOn: () => [answer(bytesOf('DHTxx test!'))],
})

/** A DHT22. */
export const dhtKind: Kind = {
  sensor: 'dht',
  make: ({ seed, place, airAt, intervalMs }) => dht({ seed, intervalMs, air: airAt(place) }),
}
