/** A station that runs as a process: a new configuration on SIGHUP, metrics, and nothing lost in between. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readingsOf } from '#gateway/reading/contents.ts'
import { decodeEnvelope } from '#gateway/reading/envelope.ts'
import { start } from '#test/kill/process.ts'
import { startHub } from '#test/relay-world.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

/** A device that prints a numbered line ten times a second to whoever listens, and counts what was listened to. */
const printer = async () => {
  let client: Socket | undefined
  let said = 0
  const server = createServer((socket) => {
    client = socket.on('error', () => undefined)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const timer = setInterval(() => {
    if (client?.writable) client.write(`co2=${400 + said++}\n`)
  }, 100)
  onTestFinished(() => {
    clearInterval(timer)
    client?.destroy()
    server.close()
  })
  return { link: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`, said: () => said }
}

test('sensors are exchanged on SIGHUP, a wrong configuration changes nothing, and no reading of one that stays is lost', {
  timeout: 60_000,
}, async () => {
  const directory = temporaryDirectory()
  const hub = await startHub()
  const [stays, goes, comes] = [await printer(), await printer(), await printer()]
  const file = join(directory, 'station.yaml')
  const write = (sensors: string): void =>
    writeFileSync(
      file,
      `network: testnet\nedge:\n  broker: { url: "mqtt://127.0.0.1:${hub.broker.port}" }\n` +
        `  hubKey: ${Buffer.from(hub.hub.publicKey).toString('hex')}\n  envelope: { maxAgeS: 0.2 }\n` +
        `  metrics: { port: 0 }\n  sensors:\n${sensors}`,
    )
  const sensor = (id: string, link: string): string =>
    `    - { id: ${id}, model: text-lines, link: "${link}" }\n`
  write(sensor('stays', stays.link) + sensor('goes', goes.link))
  const running = start(['run', '--config', file, '--data', directory], {})
  onTestFinished(async () => void (await running.stop('SIGKILL')))
  const metricsUrl = await until('metrics', 20, async () => /metrics at (\S+)/.exec(running.said())?.[1])
  const readings = async (id: string): Promise<number> =>
    Number(
      new RegExp(`groundtruth_edge_readings_total\\{sensor="${id}"[^}]*\\} (\\d+)`).exec(
        await (await fetch(metricsUrl)).text(),
      )?.[1] ?? Number.NaN,
    )
  await until('readings', 20, async () => ((await readings('goes')) > 3 ? true : undefined))

  write(sensor('stays', stays.link) + sensor('comes', 'nonsense'))
  running.child.kill('SIGHUP')
  const refused = await until(
    'a refusal',
    20,
    async () => /configuration stays as it is: (.*)/.exec(running.said())?.[1],
  )
  expect(refused).toContain(`${file}:9:45 edge.sensors.1.link: expected a serial port`)
  const before = await readings('goes')
  await until('more readings', 20, async () => ((await readings('goes')) > before ? true : undefined))

  write(sensor('stays', stays.link) + sensor('comes', comes.link))
  running.child.kill('SIGHUP')
  await until('the exchange', 20, async () =>
    running.said().includes('stopped goes; started comes') ? true : undefined,
  )
  await until('readings of the new one', 20, async () => ((await readings('comes')) > 3 ? true : undefined))
  expect(await readings('goes')).toBeNaN()

  // Everything taken is signed, and reaches the hub: the station that stays missed none of its lines.
  const valuesAtHub = async (): Promise<number[]> => {
    const values: number[] = []
    for await (const { bytes } of hub.evidence.read(0)) {
      const decoded = decodeEnvelope(bytes)
      const contents = decoded.ok ? readingsOf(decoded.envelope) : decoded
      if (!contents.ok) expect.fail(contents.detail)
      else
        for (const one of contents.readings) if (one.sensor === 'stays') values.push(one.values[0]!.scaled!)
    }
    return values.toSorted((a, b) => a - b)
  }
  const count = await readings('stays')
  const values = await until('all that was taken', 20, async () => {
    const kept = await valuesAtHub()
    return kept.length >= count ? kept : undefined
  })
  expect(values).toEqual(Array.from({ length: values.length }, (_, at) => values[0]! + at))
  expect(await running.stop('SIGTERM')).toBe(0)
})
