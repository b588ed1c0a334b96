import { createHash } from 'node:crypto'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { expect, onTestFinished, test } from 'vitest'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { generator } from '#sim/random.ts'
import { type Running, start } from '#test/kill/process.ts'
import { temporaryDirectory } from '#test/temporary.ts'
import { until } from '#test/until.ts'
import { startReceiver, willing } from './receiver.ts'
import type { Shown } from './world.ts'

/** A port that was free a moment ago: one that a hub keeps when it is started again. */
const freePort = async (): Promise<number> => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** A hub that sells, as a program that can be killed and started again, with a simulated station and a buyer. */
const startHub = async () => {
  const [httpPort, mqttPort, data] = [await freePort(), await freePort(), temporaryDirectory()]
  const http = `http://127.0.0.1:${httpPort}`
  let hub: Running | undefined
  const up = async () => {
    hub = start(
      ['hub', '--http-port', `${httpPort}`, '--mqtt-port', `${mqttPort}`, '--rpc-port', '0', '--data', data],
      {
        GROUNDTRUTH_HUB__MARKET__SELL: 'true',
        GROUNDTRUTH_HUB__MARKET__STARTERMICROUSD: '1000000',
        GROUNDTRUTH_HUB__MARKET__WEBHOOKS__PRIVATEADDRESSES: 'true',
        GROUNDTRUTH_HUB__ANCHOR__FIRSTAGES: '1',
        GROUNDTRUTH_HUB__ANCHOR__MAXAGES: '1',
      },
    )
    await until('the hub', 60, async () => ((await fetch(`${http}/healthz`)).ok ? true : undefined))
  }
  const kill = async () => void (await hub?.stop('SIGKILL'))
  onTestFinished(kill)
  await up()
  const fleet = start(
    [
      ...['sim', '--stations', '1', '--interval', '0.2', '--data', temporaryDirectory()],
      ...['--broker', `mqtt://127.0.0.1:${mqttPort}`],
    ],
    { GROUNDTRUTH_EDGE__ENVELOPE__MAXAGES: '0.5', GROUNDTRUTH_EDGE__BROKER__RETRYS: '1' },
  )
  onTestFinished(async () => void (await fleet.stop('SIGKILL')))
  const signUp = await fetch(`${http}/v1/keys`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  const { key } = (await signUp.json()) as { key: string }
  const ask = async <T>(path: string, method = 'GET', body?: object): Promise<T> => {
    const response = await fetch(`${http}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    expect(response.ok, `${method} ${path}: ${response.status}`).toBe(true)
    return (await response.json()) as T
  }
  const bytes = async (path: string): Promise<Uint8Array | undefined> => {
    const response = await fetch(`${http}${path}`, { headers: { authorization: `Bearer ${key}` } })
    return response.ok ? new Uint8Array(await response.arrayBuffer()) : undefined
  }
  return { bytes, said: () => hub!.said(), up, kill, ask, endFleet: () => fleet.stop('SIGTERM') }
}

type Row = { readonly station: string; readonly proof: { readonly seq: number; readonly place: number } }

type Receipts = {
  readonly receipts: readonly {
    readonly id: string
    readonly rows: number
    readonly priceMicroUsd: number
    readonly query: string
  }[]
  readonly next: number | null
}

const nameOf = ({ station, proof }: Row): string => `${station}/${proof.seq}/${proof.place}`

test('an MQTT login hears a whole hub, and only what is its own', async () => {
  const { said, ask } = await startHub()
  const { login, topics, id } = await ask<Shown>('/v1/subscriptions', 'POST', { kind: 'mqtt' })
  const { broker, username, password } = login!
  const client = await mqtt.connectAsync(broker, { username, password })
  onTestFinished(() => void client.end(true))
  const rows: Row[] = []
  client.on('message', (_, payload) => rows.push(JSON.parse(payload.toString()) as Row))
  await expect(client.subscribeAsync('gt/1/#')).rejects.toThrow()
  await client.subscribeAsync(topics!, { qos: 1 })
  await until('messages', 30, async () => (rows.length >= 3 ? true : undefined))
  await client.endAsync()
  const now = await until('an account of it', 20, async () => {
    const shown = await ask<Shown>(`/v1/subscriptions/${id}`)
    return shown.delivered >= rows.length ? shown : undefined
  })
  expect(now.spentMicroUsd).toBeGreaterThan(100)
  expect(new Set(rows.map(nameOf)).size).toBe(rows.length)
  expect(said()).not.toContain(password)
})

test('a hub that is killed again and again loses no event of a webhook, and charges each once', async () => {
  const seed = 20_261_126
  const random = generator(seed)
  const { bytes, said, up, kill, ask, endFleet } = await startHub()
  const taken = new Map<string, Row>()
  let isShaky = true
  let wasLost = false
  const receiver = await startReceiver((received, response) => {
    if (received.method === 'POST') {
      // Nobody knows which side of an answer a hub dies on; nor does every answer arrive.
      const isLost = isShaky && !wasLost && random() < 0.15
      wasLost = isLost
      if (isLost) {
        response.socket!.destroy()
        return
      }
      for (const { id, data } of JSON.parse(received.body) as { id: string; data: Row }[]) taken.set(id, data)
    }
    willing(received, response)
  })
  const { id, secret } = await ask<Shown>('/v1/subscriptions', 'POST', {
    kind: 'webhook',
    url: receiver.url,
    batch: 20,
  })
  for (let round = 0; round < 4; round++) {
    const posts = receiver.posts().length
    await until('deliveries', 60, async () => (receiver.posts().length > posts + 2 ? true : undefined))
    await sleep(random() * 700)
    await kill()
    await up()
  }
  isShaky = false
  await endFleet()

  let now = await ask<Shown>(`/v1/subscriptions/${id}`)
  for (let isStill = false; !isStill; ) {
    const before = now
    await sleep(3_000)
    now = await ask<Shown>(`/v1/subscriptions/${id}`)
    isStill = before.delivered === now.delivered && now.failures === 0
  }
  const { readings } = await ask<{ readings: Row[] }>('/v1/readings?from=-15m&limit=10000')
  const names = new Set([...taken.values()].map(nameOf))
  const first = Math.min(...[...taken.values()].map(({ proof }) => proof.seq))
  const missed = readings.filter((row) => row.proof.seq >= first && !names.has(nameOf(row)))
  expect([missed, names.size]).toEqual([[], now.delivered])
  expect(now.delivered).toBeGreaterThan(20)
  // One event has one name, whenever it was sent; and what its receipts add up to is what was spent on it.
  expect(taken.size).toBe(names.size)
  let [rows, spent, receipt] = [0, 0, '']
  const query = createHash('sha256').update(`subscription ${id} {}`).digest('hex')
  for (let before: number | null = null; ; ) {
    const page: Receipts = await ask(`/v1/receipts?limit=1000${before === null ? '' : `&before=${before}`}`)
    for (const one of page.receipts.filter((one) => one.query === query)) {
      receipt = one.id
      rows += one.rows
      spent += one.priceMicroUsd
    }
    before = page.next
    if (before === null) break
  }
  expect([rows, spent]).toEqual([now.delivered, now.spentMicroUsd])
  // What a message held can be proved like anything that is bought.
  const bundle = await until('a proof of the oldest', 30, () => bytes(`/v1/receipts/${receipt}/bundle`))
  expect(await verifyBundle(bundle)).toMatchObject({ ok: true, sale: { id: receipt } })
  expect(said()).not.toContain(secret)
}, 240_000)
