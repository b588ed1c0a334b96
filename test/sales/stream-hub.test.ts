import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { ReadingRow } from '#gateway/market/row.ts'
import type { Statement } from '#gateway/market/tab.ts'
import { verifyBundle } from '#gateway/verify/verify.ts'
import { generator } from '#sim/random.ts'
import { type Heard, type Listener, listen } from '#test/stream-world.ts'
import { until } from '#test/until.ts'
import { startSellingHub } from './whole-hub.ts'

const kills = Number(process.env.STREAM_KILLS ?? 3)
const seed = Number(process.env.SEED ?? Date.now() % 1e9)

const nameOf = ({ station, proof: { seq, place } }: ReadingRow): string => `${station}/${seq}/${place}`

/** A client that connects again behind what it has heard, as an EventSource does. */
const follow = (url: string, headers: Readonly<Record<string, string>>) => {
  const heard: Heard[] = []
  let stopped = false
  let current: Listener | undefined
  const connect = async (): Promise<void> => {
    while (!stopped) {
      const last = heard.at(-1)?.id
      try {
        current = await listen(url, last === undefined ? headers : { ...headers, 'last-event-id': last })
      } catch {
        // Nobody is there just now.
        await sleep(100)
        continue
      }
      const { events } = current
      const take = (): void => {
        heard.push(...events.splice(0))
      }
      const taking = setInterval(take, 10)
      await current.ended.catch(() => undefined)
      clearInterval(taking)
      take()
    }
  }
  const running = connect()
  const stop = async (): Promise<void> => {
    stopped = true
    current?.close()
    await running
  }
  onTestFinished(stop)
  const named = (event: string): Heard[] => heard.filter((one) => one.event === event)
  return {
    named,
    until: (event: string, count: number) =>
      until(`${count} times ${event}`, 60, async () =>
        named(event).length >= count ? named(event) : undefined,
      ),
    stop,
  }
}

test(`a stream over ${kills} kills of the hub has every reading once, and is paid once (SEED=${seed})`, {
  timeout: 120_000 + kills * 60_000,
}, async () => {
  const random = generator(seed)
  const { http, key, restart, stopStation } = await startSellingHub()
  const headers = { authorization: `Bearer ${key}` }
  const stream = follow(`${http}/v1/stream`, headers)
  await stream.until('reading', 5)
  for (let killed = 0; killed < kills; killed++) {
    await sleep(random() * 1500)
    await restart('SIGKILL')
    const { length } = stream.named('reading')
    await stream.until('reading', length + 5)
  }
  // One that ends in order says so.
  await restart('SIGTERM')
  const [end] = await stream.until('end', 1)
  expect(end!.data).toMatchObject({ type: '/problems/hub-stopping' })
  await stream.until('reading', stream.named('reading').length + 5)
  await stopStation()
  const settled = async (): Promise<number> => {
    const { length } = stream.named('reading')
    await sleep(3000)
    return stream.named('reading').length - length
  }
  await until('the last reading', 60, async () => ((await settled()) === 0 ? true : undefined))
  await stream.stop()

  const rows = stream.named('reading').map(({ data }) => data as ReadingRow)
  const names = rows.map(nameOf)
  expect(new Set(names).size).toBe(names.length)
  expect(new Set(stream.named('reading').map(({ id }) => id)).size).toBe(names.length)

  // The oracle: what the hub says it has. Nothing behind the first reading of the stream is missing.
  const stored = new Map<string, ReadingRow>()
  for (let next = `${http}/v1/readings?from=-1h&limit=10000`; next !== ''; ) {
    const answer = await fetch(next, { headers })
    expect(answer.status).toBe(200)
    const page = (await answer.json()) as { readings: ReadingRow[]; next: string | null }
    for (const row of page.readings) stored.set(nameOf(row), row)
    next = page.next === null ? '' : `${http}/v1/readings?from=-1h&limit=10000&cursor=${page.next}`
  }
  const firstSeq = rows[0]!.proof.seq
  const expected = [...stored.values()].filter(({ proof }) => proof.seq >= firstSeq)
  expect(new Set(names)).toEqual(new Set(expected.map(nameOf)))
  for (const row of rows) {
    const { proof: _, ...said } = stored.get(nameOf(row))!
    const { proof: __, ...heard } = row
    expect(heard).toEqual(said)
  }

  // What was paid is what the receipts say, and never more than what was heard.
  type Receipt = { id: string; rows: number; priceMicroUsd: number }
  const answer = await fetch(`${http}/v1/receipts?limit=1000`, { headers })
  const { receipts } = (await answer.json()) as { receipts: Receipt[] }
  const account = (await (await fetch(`${http}/v1/account`, { headers })).json()) as {
    creditMicroUsd: number
  }
  expect(account.creditMicroUsd).toBe(
    1_000_000 - receipts.reduce((sum, { priceMicroUsd }) => sum + priceMicroUsd, 0),
  )
  const told = stream.named('account').map(({ data }) => (data as Statement).receipt)
  const ofStream = receipts.filter(({ rows }) => rows < stored.size)
  for (const receipt of told) if (receipt !== null) expect(ofStream.map(({ id }) => id)).toContain(receipt)
  expect(ofStream.reduce((sum, { rows }) => sum + rows, 0)).toBeLessThanOrEqual(names.length)

  // A receipt of a stream has its proof like any other.
  const proof = await until('the proof', 60, async () => {
    const bundle = await fetch(`${http}/v1/receipts/${ofStream[0]!.id}/bundle`, { headers })
    return bundle.ok ? new Uint8Array(await bundle.arrayBuffer()) : undefined
  })
  const report = await verifyBundle(proof)
  expect(report).toMatchObject({ ok: true, sale: { id: ofStream[0]!.id } })
})

test('a hub that sells nothing streams to everybody, also to curl', { timeout: 120_000 }, async () => {
  const { http } = await startSellingHub({ GROUNDTRUTH_HUB__MARKET__SELL: 'false' })
  const stream = await listen(`${http}/v1/stream?quantity=temperature`)
  const readings = await stream.until('reading', 3)
  expect(
    readings.every(({ data }) => Object.keys((data as ReadingRow).values).join() === 'temperature'),
  ).toBe(true)
  expect(stream.named('account')).toEqual([])
})
