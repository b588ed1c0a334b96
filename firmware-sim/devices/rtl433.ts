/** rtl_433 and the wireless sensors that it hears: each transmission two or three times, as JSON lines. */
import type { QuantityName } from '../../gateway/reading/quantity.ts'
import type { Measurement } from '../../gateway/reading/reading.ts'
import { chanceAt, generator } from '../random.ts'
import { gauge, weatherAt } from '../weather.ts'
import { around, type Conditions } from '../world.ts'
import type { Device, Emission, Kind } from './device.ts'

// rtl_433 docs/DATA_FORMAT.md; the shape of each line as in its published captures (-F json -M level).
type Value = readonly [name: string, written: number, quantity?: QuantityName, read?: number]

/** A sensor: how it calls itself, what it says at a moment, and how its radio is heard. */
export type WirelessSensor = {
  readonly about: Readonly<Record<string, string | number>>
  readonly modulation: 'FSK' | 'ASK'
  readonly says: (timeMs: number) => readonly Value[]
}

const at = (value: number, decimals: number): number => Number(value.toFixed(decimals))

type Air = (timeMs: number) => Conditions

/** A Fine Offset WS90: everything in one, in metric units. */
const ws90 = (seed: number, air: Air): WirelessSensor => {
  const fallenMm = gauge(seed)
  return {
    about: { model: 'Fineoffset-WS90', id: 10_000 + (seed % 9000) },
    modulation: 'FSK',
    says: (timeMs) => {
      const { temperature, humidity } = air(timeMs)
      const { windSpeed, windGust, windDirection } = weatherAt(seed, timeMs)
      const [t, h, direction] = [at(temperature, 1), Math.round(humidity), Math.round(windDirection) % 360]
      const [speed, gust, rain] = [at(windSpeed, 1), at(windGust, 1), at(fallenMm(timeMs), 1)]
      return [
        ['battery_ok', 0.95, 'battery', 95],
        ['battery_mV', 2920, 'battery_voltage', 2.92],
        ['temperature_C', t, 'temperature', t],
        ['humidity', h, 'humidity', h],
        ['wind_dir_deg', direction, 'wind_direction', direction],
        ['wind_avg_m_s', speed, 'wind_speed', speed],
        ['wind_max_m_s', gust, 'wind_gust', gust],
        ['uvi', 1, 'uv_index', 1],
        ['light_lux', 5630, 'illuminance', 5630],
        ['flags', 130],
        ['rain_mm', rain, 'rain_total', rain],
        ['supercap_V', 5.4],
        ['firmware', 130],
      ]
    },
  }
}

/** An Acurite tower: a thermometer of a maker who counts in Fahrenheit. */
const tower = (seed: number, air: Air): WirelessSensor => ({
  about: { model: 'Acurite-Tower', id: 1 + (seed % 16_000), channel: 'A' },
  modulation: 'ASK',
  says: (timeMs) => {
    const { temperature, humidity } = air(timeMs)
    const fahrenheit = at(temperature * 1.8 + 32, 1)
    const h = Math.round(humidity)
    return [
      ['battery_ok', 1, 'battery', 100],
      ['temperature_F', fahrenheit, 'temperature', ((fahrenheit - 32) * 5) / 9],
      ['humidity', h, 'humidity', h],
    ]
  },
})

/** A Fine Offset WH51 in a flower bed; its id is text. */
const soilProbe = (seed: number, air: Air): WirelessSensor => ({
  about: { model: 'Fineoffset-WH51', id: `00${(0x1000 + (seed % 0xefff)).toString(16)}` },
  modulation: 'FSK',
  says: (timeMs) => {
    const wet = Math.round(air(timeMs).humidity / 3)
    return [
      ['battery_ok', 1, 'battery', 100],
      ['battery_mV', 1600, 'battery_voltage', 1.6],
      ['moisture', wet, 'soil_moisture', wet],
      ['boost', 0],
      ['ad_raw', 17],
    ]
  },
})

const centreMHz = { FSK: 868.3, ASK: 433.92 } as const

export type Rtl433Options = {
  readonly seed: number
  readonly sensors: readonly WirelessSensor[]
  /** How often each sensor transmits. */
  readonly sensorIntervalMs?: number
}

/** A simulated receiver. The program listens to nobody; its sensors take turns. */
export const rtl433 = ({ seed, sensors, sensorIntervalMs = 16_000 }: Rtl433Options): Device => {
  let turn = 0

  const heard = (sensor: WirelessSensor, timeMs: number): Emission => {
    const { about, modulation, says } = sensor
    const values = says(timeMs)
    const frequencyMHz = at(centreMHz[modulation] + 0.02 * (chanceAt(seed, turn) - 0.5), 5)
    const copies = 2 + (turn % 2)
    // Levels differ between the copies of one transmission: the first is what is read.
    const radio = (copy: number) => {
      const rssi = at(-0.1 - 12 * chanceAt(seed, 31, turn, copy), 3)
      const snr = at(8 + 20 * chanceAt(seed, 32, turn, copy), 3)
      const tuned =
        modulation === 'FSK'
          ? { freq1: at(frequencyMHz - 0.04, 5), freq2: at(frequencyMHz + 0.04, 5) }
          : { freq: frequencyMHz }
      return { mod: modulation, ...tuned, rssi, snr, noise: at(rssi - snr, 3) }
    }
    const line = (copy: number): string =>
      JSON.stringify({
        time: new Date(timeMs).toISOString().slice(0, 19).replace('T', ' '),
        ...about,
        ...Object.fromEntries(values.map(([name, written]) => [name, written])),
        mic: 'CRC',
        ...radio(copy),
      })
    const measurements: Measurement[] = values.flatMap(([, , quantity, read]) =>
      quantity === undefined || read === undefined ? [] : [{ quantity, value: read }],
    )
    const { rssi, snr } = radio(0)
    return {
      bytes: new Uint8Array(
        Buffer.from(Array.from({ length: copies }, (_, copy) => `${line(copy)}\n`).join('')),
      ),
      meant: [
        {
          node: Object.values(about).join('-'),
          measurements: [
            ...measurements,
            { quantity: 'rssi', value: rssi },
            { quantity: 'snr', value: snr },
            { quantity: 'frequency', value: frequencyMHz },
          ],
        },
      ],
    }
  }

  return {
    model: 'rtl-433',
    settings: {},
    baudRate: 115_200,
    intervalMs: Math.max(1, Math.floor(sensorIntervalMs / sensors.length)),
    speak: (timeMs) => {
      turn += 1
      return heard(sensors[turn % sensors.length]!, timeMs)
    },
    hear: () => [],
    powerOn: () => [],
  }
}

// No real sensor transmits oftener, and what is said again sooner is taken for a copy.
const shortestMs = 6_000

/** A receiver with a weather station, a thermometer and a soil probe within a kilometre. */
export const rtl433Kind: Kind = {
  sensor: 'sdr',
  make: ({ seed, place, airAt, intervalMs }) => {
    const air = (which: number) => airAt(around(place, 1, generator(seed + which)))
    return rtl433({
      seed,
      sensors: [ws90(seed, air(1)), tower(seed, air(2)), soilProbe(seed, air(3))],
      sensorIntervalMs: Math.max(shortestMs, intervalMs),
    })
  },
}
