import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { HubDistrusted, LimitReached, openClient } from '#gateway/client/client.ts'
import type { ExportedFile } from '#gateway/client/export.ts'
import { openExporter } from '#test/exports-world.ts'
import { nowMs, stationB } from '#test/market-world.ts'

const hourOfB = { station: stationB, from: nowMs - 3_600_000, to: nowMs } as const
const hourPrice = 470n

type Exporter = Awaited<ReturnType<typeof openExporter>>
type Between = (request: Request, hub: (request: Request) => Promise<Response>) => Promise<Response>

const clientOf = ({ app }: Exporter, key: string | undefined, between?: Between) => {
  const requests: Request[] = []
  const hub = openClient({
    url: 'http://shop.test',
    ...(key === undefined ? {} : { key }),
    // Pays by itself in nobody's eyes: it has a key, or the hub is free.
    fetch: async (input, init) => {
      const request = new Request(input, init)
      requests.push(request.clone())
      const next = async (passed: Request) => app.fetch(passed)
      return between === undefined ? next(request) : between(request, next)
    },
  })
  return { hub, requests }
}

const bytesOf = async (file: ExportedFile): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(file.parts()))

test('an export is ordered, waited for, paid by what is in it, and taken whole with its receipt checked', async () => {
  const exporter = await openExporter()
  const buyer = exporter.signUp(1_000_000n)
  const { hub, requests } = clientOf(exporter, buyer.key)
  const file = await hub.export(hourOfB, 'csv')
  expect(file).toMatchObject({
    rows: 60,
    priceMicroUsd: hourPrice,
    receiptId: file.id,
    receipt: { id: file.id, rows: 60, priceMicroUsd: Number(hourPrice) },
  })
  const bytes = await bytesOf(file)
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(file.sha256)
  expect(bytes.toString().split('\r\n')).toHaveLength(62)
  expect(buyer.credit()).toBe(1_000_000n - hourPrice)
  expect(hub.spentMicroUsd).toBe(hourPrice)
  const orders = requests.filter(({ method, url }) => method === 'POST' && url.endsWith('/v1/exports'))
  expect(orders.map(({ headers }) => [headers.has('authorization'), headers.has('offer')])).toEqual([
    [false, false],
    [true, true],
  ])

  // The same query is paid once, in whatever format.
  const again = await hub.export(hourOfB)
  expect(again).toMatchObject({ rows: 60, priceMicroUsd: 0n, receiptId: file.id, receipt: null })
  expect((await bytesOf(again)).subarray(0, 4).toString()).toBe('PAR1')
  expect(buyer.credit()).toBe(1_000_000n - hourPrice)
  exporter.expectSound()
})

test('orders nothing above the limit, and a hub that sells nothing makes one export for one order', async () => {
  const exporter = await openExporter()
  const buyer = exporter.signUp(1_000_000n)
  const { hub } = clientOf(exporter, buyer.key)
  const refused = await hub
    .export(hourOfB, 'csv', { maxMicroUsd: hourPrice - 1n })
    .catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(LimitReached)
  expect([buyer.credit(), exporter.held(), hub.spentMicroUsd]).toEqual([1_000_000n, 0n, 0n])

  const free = await openExporter({ sells: false })
  const { hub: freeHub, requests } = clientOf(free, 'gt_free')
  const file = await freeHub.export(hourOfB, 'ndjson')
  expect(file).toMatchObject({ rows: 60, priceMicroUsd: 0n, receiptId: null, receipt: null })
  expect((await bytesOf(file)).toString().split('\n')).toHaveLength(61)
  expect(requests.filter(({ method }) => method === 'POST')).toHaveLength(1)
})

test('a file that was changed on the way is not what was bought, and a part that is lost is asked for again', async () => {
  const exporter = await openExporter()
  const buyer = exporter.signUp(1_000_000n)
  let change = (bytes: Uint8Array): Uint8Array => bytes
  let lost = 1
  const { hub } = clientOf(exporter, buyer.key, async (request, next) => {
    const answer = await next(request)
    if (!request.headers.has('range')) return answer
    const bytes = change(new Uint8Array(await answer.arrayBuffer()))
    if (lost-- > 0) throw new TypeError('terminated')
    return new Response(new Uint8Array(bytes), { status: answer.status, headers: answer.headers })
  })
  const file = await hub.export(hourOfB, 'csv')
  expect(await bytesOf(file)).toHaveLength(file.bytes)
  change = (bytes) => bytes.with(100, bytes[100]! ^ 1)
  await expect(bytesOf(file)).rejects.toThrow('the file is not what its SHA-256 says')
  change = (bytes) => bytes.subarray(1)
  await expect(bytesOf(file)).rejects.toBeInstanceOf(HubDistrusted)
})

test('a hub that says of an export what cannot be is not believed, and no limit grows by it', async () => {
  const exporter = await openExporter()
  const buyer = exporter.signUp(1_000_000n)
  type Lie = (said: Record<string, unknown>) => object
  const file = (said: Record<string, unknown>, more: object) => ({
    ...said,
    files: (said.files as object[]).map((one) => ({ ...one, ...more })),
  })
  const isWrong = 'this is no answer of a Groundtruth hub'
  const lies: [Lie, string | RegExp | undefined][] = [
    [(said) => said, undefined],
    [(said) => ({ ...said, receipt: null }), 'took money for the export'],
    [(said) => ({ ...said, receipt: 'ab'.repeat(16) }), 'took money for the export'],
    [(said) => ({ ...said, priceMicroUsd: -1_000_000 }), isWrong],
    [(said) => ({ ...said, priceMicroUsd: 1 }), 'the receipt names another price'],
    [(said) => ({ ...said, rows: '\u001b[2J' }), isWrong],
    [(said) => file(said, { rows: '\u001b[2J' }), isWrong],
    [(said) => file(said, { bytes: -1 }), isWrong],
    [(said) => file(said, { href: 'http://[' }), isWrong],
    [(said) => file(said, { href: '/v1/account' }), isWrong],
    [(said) => file(said, { sha256: 7 }), isWrong],
    [(said) => ({ ...said, files: [null] }), isWrong],
    [(said) => ({ ...said, files: [] }), 'has no file'],
    [(said) => ({ ...said, state: 'thinking' }), isWrong],
    [(said) => ({ ...said, state: 'expired' }), 'not kept any more'],
    [
      (said) => ({ ...said, state: 'failed', detail: 'no\u001b[2J' }),
      /^The export could not be made: no \[2J\n/,
    ],
  ]
  // One honest order, answer by answer: what is told of it is then another thing each time.
  const nameOf = ({ method, url, headers }: Request) => `${method} ${url} ${headers.has('authorization')}`
  const answers = new Map<string, Response>()
  const { hub: honest } = clientOf(exporter, buyer.key, async (request, next) => {
    const answer = await next(request)
    answers.set(nameOf(request), answer.clone())
    return answer
  })
  const { id } = await honest.export(hourOfB, 'csv')
  const done = answers.get(`GET http://shop.test/v1/exports/${id} true`)!
  for (const [lie, told] of lies) {
    const { hub } = clientOf(exporter, buyer.key, async (request) => {
      if (nameOf(request) === 'POST http://shop.test/v1/exports true')
        return Response.json(lie((await done.clone().json()) as Record<string, unknown>), { status: 202 })
      return answers.get(nameOf(request))!.clone()
    })
    if (told === undefined) await expect(hub.export(hourOfB, 'csv')).resolves.toMatchObject({ id })
    else await expect(hub.export(hourOfB, 'csv')).rejects.toThrow(told)
    expect(hub.spentMicroUsd).toBeGreaterThanOrEqual(0n)
  }
})

test('without a key and without "pay" an export is refused before anything is asked', async () => {
  const exporter = await openExporter()
  const { hub, requests } = clientOf(exporter, undefined)
  await expect(hub.export(hourOfB)).rejects.toThrow('an export is paid with a key, or by "pay"')
  expect(requests).toEqual([])
})
