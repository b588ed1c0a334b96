/** Every driver behind its framing against a flood of bytes: nothing throws, memory stays, the next good frame is read. */
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
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
const bytesInAll = Number(process.env.FUZZ_BYTES ?? 15_000_000)
const share = Math.ceil(bytesInAll / drivers.length)
console.info(`fuzz: SEED=${seed}, ${bytesInAll} bytes over ${drivers.length} drivers`)

// After the first third the tables that have an end are full and code is compiled. From then on a run differs by up to
// 0.3 MB of the engine's own; at the usual length, keeping the other two thirds would take more than twice the bound.
const maxGrowthBytes = 600_000

// What is still held when everything else was collected: without that, garbage hides a leak, or looks like one.
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const heldBytes = async (): Promise<number> => {
  // Buffers are let go only after the loop has turned, and what they held by the collection after.
  for (let time = 0; time < 3; time += 1) {
    await turn()
    collect()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

// What a serial port or a socket hands over at once.
const readBytes = 65_536

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
  test.each(drivers)('does $model no harm', async (driver) => {
    const random = generator(seed)
    const hear = listening(driver)
    const flood = async (bytes: number): Promise<void> => {
      for (let sent = 0, yielded = 0; sent < bytes; ) {
        const noise = piece(driver, random)
        sent += noise.length
        // As on a wire, other work is done between reads: a stream's own callbacks are part of it.
        if (sent > yielded + readBytes) {
          yielded = sent
          await turn()
        }
        for (const outcome of hear(noise)) if (!isFine(outcome)) expect.fail(JSON.stringify(outcome))
      }
    }
    await flood(share / 3)
    const before = await heldBytes()
    await flood((2 * share) / 3)
    expect((await heldBytes()) - before, 'bytes held').toBeLessThan(maxGrowthBytes)
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
      const outcomes = hear(bytes)
      if (JSON.stringify(outcomes).includes(wanted.slice(1, -1))) read += 1
      // Noise may cost values, but makes none.
      for (const outcome of outcomes)
        if (outcome.kind === 'reading')
          for (const measurement of outcome.measurements)
            if (!wanted.includes(JSON.stringify(measurement))) expect.fail(JSON.stringify(outcome))
    }
    console.info(`fuzz: ${driver.model} read ${read} of ${frames} with ${noiseBytes} bytes of noise`)
    expect(noiseBytes).toBeGreaterThan(0.009 * frames * bytes.length)
    // A sketch's line has nothing that tells where it begins, and a digit of noise before a number makes another number:
    // where noise runs into one, it is refused.
    expect(read / frames).toBeGreaterThanOrEqual(driver.model === 'text-lines' ? 0.9 : 0.95)
  })
})
