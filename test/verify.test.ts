import fc from 'fast-check'
import { toEventSelector, toFunctionSelector } from 'viem'
import { beforeAll, describe, expect, it } from 'vitest'
import type { RpcRequest } from '#gateway/anchor/chain.ts'
import type { KeptEnvelope } from '#gateway/evidence/evidence.ts'
import { type BuiltBundle, buildBundle, maxEnvelopes } from '#gateway/market/bundle.ts'
import {
  type Bundle,
  type BundleBatch,
  type BundleScope,
  digestBytes,
  encodeBundle,
  type Run,
} from '#gateway/reading/bundle.ts'
import { decodeBundle } from '#gateway/reading/bundle-decode.ts'
import { equalBytes, toHex } from '#gateway/reading/bytes.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
import { leafHash, rangeProof, treeRoot } from '#gateway/reading/merkle.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { sha256 } from '#gateway/reading/sha256.node.ts'
import { encodeStatement, type Statement, type StationSpan } from '#gateway/reading/statement.ts'
import { anchoredSelector, anchoredTopic } from '#gateway/verify/chain.ts'
import { rowsOf } from '#gateway/verify/rows.ts'
import { type Report, verifyBundle, verifyOnChain } from '#gateway/verify/verify.ts'
import { network, openWorld, type World } from './bundle-world.ts'
import { mutation, seed, signerOf, weather } from './reading/samples.ts'

const startMs = 1_763_700_000_000
const stepMs = 120_000

const builtBytes = (built: BuiltBundle): Uint8Array => (built.ok ? built.bytes : expect.fail(built.detail))

const bundleOf = (bytes: Uint8Array): Bundle => {
  const decoded = decodeBundle(bytes)
  return decoded.ok ? decoded.bundle : expect.fail(decoded.detail)
}

/** An envelope's worth of readings: four, half a minute apart, in its own two minutes. */
const readingsAt = (at: number, from = at): Reading[] =>
  weather(4, startMs + at * stepMs + 1000, 'bme280', from)

const position = (at: number): Reading[] => [
  {
    sensor: 'gnss',
    model: 'nmea0183',
    timeMs: startMs + at * stepMs + 500,
    values: [
      { quantity: 35, scaled: 482_082_000 },
      { quantity: 36, scaled: 163_738_000 },
    ],
  },
]

const times = (first: number, last: number): Pick<BundleScope, 'fromMs' | 'toMs'> => ({
  fromMs: startMs + first * stepMs,
  toMs: startMs + (last + 1) * stepMs,
})

const failure = (report: Report): string => report.failure?.text ?? 'no failure'

/** Signs the file anew, as anybody can who changes one: its checksum keeps out damage, not fraud. */
const sealed = (bytes: Uint8Array): Uint8Array => {
  const body = bytes.subarray(0, bytes.length - digestBytes)
  return Uint8Array.from([...body, ...sha256(body)])
}

/** Three stations, 24 envelopes each in three batches, the first two under one root. */
const openNetwork = (): { world: World; ids: string[]; all: KeptEnvelope[] } => {
  const world = openWorld()
  const ids = [21, 22, 23].map((byte) => world.addStation(signerOf(byte))).sort()
  const all: KeptEnvelope[] = []
  for (let at = 0; at < 24; at++) {
    for (const [of, id] of ids.entries()) all.push(world.sign(id, readingsAt(at, at * 3 + of)))
    if (at % 8 === 7) world.closeBatch()
  }
  world.anchor(1, 2)
  world.anchor(3)
  return { world, ids, all }
}

const { world, ids, all } = openNetwork()
const id = ids[1]!
// Envelopes 6 to 18 of the middle station: of all three batches.
const scope: BundleScope = { stations: [id], ...times(5, 17) }
let bytes: Uint8Array
let bundle: Bundle
beforeAll(async () => {
  bytes = builtBytes(await buildBundle(world.deps, scope))
  bundle = bundleOf(bytes)
})

describe('a bundle', () => {
  it('proves the readings of its query, complete, and says what was checked', () => {
    const report = verifyBundle(bytes)
    expect(failure(report)).toBe('no failure')
    expect(report).toMatchObject({ ok: true, complete: true, failure: null, network, scope })
    expect(report.readings.map(({ seq }) => seq)).toEqual(
      Array.from({ length: 52 }, (_, at) => 6 + (at >> 2)),
    )
    expect(
      report.readings.map(({ station: _, seq: __, place: ___, node: ____, ...reading }) => reading),
    ).toEqual(Array.from({ length: 13 }, (_, at) => readingsAt(at + 5, (at + 5) * 3 + 1)).flat())
    expect(report.stations).toMatchObject([{ station: id, first: 5, last: 19, envelopes: 15, readings: 52 }])
    expect(report.anchors.map(({ batches, size }) => [batches, size])).toEqual([
      [[1, 2], 2],
      [[3], 1],
    ])
    expect(report.steps.map(({ name, state, text }) => `${state} ${name}: ${text}`)).toEqual([
      `passed file: a bundle of network test, ${bytes.length.toLocaleString('en')} bytes`,
      'passed keys: 1 public key, each of the station that is named by its hash',
      'passed statements: 3 batch statements',
      'passed envelopes: 60 readings in 15 envelopes of 1 station',
      'passed signatures: 15 Ed25519 signatures by these keys for network test',
      'passed inclusion: every one of 15 leaves is under the root of its batch',
      'passed order: leaves stand in the order of station and sequence number, where their statements say',
      'passed batches: 3 batches, neighbours name each other',
      'passed sequence: no envelope of the time asked is left out: numbers without a hole, each naming the one before',
      'passed anchors: 3 batches under 2 anchored roots',
      'passed checksum: the file is as it was made',
    ])
  })

  it('gives its readings as rows of value and unit', () => {
    const [row] = rowsOf(verifyBundle(bytes).readings)
    const [reading] = readingsAt(5, 16)
    expect(row).toEqual({
      station: id,
      sensor: 'bme280',
      model: 'bme280',
      quantity: 'temperature',
      unit: '°C',
      time: new Date(reading!.timeMs).toISOString(),
      timeMs: reading!.timeMs,
      value: reading!.values[0]!.scaled! / 100,
      absent: null,
      seq: 6,
      place: 0,
      node: null,
      frame: null,
    })
  })

  it('holds only what sensor and quantity ask for, and proves it the same', async () => {
    const narrow = { ...scope, sensor: 'bme280', quantities: [2, 15] }
    const asked = { ...narrow, quantities: [15, 2, 2] }
    const report = verifyBundle(builtBytes(await buildBundle(world.deps, asked)))
    expect(report).toMatchObject({ ok: true, complete: true, scope: narrow })
    expect(report.readings).toHaveLength(52)
    expect(report.readings.every(({ values }) => values.length === 1 && values[0]!.quantity === 2)).toBe(true)
    const none = verifyBundle(builtBytes(await buildBundle(world.deps, { ...scope, sensor: 'other' })))
    expect(none).toMatchObject({ ok: true, complete: true, readings: [] })
  })

  it('of all stations proves each of them', async () => {
    const report = verifyBundle(builtBytes(await buildBundle(world.deps, times(2, 20))))
    expect(report).toMatchObject({ ok: true, complete: true })
    expect(report.stations.map(({ station, readings }) => [station, readings])).toEqual(
      ids.map((one) => [one, 76]),
    )
  })

  it('from the first envelope on needs no neighbour before it', async () => {
    const report = verifyBundle(
      builtBytes(await buildBundle(world.deps, { stations: [id], fromMs: 0, toMs: scope.toMs })),
    )
    expect(report).toMatchObject({ ok: true, complete: true })
    expect(report.stations[0]).toMatchObject({ first: 1, last: 19, fromMs: 0 })
  })

  it('to the end of what is anchored says until when it is complete', async () => {
    const open = { ...scope, toMs: startMs + 1000 * stepMs }
    const report = verifyBundle(builtBytes(await buildBundle(world.deps, open)))
    expect(report).toMatchObject({ ok: true, complete: false })
    const until = all.find((one) => one.station === id && one.seq === 24)!.lastMs
    expect(report.stations[0]).toMatchObject({ last: 24, toMs: until })
    expect(report.steps.find(({ name }) => name === 'sequence')).toMatchObject({
      state: 'warned',
      details: [
        `station ${id}: envelopes 5 to 24; proven until ${new Date(until).toISOString()}, what came later is not in the bundle`,
      ],
    })
  })

  it('proves that nothing was measured in a pause, by the envelopes on both sides of it', async () => {
    const quiet = openWorld()
    const station = quiet.addStation(signerOf(30))
    for (const at of [0, 1, 50, 51]) quiet.sign(station, readingsAt(at))
    quiet.closeBatch()
    quiet.anchor(1)
    const report = verifyBundle(
      builtBytes(await buildBundle(quiet.deps, { stations: [station], ...times(10, 40) })),
    )
    expect(report).toMatchObject({ ok: true, complete: true, readings: [] })
    expect(report.stations[0]).toMatchObject({ first: 2, last: 3 })
  })

  it('of several stations proves them together, and says of which it proves nothing', async () => {
    const young = openWorld()
    const [old, late, silent] = [31, 32, 33].map((byte) => young.addStation(signerOf(byte))).sort() as [
      string,
      string,
      string,
    ]
    for (const at of [0, 1, 2]) for (const station of [old, late]) young.sign(station, readingsAt(at))
    young.closeBatch()
    young.anchor(1)
    const asked = async (stations: string[]) => {
      const built = builtBytes(await buildBundle(young.deps, { stations, ...times(1, 1) }))
      expect(toHex(encodeBundle(bundleOf(built)))).toBe(toHex(built))
      return verifyBundle(built)
    }
    const both = await asked([late, old, late])
    expect(both).toMatchObject({ ok: true, complete: true, scope: { stations: [old, late] } })
    expect(new Set(both.readings.map(({ station }) => station))).toEqual(new Set([old, late]))
    const one = await asked([old])
    expect(new Set(one.readings.map(({ station }) => station))).toEqual(new Set([old]))
    const more = await asked([old, silent, 'e'.repeat(32)])
    expect(more).toMatchObject({ ok: true, complete: false, scope: { stations: [old, silent].sort() } })
    expect(more.steps.find(({ name }) => name === 'sequence')!.details!.at(-1)).toBe(
      `station ${silent}: was asked for, and nothing of it is in the bundle`,
    )
    expect(await buildBundle(young.deps, { stations: [], ...times(0, 9) })).toMatchObject({
      ok: false,
      reason: 'unknown-station',
      detail: 'no station lies there',
    })
  })

  it('about stations out of order, twice, or a list of one or none is malformed', () => {
    const [first, second] = [ids[0]!, ids[1]!]
    for (const stations of [
      [second, first],
      [first, first],
    ])
      expect(decodeBundle(encodeBundle({ ...bundle, scope: { ...scope, stations } }))).toMatchObject({
        ok: false,
        detail: expect.stringContaining('do not ascend'),
      })
    expect(() => encodeBundle({ ...bundle, scope: { ...scope, stations: [] } })).toThrow(
      'one station at least',
    )
  })

  it('comes back as it was written, in the one form it has', () => {
    expect(toHex(encodeBundle(bundle))).toBe(toHex(bytes))
    const full: Bundle = {
      ...bundle,
      scope: { ...scope, sensor: 'a', quantities: [1, 5] },
      missing: [
        { station: ids[0]!, first: 3, last: 9 },
        { station: id, first: 1, last: 1 },
      ],
      pending: [{ station: id, first: 7, last: 8 }],
    }
    expect(decodeBundle(encodeBundle(full))).toEqual({ ok: true, bundle: full, intact: true })
  })

  it('changed at random is refused and never throws', () => {
    fc.assert(
      fc.property(mutation(bytes), (changed) => {
        const report = verifyBundle(changed)
        expect(report.ok).toBe(equalBytes(changed, bytes))
        if (!report.ok) expect(report.readings).toEqual([])
      }),
      { seed, numRuns: 400 },
    )
  })

  it('cut short anywhere is refused as a file', () => {
    for (let length = 0; length < bytes.length; length += 7)
      expect(verifyBundle(bytes.slice(0, length)).failure?.step).toBe('file')
  })
})

describe('any byte of a bundle', () => {
  let small: Uint8Array
  beforeAll(async () => {
    small = builtBytes(await buildBundle(world.deps, { stations: [id], ...times(7, 7) }))
  })

  it('changed makes it fail and is named; where only the checksum tells, it is the query or the chain reference', async () => {
    const before = bundleOf(small)
    const evidence = ({ scope: _, batches, ...rest }: Bundle): unknown => ({
      ...rest,
      batches: batches.map(({ anchor: { root, size, index, proof }, ...batch }) => ({
        ...batch,
        root,
        size,
        index,
        proof,
      })),
    })
    const silent: number[] = []
    let byChecksum = 0
    for (let at = 0; at < small.length; at++) {
      const changed = small.slice()
      changed[at]! ^= 1 << (at % 8)
      const report = verifyBundle(changed)
      if (report.ok || failure(report).length < 20) silent.push(at)
      if (report.failure?.step !== 'checksum' || at >= small.length - digestBytes) continue
      byChecksum++
      const after = bundleOf(sealed(changed))
      expect(evidence(after), `byte ${at}`).toEqual(evidence(before))
      if (JSON.stringify(after.scope) !== JSON.stringify(before.scope)) continue
      // Made to fit its checksum it passes offline, and the chain tells.
      const resealed = verifyBundle(sealed(changed))
      expect(resealed.ok).toBe(true)
      expect((await verifyOnChain(resealed, world.chain)).ok, `byte ${at}`).toBe(false)
    }
    expect(silent).toEqual([])
    expect(byChecksum).toBeGreaterThan(60)
  })

  it('of an envelope changed is named with its envelope, batch and leaf, the checksum made anew', () => {
    let tried = 0
    const unnamed: string[] = []
    for (const [of, batch] of bundleOf(small).batches.entries())
      for (const [at, leaf] of batch.runs[0]!.leaves.entries()) {
        if (!('bytes' in leaf)) continue
        for (let offset = 0; offset < leaf.bytes.length; offset++) {
          const changed = leaf.bytes.slice()
          changed[offset]! ^= 1 << (offset % 8)
          const report = verifyBundle(encodeBundle(withLeaf(bundleOf(small), of, at, { bytes: changed })))
          tried++
          const place = batch.runs[0]!.first + at
          const { batch: named, leaf: place2 } = report.failure ?? {}
          if (report.ok || named !== of + 1 || place2 !== place)
            unnamed.push(`${of}/${at}/${offset}: ${failure(report)}`)
        }
      }
    expect(tried).toBeGreaterThan(500)
    expect(unnamed).toEqual([])
  })
})

/** Attackers' tools: a bundle with a part exchanged, the rest made to fit as far as a hub that knows all leaves can. */
const withBatch = (of: Bundle, at: number, change: (batch: BundleBatch) => BundleBatch): Bundle => ({
  ...of,
  batches: of.batches.with(at, change(of.batches[at]!)),
})

const withLeaf = (of: Bundle, batch: number, leaf: number, value: Run['leaves'][number]): Bundle =>
  withBatch(of, batch, (one) => ({
    ...one,
    runs: one.runs.with(0, { ...one.runs[0]!, leaves: one.runs[0]!.leaves.with(leaf, value) }),
  }))

const hashesOf = (batch: number): Uint8Array[] =>
  world.batches[batch - 1]!.kept.map(({ bytes: one }) => leafHash(one))

/** Runs over what is left after leaving out one leaf, each with a proof that fits the tree. */
const runsWithout = (run: Run, leaf: number, batch: number): Run[] => {
  const parts = [
    { first: run.first, leaves: run.leaves.slice(0, leaf) },
    { first: run.first + leaf + 1, leaves: run.leaves.slice(leaf + 1) },
  ]
  return parts
    .filter(({ leaves }) => leaves.length > 0)
    .map(({ first, leaves }) => ({
      station: run.station,
      first,
      leaves,
      proof: rangeProof(hashesOf(batch), first, leaves.length),
    }))
}

describe('an envelope left out', () => {
  it('is noticed at every place, with proofs remade, whether declared missing, pending or not at all', () => {
    let seq = 5
    const outcomes: string[] = []
    for (const [of, { runs }] of bundle.batches.entries())
      for (const leaf of runs[0]!.leaves.keys()) {
        for (const kind of ['missing', 'pending', 'neither'] as const) {
          const hole = { station: id, first: seq, last: seq }
          const less: Bundle = {
            ...withBatch(bundle, of, (batch) => ({ ...batch, runs: runsWithout(runs[0]!, leaf, of + 1) })),
            ...(kind === 'neither' ? {} : { [kind]: [hole] }),
          }
          const report = verifyBundle(encodeBundle(less))
          expect(report.complete, `${seq} ${kind}`).toBe(false)
          expect(report.ok, `${seq} ${kind}: ${failure(report)}`).toBe(false)
          outcomes.push(failure(report))
        }
        seq++
      }
    expect(seq).toBe(20)
    expect(outcomes.filter((text) => text.includes('leaves it out')).length).toBeGreaterThan(6)
  })

  it('with its whole batch is noticed by the numbers on both sides', () => {
    const report = verifyBundle(encodeBundle({ ...bundle, batches: bundle.batches.toSpliced(1, 1) }))
    expect(report).toMatchObject({ ok: false, failure: { step: 'sequence', seq: 9 } })
    expect(failure(report)).toBe(`envelope 9-16 of station ${id} is left out, though 8 and 17 are there`)
  })

  it('with its whole batch and declared missing leaves the bundle loudly incomplete', () => {
    const declared = { ...bundle, missing: [{ station: id, first: 9, last: 16 }] }
    const report = verifyBundle(encodeBundle({ ...declared, batches: declared.batches.toSpliced(1, 1) }))
    expect(report).toMatchObject({ ok: true, complete: false })
    expect(report.steps.find(({ name }) => name === 'sequence')).toMatchObject({
      state: 'warned',
      details: [`station ${id}: envelopes 5 to 19; the hub says it never received 9-16`],
    })
    expect(report.stations[0]!.missing).toEqual([[9, 16]])
  })

  it('and declared missing is a lie where the statement of a batch in the bundle tells that it exists', async () => {
    const wide = bundleOf(builtBytes(await buildBundle(world.deps, times(5, 17))))
    const less = withBatch(wide, 1, (batch) => ({
      ...batch,
      runs: batch.runs.filter(({ station }) => station !== id),
    }))
    expect(verifyBundle(encodeBundle(wide))).toMatchObject({ ok: true, complete: true })
    const report = verifyBundle(encodeBundle({ ...less, missing: [{ station: id, first: 9, last: 16 }] }))
    expect(failure(report)).toBe(
      `batch 2 holds envelope 9 of station ${id}, and the bundle, which reaches from 5 to 19, leaves it out`,
    )
  })

  it('with all of its station is told where other stations of the same batches are there', async () => {
    const wide = bundleOf(builtBytes(await buildBundle(world.deps, times(5, 17))))
    const without = {
      ...wide,
      stations: wide.stations.filter(({ station }) => station !== id),
      batches: wide.batches.map((batch) => ({
        ...batch,
        runs: batch.runs.filter(({ station }) => station !== id),
      })),
    }
    const report = verifyBundle(encodeBundle(without))
    expect(report).toMatchObject({ ok: true, complete: false })
    expect(report.steps.find(({ name }) => name === 'sequence')?.details).toContain(
      `station ${id}: has envelopes in these batches, none of them in the bundle`,
    )
  })

  it('at either end, without a statement to tell, shortens what is proven', () => {
    const ends = { ...bundle, batches: [bundle.batches[1]!] }
    const report = verifyBundle(encodeBundle(ends))
    expect(report).toMatchObject({ ok: true, complete: false })
    const [first, last] = [9, 16].map((seq) => all.find((one) => one.station === id && one.seq === seq)!)
    expect(report.stations[0]).toMatchObject({ fromMs: first!.firstMs, toMs: last!.lastMs })
  })
})

describe('a bundle that lies', () => {
  const verified = (of: Bundle): Report => verifyBundle(encodeBundle(of))

  it('about the order of two envelopes is caught by the tree', () => {
    const [first, second] = bundle.batches[1]!.runs[0]!.leaves
    const swapped = withLeaf(withLeaf(bundle, 1, 0, second!), 1, 1, first!)
    expect(failure(verified(swapped))).toContain('are not leaves')
  })

  it('about its network is caught by the statements, and by the signatures', () => {
    expect(failure(verified({ ...bundle, network: 'other' }))).toBe(
      'the statement of batch 1 is of network test, not other',
    )
    const relabelled = {
      ...bundle,
      network: 'other',
      batches: bundle.batches.map((batch, at) => ({
        ...batch,
        statement: encodeStatement({ ...world.batches[at]!.statement, network: 'other' }),
      })),
    }
    expect(failure(verified(relabelled))).toContain('does not fit its bytes, its key and network other')
  })

  it('about a key is caught by the station id', () => {
    const other = signerOf(40).publicKey
    expect(
      failure(verified({ ...bundle, stations: [{ station: id, publicKey: other, declarations: [] }] })),
    ).toContain(`the public key given for station ${id} is that of`)
    expect(failure(verified({ ...bundle, stations: [] }))).toBe(
      `the key of station ${id} is not in the bundle`,
    )
    const two = [...bundle.stations, world.evidence.station(ids[2]!)!].map(({ station, publicKey }) => ({
      station,
      publicKey,
      declarations: [],
    }))
    expect(failure(verified({ ...bundle, stations: two }))).toBe(
      `the bundle is about station ${id} and holds the key of another`,
    )
  })

  it('with an envelope of another station, or one that is not in the tree, is caught', () => {
    const stranger = all.find((one) => one.station === ids[0] && one.seq === 10)!
    expect(failure(verified(withLeaf(bundle, 1, 1, { bytes: stranger.bytes })))).toContain(
      'names another key in its kid',
    )
    const forger = openWorld()
    const again = forger.addStation(signerOf([21, 22, 23].find((byte) => forgerId(byte) === id)!))
    const own = Array.from({ length: 10 }, (_, at) => forger.sign(again, readingsAt(at, 999))).at(-1)!
    const report = verified(withLeaf(bundle, 1, 1, { bytes: own.bytes }))
    expect(report.failure).toMatchObject({ step: 'inclusion', batch: 2, station: id })
  })

  const forgerId = (byte: number): string => openWorld().addStation(signerOf(byte))

  it('with an inner node in place of two leaves is caught', () => {
    const batch = bundle.batches[1]!
    const [run] = batch.runs
    const hashes = hashesOf(2)
    const pair = run!.first % 2
    const inner = treeRoot(hashes.slice(run!.first + pair, run!.first + pair + 2))
    for (const remove of [1, 2]) {
      const leaves = run!.leaves.toSpliced(pair, remove, { seq: 9 + pair, hash: inner })
      const report = verified(withBatch(bundle, 1, (one) => ({ ...one, runs: [{ ...run!, leaves }] })))
      expect(report.failure?.step).toBe('inclusion')
    }
  })

  it('with the proof or the statement of another batch is caught', () => {
    const [one, two] = bundle.batches
    expect(
      verified(
        withBatch(bundle, 1, (batch) => ({
          ...batch,
          runs: [{ ...batch.runs[0]!, proof: one!.runs[0]!.proof }],
        })),
      ).failure,
    ).toMatchObject({ step: 'inclusion', batch: 2 })
    expect(
      failure(verified(withBatch(bundle, 1, (batch) => ({ ...batch, statement: one!.statement })))),
    ).toBe('batch 1 is out of order')
    expect(
      verified(
        withBatch(
          withBatch(bundle, 0, (batch) => ({ ...batch, statement: two!.statement })),
          1,
          (batch) => ({
            ...batch,
            statement: bundle.batches[2]!.statement,
          }),
        ),
      ).ok,
    ).toBe(false)
    expect(
      verified(withBatch(bundle, 1, (batch) => ({ ...batch, anchor: one!.anchor }))).failure,
    ).toMatchObject({
      step: 'anchors',
      batch: 2,
    })
  })

  it('with a statement made up for it is caught by the next batch, or by the anchored root', () => {
    const { statement } = world.batches[1]!
    const made = encodeStatement({ ...statement, lastMs: statement.lastMs + 1 })
    expect(verified(withBatch(bundle, 1, (batch) => ({ ...batch, statement: made }))).failure).toMatchObject({
      step: 'batches',
      batch: 3,
    })
    const alone = withBatch({ ...bundle, batches: bundle.batches.slice(0, 2) }, 1, (batch) => ({
      ...batch,
      statement: made,
    }))
    expect(failure(verified(alone))).toContain('the statement of batch 2 is not under the anchored root')
  })

  it('with envelopes that do not follow each other is caught, though all are signed and anchored', async () => {
    const forked = openWorld()
    const station = forked.addStation(signerOf(34))
    for (let at = 0; at < 6; at++)
      forked.sign(station, readingsAt(at), at === 3 ? { prev: new Uint8Array(32).fill(1) } : {})
    forked.closeBatch()
    forked.anchor(1)
    const report = verifyBundle(
      builtBytes(await buildBundle(forked.deps, { stations: [station], ...times(1, 4) })),
    )
    expect(failure(report)).toBe(
      `envelope 4 of station ${station} (batch 1, leaf 3) does not name envelope 3 as the one before it`,
    )
    const second = openWorld()
    second.addStation(signerOf(34))
    second.sign(station, readingsAt(0), { prev: new Uint8Array(32).fill(1) })
    second.closeBatch()
    second.anchor(1)
    const first = verifyBundle(
      builtBytes(await buildBundle(second.deps, { stations: [station], ...times(0, 0) })),
    )
    expect(failure(first)).toBe(
      `envelope 1 of station ${station} (batch 1, leaf 0) is the first and names one before`,
    )
  })

  it('whose anchored statement lies about its leaves is caught', async () => {
    const told = async (lie: (statement: Statement) => Statement, whole = false): Promise<string> => {
      const liar = openWorld()
      const stations = [35, 36].map((byte) => liar.addStation(signerOf(byte))).sort()
      for (let at = 0; at < 8; at++) for (const station of stations) liar.sign(station, readingsAt(at))
      liar.closeBatch(undefined, lie)
      liar.anchor(1)
      const range = whole ? { fromMs: 0, toMs: startMs + 99 * stepMs } : times(2, 5)
      const built = await buildBundle(liar.deps, { stations: [stations[1]!], ...range })
      return failure(verifyBundle(builtBytes(built))).replaceAll(stations[1]!, 'B')
    }
    const spans =
      (change: (first: StationSpan, second: StationSpan) => StationSpan[]) =>
      (statement: Statement): Statement => ({
        ...statement,
        stations: change(statement.stations[0]!, statement.stations[1]!),
      })
    expect(await told((truth) => truth)).toBe('no failure')
    expect(
      await told(
        spans((one, two) => [
          { ...one, count: 12, last: 12 },
          { ...two, count: 4, last: 4 },
        ]),
      ),
    ).toBe(
      'envelope 2 of station B (batch 1, leaf 9) stands outside the leaves that the statement gives its station',
    )
    expect(
      await told(
        spans((one, two) => [
          { ...one, count: 2 },
          { ...two, count: 14, last: 14 },
        ]),
      ),
    ).toContain('batch 1 holds an envelope before 2 of station B')
    expect(await told(spans((one, two) => [one, { ...two, first: 4, last: 11 }]))).toBe(
      'envelope 2 of station B (batch 1, leaf 9) is not between 4 and 11, as the statement says',
    )
    expect(
      await told(
        spans((one, two) => [one, { ...two, last: 30 }]),
        true,
      ),
    ).toContain('batch 1 holds an envelope behind 8 of station B')
    expect(await told(spans((one) => [{ ...one, count: 16, last: 16 }]))).toBe(
      'the statement of batch 1 does not name station B',
    )
    expect(await told((truth) => ({ ...truth, lastMs: truth.firstMs }))).toContain(
      'is outside the time span of its batch',
    )
  })

  it('with withheld envelopes out of order is caught', async () => {
    const shuffled = openWorld()
    const station = shuffled.addStation(signerOf(37))
    for (let at = 0; at < 8; at++)
      if (at === 3 || at === 4) shuffled.sign(station, position(at), { withheld: true })
      else shuffled.sign(station, readingsAt(at))
    shuffled.closeBatch()
    shuffled.anchor(1)
    const honest = bundleOf(
      builtBytes(await buildBundle(shuffled.deps, { stations: [station], ...times(2, 5) })),
    )
    const { leaves } = honest.batches[0]!.runs[0]!
    const [four, five] = [2, 3].map((at) => leaves[at] as { seq: number; hash: Uint8Array })
    const swapped = withLeaf(withLeaf(honest, 0, 2, { seq: 5, hash: four!.hash }), 0, 3, {
      seq: 4,
      hash: five!.hash,
    })
    expect(verifyBundle(encodeBundle(honest)).ok).toBe(true)
    expect(failure(verifyBundle(encodeBundle(swapped)))).toBe(
      `envelope 4 of station ${station} (batch 1, leaf 4) stands behind envelope 5: out of order`,
    )
  })

  it('without any evidence proves nothing', () => {
    const empty = { ...bundle, stations: [], batches: [] }
    expect(failure(verified(empty))).toBe('the bundle holds no envelope')
  })
})

describe('envelopes that a bundle cannot show', () => {
  it('private positions stay private: withheld, counted and named, their neighbours bound the range', async () => {
    const private_ = openWorld()
    const station = private_.addStation(signerOf(31))
    const secret = [3, 4, 7, 11, 12]
    for (let at = 1; at <= 14; at++)
      if (secret.includes(at)) private_.sign(station, position(at), { withheld: true })
      else private_.sign(station, readingsAt(at))
    private_.closeBatch()
    private_.anchor(1)
    const whole = builtBytes(await buildBundle(private_.deps, { stations: [station], ...times(5, 10) }))
    const report = verifyBundle(whole)
    expect(report).toMatchObject({ ok: true, complete: true })
    expect(report.stations[0]).toMatchObject({
      first: 2,
      last: 13,
      withheld: [
        [3, 4],
        [7, 7],
        [11, 12],
      ],
      unconfirmed: [],
    })
    expect(report.readings.map(({ seq }) => seq)).not.toContain(7)
    const leaves = bundleOf(whole).batches[0]!.runs[0]!.leaves
    const shown = leaves.flatMap((leaf) => ('bytes' in leaf ? [leaf.bytes] : []))
    for (const one of shown) {
      const decoded = decodeEnvelope(one)
      expect(decoded.ok && secret.includes(decoded.envelope.seq)).toBe(false)
    }
    // A number that is not its own is noticed for the withheld ones too.
    const at = leaves.findIndex((leaf) => !('bytes' in leaf) && leaf.seq === 7)
    const wrong = withLeaf(bundleOf(whole), 0, at, { seq: 8, hash: new Uint8Array(32) })
    expect(verifyBundle(encodeBundle(wrong)).ok).toBe(false)
  })

  it('lost, late and not yet anchored ones are told apart', async () => {
    const late = openWorld()
    const station = late.addStation(signerOf(32))
    const envelopes = Array.from({ length: 20 }, (_, at) =>
      late.sign(station, readingsAt(at + 1), { lose: at + 1 === 5 || at + 1 === 6 }),
    )
    const of = (...seqs: number[]): KeptEnvelope[] => envelopes.filter(({ seq }) => seqs.includes(seq))
    late.closeBatch(of(1, 2, 3, 9, 10))
    late.closeBatch(of(4, 7, 14, 15, 16, 17))
    late.closeBatch(of(8, 12))
    late.anchor(1)
    late.anchor(2)
    const built = await buildBundle(late.deps, { stations: [station], ...times(2, 15) })
    const report = verifyBundle(builtBytes(built))
    expect(failure(report)).toBe('no failure')
    expect(report).toMatchObject({ ok: true, complete: false })
    expect(report.stations[0]).toMatchObject({
      first: 1,
      last: 16,
      missing: [[5, 6]],
      pending: [
        [8, 8],
        [11, 13],
      ],
    })
    expect(built).toMatchObject({ anchoredToMs: of(16)[0]!.lastMs })
    // Once the third batch is anchored too, and the rest is in a fourth, only what was lost is missing.
    late.anchor(3)
    late.closeBatch(of(11, 13, 18, 19, 20))
    late.anchor(4)
    const later = verifyBundle(
      builtBytes(await buildBundle(late.deps, { stations: [station], ...times(2, 15) })),
    )
    expect(later).toMatchObject({ ok: true, complete: false, stations: [{ missing: [[5, 6]], pending: [] }] })
    const after = verifyBundle(
      builtBytes(await buildBundle(late.deps, { stations: [station], ...times(8, 15) })),
    )
    expect(after).toMatchObject({ ok: true, complete: true })
  })
})

describe('a bundle on a chain', () => {
  type Change = (method: string, answer: unknown) => unknown

  const asked = async (change: Change, of: Bundle = bundle): Promise<string> => {
    const report = verifyBundle(encodeBundle(of))
    const request = async (one: RpcRequest): Promise<unknown> =>
      change(one.method, await world.chain.request(one))
    const { ok, failure: found } = await verifyOnChain(report, { request })
    expect(ok).toBe(found === null)
    return found?.text ?? 'ok'
  }
  const same: Change = (_, answer) => answer
  const receipt =
    (patch: Record<string, unknown>): Change =>
    (method, answer) =>
      method === 'eth_getTransactionReceipt' ? { ...(answer as object), ...patch } : answer

  it('is found where it says, and when', async () => {
    const found = await verifyOnChain(verifyBundle(bytes), world.chain)
    expect(found).toMatchObject({ ok: true, failure: null })
    expect(found.anchors.map(({ timeMs, firstBatch, size }) => [timeMs, firstBatch, size])).toEqual([
      [1_763_800_100_000, 1, 2],
      [1_763_800_101_000, 3, 1],
    ])
    expect(found.steps.map(({ text }) => text)).toEqual([
      'the node serves chain 31337',
      '2 roots held by the contract and emitted in the block named, 2025-11-22T08:28:20.000Z to 2025-11-22T08:28:21.000Z',
    ])
  })

  it('uses the selector and topic of the contract', () => {
    expect(anchoredSelector).toBe(toFunctionSelector('anchored(bytes32)'))
    expect(anchoredTopic).toBe(toEventSelector('Anchored(bytes32,uint64,uint64)'))
  })

  it('that differs is told in what it differs', async () => {
    const [one] = bundle.batches
    const anchored = (patch: Partial<BundleBatch['anchor']>): Bundle => ({
      ...bundle,
      batches: bundle.batches.map((batch, at) =>
        at < 2 ? { ...batch, anchor: { ...batch.anchor, ...patch } } : batch,
      ),
    })
    const tx = `0x${toHex(one!.anchor.txHash)}`
    expect(await asked(same)).toBe('ok')
    expect(await asked(same, anchored({ chainId: 1 }))).toBe(
      'batch 1 is anchored on chain 1, and the node serves 31337',
    )
    expect(await asked(same, anchored({ contract: new Uint8Array(20) }))).toContain(
      'there is no anchor contract at 0x00',
    )
    expect(await asked(same, anchored({ txHash: new Uint8Array(32) }))).toContain(
      'the chain knows no transaction 0x00',
    )
    expect(await asked(same, anchored({ blockNumber: 7 }))).toBe(
      `transaction ${tx} is in another block than 7`,
    )
    expect(await asked(same, anchored({ blockHash: new Uint8Array(32) }))).toContain('not in 0x00')
    expect(await asked(receipt({ status: '0x0' }))).toBe(`transaction ${tx} failed`)
    expect(await asked(receipt({ logs: [] }))).toContain('did not anchor')
    expect(await asked(receipt({ logs: null }))).toContain('did not anchor')
    expect(await asked(receipt({ logs: [{ address: 1, topics: 'x' }] }))).toContain('did not anchor')
    expect(
      await asked((method, answer) => (method === 'eth_call' ? `0x${'0'.repeat(192)}` : answer)),
    ).toContain('does not hold root')
    const other = `0x${[1, 3, 1_763_800_000].map((value) => value.toString(16).padStart(64, '0')).join('')}`
    expect(await asked((method, answer) => (method === 'eth_call' ? other : answer))).toContain(
      'for 3 batches from 1, not 2 from 1',
    )
    for (const nonsense of [null, undefined, 1, [], {}, '0x', `0x${'f'.repeat(192)}`, 'x'.repeat(194)])
      expect(await asked((method, answer) => (method === 'eth_call' ? nonsense : answer))).toContain(
        'there is no anchor contract',
      )
  })

  it('whose event names other batches is told', async () => {
    const change: Change = (method, answer) => {
      if (method !== 'eth_getTransactionReceipt') return answer
      const { logs } = answer as { logs: { topics: string[]; data: string }[] }
      return {
        ...(answer as object),
        logs: logs.map((log) => ({ ...log, data: `0x${'1'.padStart(64, '0')}` })),
      }
    }
    expect(await asked(change)).toContain('for other batches than 1 to 2')
  })

  it('that cannot be asked throws, so that nobody takes silence for an answer', async () => {
    const down = { request: () => Promise.reject(new Error('connection refused')) }
    await expect(verifyOnChain(verifyBundle(bytes), down)).rejects.toThrow('connection refused')
  })
})

describe('building a bundle', () => {
  it('is refused with the reason where there is nothing to prove yet', async () => {
    const young = openWorld()
    expect(await buildBundle(young.deps, { stations: [id], ...times(0, 1) })).toMatchObject({
      reason: 'unknown-station',
    })
    const station = young.addStation(signerOf(33))
    expect(await buildBundle(young.deps, { stations: [station], ...times(0, 1) })).toMatchObject({
      reason: 'no-evidence',
    })
    young.sign(station, readingsAt(0))
    expect(await buildBundle(young.deps, { stations: [station], ...times(0, 1) })).toMatchObject({
      reason: 'not-anchored',
      detail: 'nothing of this is anchored yet; ask again in a minute',
    })
    young.closeBatch()
    expect(await buildBundle(young.deps, { stations: [station], ...times(0, 1) })).toMatchObject({
      reason: 'not-anchored',
    })
    young.anchor(1)
    young.sign(station, readingsAt(5))
    const behind = await buildBundle(young.deps, { stations: [station], ...times(5, 6) })
    expect(behind).toMatchObject({ reason: 'not-anchored', anchoredToMs: young.batches[0]!.statement.lastMs })
  })

  it('is refused where it would hold too much, or where the disk lost a part', async () => {
    const many = Array.from({ length: maxEnvelopes + 5 }, (_, at) => ({ ...all[1]!, seq: at + 1 }))
    const { evidence } = world
    const crowded: World['evidence'] = {
      ...evidence,
      span: () => [1, many.length],
      refs: (_, first, last, limit) => many.slice(first - 1, Math.min(last, first - 1 + limit)),
    }
    expect(await buildBundle({ ...world.deps, evidence: crowded }, scope)).toMatchObject({
      reason: 'too-large',
      detail: 'more than 10000 envelopes; ask for a shorter time or one station',
    })
    const damaged: World['evidence'] = { ...evidence, get: async () => undefined }
    expect(await buildBundle({ ...world.deps, evidence: damaged }, scope)).toMatchObject({
      reason: 'damaged',
    })
  })

  it('costs less than 1 kB of proof for 500 readings in a row', async () => {
    const big = openWorld()
    const stations = Array.from({ length: 20 }, (_, at) => big.addStation(signerOf(50 + at)))
    const target = stations[7]!
    for (let at = 0; at < 40; at++)
      for (const station of stations)
        big.sign(
          station,
          station === target ? weather(50, startMs + at * 1_500_000, 'bme280', at) : readingsAt(at),
        )
    big.closeBatch()
    big.anchor(1)
    const range = { fromMs: startMs + 9 * 1_500_000 - 700_000, toMs: startMs + 19 * 1_500_000 - 700_000 }
    const whole = builtBytes(await buildBundle(big.deps, { stations: [target], ...range }))
    const report = verifyBundle(whole)
    expect(report).toMatchObject({ ok: true, complete: true })
    expect(report.readings).toHaveLength(500)
    const [batch] = bundleOf(whole).batches
    const hashes = batch!.runs[0]!.proof.length + batch!.anchor.proof.length
    const envelopes = batch!.runs[0]!.leaves.reduce(
      (sum, leaf) => sum + ('bytes' in leaf ? leaf.bytes.length : 0),
      0,
    )
    console.log(
      `500 readings of one of 20 stations: bundle ${whole.length} bytes, envelopes ${envelopes}, proof hashes ${hashes * 32}, statement ${batch!.statement.length}, all but envelopes and statement ${whole.length - envelopes - batch!.statement.length}`,
    )
    expect(hashes * 32).toBeLessThan(1000)
    expect(whole.length - envelopes - batch!.statement.length).toBeLessThan(1000)
  })
})
