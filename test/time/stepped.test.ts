/** A real station process whose system clock is stepped under it, by libfaketime. */
import { existsSync, globSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { toHex } from '#gateway/reading/bytes.ts'
import { readingsOf } from '#gateway/reading/contents.ts'
import { type Clock, decodeEnvelope } from '#gateway/reading/envelope.ts'
import { start } from '#test/kill/process.ts'
import { startHub } from '#test/relay-world.ts'
import { network } from '#test/station.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

const library =
  globSync('/usr/lib/*/faketime/libfaketimeMT.so.1')[0] ?? '/usr/lib/faketime/libfaketimeMT.so.1'
const isThere = existsSync(library)
const hint = isThere ? '' : ' (SKIPPED: libfaketime is missing; apt-get install faketime)'
if (!isThere) console.warn('the test with a stepped clock is skipped: apt-get install faketime')

const hours = 3
type Got = { readonly name: number; readonly timeMs: number; readonly clock: Clock }

test.skipIf(!isThere)(
  `a clock stepped back by ${hours} hours and forward by ${hours} moves no reading, the envelopes declare it, and the station still logs in${hint}`,
  async () => {
    let hub = await startHub()
    const said: number[] = []
    let wire: Socket | undefined
    const server = createServer((socket) => {
      wire = socket.on('error', () => undefined)
    }).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }

    const folder = temporaryDirectory()
    const config = join(folder, 'station.json')
    const edge = {
      broker: { url: `mqtt://127.0.0.1:${hub.broker.port}` },
      hubKey: toHex(hub.hub.publicKey),
      envelope: { maxAgeS: 0.2 },
      sensors: [{ id: 'garden', model: 'text-lines', link: `tcp://127.0.0.1:${port}` }],
    }
    writeFileSync(config, JSON.stringify({ network, edge })) // JSON is YAML
    const clock = join(folder, 'clock')
    writeFileSync(clock, '+0')
    const station = start(['edge', '--config', config, '--data', join(folder, 'data')], {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: clock,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    })
    onTestFinished(async () => void (await station.stop('SIGKILL')))
    await until('the station listens', 20, async () => wire)

    const kept = async (): Promise<Got[]> => {
      const got: Got[] = []
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
    const say = async (count: number) => {
      for (let n = 0; n < count; n++) {
        said.push(Date.now())
        wire!.write(`t=${(said.length / 100).toFixed(2)}\n`)
        await sleep(20)
      }
      await until('the hub has all', 20, async () =>
        (await kept()).length === said.length ? true : undefined,
      )
    }
    for (const offset of ['+0', `-${hours}h`, '+0']) {
      writeFileSync(clock, offset)
      await say(30)
    }
    // A broker takes a password that is up to a day off, and this one is made when the clock is three days off.
    writeFileSync(clock, '-3d')
    await hub.close()
    hub = await startHub(hub.broker.port, hub.directory, hub.hub)
    await say(5)
    await station.stop('SIGTERM')
    expect(station.said()).toMatch(
      new RegExp(`clock was moved by -(${hours * 3600}|${hours * 3600 - 1}[.]9)`),
    )

    const got = await kept()
    expect(got.map(({ name }) => name)).toEqual(said.map((_, at) => at + 1))
    for (const [at, { timeMs, clock: header }] of got.entries()) {
      // Two processes on a busy machine: what matters is that it is not hours.
      expect(Math.abs(timeMs - said[at]!)).toBeLessThan(10_000)
      if (at > 0) expect(timeMs).toBeGreaterThan(got[at - 1]!.timeMs)
      if ((at >= 30 && at < 60) || at >= 90)
        expect(header.errorMs).toBeGreaterThan((hours * 3600 - 10) * 1000)
      else expect(header.errorMs).toBeLessThan(10_000)
    }
  },
)
