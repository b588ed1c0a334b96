/** What goes wrong between a station and its hub is told apart, with real brokers; what is well is told too. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { Aedes } from 'aedes'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { edgeMetrics, serveMetrics } from '#gateway/health/metrics.ts'
import { keepNotifying, notifier, watchdogMs } from '#gateway/health/notify.ts'
import { publishedStatus } from '#gateway/health/published.ts'
import { sensorState } from '#gateway/health/sensor-state.ts'
import type { SensorStatus, StationStatus } from '#gateway/health/status.ts'
import { type TroubleCode, troubles } from '#gateway/health/trouble.ts'
import { mosquittoHint, mosquittoPath, startMosquitto } from '#test/mosquitto.ts'
import { startHub, startStation } from '#test/relay-world.ts'
import { newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

type Station = Awaited<ReturnType<typeof startStation>>

const codesOf = ({ relay, outbox }: Station): TroubleCode[] =>
  troubles(relay.status, outbox.status, timely).map(({ code }) => code)

const expectTrouble = (station: Station, codes: readonly TroubleCode[]): Promise<void> =>
  vi.waitFor(() => expect(codesOf(station)).toEqual(codes), { timeout: 15_000, interval: 50 })

const timely = {
  known: true,
  source: 'ntp',
  errorMs: 40,
  ageS: 5,
  jumps: 0,
  doubtMs: 0,
  lastJumpMs: null,
  sinceMs: 1,
  waiting: 0,
  thinned: 0,
  dropped: 0,
  lacksSource: false,
} as const

const well = { state: 'ok', sinceMs: null, detail: null } as const

const nobody = async (): Promise<Uint8Array> => newSigner().publicKey

describe('troubles', () => {
  test('there are none on a good day', async () => {
    const hub = await startHub()
    const station = await startStation(`mqtt://127.0.0.1:${hub.broker.port}`, async () => hub.hub.publicKey)
    await station.emit(3)
    await vi.waitFor(() => expect(station.outbox.status.accepted).toBe(3), 10_000)
    await vi.waitFor(() => expect(station.relay.status.hubSilentMs).toBe(0), 10_000)
    expect(codesOf(station)).toEqual([])
    expect(Math.abs(station.relay.status.hubClockMs!)).toBeLessThan(5_000)
  })

  test('a broker that is not there is unreachable', async () => {
    // Port 1 on loopback: nothing listens there.
    await expectTrouble(await startStation('mqtt://127.0.0.1:1', nobody), ['broker-unreachable'])
  })

  test('a broker that refuses the password says so, and one that ends the connection is another case', async () => {
    const hub = await startHub()
    const url = `mqtt://127.0.0.1:${hub.broker.port}`
    const wrong = await startStation(url, nobody, 20_000, { password: 'guess' })
    await expectTrouble(wrong, ['broker-credentials'])
    const right = await startStation(url, async () => hub.hub.publicKey)
    await vi.waitFor(() => expect(right.relay.status.connected).toBe(true), 10_000)
    await hub.close()
    await vi.waitFor(() => expect(right.relay.status.brokerError).not.toBeNull(), 10_000)
    expect(['lost', 'unreachable']).toContain(right.relay.status.brokerError)
  })

  test('a broker that does not let the station hear receipts is told as that', async () => {
    const aedes = await Aedes.createBroker({
      authorizeSubscribe: (_client, _subscription, done) => done(null, null),
    })
    const server = createServer(aedes.handle).listen(0, '127.0.0.1')
    onTestFinished(async () => {
      server.close()
      await new Promise<void>((resolve) => aedes.close(resolve))
    })
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await expectTrouble(await startStation(`mqtt://127.0.0.1:${port}`, nobody), ['broker-denied'])
  })

  test('a hub that does not answer owes an answer for ever longer', async () => {
    const hub = await startHub(0, temporaryDirectory(), newSigner(), true)
    const station = await startStation(`mqtt://127.0.0.1:${hub.broker.port}`, async () => hub.hub.publicKey)
    await vi.waitFor(() => expect(station.relay.status.hubSilentMs).toBeGreaterThan(500), 10_000)
    const { relay, outbox } = station
    expect(troubles(relay.status, outbox.status, timely)).toEqual([])
    const later = { ...relay.status, hubSilentMs: relay.status.hubSilentMs + 30_000 }
    expect(troubles(later, outbox.status, timely).map(({ code }) => code)).toEqual(['hub-silent'])
  })

  test('receipts by another hub than the trusted one are told as that', async () => {
    const hub = await startHub()
    const station = await startStation(`mqtt://127.0.0.1:${hub.broker.port}`, nobody)
    await station.emit(1)
    await expectTrouble(station, ['hub-key'])
  })

  test('a revoked key is told as revoked', async () => {
    const hub = await startHub()
    const station = await startStation(`mqtt://127.0.0.1:${hub.broker.port}`, async () => hub.hub.publicKey)
    await station.emit(1)
    await vi.waitFor(() => expect(station.outbox.status.accepted).toBe(1), 10_000)
    await hub.ingest.revoke(station.publicKey, Date.now())
    await station.emit(1)
    await expectTrouble(station, ['key-revoked'])
  })

  test('clocks that differ are told, whichever of them is wrong', async () => {
    for (const aheadMs of [3_600_000, -3_600_000]) {
      const hub = await startHub(0, temporaryDirectory(), newSigner(), false, () => Date.now() + aheadMs)
      const station = await startStation(`mqtt://127.0.0.1:${hub.broker.port}`, async () => hub.hub.publicKey)
      await station.emit(1)
      await expectTrouble(station, ['clock-differs'])
      expect(Math.sign(station.relay.status.hubClockMs!)).toBe(Math.sign(aheadMs))
    }
  })

  test('each says what is wrong and what to do, in whole sentences', () => {
    const quiet = {
      brokerError: null,
      hubSilentMs: 0,
      refusal: null,
      hubClockMs: 0,
      receipts: 1,
      badReceipts: 0,
    }
    const all = [
      ...(['unreachable', 'tls', 'credentials', 'denied', 'lost'] as const).map((brokerError) => ({
        ...quiet,
        brokerError,
      })),
      { ...quiet, hubSilentMs: 60_000 },
      { ...quiet, receipts: 0, badReceipts: 1 },
      ...(['unknown-station', 'revoked', 'future'] as const).map((refusal) => ({ ...quiet, refusal })),
    ].flatMap((relay) => troubles(relay, { conflict: null, disk: well }, timely))
    const twice = troubles(quiet, { conflict: 7, disk: well }, timely)
    const disks = (['full', 'read-only', 'failing'] as const).flatMap((state) =>
      troubles(quiet, { conflict: null, disk: { state, sinceMs: 1, detail: 'EROFS' } }, timely),
    )
    const clocks = [
      { ...timely, known: false, waiting: 120 },
      { ...timely, lacksSource: true },
      { ...timely, doubtMs: 10_800_000 },
    ].map((time) => troubles(quiet, { conflict: null, disk: well }, time))
    expect(clocks.map((some) => some.map(({ code }) => code))).toEqual([
      ['clock-unknown'],
      ['clock-unknown'],
      ['clock-jumped'],
    ])
    expect(clocks[0]![0]!.text).toContain('readings that wait for it: 120')
    expect(clocks[2]![0]!.text).toContain('moved by 10800.0 s')
    const each = [...all, ...twice, ...disks, ...clocks.flat()]
    expect(new Set(each.map(({ code }) => code)).size).toBe(16)
    for (const { text, next } of each) {
      expect(text).toMatch(/^[A-Z].*\.$/)
      expect(next).toMatch(/^[A-Z].*\.$/)
    }
    expect(troubles(quiet, { conflict: null, disk: well }, timely)).toEqual([])
  })
})

describe.skipIf(!mosquittoPath)(`with mosquitto${mosquittoHint}`, () => {
  const openssl = (directory: string, ...args: string[]): void =>
    void execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' })

  /** A certificate authority and a server certificate for 127.0.0.1, in that directory. */
  const certificates = (directory: string): void => {
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    openssl(
      directory,
      'req',
      '-x509',
      ...ec,
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-subj',
      '/CN=test authority',
    )
    openssl(
      directory,
      'req',
      ...ec.slice(0, -2),
      '-keyout',
      'server.key',
      '-out',
      'server.csr',
      '-subj',
      '/CN=localhost',
    )
    writeFileSync(join(directory, 'san'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'san']
    openssl(directory, 'x509', '-req', '-in', 'server.csr', ...by, '-out', 'server.pem')
  }

  const guarded = async (names: readonly string[], acl: readonly string[]) => {
    const directory = temporaryDirectory()
    certificates(directory)
    const passwords = join(directory, 'passwords')
    writeFileSync(passwords, names.map((name) => `${name}:secret-${name}\n`).join(''))
    execFileSync('mosquitto_passwd', ['-U', passwords], { stdio: 'ignore' })
    writeFileSync(join(directory, 'acl'), `${acl.join('\n')}\n`)
    const broker = await startMosquitto(directory, [
      `cafile ${directory}/ca.pem`,
      `certfile ${directory}/server.pem`,
      `keyfile ${directory}/server.key`,
      `password_file ${passwords}`,
      `acl_file ${directory}/acl`,
      'allow_anonymous false',
    ])
    onTestFinished(() => broker[Symbol.asyncDispose]())
    return { url: broker.url.replace('mqtt:', 'mqtts:'), ca: readFileSync(join(directory, 'ca.pem'), 'utf8') }
  }

  test('a certificate that is not trusted and a wrong password are two troubles, and with all right there is none', async () => {
    const { url, ca } = await guarded(['in'], ['user in', 'topic readwrite #'])
    const login = { username: 'in', password: 'secret-in' }
    await expectTrouble(await startStation(url, nobody, 20_000, login), ['broker-certificate'])
    await expectTrouble(await startStation(url, nobody, 20_000, { ...login, password: 'no', ca }), [
      'broker-credentials',
    ])
    const right = await startStation(url, nobody, 20_000, { ...login, ca })
    await vi.waitFor(() => expect(right.relay.status.connected).toBe(true), 10_000)
    expect(codesOf(right)).toEqual([])
  })
})

const sensor: SensorStatus = {
  id: 'pms',
  model: 'plantower-pms',
  link: {
    name: '/dev/ttyUSB0',
    open: true,
    opens: 1,
    failedOpens: 0,
    closes: 0,
    bytes: 320,
    frames: 10,
    skippedBytes: 0,
    lastError: null,
    trouble: null,
    lastFrameMs: 1,
  },
  readings: 10,
  refused: 0,
  refusals: {},
  lastRefusal: null,
  lastReadingMs: 1,
}

const refusal = {
  sensor: 'pms',
  model: 'plantower-pms',
  reason: 'layout',
  detail: 'a wrong variant',
} as const

const status: StationStatus = {
  station: '00'.repeat(16),
  sensors: [sensor],
  outbox: {
    pending: 3,
    inFlight: 0,
    accepted: 7,
    refused: 0,
    lastRefusal: null,
    conflict: null,
    held: 0,
    dropped: 0,
    bytesOnDisk: 0,
    lost: 0,
    disk: { state: 'ok', sinceMs: null, detail: null },
  },
  relay: {
    connected: true,
    brokerError: null,
    hubSilentMs: 0,
    refusal: null,
    hubClockMs: 250,
    connects: 1,
    published: 10,
    receipts: 9,
    badReceipts: 0,
    lastError: null,
  },
  time: { ...timely, errorMs: 532, jumps: 2, waiting: 7, thinned: 8, dropped: 9 },
  troubles: [],
  readings: 10,
  refused: 0,
}

const about = { publicKey: '00'.repeat(32), version: '0', timeMs: 1, uptimeS: 1 }

describe('a sensor’s state', () => {
  const { link } = sensor
  const fresh = { ...sensor, readings: 0, lastReadingMs: null, link: { ...link, frames: 0 } }

  test.each<readonly [state: string, SensorStatus]>([
    ['ok', sensor],
    ['waiting', fresh],
    ['noise', { ...fresh, link: { ...fresh.link, skippedBytes: 5_000 } }],
    ['missing', { ...sensor, link: { ...link, open: false, trouble: 'missing' } }],
    ['refused', { ...fresh, refused: 9, lastRefusal: { ...refusal, timeMs: 5 }, link }],
    ['ok', { ...sensor, refused: 1, lastRefusal: { ...refusal, timeMs: 5 } }],
    ['refused', { ...sensor, refused: 11, lastRefusal: { ...refusal, timeMs: 5 } }],
  ])('is %s', (state, of) => {
    expect(sensorState(of)).toBe(state)
  })
})

describe('the published status', () => {
  test('fits an MQTT message of the broker whatever the number of sensors, those that are not well first', () => {
    const many = Array.from({ length: 256 }, (_, at) => ({
      ...sensor,
      id: `sensor-${at}`.padEnd(64, 'x'),
      ...(at === 255
        ? { link: { ...sensor.link, trouble: 'silent' as const, lastError: 'x'.repeat(5_000) } }
        : {}),
    }))
    const said = publishedStatus({ ...status, sensors: many }, about)
    expect(JSON.stringify(said).length).toBeLessThan(60_000)
    expect((said.sensors as { id: string }[])[0]!.id).toBe(many[255]!.id)
    expect(said.moreSensors).toBe(136)
  })
})

describe('metrics', () => {
  test('are scraped by a name per meaning, and nothing else is served', async () => {
    const stop = new AbortController()
    const registry = edgeMetrics(
      () => ({
        ...status,
        troubles: troubles({ ...status.relay, brokerError: 'tls' }, status.outbox, status.time),
      }),
      '9.9',
    )
    const { port, ended } = await serveMetrics({ registry, host: '127.0.0.1', port: 0 }, stop.signal)
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    for (const line of [
      'groundtruth_edge_sensor_up{sensor="pms",model="plantower-pms"} 1',
      'groundtruth_edge_readings_total{sensor="pms",model="plantower-pms"} 10',
      'groundtruth_edge_outbox_depth 3',
      'groundtruth_edge_hub_clock_difference_seconds 0.25',
      'groundtruth_edge_time_known 1',
      'groundtruth_edge_time_source{source="ntp"} 1',
      'groundtruth_edge_time_error_seconds 0.532',
      'groundtruth_edge_clock_jumps_total 2',
      'groundtruth_edge_untimed_readings 7',
      'groundtruth_edge_untimed_thinned_total 8',
      'groundtruth_edge_untimed_dropped_total 9',
      'groundtruth_edge_trouble{code="broker-certificate"} 1',
      'groundtruth_edge_build_info{version="9.9"} 1',
    ])
      expect(text).toContain(`${line}\n`)
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404)
    stop.abort()
    await ended
  })
})

describe('systemd', () => {
  test('hears that the station is ready, lives while it is healthy, and stops', async () => {
    // A program of that name in front on the PATH notes what it is told: the real one needs systemd's socket.
    const directory = temporaryDirectory()
    const told = join(directory, 'told')
    const program = join(directory, 'systemd-notify')
    writeFileSync(program, `#!/bin/sh\nfor field in "$@"; do echo "$field" >> ${told}; done\n`)
    chmodSync(program, 0o755)
    const notify = notifier({ NOTIFY_SOCKET: '/run/x', PATH: `${directory}${delimiter}${process.env.PATH}` })!
    const stop = new AbortController()
    let healthy = true
    const running = keepNotifying(
      { notify, watchdogMs: 90, healthy: () => healthy, describe: () => 'three sensors' },
      stop.signal,
    )
    const lines = (): string[] => readFileSync(told, 'utf8').split('\n')
    const lives = (): number => lines().filter((line) => line === 'WATCHDOG=1').length
    await vi.waitFor(() => expect(lives()).toBeGreaterThan(1), 10_000)
    expect(lines()).toEqual(
      expect.arrayContaining(['READY=1', 'STATUS=three sensors', `--pid=${process.pid}`]),
    )
    healthy = false
    await vi.waitFor(() => expect(lines().at(-2)).toBe('STATUS=three sensors'), 10_000)
    const before = lives()
    const statuses = lines().length
    await vi.waitFor(() => expect(lines().length).toBeGreaterThan(statuses + 3), 10_000)
    expect(lives()).toBe(before)
    stop.abort()
    await running
    expect(lines().at(-2)).toBe('STOPPING=1')
  })

  test('is left alone where it did not start this process, or watches another', () => {
    expect(notifier({})).toBeUndefined()
    expect(watchdogMs({ WATCHDOG_USEC: '30000000' })).toBe(30_000)
    expect(watchdogMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '1' }, 2)).toBeUndefined()
    expect(watchdogMs({})).toBeUndefined()
  })
})
