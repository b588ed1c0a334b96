/** A u-blox receiver: NMEA until it is told to speak UBX; somebody disturbs or forges what it hears now and then. */
import type { QuantityName } from '../../gateway/reading/quantity.ts'
import type { Measurement } from '../../gateway/reading/reading.ts'
import { chanceAt, pick } from '../random.ts'
import type { Place } from '../world.ts'
import { answer, commandReader, type Device, type Emission, type Kind, type Meant } from './device.ts'
import { sentence } from './gnss.ts'

// u-blox M10 SPG 5.10 interface description UBX-21035062, M8 UBX-13003221.
const outputs = ['navPvt', 'monHw', 'monRf', 'secSig'] as const
type Output = (typeof outputs)[number]
const identities = { navPvt: 0x0107, monHw: 0x0a09, monRf: 0x0a38, secSig: 0x2709 } as const satisfies Record<
  Output,
  number
>
// CFG-MSGOUT-UBX_* on UART1, which it is wired to, and on USB.
const keys: ReadonlyMap<number, { readonly output: Output; readonly wired: boolean }> = new Map([
  [0x20910007, { output: 'navPvt', wired: true }],
  [0x20910009, { output: 'navPvt', wired: false }],
  [0x2091035a, { output: 'monRf', wired: true }],
  [0x2091035c, { output: 'monRf', wired: false }],
  [0x20910635, { output: 'secSig', wired: true }],
  [0x20910637, { output: 'secSig', wired: false }],
])
const setMessage = 0x0601
const setValues = 0x068a
const version = 0x0a04
const ack = 1
const nak = 0
const longestCommand = 96

/** What each generation sends, and which of the two ways of configuring it understands. */
const generations = {
  m8: { sends: ['navPvt', 'monHw'], messages: true, values: false, bands: 1, secSig: 0 },
  // Before SPG 5.20 it knows nothing of SEC-SIG.
  m10: { sends: ['navPvt', 'monRf'], messages: false, values: true, bands: 1, secSig: 0 },
  'm10-5.20': { sends: ['navPvt', 'monRf', 'secSig'], messages: false, values: true, bands: 1, secSig: 2 },
  f9: { sends: ['navPvt', 'monRf', 'secSig'], messages: true, values: true, bands: 2, secSig: 1 },
} as const satisfies Record<
  string,
  {
    readonly sends: readonly Output[]
    readonly messages: boolean
    readonly values: boolean
    readonly bands: number
    readonly secSig: 0 | 1 | 2
  }
>

export type Generation = keyof typeof generations

const fletcher = (bytes: Iterable<number>): readonly [number, number] => {
  let a = 0
  let b = 0
  for (const byte of bytes) {
    a = (a + byte) & 0xff
    b = (b + a) & 0xff
  }
  return [a, b]
}

const framed = (identity: number, payload: Uint8Array): Uint8Array => {
  const body = [identity >> 8, identity & 0xff, payload.length & 0xff, payload.length >> 8, ...payload]
  return Uint8Array.of(0xb5, 0x62, ...body, ...fletcher(body))
}

const takeCommand = (bytes: Uint8Array) => {
  if (bytes[0] !== 0xb5 || (bytes.length > 1 && bytes[1] !== 0x62)) return { drop: 1 }
  if (bytes.length < 6) return { drop: 0 }
  const end = 8 + (bytes[4]! | (bytes[5]! << 8))
  if (end > longestCommand) return { drop: 1 }
  if (bytes.length < end) return { drop: 0 }
  const [a, b] = fletcher(bytes.subarray(2, end - 2))
  return a === bytes[end - 2] && b === bytes[end - 1]
    ? { drop: end, command: bytes.slice(2, end - 2) }
    : { drop: 1 }
}

// How bad the sky is changes slowly: 1 none, 2 a warning, 3 critical (jamming) or affirmed (spoofing).
const troubleMs = 15_000
const trouble = (chance: number): 1 | 2 | 3 => (chance < 0.08 ? 3 : chance < 0.2 ? 2 : 1)

const absent = (quantity: QuantityName): Measurement => ({ quantity, value: null, absent: 'no-data' })

export type UbloxOptions = {
  readonly seed: number
  readonly place: Place
  readonly generation?: Generation
  readonly intervalMs?: number
}

/** A simulated receiver that stands at a place; what it is told is lost with its power. */
export const ublox = ({ seed, place, generation = 'm10', intervalMs = 1000 }: UbloxOptions): Device => {
  const kind = generations[generation]
  const sends: readonly Output[] = kind.sends
  const commands = commandReader(takeCommand)
  let rates = new Map<Output, number>()
  let fixes = 0

  const sky = (timeMs: number) => {
    const slot = Math.floor(timeMs / troubleMs)
    return { jamming: trouble(chanceAt(seed, 41, slot)), spoofing: trouble(chanceAt(seed, 42, slot)) }
  }

  const navPvt = (timeMs: number): Emission => {
    const jitter = (salt: number): number => chanceAt(seed, salt, Math.floor(timeMs / 1000)) - 0.5
    // Under heavy jamming there is no fix; with a light one, often no height.
    const { jamming } = sky(timeMs)
    const fixType = jamming === 3 ? 0 : jamming === 2 ? 2 : 3
    const now = new Date(timeMs)
    const written = {
      longitude: Math.round((place.longitude + jitter(2) * 4e-5) * 1e7),
      latitude: Math.round((place.latitude + jitter(1) * 4e-5) * 1e7),
      altitude: Math.round((place.altitudeM + jitter(3) * 6) * 1000),
      speed: Math.round((jitter(6) + 0.5) * 50),
      satellites: fixType === 0 ? 0 : fixType === 2 ? 4 : 12 + Math.floor((jitter(4) + 0.5) * 8),
      accuracy: Math.round(1500 + 1000 * jitter(5) + (fixType === 2 ? 12_000 : 0)),
      timeAccuracy: Math.round(30 + 10 * jitter(7)),
    }
    const payload = Buffer.alloc(92)
    payload.writeUInt32LE(timeMs % 604_800_000, 0)
    payload.writeUInt16LE(now.getUTCFullYear(), 4)
    payload.set(
      [
        now.getUTCMonth() + 1,
        now.getUTCDate(),
        now.getUTCHours(),
        now.getUTCMinutes(),
        now.getUTCSeconds(),
        0x37, // date, time and magnetic declination are valid, and fully resolved
      ],
      6,
    )
    payload.writeUInt32LE(written.timeAccuracy, 12)
    payload.writeInt32LE(now.getUTCMilliseconds() * 1e6, 16)
    payload.set([fixType, fixType === 0 ? 0 : 1, 0x0a, written.satellites], 20)
    payload.writeInt32LE(written.longitude, 24)
    payload.writeInt32LE(written.latitude, 28)
    payload.writeInt32LE(written.altitude + 40_000, 32)
    payload.writeInt32LE(written.altitude, 36)
    payload.writeUInt32LE(written.accuracy, 40)
    payload.writeUInt32LE(2 * written.accuracy, 44)
    payload.writeInt32LE(written.speed, 60)
    payload.writeUInt16LE(150, 76)
    const fixed = (quantity: QuantityName, value: number, known = fixType !== 0): Measurement =>
      known ? { quantity, value } : absent(quantity)
    return {
      bytes: framed(identities.navPvt, payload),
      meant: [
        {
          measurements: [
            fixed('latitude', written.latitude / 1e7),
            fixed('longitude', written.longitude / 1e7),
            fixed('altitude', written.altitude / 1000, fixType === 3),
            fixed('speed', written.speed / 1000),
          ],
        },
        {
          node: 'fix',
          measurements: [
            { quantity: 'satellites', value: written.satellites },
            fixed('horizontal_accuracy', written.accuracy / 1000),
            { quantity: 'time_accuracy', value: written.timeAccuracy },
          ],
        },
      ],
    }
  }

  const received = (timeMs: number) => {
    const { jamming } = sky(timeMs)
    const noise = Math.floor(60 * chanceAt(seed, 43, Math.floor(timeMs / 1000)))
    return { jamming, noise: 80 + noise + 40 * (jamming - 1), agc: 4200 - 900 * jamming + noise }
  }
  const indicatorOf = (jamming: number): number => [5, 70, 255][jamming - 1]!
  const rf = (jamming: number, noise: number, agc: number): readonly Meant[] => [
    {
      node: 'rf',
      measurements: [
        { quantity: 'noise_floor', value: noise },
        { quantity: 'agc', value: agc },
        { quantity: 'jamming_state', value: jamming },
        { quantity: 'jamming_indicator', value: indicatorOf(jamming) },
      ],
    },
  ]

  const monHw = (timeMs: number): Emission => {
    const { jamming, noise, agc } = received(timeMs)
    const payload = Buffer.alloc(60)
    payload.writeUInt16LE(noise, 16)
    payload.writeUInt16LE(agc, 18)
    payload.set([2, 1, 0x01 | (jamming << 2)], 20)
    payload[45] = indicatorOf(jamming)
    return { bytes: framed(identities.monHw, payload), meant: rf(jamming, noise, agc) }
  }

  const monRf = (timeMs: number): Emission => {
    const { jamming, noise, agc } = received(timeMs)
    const payload = Buffer.alloc(4 + 24 * kind.bands)
    payload[1] = kind.bands
    for (let band = 0; band < kind.bands; band += 1) {
      // Whoever disturbs L1 is not heard on L2.
      const [state, quieter] = band === 0 ? [jamming, 0] : [1, 10]
      const start = 4 + 24 * band
      payload.set([band, state, 2, 1], start)
      payload.writeUInt16LE(noise - quieter, start + 12)
      payload.writeUInt16LE(agc - quieter, start + 14)
      payload[start + 16] = indicatorOf(state)
    }
    return { bytes: framed(identities.monRf, payload), meant: rf(jamming, noise, agc) }
  }

  const secSig = (timeMs: number): Emission => {
    const { jamming, spoofing } = sky(timeMs)
    const [l1, glonass] = [1_575_420, 1_602_000]
    const payload = Buffer.alloc(12)
    if (kind.secSig === 1) payload.set([1, 0, 0, 0, 1 | (jamming << 1), 0, 0, 0, 1 | (spoofing << 1)])
    else {
      payload.set([2, 1 | (jamming << 1) | (1 << 3) | (spoofing << 4), 0, 2])
      payload.writeUInt32LE((l1 | (jamming > 1 ? 1 << 24 : 0)) >>> 0, 4)
      payload.writeUInt32LE(glonass, 8)
    }
    return {
      bytes: framed(identities.secSig, payload),
      meant: [
        {
          node: 'sec',
          measurements: [
            { quantity: 'jamming_state', value: jamming },
            { quantity: 'spoofing_state', value: spoofing },
          ],
        },
      ],
    }
  }

  const messages: Readonly<Record<Output, (timeMs: number) => Emission>> = { navPvt, monHw, monRf, secSig }
  const named = (identity: number): Output | undefined =>
    sends.find((output) => identities[output] === identity)

  /** CFG-VALSET: one key that is not known, and nothing of it is done. */
  const setAll = (payload: Uint8Array): boolean => {
    // version, layers (RAM is bit 0), reserved; then a key of four bytes, and one byte for these.
    if (!kind.values || payload.length < 4 || payload[0] !== 0 || (payload.length - 4) % 5 !== 0) return false
    const view = new DataView(payload.buffer, payload.byteOffset)
    const wanted: (readonly [Output, number])[] = []
    for (let at = 4; at < payload.length; at += 5) {
      const key = keys.get(view.getUint32(at, true))
      if (!key || !sends.includes(key.output)) return false
      if (key.wired) wanted.push([key.output, payload[at + 4]!])
    }
    if ((payload[1]! & 1) === 1) for (const [output, rate] of wanted) rates.set(output, rate)
    return true
  }

  /** CFG-MSG: one message on the port that it came in by, or on all six. */
  const setOne = (payload: Uint8Array): boolean => {
    const output = named((payload[0]! << 8) | payload[1]!)
    if (!kind.messages || !output || (payload.length !== 3 && payload.length !== 8)) return false
    rates.set(output, payload.length === 3 ? payload[2]! : payload[3]!)
    return true
  }

  const obey = (command: Uint8Array, timeMs: number): readonly Emission[] => {
    const identity = (command[0]! << 8) | command[1]!
    const payload = command.slice(4)
    const acknowledgement = (good: boolean): readonly Emission[] => [
      answer(framed(0x0500 | (good ? ack : nak), command.slice(0, 2))),
    ]
    if (identity === setValues) return acknowledgement(setAll(payload))
    if (identity === setMessage) return acknowledgement(setOne(payload))
    if (payload.length > 0) return []
    const polled = named(identity)
    if (polled) return [messages[polled](timeMs)]
    if (identity !== version) return []
    const text = Buffer.alloc(40)
    text.write('EXT CORE 1.00 (simulated)', 0, 'latin1')
    text.write('000A0000', 30, 'latin1')
    return [answer(framed(version, text))]
  }

  return {
    model: 'ubx',
    settings: {},
    baudRate: 38_400,
    intervalMs,
    speak: (timeMs) => {
      fixes += 1
      const due = outputs.filter((output) => {
        const rate = rates.get(output) ?? 0
        return rate > 0 && fixes % rate === 0
      })
      const said = due.map((output) => messages[output](timeMs))
      // NMEA goes on beside it: nobody has switched it off.
      return {
        bytes: new Uint8Array(
          Buffer.concat([
            Buffer.from(sentence('GNTXT,01,01,02,simulated')),
            ...said.map(({ bytes }) => bytes),
          ]),
        ),
        meant: said.flatMap(({ meant }) => meant),
      }
    },
    hear: (bytes, timeMs) => commands(bytes).flatMap((command) => obey(command, timeMs)),
    powerOn: () => {
      rates = new Map()
      fixes = 0
      return [answer(new Uint8Array(Buffer.from(sentence('GNTXT,01,01,02,u-blox AG - www.u-blox.com'))))]
    },
  }
}

/** A receiver of one of four generations, where the station stands. */
export const ubloxKind: Kind = {
  sensor: 'ublox',
  make: ({ seed, place, intervalMs }) =>
    ublox({ seed, place, intervalMs, generation: pick(Object.keys(generations) as Generation[], seed) }),
}
