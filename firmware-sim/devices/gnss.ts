/** A GNSS receiver that stands still: RMC and GGA once per interval, with metres of noise. */
import type { Measurement } from '../../gateway/reading/reading.ts'
import { chanceAt } from '../random.ts'
import type { Place } from '../world.ts'
import type { Device, Kind } from './device.ts'

/** A sentence with its checksum and ending. */
export const sentence = (content: string): string => {
  const sum = Buffer.from(content).reduce((total, byte) => total ^ byte, 0)
  return `$${content}*${sum.toString(16).toUpperCase().padStart(2, '0')}\r\n`
}

const two = (value: number): string => String(value).padStart(2, '0')

/** `ddmm.mmmmm` with its hemisphere, and the degrees that these characters stand for. */
const angle = (degrees: number, width: number, hemispheres: readonly [string, string]) => {
  const hundredThousandths = Math.round(Math.abs(degrees) * 60 * 1e5)
  const whole = Math.floor(hundredThousandths / 6_000_000)
  const minutes = ((hundredThousandths % 6_000_000) / 1e5).toFixed(5).padStart(8, '0')
  const magnitude = whole + Number(minutes) / 60
  return {
    text: `${String(whole).padStart(width, '0')}${minutes},${hemispheres[degrees < 0 ? 1 : 0]}`,
    degrees: degrees < 0 ? -magnitude : magnitude,
  }
}

export type GnssOptions = {
  readonly seed: number
  readonly place: Place
  readonly intervalMs?: number
  /** No fix for so long after power. */
  readonly searchMs?: number
}

/** A simulated receiver at that place; its clock is the one that drives it. */
export const gnss = ({ seed, place, intervalMs = 1000, searchMs = 0 }: GnssOptions): Device => {
  let onSinceMs = Number.NEGATIVE_INFINITY

  const noFix = { bytes: new Uint8Array(Buffer.from(sentence('GNRMC,,V,,,,,,,,,,N,V'))) }
  const nothing: Measurement[] = (['latitude', 'longitude', 'speed'] as const).map((quantity) => ({
    quantity,
    value: null,
    absent: 'no-data',
  }))

  return {
    model: 'nmea',
    settings: {},
    baudRate: 9600,
    intervalMs,
    speak: (timeMs) => {
      if (timeMs - onSinceMs < searchMs) return { ...noFix, meant: [{ measurements: nothing }] }
      const jitter = (salt: number): number => chanceAt(seed, salt, Math.floor(timeMs / 1000)) - 0.5
      const latitude = angle(place.latitude + jitter(1) * 4e-5, 2, ['N', 'S'])
      const longitude = angle(place.longitude + jitter(2) * 4e-5, 3, ['E', 'W'])
      const altitude = (place.altitudeM + jitter(3) * 6).toFixed(1)
      const satellites = 8 + Math.floor((jitter(4) + 0.5) * 5)
      const hdop = (0.9 + (jitter(5) + 0.5) * 0.6).toFixed(2)
      const knots = ((jitter(6) + 0.5) * 0.1).toFixed(3)
      const now = new Date(timeMs)
      const hundredths = two(Math.floor(now.getUTCMilliseconds() / 10))
      const time = `${two(now.getUTCHours())}${two(now.getUTCMinutes())}${two(now.getUTCSeconds())}.${hundredths}`
      const date = `${two(now.getUTCDate())}${two(now.getUTCMonth() + 1)}${two(now.getUTCFullYear() % 100)}`
      const where: Measurement[] = [
        { quantity: 'latitude', value: latitude.degrees },
        { quantity: 'longitude', value: longitude.degrees },
      ]
      return {
        bytes: new Uint8Array(
          Buffer.from(
            sentence(`GNRMC,${time},A,${latitude.text},${longitude.text},${knots},,${date},,,A,V`) +
              sentence(
                `GNGGA,${time},${latitude.text},${longitude.text},1,${two(satellites)},${hdop},${altitude},M,40.0,M,,`,
              ) +
              sentence(`GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,1.80,${hdop},1.50`),
          ),
        ),
        meant: [
          { measurements: [...where, { quantity: 'speed', value: (Number(knots) * 1852) / 3600 }] },
          {
            measurements: [
              ...where,
              { quantity: 'altitude', value: Number(altitude) },
              { quantity: 'satellites', value: satellites },
              { quantity: 'hdop', value: Number(hdop) },
            ],
          },
        ],
      }
    },
    hear: () => [],
    powerOn: (timeMs) => {
      onSinceMs = timeMs
      return []
    },
  }
}

/** A receiver that stands where the station does. */
export const gnssKind: Kind = {
  sensor: 'gnss',
  make: ({ seed, place, intervalMs }) => gnss({ seed, place, intervalMs }),
}
