/** Plantower PMS particle sensors: PMS1003, 3003, 5003, 7003, A003, 5003T, 5003S and 5003ST. */
import { z } from 'zod'
import type { QuantityName } from '../reading/quantity.ts'
import type { Measurement } from '../reading/reading.ts'
import { hex, sum } from './bytes.ts'
import { dutyCycle, dutyCycleSetting, type Phase } from './duty-cycle.ts'
import type { Cut, Driver, Example, Outcome } from './sensors.ts'
import { checked } from './settings.ts'

// 42 4d | length of what follows, u16 | data words, u16 each | sum of all bytes before, u16; all big-endian.
// Words 0..2 hold mass under factory calibration (CF=1, meant for industrial dust) and are not reported.
const header = [0x42, 0x4d] as const
const lengthAt = 2
const dataAt = 4

const acknowledgement = 0x04
const lengths: ReadonlySet<number> = new Set([acknowledgement, 0x14, 0x1c, 0x24])

type Word = readonly [word: number, quantity: QuantityName, divisor: number, signed?: 'signed']

const mass: readonly Word[] = [
  [3, 'pm1', 1],
  [4, 'pm2_5', 1],
  [5, 'pm10', 1],
]
const fineCounts: readonly Word[] = [
  [6, 'n0_3', 1],
  [7, 'n0_5', 1],
  [8, 'n1', 1],
  [9, 'n2_5', 1],
]
const coarseCounts: readonly Word[] = [
  [10, 'n5', 1],
  [11, 'n10', 1],
]

type Layout = {
  readonly length: number
  readonly particles: readonly Word[]
  readonly climate: readonly Word[]
  /** Word of formaldehyde in thousandths of a mg/m³, where the variant measures it. */
  readonly formaldehyde?: Word
  /** Byte of the error code, where the variant has one. */
  readonly errorAt?: number
}

const formaldehyde: Word = [12, 'formaldehyde', 1000]

// Manuals: PMS3003 (2014), PMS5003 V2.3, PMS7003 V2.5, PMS5003T/S/ST. The frame does not tell 5003 from T or S.
const plain: Layout = {
  length: 0x1c,
  particles: [...mass, ...fineCounts, ...coarseCounts],
  climate: [],
  errorAt: dataAt + 25,
}
const layouts = {
  pms1003: plain,
  pms3003: { length: 0x14, particles: mass, climate: [] },
  pms5003: plain,
  pms7003: plain,
  pmsa003: plain,
  pms5003t: {
    length: 0x1c,
    particles: [...mass, ...fineCounts],
    climate: [
      [10, 'temperature', 10, 'signed'],
      [11, 'humidity', 10],
    ],
    errorAt: dataAt + 25,
  },
  // Word 12 is formaldehyde here, in place of version and error code.
  pms5003s: { length: 0x1c, particles: plain.particles, climate: [], formaldehyde },
  pms5003st: {
    length: 0x24,
    particles: plain.particles,
    formaldehyde,
    climate: [
      [13, 'temperature', 10, 'signed'],
      [14, 'humidity', 10],
    ],
    errorAt: dataAt + 33,
  },
} satisfies Record<string, Layout>

const variants = Object.keys(layouts) as (keyof typeof layouts)[]
// PMS5003 manual V2.3: values are stable 30 s after the fan has started.
const warmUpS = 30

const schema = z.strictObject({
  dutyCycle: dutyCycleSetting(warmUpS).describe('Sleep between measurements, in seconds.'),
  variant: z
    .enum(variants, `expected one of ${variants.join(', ')}`)
    .optional()
    .describe('Which one it is, where its frames alone do not tell: a PMS5003T looks like a PMS5003.'),
})

const commands = {
  wake: hex('424de400010174'),
  active: hex('424de100010171'),
  sleep: hex('424de400000173'),
} as const

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!
const i16 = (bytes: Uint8Array, at: number): number => (u16(bytes, at) << 16) >> 16

const sumIsRight = (bytes: Uint8Array, start: number, end: number): boolean =>
  (sum(bytes, start, end - 2) & 0xffff) === u16(bytes, end - 2)

const headerAfter = (bytes: Uint8Array, from: number, end: number): number => {
  for (let at = bytes.indexOf(header[0], from); at !== -1 && at < end; at = bytes.indexOf(header[0], at + 1))
    if (at + 1 >= end || bytes[at + 1] === header[1]) return at
  return end
}

const cut = (bytes: Uint8Array, from: number): Cut => {
  const start = headerAfter(bytes, from, bytes.length)
  if (start > from) return { kind: 'skip', to: start }
  if (bytes.length - start < dataAt) return { kind: 'wait' }
  const length = u16(bytes, start + lengthAt)
  if (!lengths.has(length)) return { kind: 'skip', to: start + 1 }
  const end = start + dataAt + length
  if (bytes.length < end) return { kind: 'wait' }
  // A torn frame runs into the next one: it ends where the next one starts.
  return {
    kind: 'frame',
    start,
    end: sumIsRight(bytes, start, end) ? end : headerAfter(bytes, start + 2, end),
  }
}

const absent = (words: readonly Word[], reason: 'warming-up' | 'device-error'): Measurement[] =>
  words.map(([, quantity]) => ({ quantity, value: null, absent: reason }))

const present = (frame: Uint8Array, words: readonly Word[]): Measurement[] =>
  words.map(([word, quantity, divisor, signed]) => {
    const at = dataAt + 2 * word
    return { quantity, value: (signed ? i16(frame, at) : u16(frame, at)) / divisor }
  })

const refused = (reason: 'checksum' | 'length' | 'layout', detail: string): readonly Outcome[] => [
  { kind: 'refused', reason, detail },
]

const decodeAs =
  (variant: keyof typeof layouts | undefined) =>
  (frame: Uint8Array, phase: Phase): readonly Outcome[] => {
    if (frame.length < dataAt + 4 || frame[0] !== header[0] || frame[1] !== header[1])
      return refused('length', `${frame.length} bytes are no whole frame`)
    const length = u16(frame, lengthAt)
    if (frame.length !== dataAt + length)
      return refused(
        'length',
        `${dataAt + length} bytes announced, ${frame.length} came before the next frame`,
      )
    if (!sumIsRight(frame, 0, frame.length))
      return refused(
        'checksum',
        `sum is ${sum(frame, 0, frame.length - 2) & 0xffff}, frame says ${u16(frame, frame.length - 2)}`,
      )
    if (length === acknowledgement)
      return [{ kind: 'control', what: `acknowledged command ${frame[dataAt]!.toString(16)}` }]
    if (phase === 'asleep') return [{ kind: 'control', what: 'still awake' }]
    const layout: Layout | undefined = variant
      ? layouts[variant]
      : Object.values<Layout>(layouts).find((known) => known.length === length)
    if (layout?.length !== length)
      return refused(
        'layout',
        `${frame.length} bytes are no ${variant ?? 'known'} frame; check setting "variant"`,
      )

    const particles = layout.formaldehyde ? [...layout.particles, layout.formaldehyde] : layout.particles
    const error = layout.errorAt === undefined ? 0 : frame[layout.errorAt]!
    if (error !== 0)
      return [{ kind: 'reading', measurements: absent([...particles, ...layout.climate], 'device-error') }]
    // Before the fan has air, a frame is all zero; real air always holds particles above 0.3 µm. A frame without
    // counts may be zero in clean air, but then its reserved words are set.
    const counts = layout.particles.length > mass.length
    const warmingUp = counts
      ? present(frame, layout.particles).every(({ value }) => value === 0)
      : sum(frame, dataAt, frame.length - 2) === 0
    const measurements =
      warmingUp || phase === 'warming-up' ? absent(particles, 'warming-up') : present(frame, particles)
    return [{ kind: 'reading', measurements: [...measurements, ...present(frame, layout.climate)] }]
  }

const values = (pairs: Partial<Record<QuantityName, number>>): readonly Outcome[] => [
  {
    kind: 'reading',
    measurements: Object.entries(pairs).map(([quantity, value]) => ({
      quantity: quantity as QuantityName,
      value,
    })),
  },
]

const examples: readonly Example[] = [
  {
    title: 'PMS5003 in clean indoor air',
    source: 'PyPMS tests/captured_data/PMSx003.hexdump (MIT), captured',
    bytes: hex('424d001c00000008000800000008000800d20046002d001e00000000970002c5'),
    outcomes: values({ pm1: 0, pm2_5: 8, pm10: 8, n0_3: 210, n0_5: 70, n1: 45, n2_5: 30, n5: 0, n10: 0 }),
  },
  {
    title: 'PMS5003T with temperature and humidity',
    source: 'PyPMS tests/captured_data/PMS5003T.hexdump (MIT), captured',
    settings: { variant: 'pms5003t' },
    bytes: hex('424d001c001700270029001600230029100804a90116000c00d400e09a0004aa'),
    outcomes: values({
      pm1: 22,
      pm2_5: 35,
      pm10: 41,
      n0_3: 4104,
      n0_5: 1193,
      n1: 278,
      n2_5: 12,
      temperature: 21.2,
      humidity: 22.4,
    }),
  },
  {
    title: 'PMS5003 whose fan has not started: no values, not zero',
    source: 'PyPMS tests/sensors/test_message.py (MIT)',
    bytes: hex('424d001c000000000000000000000000000000000000000000000000000000ab'),
    outcomes: [{ kind: 'reading', measurements: absent(plain.particles, 'warming-up') }],
  },
]

/** Driver for the Plantower PMS family: mass per m³ under atmospheric conditions, counts per 0.1 L of air. */
export const plantowerPms: Driver = {
  model: 'plantower-pms',
  title: 'Plantower PMS1003, PMS3003, PMS5003, PMS7003, PMSA003, PMS5003T, PMS5003S, PMS5003ST',
  source: 'Plantower PMS5003 manual V2.3, appendix I; PyPMS captures',
  baudRate: 9600,
  // Active mode speaks every 0.2 to 2.3 s.
  silenceS: 30,
  framing: { kind: 'cut', maxBytes: 40, cut },
  greeting: () => [commands.wake, commands.active],
  configure: (settings) => {
    const { variant, dutyCycle: cycle } = checked('plantower-pms', schema, settings)
    const decode = decodeAs(variant)
    if (cycle === undefined) return { decode: (frame) => decode(frame, 'measuring') }
    const { dialogue, phaseAt, heard } = dutyCycle(cycle, warmUpS, commands)
    return {
      decode: (frame, atMs) => {
        heard(atMs)
        return decode(frame, phaseAt(atMs))
      },
      dialogue,
      silenceS: cycle.everyS + 2 * warmUpS,
    }
  },
  examples,
}
