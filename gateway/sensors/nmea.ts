/** GNSS receivers that speak NMEA 0183: position from GGA, position, speed and time from RMC. */
import { z } from 'zod'
import type { Measurement } from '../reading/reading.ts'
import { utf8, xor } from './bytes.ts'
import type { Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

// NMEA 0183 v4.11: $ttsss,field,field*HH, tt the talker (GP, GN, GL ...), sss the sentence, HH the exclusive
// or of everything between $ and *. 82 characters by the book, more in practice.
const maxBytes = 1024
const dollar = 0x24
const bang = 0x21
const star = 0x2a

const metresPerSecondPerKnot = 1852 / 3600

// GGA field 6: 0 no fix, 6 dead reckoning, 7 typed in by hand, 8 simulator. What was not measured is no place.
const measuredFixes: ReadonlySet<string> = new Set(['1', '2', '3', '4', '5', '9'])
// RMC field 12, absent before NMEA 2.3: N no fix, E dead reckoning, M typed in by hand, S simulator.
const unmeasuredModes: ReadonlySet<string> = new Set(['N', 'E', 'M', 'S'])

const refused = (reason: 'checksum' | 'layout', detail: string): Outcome => ({
  kind: 'refused',
  reason,
  detail,
})
const absent = (quantity: Measurement['quantity']): Measurement => ({
  quantity,
  value: null,
  absent: 'no-data',
})

const number = /^-?\d{1,6}(?:\.\d{1,9})?$/
const angle = /^(\d{1,3})([0-5]\d(?:\.\d{1,9})?)$/

/** Degrees from `ddmm.mmmm` and a hemisphere; null where empty, undefined where it is not an angle. */
const degrees = (text: string, hemisphere: string, hemispheres: 'NS' | 'EW'): number | null | undefined => {
  if (text === '') return null
  const match = angle.exec(text)
  if (!match || hemisphere.length !== 1 || !hemispheres.includes(hemisphere)) return undefined
  const value = Number(match[1]) + Number(match[2]) / 60
  if (value > (hemispheres === 'NS' ? 90 : 180)) return undefined
  return hemisphere === 'S' || hemisphere === 'W' ? -value : value
}

const position = (fields: readonly string[], at: number): Measurement[] | undefined => {
  const latitude = degrees(fields[at] ?? '', fields[at + 1] ?? '', 'NS')
  const longitude = degrees(fields[at + 2] ?? '', fields[at + 3] ?? '', 'EW')
  if (latitude === undefined || longitude === undefined) return undefined
  // Receivers that forget to say "no fix" say 0,0: a buoy in the Gulf of Guinea is the price of that.
  if (latitude === null || longitude === null || (latitude === 0 && longitude === 0)) return noPosition
  return [
    { quantity: 'latitude', value: latitude },
    { quantity: 'longitude', value: longitude },
  ]
}

const noPosition: Measurement[] = [absent('latitude'), absent('longitude')]

const plain = (quantity: Measurement['quantity'], text: string | undefined, factor = 1): Measurement =>
  text !== undefined && number.test(text) ? { quantity, value: Number(text) * factor } : absent(quantity)

const utcTime = /^([01]\d|2[0-3])([0-5]\d)([0-5]\d|60)(?:\.(\d{1,6}))?$/
const utcDate = /^(0[1-9]|[12]\d|3[01])(0[1-9]|1[0-2])(\d\d)$/

/** UTC milliseconds of `hhmmss.sss` and `ddmmyy`; undefined where the receiver does not know. */
const moment = (time: string, date: string): number | undefined => {
  const clock = utcTime.exec(time)
  const day = utcDate.exec(date)
  if (!clock || !day) return undefined
  // GPS began in 1980: a two-digit year from 80 on is of the last century.
  const year = Number(day[3]) + (Number(day[3]) >= 80 ? 1900 : 2000)
  const midnightMs = Date.UTC(year, Number(day[2]) - 1, Number(day[1]))
  if (new Date(midnightMs).getUTCDate() !== Number(day[1])) return undefined
  const seconds = Number(clock[1]) * 3600 + Number(clock[2]) * 60 + Number(clock[3])
  return midnightMs + seconds * 1000 + Math.floor(Number(`0.${clock[4] ?? '0'}`) * 1000)
}

// time, lat, N, lon, W, fix, satellites, HDOP, altitude, M, ...
const gga = (fields: readonly string[]): Outcome => {
  if (fields.length < 10) return refused('layout', `GGA with ${fields.length} fields`)
  const fixed = measuredFixes.has(fields[5]!)
  const place = fixed ? position(fields, 1) : noPosition
  if (!place) return refused('layout', `GGA position ${fields.slice(1, 5).join(',').slice(0, 60)}`)
  return {
    kind: 'reading',
    measurements: [
      ...place,
      fixed && place !== noPosition && fields[9] === 'M' ? plain('altitude', fields[8]) : absent('altitude'),
      plain('satellites', fields[6]),
      plain('hdop', fields[7]),
    ],
  }
}

// time, status, lat, N, lon, W, knots, course, date, variation, E, mode, navigational status
const rmc = (fields: readonly string[]): Outcome => {
  if (fields.length < 9) return refused('layout', `RMC with ${fields.length} fields`)
  const fixed = fields[1] === 'A' && !unmeasuredModes.has(fields[11] ?? '')
  const place = fixed ? position(fields, 2) : noPosition
  if (!place) return refused('layout', `RMC position ${fields.slice(2, 6).join(',').slice(0, 60)}`)
  const measurements = [
    ...place,
    fixed && place !== noPosition ? plain('speed', fields[6], metresPerSecondPerKnot) : absent('speed'),
  ]
  // Without a fix the time is that of a clock running on, or of the factory.
  const timeMs = fixed ? moment(fields[0]!, fields[8]!) : undefined
  return { kind: 'reading', measurements, ...(timeMs === undefined ? {} : { timeMs }) }
}

const kind = /^[A-Z]{2}([A-Z]{3})$/

const sentence = (bytes: Uint8Array): Outcome => {
  const at = bytes.lastIndexOf(star)
  const said =
    at === -1
      ? ''
      : Buffer.from(bytes.subarray(at + 1))
          .toString('latin1')
          .trim()
  if (!/^[0-9A-Fa-f]{2}$/.test(said)) return refused('checksum', 'no checksum')
  const computed = xor(bytes, 1, at)
  if (computed !== Number.parseInt(said, 16))
    return refused('checksum', `checksum is ${computed.toString(16).padStart(2, '0')}, sentence says ${said}`)
  const [name = '', ...fields] = Buffer.from(bytes.subarray(1, at)).toString('latin1').split(',')
  const type = bytes[0] === dollar ? kind.exec(name)?.[1] : undefined
  if (type === 'GGA') return gga(fields)
  if (type === 'RMC') return rmc(fields)
  return { kind: 'control', what: name.replace(/[^\x20-\x7e]/g, '?').slice(0, 20) }
}

// A lost newline glues sentences together, and receivers mix binary messages in: each $ or ! starts afresh.
const decode = (line: Uint8Array): readonly Outcome[] => {
  const outcomes: Outcome[] = []
  const isStart = (byte: number | undefined): boolean => byte === dollar || byte === bang
  let start = line.findIndex(isStart)
  if (start === -1) return [refused('layout', `${line.length} bytes without a sentence`)]
  while (start < line.length) {
    let end = start + 1
    while (end < line.length && !isStart(line[end])) end += 1
    outcomes.push(sentence(line.subarray(start, end)))
    start = end
  }
  return outcomes
}

/** Driver for NMEA 0183 receivers of any constellation. Positions are private: signed, but never sold. */
export const nmea: Driver = {
  model: 'nmea',
  title: 'GNSS receiver (NMEA 0183)',
  source: 'NMEA 0183 v4.11, sentences GGA and RMC',
  baudRate: 9600,
  silenceS: 30,
  framing: { kind: 'lines', maxBytes },
  greeting: () => [],
  configure: (settings) => {
    checked('nmea', z.strictObject({}), settings)
    return { decode }
  },
  examples: [
    {
      title: 'RMC with a fix: place, speed and the receiver’s time',
      source: 'pyubx2 tests/pygpsdata-MIXED (BSD-3), captured',
      bytes: utf8('$GNRMC,090802.00,A,5327.03976,N,00214.41006,W,0.144,,220221,,,A,V*09\r\n'),
      outcomes: [
        {
          kind: 'reading',
          timeMs: Date.UTC(2021, 1, 22, 9, 8, 2),
          measurements: [
            { quantity: 'latitude', value: 53 + 27.03976 / 60 },
            { quantity: 'longitude', value: -(2 + 14.41006 / 60) },
            { quantity: 'speed', value: 0.144 * metresPerSecondPerKnot },
          ],
        },
      ],
    },
    {
      title: 'GGA with a fix',
      source: 'pyubx2 tests/pygpsdata-MIXED3 (BSD-3), captured',
      bytes: utf8('$GPGGA,080247.00,5327.04300,N,00214.41385,W,1,07,1.63,36.7,M,48.5,M,,*77\r\n'),
      outcomes: [
        {
          kind: 'reading',
          measurements: [
            { quantity: 'latitude', value: 53 + 27.043 / 60 },
            { quantity: 'longitude', value: -(2 + 14.41385 / 60) },
            { quantity: 'altitude', value: 36.7 },
            { quantity: 'satellites', value: 7 },
            { quantity: 'hdop', value: 1.63 },
          ],
        },
      ],
    },
    {
      title: 'RMC without a fix: no place, never 0,0',
      source: 'constructed',
      bytes: utf8('$GNRMC,,V,,,,,,,,,,N,V*37\r\n'),
      outcomes: [
        { kind: 'reading', measurements: [absent('latitude'), absent('longitude'), absent('speed')] },
      ],
    },
  ],
}
