/**
 * A station with every simulated device on real terminals and TCP, cables that fail, a hub that goes away, a clock that
 * is stepped, a disk that fails, and the station itself stopped and started: an oracle counts every reading.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { Device } from '#gateway/device.ts'
import { type Edge, startEdge } from '#gateway/edge.ts'
import { linkNamed } from '#gateway/link/named.ts'
import { stationId } from '#gateway/reading/key.ts'
import { signToken } from '#gateway/reading/token.ts'
import { mqttConnector } from '#gateway/relay/mqtt.ts'
import { toReadings } from '#gateway/sensors/read.ts'
import { fileCounters } from '#gateway/surroundings.ts'
import { type KindName, kinds } from '#sim/devices/all.ts'
import { drop, duplicate, flipBits, noise, split, stall, unplug } from '#sim/faults.ts'
import { fleet } from '#sim/fleet.ts'
import { hasScript, pty } from '#sim/outlets/pty.ts'
import { tcp } from '#sim/outlets/tcp.ts'
import { generator } from '#sim/random.ts'
import { type Said, startStation } from '#sim/station.ts'
import { world } from '#sim/world.ts'
import { startHub } from '#test/relay-world.ts'
import { watchedCable } from '#test/soak/cable.ts'
import { steppedMachine, stepsMs } from '#test/soak/clock.ts'
import { diskFaults, failingDisk } from '#test/soak/disk.ts'
import { evidenceOf, nameOf, type Taken } from '#test/soak/evidence.ts'
import {
  compare,
  difference,
  type Excuse,
  isPartOf,
  reasonAmong,
  type Seen,
  seen,
} from '#test/soak/oracle.ts'
import { network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const soakS = Number(process.env.SOAK_S ?? 90)
// In each round the hub is away for a third, the disk fails once, the clock is moved; at its end the station is stopped.
const roundS = [12, 50] as const
const diskFailsS = [0.5, 4] as const

// What is under way when a port is closed, or said before a device is set up again, may be lost.
const beforeStopMs = 1_000
const afterStartMs = 3_000
// Nearly every reading is taken so soon after it was said.
const saidBeforeMs = 500
// After a restart of the station it is not known whether these are steady: values are withheld until they must be.
const mayWithhold: ReadonlySet<string> = new Set(['sensirion-sps30'])

const withPty = await hasScript()
if (!withPty) console.warn('The soak uses TCP only: script(1) is missing. Install it (Debian: bsdutils).')

test('every reading that was meant reaches the hub once or has a reason, whatever is pulled, stopped, filled and stepped', {
  timeout: (soakS + 240) * 1000,
}, async () => {
  console.info(`soak: SEED=${seed} SOAK_S=${soakS}`)
  const directory = temporaryDirectory()
  const stop = new AbortController()
  onTestFinished(() => stop.abort())
  const random = generator(seed)
  const clock = {
    utcMs: () => Date.now(),
    sleep: (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal }),
  }
  const openPty = pty(join(directory, 'dev'))
  const names = Object.keys(kinds) as KindName[]
  const [plan] = fleet({ seed, stations: 1, first: names, intervalMs: 1000 })
  const quiet = new Set<string>()
  const said: Said[] = []
  const troubles = new Map<string, Excuse[]>()
  let outlets = 0
  const simulated = await startStation(
    plan!,
    {
      world: world(seed),
      clock,
      outlet: (name, hear) => (withPty && outlets++ % 2 === 0 ? openPty(name, hear) : tcp(name, hear)),
      onSaid: (one) => {
        if (one.meant.length > 0) said.push(one)
      },
      faults: ({ sensor, kind }) => {
        const list: Excuse[] = []
        troubles.set(sensor, list)
        // Half of the devices have good cables: of them nothing may be missing.
        if (names.indexOf(kind) % 2 === 0) {
          quiet.add(sensor)
          return []
        }
        const faults = [
          drop(0.01, random),
          duplicate(0.01, random),
          flipBits(0.0005, random),
          noise(0.02, 40, random),
          // A WebSocket does not tear its messages.
          ...(kind === 'basics-station' ? [] : [split(0.3, random)]),
          stall(0.005, 2_000, random, clock, stop.signal),
          unplug(0.003, 2_000, random, clock, stop.signal),
        ]
        return [watchedCable(faults, (excuse) => void list.push(excuse))]
      },
    },
    stop.signal,
  )
  const devices = simulated.sensors.map(
    ({ sensor, model, settings, baudRate, link }): Device => ({
      id: sensor,
      model,
      settings,
      baudRate,
      opener: linkNamed(link, { baudRate }),
    }),
  )

  const signer = newSigner()
  const station = stationId(signer.publicKey)
  const disk = failingDisk()
  const { machine, step, synchronise } = steppedMachine()
  /** What the station took, as it was stamped, and when it really was. */
  const taken: Taken[] = []
  const runEdge = async (url: string, hubKey: Uint8Array, read: readonly Device[] = devices) => {
    const over = new AbortController()
    const edge: Edge = await startEdge(
      {
        network,
        signer,
        directory: join(directory, 'edge'),
        devices: read,
        limits: { maxReadings: 50, maxAgeMs: 500 },
        outbox: {
          maxInFlight: 64,
          receiptTimeoutMs: 3_000,
          backlogPerS: 1000,
          cursorIntervalMs: 1_000,
          segmentBytes: 1 << 18,
          longestDiskBackoffMs: 1_000,
          files: disk.files,
        },
        connect: mqttConnector({
          url,
          clientId: station,
          username: station,
          password: (nowMs) => signToken(network, signer, nowMs),
        }),
        longestBackoffMs: 500,
        hubKey: async () => hubKey,
        clock: machine,
        surroundings: {
          network,
          counters: fileCounters(join(directory, 'counters.json')),
          secret: () => '',
        },
        version: 'soak',
        log: () => undefined,
        emitted: (sensor, timeMs, ageMs) =>
          void taken.push({ name: nameOf(sensor, timeMs), trueMs: Date.now(), ageMs }),
      },
      over.signal,
    )
    return {
      edge,
      end: async () => {
        over.abort()
        await edge.done
      },
    }
  }

  let hub = await startHub(0, join(directory, 'hub'))
  const { port } = hub.broker
  const url = `mqtt://127.0.0.1:${port}`
  const startedMs = Date.now()
  let running = await runEdge(url, hub.hub.publicKey)
  const told = (): string => {
    const { outbox, relay } = running.edge.status
    return JSON.stringify({ outbox, relay, time: running.edge.time, ingest: hub.ingest.status })
  }
  const reached = (what: string, holds: () => boolean): Promise<unknown> =>
    until(what, 60, async () => (holds() ? true : undefined)).catch((error: Error) =>
      expect.fail(`${error.message}: ${told()}`),
    )

  const rounds = generator(seed + 1)
  const between = ([least, most]: readonly [number, number]): number => least + rounds() * (most - least)
  const oneOf = <T>(all: readonly T[]): T => all[Math.floor(rounds() * all.length)]!
  const hubGoes = async (lengthMs: number): Promise<void> => {
    await sleep(lengthMs / 3)
    await hub.close()
    await sleep(lengthMs / 3)
    hub = await startHub(port, join(directory, 'hub'), hub.hub)
  }
  const diskFails = async (
    fault: (typeof diskFaults)[number],
    afterMs: number,
    forMs: number,
  ): Promise<void> => {
    await sleep(afterMs)
    disk.fault = fault
    await sleep(forMs)
    disk.fault = undefined
  }
  const clockMoves = async (afterMs: number, toMs: number, forMs: number): Promise<void> => {
    await sleep(afterMs)
    step(toMs)
    // Not each is set right before the next one, or before the station is stopped.
    if (forMs === 0) return
    await sleep(forMs)
    synchronise()
  }

  const stationAway: Excuse[] = []
  const away = (fromMs: number, toMs: number): void =>
    void stationAway.push({
      reason: 'the station was stopped',
      fromMs: fromMs - beforeStopMs,
      toMs: toMs + afterStartMs,
    })
  const refused = new Map<string, number>()
  const note = (): void => {
    for (const { model, refusals } of running.edge.status.sensors)
      for (const [reason, count] of Object.entries(refusals))
        refused.set(`${model}: ${reason}`, (refused.get(`${model}: ${reason}`) ?? 0) + count)
    expect(running.edge.status.outbox).toMatchObject({ refused: 0, lost: 0, dropped: 0, conflict: null })
    expect(running.edge.time.dropped).toBe(0)
  }
  for (let leftS = soakS; leftS > 0; ) {
    const lengthS = Math.min(leftS, between(roundS))
    const lengthMs = 1000 * lengthS
    leftS -= lengthS
    await Promise.all([
      sleep(lengthMs),
      hubGoes(lengthMs),
      diskFails(oneOf(diskFaults), between([0, lengthMs / 2]), 1000 * between(diskFailsS)),
      clockMoves(
        between([0, lengthMs / 2]),
        (rounds() < 0.5 ? -1 : 1) * oneOf(stepsMs),
        rounds() < 0.5 ? 0 : between([0, lengthMs / 2]),
      ),
    ])
    await reached('the disk to be used again', () => {
      const { held, disk: state } = running.edge.status.outbox
      return held === 0 && state.state === 'ok'
    })
    note()
    const fromMs = Date.now()
    await running.end()
    running = await runEdge(url, hub.hub.publicKey)
    away(fromMs, Date.now())
  }
  away(0, startedMs)
  away(Date.now(), Number.POSITIVE_INFINITY)
  stop.abort()
  await simulated.ended
  note()
  await running.end()
  // What it still holds is on its disk: a last start without devices sends it.
  running = await runEdge(url, hub.hub.publicKey, [])
  await reached('the outbox to be empty', () => running.edge.status.outbox.pending === 0)
  note()
  await running.end()

  const { kept, evident, misdated } = await evidenceOf(hub.evidence, taken)
  const all = taken.map(({ name }) => name)
  console.info(
    `soak: ${all.length} taken, ${kept.length} kept, ${disk.failed} disk operations failed; refused ${JSON.stringify(Object.fromEntries(refused))}`,
  )
  expect(hub.evidence.progress(station).gaps).toEqual([])
  expect(difference(all, kept), 'taken and not kept').toEqual([])
  expect(difference(kept, all), 'kept and not taken, or twice').toEqual([])
  // The control: an oracle that does not miss one reading less would miss nothing.
  expect(difference(all, kept.slice(1))).toHaveLength(1)
  expect(disk.failed).toBeGreaterThan(0)

  const deviceOf = ({ sensor }: { sensor: string }): string =>
    devices.find(({ id }) => sensor === id || sensor.startsWith(`${id}-`))!.id
  const evidentOf = Map.groupBy(evident, deviceOf)
  const saidOf = Map.groupBy(said, ({ sensor }) => sensor)
  const failures: string[] = []
  for (const { id, model } of devices) {
    const meant = (saidOf.get(id) ?? []).flatMap(({ sensor, timeMs, meant: ones }) =>
      toReadings(
        'm',
        sensor,
        ones.map((each) => ({ kind: 'reading', ...each }) as const),
        timeMs,
      ).readings.map((reading) => seen(reading, timeMs)),
    )
    const here = evidentOf.get(id) ?? []
    const reasonOf = reasonAmong([...stationAway, ...troubles.get(id)!])
    const due = (ones: readonly Seen[]): readonly Seen[] =>
      ones.filter(({ timeMs }) => reasonOf(timeMs) === undefined)
    const judge = (there: readonly Seen[]) => {
      const { lost, strange, withheld } = compare(meant, there, mayWithhold.has(model))
      const isExcused = (one: Seen): boolean =>
        reasonOf(one.timeMs) !== undefined &&
        // On a good cable nothing comes that nobody meant; of what was under way, a part may.
        (!quiet.has(id) || lost.some((other) => isPartOf(one, other)))
      return { lost, withheld, due: due(lost), strange: strange.filter((one) => !isExcused(one)) }
    }
    const judged = judge(here)
    const reasons = Map.groupBy(judged.lost, ({ timeMs }) => reasonOf(timeMs) ?? 'NONE')
    const counts = [...reasons].map(([reason, ones]) => `${ones.length} lost (${reason})`)
    const delivered = meant.length - judged.lost.length
    console.info(
      `soak: ${id} (${model}), ${quiet.has(id) ? 'good' : 'bad'} cable: ${meant.length} meant, ${delivered} delivered (${judged.withheld} without values), ${[...counts, `${due(meant).length} due`].join(', ')}`,
    )
    // A device's own time may be spoilt on the way as well.
    for (const { trueMs, text } of misdated.filter((one) => deviceOf(one) === id))
      if (quiet.has(id) || reasonOf(trueMs) === undefined) failures.push(text)
    for (const one of judged.due) failures.push(`meant and not kept: ${JSON.stringify(one)}`)
    for (const one of judged.strange) failures.push(`kept and not meant: ${JSON.stringify(one)}`)

    // The control: one reading less, and one that says something else, are both found, and found to be due.
    // Due when it was taken, and when it was said.
    const dueHere = due(here).filter(({ timeMs }) => reasonOf(timeMs - saidBeforeMs) === undefined)
    const middle = dueHere.slice(dueHere.length >> 1)
    // Where a cable says things twice, the second would stand for the first.
    const times = Map.groupBy(here, ({ sensor, what }) => `${sensor} ${what}`)
    const chosen = quiet.has(id)
      ? middle[0]
      : middle.find(({ sensor, what }) => times.get(`${sensor} ${what}`)!.length === 1)
    expect(here.length, `${id}: nothing was kept`).toBeGreaterThan(0)
    // In a short run a bad cable may have been in trouble all the time.
    if (chosen === undefined && !quiet.has(id)) continue
    if (chosen === undefined) expect.fail(`${id}: nothing was kept while the station ran`)
    const others = here.filter((one) => one !== chosen)
    if (judge(others).due.length !== judged.due.length + 1)
      failures.push(`${id}: one reading less was not missed`)
    const changed = { ...chosen, what: 'other=1' }
    if (judge([...others, changed]).strange.length !== judged.strange.length + 1)
      failures.push(`${id}: a changed reading was not noticed`)
  }
  expect(failures.slice(0, 50)).toEqual([])
})
