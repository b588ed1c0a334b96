/** `groundtruth run --test` and `--once`, as processes. */
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { tcp } from '#sim/outlets/tcp.ts'
import { start } from '#test/kill/process.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { wired } from '#test/wired.ts'

const run = async (...args: string[]) => {
  const running = start(['run', ...args], {})
  onTestFinished(async () => void (await running.stop('SIGKILL')))
  const code = await new Promise<number | null>((resolve) => running.child.once('close', resolve))
  return { code, said: running.said() }
}

const stationWith = (
  sensors: readonly (readonly [id: string, model: string, link: string])[],
  broker = '',
) => {
  const folder = temporaryDirectory()
  const file = join(folder, 'station.yaml')
  const lines = sensors.map(([id, model, link]) => `    - { id: ${id}, model: ${model}, link: '${link}' }\n`)
  writeFileSync(
    file,
    `edge:\n  broker: { url: '${broker || 'mqtt://127.0.0.1:1'}' }\n  sensors:\n${lines.join('')}`,
  )
  return { file, data: join(folder, 'data') }
}

/** A port that says one line, again and again. */
const talker = async (text: string): Promise<string> => {
  const server = createServer((socket) => {
    const timer = setInterval(() => socket.write(text), 100)
    socket.on('error', () => undefined).on('close', () => clearInterval(timer))
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  return `tcp://127.0.0.1:${(server.address() as { port: number }).port}`
}

describe('groundtruth run --test', () => {
  test('prints readings, refusals and troubles of links, keeps nothing, and ends with 1 where one is silent', async () => {
    const [nova] = await wired(['nova'], () => tcp)
    const text = await talker('T=21.5,H=nan\n21.5,45\n')
    const { file, data } = stationWith([
      ['dust', 'nova-sds011', nova!.link],
      ['desk', 'text-lines', text],
      ['gone', 'nmea', 'tcp://127.0.0.1:1'],
    ])
    const args = ['--config', file, '--data', data, '--test', '--for', '1.5']
    const shown = await run(...args)
    const time = /^20\d\d-\d\d-\d\dT[\d:.]+Z/.source
    expect(shown.said).toMatch(new RegExp(`${time}  dust {13}pm2_5 [\\d.]+ µg/m³  pm10 [\\d.]+ µg/m³$`, 'm'))
    expect(shown.said).toMatch(
      new RegExp(`${time}  desk {13}temperature 21.5 °C  humidity absent \\(not-a-number\\)$`, 'm'),
    )
    expect(shown.said).toMatch(
      new RegExp(
        `${time}  desk {13}refused \\(not-configured\\): what the columns of "21.5,45" mean is not known; set "columns"$`,
        'm',
      ),
    )
    expect(shown.said).toContain(
      'gone             link: link tcp://127.0.0.1:1 is not listening. Start the converter or ser2net, and check the port number.\n',
    )
    expect(shown.said.trimEnd().split('\n').at(-1)).toBe('no reading came from gone')
    expect(shown.code).toBe(1)
    expect(existsSync(data)).toBe(false)

    const { code, said } = await run(...args, '--json')
    const objects = said
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
    expect(objects).toContainEqual({
      kind: 'reading',
      time: expect.stringMatching(time),
      sensor: 'desk',
      model: 'text-lines',
      values: { temperature: 21.5, humidity: null },
      absent: { humidity: 'not-a-number' },
    })
    expect(objects).toContainEqual(
      expect.objectContaining({ kind: 'refused', sensor: 'desk', reason: 'not-configured' }),
    )
    expect(objects).toContainEqual(expect.objectContaining({ kind: 'link', sensor: 'gone' }))
    expect(code).toBe(1)
  })

  test('ends with 0 where every sensor could be read', async () => {
    const [nova] = await wired(['nova'], () => tcp)
    const { file } = stationWith([['dust', 'nova-sds011', nova!.link]])
    expect(await run('--config', file, '--test', '--for', '1.5')).toMatchObject({ code: 0 })
    expect(await run('--config', file, '--test', '--once')).toEqual({
      code: 78,
      said: '--once: expected --test or --once, got both\n',
    })
  })
})

describe('groundtruth run --once', () => {
  test('sends one reading of every sensor, waits for the receipt, and says what did not come', {
    timeout: 90_000,
  }, async () => {
    const hub = start(
      ['hub', '--http-port', '0', '--mqtt-port', '0', '--rpc-port', '0', '--data', temporaryDirectory()],
      {},
    )
    onTestFinished(async () => void (await hub.stop('SIGKILL')))
    const { mqtt, http } = JSON.parse(await hub.firstLine) as { mqtt: string; http: string }
    const [nova, gnss] = await wired(['nova', 'microcontroller'], () => tcp, { intervalMs: 300 })
    const whole = stationWith(
      [
        ['dust', nova!.model, nova!.link],
        ['desk', gnss!.model, gnss!.link],
      ],
      mqtt,
    )
    const good = await run('--config', whole.file, '--data', whole.data, '--once', '--for', '10')
    expect(good.said).toMatch(/ 2 readings, [12] envelopes? receipted\n$/)
    expect(good.code).toBe(0)
    const latest = (await (await fetch(`${http}/v1/latest`)).json()) as { readings: { sensor: string }[] }
    expect(latest.readings.map(({ sensor }) => sensor).sort()).toEqual(['desk', 'dust'])

    const part = stationWith(
      [
        ['dust', nova!.model, nova!.link],
        ['gone', 'nmea', 'tcp://127.0.0.1:1'],
      ],
      mqtt,
    )
    const bad = await run('--config', part.file, '--data', part.data, '--once', '--for', '2')
    expect(bad.said).toMatch(/ 1 readings?, 1 envelopes? receipted\n/)
    expect(bad.said).toContain(' gone: no reading; link tcp://127.0.0.1:1 is not listening.\n')
    expect(bad.code).toBe(1)
  })
})
