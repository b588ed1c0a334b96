/** A station and a hub, where the station learns late what time it is. */
import { type Duplex, duplexPair } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { type EdgeOptions, startEdge } from '#gateway/edge.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import { type Clock, decodeEnvelope } from '#gateway/reading/envelope.ts'
import { stationId } from '#gateway/reading/key.ts'
import { signToken } from '#gateway/reading/token.ts'
import { mqttConnector } from '#gateway/relay/mqtt.ts'
import { systemMachine } from '#gateway/time/system.ts'
import { startHub } from '#test/relay-world.ts'
import { surroundings } from '#test/sensors/frames.ts'
import { network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

type Sync = { syncedMs: number | undefined; offMs: number }

/** This machine, with a system clock that is off until its NTP client sets it. */
const lateMachine = (sync: Sync): EdgeOptions['clock'] => ({
  ...systemMachine(),
  utcMs: () => Date.now() + sync.offMs,
  timesync: () =>
    sync.syncedMs === undefined
      ? { awaited: true }
      : { ntp: { syncedMs: sync.syncedMs, errorMs: 100, slewMs: 400 } },
  chrony: async () => undefined,
  rtcUtcMs: () => undefined,
})

const edgeOn = async (
  directory: string,
  signer: ReturnType<typeof newSigner>,
  url: string,
  hub: Uint8Array,
  sync: Sync,
) => {
  const wires: Duplex[] = []
  const stop = new AbortController()
  const edge = await startEdge(
    {
      network,
      signer,
      directory,
      devices: [
        {
          id: 'garden',
          model: 'text-lines',
          settings: {},
          baudRate: 9600,
          opener: {
            name: 'wire:garden',
            open: async () => {
              const [own, gateway] = duplexPair()
              own.on('error', () => undefined)
              wires.push(own)
              return gateway
            },
          },
        },
      ],
      limits: { maxReadings: 50, maxAgeMs: 200 },
      outbox: {
        maxInFlight: 64,
        receiptTimeoutMs: 5000,
        backlogPerS: 1000,
        cursorIntervalMs: 100,
        segmentBytes: 1 << 18,
      },
      connect: mqttConnector({
        url,
        clientId: stationId(signer.publicKey),
        username: stationId(signer.publicKey),
        password: (nowMs) => signToken(network, signer, nowMs),
      }),
      longestBackoffMs: 200,
      hubKey: async () => hub,
      clock: lateMachine(sync),
      surroundings: surroundings(),
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
  const wire = () => until('the device is opened', 10, async () => wires.at(-1))
  return { edge, wire, close }
}

test('what was measured before the time was known reaches the hub with its time, in order, and once', async () => {
  const hub = await startHub()
  const directory = temporaryDirectory()
  const signer = newSigner()
  const sync: Sync = { syncedMs: undefined, offMs: Date.UTC(2026, 5, 1) - Date.now() }
  const said: number[] = []
  const say = async (wire: Duplex, count: number) => {
    for (let n = 0; n < count; n++) {
      said.push(Date.now())
      wire.write(`t=${(said.length / 100).toFixed(2)}\n`)
      await new Promise((resolve) => setTimeout(resolve, 15))
    }
  }
  const open = () => edgeOn(directory, signer, `mqtt://127.0.0.1:${hub.broker.port}`, hub.hub.publicKey, sync)
  const first = await open()
  await say(await first.wire(), 70)
  await until('all wait', 10, async () => (first.edge.time.waiting === 70 ? true : undefined))
  expect(first.edge.time).toMatchObject({ known: false, source: null })
  const { time, troubles } = first.edge.status
  expect(time).toEqual(first.edge.time)
  const unknown = troubles.find(({ code }) => code === 'clock-unknown')
  expect(unknown?.text).toMatch(/wait for it: 70\.$/)
  expect(first.edge.status.outbox.pending).toBe(0)
  await first.close()

  // Started again in the same boot, and then the network is there.
  const second = await open()
  await say(await second.wire(), 20)
  expect(second.edge.time.waiting).toBeGreaterThanOrEqual(70)
  sync.offMs = 40
  sync.syncedMs = Date.now() + sync.offMs
  await until('nothing waits', 10, async () => (second.edge.time.waiting === 0 ? true : undefined))
  await say(await second.wire(), 10)
  const kept = async () => {
    const got: { name: number; timeMs: number; clock: Clock }[] = []
    for await (const { bytes } of hub.evidence.read(0)) {
      const decoded = decodeEnvelope(bytes)
      if (!decoded.ok) throw new Error(decoded.detail)
      const contents = readingsOf(decoded.envelope)
      if (!contents.ok) throw new Error(contents.detail)
      for (const { timeMs, values } of contents.readings)
        got.push({ name: values[0]!.scaled!, timeMs, clock: decoded.envelope.clock })
    }
    return got
  }
  await until('the hub has all', 15, async () => ((await kept()).length >= 100 ? true : undefined))
  expect(second.edge.time).toMatchObject({ known: true, source: 'ntp', waiting: 0, dropped: 0, jumps: 1 })
  const codes = () => second.edge.status.troubles.map(({ code }) => code)
  expect(codes()).toEqual([])
  sync.offMs += 3_600_000
  await until('the jump is told', 10, async () => (codes().includes('clock-jumped') ? true : undefined))
  await second.close()

  const got = await kept()
  expect(got.map(({ name }) => name)).toEqual(said.map((_, at) => at + 1))
  for (const [at, { timeMs, clock }] of got.entries()) {
    expect(clock.source).toBe('ntp')
    expect(Math.abs(timeMs - said[at]!)).toBeLessThanOrEqual(clock.errorMs)
    if (at > 0) expect(timeMs).toBeGreaterThan(got[at - 1]!.timeMs)
  }
})
