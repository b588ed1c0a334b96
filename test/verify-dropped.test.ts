import { describe, expect, test } from 'vitest'
import { buildBundle } from '#gateway/market/bundle.ts'
import { type Bundle, encodeBundle } from '#gateway/reading/bundle.ts'
import { decodeBundle } from '#gateway/reading/bundle-decode.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import {
  type Dropped,
  decodeDropped,
  droppedContentType,
  droppedDigest,
  encodeDropped,
  maxDropped,
  unsignedLost,
} from '#gateway/reading/dropped.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
import { lostOf } from '#gateway/verify/lost.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { openWorld } from './bundle-world.ts'
import { signerOf, weather } from './reading/samples.ts'

const startMs = 1_763_700_000_000
const stepMs = 120_000

const declaration = (envelopes: Dropped['envelopes'], atSeq = 100): Dropped => ({
  reason: 'budget',
  envelopes,
  merged: false,
  unsigned: 0,
  fromMs: startMs,
  toMs: startMs + stepMs,
  declaredMs: startMs + atSeq * stepMs,
  digest: droppedDigest([]),
})

const position = (seq: number) => [
  {
    sensor: 'gnss',
    model: 'nmea0183',
    timeMs: startMs + seq * stepMs,
    values: [{ quantity: 35, scaled: 482_082_000 }],
  },
]

/** Letters: `d` data, `p` a position, `D` and `P` the same but lost, `x` the declaration, of those numbers. */
const reportOf = async (kinds: string, declared: readonly number[]) => {
  const world = openWorld()
  const station = world.addStation(signerOf(41))
  for (const [at, kind] of [...kinds].entries()) {
    const seq = at + 1
    const envelopes = declared.map((one) => ({
      seq: one,
      count: 1,
      readings: 4,
      withheld: kinds[one - 1]!.toLowerCase() === 'p' ? 1 : 0,
    }))
    if (kind === 'x') world.sign(station, [], { dropped: declaration(envelopes, seq) })
    else
      world.sign(
        station,
        kind.toLowerCase() === 'p' ? position(seq) : weather(4, startMs + seq * stepMs, 'bme280', seq),
        { lose: kind === 'D' || kind === 'P' },
      )
  }
  world.closeBatch()
  world.anchor(1)
  const built = await buildBundle(world.deps, {
    stations: [station],
    fromMs: startMs,
    toMs: startMs + 1000 * stepMs,
  })
  if (!built.ok) throw new Error(built.detail)
  return verifyBundle(built.bytes)
}

/** A report over envelopes 1 to 4 and the one behind them; what is declared stands further on, in batches of its own. */
const reportBefore = async (
  declared: readonly Partial<Dropped>[],
  change: (built: Uint8Array) => Uint8Array = (built) => built,
) => {
  const world = openWorld()
  const station = world.addStation(signerOf(43))
  const at = (seq: number): number => startMs + seq * stepMs
  for (let seq = 1; seq <= 20; seq++)
    world.sign(station, weather(4, at(seq), 'bme280', seq), { lose: seq > 2 && seq < 6 })
  for (const [n, one] of declared.entries())
    world.sign(station, [], { dropped: { ...declaration([], 21 + n), ...one } })
  world.closeBatch()
  world.anchor(1)
  const built = await buildBundle(world.deps, { stations: [station], fromMs: at(2), toMs: at(7) })
  if (!built.ok) throw new Error(built.detail)
  return verifyBundle(change(built.bytes))
}

const single = (seq: number) => ({ seq, count: 1, readings: 4, withheld: 0 })

/** A bundle of which only the checksum is made anew. */
const resealed = (built: Uint8Array, change: (bundle: Bundle) => Bundle): Uint8Array => {
  const decoded = decodeBundle(built)
  if (!decoded.ok) throw new Error(decoded.detail)
  return encodeBundle(change(decoded.bundle))
}

const sequenceLine = ({ steps }: Awaited<ReturnType<typeof reportOf>>): string => {
  const step = steps.find(({ name }) => name === 'sequence')
  return [step?.text, ...(step?.details ?? [])].join('\n')
}

describe('envelopes declared lost', () => {
  test('a hole that the station declares is no omission of the hub, and is told with its counts', async () => {
    const report = await reportOf('ddDdDdxd', [3, 5])
    expect(report.failure).toBeNull()
    expect(report.stations[0]).toMatchObject({
      declared: [
        [3, 3],
        [5, 5],
      ],
      declaredReadings: 8,
      complete: false,
    })
    expect(sequenceLine(report)).toContain('declared lost by the station: 2 envelopes, 8 readings (3, 5)')
    expect(sequenceLine(report)).not.toContain('never received')
  })

  test('a hole that nobody declares stays the word of the hub', async () => {
    const report = await reportOf('ddDdDdxd', [3])
    expect(report.stations[0]).toMatchObject({ declared: [[3, 3]], declaredReadings: 4 })
    expect(sequenceLine(report)).toContain('the hub says it never received 5')
  })

  test('what is declared lost and is there all the same was not lost', async () => {
    const report = await reportOf('ddDdxd', [2, 3])
    expect(report.ok).toBe(true)
    expect(report.stations[0]).toMatchObject({ declared: [[3, 3]], declaredReadings: 4 })
    expect(report.readings.filter(({ seq }) => seq === 2)).toHaveLength(4)
  })

  test('the count of withheld ones holds across a declared hole, with a position in it or not', async () => {
    const declared = await reportOf('dpPDdxd', [3, 4])
    expect(declared.stations[0]).toMatchObject({ withheld: [[2, 2]], unconfirmed: [] })
    const silent = await reportOf('dpPDdxd', [4])
    expect(silent.stations[0]).toMatchObject({ withheld: [[2, 2]], unconfirmed: [[2, 2]] })
  })

  test('a declaration that stands behind what the bundle reaches is in it all the same', async () => {
    const report = await reportBefore([{ envelopes: [single(3), single(5)] }, { envelopes: [single(9)] }])
    expect(report.failure).toBeNull()
    expect(report.stations[0]).toMatchObject({
      last: 7,
      missing: [[3, 5]],
      declared: [
        [3, 3],
        [5, 5],
      ],
      declaredReadings: 8,
    })
    expect(sequenceLine(report)).toContain('declared lost by the station: 2 envelopes, 8 readings (3, 5)')
    expect(sequenceLine(report)).toContain('the hub says it never received 4')
    const silent = await reportBefore([])
    expect(sequenceLine(silent)).toContain('the hub says it never received 3-5')
  })

  test('a stretch told in one counts once, though what it takes the place of arrived as well', async () => {
    const envelopes = [{ seq: 3, count: 3, readings: 12, withheld: 0 }]
    const report = await reportBefore([
      { envelopes: [single(3)] },
      { envelopes: [single(4)] },
      { envelopes, merged: true },
    ])
    expect(report.failure).toBeNull()
    expect(report.stations[0]).toMatchObject({ declared: [[3, 5]], declaredReadings: 12 })
    expect(sequenceLine(report)).not.toContain('never received')
  })

  test('a declaration beside the leaves counts only as the station signed it', async () => {
    const with3 = [{ envelopes: [single(3)] }]
    const forged = await reportBefore(with3, (built) =>
      resealed(built, (bundle) => ({
        ...bundle,
        stations: bundle.stations.map((one) => ({
          ...one,
          declarations: one.declarations.map((bytes) => {
            const changed = bytes.slice()
            changed[changed.length - 1]! ^= 1
            return changed
          }),
        })),
      })),
    )
    expect(forged.failure).toMatchObject({ step: 'signatures' })
    expect(forged.failure?.text).toContain('has a signature that does not fit')
    const twice = await reportBefore(with3, (built) =>
      resealed(built, (bundle) => ({
        ...bundle,
        stations: bundle.stations.map((one) => ({
          ...one,
          declarations: [...one.declarations, ...one.declarations],
        })),
      })),
    )
    expect(twice.failure?.text).toContain('is out of order')
    const others = openWorld()
    const stranger = others.addStation(signerOf(44))
    for (let seq = 1; seq < 6; seq++) others.sign(stranger, weather(1, startMs, 'bme280', seq))
    const { bytes } = others.sign(stranger, [], { dropped: { ...declaration([single(3)], 6) } })
    const strange = await reportBefore(with3, (built) =>
      resealed(built, (bundle) => ({
        ...bundle,
        stations: bundle.stations.map((one) => ({ ...one, declarations: [bytes] })),
      })),
    )
    expect(strange.failure?.text).toContain('names another key in its kid')
  })

  test('readings lost before they were signed are told to whoever asks for their time, and to nobody else', async () => {
    const world = openWorld()
    const station = world.addStation(signerOf(45))
    const at = (seq: number): number => startMs + seq * stepMs
    for (let seq = 1; seq <= 4; seq++) world.sign(station, weather(4, at(seq), 'bme280', seq))
    world.sign(station, [], { dropped: unsignedLost(19, at(6), at(8), at(20)) })
    for (let seq = 6; seq <= 12; seq++) world.sign(station, weather(4, at(seq), 'bme280', seq))
    world.closeBatch()
    world.anchor(1)
    const reportFor = async (fromMs: number, toMs: number) => {
      const built = await buildBundle(world.deps, { stations: [station], fromMs, toMs })
      if (!built.ok) throw new Error(built.detail)
      return verifyBundle(built.bytes)
    }
    const within = await reportFor(at(7), at(9))
    expect(within.failure).toBeNull()
    expect(within.stations[0]).toMatchObject({ unsigned: 19, complete: false, missing: [] })
    expect(sequenceLine(within)).toContain(
      'declared lost by the station before they were signed: 19 readings',
    )
    for (const [from, to] of [
      [1, 3],
      [10, 11],
    ] as const)
      expect((await reportFor(at(from), at(to))).stations[0]).toMatchObject({ unsigned: 0, complete: true })
  })

  test('what is merged, and what was never signed, is read back as it was written and nothing else is', () => {
    const merged: Dropped = {
      ...declaration([
        { seq: 3, count: 90_000, readings: 450_000, withheld: 17 },
        { seq: 100_000, count: 1, readings: 0, withheld: 0 },
      ]),
      merged: true,
    }
    for (const dropped of [merged, unsignedLost(12_345, startMs, startMs + 1, startMs + 2)]) {
      const payload = encodeDropped(dropped)
      expect(decodeDropped(payload, 100_001)).toEqual({ ok: true, dropped })
      for (let cut = 0; cut < payload.length; cut++)
        for (const flip of [0, 1, 2, 0x20, 0x80, 0xff]) {
          const changed = payload.slice(0, flip === 0 ? cut : payload.length)
          if (flip !== 0) changed[cut]! ^= flip
          const decoded = decodeDropped(changed, 100_001)
          if (flip === 0) expect(decoded.ok).toBe(false)
          if (decoded.ok) expect(encodeDropped(decoded.dropped)).toEqual(changed)
        }
    }
    expect(decodeDropped(encodeDropped(merged), 100_000).ok).toBe(false)
    const overlapping = { ...merged, envelopes: [single(3), { ...single(4), count: 2 }, single(5)] }
    expect(decodeDropped(encodeDropped(overlapping), 100_001).ok).toBe(false)
    const tooMany = { ...merged, envelopes: [{ ...single(3), withheld: 2 }] }
    expect(decodeDropped(encodeDropped(tooMany), 100_001).ok).toBe(false)
  })

  test('numbers without end in a signed declaration or a hole are no work without end', async () => {
    const far = { seq: 3, count: 2 ** 31 - 1, readings: 7, withheld: 0 }
    expect(
      lostOf([{ seq: 2 ** 40, dropped: { ...declaration([far]), merged: true } }], [[3, 2 ** 45]], {
        fromMs: 0,
        toMs: 1,
      }),
    ).toMatchObject({ declared: [[3, 2 ** 31 + 1]], readings: 7 })
    const world = openWorld()
    const station = world.addStation(signerOf(46))
    world.sign(station, weather(4, startMs, 'bme280', 1))
    world.stations.get(station)!.seq = 2 ** 45
    world.sign(station, [], { dropped: { ...declaration([far]), merged: true } })
    world.sign(station, weather(4, startMs + stepMs, 'bme280', 2))
    world.closeBatch()
    world.anchor(1)
    const built = await buildBundle(world.deps, {
      stations: [station],
      fromMs: startMs,
      toMs: startMs + 2 * stepMs,
    })
    if (!built.ok) throw new Error(built.detail)
    expect(verifyBundle(built.bytes).ok).toBe(true)
  })

  test('a declaration is read back as it was written, and has no readings', () => {
    const envelopes = Array.from({ length: maxDropped }, (_, at) => ({
      seq: 7 + 2 * at + (at % 3 === 0 ? 1 : 0),
      count: 1,
      readings: at % 51,
      withheld: at % 100 === 0 ? 1 : 0,
    }))
    const dropped = declaration(envelopes)
    const payload = encodeDropped(dropped)
    expect(payload.length).toBeLessThan(4096)
    expect(decodeDropped(payload, 10_000)).toEqual({ ok: true, dropped })
    // It cannot speak of itself, or of what comes later.
    expect(decodeDropped(payload, envelopes.at(-1)!.seq).ok).toBe(false)
    const bytes = openWorld()
    const station = bytes.addStation(signerOf(42))
    bytes.sign(station, weather(1, startMs, 'bme280', 1))
    const { bytes: signed } = bytes.sign(station, [], {
      dropped: declaration([{ seq: 1, count: 1, readings: 1, withheld: 0 }]),
    })
    const decoded = decodeEnvelope(signed)
    if (!decoded.ok) throw new Error(decoded.detail)
    expect(decoded.envelope.contentType).toBe(droppedContentType)
    expect(readingsOf(decoded.envelope)).toEqual({ ok: true, readings: [], frames: [] })
  })

  test('a declaration with any byte changed or cut is refused or reads as another, and never throws', () => {
    const payload = encodeDropped(
      declaration([2, 4, 9].map((seq) => ({ seq, count: 1, readings: 5, withheld: seq === 4 ? 1 : 0 }))),
    )
    for (let at = 0; at < payload.length; at++) {
      expect(decodeDropped(payload.subarray(0, at), 100).ok).toBe(false)
      for (const flip of [1, 0x20, 0x80, 0xff]) {
        const changed = payload.slice()
        changed[at]! ^= flip
        const decoded = decodeDropped(changed, 100)
        if (decoded.ok) expect(encodeDropped(decoded.dropped)).toEqual(changed)
      }
    }
  })
})
