import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { configReference } from '#gateway/commands/config.ts'
import { ConfigError, loadConfig } from '#gateway/config.ts'
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

  test('every mistake is told with its line, column, path and what was expected', () => {
    expect(mistakes('hub:\n  http:\n    port: high\n')).toBe(
      'station.yaml:3:5 hub.http.port: Invalid input: expected number, received string',
    )
    const several = mistakes(
      'netwrok: x\nedge:\n  sensors:\n    - id: "a b"\n      model: nmea\n      link: /dev/tty0\n',
    )
    expect(several).toContain('station.yaml:1:1 (top): Unrecognized key: "netwrok"')
    expect(several).toContain('station.yaml:4:7 edge.sensors.0.id: letters, digits, _ and -, at most 64')
  })

  test('a setting that does not exist in the environment is a mistake, too', () => {
    expect(mistakes('', { GROUNDTRUTH_HUB__HTTP__PROT: '1' })).toBe(
      'the environment variable GROUNDTRUTH_HUB__HTTP__PROT names no setting',
    )
  })

  test('YAML that cannot be read says where', () => {
    expect(mistakes('hub: [1,\n')).toMatch(/^station.yaml: .* at line 2/s)
  })

  test('the reference in the README is the schema’s', () => {
    const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8')
    expect(readme).toContain(configReference())
  })
})
