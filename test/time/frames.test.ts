/** Frames that nodes signed, and that come before the time is known: they wait on disk, for nobody sends them again. */
import { type Duplex, duplexPair } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { startEdge } from '#gateway/edge.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import { type Clock, decodeEnvelope } from '#gateway/reading/envelope.ts'
import type { Reading } from '#gateway/reading/reading.ts'
import { surroundingsIn } from '#gateway/surroundings.ts'
import { decodeUntimed, encodeUntimed, headOf, thinnedPair } from '#gateway/time/record.ts'
import type { Machine } from '#gateway/time/system.ts'
import { frameFrom, heardFrom } from '#test/node-samples.ts'
import { aReading, network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { drained, journalAt, stationOn } from '#test/time/station.ts'
import { simulatedMachine, startMs } from '#test/time/world.ts'
import { until } from '#test/until.ts'

const hour = 3_600_000
const node = newSigner()

type Frame = { readonly seq: number; readonly receivedMs: number; readonly clock: Clock }

const framesIn = async (directory: string): Promise<Frame[]> => {
  await using journal = await journalAt(`${directory}/outbox/envelopes`)
  const found: Frame[] = []
  for await (const { record } of journal.read(0)) {
    const decoded = decodeEnvelope(record)
    if (!decoded.ok) throw new Error(decoded.detail)
    const contents = readingsOf(decoded.envelope)
    if (!contents.ok) throw new Error(contents.detail)
    const { clock } = decoded.envelope
    for (const { seq, receivedMs } of contents.frames) found.push({ seq, receivedMs, clock })
  }
  return found
}

test('outlive a restart, and say when they were heard, however the clock stood', async () => {
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
  const first = await stationOn(directory, world.machine)
  const heardMs: number[] = []
  for (let seq = 1; seq <= 120; seq++) {
    world.advance(1000)
    heardMs.push(world.trueMs)
    await first.timed.takeFrame(heardFrom(node, seq, world.systemUtcMs, network), world.atMs)
    await first.take(world)
  }
  await first.fire()
  // Two readings in each.
  expect(first.timed.status.waiting).toBe(120 * 3)
  await first.close()
  const second = await stationOn(directory, world.machine)
  expect(second.timed.status.waiting).toBe(120 * 3)
  world.synchronise(20)
  second.timekeeper.look()
  await drained(second)
  world.advance(1000)
  await second.timed.takeFrame(heardFrom(node, 121, world.systemUtcMs, network), world.atMs)
  heardMs.push(world.trueMs)
  await second.close()
  const frames = await framesIn(directory)
  expect(frames.map(({ seq }) => seq)).toEqual(Array.from({ length: 121 }, (_, at) => at + 1))
  for (const { seq, receivedMs, clock } of frames) {
    expect(clock.source).toBe('ntp')
    expect(Math.abs(receivedMs - heardMs[seq - 1]!)).toBeLessThanOrEqual(clock.errorMs)
  }
})

test('of a boot that never knew its time declare the interval in which it lies', async () => {
  const directory = temporaryDirectory()
  const before = simulatedMachine({ client: 'timesyncd', boot: 1 })
  before.synchronise()
  await (await stationOn(directory, before.machine)).close()
  const dark = simulatedMachine({ client: 'timesyncd', boot: 2, trueMs: startMs + 2 * hour, systemUtcMs: 0 })
  const first = await stationOn(directory, dark.machine)
  await first.timed.takeFrame(heardFrom(node, 1, 0, network), dark.atMs)
  await first.close()
  const after = simulatedMachine({ client: 'timesyncd', boot: 3, trueMs: startMs + 8 * hour })
  after.synchronise()
  const second = await stationOn(directory, after.machine)
  await drained(second)
  await second.close()
  const [frame] = await framesIn(directory)
  expect(frame!.clock.source).toBe('none')
  expect(Math.abs(frame!.receivedMs - (startMs + 2 * hour))).toBeLessThanOrEqual(frame!.clock.errorMs)
})

test('are thinned by themselves: a record never mixes them with readings, or positions with the rest', () => {
  const { boot } = simulatedMachine({}).machine
  const position: Reading = { ...aReading(0), values: [{ quantity: 35, scaled: 481_173_000 }] }
  const frames = [1, 2, 3, 4].map((seq) => ({ frame: heardFrom(node, seq, 0, network), atMs: 1000 * seq }))
  const readings = [1, 2, 3, 4].map((n) => ({ reading: aReading(0, n), atMs: 1000 * n }))
  const positions = [1, 2, 3, 4].map((n) => ({ reading: position, atMs: 1000 * n }))
  const [ofFrames, ofReadings, ofPositions] = [frames, readings, positions].map(
    (some) => encodeUntimed(boot, some)[0]!,
  ) as [Uint8Array, Uint8Array, Uint8Array]
  expect(headOf(ofFrames)).toEqual({ boot, count: 8, lastMs: 4000 })
  for (const [a, b] of [
    [ofFrames, ofReadings],
    [ofReadings, ofPositions],
  ] as const) {
    const { records, lost } = thinnedPair(a, b)
    expect(records[1]).toEqual(b)
    expect(decodeUntimed(records[0]!)!.seen.map(({ atMs }) => atMs)).toEqual([1000, 3000])
    expect(lost).toBe(headOf(a)!.count / 2)
  }
  const { records, lost } = thinnedPair(ofFrames, ofFrames)
  expect(lost).toBe(8)
  expect(records).toHaveLength(1)
})

test('reach the outbox of a whole station that was stopped before it knew the time', async () => {
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
  const signer = newSigner()
  const station = async (clock: Machine) => {
    let wire: Duplex | undefined
    const stop = new AbortController()
    const edge = await startEdge(
      {
        network,
        signer,
        directory,
        devices: [
          {
            id: 'roof',
            model: 'reyax-rylr',
            settings: {
              bandHz: 868_500_000,
              parameter: '9,7,1,12',
              signed: [{ publicKey: toHex(node.publicKey) }],
            },
            baudRate: 115_200,
            opener: {
              name: 'wire',
              open: async () => {
                const [own, gateway] = duplexPair()
                wire = own.on('error', () => undefined)
                own.resume()
                return gateway
              },
            },
          },
        ],
        limits: { maxReadings: 50, maxAgeMs: 100 },
        outbox: { maxInFlight: 8, receiptTimeoutMs: 5000, backlogPerS: 1000, cursorIntervalMs: 100 },
        connect: () => Promise.reject(new Error('no broker')),
        longestBackoffMs: 200,
        hubKey: async () => newSigner().publicKey,
        clock,
        surroundings: surroundingsIn(directory, network),
        version: '0',
        log: () => undefined,
      },
      stop.signal,
    )
    const close = async () => {
      stop.abort()
      await edge.done
    }
    onTestFinished(close)
    const hear = async (seq: number) => {
      const data = frameFrom(node, seq, network)
      const open = await until('the modem is opened', 10, async () => wire)
      open.write(Buffer.concat([Buffer.from(`+RCV=11,${data.length},`), data, Buffer.from(',-87,7\r\n')]))
    }
    return { edge, hear, close }
  }
  const first = await station(world.machine)
  for (const seq of [1, 2, 3]) await first.hear(seq)
  await until('all wait', 10, async () => (first.edge.time.waiting === 6 ? true : undefined))
  await first.close()
  world.advance(60_000)
  world.synchronise()
  const second = await station(world.machine)
  await until('nothing waits', 10, async () => (second.edge.time.waiting === 0 ? true : undefined))
  await second.close()
  const frames = await framesIn(directory)
  expect(frames.map(({ seq }) => seq)).toEqual([1, 2, 3])
  for (const { receivedMs, clock } of frames)
    expect(Math.abs(receivedMs - startMs)).toBeLessThanOrEqual(clock.errorMs)
})
