import { describe, expect, test } from 'vitest'
import { buildBundle } from '#gateway/market/bundle.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import {
  type Dropped,
  decodeDropped,
  droppedContentType,
  droppedDigest,
  encodeDropped,
  maxDropped,
} from '#gateway/reading/dropped.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { openWorld } from './bundle-world.ts'
import { signerOf, weather } from './reading/samples.ts'

const startMs = 1_763_700_000_000
const stepMs = 120_000

const declaration = (envelopes: Dropped['envelopes'], atSeq = 100): Dropped => ({
  reason: 'budget',
  envelopes,
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
      readings: 4,
      withheld: kinds[one - 1]!.toLowerCase() === 'p',
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
  const built = await buildBundle(world.deps, { station, fromMs: startMs, toMs: startMs + 1000 * stepMs })
  if (!built.ok) throw new Error(built.detail)
  return verifyBundle(built.bytes)
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

  test('a declaration is read back as it was written, and has no readings', () => {
    const envelopes = Array.from({ length: maxDropped }, (_, at) => ({
      seq: 7 + 2 * at + (at % 3 === 0 ? 1 : 0),
      readings: at % 51,
      withheld: at % 100 === 0,
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
      dropped: declaration([{ seq: 1, readings: 1, withheld: false }]),
    })
    const decoded = decodeEnvelope(signed)
    if (!decoded.ok) throw new Error(decoded.detail)
    expect(decoded.envelope.contentType).toBe(droppedContentType)
    expect(readingsOf(decoded.envelope)).toEqual({ ok: true, readings: [], frames: [] })
  })

  test('a declaration with any byte changed or cut is refused or reads as another, and never throws', () => {
    const payload = encodeDropped(
      declaration([2, 4, 9].map((seq) => ({ seq, readings: 5, withheld: seq === 4 }))),
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
