/** u-blox GNSS receivers in their own binary protocol: place and time, and whether somebody disturbs or forges them. */
import { z } from 'zod'
import type { QuantityName } from '../reading/quantity.ts'
import type { Measurement } from '../reading/reading.ts'
import { hex } from './bytes.ts'
import type { Cut, Driver, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

const model = 'ubx'

// b5 62 | class | id | payload length u16 | payload | checksum of all between, two bytes (RFC 1145 Fletcher-8);
// little-endian. u-blox M10 SPG 5.10 interface description UBX-21035062, M8 UBX-13003221.
const sync = [0xb5, 0x62] as const
const overhead = 8
const payloadAt = 6
// The longest that is read here is a SEC-SIG with many frequencies; longer ones are skipped by their length.
const maxPayload = 512
const maxBytes = overhead + maxPayload

const messages = {
  navPvt: 0x0107,
  monHw: 0x0a09,
  monRf: 0x0a38,
  secSig: 0x2709,
  ack: 0x0501,
  nak: 0x0500,
} as const

const checksum = (bytes: Uint8Array, start: number, end: number): readonly [a: number, b: number] => {
  let a = 0
  let b = 0
  for (let at = start; at < end; at += 1) {
    a = (a + bytes[at]!) & 0xff
    b = (b + a) & 0xff
  }
  return [a, b]
}

const isWhole = (bytes: Uint8Array, start: number, end: number): boolean => {
  const [a, b] = checksum(bytes, start + 2, end - 2)
  return bytes[end - 2] === a && bytes[end - 1] === b
}

const syncAt = (bytes: Uint8Array, from: number, end: number): number => {
  for (let at = bytes.indexOf(sync[0], from); at !== -1 && at < end; at = bytes.indexOf(sync[0], at + 1))
    if (at + 1 >= bytes.length || bytes[at + 1] === sync[1]) return at
  return end
}

// A payload may contain the sync bytes: only length and checksum tell where a message ends.
const cut = (bytes: Uint8Array, from: number): Cut => {
  const start = syncAt(bytes, from, bytes.length)
  if (start > from) return { kind: 'skip', to: start }
  if (bytes.length - start < payloadAt) return { kind: 'wait' }
  const length = bytes[start + 4]! | (bytes[start + 5]! << 8)
  if (length > maxPayload) return { kind: 'skip', to: start + 2 }
  const end = start + overhead + length
  if (bytes.length < end) return { kind: 'wait' }
  if (isWhole(bytes, start, end)) return { kind: 'frame', start, end }
  const next = syncAt(bytes, start + 2, end)
  return { kind: 'frame', start, end: next }
}

/** A command with its frame around. */
const framed = (messageClass: number, id: number, payload: readonly number[]): Uint8Array => {
  const body = [messageClass, id, payload.length & 0xff, payload.length >> 8, ...payload]
  const bytes = Uint8Array.of(...sync, ...body, 0, 0)
  const [a, b] = checksum(bytes, 2, bytes.length - 2)
  bytes.set([a, b], bytes.length - 2)
  return bytes
}

// CFG-VALSET (M9, M10) in RAM, lost with its power: CFG-MSGOUT-UBX_* on UART1 and USB, one message so many fixes.
const u32 = (value: number): number[] => [
  value & 0xff,
  (value >> 8) & 0xff,
  (value >> 16) & 0xff,
  (value >>> 24) & 0xff,
]
const messageOut = {
  navPvt: [0x20910007, 0x20910009],
  monRf: [0x2091035a, 0x2091035c],
  secSig: [0x20910635, 0x20910637],
} as const
const valset = (keys: readonly number[], rate: number): Uint8Array =>
  framed(0x06, 0x8a, [0, 0x01, 0, 0, ...keys.flatMap((key) => [...u32(key), rate])])
// CFG-MSG (M8): one message on the port that it came in by.
const rateOf = (message: number, rate: number): Uint8Array =>
  framed(0x06, 0x01, [message >> 8, message & 0xff, rate])

// Whether somebody disturbs reception changes slowly: once in ten fixes is enough.
const integrityRate = 10

const greeting = [
  valset(messageOut.navPvt, 1),
  // One that does not know SEC-SIG refuses the whole command: they are sent one by one.
  valset(messageOut.monRf, integrityRate),
  valset(messageOut.secSig, integrityRate),
  rateOf(messages.navPvt, 1),
  rateOf(messages.monHw, integrityRate),
]

const fix = { none: 0, deadReckoning: 1, twoD: 2, threeD: 3, combined: 4, timeOnly: 5 } as const
const placed: ReadonlySet<number> = new Set([fix.twoD, fix.threeD, fix.combined])

const absent = (quantity: QuantityName): Measurement => ({ quantity, value: null, absent: 'no-data' })

const refused = (reason: 'checksum' | 'length', detail: string): readonly Outcome[] => [
  { kind: 'refused', reason, detail },
]

/** UTC milliseconds of a NAV-PVT whose date and time are valid and resolved. */
const momentOf = (view: DataView): number | undefined => {
  const valid = view.getUint8(11)
  if ((valid & 0x07) !== 0x07) return undefined
  const seconds = Date.UTC(
    view.getUint16(4, true),
    view.getUint8(6) - 1,
    view.getUint8(7),
    view.getUint8(8),
    view.getUint8(9),
    view.getUint8(10),
  )
  return Math.round(seconds + view.getInt32(16, true) / 1e6)
}

const navPvt = (view: DataView): readonly Outcome[] => {
  if (view.byteLength < 84) return refused('length', `NAV-PVT of ${view.byteLength} bytes`)
  const good = (view.getUint8(21) & 1) === 1 && placed.has(view.getUint8(20))
  const timeMs = momentOf(view)
  const time = timeMs === undefined ? {} : { timeMs }
  const fixed = (quantity: QuantityName, value: number): Measurement =>
    good ? { quantity, value } : absent(quantity)
  // Places are private, and what is in one envelope with them is never sold: the rest is a reading of its own.
  return [
    {
      kind: 'reading',
      ...time,
      measurements: [
        fixed('latitude', view.getInt32(28, true) / 1e7),
        fixed('longitude', view.getInt32(24, true) / 1e7),
        view.getUint8(20) === fix.twoD
          ? absent('altitude')
          : fixed('altitude', view.getInt32(36, true) / 1000),
        fixed('speed', view.getInt32(60, true) / 1000),
      ],
    },
    {
      kind: 'reading',
      node: 'fix',
      ...time,
      measurements: [
        { quantity: 'satellites', value: view.getUint8(23) },
        fixed('horizontal_accuracy', view.getUint32(40, true) / 1000),
        timeMs === undefined
          ? absent('time_accuracy')
          : { quantity: 'time_accuracy', value: view.getUint32(12, true) },
      ],
    },
  ]
}

const integrity = (measurements: readonly Measurement[]): readonly Outcome[] => [
  { kind: 'reading', node: 'rf', measurements },
]

const monHw = (view: DataView): readonly Outcome[] =>
  view.byteLength < 60
    ? refused('length', `MON-HW of ${view.byteLength} bytes`)
    : integrity([
        { quantity: 'noise_floor', value: view.getUint16(16, true) },
        { quantity: 'agc', value: view.getUint16(18, true) },
        { quantity: 'jamming_state', value: (view.getUint8(22) >> 2) & 3 },
        { quantity: 'jamming_indicator', value: view.getUint8(45) },
      ])

const blockBytes = 24

// One block for each antenna path: the worst of them counts.
const monRf = (view: DataView): readonly Outcome[] => {
  const blocks = view.byteLength >= 4 ? view.getUint8(1) : 0
  if (blocks === 0 || view.byteLength < 4 + blocks * blockBytes)
    return refused('length', `MON-RF of ${view.byteLength} bytes`)
  const starts = Array.from({ length: blocks }, (_, index) => 4 + index * blockBytes)
  const most = (of: (start: number) => number): number => Math.max(...starts.map(of))
  return integrity([
    { quantity: 'noise_floor', value: most((start) => view.getUint16(start + 12, true)) },
    { quantity: 'agc', value: most((start) => view.getUint16(start + 14, true)) },
    { quantity: 'jamming_state', value: most((start) => view.getUint8(start + 1) & 3) },
    { quantity: 'jamming_indicator', value: most((start) => view.getUint8(start + 16)) },
  ])
}

const secSig = (view: DataView): readonly Outcome[] => {
  const version = view.byteLength >= 12 ? view.getUint8(0) : 0
  const of = (jamming: number, spoofing: number): readonly Outcome[] => [
    {
      kind: 'reading',
      node: 'sec',
      measurements: [
        { quantity: 'jamming_state', value: jamming },
        { quantity: 'spoofing_state', value: spoofing },
      ],
    },
  ]
  if (version === 1) return of((view.getUint8(4) >> 1) & 3, (view.getUint8(8) >> 1) & 7)
  if (version === 2) return of((view.getUint8(1) >> 1) & 3, (view.getUint8(1) >> 4) & 7)
  return refused('length', `SEC-SIG of version ${version} and ${view.byteLength} bytes`)
}

const decode = (frame: Uint8Array): readonly Outcome[] => {
  if (frame.length < overhead || frame[0] !== sync[0] || frame[1] !== sync[1])
    return refused('length', `${frame.length} bytes are no whole message`)
  const length = frame[4]! | (frame[5]! << 8)
  if (frame.length !== overhead + length)
    return refused(
      'length',
      `${length} bytes announced, ${frame.length - overhead} came before the next message`,
    )
  if (!isWhole(frame, 0, frame.length)) return refused('checksum', 'the checksum is wrong')
  const view = new DataView(frame.buffer, frame.byteOffset + payloadAt, length)
  const id = (frame[2]! << 8) | frame[3]!
  switch (id) {
    case messages.navPvt:
      return navPvt(view)
    case messages.monHw:
      return monHw(view)
    case messages.monRf:
      return monRf(view)
    case messages.secSig:
      return secSig(view)
    case messages.ack:
      return [{ kind: 'control', what: 'acknowledged' }]
    case messages.nak:
      return [{ kind: 'control', what: 'a message that this receiver does not know' }]
    default:
      return [{ kind: 'control', what: `message ${id.toString(16).padStart(4, '0')}` }]
  }
}

/** Driver for u-blox M8, M9, M10 and F9 receivers. NMEA on the same wire does no harm. */
export const ubx: Driver = {
  model,
  title: 'u-blox GNSS receiver (UBX: place, time, jamming and spoofing)',
  source: 'u-blox M10 SPG 5.10 interface description UBX-21035062, M8 UBX-13003221',
  baudRate: 38_400,
  silenceS: 30,
  framing: { kind: 'cut', maxBytes, cut },
  greeting: () => greeting,
  configure: (settings) => {
    checked(model, z.strictObject({}), settings)
    return { decode }
  },
  examples: [
    {
      title: 'MON-RF under heavy jamming',
      source: 'pyubx2 tests/pygpsdata-MON.log (BSD-3), captured',
      bytes: hex('b5620a381c00000100000003020100000000000000005c007c05ff1aa317a3000000b8c5'),
      outcomes: [
        {
          kind: 'reading',
          node: 'rf',
          measurements: [
            { quantity: 'noise_floor', value: 92 },
            { quantity: 'agc', value: 1404 },
            { quantity: 'jamming_state', value: 3 },
            { quantity: 'jamming_indicator', value: 255 },
          ],
        },
      ],
    },
    {
      title: 'SEC-SIG version 1: a warning of jamming, spoofing affirmed',
      source: 'pyubx2 tests/test_stream.py (BSD-3), captured',
      bytes: hex('b56227090c0001000000050000000700000049ef'),
      outcomes: [
        {
          kind: 'reading',
          node: 'sec',
          measurements: [
            { quantity: 'jamming_state', value: 2 },
            { quantity: 'spoofing_state', value: 3 },
          ],
        },
      ],
    },
  ],
}
