import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Running, start } from '#test/kill/process.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

const freePorts = ['--http-port', '0', '--mqtt-port', '0', '--rpc-port', '0']

const run = async (...args: string[]): Promise<{ code: number | null; said: string }> => {
  const running = start(args, {})
  const code = await new Promise<number | null>((resolve) => running.child.once('close', resolve))
  return { code, said: running.said() }
}

type Latest = { readings: { station: string; sensor: string; proof: { seq: number } }[] }

/** `up` on free ports, and where it listens. */
const startUp = async (data: string) => {
  const running: Running = start(['up', ...freePorts, '--data', data, '--interval', '0.2'], {
    GROUNDTRUTH_EDGE__ENVELOPE__MAXAGES: '0.5',
    GROUNDTRUTH_HUB__ANCHOR__FIRSTAGES: '1',
    GROUNDTRUTH_HUB__ANCHOR__MAXAGES: '1',
  })
  onTestFinished(async () => void (await running.stop('SIGKILL')))
  const said = await until('the welcome', 60, async () => {
    if (running.child.exitCode !== null) throw new Error(running.said())
    return running.said().includes('Three things to try') ? running.said() : undefined
  })
  const urlOf = (name: string) => new RegExp(`${name} +(\\S+:\\d+)`).exec(said)![1]!
  const http = urlOf('query API')
  const get = async (path: string) => (await fetch(`${http}${path}`)).json() as Promise<never>
  return { running, said, http, rpc: urlOf('chain'), get }
}

describe('groundtruth up', () => {
  test('from nothing to a proof that a stranger can check, and on again after a stop', {
    timeout: 120_000,
  }, async () => {
    const data = temporaryDirectory()
    const first = await startUp(data)
    const latest: Latest = await first.get('/v1/latest')
    const station = latest.readings[0]!.station
    expect(latest.readings.map(({ sensor }) => sensor)).toEqual(
      expect.arrayContaining(['env', 'pms', 'sds', 'field-lora-11']),
    )
    expect(JSON.stringify(latest)).not.toContain('latitude')

    const live = await mqtt.connectAsync(/(mqtt:\/\/\S+)/.exec(first.said)![1]!)
    onTestFinished(() => live.endAsync(true).then(() => undefined))
    const heard = Promise.withResolvers<string>()
    live.on('message', (_topic, message) => heard.resolve(message.toString()))
    await live.subscribeAsync(`gt/1/+/${station}/reading/env`)
    expect(JSON.parse(await heard.promise)).toMatchObject({
      station,
      sensor: 'env',
      values: { temperature: expect.any(Number) },
      quality: { score: expect.any(Number) },
    })

    const bundle = await until('a bundle', 30, async () => {
      const response = await fetch(`${first.http}/v1/bundle?station=${station}&from=-10m`)
      return response.ok ? new Uint8Array(await response.arrayBuffer()) : undefined
    })
    const file = join(data, 'proof.cbor')
    writeFileSync(file, bundle)
    const good = await run('verify', file, '--rpc', first.rpc)
    expect(good.said).toContain('VERIFIED')
    expect(good.code).toBe(0)
    bundle[Math.floor(bundle.length / 2)]! ^= 1
    writeFileSync(file, bundle)
    const bad = await run('verify', file)
    expect(bad.said).toContain('FAILED')
    expect(bad.code).toBe(1)

    const before = (await first.get('/v1/status')) as { anchor: { contract: string }; hubKey: string }
    expect(await first.running.stop('SIGTERM')).toBe(0)
    const second = await startUp(data)
    const after = (await second.get('/v1/status')) as typeof before
    expect([after.hubKey, after.anchor.contract]).toEqual([before.hubKey, before.anchor.contract])
    const seqs = latest.readings.map(({ proof }) => proof.seq)
    await until('the sequence to go on', 20, async () => {
      const now: Latest = await second.get('/v1/latest')
      expect(now.readings[0]!.station).toBe(station)
      return now.readings[0]!.proof.seq > Math.max(...seqs) ? true : undefined
    })
    const { stations } = (await second.get('/v1/stations')) as { stations: { station: string }[] }
    expect(stations.map((one) => one.station)).toEqual([station])
    expect(await second.running.stop('SIGTERM')).toBe(0)
  })
})

describe('groundtruth ends with a code and the next step', () => {
  test('when a port is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    for (const option of ['--http-port', '--mqtt-port', '--rpc-port']) {
      const ports = freePorts.with(freePorts.indexOf(option) + 1, String(port))
      const { code, said } = await run('hub', ...ports, '--data', temporaryDirectory())
      expect(said).toContain(`port ${port}`)
      expect(said).toMatch(/choose|Choose/)
      expect(said).not.toContain('    at ')
      expect(code).toBe(69)
    }
  })

  test('when the data directory cannot be used, or is in use', async () => {
    const nowhere = await run('hub', ...freePorts, '--data', '/dev/null/groundtruth')
    expect(nowhere).toMatchObject({ code: 73, said: expect.stringContaining('--data DIR') })
    const data = temporaryDirectory()
    const hub = start(['hub', ...freePorts, '--data', data], {})
    onTestFinished(async () => void (await hub.stop('SIGKILL')))
    await hub.firstLine
    const second = await run('hub', ...freePorts, '--data', data)
    expect(second).toMatchObject({
      code: 73,
      said: expect.stringContaining('another Groundtruth (hub) is running'),
    })
    await hub.stop('SIGKILL')
    const third = start(['hub', ...freePorts, '--data', data], {})
    onTestFinished(async () => void (await third.stop('SIGKILL')))
    await third.firstLine // a killed process leaves no lock
  })

  test('when the configuration or the command is wrong', async () => {
    const file = join(temporaryDirectory(), 'hub.yaml')
    writeFileSync(file, 'hub:\n  http:\n    prot: 1\n')
    const config = await run('hub', '--config', file, '--data', temporaryDirectory())
    expect(config).toMatchObject({
      code: 78,
      said: expect.stringContaining(
        `${file}:3:5 hub.http.prot: expected one of the settings host, port, publicUrl, perMinuteAddress, perMinuteKey, signUpsPerHour, trustProxy, got the name "prot"`,
      ),
    })
    expect(await run('edge', '--data', temporaryDirectory())).toMatchObject({
      code: 78,
      said: expect.stringContaining('no sensors are configured'),
    })
    const station = join(temporaryDirectory(), 'station.yaml')
    const withSensor = async (text: string) => {
      writeFileSync(station, `edge:\n  sensors:\n    - { id: a, ${text} }\n`)
      return run('edge', '--config', station, '--data', temporaryDirectory())
    }
    for (const [sensor, told] of [
      ['model: pms5003, link: /dev/ttyUSB0', 'edge.sensors.0.model: expected one of plantower-pms,'],
      ['model: plantower-pms, link: ttyUSB0', 'edge.sensors.0.link: expected a serial port'],
      [
        'model: plantower-pms, link: /dev/ttyUSB0, settings: { variant: x }',
        'settings.variant: expected one of pms1003',
      ],
    ] as const)
      expect(await withSensor(sensor)).toMatchObject({ code: 78, said: expect.stringContaining(told) })
    expect(await run('hubb')).toMatchObject({ code: 64, said: expect.stringContaining('Did you mean hub?') })
    expect(await run('up', '--http-port', 'x')).toMatchObject({ code: 64 })
    expect(await run('verify', '/nonexistent.cbor')).toMatchObject({ code: 66 })
  })
})

describe('groundtruth key, sensors, store', () => {
  test('the key is made once, is its owner’s alone, and is never shown', async () => {
    const data = temporaryDirectory()
    const first = await run('key', '--data', data, '--json')
    expect((await run('key', '--data', data, '--json')).said).toBe(first.said)
    const path = join(data, 'edge/station.key')
    const { statSync, chmodSync } = await import('node:fs')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const secret = readFileSync(path, 'utf8').split('\n')[1]!
    expect(first.said).not.toContain(secret)
    chmodSync(path, 0o644)
    expect((await run('key', '--data', data)).said).toContain(`chmod 600 ${path}`)
  })

  test('the store is deleted and made again from the evidence', { timeout: 60_000 }, async () => {
    const data = temporaryDirectory()
    const first = await startUp(data)
    await sleep(1500)
    await first.running.stop('SIGTERM')
    const rebuilt = await run('store', 'rebuild', '--data', data)
    expect(rebuilt.code).toBe(0)
    expect(Number(/holds (\d+) readings again/.exec(rebuilt.said)?.[1])).toBeGreaterThan(10)
  })
})
