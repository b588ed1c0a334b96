/** What payloads of radio nodes mean: Cayenne LPP, scripts that owners bring along, and whose settings count. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readDevice } from '#gateway/device.ts'
import { cayenneLpp } from '#gateway/sensors/cayenne-lpp.ts'
import { readerOf } from '#gateway/sensors/read.ts'
import { reyaxRylr } from '#gateway/sensors/reyax-rylr.ts'
import { maxScriptBytes, residentBytes, scriptRunner } from '#gateway/sensors/script.ts'
import type { Outcome, Settings } from '#gateway/sensors/sensors.ts'
import { type UplinkReader, uplinkReader } from '#gateway/sensors/uplink.ts'
import { inProcess } from '#sim/outlets/in-process.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { bytesIn, bytesOf, framesFile, haveFrames, hex, measurementsOf, surroundings } from './frames.ts'

const seed = 20261121

/** Names of the published values, and the quantity each is here. */
const quantityOf: Record<string, string> = {
  temperature: 'temperature',
  humidity: 'humidity',
  barometer: 'pressure',
  x: 'acceleration_x',
  y: 'acceleration_y',
  z: 'acceleration_z',
  lat: 'latitude',
  lon: 'longitude',
  alt: 'altitude',
}

type Published = {
  readonly ch: number
  readonly type: string
  readonly value: number | Record<string, number>
}

describe.skipIf(!haveFrames)('published Cayenne payloads', () => {
  test.each(framesFile('cayenne-lpp'))('$source: $hex', (entry) => {
    const outcomes = cayenneLpp(bytesIn(entry))
    if (!Array.isArray(entry.decoded))
      return expect(outcomes).toEqual([{ kind: 'refused', reason: 'unknown', detail: 'byte 1: type 0xfe' }])
    const values = (entry.decoded as unknown as Published[]).flatMap(({ ch, type, value }) =>
      typeof value === 'number'
        ? [{ ch, name: quantityOf[type]!, value }]
        : Object.entries(value).map(([axis, one]) => ({ ch, name: quantityOf[axis]!, value: one })),
    )
    const isTwice = (name: string): boolean => values.filter((one) => one.name === name).length > 1
    for (const { ch, name, value } of values) {
      const node = isTwice(name) ? `ch${ch}` : name === 'latitude' ? 'gps' : undefined
      const reading = outcomes.find(
        (one) =>
          one.kind === 'reading' &&
          (node === undefined || one.node === node) &&
          one.measurements.some(({ quantity }) => quantity === name),
      )
      expect(measurementsOf(reading ? [reading] : [])[name], name).toBeCloseTo(value, 6)
    }
    const measured = outcomes.flatMap((one) => (one.kind === 'reading' ? one.measurements : []))
    expect(measured).toHaveLength(values.length)
  })
})

describe('Cayenne LPP', () => {
  test('a position is a reading of its own', () => {
    expect(cayenneLpp(hex('018806765ff2960a0003e8' + '026700ff'))).toMatchObject([
      { node: 'gps', measurements: [{ value: 42.3519 }, { value: -87.9094 }, { value: 10 }] },
      { measurements: [{ quantity: 'temperature', value: 25.5 }] },
    ])
  })

  test('a number that no sensor shows is no number', () => {
    expect(measurementsOf(cayenneLpp(hex('01677fff' + '0168ff')))).toEqual({
      temperature: 'out-of-range',
      humidity: 'out-of-range',
    })
  })

  test.each([
    ['', 'length'],
    ['01', 'length'],
    ['016701', 'length'],
    ['0167010f02', 'length'],
    ['0167010f01670110', 'unknown'],
    ['0167010f01640000', 'unknown'],
  ])('%j is refused whole', (digits, reason) => {
    expect(cayenneLpp(hex(digits))).toMatchObject([{ kind: 'refused', reason }])
  })

  test('any bytes give readings within range, or one refusal', () => {
    const piece = fc.tuple(
      fc.nat(3),
      fc.constantFrom(0, 1, 2, 3, 0x65, 0x66, 0x67, 0x68, 0x71, 0x73, 0x86, 0x88),
    )
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc
        .array(fc.tuple(piece, fc.uint8Array({ minLength: 1, maxLength: 9 })), { maxLength: 6 })
        .map((parts) => Uint8Array.from(parts.flatMap(([head, rest]) => [...head, ...rest]))),
    )
    fc.assert(
      fc.property(bytes, (payload) => {
        const outcomes = cayenneLpp(payload)
        expect(outcomes.length).toBeGreaterThan(0)
        if (outcomes.some(({ kind }) => kind === 'refused')) expect(outcomes).toHaveLength(1)
        for (const { quantity, value } of outcomes.flatMap((one) =>
          one.kind === 'reading' ? one.measurements : [],
        ))
          expect(value === null || Number.isFinite(value), quantity).toBe(true)
      }),
      { seed, numRuns: 500 },
    )
  })
})

const uplink = (payload: Uint8Array | string, node = 'n', port = 2) => ({
  kind: 'uplink' as const,
  node,
  port,
  payload: typeof payload === 'string' ? bytesOf(payload) : payload,
  radio: { rssi: -70 },
})
const radio = { rssi: -70 }

const script = (code: string, more: Settings = {}): UplinkReader =>
  uplinkReader('test', { payload: 'script', script: code, ...more }, surroundings())
const detailsOf = (outcomes: readonly Outcome[]): string[] =>
  outcomes.flatMap((one) => (one.kind === 'refused' ? [one.detail] : []))

describe('a script', () => {
  test('with the signature of ChirpStack and The Things Stack is read by names', async () => {
    const read = script(
      `function decodeUplink(input) {
        return { data: {
          temperature: ((input.bytes[0] << 8) | input.bytes[1]) / 100,
          humidity: input.bytes[2] / 2,
          battery: input.fPort === 2 ? Number(input.variables.full) : 0,
          sent: input.recvTime.getTime() > 1e12,
          place: 'roof',
        }, warnings: ['low battery'] }
      }`,
      { variables: { full: '87' } },
    )
    const outcomes = await read(uplink(hex('08665a')))
    expect(measurementsOf(outcomes)).toEqual({ temperature: 21.5, humidity: 45, battery: 87, ...radio })
    expect(outcomes[0]).toEqual({ kind: 'control', what: 'the script warns: "low battery"' })
  })

  test('may use the owner’s own names, nested ones, and values that are not there', async () => {
    const read = script(`const decodeUplink = () => ({ data: { a: { b: 7 }, temperature: null, h: NaN } })`, {
      text: { names: { 'a.b': { quantity: 'co2', scale: 100 } } },
    })
    expect(measurementsOf(await read(uplink('x')))).toEqual({
      co2: 700,
      temperature: 'no-data',
      humidity: 'no-data',
      ...radio,
    })
  })

  test.each([
    ['of The Things Network v2', 'function Decoder(bytes, port) { return { t: bytes[0] + port } }'],
    ['of ChirpStack v3', 'function Decode(fPort, bytes, variables) { return { t: bytes[0] + fPort } }'],
  ])('%s is understood', async (_what, code) => {
    expect(measurementsOf(await script(code)(uplink(Uint8Array.of(20))))).toEqual({
      temperature: 22,
      ...radio,
    })
  })

  test('says itself that a payload is wrong', async () => {
    const read = script(`function decodeUplink() { return { errors: ['unknown FPort'] } }`)
    expect(detailsOf(await read(uplink('x')))).toEqual(['the script says "unknown FPort"'])
  })

  test('uplinks of a node stay in their order', async () => {
    const decoder = readerOf(
      reyaxRylr,
      { payload: 'script', script: 'function decodeUplink({ bytes }) { return { data: { t: bytes[0] } } }' },
      surroundings(),
    )
    const read: number[] = []
    for (let value = 1; value <= 20; value += 1) {
      const outcomes = await decoder.decode(bytesOf(`+RCV=7,1,${String.fromCharCode(value)},-70,5\r\n`), 0)
      read.push(measurementsOf(outcomes).temperature as number)
    }
    expect(read).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
  })

  test('is awaited by a station’s device, reading by reading', async () => {
    const stop = new AbortController()
    onTestFinished(() => stop.abort())
    const outlet = await inProcess('modem', () => undefined)
    const kept: unknown[] = []
    const device = readDevice({
      device: {
        id: 'field',
        model: 'reyax-rylr',
        baudRate: 1,
        opener: outlet.opener!,
        settings: {
          payload: 'script',
          script: 'function decodeUplink({ bytes }) { return { data: { t: bytes[0] } } }',
        },
      },
      surroundings: surroundings(),
      take: async ({ values }) => void kept.push(values[0]),
    })
    const running = device.run(stop.signal)
    await expect.poll(() => device.status.link.open).toBe(true)
    for (const value of [1, 2, 3]) outlet.write(bytesOf(`+RCV=7,1,${String.fromCharCode(value)},-70,5\r\n`))
    await expect.poll(() => kept).toEqual([1, 2, 3].map((value) => ({ quantity: 1, scaled: value * 100 })))
    stop.abort()
    await running
  })

  test('keeps nothing from one payload to the next', async () => {
    const read = script('var seen = 0; function decodeUplink() { seen += 1; return { data: { t: seen } } }')
    for (let time = 0; time < 3; time += 1)
      expect(measurementsOf(await read(uplink('x'))).temperature).toBe(1)
  })

  test('must be one that can be read, is not too long, and does not import', () => {
    expect(() => script('function (')).toThrow(
      /^test: setting "script": expected JavaScript that can be read/,
    )
    for (const importing of ["import('node:fs')", '// import this into the console\n'])
      expect(() => script(importing)).toThrow(/expected a decoder without the word import, in comments too/)
    expect(() => script(' '.repeat(maxScriptBytes + 1))).toThrow(/expected at most 131072 characters/)
    expect(() => uplinkReader('test', { payload: 'script' }, surroundings())).toThrow(
      /setting "script": expected the text of a dec/,
    )
  })
})

const good = 'function decodeUplink({ bytes }) { return { data: { t: bytes[0] } } }'

test('memory is counted in bytes whatever the size of a page', () => {
  const proc = temporaryDirectory()
  mkdirSync(join(proc, '7'))
  // A process of 160 MB on a kernel with pages of 16 kB: 10240 pages in statm.
  writeFileSync(join(proc, '7', 'statm'), '70000 10240 3000 1 0 20000 0\n')
  writeFileSync(
    join(proc, '7', 'status'),
    'Name:\tnode\nVmHWM:\t  170000 kB\nVmRSS:\t  163840 kB\nThreads:\t11\n',
  )
  expect(residentBytes(7, proc)).toBe(160 * 1024 * 1024)
  expect(residentBytes(8, proc)).toBe(0)
  const own = process.memoryUsage.rss()
  if (existsSync('/proc/self/status'))
    expect(Math.abs(residentBytes(process.pid) - own)).toBeLessThan(own / 4)
})

describe('a hostile script', () => {
  const hostile: Record<string, string> = {
    'an endless loop': 'for (;;);',
    'an endless loop in a getter': 'return { get data() { for (;;); } }',
    'an endless loop in toJSON': 'return { data: { toJSON() { for (;;); } } }',
    'an endless regular expression': "return /(a+)+$/.test('a'.repeat(40) + 'b')",
    'a wait that never ends': 'Atomics.wait(new Int32Array(new SharedArrayBuffer(8)), 0, 0)',
    'a heap full of arrays': 'const all = []; for (;;) all.push(new Array(1000).fill(1))',
    'one huge array': 'return { data: new Array(2 ** 26).fill(0) }',
    'one huge buffer': 'const all = []; for (;;) all.push(new Uint8Array(2 ** 27).fill(1))',
    'many buffers': 'const all = []; for (;;) all.push(new Uint8Array(2 ** 16).fill(1))',
    'a huge string': "return { data: { t: 'x'.repeat(2 ** 28) } }",
    'a long string': "return { data: { t: 'x'.repeat(20000) } }",
    'no end of recursion': 'return decodeUplink(arguments[0])',
    'a circle': 'const a = {}; a.a = a; return { data: a }',
    'a proxy that throws': 'return new Proxy({}, { get() { throw 1 }, ownKeys() { throw 2 } })',
    'an error without words': 'throw { toString() { throw 1 } }',
    'an error with endless words': 'throw { toString() { for (;;); } }',
    nothing: 'return undefined',
    'a number': 'return 7',
    'a function': 'return () => 7',
    'a promise': 'return Promise.resolve({ data: { t: 1 } })',
    'a changed JSON': "JSON.stringify = () => '{}'; return undefined",
    'a changed prototype': "Object.prototype.toJSON = () => 'x'; return { data: { t: 1 } }",
    'a way to the process': "return this.constructor.constructor('return process')().exit()",
    eval: "return eval('1')",
    'a require': "return require('node:fs')",
    'a fetch': "return fetch('http://127.0.0.1')",
    'the console’s way out': "return console.constructor.constructor('return process')()",
    'a stack trace’s way out':
      "Error.prepareStackTrace = (_, sites) => sites.map((s) => s.getFunction() || s.getThis()); const f = new Error().stack.find((x) => x); return f.constructor.constructor('return process')().exit()",
  }

  test.for(Object.entries(hostile))(
    '%s is refused, and the next one is run',
    async ([, body], { expect }) => {
      const runner = scriptRunner({ callMs: 300 })
      const bad = await runner.run(`function decodeUplink() { ${body} }`, '{"bytes":[1],"variables":{}}')
      // What it gave, if anything, is short text that says nothing of use.
      if (bad.ok) {
        expect(bad.output.length).toBeLessThan(1000)
        const value: unknown = JSON.parse(bad.output)
        expect((value as { data?: unknown }).data).toBe(undefined)
      } else expect(bad.why.length).toBeLessThan(200)
      const fine = await runner.run(good, '{"bytes":[7],"variables":{}}')
      expect(fine).toEqual({ ok: true, output: '{"data":{"t":7}}' })
    },
  )

  test('sees nothing of the machine', async () => {
    const names = [
      'process',
      'require',
      'module',
      'fetch',
      'setTimeout',
      'Buffer',
      'global',
      'structuredClone',
    ]
    const code = `function decodeUplink() {
      return { data: { found: [${names.map((name) => `typeof ${name}`).join(',')}], all: Object.getOwnPropertyNames(globalThis).filter((name) => /^[a-z]/.test(name)) } }
    }`
    const ran = await scriptRunner().run(code, '{"bytes":[],"variables":{}}')
    if (!ran.ok) expect.fail(ran.why)
    const { data } = JSON.parse(ran.output) as { data: { found: string[]; all: string[] } }
    expect(new Set(data.found)).toEqual(new Set(['undefined']))
    expect(
      data.all.filter(
        (name) => !/^(is|parse|encode|decode|escape|unescape|eval|undefined|globalThis|console)/.test(name),
      ),
    ).toEqual([])
  })

  test.skipIf(process.platform !== 'linux').each([
    ['one huge buffer', 'new Uint8Array(2 ** 30).fill(1)'],
    ['many buffers', 'const all = []; for (;;) all.push(new Uint8Array(2 ** 16).fill(1))'],
  ])('with %s is ended by its memory, long before its time', async (_what, body) => {
    const runner = scriptRunner({ callMs: 20_000 })
    const ran = await runner.run(`function decodeUplink() { ${body}; for (;;); }`, '{"bytes":[]}')
    expect(ran).toEqual({ ok: false, why: 'it took too much memory' })
  })

  test('that fails again and again is left alone for a while', async () => {
    const runner = scriptRunner({ callMs: 60 })
    const bad = 'function decodeUplink() { for (;;); }'
    const whys: string[] = []
    for (let time = 0; time < 5; time += 1) {
      const ran = await runner.run(bad, '{"bytes":[]}')
      if (!ran.ok) whys.push(ran.why)
    }
    expect(whys).toEqual([
      ...Array.from({ length: 3 }, () => 'it took too long'),
      ...Array.from({ length: 2 }, () => 'it has failed 3 times and rests'),
    ])
    expect(runner.starts()).toBe(3)
  })

  test('of one node does not hold up another’s for longer than its time', async () => {
    const read = uplinkReader(
      'test',
      { payload: 'script', script: good },
      surroundings(),
      new Map([['bad', { script: 'function decodeUplink() { for (;;); }' }]]),
    )
    const [bad, fine] = await Promise.all([read(uplink('x', 'bad')), read(uplink(Uint8Array.of(5), 'fine'))])
    expect(detailsOf(bad)).toEqual(['the script of this node: it took too long'])
    expect(measurementsOf(fine)).toEqual({ temperature: 5, ...radio })
  })

  test('any text that can be read as one gives outcomes', async () => {
    const runner = scriptRunner({ callMs: 300 })
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        const code = `function decodeUplink() { return ${JSON.stringify(value)} }`
        const ran = await runner.run(code, '{"bytes":[]}')
        if (ran.ok) expect(JSON.parse(ran.output)).toEqual(JSON.parse(JSON.stringify(value)))
        else expect(ran.why).toBe('it says "the script returned more than 16384 characters"')
      }),
      { seed, numRuns: 100 },
    )
    expect(runner.starts()).toBe(1)
  })
})

describe('a node’s own settings', () => {
  test('win over those for all', () => {
    const read = uplinkReader(
      'test',
      { text: { columns: ['temperature'] } },
      surroundings(),
      new Map([
        ['lpp', { payload: 'cayenne-lpp' }],
        ['rain', { text: { columns: ['rain'] } }],
      ]),
    )
    const outcomesOf = (payload: Uint8Array | string, node: string) =>
      measurementsOf(read(uplink(payload, node)) as Outcome[])
    expect(outcomesOf(hex('0168a0'), 'lpp')).toEqual({ humidity: 80, ...radio })
    expect(outcomesOf('0.2', 'rain')).toEqual({ rain: 0.2, ...radio })
    expect(outcomesOf('21.5', 'other')).toEqual({ temperature: 21.5, ...radio })
  })

  test('that cannot be used are told at the start, with the node', () => {
    expect(() =>
      uplinkReader('test', {}, surroundings(), new Map([['roof', { payload: 'script' }]])),
    ).toThrow(/^test: node roof: setting "script": expected the text of a decoder/)
  })

  test('the signal goes with the climate, not with the private position', () => {
    const read = uplinkReader('test', { payload: 'cayenne-lpp' }, surroundings())
    expect(read(uplink(hex('026700ff' + '018806765ff2960a0003e8')))).toMatchObject([
      { node: 'n', measurements: [{ quantity: 'temperature' }, { quantity: 'rssi' }] },
      { node: 'n-gps', measurements: [{}, {}, {}] },
    ])
  })
})
