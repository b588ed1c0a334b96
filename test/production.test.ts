import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { accountOf } from '#gateway/anchor/account.ts'
import { openEmbeddedChain } from '#gateway/anchor/embedded.ts'
import { openFacade } from '#gateway/anchor/facade.ts'
import { openJournal } from '#gateway/journal/open.ts'
import { influxdHint, influxdPath, startInfluxd } from '#test/influxd.ts'
import { start } from '#test/kill/process.ts'
import { mosquittoHint, mosquittoPath, startMosquitto } from '#test/mosquitto.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'

/** A chain of somebody else's, reached by JSON-RPC, on which one account has money. */
const startNode = async (secret: Uint8Array): Promise<string> => {
  const journal = await openJournal({ directory: temporaryDirectory(), maxRecordBytes: 1 << 20 })
  const chain = await openEmbeddedChain({
    journal,
    projectRoot: import.meta.dirname,
    funded: [{ address: accountOf(secret).address, balanceWei: 10n ** 20n }],
    nowMs: Date.now,
  })
  const facade = await openFacade(chain, { host: '127.0.0.1', port: 0 })
  onTestFinished(async () => {
    await facade.close()
    await chain.close()
    await journal.close()
  })
  return facade.url
}

type Status = {
  parts: { name: string; kind: string; ok: boolean }[]
  counts: { readings: number; envelopes: number; missing: number; refused: object }
  store: { behind: number }
  anchor: { batches: { final: number } }
}

describe.skipIf(!influxdPath || !mosquittoPath)(`the real parts${influxdHint}${mosquittoHint}`, () => {
  test('mosquitto, InfluxDB and a chain behind JSON-RPC serve a proof, and lose nothing when they are killed', {
    timeout: 120_000,
  }, async () => {
    const secret = new Uint8Array(randomBytes(32))
    const data = temporaryDirectory()
    const keyFile = join(data, 'payer.key')
    writeFileSync(keyFile, Buffer.from(secret).toString('hex'), { mode: 0o600 })
    const rpc = await startNode(secret)
    const broker = await startMosquitto(temporaryDirectory())
    onTestFinished(() => broker[Symbol.asyncDispose]())
    const influxd = await startInfluxd()
    onTestFinished(() => influxd[Symbol.asyncDispose]())
    const env = {
      GROUNDTRUTH_DATA: data,
      GROUNDTRUTH_HUB__BROKER__URL: broker.url,
      GROUNDTRUTH_HUB__STORE__INFLUXURL: influxd.url,
      GROUNDTRUTH_HUB__CHAIN__RPCURL: rpc,
      GROUNDTRUTH_HUB__CHAIN__KEYFILE: keyFile,
      GROUNDTRUTH_HUB__ANCHOR__MAXAGES: '2',
      GROUNDTRUTH_EDGE__ENVELOPE__MAXAGES: '0.5',
      GROUNDTRUTH_EDGE__OUTBOX__RECEIPTTIMEOUTS: '3',
    }
    const hub = start(['hub', '--http-port', '0'], env)
    onTestFinished(async () => void (await hub.stop('SIGKILL')))
    const { http } = JSON.parse(await hub.firstLine) as { http: string }
    const stations = start(['sim', '--stations', '2', '--interval', '0.2', '--broker', broker.url], env)
    onTestFinished(async () => void (await stations.stop('SIGKILL')))
    const status = async () => (await (await fetch(`${http}/v1/status`)).json()) as Status

    const bundle = await until('a bundle', 40, async () => {
      const response = await fetch(`${http}/v1/bundle?from=-10m`)
      return response.ok ? new Uint8Array(await response.arrayBuffer()) : undefined
    })
    const file = join(data, 'proof.cbor')
    writeFileSync(file, bundle)
    const verify = start(['verify', file, '--rpc', rpc], {})
    expect(await new Promise((resolve) => verify.child.once('close', resolve)), verify.said()).toBe(0)
    expect((await status()).parts.map(({ kind }) => kind)).toEqual([
      expect.stringContaining('broker at 127.0.0.1'),
      expect.stringContaining('InfluxDB 1.'),
      rpc,
    ])

    await influxd.kill()
    await until('the store to be reported away', 20, async () => {
      const { parts } = await status()
      return parts.find(({ name }) => name === 'store')?.ok === false ? true : undefined
    })
    await broker.kill()
    await sleep(1000)
    await Promise.all([broker.start(), influxd.start()])
    await stations.stop('SIGTERM')
    const before = Number(/(\d+) envelopes receipted/.exec(stations.said().split('\n').at(-2)!)?.[1])
    expect(before).toBeGreaterThan(0)

    // The stations' last words were in their outboxes: they come with the next start, and then everything is everywhere.
    const again = start(['sim', '--stations', '2', '--interval', '60', '--broker', broker.url], env)
    onTestFinished(async () => void (await again.stop('SIGKILL')))
    const settled = await until('everything to arrive', 60, async () => {
      const now = await status()
      const ok = now.parts.every((part) => part.ok) && now.store.behind === 0 && now.counts.missing === 0
      return ok && now.counts.envelopes > before ? now : undefined
    })
    expect(settled.counts.refused).toEqual({})
    const rows = await until('every reading to be in an answer', 20, async () => {
      const { counts } = await status()
      const response = await fetch(`${http}/v1/readings?from=-1h&limit=10000`)
      const { readings } = (await response.json()) as { readings: unknown[] }
      return readings.length === counts.readings ? readings : undefined
    })
    expect(rows.length).toBeGreaterThan(50)
    expect(await hub.stop('SIGTERM'), hub.said()).toBe(0)
  })
})
