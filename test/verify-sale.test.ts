import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bytesOf as rowBytes } from '#gateway/market/body.ts'
import { buildBundle } from '#gateway/market/bundle.ts'
import { csv } from '#gateway/market/formats/csv.ts'
import type { Pieces } from '#gateway/market/formats/format.ts'
import { json } from '#gateway/market/formats/json.ts'
import { ndjson } from '#gateway/market/formats/ndjson.ts'
import type { Answer } from '#gateway/market/query.ts'
import { readingRow } from '#gateway/market/row.ts'
import { type Bundle, type BundleScope, encodeBundle } from '#gateway/reading/bundle.ts'
import { decodeBundle } from '#gateway/reading/bundle-decode.ts'
import type { Signer } from '#gateway/reading/cose.ts'
import { quantityNamed } from '#gateway/reading/quantity.ts'
import { type SalesReceipt, signSale } from '#gateway/reading/sale.ts'
import { sha256 } from '#gateway/reading/sha256.node.ts'
import type { StoredReading } from '#gateway/store/store.ts'
import { verifyCommand } from '#gateway/verify/cli.ts'
import { checkAnswer, type ProvenReading, type Report, verifyBundle } from '#gateway/verify/verify.ts'
import { network, openWorld } from './bundle-world.ts'
import { mutation, seed, signerOf, weather } from './reading/samples.ts'
import { newSigner } from './station.ts'
import { temporaryDirectory } from './temporary.ts'

const startMs = 1_763_700_000_000
const stepMs = 120_000
const hub = newSigner()

const world = openWorld()
const station = world.addStation(signerOf(31))
const other = world.addStation(signerOf(32))
const sign = (at: number) => {
  for (const one of [station, other])
    world.sign(one, weather(4, startMs + at * stepMs + 1000, 'bme280', at + (one === other ? 100 : 0)))
}
for (let at = 0; at < 8; at++) sign(at)
world.closeBatch()
world.anchor(1)
const scope: BundleScope = { stations: [station], fromMs: startMs + stepMs, toMs: startMs + 6 * stepMs }

const { stations: _, ...everywhere } = scope

const rowsOf = (readings: readonly ProvenReading[]): Answer => ({
  kind: 'readings',
  fromMs: scope.fromMs,
  toMs: scope.toMs,
  next: null,
  rows: readings.map((reading) => {
    const stored: StoredReading = { ...reading, score: 1, flags: [], rules: '1' }
    return readingRow(stored, undefined, { seq: reading.seq, batch: 1, status: 'final' })!
  }),
})

const bare = verifyBundle(bytesOf(await buildBundle({ ...world.deps }, scope)))
const columns = ['temperature', 'humidity', 'pressure']
const rendered = async (pieces: Pieces): Promise<string> => Buffer.from(await rowBytes(pieces)).toString()
const inJson = await rendered(json.render([rowsOf(bare.readings)]))
const forms = {
  JSON: inJson,
  NDJSON: await rendered(ndjson.render([rowsOf(bare.readings)])),
  CSV: await rendered(csv.render([rowsOf(bare.readings)], { columns, cellOf: () => undefined })),
} as const

function bytesOf(built: Awaited<ReturnType<typeof buildBundle>>): Uint8Array {
  return built.ok ? built.bytes : expect.fail(built.detail)
}

const utf8 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

const receiptFor = (answer: Uint8Array, more: Partial<SalesReceipt> = {}): SalesReceipt => ({
  id: 'ab'.repeat(16),
  issuedMs: startMs + 7 * stepMs,
  query: sha256(utf8('readings')),
  response: sha256(answer),
  rows: bare.readings.length,
  values: bare.readings.length * 3,
  priceMicroUsd: 470,
  rail: 'credits',
  shares: [{ station, microUsd: 329 }],
  scope,
  ...more,
})

const sold = async (
  answer: Uint8Array,
  more: Partial<SalesReceipt> = {},
  signed = { network, by: hub, named: hub.publicKey },
): Promise<Uint8Array> => {
  const receipt = signSale(receiptFor(answer, more), signed.network, signed.by)
  return bytesOf(await buildBundle(world.deps, scope, { hubKey: signed.named, receipt }))
}

const bundleOf = (bytes: Uint8Array): Bundle => {
  const decoded = decodeBundle(bytes)
  return decoded.ok ? decoded.bundle : expect.fail(decoded.detail)
}

describe('a bundle of a sale', () => {
  test('of more stations than it is about says which are not proven', async () => {
    const report = verifyBundle(
      await sold(utf8(inJson), {
        scope: { ...scope, stations: [station, other].sort() },
        shares: [{ station: other, microUsd: 1 }],
      }),
    )
    expect(report.ok).toBe(true)
    expect(report.steps.find(({ name }) => name === 'sale')).toMatchObject({
      state: 'warned',
      details: expect.arrayContaining([`station ${other} was sold too, and the bundle is not about it`]),
    })
  })

  test('proves its receipt beside its readings', async () => {
    const report = verifyBundle(await sold(utf8(inJson)))
    expect(report).toMatchObject({ ok: true, complete: true })
    expect(report.sale).toMatchObject({
      rows: 20,
      priceMicroUsd: 470,
      hubKey: Buffer.from(hub.publicKey).toString('hex'),
    })
    const step = report.steps.find(({ name }) => name === 'sale')
    expect(step).toMatchObject({
      state: 'passed',
      text: `receipt ${'ab'.repeat(16)}: 20 rows with 60 values for 0.000470 USD, paid by credits`,
    })
    expect(step!.details![0]).toContain(`by the key ${report.sale!.hubKey}`)
  })

  test('that proves a part of what was sold says so', async () => {
    const whole = { ...scope, toMs: scope.toMs + stepMs }
    const report = verifyBundle(await sold(utf8(inJson), { scope: whole }))
    expect(report.ok).toBe(true)
    expect(report.steps.find(({ name }) => name === 'sale')).toMatchObject({
      state: 'warned',
      details: expect.arrayContaining([expect.stringMatching(/^a part of what was sold, which is 2025/)]),
    })
  })

  test('comes back as it was written, in the one form it has', async () => {
    const bytes = await sold(utf8(inJson))
    expect(encodeBundle(bundleOf(bytes))).toEqual(bytes)
    expect(bundleOf(bytes).sale!.hubKey).toEqual(hub.publicKey)
  })

  test('without a receipt proves its readings and no sale', () => {
    expect(bare).toMatchObject({ ok: true, sale: null })
    expect(bare.steps.some(({ name }) => name === 'sale')).toBe(false)
  })

  // The neutral point of the curve: by the equation of RFC 8032 s5.1.7 this signature fits whatever was signed.
  const neutral = Uint8Array.from({ length: 32 }, (_, at) => (at === 0 ? 1 : 0))
  const weak: Signer = {
    publicKey: neutral,
    sign: () => Uint8Array.from({ length: 64 }, (_, at) => (at === 0 ? 1 : 0)),
  }
  const lies = [
    [
      'signed by another key than the one named',
      /other|another key/,
      {},
      { network, by: newSigner(), named: hub.publicKey },
    ],
    [
      'of another network',
      /signature does not fit/,
      {},
      { network: 'elsewhere', by: hub, named: hub.publicKey },
    ],
    [
      'by a key that fits any signature',
      /is unfit: small-order/,
      {},
      { network, by: weak, named: weak.publicKey },
    ],
    [
      'that pays a station whose readings were not sold',
      /gives a share to station/,
      { shares: [{ station: other, microUsd: 1 }] },
    ],
    ['for another time', /is for other readings: .* to /, { scope: { ...scope, toMs: scope.toMs - 1 } }],
    ['for another sensor', /is for other readings: of x sensor/, { scope: { ...scope, sensor: 'x' } }],
    ['for another quantity', /other readings: with humidity/, { scope: { ...scope, quantities: [2] } }],
    [
      'for another station',
      /is for other readings: of 1 station/,
      { scope: { ...scope, stations: [other] } },
    ],
    ['for every station', /is for other readings: of every station/, { scope: everywhere }],
    ['whose shares are more than its price', /more than its price/, { shares: [{ station, microUsd: 471 }] }],
  ] as const
  test.each(lies)('with a receipt %s fails', async (_, why, more, signed?) => {
    const report = verifyBundle(await sold(utf8(inJson), more, signed))
    expect(report).toMatchObject({
      ok: false,
      sale: null,
      readings: [],
      failure: { step: 'sale', text: expect.stringMatching(why) },
    })
  })

  test('with any byte changed fails and never throws', async () => {
    const bytes = await sold(utf8(inJson))
    const property = fc.property(mutation(bytes), (changed) => {
      const report = verifyBundle(changed)
      return !report.ok && report.sale === null
    })
    fc.assert(property, { seed, numRuns: 300 })
  })
})

describe('an answer', () => {
  test.each(Object.entries(forms))('in %s is what was bought, and each row is proven', async (_, text) => {
    const answer = utf8(text)
    const step = checkAnswer(verifyBundle(await sold(answer)), answer)
    expect(step).toEqual({
      name: 'answer',
      state: 'passed',
      text: 'it is what the receipt names, byte for byte; each of its 20 rows is a proven reading',
    })
  })

  /** What is wrong when one thing of the sold answer is another. */
  const changed = async (from: string | RegExp, to: string, text: string = inJson) => {
    const answer = utf8(text.replace(from, to))
    expect(Buffer.from(answer).toString()).not.toBe(text)
    // The hub lies, and signs what it gives.
    return checkAnswer(verifyBundle(await sold(answer)), answer)
  }

  test('with a value, time or sensor that the station did not sign fails, though the hub signed it', async () => {
    const value = bare.readings[0]!.values[0]!
    expect(quantityNamed('temperature')!.code).toBe(value.quantity)
    for (const text of Object.values(forms)) {
      const found = /(?:"temperature":|bme280,)(-?\d+\.?\d*)/.exec(text)!
      const step = await changed(found[1]!, `${Number(found[1]) + 0.01}`, text)
      expect(step).toMatchObject({ state: 'failed' })
      expect(step.text).toMatch(
        /^row \d+ \(envelope \d+ of station .* says .*, which its station did not sign$/,
      )
    }
    expect(await changed(/"time":"2025/, '"time":"2024')).toMatchObject({ state: 'failed' })
    expect(await changed('"sensor":"bme280"', '"sensor":"other"')).toMatchObject({ state: 'failed' })
    expect(await changed(/"temperature":/, '"pm25":')).toMatchObject({ state: 'failed' })
    expect(await changed(/"humidity":[\d.]+/, '"humidity":null')).toMatchObject({ state: 'failed' })
  })

  test('with a row twice, or one of no envelope in the bundle, fails', async () => {
    const rows = forms.NDJSON.trimEnd().split('\n')
    const twice = utf8([...rows, rows[3]].join('\n'))
    expect(checkAnswer(verifyBundle(await sold(twice)), twice)).toMatchObject({
      state: 'failed',
      text: expect.stringMatching(/^row 21 .*is none of the proven readings, or comes twice$/),
    })
    const place = utf8(inJson.replace('"place":0', '"place":9'))
    expect(checkAnswer(verifyBundle(await sold(place)), place)).toMatchObject({ state: 'failed' })
  })

  test('that says more than what is compared does not pass, though the hub signed it', async () => {
    const lie = JSON.parse(forms.NDJSON.split('\n')[0]!.replace(/"temperature":[\d.]+/, '"temperature":50'))
    const honest = forms.NDJSON.split('\n')[0]!
    const page = JSON.parse(inJson) as Record<string, unknown>
    const [names, first] = forms.CSV.split('\r\n') as [string, string]
    const value = /bme280,([\d.]+),/.exec(first)![1]!
    const [time] = first.split(',') as [string]
    const more = {
      'another list of rows': JSON.stringify({ ...page, buckets: [lie] }),
      'features beside no readings': JSON.stringify({
        type: 'FeatureCollection',
        features: [],
        readings: [],
      }),
      'a row that has readings': JSON.stringify({ ...lie, readings: [] }),
      'another member in a row': honest.replace('{', '{"temperature":50,'),
      'a member twice': honest.replace('"values":', '"values":{"temperature":50},"values":'),
      'a member twice under two spellings': inJson.replace(
        '"temperature":',
        '"temperatur\\u0065":50,"temperature":',
      ),
      'a column twice': `${names.replace('temperature', 'temperature,temperature')}\r\n${first.replace(value, `50,${value}`)}`,
      'a column of its own': `${names},temp\r\n${first},50`,
      'more fields than columns': `${names}\r\n${first},50`,
      'a quoted field': `${names}\r\n${first.replace(',bme280,', ',"bme280",')}`,
      'a line in a line': `${names}\r\n${first}\r50,${first.split(',').slice(1).join(',')}`,
    }
    for (const [what, text] of Object.entries(more)) {
      const answer = utf8(text)
      const step = checkAnswer(verifyBundle(await sold(answer)), answer)
      expect([what, step.state]).toEqual([what, 'failed'])
      expect(step.text).toContain('says more than what can be compared')
    }
    // Written so that others read another time or value than this program does.
    for (const text of [
      forms.CSV.replace(time, time.slice(0, -1)),
      inJson.replace(time, time.replace('Z', ' Z (UTC)')),
      forms.CSV.replace(value, ` ${value}`),
      forms.CSV.replace(value, `+${value}`),
    ])
      expect(checkAnswer(bare, utf8(text))).toMatchObject({
        state: 'failed',
        text: expect.stringMatching(/^row 1 /),
      })
  })

  test('in CSV with a sensor that a spreadsheet would run is read as its station wrote it', async () => {
    const apart = openWorld()
    const one = apart.addStation(signerOf(33))
    apart.sign(one, weather(4, startMs, '-roof', 1))
    apart.closeBatch()
    apart.anchor(1)
    const report = verifyBundle(bytesOf(await buildBundle(apart.deps, { ...everywhere, fromMs: startMs })))
    const text = await rendered(csv.render([rowsOf(report.readings)], { columns, cellOf: () => undefined }))
    expect(text).toContain(",'-roof,")
    expect(checkAnswer(report, utf8(text))).toMatchObject({ state: 'passed' })
  })

  test('nested as deeply as can be is judged', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`
    expect(checkAnswer(bare, utf8(`{"readings":${deep}}`)).state).toBe('failed')
  })

  test('with rows left out tells how many', async () => {
    const few = utf8(forms.NDJSON.split('\n').slice(0, 12).join('\n'))
    expect(checkAnswer(verifyBundle(await sold(few)), few)).toMatchObject({
      state: 'passed',
      text: expect.stringMatching(
        /each of its 12 rows is a proven reading; 8 proven readings more are not in it$/,
      ),
    })
  })

  test('whose newest rows are not anchored yet is told apart from one that lies', async () => {
    const later = { ...scope, toMs: startMs + 9 * stepMs }
    const row = JSON.stringify({
      ...JSON.parse(forms.NDJSON.split('\n')[0]!),
      proof: { seq: 99, place: 0, status: 'pending' },
    })
    const answer = utf8(`${forms.NDJSON}${row}\n`)
    const receipt = signSale(receiptFor(answer, { scope: later }), network, hub)
    const built = await buildBundle(world.deps, later, { hubKey: hub.publicKey, receipt })
    expect(checkAnswer(verifyBundle(bytesOf(built)), answer)).toMatchObject({
      state: 'warned',
      text: expect.stringContaining('1 row NOT PROVEN YET'),
    })
  })

  test('that is not the one of the receipt is told, and fails where its rows cannot be read', async () => {
    const report = verifyBundle(await sold(utf8('something else')))
    expect(checkAnswer(report, utf8(inJson))).toMatchObject({
      state: 'warned',
      text: expect.stringContaining('its bytes are not those of the receipt'),
    })
    const unread = Uint8Array.of(0xa0, 0xff)
    expect(checkAnswer(report, unread)).toMatchObject({ state: 'failed' })
    expect(checkAnswer(verifyBundle(await sold(unread)), unread)).toMatchObject({
      state: 'warned',
      text: expect.stringContaining('its rows were not compared'),
    })
    const intervals = utf8('{"buckets":[],"next":null}')
    expect(checkAnswer(verifyBundle(await sold(intervals)), intervals)).toMatchObject({ state: 'warned' })
  })

  test('of any bytes is judged and never throws', () => {
    const report: Report = bare
    const text = fc.oneof(
      fc.json().map(utf8),
      fc.uint8Array(),
      fc.string().map((line) => utf8(`${forms.CSV.split('\r\n')[0]}\r\n${line}`)),
      fc.jsonValue().map((readings) => utf8(JSON.stringify({ readings }))),
      mutation(utf8(inJson)),
    )
    fc.assert(
      fc.property(text, (bytes) => ['passed', 'warned', 'failed'].includes(checkAnswer(report, bytes).state)),
      { seed, numRuns: 500 },
    )
  })
})

describe('groundtruth verify --answer', () => {
  const run = async (bundle: Uint8Array, answer: string | undefined, json = false) => {
    const directory = temporaryDirectory()
    const [file, bought] = ['proof.cbor', 'answer.json'].map((name) => join(directory, name)) as [
      string,
      string,
    ]
    writeFileSync(file, bundle)
    if (answer !== undefined) writeFileSync(bought, answer)
    const parts: string[] = []
    const code = await verifyCommand({ file, answer: bought, json }, { write: (part) => parts.push(part) })
    return { code, text: parts.join('') }
  }

  test('says what it compared, and ends with 0', async () => {
    const { code, text } = await run(await sold(utf8(inJson)), inJson)
    expect(code).toBe(0)
    expect(text).toContain('✓ answer      it is what the receipt names, byte for byte; each of its 20 rows')
  })

  test('ends with 1 where a row is not what its station signed, in words and as JSON', async () => {
    const lie = inJson.replace(/"temperature":(-?\d+)/, '"temperature":9$1')
    const { code, text } = await run(await sold(utf8(lie)), lie)
    expect(code).toBe(1)
    expect(text.trimEnd().split('\n').at(-1)).toMatch(/^FAILED: row 1 .*did not sign\.$/)
    const asJson = await run(await sold(utf8(lie)), lie, true)
    expect(JSON.parse(asJson.text)).toMatchObject({
      ok: false,
      failure: { step: 'answer' },
      readings: [],
      sale: { response: expect.stringMatching(/^[0-9a-f]{64}$/) },
    })
  })

  test('shows nothing of an answer that a terminal would obey', async () => {
    const lie = forms.NDJSON.replace('"bme280"', JSON.stringify('\u001b[2J\rVERIFIED'))
    const { code, text } = await run(await sold(utf8(lie)), lie)
    expect(code).toBe(1)
    expect(text).toContain('says sensor  [2J VERIFIED, which its station did not sign')
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
  })

  test('ends with 66 without the file', async () => {
    const { code, text } = await run(await sold(utf8(inJson)), undefined)
    expect(code).toBe(66)
    expect(text).toContain('Name the answer that was bought')
  })
})
