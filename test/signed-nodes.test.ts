/** Readings that radio nodes sign: through a modem, the station's envelope and the hub, to a buyer who checks both signatures. */
import { type Duplex, duplexPair } from 'node:stream'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readDevice } from '#gateway/device.ts'
import { openEvidence } from '#gateway/evidence/keep.ts'
import { buildBundle } from '#gateway/market/bundle.ts'
import { openOutbox } from '#gateway/outbox/outbox.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { readingsOf, summarise } from '#gateway/reading/contents.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
import type { Heard } from '#gateway/reading/heard.ts'
import { stationId } from '#gateway/reading/key.ts'
import { encodeReadings } from '#gateway/reading/payload.ts'
import { quantityCoded } from '#gateway/reading/quantity.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import type { Refusal } from '#gateway/sensors/read.ts'
import type { Surroundings } from '#gateway/sensors/sensors.ts'
import { createSealer } from '#gateway/sign/sign.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { signedNode } from '#sim/radio/signed-node.ts'
import { openWorld, network as worldNetwork } from '#test/bundle-world.ts'
import { frameFrom, heardFrom, holding, offered } from '#test/node-samples.ts'
import { journalAt, startHub } from '#test/relay-world.ts'
import { surroundings } from '#test/sensors/frames.ts'
import { network, newSigner, steadyClock } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const air = () => ({ temperature: 20.51, humidity: 50.25, pressure: 1000.5, pm1: 5, pm2_5: 8, pm10: 12 })

/** A RYLR modem's wire as a test holds it, read by a station's device into `frames`. */
const modem = (
  nodes: readonly Uint8Array[],
  around: Surroundings = surroundings(),
  names: readonly string[] = [],
) => {
  let wire: Duplex | undefined
  const frames: Heard[] = []
  const readings: Reading[] = []
  const refusals: Refusal[] = []
  const stop = new AbortController()
  const device = readDevice({
    device: {
      id: 'roof',
      model: 'reyax-rylr',
      settings: {
        bandHz: 868_500_000,
        parameter: '9,7,1,12',
        signed: nodes.map((key, at) => ({
          publicKey: toHex(key),
          ...(names[at] === undefined ? {} : { name: names[at] }),
        })),
      },
      baudRate: 115_200,
      opener: {
        name: 'wire',
        open: async () => {
          const [own, gateway] = duplexPair()
          wire = own
          own.on('error', () => undefined).resume()
          return gateway
        },
      },
    },
    surroundings: around,
    take: async (reading) => void readings.push(reading),
    takeFrame: async (frame) => void frames.push(frame),
    refused: (refusal) => void refusals.push(refusal),
  })
  const running = device.run(stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await running
  })
  const hear = async (data: Uint8Array): Promise<void> => {
    await expect.poll(() => wire).toBeDefined()
    wire!.write(Buffer.concat([Buffer.from(`+RCV=11,${data.length},`), data, Buffer.from(',-87,7\r\n')]))
  }
  return { hear, frames, readings, refusals }
}

const named = (reading: Reading): Record<string, number | null> =>
  Object.fromEntries(reading.values.map(({ quantity, scaled }) => [quantityCoded(quantity)!.name, scaled]))

describe('a station', () => {
  test('verifies a node’s frame, and hands it on as the node signed it, under a name of its key', async () => {
    const node = signedNode({
      seed: 1,
      network,
      region: 'EU868',
      dataRate: 3,
      air,
      measureMs: 60_000,
      readings: 5,
    })
    const { hear, frames, readings, refusals } = modem([node.publicKey])
    let frame: Uint8Array | undefined
    for (let second = 0; frame === undefined; second += 1) frame = node.tick(second * 1000)?.bytes
    await hear(frame)
    await expect.poll(() => frames.length).toBe(1)
    expect(readings).toEqual([])
    expect(refusals).toEqual([])

    const signer = newSigner()
    const station = stationId(signer.publicKey)
    const outbox = await openOutbox({ directory: temporaryDirectory(), openJournal: journalAt })
    onTestFinished(() => outbox[Symbol.asyncDispose]())
    const failures: unknown[] = []
    const sealer = createSealer({
      signer,
      network,
      chain: outbox,
      clock: () => steadyClock,
      failed: (error) => void failures.push(error),
    })
    await sealer.addHeard(frames[0]!)
    await sealer.flush()
    const { bytes } = await outbox.next(AbortSignal.timeout(5000))

    const hub = await startHub()
    await hub.ingest.register(signer.publicKey, Date.now())
    expect(await offered(hub, station, bytes)).toMatchObject({ kept: 1, refused: 0 })
    const decoded = decodeEnvelope(bytes)
    const contents = decoded.ok ? readingsOf(decoded.envelope) : decoded
    if (!contents.ok) return expect.fail(contents.detail)
    const { receivedMs } = frames[0]!
    expect(contents.readings.map(({ timeMs }) => receivedMs - timeMs)).toEqual([
      240_000, 180_000, 120_000, 60_000, 0,
    ])
    expect(new Set(contents.readings.map(({ sensor }) => sensor)).size).toBe(1)
    expect(contents.readings[0]!.sensor).toMatch(/^roof-node-[0-9a-f]{12}$/)
    expect(named(contents.readings[0]!)).toEqual({ temperature: 2051, humidity: 5025, pressure: 100_050 })
    // How it was heard goes with the newest.
    expect(named(contents.readings[4]!)).toMatchObject({
      rssi: -870,
      snr: 70,
      frequency: 8_685_000,
      spreading_factor: 9,
    })
    expect(failures).toEqual([])
  })

  test('refuses a frame again, also after a restart, one by a stranger, one for another network and one that is spoilt', async () => {
    const node = newSigner()
    const around = surroundings()
    const first = modem([node.publicKey], around)
    const frame = frameFrom(node, 7, network)
    await first.hear(frame)
    await first.hear(frame)
    await first.hear(frameFrom(node, 6, network))
    await first.hear(frameFrom(newSigner(), 1, network))
    await first.hear(frameFrom(node, 8, 'othernet'))
    const spoilt = frameFrom(node, 9, network)
    spoilt[12]! ^= 1
    await first.hear(spoilt)
    await first.hear(frame.slice(0, 40))
    await expect.poll(() => first.refusals.length).toBe(6)
    expect(first.refusals.map(({ reason }) => reason)).toEqual([
      'replay',
      'replay',
      'not-configured',
      'signature',
      'signature',
      'layout',
    ])
    expect(first.frames).toHaveLength(1)

    const again = modem([node.publicKey], around)
    await again.hear(frame)
    await expect.poll(() => again.refusals.length).toBe(1)
    expect(again.refusals[0]!.reason).toBe('replay')
    await again.hear(frameFrom(node, 10, network))
    await expect.poll(() => again.frames.length).toBe(1)
  })

  test('takes nothing unsigned under the id of a node that signs, however it comes to that id', async () => {
    const [one, two] = [newSigner(), newSigner()]
    const { hear, frames, readings, refusals } = modem([one.publicKey, two.publicKey], surroundings(), [
      'lora-11',
      'lora-11-env',
    ])
    await hear(new Uint8Array(Buffer.from('t=99')))
    const values = [{ quantity: 1, scaled: 9900 }]
    await hear(encodeReadings([{ sensor: 'env', model: 'bme280', timeMs: Date.now(), values }]))
    await expect.poll(() => refusals.length).toBe(2)
    expect(refusals.map(({ sensor, reason }) => [sensor, reason])).toEqual([
      ['roof-lora-11', 'unsigned'],
      ['roof-lora-11-env', 'unsigned'],
    ])
    expect(refusals[0]!.detail).toBe(
      'roof-lora-11 is a node that signs, and this is not signed: anybody may have sent it',
    )
    await hear(frameFrom(one, 1, network))
    await expect.poll(() => frames.map(({ sensor }) => sensor)).toEqual(['roof-lora-11'])
    expect(readings).toEqual([])
  })

  test('takes unsigned readings of any other node', async () => {
    const { hear, readings, refusals } = modem([newSigner().publicKey], surroundings(), ['lora-12'])
    await hear(new Uint8Array(Buffer.from('t=20')))
    await expect.poll(() => readings.map(({ sensor }) => sensor)).toEqual(['roof-lora-11'])
    expect(refusals).toEqual([])
  })

  test('lists each key once, and each under another name', () => {
    const [one, two] = [newSigner().publicKey, newSigner().publicKey]
    expect(() => modem([one, one])).toThrow(/expected each public key once/)
    expect(() => modem([one, two], surroundings(), ['shed', 'shed'])).toThrow(
      /expected another name for each node/,
    )
    const usual = `node-${stationId(one).slice(0, 12)}`
    expect(() => modem([two, one], surroundings(), [usual])).toThrow(/expected another name for each node/)
  })

  test('takes no weak key for a node’s', () => {
    const weak = new Uint8Array(32)
    weak[0] = 1
    expect(() => modem([weak])).toThrow(/expected a key that may be used/)
  })
})

const node = newSigner()
const nowMs = Date.now()
const honest = (seq: number, net: string): Heard => heardFrom(node, seq, nowMs - 60_000, net)

/** What a station might make of a node's frame. */
const lies: readonly (readonly [what: string, lie: (net: string) => Heard])[] = [
  [
    'a byte of what was measured is another',
    (net) => {
      const heard = honest(1, net)
      const sign1 = heard.sign1.slice()
      sign1[sign1.length - 70]! ^= 1
      return { ...heard, sign1 }
    },
  ],
  ['it was signed for another network', () => honest(1, 'othernet')],
  ['it is said to be by another key', (net) => ({ ...honest(1, net), publicKey: newSigner().publicKey })],
]

describe('the hub', () => {
  test('keeps what is honest', async () => {
    const hub = await startHub()
    const { signer, station, bytes } = holding([honest(1, network), honest(2, network)])
    await hub.ingest.register(signer.publicKey, nowMs)
    expect(await offered(hub, station, bytes)).toMatchObject({ kept: 1, refused: 0 })
  })

  test.each(lies)('refuses an envelope in which %s', async (_what, lie) => {
    const hub = await startHub()
    const { signer, station, bytes } = holding([lie(network)])
    await hub.ingest.register(signer.publicKey, nowMs)
    const { kept, reason } = await offered(hub, station, bytes)
    expect(kept).toBe(0)
    expect(['forged-frame', 'bad-payload']).toContain(reason)
  })

  test('refuses a frame that the station has sold before, also after a restart', async () => {
    const hub = await startHub()
    const first = holding([honest(1, network)])
    await hub.ingest.register(first.signer.publicKey, nowMs)
    await offered(hub, first.station, first.bytes)
    const second = holding([honest(1, network)], first.signer, 3)
    expect(await offered(hub, first.station, second.bytes)).toMatchObject({
      kept: 1,
      reason: 'replayed-frame',
    })
    // Another station may have heard it, too.
    const neighbour = holding([honest(1, network)])
    await hub.ingest.register(neighbour.signer.publicKey, nowMs)
    expect(await offered(hub, neighbour.station, neighbour.bytes)).toMatchObject({ kept: 2 })
    await hub.close()
    const evidence = await openEvidence({ directory: hub.directory, openJournal: journalAt })
    onTestFinished(() => evidence[Symbol.asyncDispose]())
    const decoded = decodeEnvelope(second.bytes)
    if (!decoded.ok) return expect.fail(decoded.detail)
    const contents = readingsOf(decoded.envelope)
    if (!contents.ok) return expect.fail(contents.detail)
    expect(
      evidence.place(summarise(second.bytes, decoded.envelope, contents.readings, contents.frames)),
    ).toBe('replayed-frame')
  })
})

describe('a buyer', () => {
  const reportOf = async (envelopes: readonly (readonly Heard[])[]) => {
    const world = openWorld()
    const station = world.addStation(newSigner())
    for (const frames of envelopes) {
      const readings = frames.map(({ receivedMs, sensor, model }) => ({
        sensor,
        model,
        timeMs: receivedMs - 60_000,
        values: [],
      }))
      world.sign(
        station,
        [...readings, ...readings.map((one) => ({ ...one, timeMs: one.timeMs + 60_000 }))],
        { frames },
      )
    }
    world.closeBatch()
    world.anchor(1)
    const built = await buildBundle(world.deps, { stations: [station], fromMs: nowMs - 600_000, toMs: nowMs })
    if (!built.ok) throw new Error(built.detail)
    return verifyBundle(built.bytes)
  }

  test('finds both signatures of honest readings good, and gets them', async () => {
    const report = await reportOf([
      [honest(1, worldNetwork), honest(2, worldNetwork)],
      [honest(3, worldNetwork)],
    ])
    expect(report.failure).toBeNull()
    expect(report.readings).toHaveLength(6)
    expect(report.steps.find(({ name }) => name === 'frames')).toMatchObject({
      state: 'passed',
      text: '3 frames that 1 node signed, each by the key its id is the hash of, none twice, their numbers ascending',
    })
  })

  test.each(lies)('finds out when %s', async (_what, lie) => {
    const report = await reportOf([[honest(2, worldNetwork)], [lie(worldNetwork)]])
    expect(report.ok).toBe(false)
    expect(['frames', 'envelopes']).toContain(report.failure!.step)
    expect(report.failure!.seq).toBe(2)
  })

  test('finds out when a frame was sold twice', async () => {
    const report = await reportOf([[honest(2, worldNetwork)], [honest(2, worldNetwork)]])
    expect(report.failure).toMatchObject({ step: 'frames', seq: 2 })
    expect(report.failure!.text).toContain('frame 2 of node')
  })
})
