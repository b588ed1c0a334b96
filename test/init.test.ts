import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { writeWhole } from '#gateway/commands/init.ts'
import { loadConfig } from '#gateway/config.ts'
import { discover } from '#gateway/discover.ts'
import { linkNamed } from '#gateway/link/named.ts'
import { type Finding, mayBeAsked, probe } from '#gateway/probe.ts'
import { proposedSensors, questionAbout, stationYaml } from '#gateway/proposal.ts'
import { drivers } from '#gateway/sensors/all.ts'
import type { Driver } from '#gateway/sensors/sensors.ts'
import { configuredDevices } from '#gateway/station.ts'
import { inProcess } from '#sim/outlets/in-process.ts'
import { hasScript, pty } from '#sim/outlets/pty.ts'
import { tcp } from '#sim/outlets/tcp.ts'
import { start } from '#test/kill/process.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'
import { wired } from '#test/wired.ts'

const anySignal = () => AbortSignal.timeout(25_000)

const probed = (link: string, listenMs = 1500): Promise<Finding> =>
  probe(
    {
      openerAt: (baudRate) => linkNamed(link, { baudRate }),
      drivers,
      hasBaudRate: !link.startsWith('tcp://'),
      askable: new Set(Object.keys(mayBeAsked)),
      likely: [],
      listenMs,
      told: () => undefined,
    },
    anySignal(),
  )

/** A port that says these bytes again and again, and what it is sent. */
const talker = async (bytes: Uint8Array, everyMs = 40) => {
  const heard: Buffer[] = []
  const server = createServer((socket) => {
    const timer = setInterval(() => socket.write(bytes), everyMs)
    socket
      .on('data', (chunk) => heard.push(chunk))
      .on('error', () => undefined)
      .on('close', () => clearInterval(timer))
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  return { link: `tcp://127.0.0.1:${(server.address() as { port: number }).port}`, heard }
}

describe('a probe', () => {
  test('recognises each simulated device by what it says', async () => {
    const kinds = ['plantower', 'nova', 'microcontroller', 'gnss'] as const
    const sensors = await wired(kinds, () => tcp)
    const findings = await Promise.all(sensors.map(({ link }) => probed(link, 3000)))
    expect(findings.map((one) => (one.kind === 'recognised' ? one.model : one.kind))).toEqual(
      sensors.map(({ model }) => model),
    )
    expect(findings[1]).toMatchObject({ quantities: ['pm2_5', 'pm10'], baudRate: 9600 })
  })

  test('over a terminal the usual baud rate of the driver is proposed', async ({ skip }) => {
    skip(!(await hasScript()), 'script(1) is not installed: no pseudo-terminals')
    const [sensor] = await wired(['microcontroller'], pty)
    expect(await probed(sensor!.link, 700)).toMatchObject({
      kind: 'recognised',
      model: 'text-lines',
      baudRate: 115_200,
    })
  })

  test('wakes a Plantower that was told to be passive, and sends a silent wire nothing that lasts', async () => {
    const [sensor] = await wired(['plantower'], () => tcp)
    const passive = linkNamed(sensor!.link, { baudRate: 9600 })
    const wire = await passive.open(anySignal())
    wire.write(Buffer.from('424de100000170', 'hex'))
    await new Promise((resolve) => setTimeout(resolve, 100))
    const closed = new Promise((resolve) => wire.once('close', resolve))
    wire.destroy()
    await closed
    expect(await probed(sensor!.link, 700)).toMatchObject({ kind: 'recognised', model: 'plantower-pms' })

    const silent = await talker(new Uint8Array())
    expect(await probed(silent.link, 300)).toEqual({ kind: 'silent' })
    // What a PMS5003, SPS30, HPMA115, MH-Z19 and GMC forget with their power; nothing that an SDS011 or a modem keeps.
    const forgotten = [
      '424de400010174',
      '424de100010171',
      'ff7e001100ee7e',
      '7e0000020103f97e',
      '7e000300fc7e',
      '68012077',
      '68010196',
      '68010493',
      'ff0186000000000079',
      Buffer.from('<HEARTBEAT0>>').toString('hex'),
      Buffer.from('<GETVER>>').toString('hex'),
    ]
    const said = Buffer.concat(silent.heard).toString('hex')
    expect(said).toMatch(new RegExp(`^(${forgotten.join('|')})+$`))
  })

  test('holds the conversation of a device that only answers, and only where it may be asked', async () => {
    // A device that says "T=21.5" to "?", behind a driver that asks for it once a second.
    const asking: Driver = {
      ...drivers.find(({ model }) => model === 'text-lines')!,
      model: 'answers-only',
      configure: (settings, surroundings) => ({
        ...drivers.find(({ model }) => model === 'text-lines')!.configure(settings, surroundings),
        dialogue: { opened: () => undefined, turn: () => ({ send: Buffer.from('?'), againMs: 200 }) },
      }),
    }
    let asked = 0
    const server = createServer((socket) =>
      socket
        .on('data', () => {
          asked += 1
          socket.write('T=21.5\n')
        })
        .on('error', () => undefined),
    ).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const options = {
      openerAt: () =>
        linkNamed(`tcp://127.0.0.1:${(server.address() as { port: number }).port}`, { baudRate: 1 }),
      drivers: [asking],
      hasBaudRate: false,
      likely: [],
      listenMs: 500,
      told: () => undefined,
    }
    expect(await probe({ ...options, askable: new Set() }, anySignal())).toEqual({ kind: 'silent' })
    expect(asked).toBe(0)
    expect(await probe({ ...options, askable: new Set(['answers-only']) }, anySignal())).toMatchObject({
      kind: 'recognised',
      model: 'answers-only',
      quantities: ['temperature'],
    })
  })

  test('says of bytes that nobody understands how many came, and shows a line of them', async () => {
    const columns = await talker(Buffer.from('21.5,45.1,1013\r\n'))
    expect(await probed(columns.link, 300)).toEqual({
      kind: 'unknown',
      bytes: expect.any(Number),
      line: '21.5,45.1,1013',
    })
    const noise = await talker(Buffer.from([0xff, 0x00, 0x13, 0x99]))
    expect(await probed(noise.link, 300)).toEqual({ kind: 'unknown', bytes: expect.any(Number) })
  })

  test('a wire that cannot be opened is told with its reason', async () => {
    expect(await probed('/dev/nonexistent-port')).toEqual({
      kind: 'unusable',
      code: 'missing',
      message:
        'serial port /dev/nonexistent-port does not exist.\nPlug the device in, or set link to another port; "groundtruth doctor" lists them.',
    })
  })

  test('ends with its signal, and leaves the wire', async () => {
    const outlet = await inProcess('x', () => undefined)
    const stop = new AbortController()
    const probing = probe(
      {
        openerAt: () => outlet.opener!,
        drivers,
        hasBaudRate: true,
        askable: new Set(),
        likely: [],
        listenMs: 20_000,
        told: () => undefined,
      },
      stop.signal,
    )
    setTimeout(() => stop.abort(), 50)
    await expect(probing).rejects.toThrow('aborted')
    // It can be opened again: nobody holds it.
    const wire = await outlet.opener!.open(anySignal())
    wire.destroy()
  })
})

describe('what is found on this computer', () => {
  test('leaves a port alone that another program uses, and names the program', async () => {
    const root = temporaryDirectory()
    for (const folder of ['dev', 'sys', 'proc/812/fd']) mkdirSync(join(root, folder), { recursive: true })
    const path = join(root, 'dev/ttyUSB0')
    writeFileSync(path, '')
    symlinkSync(path, join(root, 'proc/812/fd/3'))
    writeFileSync(join(root, 'proc/812/comm'), 'minicom\n')
    const told: string[] = []
    const found = await discover(
      {
        roots: { dev: join(root, 'dev'), sys: join(root, 'sys'), proc: join(root, 'proc') },
        ports: true,
        links: [],
        listenMs: 200,
        told: (link, what) => told.push(`${link}: ${what}`),
      },
      anySignal(),
    )
    const message = `serial port ${path} is used by minicom (pid 812) and is left alone.`
    expect(found).toEqual([
      { link: path, port: { path }, finding: { kind: 'unusable', code: 'busy', message } },
    ])
    expect(told).toEqual([`${path}: ${message}`])
  })

  const discovered = async (link: string, listenMs: number) => {
    const root = temporaryDirectory()
    const roots = { dev: root, sys: root, proc: root }
    return discover({ roots, ports: false, links: [link], listenMs, told: () => undefined }, anySignal())
  }

  test.each([
    ['packet-forwarder', 'lorawan-gwmp'],
    ['basics-station', 'lorawan-basics-station'],
  ] as const)(
    'a gateway that calls is recognised (%s), before its devices are listed',
    async (kind, model) => {
      const [sensor] = await wired([kind], () => tcp)
      const found = await discovered(sensor!.link, 3000)
      expect(found).toMatchObject([{ link: sensor!.link, finding: { kind: 'recognised', model } }])
      const [proposed] = await proposedSensors(found, async () => undefined)
      expect(proposed).toMatchObject({ model, link: sensor!.link, settings: {} })
      expect(proposed).not.toHaveProperty('baudRate')
    },
  )

  test('a gateway that calls is answered as the protocol wants, and told nothing', async () => {
    const gateway = createSocket('udp4').bind(0, '127.0.0.1')
    const spare = createSocket('udp4').bind(0, '127.0.0.1')
    onTestFinished(() => void gateway.close())
    await Promise.all([once(gateway, 'listening'), once(spare, 'listening')])
    const { port } = spare.address()
    await new Promise<void>((resolve) => spare.close(resolve))
    const answers: string[] = []
    gateway.on('message', (bytes) => answers.push(bytes.toString('hex')))
    // PULL_DATA: from then on it would take whatever goes down.
    const timer = setInterval(
      () => gateway.send(Buffer.from('0200070200112233445566ff', 'hex').subarray(0, 12), port, '127.0.0.1'),
      30,
    )
    onTestFinished(() => clearInterval(timer))
    const found = await discovered(`udp://127.0.0.1:${port}`, 600)
    expect(found).toMatchObject([{ finding: { kind: 'silent' } }])
    expect(new Set(answers)).toEqual(new Set(['02000704']))
    expect(stationYaml({ network: 'testnet', brokerUrl: 'mqtt://a' }, [], found)).toContain(
      'nothing was heard. Give the gateway the address of this computer and this port as its server.',
    )
  })
})

const pms = (link: string): Parameters<typeof proposedSensors>[0][number] => ({
  link,
  port: { path: '/dev/ttyUSB0', usb: { vendor: '1a86', product: '7523' } },
  adapter: { what: 'WCH CH340', models: [] },
  finding: {
    kind: 'recognised',
    model: 'plantower-pms',
    baudRate: 9600,
    quantities: ['pm1', 'pm2_5'],
    frame: new Uint8Array(32),
  },
})

describe('a proposal', () => {
  const wires: Parameters<typeof proposedSensors>[0] = [
    pms('/dev/serial/by-id/usb-1a86'),
    pms('usb:1a86:7523@1-1.2'),
    {
      link: 'tcp://10.0.0.5:3001',
      finding: {
        kind: 'recognised',
        model: 'nmea',
        baudRate: 4800,
        quantities: [],
        frame: new Uint8Array(9),
      },
    },
    { link: '/dev/ttyS0', finding: { kind: 'silent' } },
    { link: '/dev/ttyS1', finding: { kind: 'unknown', bytes: 99, line: 'a: [b' } },
    {
      link: '/dev/ttyS2',
      finding: { kind: 'unusable', code: 'permission', message: 'serial port x.\nRun\u0007: y' },
    },
  ]

  test('is a whole configuration with stable names; what is open or left out stands in comments', async () => {
    const sensors = await proposedSensors(wires, async (link) =>
      link.startsWith('usb') ? 'pms5003t' : undefined,
    )
    const yaml = stationYaml({ network: 'garden', brokerUrl: 'mqtt://hub.example:1883' }, sensors, wires)
    expect(yaml).toBe(`# A station, as found by "groundtruth init". Every setting: groundtruth config
network: garden
edge:
  broker:
    url: mqtt://hub.example:1883
  sensors:
    # WCH CH340 at /dev/ttyUSB0: pm1, pm2_5
    - id: pms
      model: plantower-pms
      link: /dev/serial/by-id/usb-1a86
      # its frames do not tell PMS5003, PMS5003T and PMS5003S apart; read the label, and set one of:
      # settings: { variant: pms5003 }  # PMS1003, PMS5003, PMS7003 or PMSA003: particles
      # settings: { variant: pms5003t }  # PMS5003T: particles, temperature and humidity
      # settings: { variant: pms5003s }  # PMS5003S: particles and formaldehyde
    # WCH CH340 at /dev/ttyUSB0: pm1, pm2_5
    - id: pms-2
      model: plantower-pms
      link: usb:1a86:7523@1-1.2
      settings:
        variant: pms5003t
    # radio nodes
    - id: nmea
      model: nmea
      link: tcp://10.0.0.5:3001
${drivers.find(({ model }) => model === 'nmea')!.baudRate === 4800 ? '' : '      baudRate: 4800\n'}    # /dev/ttyS0: nothing was heard. Check power and wiring, or it only speaks when asked.
    # /dev/ttyS1: 99 bytes that no driver understands without settings.
    # A line of it: a: [b
    # Columns of numbers are read by model text-lines with the setting "columns".
    # serial port x. Run : y
`)
    const file = join(temporaryDirectory(), 'station.yaml')
    writeFileSync(file, yaml)
    const config = loadConfig({ file, env: {} })
    expect(configuredDevices(config.edge, config.told).map(({ id, opener }) => [id, opener.name])).toEqual([
      ['pms', '/dev/serial/by-id/usb-1a86'],
      ['pms-2', 'usb:1a86:7523@1-1.2'],
      ['nmea', 'tcp://10.0.0.5:3001'],
    ])
  })

  test('every answer to every question is a setting that its driver takes', () => {
    const { finding } = pms('x')
    if (finding.kind !== 'recognised') throw new Error('not recognised')
    const question = questionAbout(finding)!
    const driver = drivers.find(({ model }) => model === finding.model)!
    for (const [value] of question.choices)
      expect(() =>
        driver.configure(
          { [question.setting]: value },
          { network: 'testnet', counters: { get: () => undefined, set: () => undefined }, secret: () => '' },
        ),
      ).not.toThrow()
    expect(questionAbout({ ...finding, frame: new Uint8Array(24) })).toBeUndefined()
    expect(questionAbout({ ...finding, model: 'nmea' })).toBeUndefined()
  })
})

describe('the file', () => {
  test('is whole or not there, and one that is there is left as it is', () => {
    const folder = temporaryDirectory()
    const file = join(folder, 'station.yaml')
    const fails = () => {
      throw new Error('no')
    }
    expect(() => writeWhole(file, 'half', false, fails)).toThrow('no')
    expect(readdirSync(folder)).toEqual([])
    writeWhole(file, 'one', false, (path) => expect(readFileSync(path, 'utf8')).toBe('one'))
    expect(() => writeWhole(file, 'two', false, () => undefined)).toThrow(
      `${file} is there already and is left as it is.\nReplace it with --force, or write another one with --config FILE.`,
    )
    expect(readFileSync(file, 'utf8')).toBe('one')
    writeWhole(file, 'three', true, () => undefined)
    expect(readFileSync(file, 'utf8')).toBe('three')
    expect(readdirSync(folder)).toEqual(['station.yaml'])
  })
})

describe('groundtruth init', () => {
  const run = async (...args: string[]) => {
    const running = start(['init', '--no-ports', ...args], {})
    onTestFinished(async () => void (await running.stop('SIGKILL')))
    const code = await new Promise<number | null>((resolve) => running.child.once('close', resolve))
    return { code, said: running.said() }
  }

  test('from two plugged-in devices to a station.yaml and the next command', {
    timeout: 60_000,
  }, async () => {
    const outlet = (await hasScript()) ? pty : () => tcp
    const [nova] = await wired(['nova'], outlet)
    const [gnss] = await wired(['gnss'], () => tcp)
    const file = join(temporaryDirectory(), 'station.yaml')
    const links = ['--link', nova!.link, '--link', gnss!.link, '--listen', '3']
    const unasked = await run(...links, '--config', file)
    expect(unasked.said).toContain(`Nothing was written. "groundtruth init --yes" writes ${file}.`)
    expect([unasked.code, existsSync(file)]).toEqual([64, false])

    const { code, said } = await run(...links, '--config', file, '--yes')
    expect(said).toContain(`${nova!.link}: listening`)
    expect(said).toContain(`${nova!.link}: nova-sds011: pm2_5, pm10\n`)
    expect(said).toContain(
      `${file} is written. See what the sensors say with:\n  groundtruth run --config ${file} --test\n`,
    )
    expect(code).toBe(0)
    const config = loadConfig({ file, env: {} })
    expect(config.edge.sensors.map(({ id, model, link }) => [id, model, link])).toEqual([
      ['sds011', 'nova-sds011', nova!.link],
      ['nmea', 'nmea', gnss!.link],
    ])
    const again = await run(...links, '--config', file, '--yes')
    expect(again).toEqual({
      code: 73,
      said: `${file} is there already and is left as it is.\nReplace it with --force, or write another one with --config FILE.\n`,
    })
  })

  test('at a terminal it asks what the frames do not tell, and before it writes', {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(!(await hasScript()), 'script(1) is not installed: no pseudo-terminals')
    const [pms] = await wired(['plantower'], () => tcp)
    const file = join(temporaryDirectory(), 'station.yaml')
    const main = join(import.meta.dirname, '../gateway/main.ts')
    const command = `${process.execPath} ${main} init --no-ports --link ${pms!.link} --config ${file} --listen 3`
    const atTerminal = () => {
      const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'ignore'] })
      onTestFinished(() => void child.kill('SIGKILL'))
      const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
      let said = ''
      child.stdout.on('data', (chunk) => {
        said += chunk
      })
      const saying = (what: string, times = 1) =>
        until(what, 20, async () => (said.split(what).length > times ? said : undefined))
      return { ended, saying, press: (keys: string) => void child.stdin.write(keys) }
    }
    const question = 'Which one (Enter leaves it open)?'
    for (const key of ['\x03', '\x04']) {
      const left = atTerminal()
      await left.saying(question)
      left.press(key)
      await left.saying('Nothing was written.')
      expect([await left.ended, existsSync(file)]).toEqual([130, false])
    }

    const { ended, saying, press } = atTerminal()
    expect(await saying(question)).toContain('  2  PMS5003T: particles, temperature and humidity')
    press('9\r')
    await saying(question, 2)
    press('2\r')
    await saying(`Write ${file} [Y/n]?`)
    expect(existsSync(file)).toBe(false)
    press('y\r')
    expect(await ended).toBe(0)
    expect(loadConfig({ file, env: {} }).edge.sensors).toMatchObject([
      { id: 'pms', model: 'plantower-pms', link: pms!.link, settings: { variant: 'pms5003t' } },
    ])
  })

  test('interrupted, or with nothing recognised, it leaves no file', { timeout: 60_000 }, async () => {
    const folder = temporaryDirectory()
    const file = join(folder, 'station.yaml')
    const silent = await talker(new Uint8Array())
    const args = ['init', '--no-ports', '--link', silent.link, '--config', file, '--yes']
    const running = start([...args, '--listen', '60'], {})
    onTestFinished(async () => void (await running.stop('SIGKILL')))
    await until('it to listen', 20, async () => (running.said().includes('listening') ? true : undefined))
    expect(await running.stop('SIGINT')).toBe(130)
    expect(running.said()).toBe(`${silent.link}: listening\n\nStopping ...\n\nNothing was written.\n`)
    const nothing = await run(...args.slice(2), '--listen', '0.3', '--json')
    expect(nothing.code).toBe(1)
    expect(nothing.said).toContain('No sensor was recognised, and nothing was written.')
    expect(readdirSync(folder)).toEqual([])
    expect(await run('--link', 'ttyUSB0')).toMatchObject({
      code: 78,
      said: expect.stringMatching(/^--link: expected a serial port .*, got "ttyUSB0"\n$/),
    })
  })
})
