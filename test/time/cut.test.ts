/** The power is cut while what waited for its time is signed: at any envelope, whatever else is signed meanwhile. */
import { expect, test } from 'vitest'
import { readingsOf } from '#gateway/reading/contents.ts'
import { decodeDropped, droppedContentType } from '#gateway/reading/dropped.ts'
import { decodeEnvelope, envelopeHash } from '#gateway/reading/envelope.ts'
import { heardFrom } from '#test/node-samples.ts'
import { network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { copyTree } from '#test/time/copy.ts'
import { drained, journalAt, stationOn } from '#test/time/station.ts'
import { simulatedMachine, startMs } from '#test/time/world.ts'
import { until } from '#test/until.ts'

type Station = Awaited<ReturnType<typeof stationOn>>

const hour = 3_600_000
const node = newSigner()

/** A hub: all that it has, by number. It answers each envelope at once. */
const serve = (station: Station, has: Map<number, Uint8Array>) => {
  const stop = new AbortController()
  const running = (async () => {
    for (;;) {
      const { seq, bytes } = await station.outbox.next(stop.signal)
      has.set(seq, bytes)
      const range = { first: seq, last: seq, head: envelopeHash(bytes), withheld: 0 }
      await station.outbox.settle({ station: '', issuedMs: 0, accepted: [range], refused: [] })
    }
  })().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error
  })
  return async () => {
    stop.abort()
    await running
  }
}

/** How often each reading and each frame is in these envelopes, and how many readings were declared as dropped. */
const counted = (envelopes: Iterable<Uint8Array>) => {
  const readings = new Map<number, number>()
  const frames = new Map<number, number>()
  let dropped = 0
  const gone = new Set<number>()
  const decoded = [...envelopes].map((bytes) => {
    const one = decodeEnvelope(bytes)
    if (!one.ok) throw new Error(one.detail)
    return one.envelope
  })
  // From the newest on: one that takes the place of earlier declarations lists them too, and they do not count any more.
  for (const { contentType, payload, seq } of decoded.toSorted((a, b) => b.seq - a.seq)) {
    if (contentType !== droppedContentType || gone.has(seq)) continue
    const said = decodeDropped(payload, seq)
    if (!said.ok) throw new Error(said.detail)
    for (const one of said.dropped.envelopes) {
      for (let at = one.seq; at < one.seq + one.count; at++) gone.add(at)
      dropped += one.readings
    }
  }
  for (const envelope of decoded) {
    if (gone.has(envelope.seq)) continue
    const contents = readingsOf(envelope)
    if (!contents.ok) throw new Error(contents.detail)
    for (const { seq } of contents.frames) frames.set(seq, (frames.get(seq) ?? 0) + 1)
    if (contents.frames.length > 0) continue
    for (const { values } of contents.readings)
      readings.set(values[0]!.scaled!, (readings.get(values[0]!.scaled!) ?? 0) + 1)
  }
  return {
    readings,
    frames,
    dropped,
    declarations: decoded.filter((one) => one.contentType === droppedContentType),
  }
}

const inOutbox = async (directory: string): Promise<Map<number, Uint8Array>> => {
  await using journal = await journalAt(`${directory}/outbox/envelopes`)
  const found = new Map<number, Uint8Array>()
  for await (const { record } of journal.read(0)) {
    const decoded = decodeEnvelope(record)
    if (decoded.ok) found.set(decoded.envelope.seq, record)
  }
  return found
}

const cases: readonly (readonly [
  what: string,
  more: {
    readonly maxReadings?: number
    readonly outboxBytes?: number
    readonly hub?: boolean
    readonly frames?: boolean
  },
])[] = [
  ['each record is one envelope', {}],
  ['the hub takes each envelope at once, and the outbox forgets it', { hub: true }],
  ['records are of an earlier setting and become several envelopes', { maxReadings: 7, hub: true }],
  ['frames of nodes are among them', { maxReadings: 7, frames: true }],
  [
    'the outbox declares what it thins meanwhile, some of it signed since the last note',
    { maxReadings: 1, outboxBytes: 1 << 16 },
  ],
]

test.each(cases)('cut off while signing, nothing is lost and nothing is doubled: %s', async (_what, more) => {
  const { hub: isThere = false, frames: withFrames = false, ...options } = more
  const thins = options.outboxBytes !== undefined
  const count = thins ? 400 : 1600
  const directory = temporaryDirectory()
  const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
  const first = await stationOn(directory, world.machine)
  let frames = 0
  for (let n = 0; n < count; n++) {
    world.advance(100)
    await first.take(world)
    if (withFrames && n % 10 === 0)
      await first.timed.takeFrame(heardFrom(node, ++frames, world.systemUtcMs, network), world.atMs)
  }
  await first.close()

  // The same boot goes on, NTP has spoken, and the power goes at one envelope or another.
  const cuts: { readonly copy: string; readonly has: ReadonlyMap<number, Uint8Array> }[] = []
  const has = new Map<number, Uint8Array>()
  let commits = 0
  let next = thins ? 240 : 1
  world.synchronise()
  const second = await stationOn(directory, world.machine, {
    ...options,
    committed: () => {
      if (++commits !== next || cuts.length >= 12) return
      next += thins ? 40 : Math.ceil(next / 2)
      cuts.push({ copy: copyTree(directory), has: new Map(has) })
    },
  })
  const stopServing = isThere ? serve(second, has) : undefined
  await drained(second)
  await stopServing?.()
  await second.close()
  expect(cuts.length).toBeGreaterThan(2)

  for (const [at, cut] of cuts.entries()) {
    const later = simulatedMachine({
      client: 'timesyncd',
      boot: 2,
      trueMs: startMs + 5 * hour,
      systemUtcMs: startMs,
    })
    const got = new Map(cut.has)
    const third = await stationOn(cut.copy, later.machine, options)
    // The hub is heard before the time is known: what it settles is not needed any more for finding out.
    const stop = isThere ? serve(third, got) : undefined
    later.synchronise()
    third.timekeeper.look()
    await drained(third)
    await stop?.()
    await third.close()
    const all = new Map([...(await inOutbox(cut.copy)), ...got])
    const said = counted(all.values())
    const doubled = [...said.readings, ...said.frames].filter(([, times]) => times !== 1)
    expect(doubled, `cut ${at}`).toEqual([])
    expect(said.frames.size, `cut ${at}`).toBe(frames)
    expect(said.readings.size + said.dropped, `cut ${at}`).toBe(count)
    if (thins) expect(said.declarations.length).toBeGreaterThan(0)
  }
})

test.each([true, false])(
  'a disk that fails while signing, and then the station ends: nothing is lost and nothing is doubled (it had taken the last: %s)',
  async (hasTaken) => {
    const directory = temporaryDirectory()
    const world = simulatedMachine({ client: 'timesyncd', systemUtcMs: 0 })
    const first = await stationOn(directory, world.machine)
    const count = 500
    for (let n = 0; n < count; n++) {
      world.advance(100)
      await first.take(world)
    }
    await first.close()
    let commits = 0
    let isFull = false
    const full = () => {
      if (isFull) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    }
    world.synchronise()
    const second = await stationOn(directory, world.machine, {
      maxReadings: 20,
      committing: hasTaken ? () => undefined : full,
      committed: () => {
        if (++commits === 7) isFull = true
        if (hasTaken) full()
      },
    })
    await until('the disk fails', 10, async () =>
      second.outbox.status.disk.state === 'ok' ? undefined : true,
    )
    await second.fire()
    await second.close().catch(() => undefined)
    const third = await stationOn(directory, world.machine)
    await drained(third)
    await third.close()
    const { readings } = counted((await inOutbox(directory)).values())
    expect([...readings].filter(([, times]) => times !== 1)).toEqual([])
    expect(readings.size).toBe(count)
  },
)
