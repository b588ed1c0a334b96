import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadConfig } from '#gateway/config.ts'
import { lockData } from '#gateway/data-lock.ts'
import { broker } from '#gateway/doctor/broker.ts'
import { clock, timeFindings } from '#gateway/doctor/clock.ts'
import { configuration } from '#gateway/doctor/configuration.ts'
import { disk } from '#gateway/doctor/disk.ts'
import type { Check, Finding, Patient } from '#gateway/doctor/doctor.ts'
import { inTwo } from '#gateway/doctor/doctor.ts'
import { key } from '#gateway/doctor/key.ts'
import { lock } from '#gateway/doctor/lock.ts'
import { ports } from '#gateway/doctor/ports.ts'
import { sensors } from '#gateway/doctor/sensors.ts'
import { service } from '#gateway/doctor/service.ts'
import { openEmbeddedBroker } from '#gateway/ingest/aedes.ts'
import { openKey } from '#gateway/keys.ts'
import { toHex } from '#gateway/reading/bytes.ts'
import { stationId } from '#gateway/reading/key.ts'
import { signReceipt } from '#gateway/reading/receipt.ts'
import { hubTopic, topicsOf } from '#gateway/reading/topics.ts'
import { tcp } from '#sim/outlets/tcp.ts'
import { start } from '#test/kill/process.ts'
import { network, newSigner } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { wired } from '#test/wired.ts'

/** A machine with nothing, and a station on it as that YAML says. */
const patientWith = (yaml = '', over: Partial<Patient> = {}) => {
  const root = temporaryDirectory()
  for (const folder of ['dev', 'sys', 'proc', 'run', 'data/edge'])
    mkdirSync(join(root, folder), { recursive: true, mode: 0o700 })
  const file = join(root, 'station.yaml')
  writeFileSync(file, `network: ${network}\ndata: ${join(root, 'data')}\n${yaml}`)
  const patient: Patient = {
    file,
    config: loadConfig({ file, env: {} }),
    configError: undefined,
    env: { PATH: '' },
    roots: {
      dev: join(root, 'dev'),
      sys: join(root, 'sys'),
      proc: join(root, 'proc'),
      run: join(root, 'run'),
    },
    nowMs: () => Date.UTC(2026, 10, 26),
    listenS: 0,
    ...over,
  }
  return { root, edge: join(root, 'data/edge'), file, patient }
}

const look = (check: Check, patient: Patient): Promise<readonly Finding[]> =>
  check.run(patient, AbortSignal.timeout(25_000))

const sensorsYaml = (...lines: string[]) =>
  `edge:\n  sensors:\n${lines.map((line) => `    - ${line}\n`).join('')}`
const brokerYaml = (url: string, more = '') => `edge:\n  broker: { url: '${url}'${more} }\n`

const listening = async (server: Server): Promise<number> => {
  server.listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  return (server.address() as { port: number }).port
}

describe('the configuration', () => {
  test('is told with its sensors, each mistake with its line, and secrets that others may read', async () => {
    const good = patientWith(sensorsYaml('{ id: dust, model: nova-sds011, link: /dev/ttyUSB0 }'))
    expect(await look(configuration, good.patient)).toEqual([
      { about: 'configuration', level: 'ok', found: `${good.file}: dust (nova-sds011)` },
    ])
    const none = patientWith()
    expect(await look(configuration, none.patient)).toEqual([
      {
        about: 'configuration',
        level: 'warn',
        found: `${none.file}: no sensors`,
        next: 'Run "groundtruth init", or name a file with --config FILE.',
      },
    ])
    const bad = patientWith(sensorsYaml('{ id: dust, model: nova, link: x }'))
    expect((await look(configuration, bad.patient)).map(({ level, found }) => [level, found])).toEqual([
      ['fail', expect.stringContaining(`${bad.file}:5:26 edge.sensors.0.model: expected one of `)],
      ['fail', expect.stringContaining(`${bad.file}:5:38 edge.sensors.0.link: expected a serial port`)],
    ])
    const password = join(temporaryDirectory(), 'password')
    writeFileSync(password, 'hunter2', { mode: 0o644 })
    chmodSync(password, 0o644)
    const open = patientWith(brokerYaml('mqtt://127.0.0.1', `, passwordFile: ${password}`))
    expect((await look(configuration, open.patient)).at(-1)).toEqual({
      about: 'configuration',
      level: 'fail',
      found: `${password} can be read by others (mode 644)`,
      next: `Run: chmod 600 ${password}`,
    })
  })
})

describe('the ports', () => {
  test('are free, used by a process that is named, or missing where one is configured', async () => {
    const { root, patient } = patientWith(
      sensorsYaml('{ id: dust, model: nova-sds011, link: usb:1a86:7523 }'),
    )
    expect(await look(ports, patient)).toEqual([
      {
        about: 'ports',
        level: 'warn',
        found: 'no serial port is here',
        next: 'Plug the device in; "dmesg | tail" says whether it is seen.',
      },
    ])
    const path = join(root, 'dev/ttyUSB0')
    writeFileSync(path, '')
    expect(await look(ports, patient)).toEqual([
      { about: `port ${path}`, level: 'ok', found: `serial port: free, as ${path}` },
    ])
    mkdirSync(join(root, 'proc/812/fd'), { recursive: true })
    symlinkSync(path, join(root, 'proc/812/fd/4'))
    writeFileSync(join(root, 'proc/812/comm'), 'gpsd\n')
    expect(await look(ports, patient)).toEqual([
      {
        about: `port ${path}`,
        level: 'warn',
        found: 'serial port: used by gpsd (pid 812)',
        next: 'That is right where it is this station; stop it otherwise.',
      },
    ])
  })

  test('a sensor that goes by a number is told its stable name; two on one port are a failure', async () => {
    const { root, patient } = patientWith()
    const path = join(root, 'dev/ttyUSB0')
    writeFileSync(path, '')
    mkdirSync(join(root, 'dev/serial/by-id'), { recursive: true })
    const stable = join(root, 'dev/serial/by-id/usb-CP2102_A1')
    symlinkSync('../../ttyUSB0', stable)
    const sensor = (id: string, link: string) => ({ id, model: 'nova-sds011', link })
    const configured = (...list: object[]) =>
      loadConfig({ env: {}, overrides: [[['edge', 'sensors'], list]] })
    const about = `port ${path}`
    const twice = configured(sensor('dust', path), sensor('more', stable))
    expect(await look(ports, { ...patient, config: twice })).toEqual([
      {
        about,
        level: 'fail',
        found: `serial port: the links of dust (${path}) and more (${stable}) both lead here`,
        next: 'Give each sensor a port of its own.',
      },
    ])
    const good = configured(sensor('dust', stable))
    expect(await look(ports, { ...patient, config: good })).toEqual([
      { about, level: 'ok', found: `serial port: sensor dust, as ${stable}` },
    ])
    const config = configured(sensor('dust', path))
    expect(await look(ports, { ...patient, config })).toEqual([
      {
        about: `port ${path}`,
        level: 'warn',
        found: 'serial port: sensor dust goes by a number that changes when it is plugged in again',
        next: `Set its link to ${stable}`,
      },
    ])
  })
})

describe('the sensors', () => {
  test('speak, are silent, speak what nobody understands, or cannot be opened', async () => {
    const [nova] = await wired(['nova'], () => tcp)
    const silent = `tcp://127.0.0.1:${await listening(createServer((socket) => socket.on('error', () => undefined)))}`
    const noisy = `tcp://127.0.0.1:${await listening(
      createServer((socket) => {
        const timer = setInterval(() => socket.write('21.5,45\n'), 50)
        socket.on('error', () => undefined).on('close', () => clearInterval(timer))
      }),
    )}`
    const yaml = sensorsYaml(
      `{ id: dust, model: nova-sds011, link: '${nova!.link}' }`,
      `{ id: quiet, model: nmea, link: '${silent}' }`,
      `{ id: columns, model: text-lines, link: '${noisy}' }`,
      "{ id: gone, model: nmea, link: 'tcp://127.0.0.1:1' }",
      '{ id: off, model: nmea, link: /dev/none, enabled: false }',
    )
    const opened = await look(sensors, patientWith(yaml).patient)
    expect(opened.map(({ about, level }) => [about, level])).toEqual([
      ['sensor dust', 'ok'],
      ['sensor quiet', 'ok'],
      ['sensor columns', 'ok'],
      ['sensor gone', 'fail'],
    ])
    expect(await look(sensors, patientWith(yaml, { listenS: 1.5 }).patient)).toEqual([
      { about: 'sensor dust', level: 'ok', found: `${nova!.link} gives readings` },
      {
        about: 'sensor quiet',
        level: 'fail',
        found: `${silent}: nothing was heard for 1.5 s`,
        next: 'Check power and wiring (TX to RX), or listen longer with --listen SECONDS.',
      },
      {
        about: 'sensor columns',
        level: 'fail',
        found: expect.stringMatching(
          /^tcp:\/\/127\.0\.0\.1:\d+: \d+ frames refused in 1\.5 s, the last one \(not-configured\): what the columns of "21\.5,45" mean is not known; set "columns"$/,
        ),
        next: 'Check the model and its settings: "groundtruth sensors MODEL" lists them.',
      },
      {
        about: 'sensor gone',
        level: 'fail',
        found: 'link tcp://127.0.0.1:1 is not listening.',
        next: 'Start the converter or ser2net, and check the port number.',
      },
    ])
  })
})

describe('links that gateways call', () => {
  /** A process of its own that holds a port, and which. */
  const holding = async (source: string) => {
    const child = spawn(process.execPath, ['-e', source], { stdio: ['pipe', 'pipe', 'inherit'] })
    onTestFinished(() => void child.kill())
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    return { port: Number(line.toString()), pid: child.pid }
  }
  const udpSource =
    "const s = require('dgram').createSocket('udp4'); s.bind(0, '127.0.0.1', () => console.log(s.address().port))"
  const tcpSource =
    "const s = require('net').createServer().listen(0, '127.0.0.1', () => console.log(s.address().port))"
  const yamlOf = (udpPort: number, tcpPort: number) =>
    sensorsYaml(
      `{ id: field, model: lorawan-gwmp, link: 'udp://127.0.0.1:${udpPort}' }`,
      `{ id: roof, model: lorawan-basics-station, link: 'ws://127.0.0.1:${tcpPort}' }`,
    )

  test('can be listened on, or are held by a process that is named', async ({ skip }) => {
    skip(process.platform !== 'linux', 'who holds a port is told by Linux only')
    const [udp, tcp] = await Promise.all([holding(udpSource), holding(tcpSource)])
    const next = 'That is right where this station is running; stop the program otherwise.'
    expect(await look(sensors, patientWith(yamlOf(udp.port, tcp.port)).patient)).toEqual([
      {
        about: 'sensor field',
        level: 'warn',
        found: `link udp://127.0.0.1:${udp.port} is in use by node (pid ${udp.pid}).`,
        next,
      },
      {
        about: 'sensor roof',
        level: 'warn',
        found: `link ws://127.0.0.1:${tcp.port} is in use by node (pid ${tcp.pid}).`,
        next,
      },
    ])
    // UDP and TCP have ports of their own: each other's number is free.
    if (udp.port === tcp.port) return
    const free = await look(sensors, patientWith(yamlOf(tcp.port, udp.port)).patient)
    expect(free.map(({ level, found }) => [level, found])).toEqual([
      ['ok', `udp://127.0.0.1:${tcp.port} can be listened on`],
      ['ok', `ws://127.0.0.1:${udp.port} can be listened on`],
    ])
  })

  test('need no serial port, and no wiring when they are silent', async () => {
    const silent = await holding(
      udpSource.replace(
        'console.log(s.address().port)',
        '{ const { port } = s.address(); s.close(() => console.log(port)) }',
      ),
    )
    const { patient } = patientWith(
      sensorsYaml(`{ id: field, model: lorawan-gwmp, link: 'udp://127.0.0.1:${silent.port}' }`),
      { listenS: 0.2 },
    )
    expect(await look(ports, patient)).toEqual([
      { about: 'ports', level: 'ok', found: 'no serial port is here, and none is configured' },
    ])
    expect(await look(sensors, patient)).toEqual([
      {
        about: 'sensor field',
        level: 'fail',
        found: `udp://127.0.0.1:${silent.port}: nothing was heard for 0.2 s`,
        next: 'Give the gateway the address of this computer and this port as its server, or listen longer with --listen SECONDS.',
      },
    ])
  })
})

describe('the clock', () => {
  const levels = (findings: readonly Finding[]) => findings.map(({ level }) => level)
  const nowMs = Date.UTC(2026, 10, 26)

  test('a time that cannot be is a failure; one that nobody keeps is looked at', () => {
    expect(timeFindings({ nowMs: 0, synchronised: false, by: 'chrony', hasRtc: false })).toEqual([
      {
        about: 'clock',
        level: 'fail',
        found: 'it is 1970-01-01T00:00:00.000Z, which cannot be',
        next: 'Nothing is signed before the time is known. Set the clock, or let NTP do it: timedatectl set-ntp true',
      },
      {
        about: 'clock',
        level: 'warn',
        found: 'not synchronised (asked chrony): nobody vouches for the time yet',
        next: 'Check that UDP port 123 to its server is not blocked; then: timedatectl set-ntp true',
      },
      {
        about: 'clock',
        level: 'warn',
        found: 'no clock goes on while power is off',
        next: 'After a power cut readings wait for NTP, unsigned; a battery-backed clock helps (a Pi up to 4 has none).',
      },
    ])
    expect(levels(timeFindings({ nowMs, synchronised: undefined, by: 'nobody', hasRtc: true }))).toEqual([
      'ok',
      'warn',
      'ok',
    ])
  })

  test('the mark of timesyncd and a battery-backed clock are found', async () => {
    const { root, patient } = patientWith()
    mkdirSync(join(root, 'run/systemd/timesync'), { recursive: true })
    writeFileSync(join(root, 'run/systemd/timesync/synchronized'), '')
    mkdirSync(join(root, 'sys/class/rtc/rtc0'), { recursive: true })
    expect(await look(clock, patient)).toEqual([
      { about: 'clock', level: 'ok', found: 'it is 2026-11-26T00:00:00.000Z' },
      { about: 'clock', level: 'ok', found: 'kept by systemd-timesyncd' },
      { about: 'clock', level: 'ok', found: 'a clock goes on while power is off' },
    ])
  })
})

describe('the key', () => {
  test('is not there yet, sound, readable by others, or no key; it is never made and never shown', async () => {
    const { edge, patient } = patientWith()
    const path = join(edge, 'station.key')
    expect(await look(key, patient)).toEqual([
      {
        about: 'key',
        level: 'warn',
        found: `${path} is not there yet`,
        next: 'It is made at the first start, or by: groundtruth key',
      },
    ])
    expect(await look(key, patient)).toHaveLength(1)
    const { publicKey } = openKey(`file:${path}`)
    const sound = await look(key, patient)
    expect(sound).toEqual([
      { about: 'key', level: 'ok', found: `${path} is sound: station ${stationId(publicKey)}` },
    ])
    expect(JSON.stringify(sound)).not.toContain(readFileSync(path, 'utf8').split('\n')[1])
    chmodSync(path, 0o640)
    expect(await look(key, patient)).toEqual([
      {
        about: 'key',
        level: 'fail',
        found: `${path} can be read by others (mode 640)`,
        next: `Run: chmod 600 ${path}`,
      },
    ])
    chmodSync(path, 0o600)
    writeFileSync(path, 'hunter2')
    expect(await look(key, patient)).toEqual([
      {
        about: 'key',
        level: 'fail',
        found: `${path} holds no sound Ed25519 key`,
        next: 'Put the key back from its backup; a new one is a new station.',
      },
    ])
    const credential = patientWith('edge: { key: "credential:station" }')
    expect((await look(key, credential.patient))[0]).toMatchObject({
      level: 'warn',
      found: 'credential:station is a credential that only the service gets',
    })
  })
})

describe('the disk', () => {
  test('is told with its space, and an outbox that fills it or has waited long', async () => {
    const { edge, patient } = patientWith('edge: { outbox: { maxMiB: 16 } }')
    expect((await look(disk, patient)).map(({ level, found }) => [level, found])).toEqual([
      ['ok', `${edge} can be written`],
      [expect.stringMatching(/^ok|warn$/), expect.stringMatching(/^\d+ MiB of \d+ MiB are free at /)],
    ])
    const folder = join(edge, 'outbox/envelopes')
    mkdirSync(folder, { recursive: true })
    const segment = join(folder, 'segment')
    writeFileSync(segment, randomBytes(1024 * 1024))
    const yesterday = (patient.nowMs() - 30 * 3600_000) / 1000
    utimesSync(segment, yesterday, yesterday)
    expect((await look(disk, patient)).at(-1)).toEqual({
      about: 'disk',
      level: 'ok',
      found: 'the outbox takes 1.0 MiB of at most 16, the oldest part since 30 h',
    })
    truncateSync(segment, 14 * 1024 * 1024)
    expect((await look(disk, patient)).at(-1)).toEqual({
      about: 'disk',
      level: 'warn',
      found: 'the outbox takes 14.0 MiB of at most 16',
      next: 'Check the broker and the hub below: no receipts come, or too slowly.',
    })
  })

  test('a place that cannot be a directory is a failure', async () => {
    const { root, patient } = patientWith()
    const data = join(root, 'station.yaml/data')
    const config = loadConfig({ env: {}, overrides: [[['data'], data]] })
    expect((await look(disk, { ...patient, config }))[0]).toEqual({
      about: 'disk',
      level: 'fail',
      found: `${data}/edge is not writable for this user`,
      next: `Run this as the station's user, or: chown -R $USER ${join(root, 'station.yaml')}`,
    })
  })
})

describe('the station in the data directory', () => {
  test('runs, with its pid, or does not', async () => {
    const { edge, patient } = patientWith()
    expect(await look(lock, patient)).toEqual([
      { about: 'station', level: 'ok', found: `none has run in ${edge} yet` },
    ])
    const held = lockData(edge, 'edge')
    const here = { ...patient, roots: { ...patient.roots, proc: '/proc' } }
    expect(await look(lock, here)).toEqual([
      { about: 'station', level: 'ok', found: `runs as pid ${process.pid} in ${edge}` },
    ])
    expect(await look(lock, patient)).toEqual([
      { about: 'station', level: 'ok', found: `runs in ${edge}, as another user` },
    ])
    held[Symbol.dispose]()
    mkdirSync(join(edge, 'outbox'))
    writeFileSync(join(edge, 'outbox/cursor.json'), JSON.stringify({ index: 1, seq: 12, hash: '' }))
    expect(await look(lock, here)).toEqual([
      {
        about: 'station',
        level: 'ok',
        found: `none runs in ${edge}; at its last note its newest envelope was 12`,
      },
    ])
  })
})

describe('the service', () => {
  test('systemd is told where it is, and where its program is missing that is said', async () => {
    const { root, patient } = patientWith()
    expect(await look(service, patient)).toEqual([
      {
        about: 'service',
        level: 'ok',
        found: 'systemd does not run this machine: nothing is to be told to it',
      },
    ])
    mkdirSync(join(root, 'run/systemd/system'), { recursive: true })
    expect(await look(service, patient)).toEqual([
      {
        about: 'service',
        level: 'warn',
        found: 'systemd-notify is not on the PATH',
        next: 'Install the package systemd, or set Type=exec without a watchdog.',
      },
    ])
    writeFileSync(join(root, 'systemd-notify'), '', { mode: 0o755 })
    expect(await look(service, { ...patient, env: { PATH: root } })).toEqual([
      { about: 'service', level: 'ok', found: 'systemd-notify is here for the service' },
    ])
  })
})

describe('the way to the hub', () => {
  const hub = newSigner()
  const hubKey = toHex(hub.publicKey)

  const openBroker = async (
    hello: () => Promise<void> = async () => undefined,
    announce = true,
    hubMs?: number,
  ) => {
    const remind = (station: string): void => {
      if (hubMs === undefined) return
      const receipt = signReceipt({ station, issuedMs: hubMs, accepted: [], refused: [] }, network, hub)
      opened.publish(topicsOf(network, station).receipt, receipt)
    }
    const opened: Awaited<ReturnType<typeof openEmbeddedBroker>> = await openEmbeddedBroker({
      host: '127.0.0.1',
      port: 0,
      network,
      events: { envelope: async () => undefined, hello, listening: remind },
      now: Date.now,
      anonymousReaders: true,
    })
    onTestFinished(() => opened[Symbol.asyncDispose]())
    if (announce) opened.publish(hubTopic(network), JSON.stringify({ publicKey: hubKey }), { retain: true })
    return opened.port
  }

  const station = (yaml: string) => {
    const made = patientWith(yaml)
    openKey(`file:${join(made.edge, 'station.key')}`)
    return made
  }
  const last = async ({ patient }: { patient: Patient }) => (await look(broker, patient)).at(-1)

  test('is right from the name to the hub whose key is known', async () => {
    const port = await openBroker()
    const { edge, patient } = station(brokerYaml(`mqtt://localhost:${port}`))
    writeFileSync(join(edge, 'hub.pub'), `${hubKey}\n`)
    expect(await look(broker, patient)).toEqual([
      { about: 'broker', level: 'ok', found: expect.stringMatching(/^localhost is (127\.0\.0\.1|::1)$/) },
      { about: 'broker', level: 'ok', found: `port ${port} answers` },
      { about: 'broker', level: 'ok', found: 'the credentials are accepted' },
      {
        about: 'hub',
        level: 'ok',
        found: `it announces the key that this station knows, ${hubKey.slice(0, 8)}...`,
      },
    ])
  })

  test('a hub that is not known, another one, or none is told', async () => {
    const url = `mqtt://127.0.0.1:${await openBroker()}`
    expect(await last(station(brokerYaml(url)))).toEqual({
      about: 'hub',
      level: 'warn',
      found: `it announces the key ${hubKey}, which this station has not kept yet`,
      next: `It will keep the first one it hears; to be sure, set edge.hubKey: ${hubKey}`,
    })
    const other = '0'.repeat(64)
    expect(await last(station(`edge: { hubKey: "${other}", broker: { url: "${url}" } }`))).toEqual({
      about: 'hub',
      level: 'fail',
      found: `it announces the key ${hubKey}, but edge.hubKey says ${other}`,
      next: 'Ask its operator. If the hub is new, correct or remove that key; if not, somebody is in between.',
    })
    const lonely = `mqtt://127.0.0.1:${await openBroker(undefined, false)}`
    expect(await last(station(brokerYaml(lonely)))).toEqual({
      about: 'hub',
      level: 'fail',
      found: `no hub of network ${network} has announced itself on this broker`,
      next: 'Start the hub, and check that "network" is the same on both sides.',
    })
  })

  test('the hub’s clock is compared where the hub knows this station', async () => {
    const nowMs = Date.UTC(2026, 10, 26)
    const seen = async (hubMs: number) => {
      const made = station(brokerYaml(`mqtt://127.0.0.1:${await openBroker(undefined, true, hubMs)}`))
      const [known, time] = (await look(broker, made.patient)).slice(-2)
      expect(known!.found).toContain('has not kept yet')
      return time
    }
    expect(await seen(nowMs + 4_000)).toEqual({
      about: 'hub',
      level: 'ok',
      found: 'its clock and this one agree',
    })
    const next = 'Let NTP set both clocks: readings from the future are refused, old ones come out of place.'
    expect(await seen(nowMs + 60_000)).toEqual({
      about: 'hub',
      level: 'warn',
      found: 'its clock is 60 s ahead of this one',
      next,
    })
    expect(await seen(nowMs - 3600_000)).toEqual({
      about: 'hub',
      level: 'fail',
      found: 'its clock is 3600 s behind this one',
      next,
    })
  })

  test('each step that fails is told as itself', async () => {
    expect(await last(station(brokerYaml('mqtt://no-such-host.invalid')))).toEqual({
      about: 'broker',
      level: 'fail',
      found: expect.stringMatching(/^no-such-host\.invalid does not resolve \((ENOTFOUND|EAI_AGAIN)\)$/),
      next: 'Check its spelling in edge.broker.url, and this network’s DNS.',
    })
    expect(await last(station(brokerYaml('http://127.0.0.1')))).toMatchObject({
      level: 'fail',
      found: 'edge.broker.url is not an address',
    })
    expect(await last(station(brokerYaml('mqtt://127.0.0.1:1')))).toEqual({
      about: 'broker',
      level: 'fail',
      found: 'port 1 of 127.0.0.1 cannot be reached (ECONNREFUSED)',
      next: 'Start the broker, and check the port and firewalls between.',
    })
    const refusing = await openBroker(() => Promise.reject(new Error('not on the list')))
    const refused = station(brokerYaml(`mqtt://127.0.0.1:${refusing}`))
    expect((await last(refused))?.found).toMatch(/^it does not accept the credentials of [0-9a-f]{32}$/)
    expect(await last(patientWith(brokerYaml(`mqtt://127.0.0.1:${refusing}`)))).toMatchObject({
      level: 'warn',
      found: 'not logged in: this station has no key yet',
    })
    const deaf = await listening(
      createServer((socket) => socket.on('error', () => undefined).end('HTTP/1.1 400\r\n\r\n')),
    )
    expect((await last(station(brokerYaml(`mqtt://127.0.0.1:${deaf}`))))?.found).toMatch(
      /^it does not speak MQTT as expected: /,
    )
    expect((await last(station(brokerYaml(`mqtts://127.0.0.1:${deaf}`))))?.found).toMatch(/^TLS fails \(/)
  })

  test('a certificate that nobody vouches for is refused, and taken with its authority', async ({ skip }) => {
    const folder = temporaryDirectory()
    const [certificate, privateKey] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    try {
      execFileSync(
        'openssl',
        [
          'req',
          '-x509',
          '-newkey',
          'rsa:2048',
          '-nodes',
          '-days',
          '2',
          '-subj',
          '/CN=localhost',
          '-addext',
          'subjectAltName=DNS:localhost',
          '-keyout',
          privateKey,
          '-out',
          certificate,
        ],
        { stdio: 'ignore' },
      )
    } catch {
      skip(true, 'openssl is not installed: no certificate to try')
    }
    const tls = await listening(
      createTlsServer({ cert: readFileSync(certificate), key: readFileSync(privateKey) }, (socket) =>
        socket.on('error', () => undefined).end(),
      ).on('tlsClientError', () => undefined),
    )
    const url = `mqtts://localhost:${tls}`
    expect(await last(station(brokerYaml(url)))).toEqual({
      about: 'broker',
      level: 'fail',
      found: expect.stringMatching(/^TLS fails \((DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN)\)$/),
      next: 'Check its certificate’s name and end, this clock, and edge.broker.caFile for a private authority.',
    })
    const known = await look(broker, station(brokerYaml(url, `, caFile: ${certificate}`)).patient)
    expect(known[2]).toEqual({ about: 'broker', level: 'ok', found: 'TLS: its certificate is valid' })
  })
})

test('an error without a second line still says what to do', () => {
  expect(inTwo(new Error('a\nb\nc'))).toEqual(['a', 'b c'])
  expect(inTwo('a')).toEqual(['a', 'See the message; "groundtruth doctor" looks again.'])
})

describe('groundtruth doctor', () => {
  test('tells all as JSON, ends with 1 where something fails, and creates nothing', async () => {
    const data = join(temporaryDirectory(), 'data')
    const file = join(temporaryDirectory(), 'station.yaml')
    writeFileSync(file, brokerYaml('mqtt://127.0.0.1:1'))
    const running = start(['doctor', '--json', '--config', file, '--data', data], {})
    onTestFinished(async () => void (await running.stop('SIGKILL')))
    const code = await new Promise<number | null>((resolve) => running.child.once('close', resolve))
    const { ok, checks } = JSON.parse(running.said()) as {
      ok: boolean
      checks: { check: string; level: string }[]
    }
    expect([code, ok]).toEqual([1, false])
    expect([...new Set(checks.map(({ check }) => check))]).toEqual([
      'configuration',
      'ports',
      'clock',
      'key',
      'disk',
      'station',
      'broker',
      'service',
    ])
    expect(() => readFileSync(data)).toThrow('ENOENT')
  })
})
