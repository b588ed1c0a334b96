/** Every driver against its own examples and against noise, and how outcomes become readings. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { quantityNamed } from '#gateway/reading/quantity.ts'
import type { Measurement } from '#gateway/reading/reading.ts'
import { driverOf, drivers } from '#gateway/sensors/all.ts'
import { toReadings } from '#gateway/sensors/read.ts'
import type { Driver, Outcome } from '#gateway/sensors/sensors.ts'
import { bytesOf, decodeAlone, surroundings } from './frames.ts'

const seed = 20261121

describe('every driver', () => {
  test('has a model of its own, written as ids are', () => {
    const models = drivers.map(({ model }) => model)
    expect(new Set(models).size).toBe(models.length)
    for (const model of models) expect(model).toMatch(/^[a-z0-9-]{1,64}$/)
  })

  test('is found by its model, and an unknown model is answered with the known ones', () => {
    for (const driver of drivers) expect(driverOf(driver.model)).toBe(driver)
    expect(() => driverOf('bme999')).toThrow(
      `there is no sensor model "bme999".\nUse one of ${drivers.map(({ model }) => model).join(', ')}.`,
    )
  })

  test.each(drivers)('$model says what it is, where that is written, and bounds its frames', (driver) => {
    expect(driver.title).not.toBe('')
    expect(driver.source).not.toBe('')
    expect(driver.framing.maxBytes).toBeGreaterThan(0)
    // A link that keeps messages apart has held each of them whole anyway.
    expect(driver.framing.maxBytes).toBeLessThanOrEqual(driver.framing.kind === 'messages' ? 65_536 : 4096)
    expect(driver.baudRate).toBeGreaterThan(0)
    expect(driver.silenceS).toBeGreaterThan(0)
    expect(driver.examples.length).toBeGreaterThan(0)
    expect(driver.greeting({})).toBeInstanceOf(Array)
  })

  test.each(drivers)('$model refuses a setting it does not know, by name', (driver) => {
    expect(() => driver.configure({ colour: 'blue' }, surroundings())).toThrow(
      `${driver.model}: there is no setting "colour"; remove it or check its spelling.`,
    )
  })

  const examples = drivers.flatMap((driver) => driver.examples.map((example) => ({ driver, example })))
  test.each(examples)('$driver.model decodes its example: $example.title', ({ driver, example }) => {
    expect(example.source).not.toBe('')
    const pieces = driver.framing.kind === 'messages' ? [4096] : [1, 5, 4096]
    for (const chunkBytes of pieces)
      expect(decodeAlone(driver, example.bytes, example.settings, chunkBytes)).toEqual(example.outcomes)
    for (const outcome of example.outcomes)
      if (outcome.kind === 'reading')
        for (const { quantity } of outcome.measurements) expect(quantityNamed(quantity)).toBeDefined()
  })
})

const meant = ({ kind }: Outcome): boolean => kind === 'reading' || kind === 'uplink'

// Where the link keeps messages apart there is no wire that could be torn.
const onWires = drivers.filter(({ framing }) => framing.kind !== 'messages')

describe('noise', () => {
  // A modem may still wait for the rest of a message that noise announced, and a line for its end: this many
  // good frames are more than any driver can have taken for something else.
  const repeats = 40

  const checkOutcomes = (outcomes: readonly Outcome[]): void => {
    for (const outcome of outcomes) {
      // An expect for each of some hundred thousand values would take longer than all the rest.
      const fine =
        outcome.kind === 'reading'
          ? outcome.measurements.every(
              ({ quantity, value }) => quantityNamed(quantity) && (value === null || Number.isFinite(value)),
            )
          : outcome.kind !== 'refused' || outcome.detail.length < 300
      if (!fine) expect.fail(JSON.stringify(outcome))
    }
  }

  const recovers = (driver: Driver, noise: Uint8Array): void => {
    const { bytes, outcomes, settings } = driver.examples[0]!
    const good = Array.from({ length: repeats }, () => bytes)
    const decoded = decodeAlone(driver, [noise, ...good], settings, 64)
    checkOutcomes(decoded)
    expect(decoded.slice(-outcomes.length)).toEqual(outcomes)
  }

  const piece = fc.uint8Array({ minLength: 0, maxLength: 400 })

  test.each(onWires)('$model survives random bytes and decodes the next good frame', (driver) => {
    fc.assert(
      fc.property(piece, (noise) => recovers(driver, noise)),
      { seed, numRuns: 600 },
    )
  })

  test.each(onWires)('$model survives damaged frames and decodes the next good one', (driver) => {
    const wires = driver.examples.map(({ bytes }) => bytes)
    const damaged = fc
      .array(
        fc.record({
          wire: fc.constantFrom(...wires),
          at: fc.nat(400),
          bits: fc.integer({ min: 1, max: 255 }),
          from: fc.nat(20),
          to: fc.nat(400),
        }),
        { minLength: 1, maxLength: 12 },
      )
      .map((parts) =>
        Buffer.concat(
          parts.map(({ wire, at, bits, from, to }) => {
            const copy = wire.slice()
            copy[at % copy.length]! ^= bits
            return copy.slice(from % copy.length, Math.max(from % copy.length, to % (copy.length + 1)))
          }),
        ),
      )
    fc.assert(
      fc.property(damaged, (noise) => recovers(driver, noise)),
      { seed, numRuns: 600 },
    )
  })

  test.each(onWires)('$model: an undamaged frame after a torn one is never lost', (driver) => {
    const { bytes, outcomes, settings } = driver.examples[0]!
    for (let kept = 0; kept < bytes.length; kept += 1) {
      const torn = bytes.slice(0, kept)
      // A line that lost its end swallows the next: that is what a line is.
      const separator = driver.framing.kind === 'lines' ? bytesOf('\n') : new Uint8Array()
      const tail = Array.from({ length: 3 }, () => bytes)
      const decoded = decodeAlone(driver, [torn, separator, ...tail], settings)
      const readings = decoded.filter(meant)
      const each = outcomes.filter(meant).length
      expect(readings.slice(-3 * each), `${kept} bytes kept`).toEqual(
        Array.from({ length: 3 }, () => outcomes.filter(meant)).flat(),
      )
    }
  })

  test.each(drivers)('$model decodes any bytes as one frame without throwing', (driver) => {
    const decoder = driver.configure(driver.examples[0]!.settings ?? {}, surroundings())
    fc.assert(
      fc.property(piece, (bytes) => checkOutcomes(decoder.decode(bytes, 0))),
      { seed, numRuns: 600 },
    )
  })
})

describe('readings', () => {
  const measurements: Measurement[] = [{ quantity: 'temperature', value: 21.5 }]
  const receivedMs = Date.UTC(2026, 10, 21)

  test('carry the sensor’s id, the node’s behind it, and the time of receipt or the device’s own', () => {
    const timeMs = Date.UTC(2026, 10, 20)
    const { readings, refusals } = toReadings(
      'reyax-rylr',
      'roof',
      [
        { kind: 'reading', measurements },
        { kind: 'reading', measurements, node: 'lora-7', timeMs },
        { kind: 'control', what: 'OK' },
      ],
      receivedMs,
    )
    expect(refusals).toEqual([])
    expect(readings).toEqual([
      { sensor: 'roof', model: 'reyax-rylr', timeMs: receivedMs, values: [{ quantity: 1, scaled: 2150 }] },
      { sensor: 'roof-lora-7', model: 'reyax-rylr', timeMs, values: [{ quantity: 1, scaled: 2150 }] },
    ])
  })

  test('a receiver that believes it is 1994 is given the time of receipt', () => {
    const outcome: Outcome = { kind: 'reading', measurements, timeMs: Date.UTC(1994, 10, 19) }
    expect(toReadings('nmea', 'gnss', [outcome], receivedMs).readings[0]?.timeMs).toBe(receivedMs)
  })

  test('bad data becomes a refusal with its reason, never a reading', () => {
    const { readings, refusals } = toReadings(
      'nmea',
      'gnss',
      [
        { kind: 'refused', reason: 'checksum', detail: 'no checksum' },
        { kind: 'reading', measurements, node: 'not an id\n' },
        { kind: 'reading', measurements: [...measurements, ...measurements] },
        { kind: 'reading', measurements: [] },
      ],
      receivedMs,
    )
    expect(readings).toEqual([])
    expect(refusals.map(({ sensor, reason }) => [sensor, reason])).toEqual([
      ['gnss', 'checksum'],
      ['gnss', 'layout'],
      ['gnss', 'layout'],
    ])
  })
})
