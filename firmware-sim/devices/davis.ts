/** A Davis Vantage Pro2 console: asleep until it is woken, then it answers, and sends LOOP packets when asked. */
import type { QuantityName } from '../../gateway/reading/quantity.ts'
import type { Absence, Measurement } from '../../gateway/reading/reading.ts'
import { chanceAt } from '../random.ts'
import { gauge, weatherAt } from '../weather.ts'
import type { Conditions } from '../world.ts'
import { answer, commandReader, type Device, type Emission, type Kind } from './device.ts'

// Vantage serial communication reference 2.6.1, sections VI to X.
const newline = 0x0a
const acknowledged = 0x06
const notUnderstood = 0x21
const awakeMs = 120_000
const loopMs = 2_000
const packetBytes = 99
const longestLoop = 65_535
// One waking in so many is slept through: the console comes up, and says nothing.
const sleptThrough = 0.1
// What the wireless sensors outside say is not heard for so long, now and then.
const unheardMs = 10_000
const unheardChance = 0.15

const text = (content: string): Uint8Array => new Uint8Array(Buffer.from(content, 'latin1'))
const wokenUp = text('\n\r')

const crcCcitt = (bytes: Iterable<number>): number => {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff
  }
  return crc
}

const withCrc = (bytes: Uint8Array): Uint8Array => {
  const crc = crcCcitt(bytes)
  return Uint8Array.of(...bytes, crc >> 8, crc & 0xff)
}

const takeLine = (bytes: Uint8Array) => {
  const at = bytes.indexOf(newline)
  return at === -1 ? { drop: 0 } : { drop: at + 1, command: bytes.slice(0, at) }
}

const millimetresPerClick = 0.2
const metresPerMile = 0.44704
const hectopascalPerInch = 33.8638866667

export type DavisOptions = {
  readonly seed: number
  /** Whether it has sensors of sunlight and UV, as a Pro2 Plus. */
  readonly plus?: boolean
  readonly intervalMs?: number
  readonly air: (timeMs: number) => Conditions
}

/** A simulated console with its sensors outside, in that air. */
export const davis = ({ seed, plus = true, intervalMs = 2000, air }: DavisOptions): Device => {
  let awakeUntilMs = Number.NEGATIVE_INFINITY
  let wakings = 0
  let loops = 0
  const read = commandReader(takeLine)
  const fallenMm = gauge(seed)

  const packet = (timeMs: number): Emission => {
    const { temperature, humidity, pressure } = air(timeMs)
    const { windSpeed, windDirection, rainRate } = weatherAt(seed, timeMs)
    const heard = chanceAt(seed, 21, Math.floor(timeMs / unheardMs)) >= unheardChance
    const bytes = Buffer.alloc(packetBytes - 2, 0xff)
    const measurements: Measurement[] = []
    const fahrenheit = (celsius: number): number => Math.round(celsius * 18 + 320)
    const celsius = (tenths: number): number => (tenths - 320) / 18

    /** Puts a number, or dashes, at its place. */
    const put = (
      at: number,
      size: 1 | 2,
      written: number,
      is: { quantity: QuantityName; value: number },
      shown = true,
      dashes = size === 1 ? 0xff : 0xffff,
    ): void => {
      const onWire = shown ? written & (size === 1 ? 0xff : 0xffff) : dashes
      bytes.writeUIntLE(onWire, at, size)
      const absent: Absence = 'no-data'
      measurements.push(shown ? is : { quantity: is.quantity, value: null, absent })
    }

    bytes.set(text('LOO'), 0)
    bytes[3] = 0 // the barometer is steady
    bytes[4] = 0
    bytes.writeUInt16LE(wakings & 0xffff, 5)
    const inches = Math.round((pressure / hectopascalPerInch) * 1000)
    put(7, 2, inches, { quantity: 'pressure', value: inches * (hectopascalPerInch / 1000) })
    const indoors = fahrenheit(20 + temperature / 20)
    put(9, 2, indoors, { quantity: 'indoor_temperature', value: celsius(indoors) })
    put(11, 1, 45, { quantity: 'indoor_humidity', value: 45 })
    const outdoors = fahrenheit(temperature)
    put(12, 2, outdoors, { quantity: 'temperature', value: celsius(outdoors) }, heard, 0x7fff)
    const miles = Math.round(windSpeed / metresPerMile)
    put(14, 1, miles, { quantity: 'wind_speed', value: miles * metresPerMile }, heard)
    bytes[15] = heard ? miles : 0xff
    // North is 360, and no wind has no direction.
    const degrees = miles === 0 ? 0 : Math.round(windDirection) || 360
    put(
      16,
      2,
      degrees,
      { quantity: 'wind_direction', value: degrees },
      heard && miles > 0,
      heard ? 0 : 0x7fff,
    )
    const outside = Math.round(humidity)
    put(33, 1, outside, { quantity: 'humidity', value: outside }, heard)
    const clicks = Math.round(rainRate / millimetresPerClick)
    put(41, 2, clicks, { quantity: 'rain_rate', value: clicks * millimetresPerClick }, heard)
    const light = Math.max(0, Math.sin((((timeMs / 3_600_000) % 24) / 24) * 2 * Math.PI - Math.PI / 2))
    const uv = Math.round(60 * light)
    put(43, 1, uv, { quantity: 'uv_index', value: uv * 0.1 }, plus && heard)
    const watts = Math.round(800 * light)
    put(44, 2, watts, { quantity: 'solar_radiation', value: watts }, plus && heard, 0x7fff)
    // Counted by the console itself: it is there whoever is heard.
    const today = Math.floor(fallenMm(timeMs) / millimetresPerClick)
    put(50, 2, today, { quantity: 'rain_day', value: today * millimetresPerClick })
    bytes.writeUInt16LE(today, 52)
    bytes.writeUInt16LE(today, 54)
    bytes.fill(0, 56, 87)
    const battery = 780 + Math.floor(20 * chanceAt(seed, 22, Math.floor(timeMs / 60_000)))
    put(87, 2, battery, { quantity: 'battery_voltage', value: battery * (300 / 512 / 100) })
    bytes[89] = 6
    bytes[90] = 12
    bytes.writeUInt16LE(625, 91)
    bytes.writeUInt16LE(1920, 93)
    bytes.set(text('\n\r'), 95)
    return { bytes: withCrc(bytes), meant: [{ measurements }] }
  }

  const clock = (timeMs: number): Uint8Array => {
    const now = new Date(timeMs)
    return withCrc(
      Uint8Array.of(
        now.getUTCSeconds(),
        now.getUTCMinutes(),
        now.getUTCHours(),
        now.getUTCDate(),
        now.getUTCMonth() + 1,
        now.getUTCFullYear() - 1900,
      ),
    )
  }

  const obey = (line: string, timeMs: number): readonly Emission[] => {
    if (line === '') return [answer(wokenUp)]
    const count = /^LOOP ([1-9]\d{0,4})$/.exec(line)?.[1]
    if (count !== undefined && Number(count) <= longestLoop) {
      loops = Number(count) - 1
      return [answer(Uint8Array.of(acknowledged)), packet(timeMs)]
    }
    if (line === 'TEST') return [answer(text('TEST\n\r'))]
    if (line === 'VER') return [answer(text('\n\rOK\n\rApr 10 2006\n\r'))]
    if (line === 'NVER') return [answer(text('\n\rOK\n\r1.90\n\r'))]
    if (line === 'GETTIME') return [answer(Uint8Array.of(acknowledged, ...clock(timeMs)))]
    return [answer(Uint8Array.of(notUnderstood))]
  }

  return {
    model: 'davis-vantage',
    settings: { intervalS: Math.max(2, intervalMs / 1000), rainClick: '0.2mm' },
    baudRate: 19_200,
    intervalMs: loopMs,
    speak: (timeMs) => {
      if (loops === 0) return undefined
      loops -= 1
      awakeUntilMs = timeMs + awakeMs
      return packet(timeMs)
    },
    hear: (bytes, timeMs) => {
      if (bytes.length === 0) return []
      // Whatever comes ends the packets that are still to be sent.
      loops = 0
      const asleep = timeMs > awakeUntilMs
      awakeUntilMs = timeMs + awakeMs
      if (!asleep) return read(bytes).flatMap((line) => obey(Buffer.from(line).toString('latin1'), timeMs))
      // What is said to a console that sleeps wakes it, and is lost.
      wakings += 1
      read(Uint8Array.of(newline))
      return bytes.includes(newline) && chanceAt(seed, 23, wakings) >= sleptThrough ? [answer(wokenUp)] : []
    },
    powerOn: () => {
      awakeUntilMs = Number.NEGATIVE_INFINITY
      loops = 0
      return []
    },
  }
}

/** A Pro2, with sensors of sunlight in every second station. */
export const davisKind: Kind = {
  sensor: 'davis',
  make: ({ seed, place, airAt, intervalMs }) =>
    davis({ seed, plus: chanceAt(seed, 2) < 0.5, intervalMs, air: airAt(place) }),
}
