/** A Vaisala WXT530: ASCII messages when asked, or each by itself; with checksums where they are wanted. */
import type { QuantityName } from '../../gateway/reading/quantity.ts'
import type { Measurement } from '../../gateway/reading/reading.ts'
import { chanceAt, pick } from '../random.ts'
import { gauge, weatherAt } from '../weather.ts'
import type { Conditions } from '../world.ts'
import { commandLines, lines, says } from './command-lines.ts'
import type { Device, Emission, Kind } from './device.ts'

// WXT530 user guide M211840EN: aR1 wind, aR2 air, aR3 rain and hail, aR5 supervision, aR0 all of them; in lower case
// the same with a checksum. aXU,M= chooses how it speaks: P when asked, A by itself, lower case with checksums.
const modes = ['P', 'p', 'A', 'a'] as const
const isAutomatic = (mode: Mode): boolean => mode === 'A' || mode === 'a'
const questions = ['0', '1', '2', '3', '5'] as const
const automatic = ['1', '2', '3', '5'] as const
// Ice or a bird before the wind transducers: what they say is marked as not valid for so long.
const frozenMs = 20_000
const frozenChance = 0.1

export type Mode = (typeof modes)[number]

/** CRC-16 in three characters of six bits (user guide, appendix on CRC-16). */
const checksum = (text: string): string => {
  let crc = 0
  for (const byte of Buffer.from(text, 'latin1')) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1
  }
  return String.fromCharCode(0x40 | (crc >> 12), 0x40 | ((crc >> 6) & 0x3f), 0x40 | (crc & 0x3f))
}

// A field as it is printed, and what is read from it; undefined where nobody reads it.
type Field = { readonly text: string; readonly measurement?: Measurement }

const field = (
  name: string,
  value: number,
  decimals: number,
  unit: string,
  quantity?: QuantityName,
): Field => {
  const written = value.toFixed(decimals)
  const text = `${name}=${written}${unit}`
  if (quantity === undefined) return { text }
  return {
    text,
    measurement:
      unit === '#' ? { quantity, value: null, absent: 'device-error' } : { quantity, value: Number(written) },
  }
}

const three = (value: number): string => String(Math.round(value) % 360).padStart(3, '0')

export type VaisalaOptions = {
  readonly seed: number
  readonly mode?: Mode
  /** One character, a digit or letter. */
  readonly address?: string
  readonly intervalMs?: number
  readonly air: (timeMs: number) => Conditions
}

/** A simulated transmitter in that air; how it speaks and what it is called are kept without power. */
export const vaisala = ({
  seed,
  mode: setMode = 'P',
  address: setAddress = '0',
  intervalMs = 1000,
  air,
}: VaisalaOptions): Device => {
  let mode = setMode
  let address = setAddress
  let clearedMm = 0
  const commands = commandLines()
  const fallenMm = gauge(seed)

  const fieldsOf = (question: string, timeMs: number): readonly Field[] => {
    const { temperature, humidity, pressure } = air(timeMs)
    const { windSpeed, windGust, windDirection, rainRate } = weatherAt(seed, timeMs)
    const frozen = chanceAt(seed, 11, Math.floor(timeMs / frozenMs)) < frozenChance
    const [degrees, metres] = frozen ? ['#', '#'] : ['D', 'M']
    const direction: Field = {
      text: `Dm=${three(windDirection)}${degrees}`,
      measurement: frozen
        ? { quantity: 'wind_direction', value: null, absent: 'device-error' }
        : { quantity: 'wind_direction', value: Number(three(windDirection)) },
    }
    const groups: Readonly<Record<string, readonly Field[]>> = {
      '1': [
        { text: `Dn=${three(windDirection + 340)}${degrees}` },
        direction,
        { text: `Dx=${three(windDirection + 20)}${degrees}` },
        field('Sn', windSpeed * 0.7, 1, metres),
        field('Sm', windSpeed, 1, metres, 'wind_speed'),
        field('Sx', windGust, 1, metres, 'wind_gust'),
      ],
      '2': [
        field('Ta', temperature, 1, 'C', 'temperature'),
        field('Ua', humidity, 1, 'P', 'humidity'),
        field('Pa', pressure, 1, 'H', 'pressure'),
      ],
      '3': [
        field('Rc', Math.max(0, fallenMm(timeMs) - clearedMm), 2, 'M', 'rain_total'),
        { text: `Rd=${rainRate > 0 ? 10 : 0}s` },
        field('Ri', rainRate, 1, 'M', 'rain_rate'),
        field('Hc', 0, 1, 'M', 'hail'),
        { text: 'Hd=0s' },
        field('Hi', 0, 1, 'M'),
      ],
      '5': [
        field('Th', temperature + 0.4, 1, 'C'),
        field('Vh', 12.1, 1, 'N'),
        field('Vs', 12 + 0.3 * chanceAt(seed, 12, Math.floor(timeMs / 60_000)), 1, 'V', 'battery_voltage'),
        field('Vr', 3.498, 3, 'V'),
        { text: 'Id=HEL___' },
      ],
    }
    return question === '0' ? automatic.flatMap((one) => groups[one]!) : groups[question]!
  }

  const message = (question: string, withChecksum: boolean, timeMs: number): Emission => {
    const fields = fieldsOf(question, timeMs)
    const text = [`${address}${withChecksum ? 'r' : 'R'}${question}`, ...fields.map((one) => one.text)].join(
      ',',
    )
    const measurements = fields.flatMap(({ measurement }) => (measurement ? [measurement] : []))
    return { bytes: lines(withChecksum ? text + checksum(text) : text), meant: [{ measurements }] }
  }

  const configure = (text: string): Emission => {
    const [name = '', value = '', ...rest] = text.split('=')
    const wanted = modes.find((one) => one === value)
    if (name === 'M' && wanted && rest.length === 0) mode = wanted
    else if (name === 'A' && /^[0-9A-Za-z]$/.test(value)) address = value
    else if (text !== '') return says(`${address}TX,Unknown cmd error`)
    return says(
      text === '' ? `${address}XU,A=${address},M=${mode},C=2,B=19200,N=WXT530` : `${address}XU,${text}`,
    )
  }

  const obey = (text: string, timeMs: number): readonly Emission[] => {
    if (text === '?') return [says(address)]
    // One of many on a bus: what is said to another is none of its business.
    if (text[0] !== address) return []
    const order = text.slice(1)
    if (order === '') return [says(address)]
    const asked = questions.find((one) => order === `R${one}`)
    if (asked) return [message(asked, false, timeMs)]
    const checked = questions.find((one) => order.startsWith(`r${one}`))
    if (checked) {
      if (order.slice(2) === checksum(text.slice(0, 3))) return [message(checked, true, timeMs)]
      const refusal = `${address}tX,Use chksum ${checksum(text.slice(0, 3))}`
      return [says(refusal + checksum(refusal))]
    }
    if (order === 'XZRU') {
      clearedMm = fallenMm(timeMs)
      return [says(`${address}TX,Rain reset`)]
    }
    if (order === 'XU' || order.startsWith('XU,')) return [configure(order.slice(3))]
    return [says(`${address}TX,${order.startsWith('R') ? 'Unknown cmd' : 'Sync/address'} error`)]
  }

  return {
    model: 'vaisala-wxt',
    settings: { address: setAddress, intervalS: isAutomatic(setMode) ? 0 : intervalMs / 1000 },
    baudRate: 19_200,
    intervalMs,
    speak: (timeMs) => {
      if (!isAutomatic(mode)) return undefined
      const said = automatic.map((one) => message(one, mode === 'a', timeMs))
      return {
        bytes: new Uint8Array(Buffer.concat(said.map(({ bytes }) => bytes))),
        meant: said.flatMap(({ meant }) => meant),
      }
    },
    hear: (bytes, timeMs) => commands(bytes).flatMap((text) => obey(text, timeMs)),
    // Its counter of rain does not outlive a power cut.
    powerOn: (timeMs) => {
      clearedMm = fallenMm(timeMs)
      return isAutomatic(mode) ? [says(`${address}TX,Start-up`)] : []
    },
  }
}

/** A transmitter that is asked, or speaks by itself, with checksums in every third station. */
export const vaisalaKind: Kind = {
  sensor: 'wxt',
  make: ({ seed, place, airAt, intervalMs }) =>
    vaisala({ seed, mode: pick(['P', 'A', 'a'] as const, seed), intervalMs, air: airAt(place) }),
}
