/** The numbers of a node that signs ascend: nobody holds a frame back to sell it later, and nobody honest is refused for it. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openEvidence } from '#gateway/evidence/keep.ts'
import { buildBundle } from '#gateway/market/bundle.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { readingsOf, summarise } from '#gateway/reading/contents.ts'
import type { Signer } from '#gateway/reading/cose.ts'
import { decodeEnvelope, envelopeHash, noPrevious } from '#gateway/reading/envelope.ts'
import { decodeHeard, type Heard, openHeard } from '#gateway/reading/heard.ts'
import type { Value } from '#gateway/reading/reading.ts'
import { type Chain, createSealer } from '#gateway/sign/sign.ts'
import { verifyCommand } from '#gateway/verify/cli.ts'
import { rowsOf } from '#gateway/verify/rows.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { openWorld, network as worldNetwork } from '#test/bundle-world.ts'
import { type Content, heardFrom, holding, offered } from '#test/node-samples.ts'
import { journalAt, startHub } from '#test/relay-world.ts'
import { network, newSigner, steadyClock } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const node = newSigner()
const other = newSigner()
const nowMs = Date.now()
const latitude: Value = { quantity: 35, scaled: 525_200_000 }
const position: Content = { ages: [0], values: [latitude] }

const heard = (seq: number, of: Signer = node, net = network, content?: Content): Heard =>
  heardFrom(of, seq, nowMs - 60_000, net, content)

type Kept = { readonly frames: readonly Heard[]; readonly withheld?: boolean }

/** Envelopes of one station, from number 1 on, each following the one before. */
const chain = (contents: readonly Kept[], signer: Signer = newSigner()) => {
  let [prev, withheld] = [noPrevious, 0]
  return contents.map((one, at) => {
    if (one.withheld) withheld += 1
    const envelope = holding(one.frames, signer, at + 1, prev, withheld)
    prev = envelope.hash
    return envelope
  })
}

const open = (...seqs: readonly number[]): Kept => ({ frames: seqs.map((seq) => heard(seq)) })
const withPosition = (...seqs: readonly number[]): Kept => ({
  frames: seqs.map((seq) => heard(seq, node, network, position)),
  withheld: true,
})

/** A hub that was offered these envelopes in this order of arrival, and what it refused. */
const hubWith = async (
  contents: readonly Kept[],
  arrival: readonly number[] = contents.map((_, at) => at),
  together = false,
) => {
  const hub = await startHub()
  const envelopes = chain(contents)
  const [{ signer, station }] = envelopes as [(typeof envelopes)[0]]
  await hub.ingest.register(signer.publicKey, nowMs)
  const offers = arrival.map((at) => () => offered(hub, station, envelopes[at]!.bytes))
  if (together) await Promise.all(offers.map((offer) => offer()))
  else for (const offer of offers) await offer()
  const refused = (await hub.evidence.refusals(10)).toReversed()
  return { hub, envelopes, refused: refused.map(({ seq, reason }) => `${seq} ${reason}`) }
}

describe.each([
  ['one after the other', false],
  ['all at once', true],
])('a hub that gets envelopes %s', (_how, together) => {
  test('refuses one in which a node’s number goes back', async () => {
    const { refused, hub } = await hubWith([open(1), open(9), open(3), open(10)], undefined, together)
    expect(refused).toEqual(['3 replayed-frame'])
    expect(hub.ingest.status.kept).toBe(3)
  })

  test('refuses it too where the newer one arrives last, or the older one does', async () => {
    expect((await hubWith([open(9), open(3)], [1, 0], together)).refused).toEqual(['1 replayed-frame'])
    expect((await hubWith([open(5), open(7), open(6)], [2, 0, 1], together)).refused).toEqual([
      '2 replayed-frame',
    ])
  })

  test('refuses one whose numbers lie on both sides of another’s', async () => {
    const { refused } = await hubWith([open(2, 6), open(3, 9)], undefined, together)
    expect(refused).toEqual(['2 replayed-frame'])
  })

  test('refuses going back among envelopes with positions', async () => {
    const { refused } = await hubWith([withPosition(9), withPosition(3)], undefined, together)
    expect(refused).toEqual(['2 replayed-frame'])
  })

  test('keeps all of them where only their arrival is out of order', async () => {
    const contents = [open(1, 2), open(4), open(5, 8), open(9)]
    expect((await hubWith(contents, [3, 1, 0, 2], together)).refused).toEqual([])
  })

  test('keeps those with positions and those without, each in its order', async () => {
    const contents = [open(1, 4), withPosition(2, 3), open(6), withPosition(5), open(7)]
    expect((await hubWith(contents, undefined, together)).refused).toEqual([])
  })

  test('refuses a frame that is in an envelope with positions and in one without', async () => {
    const twice = heard(4, node, network, position)
    const contents: Kept[] = [
      { frames: [twice], withheld: true },
      { frames: [twice, heard(5)], withheld: true },
    ]
    expect((await hubWith(contents, undefined, together)).refused).toEqual(['2 replayed-frame'])
  })

  test('keeps two nodes apart, and two stations', async () => {
    const contents = [{ frames: [heard(9), heard(5, other)] }, { frames: [heard(10), heard(6, other)] }]
    expect((await hubWith(contents, undefined, together)).refused).toEqual([])
    expect((await hubWith([open(3)], undefined, together)).refused).toEqual([])
  })
})

test('what a hub has kept counts after a restart, and after its catalogue was made again', async () => {
  const contents = [open(9), withPosition(4), open(3)]
  const { hub, envelopes } = await hubWith(contents)
  await hub.close()
  const decoded = decodeEnvelope(envelopes[2]!.bytes)
  const read = decoded.ok ? readingsOf(decoded.envelope) : decoded
  if (!decoded.ok || !read.ok) return expect.fail('cannot be read')
  const summary = summarise(envelopes[2]!.bytes, decoded.envelope, read.readings, read.frames)
  const placeOf = async () => {
    await using evidence = await openEvidence({ directory: hub.directory, openJournal: journalAt })
    return evidence.place(summary)
  }
  expect(await placeOf()).toBe('replayed-frame')
  for (const suffix of ['', '-wal', '-shm'])
    rmSync(join(hub.directory, `catalogue.sqlite${suffix}`), { force: true })
  expect(await placeOf()).toBe('replayed-frame')
})

describe('a station', () => {
  type Disk = Pick<Chain, 'commit'> & Required<Pick<Chain, 'whenWritable'>> & { isWritable: boolean }
  const goodDisk = (): Disk => ({
    isWritable: true,
    whenWritable: () => undefined,
    commit: async () => undefined,
  })
  const sealerOf = (disk: Disk = goodDisk()) => {
    const numbers: number[][] = []
    let seq = 0
    let hash = noPrevious
    const sealer = createSealer({
      signer: newSigner(),
      network,
      limits: { maxReadings: 2, maxAgeMs: 60_000 },
      clock: () => steadyClock,
      failed: (error) => {
        throw error
      },
      chain: {
        get head() {
          return { seq, hash, withheld: 0 }
        },
        append: (bytes) => {
          seq += 1
          hash = envelopeHash(bytes)
          const decoded = decodeEnvelope(bytes)
          const frames = decoded.ok ? decodeHeard(decoded.envelope.payload) : decoded
          numbers.push(frames.ok ? frames.frames.map((frame) => frame.seq) : [])
        },
        get writable() {
          return disk.isWritable
        },
        whenWritable: disk.whenWritable,
        commit: disk.commit,
      },
    })
    return { sealer, numbers }
  }

  test('leaves out a frame that a slower radio hands on behind a newer one', async () => {
    const { sealer, numbers } = sealerOf()
    const answers: boolean[] = []
    for (const frame of [heard(5), heard(7), heard(6), heard(7), heard(2, other), heard(8)])
      answers.push(await sealer.addHeard(frame))
    await sealer.flush()
    expect(answers).toEqual([true, true, false, false, true, true])
    expect(numbers).toEqual([
      [5, 7],
      [2, 8],
    ])
  })

  test('signs frames that waited for its disk before those that came since', async () => {
    let back = (): void => undefined
    let commits = 0
    const gate = Promise.withResolvers<void>()
    const disk: Disk = {
      isWritable: false,
      whenWritable: (run) => {
        back = run
      },
      // The first commit after the disk is back takes its time.
      commit: async () => {
        commits += 1
        if (commits === 1) await gate.promise
      },
    }
    const { sealer, numbers } = sealerOf(disk)
    for (const seq of [1, 2, 3, 4]) await sealer.addHeard(heard(seq))
    expect(numbers).toEqual([])
    disk.isWritable = true
    back()
    for (const seq of [5, 6]) await sealer.addHeard(heard(seq))
    gate.resolve()
    await sealer.flush()
    expect(numbers.flat()).toEqual([1, 2, 3, 4, 5, 6])
  })
})

describe('a buyer', () => {
  const bundleOf = async (
    contents: readonly Kept[],
    signers: readonly Signer[] = [newSigner()],
    shown = false,
  ) => {
    const world = openWorld()
    for (const signer of signers) {
      const station = world.addStation(signer)
      for (const { frames } of contents)
        world.sign(
          station,
          frames.flatMap((frame) => {
            const opened = openHeard(frame)
            return opened.ok ? opened.frame.readings : []
          }),
          { frames, ...(shown ? { withheld: false } : {}) },
        )
    }
    world.closeBatch()
    world.anchor(1)
    const built = await buildBundle(world.deps, { fromMs: nowMs - 600_000, toMs: nowMs })
    if (!built.ok) throw new Error(built.detail)
    return built.bytes
  }
  const sold = (...seqs: readonly number[]): Kept => ({
    frames: seqs.map((seq) => heard(seq, node, worldNetwork)),
  })

  test('finds out where a station held a frame back', async () => {
    const { ok, failure, nodes, readings } = verifyBundle(
      await bundleOf([sold(1), sold(9), sold(3), sold(4)]),
    )
    expect(ok).toBe(false)
    expect(failure).toMatchObject({ step: 'frames', seq: 3 })
    expect(failure!.text).toMatch(
      /^frame 3 of node \w{32} is in envelope 3 .*, behind frame 9 in envelope 2 /,
    )
    expect([nodes, readings]).toEqual([[], []])
  })

  test('takes no offence at positions that were signed beside, nor at another station', async () => {
    const hidden = { frames: [heard(2, node, worldNetwork, position)] }
    const report = verifyBundle(await bundleOf([sold(1, 3), hidden, sold(4)], [newSigner(), newSigner()]))
    expect(report.failure).toBeNull()
    expect(report.stations.map(({ withheld }) => withheld)).toEqual([[[2, 2]], [[2, 2]]])
    // The same where a hub shows what it should withhold.
    const shown = verifyBundle(await bundleOf([sold(1, 3), hidden, sold(4)], [newSigner()], true))
    expect(shown.failure).toBeNull()
  })

  test('sees which node signed what, and what the station says of it', async () => {
    const mixed = [...sold(1, 4).frames, heard(7, other, worldNetwork, { ages: [0] })]
    const bytes = await bundleOf([{ frames: mixed }, sold(5)])
    const report = verifyBundle(bytes)
    const [key, otherKey] = [toHex(node.publicKey), toHex(other.publicKey)]
    expect(report.nodes.map(({ station: _, ...rest }) => rest)).toEqual([
      { publicKey: key, sensors: ['field-shed'], frames: 3, first: 1, last: 5, readings: 6 },
      { publicKey: otherKey, sensors: ['field-shed'], frames: 1, first: 7, last: 7, readings: 1 },
    ])
    const rows = [...rowsOf(report.readings)]
    const signers = (quantity: string) =>
      rows.filter((row) => row.quantity === quantity).map((row) => [row.node, row.frame])
    expect(signers('temperature')).toEqual([
      [key, 1],
      [key, 1],
      [key, 4],
      [key, 4],
      [otherKey, 7],
      [key, 5],
      [key, 5],
    ])
    // How loudly a frame was heard is not what its node signed.
    expect(signers('rssi')).toEqual(Array.from({ length: 4 }, () => [null, null]))

    const file = `${temporaryDirectory()}/proof.cbor`
    writeFileSync(file, bytes)
    const said = async (json: boolean): Promise<string> => {
      let text = ''
      expect(await verifyCommand({ file, json }, { write: (more) => (text += more) })).toBe(0)
      return text
    }
    expect(await said(false)).toContain(
      `node ${key}, as field-shed at station ${report.nodes[0]!.station}: 3 frames, numbers 1 to 5, 6 readings of those asked for`,
    )
    const json = JSON.parse(await said(true))
    expect(json.nodes).toEqual(report.nodes)
    expect(json.readings).toEqual(rows)
  })
})
