import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { configReference, configSample, type Node, settingsOf } from '#gateway/commands/config.ts'
import { driverPage, driverSettings } from '#gateway/commands/sensors.ts'
import { ConfigError, loadConfig, readSecret } from '#gateway/config.ts'
import { linkForms } from '#gateway/link/named.ts'
import { drivers } from '#gateway/sensors/all.ts'
import { configuredDevices } from '#gateway/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'

const fileWith = (text: string): string => {
  const path = join(temporaryDirectory(), 'station.yaml')
  writeFileSync(path, text)
  return path
}

const mistakes = (text: string, env: Record<string, string> = {}): string => {
  try {
    loadConfig({ file: fileWith(text), env })
  } catch (error) {
    if (error instanceof ConfigError) return error.message.replaceAll(/\S*station\.yaml/g, 'station.yaml')
    throw error
  }
  return 'no mistake'
}

describe('configuration', () => {
  test('nothing configured is a working default', () => {
    const config = loadConfig({ env: { XDG_STATE_HOME: '/state' } })
    expect(config).toMatchObject({
      data: '/state/groundtruth',
      hub: { http: { port: 8080, host: '127.0.0.1' } },
    })
    expect(Object.isFrozen(config.hub.http)).toBe(true)
  })

  test('the environment wins over the file, the command line over both', () => {
    const file = fileWith('hub:\n  http:\n    port: 1000\n    host: 10.0.0.1\n  broker:\n    port: 1001\n')
    const env = { GROUNDTRUTH_HUB__HTTP__PORT: '2000', GROUNDTRUTH_HUB__BROKER__PORT: '2001' }
    const { hub } = loadConfig({ file, env, overrides: [[['hub', 'broker', 'port'], 3001]] })
    expect([hub.http.host, hub.http.port, hub.broker.port]).toEqual(['10.0.0.1', 2000, 3001])
  })

  test('every mistake is told at once, with its line, column, path, what was expected and what came', () => {
    expect(
      mistakes(
        `netwrok: x
network: a b
edge:
  broker: mqtt://hub
  envelope: { maxReadings: 0 }
  outbox:
    cursorS: -1
    maxMiB: 1.5
  sensors:
    - id: "a b"
      link: ''
      enabled: maybe
hub:
  http:
    port: high
  registration: closed
  stations: [abc]
  chain: { contract: 0x12 }
`,
      ).split('\n'),
    ).toEqual([
      'station.yaml:2:10 network: expected letters, digits, _ and -, at most 64, got "a b"',
      'station.yaml:4:11 edge.broker: expected settings by name, got "mqtt://hub"',
      'station.yaml:5:28 edge.envelope.maxReadings: expected a number of at least 1, got 0',
      'station.yaml:7:14 edge.outbox.cursorS: expected a number of at least 0, got -1',
      'station.yaml:8:13 edge.outbox.maxMiB: expected a whole number, got 1.5',
      'station.yaml:10:11 edge.sensors.0.id: expected letters, digits, _ and -, at most 64, got "a b"',
      'station.yaml:10:7 edge.sensors.0.model: expected text, got nothing',
      'station.yaml:11:13 edge.sensors.0.link: expected text of at least 1 characters, got ""',
      'station.yaml:12:16 edge.sensors.0.enabled: expected true or false, got "maybe"',
      'station.yaml:16:17 hub.registration: expected open or list, got "closed"',
      'station.yaml:17:14 hub.stations.0: expected 64 lower-case hex digits, got "abc"',
      'station.yaml:15:11 hub.http.port: expected a number, got "high"',
      'station.yaml:18:22 hub.chain.contract: expected text, got 18',
      'station.yaml:1:1 netwrok: expected one of the settings network, data, edge, hub, got the name "netwrok"',
    ])
  })

  test('two sensors with one id, or on one link, are a mistake; one that is not enabled does no harm', () => {
    const sensor = (id: string, link: string, more = '') =>
      `    - { id: ${id}, model: nmea, link: ${link}${more} }\n`
    const head = 'edge:\n  sensors:\n'
    expect(
      mistakes(head + sensor('a', '/dev/tty0') + sensor('b', '/dev/tty0') + sensor('a', '/dev/tty1')),
    ).toBe(
      'station.yaml:5:13 edge.sensors.2.id: expected an id that no other sensor has, got "a" as edge.sensors.0.id\n' +
        'station.yaml:4:35 edge.sensors.1.link: expected a link that no other sensor uses, got "/dev/tty0" as edge.sensors.0.link',
    )
    expect(mistakes(head + sensor('a', '/dev/tty0') + sensor('a', '/dev/tty0', ', enabled: false'))).toBe(
      'no mistake',
    )
  })

  const devicesOf = (sensors: string): string => {
    const config = loadConfig({ file: fileWith(`edge:\n  sensors:\n${sensors}`), env: {} })
    try {
      return configuredDevices(config.edge, config.told)
        .map(({ id, opener }) => `${id} ${opener.name}`)
        .join()
    } catch (error) {
      if (error instanceof ConfigError) return error.message.replaceAll(/\S*station\.yaml/g, 'station.yaml')
      throw error
    }
  }

  test('what no driver or link can be made of is told like any other mistake, all at once', () => {
    const models = drivers.map(({ model }) => model).join(', ')
    expect(
      devicesOf(
        `    - id: a
      model: pms5003
      link: ttyUSB0
    - id: b
      model: plantower-pms
      link: /dev/ttyUSB1
      settings:
        variant: pms9003
    - { id: c, model: reyax-rylr, link: 'tcp://hub', settings: { password: hunter2 } }
    - { id: d, model: nova-sds011, link: 'usb:1a86', settings: { colour: blue } }
    - { id: e, model: reyax-rylr, link: 'usb:10c4:ea60', settings: { adress: 5 } }
`,
      ).split('\n'),
    ).toEqual([
      `station.yaml:4:14 edge.sensors.0.model: expected one of ${models}, got "pms5003"`,
      `station.yaml:5:13 edge.sensors.0.link: expected ${linkForms}, got "ttyUSB0"`,
      'station.yaml:10:18 edge.sensors.1.settings.variant: expected one of pms1003, pms3003, pms5003, pms7003, pmsa003, pms5003t, pms5003s, pms5003st, got "pms9003"',
      'station.yaml:11:76 edge.sensors.2.settings.password: expected 8 (RYLR998) or 32 (RYLR896) hexadecimal digits, got something that is not shown',
      `station.yaml:11:41 edge.sensors.2.link: expected ${linkForms}, got "tcp://hub"`,
      'station.yaml:12:66 edge.sensors.3.settings.colour: expected one of the settings mode, intervalS, workPeriodMin, dutyCycle, got the name "colour"',
      `station.yaml:12:42 edge.sensors.3.link: expected ${linkForms}, got "usb:1a86"`,
      expect.stringMatching(
        /^station\.yaml:13:70 edge\.sensors\.4\.settings\.adress: expected one of the settings address, networkId, .*, got the name "adress"$/,
      ),
    ])
  })

  test('a secret inside what is wrong is not shown', () => {
    expect(
      devicesOf(
        "    - { id: a, model: reyax-rylr, link: 'usb:10c4:ea60', settings: { nodes: { password: hunter2, at: 5 } } }\n",
      ),
    ).toBe(
      'station.yaml:3:70 edge.sensors.0.settings.nodes: expected a list of node names, got {"password":"(not shown)","at":5}',
    )
    expect(mistakes('edge:\n  sensors: { password: hunter2 }\n')).not.toContain('hunter2')
  })

  test('a sensor that is not enabled is not read, and may be half written', () => {
    expect(
      devicesOf(
        `    - { id: a, model: not-yet, link: somewhere, enabled: false }\n    - { id: b, model: nmea, link: /dev/ttyACM0 }\n`,
      ),
    ).toBe('b /dev/ttyACM0')
  })

  test('a mistake in the environment or on the command line is told by its name there', () => {
    expect(
      mistakes('hub: { http: { port: 1 } }', {
        GROUNDTRUTH_HUB__HTTP__PROT: '1',
        GROUNDTRUTH_HUB__HTTP__PORT: 'high',
        GROUNDTRUTH_NETWORK: '[',
      }),
    ).toBe(
      "GROUNDTRUTH_HUB__HTTP__PROT (environment): expected a setting's path such as GROUNDTRUTH_HUB__HTTP__PORT, got a name that is none\n" +
        'GROUNDTRUTH_NETWORK network: expected a value that YAML can read, got one that it cannot\n' +
        'GROUNDTRUTH_HUB__HTTP__PORT hub.http.port: expected a number, got "high"',
    )
    expect(() => loadConfig({ env: {}, overrides: [[['network'], 'a b', '--network']] })).toThrow(
      '--network network: expected letters, digits, _ and -, at most 64, got "a b"',
    )
  })

  test('YAML that cannot be read says where, for each mistake', () => {
    expect(mistakes('hub: [1,\n')).toBe(
      'station.yaml:2:1 (YAML): expected text that YAML can read, got a mistake: Flow sequence in block collection must be sufficiently indented and end with a ]',
    )
    expect(mistakes('network: a\nnetwork: b\n')).toBe(
      'station.yaml:2:1 (YAML): expected text that YAML can read, got a mistake: Map keys must be unique',
    )
    expect(mistakes('- a\n')).toBe('station.yaml:1:1 (top): expected settings by name, got a list')
    expect(
      mistakes(`a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [${'*a,'.repeat(20)}]\nc: [${'*b,'.repeat(20)}]\n`),
    ).toMatch(/^station\.yaml:1:1 \(YAML\): expected plain settings, got Excessive alias count/)
    expect(() => loadConfig({ file: '/nonexistent.yaml', env: {} })).toThrow(
      'cannot read the configuration /nonexistent.yaml: ENOENT\nCheck the path after --config; "groundtruth init" writes one.',
    )
  })

  test('a secret that others may read is refused, with what to run', () => {
    const path = join(temporaryDirectory(), 'password')
    writeFileSync(path, 'hunter2\n', { mode: 0o600 })
    expect(readSecret(path)).toBe('hunter2')
    chmodSync(path, 0o640)
    expect(() => readSecret(path)).toThrow(
      new ConfigError(`the secret in ${path} can be read by others (mode 640).\nRun: chmod 600 ${path}`),
    )
    expect(() => readSecret(`${path}x`)).toThrow(`cannot read the secret in ${path}x: ENOENT`)
  })

  test('the sample is a configuration with every setting at its default, and sensors to start from', () => {
    const text = configSample()
    const config = loadConfig({ file: fileWith(text), env: { XDG_STATE_HOME: '/state' } })
    const { edge, ...rest } = JSON.parse(JSON.stringify(config))
    const usual = JSON.parse(JSON.stringify(loadConfig({ env: { XDG_STATE_HOME: '/state' } })))
    expect(rest).toEqual({ ...usual, edge: undefined })
    expect({ ...edge, sensors: [] }).toEqual(usual.edge)
    expect(configuredDevices(config.edge, config.told).map(({ id }) => id)).toEqual([
      'garden-air',
      'garden-climate',
    ])
    for (const [, path] of configReference().matchAll(/^\| `([^`[]+)` /gm))
      expect(text).toMatch(new RegExp(`^ *(# )?${path!.split('.').at(-1)}: ?`, 'm'))
  })

  test('every driver shows its settings by name', () => {
    for (const driver of drivers) expect(driverSettings(driver)).toMatchObject({ type: 'object' })
    expect(driverPage(drivers.find(({ model }) => model === 'plantower-pms')!)).toBe(
      `plantower-pms: Plantower PMS1003, PMS3003, PMS5003, PMS7003, PMSA003, PMS5003T, PMS5003S, PMS5003ST
  source     Plantower PMS5003 manual V2.3, appendix I; PyPMS captures
  baud rate  9600
  silence    after 30 s without a frame the link is opened again
  settings
    dutyCycle.everyS: number. Seconds from one waking to the next.
    dutyCycle.measureS: number, usually 10. Seconds for which values count once it is warm.
    variant: pms1003 or pms3003 or pms5003 or pms7003 or pmsa003 or pms5003t or pms5003s or pms5003st. Which one it is, where its frames alone do not tell: a PMS5003T looks like a PMS5003.
  in station.yaml, under edge.sensors
    - id: pms
      model: plantower-pms
      link: /dev/serial/by-id/...
      settings: {"variant":"pms5003t"}
  tried with
    PMS5003 in clean indoor air (PyPMS tests/captured_data/PMSx003.hexdump (MIT), captured)
    PMS5003T with temperature and humidity (PyPMS tests/captured_data/PMS5003T.hexdump (MIT), captured)
    PMS5003 whose fan has not started: no values, not zero (PyPMS tests/sensors/test_message.py (MIT))
`,
    )
    expect(driverPage(drivers.find(({ model }) => model === 'gy-mcu680')!)).toContain('  settings   none\n')
  })

  test.each(drivers)(
    '$model says of every setting what it means, also inside of lists and choices',
    (driver) => {
      const said: Record<string, string | undefined> = {}
      const walk = (node: Node, path: string): void => {
        for (const [name, inner] of Object.entries(node.properties ?? {})) {
          said[`${path}${name}`] = inner.description
          walk(inner, `${path}${name}.`)
        }
        for (const inner of [...(node.items ? [node.items] : []), ...(node.anyOf ?? [])]) walk(inner, path)
      }
      walk(driverSettings(driver)!, '')
      for (const [path, meaning] of Object.entries(said))
        expect(meaning, path).toMatch(/^[A-Za-zµ].{3,198}\.$/)
      const page = driverPage(driver)
      for (const { meaning } of settingsOf(driverSettings(driver)!, '')) expect(page).toContain(meaning)
    },
  )

  test('where a driver listens for gateways, its page shows the address and no serial port', () => {
    const page = driverPage(drivers.find(({ model }) => model === 'lorawan-gwmp')!)
    expect(page).toContain('      link: udp://127.0.0.1:1700\n')
    expect(page).toContain('  baud rate  none, it is reached over the network\n')
    expect(driverPage(drivers.find(({ model }) => model === 'lorawan-basics-station')!)).toContain(
      '      link: ws://127.0.0.1:1887\n',
    )
  })

  test('the reference in the README is the schema’s', () => {
    const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8')
    expect(readme).toContain(configReference())
  })
})
