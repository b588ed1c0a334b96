/**
 * A station with every simulated device on real terminals and TCP, cables that fail, a hub that goes away, and the
 * station itself stopped and started: an oracle counts every reading.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '#gateway/clock.ts'
import type { Device } from '#gateway/device.ts'
import { type Edge, startEdge } from '#gateway/edge.ts'
import { linkNamed } from '#gateway/link/named.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
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
import { network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const soakS = Number(process.env.SOAK_S ?? 120)
const roundS = 15

// What was on its way when a port was closed or a cable was pulled is neither here nor there: so many readings of a
// sensor, at most, for each time that the station was stopped.
const lostAtStop = 4

const withPty = await hasScript()
if (!withPty) console.warn('The soak uses TCP only: script(1) is missing. Install it (Debian: bsdutils).')

const nameOf = (sensor: string, timeMs: number): string => `${sensor}@${timeMs}`

/** What is in one list and not in the other, counted. */
const difference = (one: readonly string[], other: readonly string[]): string[] => {
  const counts = new Map<string, number>()
  for (const name of other) counts.set(name, (counts.get(name) ?? 0) + 1)
  return one.filter((name) => {
    const left = counts.get(name) ?? 0
    counts.set(name, left - 1)
    return left <= 0
  })
}

test('every reading that was taken reaches the hub once, whatever is pulled, stopped and started', {
  timeout: (soakS + 180) * 1000,
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
  let outlets = 0
  const simulated = await startStation(
    plan!,
    {
      world: world(seed),
      clock,
      outlet: (name, hear) => (withPty && outlets++ % 2 === 0 ? openPty(name, hear) : tcp(name, hear)),
      onSaid: (one) => {
        if (one.taken && one.meant.length > 0) said.push(one)
      },
      faults: ({ sensor, kind }) => {
        // Half of the devices have good cables: of them nothing may be missing.
        if (names.indexOf(kind) % 2 === 0) {
          quiet.add(sensor)
          return []
        }
        return [
          drop(0.01, random),
          duplicate(0.01, random),
          flipBits(0.0005, random),
          noise(0.05, 40, random),
          split(0.3, random),
          stall(0.005, 2_000, random, clock, stop.signal),
          unplug(0.01, 2_000, random, clock, stop.signal),
        ]
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
  const emitted: { readonly sensor: string; readonly timeMs: number }[] = []
  const runEdge = async (url: string, hubKey: Uint8Array) => {
    const over = new AbortController()
    const edge: Edge = await startEdge(
      {
        network,
        signer,
        directory: join(directory, 'edge'),
        devices,
        limits: { maxReadings: 50, maxAgeMs: 500 },
        outbox: { maxInFlight: 64, receiptTimeoutMs: 3_000, backlogPerS: 1000, cursorIntervalMs: 1_000 },
        connect: mqttConnector({
          url,
          clientId: station,
          username: station,
          password: (nowMs) => signToken(network, signer, nowMs),
        }),
        longestBackoffMs: 500,
        hubKey: async () => hubKey,
        clock: systemClock,
        surroundings: {
          network,
          counters: fileCounters(join(directory, 'counters.json')),
          secret: () => '',
        },
        version: 'soak',
        log: () => undefined,
        emitted: (sensor, timeMs) => void emitted.push({ sensor, timeMs }),
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
  let running = await runEdge(url, hub.hub.publicKey)
  let stops = 0
  const refused = new Map<string, number>()
  const note = ({ edge }: typeof running): void => {
    for (const { model, refusals } of edge.status.sensors)
      for (const [reason, count] of Object.entries(refusals))
        refused.set(`${model}: ${reason}`, (refused.get(`${model}: ${reason}`) ?? 0) + count)
  }
  for (let elapsedS = 0; elapsedS < soakS; elapsedS += roundS) {
    await sleep((1000 * roundS) / 3)
    await hub.close()
    await sleep((1000 * roundS) / 3)
    hub = await startHub(port, join(directory, 'hub'), hub.hub)
    await sleep((1000 * roundS) / 3)
    note(running)
    await running.end()
    stops += 1
    running = await runEdge(url, hub.hub.publicKey)
  }
  stop.abort()
  await simulated.ended
  note(running)
  await running.end()
  // What it still holds is on its disk: a last start without devices sends it.
  devices.length = 0
  running = await runEdge(url, hub.hub.publicKey)
  await until('the outbox to be empty', 60, async () =>
    running.edge.status.outbox.pending === 0 ? true : undefined,
  )
  expect(running.edge.status.outbox).toMatchObject({ refused: 0, lost: 0, dropped: 0, conflict: null })
  await running.end()

  const kept: string[] = []
  for await (const { bytes } of hub.evidence.read(0)) {
    const decoded = decodeEnvelope(bytes)
    const contents = decoded.ok ? readingsOf(decoded.envelope) : decoded
    if (!contents.ok) expect.fail(contents.detail)
    else for (const { sensor, timeMs } of contents.readings) kept.push(nameOf(sensor, timeMs))
  }
  const taken = emitted.map(({ sensor, timeMs }) => nameOf(sensor, timeMs))
  console.info(
    `soak: ${said.length} said, ${taken.length} taken, ${kept.length} kept; refused ${JSON.stringify(Object.fromEntries(refused))}`,
  )
  expect(hub.evidence.progress(station).gaps).toEqual([])
  expect(difference(taken, kept), 'taken and not kept').toEqual([])
  expect(difference(kept, taken), 'kept and not taken, or twice').toEqual([])
  // The control: an oracle that does not miss one reading less would miss nothing.
  expect(difference(taken, kept.slice(1))).toHaveLength(1)

  const meant = new Map<string, number>()
  for (const { sensor, meant: all } of said)
    for (const one of toReadings(
      'm',
      sensor,
      all.map((each) => ({ kind: 'reading', ...each }) as const),
      0,
    ).readings)
      meant.set(one.sensor, (meant.get(one.sensor) ?? 0) + 1)
  const counted = Map.groupBy(emitted, ({ sensor }) => sensor)
  const shortOf: Record<string, number> = {}
  for (const [sensor, count] of meant) {
    expect(counted.get(sensor)?.length ?? 0, sensor).toBeGreaterThan(0)
    const isQuiet = [...quiet].some((name) => sensor === name || sensor.startsWith(`${name}-`))
    const missing = count - (counted.get(sensor)?.length ?? 0)
    if (isQuiet && missing > lostAtStop * (stops + 1)) shortOf[sensor] = missing
  }
  expect(shortOf).toEqual({})
})
