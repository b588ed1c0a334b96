import { expect, onTestFinished, test } from 'vitest'
import { openJournal } from '#gateway/journal/open.ts'
import { openOutbox } from '#gateway/outbox/outbox.ts'
import { fromHex } from '#gateway/reading/bytes.ts'
import { signEnvelope } from '#gateway/reading/envelope.ts'
import { stationId } from '#gateway/reading/key.ts'
import { signToken } from '#gateway/reading/token.ts'
import { topicsOf } from '#gateway/reading/topics.ts'
import { mqttConnector } from '#gateway/relay/mqtt.ts'
import { createRelay } from '#gateway/relay/relay.ts'
import { createSealer } from '#gateway/sign/sign.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { start } from '#test/kill/process.ts'
import { aReading, network, newSigner, steadyClock } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

const segmentBytes = 1 << 13
const maxBytes = 16 * segmentBytes
const count = 4000

test('a buyer is told how many readings a station declared lost while its hub was away', {
  timeout: 120_000,
}, async () => {
  const signer = newSigner()
  const station = stationId(signer.publicKey)
  const outbox = await openOutbox({
    directory: temporaryDirectory(),
    openJournal: (directory) => openJournal({ directory, segmentBytes, maxRecordBytes: 2048 }),
    backlogPerS: Number.POSITIVE_INFINITY,
    receiptTimeoutMs: 3000,
    maxBytes,
    declare: (head, payload) => signEnvelope({ ...head, clock: steadyClock }, payload, network, signer),
  })
  const failures: unknown[] = []
  const sealer = createSealer({
    signer,
    network,
    chain: outbox,
    clock: () => steadyClock,
    limits: { maxReadings: 5, maxAgeMs: 60_000 },
    failed: (error) => failures.push(error),
  })
  const startMs = Date.now() - (count + 60) * 1000
  for (let n = 0; n < count; n++) await sealer.add(aReading(startMs + 1000 * n))
  await sealer.flush()
  const { dropped } = outbox.status
  expect(dropped).toBeGreaterThan(200)

  // The hub is back: the real one, with its broker, its evidence, its chain and its market.
  const hub = start(
    ['hub', '--http-port', '0', '--mqtt-port', '0', '--rpc-port', '0', '--network', network],
    { GROUNDTRUTH_DATA: temporaryDirectory(), GROUNDTRUTH_HUB__ANCHOR__MAXAGES: '1' },
  )
  onTestFinished(async () => void (await hub.stop('SIGKILL')))
  const { http, mqtt, hubKey } = JSON.parse(await hub.firstLine) as Record<'http' | 'mqtt' | 'hubKey', string>
  const stop = new AbortController()
  const relay = createRelay({
    network,
    topics: topicsOf(network, station),
    outbox,
    connect: mqttConnector({
      url: mqtt,
      clientId: station,
      username: station,
      password: () => signToken(network, signer, Date.now()),
    }),
    hubKey: async () => fromHex(hubKey)!,
    describe: () => ({ publicKey: Buffer.from(signer.publicKey).toString('hex') }),
  })
  const running = relay.run(stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await running.catch(() => undefined)
    await outbox[Symbol.asyncDispose]()
  })
  await until('the outbox to be empty', 40, async () => (outbox.status.pending === 0 ? true : undefined))
  expect(outbox.status).toMatchObject({ refused: 0, conflict: null })

  const reportFor = (fromMs: number, toMs: number) =>
    until('a bundle', 40, async () => {
      const [from, to] = [new Date(fromMs).toISOString(), new Date(toMs).toISOString()]
      const response = await fetch(`${http}/v1/bundle?station=${station}&from=${from}&to=${to}`)
      if (!response.ok) return undefined
      const report = verifyBundle(new Uint8Array(await response.arrayBuffer()))
      // Anchored in several batches: until the last one is, the end of the time asked is open.
      const [one] = report.stations
      return one?.pending.length === 0 && one.toMs === toMs ? report : undefined
    })
  const linesOf = (report: Awaited<ReturnType<typeof reportFor>>): string =>
    report.steps.flatMap(({ text, details }) => [text, ...(details ?? [])]).join('\n')

  // All of it but the last minutes, which have nothing behind them that would close them.
  const all = await reportFor(startMs, startMs + (count - 100) * 1000)
  expect(all.failure).toBeNull()
  const [whole] = all.stations
  // Before the first that is left of the chain nothing is proven, and the report says so.
  const before = 5 * (whole!.first - 1)
  expect(whole!.fromMs).toBe(startMs + 1000 * before)
  expect(whole!.declaredReadings + whole!.readings).toBe(count - 100 - before)
  expect(whole!.declared).toEqual(whole!.missing)
  expect(linesOf(all)).toMatch(/declared lost by the station: \d+ envelopes, [\d,]+ readings/)
  expect(linesOf(all)).not.toContain('never received')

  // A few minutes of the past: what declares them lost stands far behind, and comes with them.
  const [fromMs, toMs] = [startMs + 300_000, startMs + 600_000]
  const part = await reportFor(fromMs, toMs)
  expect(part.failure).toBeNull()
  const [few] = part.stations
  expect(few!.declaredReadings).toBeGreaterThan(0)
  expect(few!.declared).toEqual(few!.missing)
  expect(few!.readings).toBeLessThan(300)
  expect(few!.readings + few!.declaredReadings).toBeGreaterThanOrEqual(300)
  expect(linesOf(part)).not.toContain('never received')
  expect(failures).toEqual([])
})
