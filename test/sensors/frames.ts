/** What driver tests share: a driver's answer to bytes from a wire, and the published frames to compare with. */
import { existsSync, readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { framer } from '#gateway/link/frame.ts'
import { decoderOf } from '#gateway/sensors/read.ts'
import type { Driver, Outcome, Settings, Surroundings } from '#gateway/sensors/sensors.ts'

export const shared = new URL('../../../shared/', import.meta.url)

export const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
export const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))

/** Counters in memory, and no secrets. */
export const surroundings = (): Surroundings => {
  const held = new Map<string, number>()
  return {
    network: 'testnet',
    counters: { get: (name) => held.get(name), set: (name, value) => void held.set(name, value) },
    secret: (path) => {
      throw new Error(`there is no secret in ${path}`)
    },
  }
}

// Long enough that nothing counts as said twice.
const frameMs = 2000

/** As they come from a wire: messages stay whole, everything else arrives in pieces of `chunkBytes`. */
const arriving = (driver: Driver, wire: Wire, chunkBytes: number): Uint8Array[] => {
  const parts = wire instanceof Uint8Array ? [wire] : wire
  if (driver.framing.kind === 'messages') return [...parts]
  const bytes = Buffer.concat(parts)
  return Array.from({ length: Math.ceil(bytes.length / chunkBytes) }, (_, index) =>
    bytes.subarray(index * chunkBytes, (index + 1) * chunkBytes),
  )
}

/** Bytes from a wire, or messages of a link that keeps them apart. */
export type Wire = Uint8Array | readonly Uint8Array[]

/** What a driver alone makes of what comes from a wire; a frame every two seconds. */
export const decodeAlone = (
  driver: Driver,
  wire: Wire,
  settings: Settings = {},
  chunkBytes = 7,
): Outcome[] => {
  const decoder = driver.configure(settings, surroundings())
  const cutter = framer(decoder.framing ?? driver.framing)
  const outcomes: Outcome[] = []
  let frames = 0
  for (const chunk of arriving(driver, wire, chunkBytes))
    for (const frame of cutter.push(chunk)) {
      frames += 1
      outcomes.push(...decoder.decode(frame, frames * frameMs))
    }
  return outcomes
}

/** The same with uplinks read to the end, as a station does. */
export const decode = (driver: Driver, bytes: Wire, settings: Settings = {}, chunkBytes = 7): Outcome[] =>
  decodeAlone(
    { ...driver, configure: (own, around) => decoderOf(driver, own, around) },
    bytes,
    settings,
    chunkBytes,
  )

/** Values and absences of all readings, by quantity. */
export const measurementsOf = (outcomes: readonly Outcome[]): Record<string, number | string | null> =>
  Object.fromEntries(
    outcomes
      .filter((outcome) => outcome.kind === 'reading')
      .flatMap(({ measurements }) => measurements)
      .map((measurement) => [
        measurement.quantity,
        measurement.value === null ? measurement.absent : measurement.value,
      ]),
  )

export const refusalsOf = (outcomes: readonly Outcome[]): string[] =>
  outcomes.flatMap((outcome) => (outcome.kind === 'refused' ? [outcome.reason] : []))

/** An entry of ../shared/frames. */
export type Entry = {
  readonly device: string
  readonly source: string
  readonly hex?: string
  readonly ascii?: string
  readonly direction?: string
  readonly decoded: Record<string, unknown>
}

export const framesFile = (name: string): Entry[] =>
  JSON.parse(readFileSync(new URL(`frames/${name}.json`, shared), 'utf8')) as Entry[]
export const bytesIn = ({ hex: digits, ascii }: Entry): Uint8Array => (digits ? hex(digits) : bytesOf(ascii!))

const knot = 1852 / 3600
// Names in the frame files, the quantity each is here, and how one becomes the other.
export const quantityOf: Record<string, readonly [name: string, factor: number]> = {
  pm1_0_atm: ['pm1', 1],
  pm2_5_atm: ['pm2_5', 1],
  pm10_atm: ['pm10', 1],
  n0_3_per_0_1L: ['n0_3', 1],
  n0_5_per_0_1L: ['n0_5', 1],
  n1_0_per_0_1L: ['n1', 1],
  n2_5_per_0_1L: ['n2_5', 1],
  n5_0_per_0_1L: ['n5', 1],
  n10_per_0_1L: ['n10', 1],
  pm2_5: ['pm2_5', 1],
  pm10: ['pm10', 1],
  temperatureC: ['temperature', 1],
  humidityPct: ['humidity', 1],
  pressureHPa: ['pressure', 1],
  gasOhm: ['gas_resistance', 1],
  lat: ['latitude', 1],
  lon: ['longitude', 1],
  altM: ['altitude', 1],
  sats: ['satellites', 1],
  hdop: ['hdop', 1],
  speedKn: ['speed', knot],
  rssi: ['rssi', 1],
  snr: ['snr', 1],
}

/** Compares the values that a published frame is said to hold. */
export const expectDecoded = (entry: Entry, outcomes: readonly Outcome[]): void => {
  const measured = measurementsOf(outcomes)
  let compared = 0
  for (const [key, value] of Object.entries(entry.decoded)) {
    const target = quantityOf[key]
    if (!target || typeof value !== 'number') continue
    compared += 1
    expect(measured[target[0]], key).toBeCloseTo(value * target[1], 5)
  }
  expect(compared, 'values compared').toBeGreaterThan(0)
}

export const haveFrames = existsSync(new URL('frames/', shared))
if (!haveFrames)
  console.warn('Published frames are skipped: there is no ../shared/frames beside this repository.')

/** Frames of a file that the device sent; none where the file is not there. */
export const fromDevice = (name: string): Entry[] =>
  haveFrames ? framesFile(name).filter(({ direction }) => direction === undefined) : []
