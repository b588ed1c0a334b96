import { beforeAll, describe, expect, it } from 'vitest'
import { buildBundle } from '#gateway/market/bundle.ts'
import { type Bundle, type BundleLeaf, type BundleScope, encodeBundle } from '#gateway/reading/bundle.ts'
import { decodeBundle } from '#gateway/reading/bundle-decode.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
import { leafHash, rangeProof } from '#gateway/reading/merkle.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { type Report, verifyBundle } from '#gateway/verify/verify.ts'
import { openWorld } from './bundle-world.ts'
import { signerOf, weather } from './reading/samples.ts'

const startMs = 1_763_700_000_000
const stepMs = 120_000

const data = (seq: number): Reading[] => weather(4, startMs + seq * stepMs + 1000, 'bme280', seq)

const position = (seq: number): Reading[] => [
  {
    sensor: 'gnss',
    model: 'nmea0183',
    timeMs: startMs + seq * stepMs + 500,
    values: [
      { quantity: 35, scaled: 482_082_000 },
      { quantity: 36, scaled: 163_738_000 },
    ],
  },
]

/** The time of these envelopes, each two minutes long. */
const during = (first: number, last: number): Pick<BundleScope, 'fromMs' | 'toMs'> => ({
  fromMs: startMs + first * stepMs,
  toMs: startMs + (last + 1) * stepMs,
})

type How = NonNullable<Parameters<ReturnType<typeof openWorld>['sign']>[2]>

/** A station with as many envelopes as there are letters: `d` data, `p` positions; all in one anchored batch. */
const openStation = (kinds: string, how: Readonly<Record<number, How>> = {}) => {
  const world = openWorld()
  const station = world.addStation(signerOf(31))
  for (const [at, kind] of [...kinds].entries())
    world.sign(station, kind === 'p' ? position(at + 1) : data(at + 1), how[at + 1] ?? {})
  world.closeBatch()
  world.anchor(1)
  const build = async (first: number, last: number): Promise<Uint8Array> => {
    const built = await buildBundle(world.deps, { stations: [station], ...during(first, last) })
    return built.ok ? built.bytes : expect.fail(built.detail)
  }
  const verified = async (first: number, last: number): Promise<Report> =>
    verifyBundle(await build(first, last))
  const hashes = world.batches[0]!.kept.map(({ bytes }) => leafHash(bytes))
  return { station, build, verified, hashes }
}

const failure = (report: Report, station: string): string =>
  (report.failure?.text ?? 'no failure').replaceAll(station, 'S')

const sequenceText = (report: Report, station: string): string =>
  report.steps
    .find(({ name }) => name === 'sequence')!
    .details!.join('\n')
    .replaceAll(station, 'S')

describe('an envelope withheld', () => {
  it('is confirmed as a private position by the counts that its station signed', async () => {
    const { station, verified } = openStation('ddppddpdd')
    const report = await verified(3, 7)
    expect(report).toMatchObject({ ok: true, complete: true })
    expect(report.stations[0]).toMatchObject({
      first: 2,
      last: 8,
      withheld: [
        [3, 4],
        [7, 7],
      ],
      unconfirmed: [],
      jumps: [],
    })
    expect(sequenceText(report, station)).toBe(
      'station S: envelopes 2 to 8; 3-4, 7 withheld as private positions, as many as the station signed; nothing left out',
    )
  })

  it('that holds data fails and is named, also when the hub lies to its own builder', async () => {
    const { station, verified } = openStation('dddddpdddd', { 7: { withheld: true } })
    const report = await verified(3, 8)
    expect(report).toMatchObject({ ok: false, complete: false, readings: [] })
    expect(report.failure).toMatchObject({ step: 'sequence', batch: 1, leaf: 5, station, seq: 6 })
    expect(failure(report, station)).toBe(
      'the hub withholds envelopes 6-7 as private positions, and station S signed that there was only 1 between 5 and 8',
    )
    const alone = openStation('ddddddddd', { 7: { withheld: true } })
    const other = await alone.verified(5, 8)
    expect(other.failure).toMatchObject({ step: 'sequence', batch: 1, leaf: 6, seq: 7 })
    expect(failure(other, alone.station)).toBe(
      'the hub withholds envelope 7 as a private position, and station S signed that there was none between 6 and 8',
    )
  })

  it('from the first on is counted from nothing', async () => {
    const honest = openStation('ppddd')
    const report = await honest.verified(0, 3)
    expect(report).toMatchObject({ ok: true, complete: true, stations: [{ first: 1, withheld: [[1, 2]] }] })
    const lying = openStation('pdddd', { 2: { withheld: true } })
    expect(failure(await lying.verified(0, 3), lying.station)).toBe(
      'the hub withholds envelopes 1-2 as private positions, and station S signed that there was only 1 before 3',
    )
  })

  it('at the end, where nothing behind it speaks, is the hub’s word and leaves the bundle incomplete', async () => {
    const { station, verified } = openStation('ddpdpp')
    const report = await verified(2, 9)
    expect(report).toMatchObject({ ok: true, complete: false })
    expect(report.stations[0]).toMatchObject({
      withheld: [
        [3, 3],
        [5, 6],
      ],
      unconfirmed: [[5, 6]],
      toMs: Math.max(...data(4).map(({ timeMs }) => timeMs)),
    })
    expect(sequenceText(report, station)).toContain(
      "3, 5-6 withheld as private positions, 5-6 by the hub's word alone, because no signed count confirms it there",
    )
  })

  it('behind one that would close the time asked opens it again', async () => {
    const { build, station } = openStation('ddddddpd')
    const decoded = decodeBundle(await build(3, 6))
    const { bundle } = decoded.ok ? decoded : expect.fail(decoded.detail)
    expect(bundle.batches[0]!.runs[0]!.leaves).toHaveLength(7)
    const report = verifyBundle(encodeBundle(hiding(bundle, new Set([8]))))
    expect(report).toMatchObject({ ok: true, complete: false, stations: [{ unconfirmed: [[7, 8]] }] })
    expect(sequenceText(report, station)).toContain("7-8 by the hub's word alone")
  })

  it('at which the bundle is cut off, though its batch holds more, is refused at either end', async () => {
    const { build, station, hashes } = openStation('dpdddddpdd')
    const decoded = decodeBundle(await build(4, 8))
    const { bundle } = decoded.ok ? decoded : expect.fail(decoded.detail)
    const cut = (first: number, last: number, asked: [number, number]): Report => {
      const [batch] = bundle.batches
      const [run] = batch!.runs
      const leaves = [{ seq: 2, hash: hashes[1]! }, ...run!.leaves].slice(first - 2, last - 1)
      const cutRun = {
        ...run!,
        first: first - 1,
        leaves,
        proof: rangeProof(hashes, first - 1, leaves.length),
      }
      const scope = { station, ...during(...asked) }
      return verifyBundle(encodeBundle({ ...bundle, scope, batches: [{ ...batch!, runs: [cutRun] }] }))
    }
    expect(cut(3, 9, [4, 8])).toMatchObject({ ok: true, complete: true })
    expect(failure(cut(3, 8, [4, 6]), station)).toBe(
      'the bundle ends with envelope 8 of station S, inside the time asked, and batch 1 holds more: 1 to 10',
    )
    expect(failure(cut(2, 9, [4, 8]), station)).toBe(
      'the bundle begins with envelope 2 of station S, inside the time asked, and batch 1 holds more: 1 to 10',
    )
  })

  it('of which another that is shown is one too is counted with it', async () => {
    const { verified } = openStation('dddpdpdd', { 4: { withheld: false } })
    expect(await verified(3, 6)).toMatchObject({
      ok: true,
      complete: true,
      stations: [{ withheld: [[6, 6]] }],
    })
    const { station, verified: lying } = openStation('dddpddd', {
      3: { withheld: true },
      4: { withheld: false },
    })
    expect(failure(await lying(3, 5), station)).toContain('withholds envelope 3 as a private position')
  })

  it('beside a hole is bound by the counts and not confirmed, because what was lost may be what was counted', async () => {
    const honest = openStation('dddpdddd', { 5: { lose: true } })
    expect(await honest.verified(3, 6)).toMatchObject({
      ok: true,
      complete: false,
      stations: [{ missing: [[5, 5]], withheld: [[4, 4]], unconfirmed: [[4, 4]], jumps: [] }],
    })
    const lost = openStation('dddppddd', { 5: { lose: true } })
    expect(await lost.verified(3, 6)).toMatchObject({ ok: true, stations: [{ jumps: [] }] })
    const lying = openStation('dddddddd', { 4: { withheld: true }, 5: { lose: true } })
    expect(failure(await lying.verified(3, 6), lying.station)).toBe(
      'the hub withholds envelope 4 as a private position, and station S signed that there was none between 3 and 6',
    )
  })

  it('where the station’s own count jumps is not blamed on the hub, and told', async () => {
    const { station, verified } = openStation('dppdpddd', { 5: { declared: 1 } })
    const report = await verified(3, 6)
    expect(report).toMatchObject({
      ok: true,
      complete: false,
      stations: [
        {
          withheld: [
            [2, 3],
            [5, 5],
          ],
          unconfirmed: [[5, 5]],
          jumps: [[4, 6]],
        },
      ],
    })
    expect(sequenceText(report, station)).toContain(
      "the station's own count of private positions jumps between 4 and 6",
    )
    const more = openStation('dddddd', { 4: { declared: 3 } })
    expect(await more.verified(2, 4)).toMatchObject({
      ok: true,
      complete: true,
      stations: [{ unconfirmed: [], jumps: [[3, 4]] }],
    })
  })
})

/** The bundle of a hub that withholds these envelopes too: everything else in it stays true. */
const hiding = (bundle: Bundle, seqs: ReadonlySet<number>): Bundle => ({
  ...bundle,
  batches: bundle.batches.map((batch) => ({
    ...batch,
    runs: batch.runs.map((run) => ({
      ...run,
      leaves: run.leaves.map((leaf): BundleLeaf => {
        if (!('bytes' in leaf)) return leaf
        const decoded = decodeEnvelope(leaf.bytes)
        const seq = decoded.ok ? decoded.envelope.seq : 0
        return seqs.has(seq) ? { seq, hash: leafHash(leaf.bytes) } : leaf
      }),
    })),
  })),
})

describe('a hub that withholds data', () => {
  const kinds = 'ddpddppddpdd'
  const shown = [...kinds].flatMap((kind, at) => (kind === 'd' ? [at + 1] : []))
  let bundle: Bundle
  beforeAll(async () => {
    const decoded = decodeBundle(await openStation(kinds).build(1, 11))
    bundle = decoded.ok ? decoded.bundle : expect.fail(decoded.detail)
  })

  it('never has a complete bundle, whichever of it it withholds', () => {
    expect(verifyBundle(encodeBundle(bundle))).toMatchObject({ ok: true, complete: true })
    let failed = 0
    for (let choice = 1; choice < 2 ** shown.length; choice++) {
      const hidden = new Set(shown.filter((_, at) => choice & (1 << at)))
      const report = verifyBundle(encodeBundle(hiding(bundle, hidden)))
      expect(report.complete, `hidden: ${[...hidden]}`).toBe(false)
      // Only where nothing is shown behind what is hidden does it pass for an end, and is told as that.
      const highestShown = Math.max(0, ...shown.filter((seq) => !hidden.has(seq)))
      const atTheEnd = [...hidden].every((seq) => seq > highestShown)
      expect(report.ok, `hidden: ${[...hidden]}`).toBe(atTheEnd)
      if (!report.ok) failed++
    }
    expect(failed).toBe(2 ** shown.length - 1 - shown.length)
  })
})
