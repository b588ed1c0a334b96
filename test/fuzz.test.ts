/** Every driver behind its framing against a flood of bytes: nothing throws, memory stays, the next good frame is read. */
import { describe, expect, test } from 'vitest'
import { framer } from '#gateway/link/frame.ts'
import { quantityNamed } from '#gateway/reading/quantity.ts'
import { drivers } from '#gateway/sensors/all.ts'
import { decoderOf } from '#gateway/sensors/read.ts'
import type { Driver, Outcome } from '#gateway/sensors/sensors.ts'
import { generator } from '#sim/random.ts'
import { surroundings } from '#test/sensors/frames.ts'

// FUZZ_BYTES sets the length of a run by hand; SEED repeats one.
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const bytesInAll = Number(process.env.FUZZ_BYTES ?? 10_000_000)
const share = Math.ceil(bytesInAll / drivers.length)
console.info(`fuzz: SEED=${seed}, ${bytesInAll} bytes over ${drivers.length} drivers`)

// Buffers, compiled code and garbage that nobody collected yet; a leak of the wire itself would be the flood's size.
const maxGrowth = 64_000_000

type Random = () => number

const below = (random: Random, most: number): number => Math.floor(random() * most)

/** A piece of noise: random bytes, or a good frame that was changed, cut, doubled or run into another. */
const piece = (driver: Driver, random: Random): Uint8Array => {
  const frames = driver.examples.map(({ bytes }) => bytes)
  const frame = frames[below(random, frames.length)]!.slice()
  switch (below(random, 6)) {
    case 0:
      return Uint8Array.from({ length: 1 + below(random, 400) }, () => below(random, 256))
    case 1:
      frame[below(random, frame.length)]! ^= 1 << below(random, 8)
      return frame
    case 2:
      return frame.slice(below(random, frame.length))
    case 3:
      return frame.slice(0, below(random, frame.length + 1))
    case 4:
      return new Uint8Array([...frame, ...frame.slice(0, below(random, frame.length))])
    default: {
      // Bytes that many protocols give a meaning to.
      const special = [0x00, 0x0a, 0x0d, 0x24, 0x2b, 0x42, 0x4d, 0x7d, 0x7e, 0xaa, 0xb5, 0x62, 0xff]
      return Uint8Array.from({ length: 1 + below(random, 60) }, () => special[below(random, special.length)]!)
    }
  }
}

const isFine = (outcome: Outcome): boolean => {
  if (outcome.kind === 'reading')
    return outcome.measurements.every(
      ({ quantity, value }) =>
        quantityNamed(quantity) !== undefined && (value === null || Number.isFinite(value)),
    )
  return outcome.kind === 'refused' ? outcome.detail.length < 400 : true
}

/** A driver with its framing, as a link and a device run them. */
const listening = (driver: Driver) => {
  const { settings } = driver.examples[0]!
  const decoder = decoderOf(driver, settings ?? {}, surroundings())
  const cutter = framer(decoder.framing ?? driver.framing)
  let atMs = 0
  return (bytes: Uint8Array): Outcome[] => {
    const outcomes: Outcome[] = []
    for (const frame of cutter.push(bytes)) {
      atMs += 2_000
      outcomes.push(...decoder.decode(frame, atMs))
    }
    return outcomes
  }
}

/** What a frame means when nothing came before it. */
const meaningOf = (driver: Driver): string => JSON.stringify(listening(driver)(driver.examples[0]!.bytes))

// A modem may still wait for the rest of a message that noise announced: so many good frames are more than that.
const repeats = 60

describe('a flood of noise and of damaged frames', () => {
  test.each(drivers)('does $model no harm', (driver) => {
    const random = generator(seed)
    const hear = listening(driver)
    const before = process.memoryUsage()
    for (let sent = 0; sent < share; ) {
      const noise = piece(driver, random)
      sent += noise.length
      for (const outcome of hear(noise)) if (!isFine(outcome)) expect.fail(JSON.stringify(outcome))
    }
    const after = process.memoryUsage()
    expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(maxGrowth)
    if (driver.framing.kind === 'lines') hear(Uint8Array.of(0x0a))
    let last = ''
    for (let again = 0; again < repeats; again += 1) {
      const outcomes = hear(driver.examples[0]!.bytes)
      if (outcomes.length > 0) last = JSON.stringify(outcomes)
    }
    expect(last).toBe(meaningOf(driver))
  })
})

const onWires = drivers.filter(({ framing }) => framing.kind !== 'messages')

describe('with one byte in a hundred of noise between frames', () => {
  test.each(onWires)('$model reads at least 95 % of the good ones', (driver) => {
    const random = generator(seed)
    const hear = listening(driver)
    const { bytes } = driver.examples[0]!
    const wanted = meaningOf(driver)
    const frames = 2_000
    let noiseBytes = 0
    let read = 0
    for (let sent = 0; sent < frames; sent += 1) {
      // So that noise is one per cent of all bytes, in bursts of up to eight.
      if (noiseBytes < (sent * bytes.length) / 99) {
        const burst = Uint8Array.from({ length: 1 + below(random, 8) }, () => below(random, 256))
        noiseBytes += burst.length
        hear(burst)
      }
      if (JSON.stringify(hear(bytes)).includes(wanted.slice(1, -1))) read += 1
    }
    expect(noiseBytes).toBeGreaterThan(0.009 * frames * bytes.length)
    // A sketch's line has nothing that tells where it begins, and a digit of noise before a number makes another number:
    // where noise runs into one, it is refused.
    expect(read / frames).toBeGreaterThanOrEqual(driver.model === 'text-lines' ? 0.9 : 0.95)
  })
})
