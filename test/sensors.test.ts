/** Every driver against its own examples, against published frames, and against noise. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { framer } from '#gateway/link/frame.ts'
import { quantityNamed } from '#gateway/reading/quantity.ts'
import type { Measurement } from '#gateway/reading/reading.ts'
import { driverOf, drivers } from '#gateway/sensors/all.ts'
import { toReadings } from '#gateway/sensors/read.ts'
import type { Driver, Outcome, Settings } from '#gateway/sensors/sensors.ts'

const shared = new URL('../../shared/', import.meta.url)
const seed = 20261121

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))

/** What a driver makes of bytes as they come from a wire, in pieces of `chunkBytes`. */
const decode = (driver: Driver, bytes: Uint8Array, settings: Settings = {}, chunkBytes = 7): Outcome[] => {
  const cutter = framer(driver.framing)
  const decoder = driver.configure(settings)
  const outcomes: Outcome[] = []
  for (let at = 0; at < bytes.length; at += chunkBytes)
    for (const frame of cutter.push(bytes.slice(at, at + chunkBytes))) outcomes.push(...decoder.decode(frame))
  return outcomes
}

const measurementsOf = (outcomes: readonly Outcome[]): Record<string, number | string | null> =>
  Object.fromEntries(
    outcomes
      .filter((outcome) => outcome.kind === 'reading')
      .flatMap(({ measurements }) => measurements)
      .map((measurement) => [
        measurement.quantity,
        measurement.value === null ? measurement.absent : measurement.value,
      ]),
  )

const refusalsOf = (outcomes: readonly Outcome[]): string[] =>
  outcomes.flatMap((outcome) => (outcome.kind === 'refused' ? [outcome.reason] : []))

describe('every driver', () => {
  test('has a model of its own, written as ids are', () => {
    const models = drivers.map(({ model }) => model)
    expect(new Set(models).size).toBe(models.length)
    for (const model of models) expect(model).toMatch(/^[a-z0-9-]{1,64}$/)
  })

  test('is found by its model, and an unknown model is answered with the known ones', () => {
    for (const driver of drivers) expect(driverOf(driver.model)).toBe(driver)
    expect(() => driverOf('bme999')).toThrow(
      'there is no sensor model "bme999".\nUse one of plantower-pms, nova-sds011, text-lines, nmea, reyax-rylr.',
    )
  })

  test.each(drivers)('$model says what it is, where that is written, and bounds its frames', (driver) => {
    expect(driver.title).not.toBe('')
    expect(driver.source).not.toBe('')
    expect(driver.framing.maxBytes).toBeGreaterThan(0)
    expect(driver.framing.maxBytes).toBeLessThanOrEqual(4096)
    expect(driver.baudRate).toBeGreaterThan(0)
    expect(driver.silenceS).toBeGreaterThan(0)
    expect(driver.examples.length).toBeGreaterThan(0)
    expect(driver.greeting({})).toBeInstanceOf(Array)
  })

  test.each(drivers)('$model refuses a setting it does not know, by name', (driver) => {
    expect(() => driver.configure({ colour: 'blue' })).toThrow(
      `${driver.model}: there is no setting "colour"; remove it or check its spelling.`,
    )
  })

  const examples = drivers.flatMap((driver) => driver.examples.map((example) => ({ driver, example })))
  test.each(examples)('$driver.model decodes its example: $example.title', ({ driver, example }) => {
    expect(example.source).not.toBe('')
    for (const chunkBytes of [1, 5, 4096])
      expect(decode(driver, example.bytes, example.settings, chunkBytes)).toEqual(example.outcomes)
    for (const outcome of example.outcomes)
      if (outcome.kind === 'reading')
        for (const { quantity } of outcome.measurements) expect(quantityNamed(quantity)).toBeDefined()
  })
})

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
          : outcome.kind === 'control' || outcome.detail.length < 300
      if (!fine) expect.fail(JSON.stringify(outcome))
    }
  }

  const recovers = (driver: Driver, noise: Uint8Array): void => {
    const { bytes, outcomes, settings } = driver.examples[0]!
    const good = Array.from({ length: repeats }, () => bytes)
    const decoded = decode(driver, Buffer.concat([noise, ...good]), settings, 64)
    checkOutcomes(decoded)
    expect(decoded.slice(-outcomes.length)).toEqual(outcomes)
  }

  const piece = fc.uint8Array({ minLength: 0, maxLength: 400 })

  test.each(drivers)('$model survives random bytes and decodes the next good frame', (driver) => {
    fc.assert(
      fc.property(piece, (noise) => recovers(driver, noise)),
      { seed, numRuns: 600 },
    )
  })

  test.each(drivers)('$model survives damaged frames and decodes the next good one', (driver) => {
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

  test.each(drivers)('$model: an undamaged frame after a torn one is never lost', (driver) => {
    const { bytes, outcomes, settings } = driver.examples[0]!
    for (let kept = 0; kept < bytes.length; kept += 1) {
      const torn = bytes.slice(0, kept)
      // A line that lost its end swallows the next: that is what a line is.
      const separator = driver.framing.kind === 'lines' ? bytesOf('\n') : new Uint8Array()
      const tail = Array.from({ length: 3 }, () => bytes)
      const decoded = decode(driver, Buffer.concat([torn, separator, ...tail]), settings)
      const readings = decoded.filter(({ kind }) => kind === 'reading')
      const each = outcomes.filter(({ kind }) => kind === 'reading').length
      expect(readings.slice(-3 * each), `${kept} bytes kept`).toEqual(
        Array.from({ length: 3 }, () => outcomes.filter(({ kind }) => kind === 'reading')).flat(),
      )
    }
  })

  test.each(drivers)('$model decodes any bytes as one frame without throwing', (driver) => {
    const decoder = driver.configure(driver.examples[0]!.settings ?? {})
    fc.assert(
      fc.property(piece, (bytes) => checkOutcomes(decoder.decode(bytes))),
      { seed, numRuns: 600 },
    )
  })
})

type Entry = {
  readonly device: string
  readonly source: string
  readonly hex?: string
  readonly ascii?: string
  readonly direction?: string
  readonly decoded: Record<string, unknown>
}

const framesFile = (name: string): Entry[] =>
  JSON.parse(readFileSync(new URL(`frames/${name}.json`, shared), 'utf8')) as Entry[]
const bytesIn = ({ hex: digits, ascii }: Entry): Uint8Array => (digits ? hex(digits) : bytesOf(ascii!))

const knot = 1852 / 3600
// Names in the frame files, the quantity each is here, and how one becomes the other.
const quantityOf: Record<string, readonly [name: string, factor: number]> = {
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

const expectDecoded = (entry: Entry, outcomes: readonly Outcome[]): void => {
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

const haveFrames = existsSync(new URL('frames/', shared))
if (!haveFrames)
  console.warn('Published frames are skipped: there is no ../shared/frames beside this repository.')

describe.skipIf(!haveFrames)('published frames', () => {
  const fromDevice = (name: string): Entry[] =>
    haveFrames ? framesFile(name).filter(({ direction }) => direction === undefined) : []

  test.each(fromDevice('plantower-pms5003'))('Plantower: $device $hex', (entry) => {
    const driver = driverOf('plantower-pms')
    const outcomes = decode(
      driver,
      bytesIn(entry),
      entry.device === 'PMS5003T' ? { variant: 'pms5003t' } : {},
    )
    if (entry.decoded.error === 'checksum')
      expect(outcomes).toEqual([{ kind: 'refused', reason: 'checksum', detail: 'sum is 965, frame says 0' }])
    else if (entry.decoded.error === 'warming-up')
      expect(new Set(Object.values(measurementsOf(outcomes)))).toEqual(new Set(['warming-up']))
    else expectDecoded(entry, outcomes)
  })

  test.each(fromDevice('nova-sds011'))('Nova: $hex', (entry) => {
    const outcomes = decode(driverOf('nova-sds011'), bytesIn(entry))
    if (entry.decoded.error === 'checksum')
      expect(outcomes).toEqual([{ kind: 'refused', reason: 'checksum', detail: 'sum is 29, frame says 0' }])
    else if (entry.decoded.error === 'warming-up')
      expect(measurementsOf(outcomes)).toEqual({ pm2_5: 'warming-up', pm10: 'warming-up' })
    else expectDecoded(entry, outcomes)
  })

  test('the commands that drivers send are the published ones', () => {
    const commands = (name: string): string[] =>
      framesFile(name).flatMap(({ direction, hex: digits }) => (direction ? [digits!] : []))
    const sent = (model: string): string[] =>
      driverOf(model)
        .greeting({})
        .map((bytes) => Buffer.from(bytes).toString('hex'))
    expect(commands('plantower-pms5003')).toEqual(expect.arrayContaining(sent('plantower-pms')))
    expect(commands('nova-sds011')).toEqual(expect.arrayContaining(sent('nova-sds011')))
    expect(sent('plantower-pms')).toHaveLength(2)
  })

  test('text lines of microcontrollers', () => {
    const driver = driverOf('text-lines')
    const [pairs, csv, json, dht, failed, nans, checksummed] = framesFile('mcu-lines')
    for (const entry of [pairs!, json!, dht!]) expectDecoded(entry, decode(driver, bytesIn(entry)))
    const columns = (csv!.decoded.columns as string[]).map((name) => quantityOf[name]![0])
    expect(Object.values(measurementsOf(decode(driver, bytesIn(csv!), { columns })))).toEqual(
      csv!.decoded.values,
    )
    expect(measurementsOf(decode(driver, bytesIn(failed!)))).toEqual({
      temperature: 'device-error',
      humidity: 'device-error',
    })
    expect(measurementsOf(decode(driver, bytesIn(nans!), { columns: ['temperature', 'humidity'] }))).toEqual({
      temperature: 'not-a-number',
      humidity: 'not-a-number',
    })
    // The published line has the checksum of the line before it: its XOR is 6f. With sequence 2 it is right.
    const settings = { columns: ['-', '-', '-', 'temperature', 'humidity'] }
    expect(decode(driver, bytesIn(checksummed!), settings)).toEqual([
      { kind: 'refused', reason: 'checksum', detail: 'checksum is 6f, line says 6C' },
    ])
    expect(measurementsOf(decode(driver, bytesOf('ENV,2,1000,22.2,45.1*6C\r\n'), settings))).toEqual({
      temperature: 22.2,
      humidity: 45.1,
    })
  })

  test.each(fromDevice('nmea0183'))('NMEA: $ascii', (entry) => {
    const outcomes = decode(driverOf('nmea'), bytesIn(entry))
    const { type, status, error, datetime } = entry.decoded
    if (error) return expect(refusalsOf(outcomes)).toEqual([error])
    if (type !== 'GGA' && type !== 'RMC') return expect(outcomes).toMatchObject([{ kind: 'control' }])
    if (status === 'V')
      return expect(outcomes).toEqual([
        {
          kind: 'reading',
          measurements: ['latitude', 'longitude', 'speed'].map((quantity) => ({
            quantity,
            value: null,
            absent: 'no-data',
          })),
        },
      ])
    expectDecoded(entry, outcomes)
    if (typeof datetime === 'string') expect(outcomes).toMatchObject([{ timeMs: Date.parse(datetime) }])
  })

  test.each(fromDevice('reyax-rylr'))('RYLR: $device $ascii$hex', (entry) => {
    const outcomes = decode(driverOf('reyax-rylr'), bytesIn(entry), {
      text: { columns: ['temperature', 'humidity', 'pressure'] },
    })
    const { address, error } = entry.decoded
    if (typeof error === 'string') return expect(refusalsOf(outcomes)).toEqual(['length'])
    if (address === undefined) return expect(outcomes).toMatchObject([{ kind: 'control' }])
    expectDecoded(entry, outcomes)
    expect(outcomes.at(-1)).toMatchObject({ kind: 'reading', node: `lora-${address}` })
    if (entry.decoded.data === '21.5,45,1013')
      expect(measurementsOf(outcomes)).toMatchObject({ temperature: 21.5, humidity: 45, pressure: 1013 })
  })

  test('the modem is set up with the commands of the guide', () => {
    const published = framesFile('reyax-rylr').flatMap(({ direction, ascii }) => (direction ? [ascii!] : []))
    const sent = driverOf('reyax-rylr')
      .greeting({
        address: 50,
        networkId: 18,
        bandHz: 868_500_000,
        parameter: '9,7,1,12',
        password: 'FABC0002EEDCAA90FABC0002EEDCAA90',
      })
      .map((bytes) => Buffer.from(bytes).toString())
    expect(sent).toHaveLength(5)
    expect(published).toEqual(expect.arrayContaining(sent))
  })
})

const logs = new URL('vectors/nmea-gpsd/', shared)
const haveLogs = existsSync(logs)
if (!haveLogs) console.warn('Receiver logs are skipped: there is no ../shared/vectors/nmea-gpsd.')

describe.skipIf(!haveLogs)('logs of real GNSS receivers', () => {
  const names = haveLogs ? readdirSync(logs).filter((name) => name.endsWith('.log')) : []

  /** Sentences with a right and a wrong checksum, counted in a way that shares nothing with the driver. */
  const counted = (log: Buffer): { right: number; wrong: number } => {
    let right = 0
    let wrong = 0
    const sentences = /[$!]([^$!\n]*)\*([0-9A-Fa-f]{2})[\r ]*(?=[$!\n])/g
    for (const [, content, said] of log.toString('latin1').matchAll(sentences)) {
      const computed = [...content!].reduce((sum, character) => sum ^ character.charCodeAt(0), 0)
      if (computed === Number.parseInt(said!, 16)) right += 1
      else wrong += 1
    }
    return { right, wrong }
  }

  test.each(names)('%s: every checksum is judged right, no place is invented', (name) => {
    const log = readFileSync(new URL(name, logs))
    const outcomes = decode(driverOf('nmea'), log, {}, 33)
    const judgedWrong = outcomes.filter(
      (outcome) => outcome.kind === 'refused' && outcome.detail.startsWith('checksum is'),
    )
    const good = outcomes.filter(({ kind }) => kind !== 'refused').length
    const malformed = outcomes.filter((outcome) => outcome.kind === 'refused' && outcome.reason === 'layout')
    const expected = counted(log)
    expect(judgedWrong.length).toBe(expected.wrong)
    const inSentences = malformed.filter(
      (outcome) => 'detail' in outcome && /^(GGA|RMC)/.test(outcome.detail),
    )
    expect(good + inSentences.length).toBe(expected.right)
    for (const outcome of outcomes)
      if (outcome.kind === 'reading') {
        const { latitude, longitude } = measurementsOf([outcome])
        expect([latitude, longitude]).not.toEqual([0, 0])
      }
  })

  test('most receivers in the logs have a place', () => {
    const placed = names.filter((name) =>
      decode(driverOf('nmea'), readFileSync(new URL(name, logs))).some(
        (outcome) => typeof measurementsOf([outcome]).latitude === 'number',
      ),
    )
    expect(placed.length).toBeGreaterThan(names.length / 2)
  })
})

describe('Plantower', () => {
  const driver = driverOf('plantower-pms')
  const frame = (length: number, words: readonly number[]): Uint8Array => {
    const bytes = Buffer.alloc(4 + length)
    bytes.writeUInt16BE(0x424d, 0)
    bytes.writeUInt16BE(length, 2)
    for (const [index, word] of words.entries()) bytes.writeUInt16BE(word & 0xffff, 4 + 2 * index)
    bytes.writeUInt16BE(bytes.subarray(0, -2).reduce((total, byte) => total + byte, 0) & 0xffff, length + 2)
    return new Uint8Array(bytes)
  }

  test('a 5003ST frame of 40 bytes carries temperature below zero', () => {
    const bytes = frame(0x24, [1, 2, 3, 4, 5, 6, 700, 60, 50, 40, 30, 20, 12, -55, 451, 0, 0x9700])
    expect(measurementsOf(decode(driver, bytes))).toEqual({
      pm1: 4,
      pm2_5: 5,
      pm10: 6,
      n0_3: 700,
      n0_5: 60,
      n1: 50,
      n2_5: 40,
      n5: 30,
      n10: 20,
      temperature: -5.5,
      humidity: 45.1,
    })
  })

  test('formaldehyde of a 5003S is not taken for an error code', () => {
    const bytes = frame(0x1c, [1, 2, 3, 4, 5, 6, 700, 60, 50, 40, 30, 20, 0x0012])
    expect(measurementsOf(decode(driver, bytes, { variant: 'pms5003s' })).pm2_5).toBe(5)
    expect(measurementsOf(decode(driver, bytes)).pm2_5).toBe('device-error')
  })

  test('a 5003T that warms up still knows the temperature', () => {
    const bytes = frame(0x1c, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 212, 224, 0x9a00])
    expect(measurementsOf(decode(driver, bytes, { variant: 'pms5003t' }))).toMatchObject({
      pm2_5: 'warming-up',
      n0_3: 'warming-up',
      temperature: 21.2,
      humidity: 22.4,
    })
  })

  test('an acknowledgement is no reading', () => {
    expect(decode(driver, hex('424d0004e1000174'))).toEqual([
      { kind: 'control', what: 'acknowledged command e1' },
    ])
  })

  test('a frame of another variant than the configured one is refused with the setting to check', () => {
    expect(decode(driver, frame(0x14, [1, 2, 3, 4, 5, 6, 0, 0, 0x51]), { variant: 'pms5003' })).toEqual([
      { kind: 'refused', reason: 'layout', detail: '24 bytes are no pms5003 frame; check setting "variant"' },
    ])
  })

  test('an unknown variant is refused with those there are', () => {
    expect(() => driver.configure({ variant: 'pms9' })).toThrow(
      'plantower-pms: setting "variant": expected one of pms1003, pms3003, pms5003, pms7003, pmsa003, pms5003t, ' +
        'pms5003s, pms5003st; got "pms9".',
    )
  })
})

describe('Nova', () => {
  test('an answer to a command is no reading', () => {
    expect(decode(driverOf('nova-sds011'), hex('aac5060101005 8d939ab'.replace(' ', '')))).toEqual([
      { kind: 'control', what: 'answered sleep or wake' },
    ])
  })
})

describe('text lines', () => {
  const driver = driverOf('text-lines')
  const read = (text: string | Uint8Array, settings: Settings = {}): Outcome[] =>
    decode(driver, Buffer.concat([Buffer.from(text as string), Buffer.from('\n')]), settings)

  test.each([
    ['t=21.5 h=45', { temperature: 21.5, humidity: 45 }],
    ['TEMP = 21.5 C; HUM = 45 %', { temperature: 21.5, humidity: 45 }],
    ['pm2.5=3.1,co2=415', { pm2_5: 3.1, co2: 415 }],
    ['t=-0.5,h=', { temperature: -0.5, humidity: 'no-data' }],
    ['t=nan,h=-inf,p=--', { temperature: 'not-a-number', humidity: 'not-a-number', pressure: 'no-data' }],
    ['{"temperature":nan,"humidity":45}', { temperature: 'not-a-number', humidity: 45 }],
    ['{"temperature":null,"humidity":"45.5"}', { temperature: 'no-data', humidity: 45.5 }],
    ['\x1b[0;32mT=21.5\x1b[0m', { temperature: 21.5 }],
  ])('%j is understood', (text, expected) => {
    expect(measurementsOf(read(text))).toEqual(expected)
  })

  test.each([
    ['t=70F', 'layout'],
    ['t=21.5,t=22', 'layout'],
    ['t=21.5,45', 'layout'],
    ['colour=blue', 'unknown'],
    ['{"temperature":21.5', 'layout'],
    ['[21.5]', 'unknown'],
    ['21.5,45', 'not-configured'],
    ['rl\u0000lx\u0002', 'layout'],
    ['ets Jan  8 2013,rst cause:2, boot mode:(3,6)', 'not-configured'],
    ['t=0x15', 'layout'],
    ['t=1e999', 'layout'],
    ['{"__proto__":{"temperature":5}}', 'unknown'],
  ])('%j is refused: %s', (text, reason) => {
    expect(refusalsOf(read(text))).toEqual([reason])
  })

  test('bytes that are no text are refused, but a degree sign of Latin-1 is text', () => {
    expect(refusalsOf(read(Uint8Array.of(0x74, 0x3d, 0xc3, 0x28)))).toEqual(['layout'])
    expect(measurementsOf(read(Buffer.from('t=21.5\xb0C', 'latin1')))).toEqual({ temperature: 21.5 })
  })

  test('a log line or a comment is no reading, and an empty line is nothing', () => {
    expect(read('I (1234) wifi: connected\n# hello\n\n').map(({ kind }) => kind)).toEqual([
      'control',
      'control',
    ])
  })

  test('an owner names keys and units', () => {
    const names = { 'BME280.Temperature': 'temperature', pa: { quantity: 'pressure', scale: 0.01 } }
    expect(measurementsOf(read('{"BME280":{"Temperature":21.5},"pa":101325}', { names }))).toEqual({
      temperature: 21.5,
      pressure: 1013.25,
    })
  })

  test('a line too short for its columns is refused, and so is one too long', () => {
    const settings = { columns: ['temperature', 'humidity'] }
    expect(refusalsOf(read('21.5', settings))).toEqual(['length'])
    expect(refusalsOf(read('21.5,45,3', settings))).toEqual(['length'])
  })

  test('a checksum is judged where there is one, and missed where it is required', () => {
    expect(measurementsOf(read('t=21.5*51'))).toEqual({ temperature: 21.5 })
    expect(refusalsOf(read('t=21.6*51'))).toEqual(['checksum'])
    expect(refusalsOf(read('t=21.5', { checksum: 'required' }))).toEqual(['checksum'])
  })

  test('settings that cannot be meant are refused by name', () => {
    expect(() => driver.configure({ profile: 'csv' })).toThrow(
      'text-lines: profile csv needs setting "columns"; got nothing.',
    )
    expect(() => driver.configure({ columns: ['temperature', 'colour'] })).toThrow(
      /setting "columns.1": .*"colour"/,
    )
  })
})

describe('NMEA', () => {
  const driver = driverOf('nmea')
  const sentence = (content: string): string => {
    const sum = [...content].reduce((total, character) => total ^ character.charCodeAt(0), 0)
    return `$${content}*${sum.toString(16).padStart(2, '0').toUpperCase()}\r\n`
  }
  const read = (content: string): Outcome[] => decode(driver, bytesOf(sentence(content)))

  test('a fix that was not measured is no place', () => {
    for (const content of [
      'GPGGA,123519,4807.038,N,01131.000,E,0,00,99.99,,M,,M,,',
      'GPGGA,123519,4807.038,N,01131.000,E,8,08,0.9,545.4,M,46.9,M,,',
      'GPGGA,123519,0000.0000,N,00000.0000,E,1,08,0.9,545.4,M,46.9,M,,',
      'GNRMC,090802.00,A,5327.03976,N,00214.41006,W,0.144,,220221,,,E,V',
      'GNRMC,090802.00,V,5327.03976,N,00214.41006,W,0.144,,220221,,,N,V',
    ])
      expect(measurementsOf(read(content)), content).toMatchObject({
        latitude: 'no-data',
        longitude: 'no-data',
      })
  })

  test('a place off the globe or with more than 59 minutes is refused', () => {
    for (const latitude of ['9107.038', '4860.000', '48x7', '4807.038e5'])
      expect(refusalsOf(read(`GPGGA,123519,${latitude},N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,`))).toEqual([
        'layout',
      ])
  })

  test('a date that is none gives no time', () => {
    expect(read('GNRMC,090802.00,A,5327.03976,N,00214.41006,W,0.144,,310221,,,A,V')[0]).not.toHaveProperty(
      'timeMs',
    )
  })

  test('sentences glued together by a lost newline are both read', () => {
    const glued =
      sentence('GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,').trim() + sentence('GPZDA,1')
    expect(decode(driver, bytesOf(`\u0000\u00ff${glued}`)).map(({ kind }) => kind)).toEqual([
      'reading',
      'control',
    ])
  })
})

describe('RYLR', () => {
  const driver = driverOf('reyax-rylr')

  test('a CBOR payload goes to the decoder that was handed in, and its last reading carries the signal', () => {
    const measurements: Measurement[] = [{ quantity: 'temperature', value: 21.5 }]
    const seen: string[] = []
    const decodePayload = (bytes: Uint8Array): readonly Outcome[] => {
      seen.push(Buffer.from(bytes).toString('hex'))
      return [
        { kind: 'reading', measurements, timeMs: 1000, node: 'a' },
        { kind: 'reading', measurements, timeMs: 2000, node: 'a' },
      ]
    }
    const wire = Buffer.concat([bytesOf('+RCV=9,4,'), hex('82012c0a'), bytesOf(',-80,7\r\n')])
    const radio = [
      { quantity: 'rssi', value: -80 },
      { quantity: 'snr', value: 7 },
    ]
    expect(decode(driver, wire, { decodePayload }, 1)).toEqual([
      { kind: 'reading', measurements, timeMs: 1000, node: 'lora-9-a' },
      { kind: 'reading', measurements: [...measurements, ...radio], timeMs: 2000, node: 'lora-9-a' },
    ])
    expect(seen).toEqual(['82012c0a'])
    expect(refusalsOf(decode(driver, wire))).toEqual(['not-configured'])
  })

  test('only the nodes that are listed are heard', () => {
    const wire = bytesOf('+RCV=7,5,t=1.5,-47,11\r\n+RCV=8,5,t=1.5,-47,11\r\n')
    const outcomes = decode(driver, wire, { nodes: [8] })
    expect(refusalsOf(outcomes)).toEqual(['not-configured'])
    expect(outcomes.at(-1)).toMatchObject({ kind: 'reading', node: 'lora-8' })
  })

  test('a setting cannot carry a second command', () => {
    expect(() => driver.greeting({ parameter: '9,7,1,12\r\nAT+FACTORY' })).toThrow(/setting "parameter"/)
  })

  test('the modem’s password is in no outcome', () => {
    expect(decode(driver, bytesOf('+CPIN=FABC0002\r\n'))).toEqual([{ kind: 'control', what: '+CPIN' }])
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
